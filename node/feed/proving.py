"""Proving on another core: a process of its own checks Merkle roots ahead of the state machine.

Only verdicts come back. The process holds no key and writes nothing; it ends with its pipe, however the node ended.
Without it blocks are proven where they are applied.
"""

import asyncio
import contextlib
import signal
import sys
from typing import BinaryIO

import msgspec

from node.feed.source import ReadBlock, read_proven
from processors.hive.block import Block, read_block
from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError

_SIZE = 4  # bytes before each message, big endian
_COMMAND = (sys.executable, "-P", "-c", "from node.feed.proving import main; main()")


class Question(msgspec.Struct, array_like=True):
    """Blocks of a chain, as servers gave them."""

    number: int  # is answered with, so that no verdict is ever taken for another question's
    chain: Chain
    texts: list[bytes]


class Prover:
    """A process that proves, begun with the first question."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._is_over = False
        self._number = 0
        self._left: list[asyncio.subprocess.Process] = []  # killed, and not waited for yet

    async def reader(self, texts: list[bytes]) -> ReadBlock:
        """Prove ``texts``; returns how they are read now: the proven ones without proving them again."""
        try:
            async with self._turn:
                verdicts = await self._verdicts(texts)
        except (OSError, EOFError):  # killed, perhaps for want of memory: go on alone
            await self.close()
            return read_proven
        proven = {id(text): text for text, good in zip(texts, verdicts, strict=True) if good}

        def read(text: bytes, chain: Chain) -> Block:
            return read_block(text, chain) if proven.get(id(text)) is text else read_proven(text, chain)

        return read

    async def close(self) -> None:
        """End the process."""
        self._is_over = True
        self._abandon()
        for process in self._left:
            await process.wait()
        self._left = []

    def _abandon(self) -> None:
        """What the process still says is nobody's answer any more."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            self._left.append(process)

    async def _verdicts(self, texts: list[bytes]) -> bytes:
        """A byte for each text, 1 = proven. Raises OSError, EOFError when the process is gone."""
        if self._is_over:
            raise EOFError
        if self._process is None:
            pipe = asyncio.subprocess.PIPE
            self._process = await asyncio.create_subprocess_exec(*_COMMAND, stdin=pipe, stdout=pipe)
        into, out = self._process.stdin, self._process.stdout
        if into is None or out is None:
            raise EOFError
        self._number = (self._number + 1) % (1 << 8 * _SIZE)
        number = self._number.to_bytes(_SIZE, "big")
        question = msgspec.msgpack.encode(Question(self._number, self._chain, texts))
        try:
            into.write(len(question).to_bytes(_SIZE, "big") + question)
            await into.drain()
            answer = await out.readexactly(_SIZE + len(texts))
        except BaseException:
            self._abandon()  # also when whoever asked is cancelled: the answer would be read by the next one
            raise
        if answer[:_SIZE] != number:
            raise EOFError
        return answer[_SIZE:]


def main() -> None:
    """The process: questions on standard input, verdicts on standard output, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the node: it ends this process itself
    read = msgspec.msgpack.Decoder(Question).decode
    while size := _exactly(sys.stdin.buffer, _SIZE):
        question = read(_exactly(sys.stdin.buffer, int.from_bytes(size, "big")))
        verdicts = bytes(_is_proven(text, question.chain) for text in question.texts)
        sys.stdout.buffer.write(question.number.to_bytes(_SIZE, "big") + verdicts)
        sys.stdout.buffer.flush()


def _exactly(pipe: BinaryIO, size: int) -> bytes:
    """So many bytes, or none at the end. SystemExit if the end comes in the middle: the node was killed."""
    found = pipe.read(size)
    if found and len(found) < size:
        sys.exit(0)
    return found


def _is_proven(text: bytes, chain: Chain) -> bool:
    """What is not proven here is looked at again where it can be told why."""
    try:
        read_proven(text, chain)
    except HiveDataError:
        return False
    return True
