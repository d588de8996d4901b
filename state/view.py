"""The working copy of one block: reads through to the state, collects writes, is committed or thrown away."""

from collections.abc import Iterator
from typing import Any, Protocol

from state.table import Key, Table, V

Change = tuple[Table[Any], Key, Any]  # value None = deleted


class Base(Protocol):
    """What a view reads through to: the state, in whatever way it holds its entries."""

    def get(self, table: Table[V], *key: int | str | bytes) -> V | None:
        """The value under ``key``, or None."""

    def walk(self, table: Table[V], *start: int | str | bytes) -> Iterator[tuple[Key, V]]:
        """The entries whose key begins with ``start``, by key fields."""


class View:
    """Reads see what this block wrote; the state changes only when :meth:`State.commit` takes the view."""

    __slots__ = ("_base", "_writes", "writes")

    def __init__(self, base: Base) -> None:
        self._base = base
        #: how often this view was written to: a rule that rejects must not have
        self.writes = 0
        self._writes: dict[tuple[str, Key], tuple[Table[Any], Any]] = {}

    def get(self, table: Table[V], *key: int | str | bytes) -> V | None:
        """The value under ``key``, or None. A singleton takes no key."""
        key = key or table.fixed
        written = self._writes.get((table.name, key))
        if written is not None:
            found: V | None = written[1]
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
        key = key or table.fixed
        self.writes += 1
        self._writes[table.name, key] = (table, value)

    def delete(self, table: Table[V], *key: int | str | bytes) -> None:
        """Remove the entry under ``key`` if there is one."""
        self.writes += 1
        self._writes[table.name, key or table.fixed] = (table, None)

    def walk(self, table: Table[V], *start: int | str | bytes) -> Iterator[tuple[Key, V]]:
        """The entries whose key begins with ``start``, by key fields; changes made meanwhile are not seen."""
        n = len(start)
        merged = dict(self._base.walk(table, *start))
        for (name, key), (_, value) in self._writes.items():
            if name == table.name and key[:n] == start:
                merged[key] = value
        return iter([(key, merged[key]) for key in sorted(merged) if merged[key] is not None])

    def changes(self) -> list[Change]:
        """The entries whose value differs from that before the block, by table name and key fields."""
        base = self._base
        return [
            (table, key, value)
            for (_, key), (table, value) in sorted(self._writes.items(), key=lambda item: item[0])
            if base.get(table, *key) != value
        ]
