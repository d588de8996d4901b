"""A store as it will be after the next write: what waits for it is seen by every read."""

from collections.abc import Iterator
from typing import Any, Final

from state.layout import TABLES
from state.store import Batch, Store
from state.table import Key, Table, V

_NOT_HERE: Final = b"not here"  # compared by identity: a value may have these bytes


class Pending:
    """Entries of a store and what waits to be written over them; ``put`` with None deletes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[bytes, bytes | None] = {}
        # what waits of tables with several key fields, by table and first field: they are walked by that
        self._groups: dict[bytes, dict[bytes, bytes | None]] = {}
        self.put = self._waiting.__setitem__

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    def get(self, stored: bytes) -> bytes | None:
        """The bytes under a key of the store."""
        found = self._waiting.get(stored, _NOT_HERE)
        return self._store.get(stored) if found is _NOT_HERE else found

    def put_entry(self, table: Table[Any], key: Key, raw: bytes | None) -> None:
        """An entry of a table."""
        stored = TABLES + table.store_key(key)
        self._waiting[stored] = raw
        if len(key) > 1 and not table.resident:
            self._groups.setdefault(TABLES + table.store_key(key[:1]), {})[stored] = raw

    def walk(self, table: Table[V], start: Key) -> Iterator[tuple[Key, V]]:
        """The entries of a table that is not resident whose key begins with ``start``, by key fields."""
        prefix = TABLES + table.store_key(start)
        found: dict[bytes, bytes | None] = dict(self._store.iterate(prefix))
        is_grouped = bool(start) and len(table.fields) > 1
        waiting = self._groups.get(TABLES + table.store_key(start[:1]), {}) if is_grouped else self._waiting
        found.update((stored, raw) for stored, raw in waiting.items() if stored.startswith(prefix))
        entries = ((stored, found[stored]) for stored in sorted(found))
        return ((table.parse_key(stored[1:]), table.decode(raw)) for stored, raw in entries if raw is not None)

    def batch(self) -> Batch:
        """All that waits, to be written as one atom."""
        return list(self._waiting.items())

    def clear(self) -> None:
        """It was written."""
        self._waiting.clear()
        self._groups.clear()
