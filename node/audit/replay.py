"""A whole history replayed and judged: where its blocks come from, how far, what is held against it besides."""

import time
from pathlib import Path

import msgspec

from node.assembly import open_state
from node.audit.auditor import Auditor, Stopped
from node.audit.verdict import Checks, Verdict, verdict
from node.errors import FeedError
from node.history.past import Progress, looked_at
from node.history.source import History
from processors.genesis import Genesis
from processors.hive.errors import HiveDataError
from state.errors import StateError
from state.snapshot import heights, verify
from state.store import Store

#: Blocks between two words about the progress.
PROGRESS = 1_000


class Asked(msgspec.Struct, frozen=True):
    """What is to be looked at. ``to``: the last height, None = all there is. ``snapshots``: a folder of them."""

    to: int | None = None
    merkle: bool = True
    signatures: bool = True
    snapshots: Path | None = None
    trusted: dict[int, bytes] = {}


def replay(
    history: History, genesis: Genesis, store: Store, asked: Asked, progress: Progress
) -> tuple[Auditor, Verdict]:
    """Replay a history from the genesis on into an empty store, and judge it.

    Raises FeedError if it does not reach back to the genesis, or not up to ``asked.to``.
    """
    last = last_height(history, genesis, asked.to)
    auditor = Auditor(
        open_state(genesis, store),
        genesis,
        prove=asked.merkle,
        signatures=asked.signatures,
        trusted=asked.trusted,
    )
    snapshots = _Snapshots(asked.snapshots, auditor)
    begun = time.monotonic()
    try:
        how = {"prove": asked.merkle, "signatures": asked.signatures}
        for block, looked in looked_at(history, genesis, genesis.start_block, last, **how):
            auditor.take(block, looked)
            snapshots.look(block.number)
            if auditor.blocks % PROGRESS == 0:
                progress(auditor.blocks)
    except Stopped:
        pass  # the finding says why
    except (FeedError, HiveDataError) as error:
        auditor.findings.add("damaged", auditor.state.height + 1, str(error))
    auditor.finish()
    snapshots.finish()
    progress(auditor.blocks)
    checks = Checks(asked.merkle, asked.signatures, snapshots.count, len(asked.trusted))
    seconds = time.monotonic() - begun
    judged = verdict(auditor, source=history.name, caveat=history.caveat, wanted=last, seconds=seconds, checks=checks)
    return auditor, judged


def last_height(history: History, genesis: Genesis, to: int | None) -> int:
    """The last block to be replayed. Raises FeedError if the history does not reach from the genesis to it."""
    span = history.span()
    if span is None:
        raise FeedError(f"{history.name} holds no block: fill it first")
    first, last = span
    if first > genesis.start_block or last < genesis.start_block:
        raise FeedError(
            f"{history.name} holds the blocks {first} to {last}, the group begins with {genesis.start_block}: fetch "
            f"what is missing"
        )
    if to is None:
        return last
    if not genesis.start_block <= to <= last:
        raise FeedError(f"{history.name} holds the blocks {first} to {last}, not {to}: fetch what is missing")
    return to


class _Snapshots:
    """Snapshots of somebody, each held against the root of its height: every byte of it."""

    def __init__(self, folder: Path | None, auditor: Auditor) -> None:
        self.count = 0
        self._folder = folder
        self._auditor = auditor
        self._open = set(heights(folder)) if folder is not None else set()

    def look(self, height: int) -> None:
        """Verify the snapshot of this height, if there is one."""
        if height not in self._open or self._folder is None:
            return
        self._open.remove(height)
        self.count += 1
        own = self._auditor.state.root(height)
        try:
            root = verify(self._folder, height, self._auditor.genesis.hash).root
        except (StateError, OSError) as error:
            self._auditor.findings.add("snapshot", height, str(error))
            return
        if root != own:
            words = f"the snapshot of {height} has the root {root.hex()}, what comes out is {own.hex() if own else '?'}"
            self._auditor.findings.add("snapshot", height, words)

    def finish(self) -> None:
        """A snapshot that the history did not come to is not judged, and that is said."""
        for height in sorted(self._open):
            words = f"the snapshot of {height} was not come to: the history ends before, or begins after it"
            self._auditor.findings.add("snapshot", height, words)
