"""The state of a replica: typed tables over a store, with root, trace and proofs (protocol section 9).

Bounded tables stay decoded in memory, the others are read through. Several blocks may share one synced batch;
what is not flushed yet is seen by every read. A failed write raises and leaves the state unusable. The last blocks can
be taken back (state/undo.py).
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, TypeVar

from sortedcontainers import SortedDict

from state import merkle
from state.canonical import locate
from state.codec import H
from state.errors import StateError, StoreDamagedError
from state.forest import Forest
from state.layout import DIRTY, UNDO
from state.layout import TABLES as _T
from state.pending import Pending
from state.schema import HEAD, SINGLETONS, TABLES, Head
from state.store import Reader, Store, identify
from state.table import Key, Table, V, encode_value
from state.tree import Tree
from state.undo import Changed, History, Undo, Values
from state.view import View

T = TypeVar("T")
#: table, key fields, value (None = deleted), its bytes before and after (None = absent)
Difference = tuple[Table[Any], Key, Any, bytes | None, bytes | None]


class State:
    """What a node remembers. Opening raises StoreMismatchError for another genesis or a newer format."""

    def __init__(self, store: Store, genesis_hash: bytes, *, round_length: int, trace_keep: int = 2400) -> None:
        self.is_new = identify(store, genesis_hash)
        self.genesis_hash = genesis_hash
        self._store = store
        self._round_length = round_length
        self._pending = Pending(store)
        self._derived: dict[str, dict[Any, Any]] = {}
        self._resident: dict[str, Any] = {table.name: SortedDict() for table in TABLES if table.resident}
        self._resident["meta"] = SortedDict()
        for table in TABLES:
            if table.resident:
                for stored, raw in store.iterate(_T + table.prefix):
                    self._resident[table.name][table.parse_key(stored[1:])] = table.decode(raw)
        for table in SINGLETONS:
            found = store.get(_T + table.store_key(table.fixed))
            if found is not None:
                self._resident["meta"][table.fixed] = table.decode(found)
        self._forest = Forest(self._pending.get, self._pending.put, store.iterate(DIRTY))
        self._history = History(self._pending.get, self._pending.put, trace_keep, round_length)
        self._history.open(self.height, store.iterate(UNDO))
        self._broken = False

    # -- reading

    @property
    def height(self) -> int:
        """The height of the block applied last; -1 before the genesis state."""
        head = self.get(HEAD)
        return head.height if head is not None else -1

    @property
    def head(self) -> Head:
        """The block applied last; StateError before the genesis state."""
        head = self.get(HEAD)
        if head is None:
            raise StateError("the state is empty: it begins with the block start_block")
        return head

    def get(self, table: Table[V], *key: int | str | bytes) -> V | None:
        """The value under ``key``, or None. A singleton takes no key."""
        key = key or table.fixed
        if table.resident:
            found: V | None = self._resident[table.name].get(key)
            return found
        raw = self._pending.get(_T + table.store_key(key))
        return None if raw is None else table.decode(raw)

    def need(self, table: Table[V], *key: int | str | bytes) -> V:
        """The value under ``key``, which the caller knows to exist; KeyError otherwise."""
        value = self.get(table, *key)
        if value is None:
            raise KeyError(f"{table.name} has no entry {key or table.fixed}")
        return value

    def walk(self, table: Table[V], *start: int | str | bytes) -> Iterator[tuple[Key, V]]:
        """The entries whose key begins with ``start``, by key fields."""
        return iter(self._resident_under(table, start)) if table.resident else self._pending.walk(table, start)

    def root(self, height: int) -> bytes | None:
        """The root after block ``height``, if that was a multiple of round_length and is kept."""
        return self._history.root(height)

    def trace(self, height: int) -> bytes | None:
        """The trace of block ``height``, if it is kept."""
        return self._history.trace(height)

    def undo(self, height: int) -> Undo | None:
        """What block ``height`` changed with the old values, and on what its trace stands, if it is kept."""
        return self._history.undo(height)

    def changes(self, height: int) -> list[Changed] | None:
        """What block ``height`` changed, in the order of its trace, if it is kept."""
        found = self._history.undo(height)
        return None if found is None else found.changed

    @property
    def oldest_rewind(self) -> int:
        """The oldest height that :meth:`rewind` can go back to; the present one if there is none."""
        return self._history.oldest

    def proof(self, table: Table[Any], *key: int | str | bytes) -> tuple[merkle.Proof, merkle.Proof]:
        """(proof of the key within its table, proof of the table within the state), as of now."""
        within = self._forest.tree(table.name).proof(sha256(table.key(key or table.fixed)).digest())
        return within, merkle.prove(self._forest.tops(), sha256(table.name.encode()).digest())

    def tree(self, name: str) -> Tree:
        """The tree of one table as of now, for walking down beside another replica's."""
        return self._forest.tree(name)

    def current_root(self) -> bytes:
        """The root of the state as it is now."""
        return H(["root", self.genesis_hash, merkle.root_of(self._forest.tops())])

    @property
    def round_height(self) -> int | None:
        """The height of the last round, at which ``round_tops``, ``round_page`` and ``round_bucket`` hold.

        None where the trees of that round are not there: before the first round's end, after a migration or a
        rewind beyond what is kept, until the next round ends.
        """
        return self._forest.height

    def round_tops(self) -> list[tuple[str, bytes]] | None:
        """(table name, root of the table) at ``round_height``, by name; a table without entries is left out."""
        return self._forest.round_tops()

    def round_page(self, table: str, path: bytes) -> bytes | None:
        """The page (31 kinds, 31 hashes) of a table's tree at ``round_height``, at a path of nibbles, one a byte.

        None if there is none: no such table, or at this path lies a bucket, or nothing.
        """
        tree = self._forest.round_tree(table)
        return None if tree is None else tree.find_page(path)

    def round_bucket(self, table: str, path: bytes) -> list[merkle.Entry] | None:
        """The entries (k, v), sorted, of a bucket of a table's tree at ``round_height``; None if there is none."""
        tree = self._forest.round_tree(table)
        return None if tree is None else tree.find_bucket(path)

    def derive(self, table: Table[Any], compute: Callable[[View], T]) -> T:
        """What ``compute`` makes of a table of the state: computed once, and anew after an entry of it changed."""
        found: dict[Any, Any] = self._derived.setdefault(table.name, {})
        if compute not in found:
            found[compute] = compute(View(self))
        value: T = found[compute]
        return value

    # -- writing

    def view(self) -> View:
        """A working copy for one block."""
        return View(self)

    def differences(self, view: View) -> Iterator[Difference]:
        """What a view would change, by table name and key fields."""
        for table, key, value in view.entries():
            raw = None if value is None else encode_value(value)
            if table.resident:
                before = self._resident[table.name].get(key)
                old = None if before is None else encode_value(before)
            else:
                old = self._pending.get(_T + table.store_key(key))
            if old != raw:
                yield table, key, value, old, raw

    def commit(self, view: View, *, flush: bool = True) -> None:
        """Take a block's changes: trace, root at a round's end, one atomic synced write (unless put off)."""
        self._must_be_whole()
        self._broken = True  # until everything below has worked
        changed, replaced = [], []
        for table, key, value, old, raw in self.differences(view):
            packed = table.key(key)
            changed.append([table.name, packed, raw])
            replaced.append(old)
            self._take(table, key, value, raw)
            self._forest.change(table.name, packed, raw, was_there=old is not None)
        head = self.head
        self._history.append(head, changed, replaced)
        if head.height % self._round_length == 0:
            self._forest.settle(head.height)
            self._history.note_root(head.height, self.current_root())
        self._broken = False
        if flush:
            self.flush()

    def rewind(self, height: int) -> None:
        """Take the state back to what it was after block ``height``, as one atomic synced write.

        Raises StateError, with nothing changed, if ``height`` is not between ``oldest_rewind`` and the head.
        """
        self._must_be_whole()
        head = self.height
        if not self.oldest_rewind <= height < head:
            raise StateError(
                f"the state is at {head} and can go back to {self.oldest_rewind} at the oldest, not to {height}: name "
                f"a height between, or let the node replay from a snapshot or the genesis"
            )
        self._broken = True
        for (name, packed), raw in self._values_after(height).items():
            table, key = locate(name, packed)
            self._take(table, key, None if raw is None else table.decode(raw), raw)
        self._history.cut(height, head)
        self._broken = False
        self.flush()

    def freeze(self) -> Reader:
        """The store as it is now, for a snapshot: it stays so while the state goes on. The caller closes it."""
        self.flush()
        return self._store.freeze()

    def flush(self) -> None:
        """Write what is pending as one atom, synced to disk."""
        if not self._pending:
            return
        self._must_be_whole()
        self._broken = True
        self._forest.note()
        self._store.write(self._pending.batch(), sync=True)
        self._broken = False
        self._pending.clear()

    def close(self) -> None:
        """Let go of the store; what was not flushed is lost, as if those blocks had not come yet."""
        self._store.close()

    # -- inside

    def _must_be_whole(self) -> None:
        if self._broken:
            raise StateError("a write failed before: restart the node, it goes on from the last whole block")

    def _resident_under(self, table: Table[V], start: Key) -> list[tuple[Key, V]]:
        entries = self._resident[table.name]
        if not start:
            return [(key, entries[key]) for key in entries]
        n, found = len(start), []
        for key in entries.irange(start):
            if key[:n] != start:
                break
            found.append((key, entries[key]))
        return found

    def _take(self, table: Table[Any], key: Key, value: Any, raw: bytes | None) -> None:
        if table.resident:
            if value is None:
                self._resident[table.name].pop(key, None)
            else:
                self._resident[table.name][key] = value
        self._derived.pop(table.name, None)
        self._pending.put_entry(table, key, raw)

    def _values_after(self, height: int) -> Values:
        """What was after block ``height`` of all that may differ now; the trees are brought there too.

        They stand at the end of the round before ``height`` afterwards, as far back as the undo records reach.
        """
        start = height // self._round_length * self._round_length
        if start < self.oldest_rewind:
            if self._forest.height is None or self._forest.height > height:
                self._forest.unsettle()
            values = self._history.before(height, self.height)
            self._mark(values)
            return values
        values = self._history.before(start, self.height)
        if self._forest.height == start:
            self._forest.forget_changes()
        else:
            self._mark(values)
            self._forest.settle(start)
            if self.current_root() != self.root(start):
                raise StoreDamagedError(
                    f"what is kept of the last blocks does not lead back to the root of {start}: move the folder of "
                    f"the state away and let the node replay"
                )
        later = self._history.after(start, height)
        self._mark(later)
        return values | later

    def _mark(self, values: Values) -> None:
        """These entries have other values than the trees in the store say."""
        for (name, packed), raw in values.items():
            self._forest.change(name, packed, raw)
