"""The working copy of one block: reads through to the state, collects writes, is committed or thrown away."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from state.table import Key, Table, V

T = TypeVar("T")
Change = tuple[Table[Any], Key, Any]  # value None = deleted


class Base(Protocol):
    """What a view reads through to: the state, in whatever way it holds its entries."""

    def get(self, table: Table[V], *key: int | str | bytes) -> V | None:
        """The value under ``key``, or None."""

    def walk(self, table: Table[V], *start: int | str | bytes) -> Iterator[tuple[Key, V]]:
        """The entries whose key begins with ``start``, by key fields."""

    def derive(self, table: Table[Any], compute: Callable[["View"], T]) -> T:
        """What ``compute`` makes of a table, kept until it changes."""


class View:
    """Reads see what this block wrote; the state changes only when :meth:`State.commit` takes the view."""

    __slots__ = ("_base", "_writes", "writes")

    def __init__(self, base: Base) -> None:
        self._base = base
        #: how often this view was written to: a rule that rejects must not have
        self.writes = 0
        self._writes: dict[str, dict[Key, tuple[Table[Any], Any]]] = {}

    def get(self, table: Table[V], *key: int | str | bytes) -> V | None:
        """The value under ``key``, or None. A singleton takes no key."""
        key = key or table.fixed
        written = self._writes.get(table.name)
        if written is not None and key in written:
            found: V | None = written[key][1]
            return found
        return self._base.get(table, *key)

    def need(self, table: Table[V], *key: int | str | bytes) -> V:
        """The value under ``key``, which a rule knows to exist; KeyError is a bug."""
        value = self.get(table, *key)
        if value is None:
            raise KeyError(f"{table.name} has no entry {key or table.fixed}")
        return value

    def put(self, table: Table[V], value: V, *key: int | str | bytes) -> None:
        """Write ``value`` under ``key``."""
        self._write(table, value, key)

    def delete(self, table: Table[V], *key: int | str | bytes) -> None:
        """Remove the entry under ``key`` if there is one."""
        self._write(table, None, key)

    def walk(self, table: Table[V], *start: int | str | bytes) -> Iterator[tuple[Key, V]]:
        """The entries whose key begins with ``start``, by key fields; changes made meanwhile are not seen."""
        written = self._writes.get(table.name)
        if not written:
            return self._base.walk(table, *start)
        n = len(start)
        own = {key: value for key, (_, value) in written.items() if key[:n] == start}
        if not own:
            return self._base.walk(table, *start)
        merged = dict(self._base.walk(table, *start))
        in_order = merged if own.keys() <= merged.keys() else sorted(merged.keys() | own.keys())
        merged.update(own)
        return iter([(key, merged[key]) for key in in_order if merged[key] is not None])

    def derive(self, table: Table[Any], compute: Callable[["View"], T]) -> T:
        """What ``compute`` makes of a table: kept by the state until an entry of that table changes."""
        return compute(self) if self._writes.get(table.name) else self._base.derive(table, compute)

    def derive_base(self, table: Table[Any], compute: Callable[["View"], T]) -> T:
        """What ``compute`` makes of a table as it was before this block; ``written`` has what this block changed."""
        return self._base.derive(table, compute)

    def written(self, table: Table[V]) -> dict[Key, V | None]:
        """What this block wrote to a table so far: key -> value, None = deleted."""
        return {key: value for key, (_, value) in self._writes.get(table.name, {}).items()}

    def entries(self) -> list[Change]:
        """All that was written, by table name and key fields."""
        return [
            (written[key][0], key, written[key][1])
            for _, written in sorted(self._writes.items())
            for key in sorted(written)
        ]

    def _write(self, table: Table[Any], value: Any, key: Key) -> None:
        self.writes += 1
        self._writes.setdefault(table.name, {})[key or table.fixed] = (table, value)
