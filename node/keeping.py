"""What a node keeps beside its state: an archive of blocks, and snapshots of the state at the ends of rounds."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from node.agent import last_equal
from node.config import SnapshotConfig
from node.core import Log, NodeCore
from node.errors import ApiError, FeedError, UnprovableError
from node.feed.archive import Archive
from node.feed.feed import Feed
from node.feed.segment import ArchiveError
from node.feed.source import Given, read_next, read_proven
from state.errors import SnapshotError, StateError
from state.snapshot import create, heights, prune, read_manifest, set_aside
from state.store import Reader

_PROGRESS = 10_000  # blocks between two words about a long replay
_BATCH = 64
_AGAIN = 20  # blocks after which servers that failed are asked again for what the archive lacks


class Blocks:
    """The archive that a node fills; a failure ends the filling, never the node."""

    def __init__(self, folder: Path, log: Log) -> None:
        self._log = log
        self._folder = folder
        self._archive: Archive | None = None
        self._is_behind = False
        self._again_at = 0
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
            if archive is None or (archive.last is not None and given.block.number <= archive.last):
                return
            if self._is_behind and archive.last is not None and given.block.number > archive.last + 1:
                return  # ``catch_up`` brings it with those before it
            archive.append(given.text)
        except ArchiveError as error:
            self._stop(error)

    def look_behind(self, height: int) -> None:
        """The state came to ``height`` without these blocks: what lies between is fetched when there is time."""
        if self._archive is not None and self._archive.last is not None and self._archive.last < height:
            self._is_behind = True

    def cut_after(self, height: int) -> None:
        """The state was taken back: the blocks after ``height`` may be of a fork that died, and go.

        After a power loss before this the dead blocks are replayed, do not fit to the feed, and are left once more.
        """
        try:
            if self._archive is not None and self._archive.cut_after(height):
                self._log("archive_taken_back", {"folder": str(self._folder), "height": height})
                self._is_behind = True  # healing has applied the right ones already
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
        try:
            await self._fill(core, feed)
        except (FeedError, ApiError) as error:
            self._stop(error)

    async def catch_up(self, core: NodeCore, feed: Feed) -> None:
        """Fetch what was cut off and has been applied anew since; servers that fail are asked again some blocks on."""
        if not self._is_behind or core.state.height < self._again_at:
            return
        try:
            await self._fill(core, feed)
            self._is_behind = False
        except ApiError as error:
            self._again_at = core.state.height + _AGAIN
            self._log("api_error", {"error": f"blocks for the archive: {error}"})
        except FeedError as error:
            self._stop(error)

    async def _fill(self, core: NodeCore, feed: Feed) -> None:
        archive, state = self._archive, core.state
        if archive is None or archive.last is None or archive.last >= state.height:
            return
        self._log("archive_fill", {"from": archive.last, "to": state.height})
        [newest] = archive.read(archive.last, archive.last)
        number = archive.last
        previous = read_next(str(self._folder), read_proven, core.genesis.chain, newest, number, None).id
        blocks = feed.blocks(archive.last + 1, state.height, previous, feed.servers.best())
        async with aclosing(blocks):
            async for given in blocks:
                archive.append(given.text)

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
        self._height = -1  # of the one that is being written, or was last
        self._is_unwanted: list[bool] = []  # that one is to end; shared with its thread
        self._halted: int | None = None
        self._hold_against_state()
        self.look()

    def take(self, height: int) -> None:
        """Begin one if it is due at this height, which the state has just reached, and none is being written."""
        is_idle = self._writing is None or self._writing.done()
        if self._every and height % self._every == 0 and is_idle and self._core.halted_at is None:
            self._hold_against_state()
            self._height, self._is_unwanted = height, []
            work = self._write(height, self._core.state.freeze(), self._is_unwanted)
            self._writing = asyncio.create_task(work)

    def look(self) -> None:
        """Asked at each block: once the group agreed on another root, what was kept since the roots were last equal
        is not to be begun with any more. It was written before anybody could know."""
        halted = self._core.halted_at
        if halted is not None and halted != self._halted:
            equal = last_equal(self._core.state, halted)
            newest = equal if equal is not None else halted - 1
            self.forget_after(newest, f"the group agreed on another root of {halted}")
        self._halted = halted

    def forget_after(self, height: int, why: str = "the state was taken back to an earlier block") -> None:
        """What was kept of the blocks after ``height`` may be of a fork that died, or of a state that went wrong."""
        if self._height > height:
            self._is_unwanted.append(True)
        for found in heights(self.folder):
            if found > height:
                self._set_aside(found, why)

    async def stop(self) -> None:
        """Wait for the one that is being written: a thread cannot be called off, but it is told to end soon."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    def _hold_against_state(self) -> None:
        """Those of blocks that the state remembers must be of these: a crash may have come before ``forget_after``."""
        state = self._core.state
        for height in heights(self.folder):
            try:
                manifest = read_manifest(self.folder, height)
            except SnapshotError:
                continue  # whoever restores it is told
            block_id, root = self._core.block_id(height), state.root(height)
            if block_id not in (None, manifest.block_id) or root not in (None, manifest.root):
                self._set_aside(height, "the state has another block or root at its height")

    def _set_aside(self, height: int, why: str) -> None:
        try:
            kept_as = set_aside(self.folder, height)
        except OSError as error:
            self._log("snapshot_failed", {"height": height, "error": str(error)})
            return
        self._log("snapshot_set_aside", {"height": height, "why": why, "kept_as": str(kept_as)})

    async def _write(self, height: int, reader: Reader, is_unwanted: list[bool]) -> None:
        work = asyncio.get_running_loop().run_in_executor(None, _write_all, reader, self.folder, is_unwanted.__len__)
        try:
            await asyncio.shield(work)
            if is_unwanted:
                if height in heights(self.folder):  # it was at its end already
                    self._set_aside(height, "the state was taken back while it was written")
                return
            gone = prune(self.folder, self._keep)
        except asyncio.CancelledError:
            is_unwanted.append(True)
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
