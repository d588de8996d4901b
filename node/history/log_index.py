"""Where each block of one block_log file stands: as its own words say, or hived's .artifacts beside it.

Neither is believed: whoever reads a block checks that the word behind it is the one that was told, and its number.
"""

import os
import struct
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from node.errors import FeedError
from node.history.log_packing import POSITION, WORD, Entry, entry_of

_WINDOW = 1 << 20  # bytes that are read at once on the way back
#: head_block_num, git_version, format's major and minor, dirty_close, tail_block_num, generating_interrupted_at_block
_HEADER = struct.Struct("<I41sBBBII")
_CHUNK = struct.Struct("<Q16s")  # word, id without the number
_VERSION = (1, 1)
NO_WORD = (1 << 64) - 1  # that of no block


class Index(Protocol):
    """The words of the entries, counted from 0, the first of the file."""

    def words(self, begin: int, end: int) -> Sequence[int]:
        """Those from ``begin`` up to, not including, ``end``; fewer if there are not so many."""


class Walked:
    """The words as they stand in the file, 8 bytes of memory each; the last one comes first in ``backwards``."""

    def __init__(self, backwards: "array[int]") -> None:
        self._backwards = backwards

    @classmethod
    def none(cls) -> "Walked":
        """The index of nothing."""
        return cls(array("Q"))

    def __len__(self) -> int:
        return len(self._backwards)

    def words(self, begin: int, end: int) -> Sequence[int]:
        """As of Index."""
        count = len(self._backwards)
        found = self._backwards[max(0, count - end) : max(0, count - begin)]
        found.reverse()
        return found


class Artifacts:
    """``count`` words of an artifacts file, and what came after it was written: ``newer``."""

    def __init__(self, handle: int, count: int, newer: Walked) -> None:
        self._handle, self._count, self._newer = handle, count, newer

    def words(self, begin: int, end: int) -> Sequence[int]:
        """As of Index."""
        known = min(end, self._count) - begin
        text = os.pread(self._handle, _CHUNK.size * known, _HEADER.size + _CHUNK.size * begin) if known > 0 else b""
        found = [word for word, _ in _CHUNK.iter_unpack(text[: len(text) // _CHUNK.size * _CHUNK.size])]
        if len(found) == max(0, known) and end > self._count:
            found += self._newer.words(max(begin - self._count, 0), end - self._count)
        return found


def word_at(handle: int, at: int) -> int:
    """The word that stands at ``at``; one of no block where the file ends before."""
    text = os.pread(handle, WORD, at) if at >= 0 else b""
    return int.from_bytes(text, "little") if len(text) == WORD else NO_WORD


def backwards(handle: int, end: int) -> Iterator[tuple[int, Entry | None]]:
    """The words and entries of a file from the one that ends at ``end`` back to its first.

    None as the last one for a word of no block. Each entry lies before the one that came: it always ends.
    """
    text, base = b"", end
    while end > 0:
        at = end - WORD
        if at < base and at >= 0:
            base = max(0, end - _WINDOW)
            text = os.pread(handle, end - base, base)
        whole = at >= 0 and len(text) >= end - base
        word = int.from_bytes(text[at - base : end - base], "little") if whole else NO_WORD
        entry = entry_of(word, at)
        yield word, entry
        if entry is None:
            return
        end = entry.start


def walk(handle: int, path: Path, end: int, head: int, count: int | None = None) -> tuple[Walked, int]:
    """(the words of the ``count`` last entries, or of all; where the first of them begins). ``head`` is the number of
    the last one: more than so many there cannot be. Raises FeedError.
    """
    found = array("Q")
    begin = end
    if count != 0:
        for word, entry in backwards(handle, end):
            if entry is None or len(found) == head:
                raise damaged(path, f"what stands before byte {begin} is not the end of a block")
            found.append(word)
            begin = entry.start
            if len(found) == count:
                break
    return Walked(found), begin


def first_entry(handle: int, log: int) -> Entry | None:
    """The first entry of a log as an artifacts file has it; None if it stands elsewhere or there is no second one."""
    text = os.pread(handle, 2 * _CHUNK.size, _HEADER.size)
    if len(text) < 2 * _CHUNK.size:
        return None
    (word, _), (following, _) = _CHUNK.iter_unpack(text)
    entry = entry_of(word, (following & POSITION) - WORD)
    return entry if entry is not None and entry.start == 0 and word_at(log, entry.end) == word else None


def artifacts_of(handle: int, log: int, path: Path, end: int, head: int, first: int) -> Artifacts | None:
    """The index in an artifacts file for a log that begins with block ``first`` and ends with ``head`` at ``end``.

    It may be older or newer than the log. None if it is not of this log, or not whole.
    """
    text = os.pread(handle, _HEADER.size, 0)
    if len(text) < _HEADER.size:
        return None
    known_head, _, major, minor, _, _, interrupted = _HEADER.unpack(text)
    stored = (os.fstat(handle).st_size - _HEADER.size) // _CHUNK.size
    count = min(stored, known_head - first + 1, head - first + 1)
    if (major, minor) != _VERSION or interrupted or count < 1:
        return None
    try:
        newer, meets = walk(log, path, end, head, head - first + 1 - count)
    except FeedError:
        return None
    found = Artifacts(handle, count, newer)
    (last,) = found.words(count - 1, count)
    return found if meets >= WORD and word_at(log, meets - WORD) == last else None


def damaged(path: Path, words: str) -> FeedError:
    """What to say of a block_log that is not as hived wrote it."""
    return FeedError(f"{path} is damaged: {words}. Let hived's block_log_util check it, or name another block_log")
