"""Archives written live have a frame for every few blocks; closed segments get full ones: small blocks take half."""

import os
from pathlib import Path

from node.feed.segment import (
    FRAME_BLOCKS,
    FRAME_BYTES,
    SEGMENT_BLOCKS,
    ArchiveError,
    Frame,
    damaged,
    frames_of,
    opened,
    pack_frame,
    segment_path,
    segments,
    texts_of,
)
from state.store import sync_path


def compact(folder: Path) -> int:
    """Write closed segments with many small frames anew, each as one atom; returns how many.

    The archive may grow and be read meanwhile, in other threads too: nobody writes a closed segment. Not two at a
    time. Raises ArchiveError.
    """
    done = 0
    for start in segments(folder)[:-1]:
        path = segment_path(folder, start)
        try:
            done += _compact_segment(path, start)
        except OSError as error:
            raise ArchiveError(f"{path}: {error.strerror}: make room; the archive is as it was") from error
    return done


def _compact_segment(path: Path, start: int) -> bool:
    fresh = path.with_suffix(".new")
    with opened(path) as handle:
        frames = frames_of(handle)
        if not frames or frames[-1].last + 1 != start + SEGMENT_BLOCKS:
            raise damaged(str(path), "it does not hold all its blocks")
        groups = _merged(frames)
        if len(groups) * 4 > len(frames) * 3:
            return False
        with open(fresh, "wb") as out:
            for group in groups:
                texts = [text for frame in group for text in texts_of(handle, frame, str(path))]
                out.write(pack_frame(group[0].first, texts, group[0].previous, group[-1].last_id))
            out.flush()
            os.fsync(out.fileno())
    os.replace(fresh, path)
    sync_path(path.parent)
    return True


def _merged(frames: list[Frame]) -> list[list[Frame]]:
    """Neighbours that fit into one frame together."""
    groups: list[list[Frame]] = []
    blocks = size = 0
    for frame in frames:
        if not groups or blocks + frame.count > FRAME_BLOCKS or size + frame.raw_size > FRAME_BYTES:
            groups.append([])
            blocks = size = 0
        groups[-1].append(frame)
        blocks, size = blocks + frame.count, size + frame.raw_size
    return groups
