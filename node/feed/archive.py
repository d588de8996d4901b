"""A local archive of blocks: a folder of append-only segments, verified on read (the format: docs/archive.md).

One process writes it, any number read it meanwhile. It holds blocks that were proven before; who replays from it
proves them again. It can always be made anew: what is damaged is cut off or deleted, and fetched again.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from node.feed.blocktext import kept_text
from node.feed.cutting import cut_files
from node.feed.segment import (
    FRAME_BLOCKS,
    FRAME_BYTES,
    MAX_BLOCK,
    SEGMENT_BLOCKS,
    ArchiveError,
    Frame,
    damaged,
    frame_at,
    frames_of,
    is_whole,
    opened,
    pack_frame,
    segment_path,
    segments,
    texts_of,
)
from node.files import DISK, Files
from processors.hive.errors import HiveDataError
from state.store import sync_path

_LOCK = "lock"


class Archive:
    """The blocks ``first`` to ``last`` of a chain without a gap, in the files of ``folder``."""

    def __init__(self, folder: Path, lock: int | None) -> None:
        self.folder = folder
        #: Bytes that were cut off when it was opened: the torn end that a crash left behind.
        self.cut = 0
        self._lock = lock
        self._handle: int | None = None  # of the segment that grows
        self._end: tuple[int, bytes] | None = None  # number and id of the newest block
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._pending_previous = b""

    @classmethod
    def open(cls, folder: Path, *, write: bool = False) -> "Archive":
        """The archive of a folder; with ``write``, made if there is none, and its torn end is cut.

        Raises ArchiveError if another process writes it, or the folder cannot be used.
        """
        if not write:
            return cls(folder, None)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ArchiveError(f"{folder}: {error.strerror}: name a folder that this user may write to") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = cls(folder, lock)
            for left in folder.glob("*.new"):
                left.unlink()
            found._find_end()
        except OSError as error:
            os.close(lock)
            if isinstance(error, BlockingIOError):
                raise ArchiveError(f"{folder}: another process writes this archive: stop it first") from None
            raise ArchiveError(f"{folder}: {error.strerror}: see that this user may write to it") from error
        except ArchiveError:
            os.close(lock)
            raise
        return found

    def __enter__(self) -> "Archive":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- what there is

    @property
    def first(self) -> int | None:
        """The number of its first block, None while it is empty. Raises ArchiveError."""
        run = segments(self.folder)
        if not run:
            return self._end[0] - len(self._pending) + 1 if self._end is not None else None
        with opened(segment_path(self.folder, run[0])) as handle:
            frame = frame_at(handle, 0)
        if frame is None and len(run) > 1:
            raise damaged(str(segment_path(self.folder, run[0])), "it does not begin with a frame")
        return frame.first if frame is not None else None

    @property
    def last(self) -> int | None:
        """The number of its last block without a gap before, None while it is empty. Raises ArchiveError."""
        if self._lock is not None:
            return self._end[0] if self._end is not None else None
        for start in reversed(segments(self.folder)):  # the newest may be so new that it holds nothing yet
            with opened(segment_path(self.folder, start)) as handle:
                frames = frames_of(handle)
            if frames:
                return frames[-1].last
        return None

    # -- reading

    def read(self, first: int, last: int) -> Iterator[bytes]:
        """The JSON of the blocks ``first`` to ``last``, for read_block. At most one frame is held in memory.

        Checked is that each frame is as it was written and follows the one before; that a block is what it says is
        left to whoever proves it. Raises ArchiveError for what is damaged, and for a block that is not here.
        """
        number, begun, previous = first, -1, b""
        while begun < number <= last and (number == first or number % SEGMENT_BLOCKS == 0):
            begun = number
            path = segment_path(self.folder, number)
            if not path.exists():
                break
            with opened(path) as handle:
                for frame in frames_of(handle):
                    if frame.last < number or frame.first > last:
                        continue
                    if frame.first > number or (previous and frame.previous != previous):
                        break
                    texts = texts_of(handle, frame, str(path))
                    yield from texts[number - frame.first : last - frame.first + 1]
                    number, previous = frame.last + 1, frame.last_id
        if number <= last:
            yield from self._read_pending(number, last)

    def _read_pending(self, number: int, last: int) -> Iterator[bytes]:
        """What waits for its frame; whatever else is asked for is not here. Raises ArchiveError."""
        newest = self.last
        if newest is not None and self.first is not None and self.first <= number <= newest - len(self._pending):
            path = segment_path(self.folder, number)
            raise damaged(str(path), f"block {number} is missing in it or does not follow")
        if newest is None or number <= newest - len(self._pending) or last > newest:
            span = f"the blocks {self.first} to {newest}" if newest is not None else "no block"
            raise ArchiveError(f"{self.folder} holds {span}, not {number} to {last}: fetch these from a server")
        begin = newest - len(self._pending) + 1
        yield from self._pending[number - begin : last - begin + 1]

    # -- writing

    def append(self, raw: bytes) -> None:
        """Add the block ``last`` + 1 as a server gave it; any block begins an empty archive.

        It is written with its frame, or by ``flush``. When that closes a gap, ``last`` moves over all that follows.
        Raises ArchiveError for another block than the next, and if it cannot be written: then it was not added.
        """
        if self._lock is None:
            raise ArchiveError(f"{self.folder} was opened for reading only")
        try:
            text, block = kept_text(raw)
        except HiveDataError as error:
            raise ArchiveError(f"{self.folder}: no block can be added that is none: {error}") from error
        if len(text) > MAX_BLOCK:
            raise ArchiveError(f"block {block.number} has {len(text)} bytes of JSON, the archive takes {MAX_BLOCK}")
        if self._end is not None and (self._end[0] + 1, self._end[1]) != (block.number, block.header.previous):
            number, identity = self._end
            raise ArchiveError(
                f"{self.folder} ends with block {number} ({identity.hex()}): block {block.number} after "
                f"{block.header.previous.hex()} does not follow. Add the blocks in order; if the archive is of another "
                f"chain, delete it"
            )
        if not self._pending:
            self._pending_previous = block.header.previous
        before, self._end = self._end, (block.number, block.id)
        self._pending.append(text)
        self._pending_bytes += len(text)
        ends_segment = (block.number + 1) % SEGMENT_BLOCKS == 0
        if ends_segment or len(self._pending) >= FRAME_BLOCKS or self._pending_bytes >= FRAME_BYTES:
            try:
                self._write_frame()
            except ArchiveError:
                self._end = before
                self._pending_bytes -= len(self._pending.pop())
                raise
        if ends_segment:
            self._close_segment()
            self._adopt(block.number + 1)

    def flush(self) -> None:
        """Write what waits and sync it to disk. Raises ArchiveError. Small frames are merged by compact.py."""
        if self._pending:
            self._write_frame()
        self._sync()

    def cut_after(self, height: int, files: Files = DISK) -> bool:
        """Take the blocks after ``height`` out: they stood on a fork that died. Whether there were any.

        A crash in the middle leaves an archive that ends somewhere, and is whole up to there. A reader of what goes may
        find it damaged. Raises ArchiveError; then the archive must be closed, and opened anew.
        """
        if self._lock is None:
            raise ArchiveError(f"{self.folder} was opened for reading only")
        self.flush()  # what waits may be of both sides
        self._end = None
        self._close_segment()
        found = cut_files(self.folder, height, files)
        try:
            self._find_end()
        except OSError as error:
            raise ArchiveError(f"{self.folder}: {error.strerror}: see that this user may write to it") from error
        return found

    def close(self) -> None:
        """Flush, and let others write. Raises ArchiveError; the archive is closed all the same."""
        try:
            self.flush()
        finally:
            if self._handle is not None:
                os.close(self._handle)
            if self._lock is not None:
                os.close(self._lock)
            self._handle = self._lock = None
            self._pending, self._pending_bytes = [], 0

    # -- inside

    def _write_frame(self) -> None:
        """Write what waits as one frame; nothing stays behind of a frame that cannot be written."""
        assert self._end is not None
        number, identity = self._end
        first = number - len(self._pending) + 1
        try:
            if self._handle is None:
                path = segment_path(self.folder, first)
                self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                sync_path(self.folder)
            size = os.fstat(self._handle).st_size
            data = pack_frame(first, self._pending, self._pending_previous, identity)
            try:
                while data:
                    data = data[os.write(self._handle, data) :]
            except OSError:
                os.ftruncate(self._handle, size)
                raise
        except OSError as error:
            raise ArchiveError(f"{self.folder}: {error.strerror}: make room, or turn the archive off") from error
        self._pending, self._pending_bytes = [], 0

    def _close_segment(self) -> None:
        self._sync()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _sync(self) -> None:
        if self._handle is not None:
            try:
                os.fsync(self._handle)
            except OSError as error:
                raise ArchiveError(f"{self.folder}: {error.strerror}: the disk fails; turn the archive off") from error

    def _find_end(self) -> None:
        """Go to the end of the last segment before a gap, and cut what a crash left there."""
        for start in reversed(segments(self.folder)):
            path = segment_path(self.folder, start)
            handle = os.open(path, os.O_RDWR | os.O_APPEND)
            frames: list[Frame] = []
            for frame in frames_of(handle):
                if frame.first // SEGMENT_BLOCKS * SEGMENT_BLOCKS != start or not is_whole(handle, frame):
                    break
                frames.append(frame)
            good, size = (frames[-1].end if frames else 0), os.fstat(handle).st_size
            if good < size:
                self.cut += size - good
                os.ftruncate(handle, good)
                os.fsync(handle)
            if not frames:
                os.close(handle)
                path.unlink()
                sync_path(self.folder)
                continue
            self._end = frames[-1].last, frames[-1].last_id
            if (frames[-1].last + 1) % SEGMENT_BLOCKS == 0:
                os.close(handle)
            else:
                self._handle = handle
            return

    def _adopt(self, number: int) -> None:
        """If there is a segment from ``number`` on, the gap before it is closed: go on behind it."""
        path = segment_path(self.folder, number)
        if not path.exists():
            return
        assert self._end is not None
        with opened(path) as handle:
            frame = frame_at(handle, 0)
        if frame is None or (frame.first, frame.previous) != (number, self._end[1]):
            raise damaged(str(path), f"it does not follow block {self._end[0]}")
        self._find_end()
