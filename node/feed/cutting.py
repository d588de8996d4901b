"""An archive taken back to a height: what it holds of later blocks stood on a fork that died.

At no point does a crash leave anything but an archive: files go from the newest on, so that none stays behind a gap to
be taken for what follows; the file in which the height lies is shortened at the end of a frame, and the beginning of
the frame that was cut through is added again. What a crash keeps from being added is fetched from a server.
"""

from pathlib import Path

from node.feed.blocktext import kept_text
from node.feed.segment import (
    SEGMENT_BLOCKS,
    ArchiveError,
    Frame,
    damaged,
    frames_of,
    is_whole,
    opened,
    pack_frame,
    segment_path,
    starts_of,
    texts_of,
)
from node.files import Files
from processors.hive.errors import HiveDataError


def cut_files(folder: Path, height: int, files: Files) -> bool:
    """Take the blocks after ``height`` out of all segments of a folder that nobody writes; whether there were any.

    Those behind a gap too: the dead blocks may be there, and would be taken for what follows the new ones. Raises
    ArchiveError.
    """
    found = False
    try:
        for start in reversed(starts_of(folder)):
            path = segment_path(folder, start)
            if start > height:
                files.remove(path)
                found = True
            elif start + SEGMENT_BLOCKS > height + 1:
                found |= _cut_segment(path, height, files)
    except OSError as error:
        words = "see to the disk; what is left of the archive is whole"
        raise ArchiveError(f"{folder}: {error.strerror}: {words}") from error
    return found


def _cut_segment(path: Path, height: int, files: Files) -> bool:
    """Shorten the file in which ``height`` lies; whether it held more."""
    with opened(path) as handle:
        frames = frames_of(handle)
        kept = [frame for frame in frames if frame.last <= height]
        if len(kept) == len(frames):
            return False
        if not all(is_whole(handle, frame) for frame in kept):
            raise damaged(str(path), f"what it holds up to block {height} is not as it was written")
        through = frames[len(kept)]
        count = max(0, height - through.first + 1)
        beginning = _beginning(through, texts_of(handle, through, str(path))[:count], path) if count else b""
    if not kept and not beginning:
        files.remove(path)
        return True
    files.cut(path, kept[-1].end if kept else 0)
    if beginning:
        files.append(path, beginning)
    return True


def _beginning(frame: Frame, texts: list[bytes], path: Path) -> bytes:
    """A frame of the first blocks of another one. Raises ArchiveError."""
    try:
        _, newest = kept_text(texts[-1])
    except HiveDataError as error:
        raise damaged(str(path), f"block {frame.first + len(texts) - 1} is none ({error})") from error
    return pack_frame(frame.first, texts, frame.previous, newest.id)
