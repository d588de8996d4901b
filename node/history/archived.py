"""Waggle's own archive of blocks as a history (docs/archive.md)."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from node.errors import FeedError
from node.feed.archive import Archive
from node.history.reading import Order, read_ahead
from node.history.sifted import Looked
from processors.hive.block import Block, read_block
from processors.hive.chain import Chain

#: Processes that read: to unpack and look through a full block takes longer than to apply it.
_WORKERS = 2


class Archived:
    """The blocks of an archive; it may grow meanwhile."""

    caveat = ""

    def __init__(self, folder: Path, chain: Chain) -> None:
        self.name = f"the archive {folder}"
        self._archive = Archive.open(folder)
        self._chain = chain

    def span(self) -> tuple[int, int] | None:
        """Its first and last block. Raises ArchiveError."""
        first, last = self._archive.first, self._archive.last
        return None if first is None or last is None else (first, last)

    def blocks(self, first: int, last: int) -> Iterator[Block]:
        """The blocks ``first`` to ``last``. Raises ArchiveError, FeedError, HiveDataError."""
        previous: bytes | None = None
        for text in self._archive.read(first, last):
            block = read_block(text, self._chain)
            follow(self.name, block, first, previous)
            previous, first = block.id, first + 1
            yield block

    def looked_at(
        self, first: int, last: int, group: str, prefix: str, *, prove: bool, signatures: bool
    ) -> Iterator[tuple[Block, Looked]]:
        """The blocks, sifted for a group, and what was seen of them whole: read by processes of their own.

        Raises ArchiveError, FeedError.
        """
        order = Order(
            folder=str(self._archive.folder),
            chain=self._chain,
            group=group,
            prefix=prefix,
            first=first,
            last=last,
            place=0,
            workers=_WORKERS,
            prove=prove,
            signatures=signatures,
        )
        return read_ahead(order)

    def close(self) -> None:
        """Nothing stays open."""

    def __enter__(self) -> "Archived":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def follow(name: str, block: Block, number: int, previous: bytes | None) -> None:
    """Whether a block is the one that comes next. Raises FeedError."""
    if block.number != number or previous not in (None, block.header.previous):
        raise FeedError(f"{name}: block {block.number} ({block.id.hex()}) stands where block {number} must follow")
