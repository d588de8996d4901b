"""The last block of a file that is whole: what hived left there when it was killed, or writes just now, is not."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from node.errors import FeedError
from node.history.log_index import backwards, damaged, word_at
from node.history.log_packing import MAX_BLOCK, POSITION, WORD, Entry, entry_of
from processors.hive.block import Block
from processors.hive.errors import HiveDataError, UnknownOperationError

_WINDOW = 1 << 16  # bytes that are searched at once
_BEFORE = 10  # entries before an end that must look like entries, as hived's own repair wants it
_TRIES = 64  # ends that are tried at most: made-up ones shall not cost hours
_DICTIONARY_BLOCKS = 1_000_000  # a dictionary was made of the blocks of so many

#: The block of an entry. Raises HiveDataError, FeedError for a dictionary that is not here.
Read = Callable[[Entry], Block]


def find_end(handle: int, path: Path, size: int, read: Read) -> tuple[int, Block] | None:
    """(where the last whole entry ends, its block); None if there is none in a file no longer than one entry.

    Raises FeedError if there is none where one must be, or a dictionary is not here.
    """
    missing: FeedError | None = None
    for end in islice(_ends(handle, size), _TRIES):
        try:
            block = _whole(handle, end, read)
        except FeedError as error:
            if word_at(handle, end - WORD) & POSITION:
                raise
            missing = error  # no entry before it vouches for this one: perhaps it is none
            continue
        if block is not None:
            return end, block
    if missing is not None:
        raise missing
    if size > MAX_BLOCK + WORD:
        raise damaged(path, f"no whole block ends in its last {MAX_BLOCK} bytes")
    return None


def _ends(handle: int, size: int) -> Iterator[int]:
    """Where an entry may end: first where the file does, then whatever looks like it on the way back."""
    if size and _looks_like_entries(handle, size):
        yield size
    for end in _word_ends(handle, size):
        if end < size and _looks_like_entries(handle, end):
            yield end


def _looks_like_entries(handle: int, end: int) -> bool:
    for _ in range(_BEFORE):
        entry = entry_of(word_at(handle, end - WORD), end - WORD)
        if entry is None:
            return False
        end = entry.start
        if end == 0:
            break
    return True


def _word_ends(handle: int, size: int) -> Iterator[int]:
    """The ends of all eight bytes, from the last ones back, that can be the word of an entry that ends there."""
    limit = max(0, size - MAX_BLOCK - WORD)
    high = _end_of_content(handle, size, limit)
    while high > limit:
        low = max(limit, high - _WINDOW)
        base = max(0, low - WORD)
        text = os.pread(handle, high - base, base)
        starts = {at >> 24 for at in (max(0, base - MAX_BLOCK), base, high)}
        uppers = b"|".join(re.escape(upper.to_bytes(3, "little")) for upper in sorted(starts))
        # position with such upper bytes, then the dictionary and the flags: none, zstd, zstd with a dictionary
        found = re.finditer(rb"(?=...(?:" + uppers + rb")(?:\0[\0\x80]|.\x81))", text, re.DOTALL)
        yield from reversed([end for one in found if low < (end := base + one.start() + WORD) <= high])
        high = low


def _end_of_content(handle: int, size: int, limit: int) -> int:
    """Where the zeros begin that a file system may have put behind what was written, and a little of them."""
    end = size
    while end > limit:
        base = max(limit, end - _WINDOW)
        text = os.pread(handle, end - base, base).rstrip(b"\0")
        if text:
            return min(size, base + len(text) + 2 * WORD)
        end = base
    return limit


def _whole(handle: int, end: int, read: Read) -> Block | None:
    """The block of the entry that ends at ``end`` if it is one and follows the one before it, else None."""
    (_, entry), *behind = islice(backwards(handle, end), 2)
    before = behind[0][1] if behind else None
    if entry is None or (behind and before is None):
        return None
    try:
        previous = read(before) if before is not None else None
        try:
            block = read(entry)
        except FeedError:
            if previous is not None and (entry.dictionary or 0) > (previous.number + 1) // _DICTIONARY_BLOCKS:
                return None  # no such dictionary was made before this block
            raise
        with suppress(UnknownOperationError):  # our limit, not the file's fault
            block.prove()
    except HiveDataError:
        return None
    return block if previous is None or previous.id == block.header.previous else None
