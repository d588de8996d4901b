"""Proving on another core: a process of its own checks Merkle roots ahead of the state machine.

Only verdicts come back. The process holds no key and writes nothing; without it blocks are proven where they are
applied.
"""

import asyncio
import multiprocessing
import signal
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from node.feed.source import ReadBlock, read_proven
from processors.hive.block import Block, read_block
from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError


def _prepare() -> None:
    """A terminal's Ctrl-C is for the node: it ends this process itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _verdicts(texts: list[bytes], chain: Chain) -> list[bool]:
    """Whether each block is proven; what is not is looked at again where it can be told why."""
    found = []
    for text in texts:
        try:
            read_proven(text, chain)
            found.append(True)
        except HiveDataError:
            found.append(False)
    return found


class Prover:
    """A process that proves. ``proven`` is awaited with texts; ``read`` then reads one of them."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._pool: Executor | None = ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare
        )

    async def reader(self, texts: list[bytes]) -> ReadBlock:
        """Prove ``texts``; returns how they are read now: the proven ones without proving them again."""
        if self._pool is None:
            return read_proven
        loop = asyncio.get_running_loop()
        try:
            verdicts = await loop.run_in_executor(self._pool, _verdicts, texts, self._chain)
        except BrokenProcessPool:  # killed, perhaps for want of memory: go on alone
            self.close()
            return read_proven
        proven = {id(text) for text, good in zip(texts, verdicts, strict=True) if good}

        def read(text: bytes, chain: Chain) -> Block:
            return read_block(text, chain) if id(text) in proven else read_proven(text, chain)

        return read

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
