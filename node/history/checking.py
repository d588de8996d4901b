"""A stretch of an archive checked by itself: digests, ids, links, Merkle roots, and who signed each block.

Whether a witness may have signed with that key takes the blocks in order: verifying.py.
"""

from pathlib import Path

import msgspec

from node.feed.segment import ArchiveError, Frame, opened, texts_of
from node.feed.witness import KEY_OPERATIONS, changed_key
from node.history.sifted import proof_of, signer_of
from node.history.source import UNREADABLE
from processors.hive.block import Block, read_block
from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError


class Stretch(msgspec.Struct, frozen=True):
    """The blocks ``first`` to ``last`` of some neighbouring frames of one file; ``quick``: links and digests only."""

    path: Path
    frames: list[Frame]
    first: int
    last: int
    chain: Chain
    quick: bool


class Bad(msgspec.Struct, frozen=True):
    """What is not as it must be, from block ``number`` on. ``kind`` is damaged, missing, not_linked, unproven,
    not_serialised or witness_key.
    """

    number: int
    kind: str
    words: str
    file: str


class Seen(msgspec.Struct, frozen=True):
    """A block's witness and the key that signed it, empty if its signature recovers to none; the keys that the block
    changes, None if it could hold a change that cannot be read.
    """

    number: int
    witness: str
    key: bytes = b""
    changes: tuple[tuple[str, bytes], ...] | None = ()


class Stretched(msgspec.Struct, frozen=True):
    """What was found, in order; ``previous`` is what the first block names, ``last_id`` the last one's id. None where
    that cannot be said.
    """

    first: int
    last: int
    previous: bytes | None
    last_id: bytes | None
    found: list[Seen | Bad]


class _Check:
    """The blocks of a stretch so far."""

    def __init__(self, stretch: Stretch) -> None:
        self.begins: bytes | None = None
        self.previous: bytes | None = None
        self.found: list[Seen | Bad] = []
        self._stretch = stretch

    def bad(self, number: int, kind: str, words: str) -> None:
        self.found.append(Bad(number, kind, words, str(self._stretch.path)))

    def look(self, text: bytes, number: int) -> None:
        """The next block."""
        try:
            block = read_block(text, self._stretch.chain)
        except (HiveDataError, *UNREADABLE) as error:
            self.bad(number, "unproven", f"it cannot be read: {error}")
            self.previous = None
            return
        if block.number != number:
            self.bad(number, "not_linked", f"block {block.number} stands in its place")
        elif self.previous not in (None, block.header.previous):
            self.bad(number, "not_linked", f"it does not follow the block before it ({(self.previous or b'').hex()})")
        if number == self._stretch.first:
            self.begins = block.header.previous
        self.previous = block.id
        if not self._stretch.quick:
            self._prove(block)

    def _prove(self, block: Block) -> None:
        unproven, unknown = proof_of(block)
        if unproven:
            self.bad(block.number, "unproven", unproven)
        if unknown:
            self.bad(block.number, "not_serialised", f"{unknown}: this version cannot prove it")
        key = signer_of(block.header) or b""
        self.found.append(Seen(block.number, block.header.witness, key, _changes(block)))


def check(stretch: Stretch) -> Stretched:
    """Look at each block of a stretch. Raises ArchiveError if its file cannot be opened."""
    work = _Check(stretch)
    with opened(stretch.path) as handle:
        for frame in stretch.frames:
            begin, end = max(frame.first, stretch.first), min(frame.last, stretch.last)
            try:
                texts = texts_of(handle, frame, str(stretch.path))
            except ArchiveError:
                work.bad(begin, "damaged", f"the blocks {begin} to {end} are not as they were written")
                work.previous = frame.last_id
                continue
            if begin == frame.first and work.previous is None:
                work.previous = frame.previous
            for number in range(begin, end + 1):
                work.look(texts[number - frame.first], number)
            if end == frame.last and work.previous not in (None, frame.last_id):
                work.bad(end, "damaged", f"the header of its frame names another id ({frame.last_id.hex()})")
    return Stretched(stretch.first, stretch.last, work.begins, work.previous, work.found)


def _changes(block: Block) -> tuple[tuple[str, bytes], ...] | None:
    """The witnesses' keys that hold after a block."""
    if not block.may_mention((), KEY_OPERATIONS):
        return ()
    found = []
    for index in range(len(block.transactions)):
        try:
            operations = block.transaction(index)[0].operations
        except (HiveDataError, *UNREADABLE):
            return None
        found += [changed for operation in operations if (changed := changed_key(operation)) is not None]
    return tuple(found)
