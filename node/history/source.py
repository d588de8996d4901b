"""Where the blocks of the past come from: an archive, hived's own block_log, a HAF database."""

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol

from processors.hive.block import Block

#: What a text that is no block of Hive can make a reader raise, besides HiveDataError: an archive may be anybody's.
UNREADABLE = (ArithmeticError, AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)


class History(Protocol):
    """Blocks of one chain, in order. Opening one raises FeedError if it cannot be read, with the remedy."""

    #: What it is, in the words of a person: "the archive /srv/blocks".
    name: str
    #: Empty where each block can be held against its own header; else what every verdict about it must say.
    caveat: str

    def span(self) -> tuple[int, int] | None:
        """The numbers of its first and last block without a gap between; None while it is empty. Raises FeedError."""

    def blocks(self, first: int, last: int) -> Iterator[Block]:
        """The blocks ``first`` to ``last``, each with the id of its own header and following the one before.

        Not proven: whoever needs that asks each block to ``prove`` itself. Raises FeedError for what is damaged or not
        here, HiveDataError for what is no block.
        """

    def close(self) -> None:
        """Let go of what is open."""

    def __enter__(self) -> "History": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def held(history: History) -> str:
    """Which blocks a history holds, in words. Raises FeedError."""
    span = history.span()
    return f"the blocks {span[0]} to {span[1]}" if span is not None else "no block"
