"""One file of hived's block_log, read only: its blocks by number (the format: docs/block_log.md)."""

import os
from collections.abc import Iterator
from pathlib import Path

from node.errors import FeedError, UnprovableError
from node.history.log_end import find_end
from node.history.log_index import Artifacts, Index, Walked, artifacts_of, damaged, first_entry, walk
from node.history.log_packing import POSITION, WORD, Entry, Unpacker, entry_of
from processors.hive.block import Block
from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError, UnknownOperationError
from processors.hive.packed import read_packed_block

_BATCH = 128  # entries that are looked up at once
_READ = 1 << 20  # bytes that are read at once, but one entry at least


class _MisledError(Exception):
    """A block is not where the index told, or none is there."""


class LogFile:
    """The blocks ``first`` to ``last`` of a file as it was when it was opened; with ``last`` < ``first`` none."""

    def __init__(self, path: Path, chain: Chain, unpacker: Unpacker) -> None:
        """Raises FeedError."""
        self.path = path
        self.first, self.last = 1, 0
        self._chain, self._unpacker = chain, unpacker
        self._log = _opened(path)
        self._beside: int | None = None  # the artifacts file
        self._end = 0
        try:
            self._index = self._find()
        except OSError as error:
            self.close()
            raise FeedError(f"{path}: {error.strerror}: see that this user may read it") from error
        except FeedError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of what is open."""
        for handle in (self._log, self._beside):
            if handle is not None and handle >= 0:
                os.close(handle)
        self._log, self._beside = -1, None

    def blocks(self, first: int, last: int) -> Iterator[Block]:
        """The blocks ``first`` to ``last``, which must be in this file, by their numbers. Raises FeedError."""
        number = first
        while number <= last:
            try:
                for block in self._batch(number, min(last, number + _BATCH - 1)):
                    yield block
                    number += 1
            except _MisledError as error:
                if isinstance(error.__cause__, UnknownOperationError):
                    raise UnprovableError(
                        f"{self.path}: block {number}: {error}: a newer version is needed", number
                    ) from error
                if not isinstance(self._index, Artifacts):
                    raise damaged(self.path, f"block {number}: {error}") from error
                told = self.first
                self._index = self._walked()
                if self.first != told:
                    raise damaged(self.path, f"it begins with block {told}, but holds {len(self._index)}") from error
            except OSError as error:
                raise FeedError(f"{self.path}: {error.strerror}: see that the file is still there") from error

    # -- what is where

    def _find(self) -> Index:
        size = os.fstat(self._log).st_size
        found = find_end(self._log, self.path, size, self._read)
        if found is None:
            return Walked.none()
        self._end, head = found
        self.last = head.number
        return self._artifacts() or self._walked()

    def _walked(self) -> Walked:
        index, begin = walk(self._log, self.path, self._end, self.last)
        assert begin == 0
        self.first = self.last - len(index) + 1
        return index

    def _artifacts(self) -> Artifacts | None:
        """The index that hived keeps beside the file, if it is there and of this file."""
        try:
            handle = os.open(f"{self.path}.artifacts", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        self._beside = handle
        entry = first_entry(handle, self._log)
        try:
            first = self._read(entry).number if entry is not None else 0
        except HiveDataError:
            return None
        if not 0 < first <= self.last:
            return None
        self.first = first
        return artifacts_of(handle, self._log, self.path, self._end, self.last, first)

    # -- reading

    def _batch(self, first: int, last: int) -> Iterator[Block]:
        begin, count = first - self.first, last - first + 1
        words = list(self._index.words(begin, begin + count + (last < self.last)))
        bounds = [word & POSITION for word in words] + ([self._end] if last == self.last else [])
        if len(bounds) != count + 1:
            raise _MisledError("the index does not hold it")
        number = first
        while number <= last:
            at = number - first
            until = at + 1
            while until < count and bounds[until + 1] - bounds[at] <= _READ:
                until += 1
            entries = [entry_of(words[index], bounds[index + 1] - WORD) for index in range(at, until)]
            for entry, word in zip(entries, words[at:until], strict=True):
                if entry is None:
                    raise _MisledError(f"no block has the word {word:#018x} behind it")
            text = os.pread(self._log, bounds[until] - bounds[at], bounds[at])
            for entry, word in zip(entries, words[at:until], strict=True):
                assert entry is not None
                data = text[entry.start - bounds[at] : entry.end - bounds[at] + WORD]
                yield self._block(number, entry, word, data)
                number += 1

    def _block(self, number: int, entry: Entry, word: int, data: bytes) -> Block:
        if data[entry.end - entry.start :] != word.to_bytes(WORD, "little"):
            raise _MisledError("another word stands behind it than the index says")
        try:
            block = self._decoded(entry, data[:-WORD])
        except HiveDataError as error:
            raise _MisledError(str(error)) from error
        if block.number != number:
            raise _MisledError(f"block {block.number} stands in its place")
        return block

    def _read(self, entry: Entry) -> Block:
        return self._decoded(entry, os.pread(self._log, entry.end - entry.start, entry.start))

    def _decoded(self, entry: Entry, data: bytes) -> Block:
        return read_packed_block(self._unpacker.unpack(entry, data), self._chain)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise FeedError(f"{path}: {error.strerror}: name a block_log that this user may read") from error
