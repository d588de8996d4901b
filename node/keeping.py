"""What a node keeps beside its state: an archive of blocks, and snapshots of the state at the ends of rounds."""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from node.config import SnapshotConfig
from node.core import Log, NodeCore
from node.errors import ApiError, FeedError, UnprovableError
from node.feed.archive import Archive
from node.feed.feed import Feed
from node.feed.segment import ArchiveError
from node.feed.source import Given, read_next, read_proven
from state.errors import StateError
from state.snapshot import create, heights, prune
from state.store import Reader

_PROGRESS = 10_000  # blocks between two words about a long replay
_BATCH = 64


class Blocks:
    """The archive that a node fills; a failure ends the filling, never the node."""

    def __init__(self, folder: Path, log: Log) -> None:
        self._log = log
        self._folder = folder
        self._archive: Archive | None = None
        try:
            self._archive = Archive.open(folder, write=True)
            if self._archive.cut:
                self._log("archive_cut", {"folder": str(folder), "bytes": self._archive.cut})
        except ArchiveError as error:
            self._stop(error)

    def take(self, given: Given) -> None:
        """Keep a block that was applied, if it is the next one here."""
        archive = self._archive
        try:
            if archive is not None and (archive.last is None or given.block.number > archive.last):
                archive.append(given.text)
        except ArchiveError as error:
            self._stop(error)

    def flush(self) -> None:
        """What was taken is on disk."""
        try:
            if self._archive is not None:
                self._archive.flush()
        except ArchiveError as error:
            self._stop(error)

    def close(self) -> None:
        """Let go of the folder."""
        if self._archive is not None:
            self._archive.close()
            self._archive = None

    async def replay(self, core: NodeCore, stop: asyncio.Event) -> None:
        """Apply what the archive has beyond the state, each block proven. What does not prove or link ends it."""
        archive, state = self._archive, core.state
        if archive is None or archive.last is None or not 0 <= state.height < archive.last:
            return
        first = state.height + 1
        self._log("archive_replay", {"height": state.height, "last": archive.last})
        try:
            for text in archive.read(first, archive.last):
                number, previous = state.height + 1, state.head.block_id
                block = read_next(str(self._folder), read_proven, core.genesis.chain, text, number, previous)
                core.apply(block, flush=number % _BATCH == 0)
                if number % _PROGRESS == 0:
                    self._log("archive_replay", {"height": number, "last": archive.last})
                if number % _BATCH == 0:
                    await asyncio.sleep(0)
                if stop.is_set():
                    break
        except UnprovableError as error:
            self._log("archive_replay", {"height": state.height, "ends": str(error)})  # two servers must give it alike
        except (FeedError, ApiError) as error:
            self._stop(error)
        state.flush()

    async def fill(self, core: NodeCore, feed: Feed) -> None:
        """Fetch what the archive lacks up to the state's height: a crash, or an archive that came later."""
        archive, state = self._archive, core.state
        if archive is None or archive.last is None or archive.last >= state.height:
            return
        self._log("archive_fill", {"from": archive.last, "to": state.height})
        try:
            [newest] = archive.read(archive.last, archive.last)
            number = archive.last
            previous = read_next(str(self._folder), read_proven, core.genesis.chain, newest, number, None).id
            blocks = feed.blocks(archive.last + 1, state.height, previous, feed.servers.best())
            async with aclosing(blocks):
                async for given in blocks:
                    archive.append(given.text)
        except (FeedError, ApiError) as error:
            self._stop(error)

    def _stop(self, error: Exception) -> None:
        remedy = "delete the file it names, or the folder: blocks are fetched anew; the node goes on without an archive"
        self._log("archive_stopped", {"folder": str(self._folder), "error": str(error), "remedy": remedy})
        self.close()


class Snapshots:
    """A snapshot every so many rounds, written in a thread while the node goes on; the newest are kept."""

    def __init__(self, core: NodeCore, folder: Path, config: SnapshotConfig, log: Log) -> None:
        self.folder = folder
        self._core = core
        self._keep = config.keep
        self._every = config.every * core.genesis.params.round_length
        self._log = log
        self._writing: asyncio.Task[None] | None = None

    def take(self, height: int) -> None:
        """Begin one if it is due at this height, which the state has just reached, and none is being written."""
        is_idle = self._writing is None or self._writing.done()
        if self._every and height % self._every == 0 and is_idle and self._core.halted_at is None:
            self._writing = asyncio.create_task(self._write(height, self._core.state.freeze()))

    def forget_after(self, height: int) -> None:
        """The state was taken back: what was kept of the blocks after ``height`` may be of a fork that died."""
        for found in heights(self.folder):
            if found > height:
                shutil.rmtree(self.folder / str(found), ignore_errors=True)
                self._log("snapshot_removed", {"height": found})

    async def stop(self) -> None:
        """Wait for the one that is being written: a thread cannot be called off, but it is told to end soon."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _write(self, height: int, reader: Reader) -> None:
        stop: list[bool] = []
        work = asyncio.get_running_loop().run_in_executor(None, _write_all, reader, self.folder, stop.__len__)
        try:
            await asyncio.shield(work)
            gone = prune(self.folder, self._keep)
        except asyncio.CancelledError:
            stop.append(True)
            await asyncio.gather(work, return_exceptions=True)
            raise
        except (StateError, OSError) as error:
            self._log("snapshot_failed", {"height": height, "error": str(error)})
            return
        finally:
            reader.close()
        self._log("snapshot", {"height": height, "kept": heights(self.folder), "removed": gone})


def _write_all(reader: Reader, folder: Path, is_stopped: Callable[[], int]) -> None:
    """Write a whole snapshot, unless it is stopped between two chunks."""
    for _ in create(reader, folder):
        if is_stopped():
            return
