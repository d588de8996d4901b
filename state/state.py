"""The state of a replica: typed tables over a store, with root, trace and proofs (protocol section 9).

Bounded tables stay decoded in memory, the others are read through. Several blocks may share one synced batch;
what is not flushed yet is seen by every read. A failed write raises and leaves the state unusable.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, TypeVar

import msgspec
from sortedcontainers import SortedDict

from state import merkle
from state.codec import H
from state.errors import StateError
from state.schema import HEAD, NAMES, SINGLETONS, TABLES, Head
from state.store import Store, identify
from state.table import Key, Table, V, encode_value
from state.tree import Tree
from state.view import View

_T, _D, _M, _X, _R = b"t", b"d", b"m", b"x", b"r"  # tables, dirty keys, merkle, traces, roots


T = TypeVar("T")
_encode = msgspec.msgpack.Encoder().encode


class State:
    """What a node remembers. Opening raises StoreMismatchError for another genesis or a newer format."""

    def __init__(self, store: Store, genesis_hash: bytes, *, round_length: int, trace_keep: int = 2400) -> None:
        self.is_new = identify(store, genesis_hash)
        self.genesis_hash = genesis_hash
        self._store = store
        self._round_length = round_length
        self._trace_keep = trace_keep
        self._pending: dict[bytes, bytes | None] = {}
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
        self._dirty: dict[str, dict[bytes, bytes | None]] = {name: {} for name in NAMES}
        self._trees = {name: self._tree(name) for name in NAMES}
        self._load_dirty()
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
        raw = self._raw(_T + table.store_key(key))
        return None if raw is None else table.decode(raw)

    def need(self, table: Table[V], *key: int | str | bytes) -> V:
        """The value under ``key``, which the caller knows to exist; KeyError otherwise."""
        value = self.get(table, *key)
        if value is None:
            raise KeyError(f"{table.name} has no entry {key or table.fixed}")
        return value

    def walk(self, table: Table[V], *start: int | str | bytes) -> Iterator[tuple[Key, V]]:
        """The entries whose key begins with ``start``, by key fields."""
        n = len(start)
        if table.resident:
            entries = self._resident[table.name]
            for key in list(entries.irange(start) if start else entries):
                if key[:n] != start:
                    return
                yield key, entries[key]
            return
        prefix = _T + table.store_key(start)
        found: dict[bytes, bytes | None] = dict(self._store.iterate(prefix))
        found.update((stored, raw) for stored, raw in self._pending.items() if stored.startswith(prefix))
        for stored in sorted(found):
            raw = found[stored]
            if raw is not None:
                yield table.parse_key(stored[1:]), table.decode(raw)

    def root(self, height: int) -> bytes | None:
        """The root after block ``height``, if that was a multiple of round_length and is kept."""
        return self._raw(_R + height.to_bytes(8, "big"))

    def trace(self, height: int) -> bytes | None:
        """The trace of block ``height``, if it is kept."""
        return self._raw(_X + height.to_bytes(8, "big"))

    def proof(self, table: Table[Any], *key: int | str | bytes) -> tuple[merkle.Proof, merkle.Proof]:
        """(proof of the key within its table, proof of the table within the state), as of now."""
        self._update_trees()
        within = self._trees[table.name].proof(sha256(table.key(key or table.fixed)).digest())
        return within, merkle.prove(self._tops(), sha256(table.name.encode()).digest())

    def tree(self, name: str) -> Tree:
        """The tree of one table as of now, for walking down beside another replica's."""
        self._update_trees()
        return self._trees[name]

    def current_root(self) -> bytes:
        """The root of the state as it is now."""
        self._update_trees()
        return H(["root", self.genesis_hash, merkle.root_of(self._tops())])

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

    def commit(self, view: View, *, flush: bool = True) -> None:
        """Take a block's changes: trace, root at a round's end, one atomic synced write (unless put off)."""
        self._must_be_whole()
        self._broken = True  # until everything below has worked
        changed = []
        for table, key, value in view.changes():
            packed = table.key(key)
            raw = None if value is None else encode_value(value)
            changed.append([table.name, packed, raw])
            self._take(table, key, packed, value, raw)
        self._end_of_block(changed)
        self._broken = False
        if flush:
            self.flush()

    def flush(self) -> None:
        """Write what is pending as one atom, synced to disk."""
        if not self._pending:
            return
        self._must_be_whole()
        batch = list(self._pending.items())
        self._broken = True
        self._store.write(batch, sync=True)
        self._broken = False
        self._pending.clear()

    def close(self) -> None:
        """Let go of the store; what was not flushed is lost, as if those blocks had not come yet."""
        self._store.close()

    # -- inside

    def _must_be_whole(self) -> None:
        if self._broken:
            raise StateError("a write failed before: restart the node, it goes on from the last whole block")

    def _raw(self, stored: bytes) -> bytes | None:
        if stored in self._pending:
            return self._pending[stored]
        return self._store.get(stored)

    def _take(self, table: Table[Any], key: Key, packed: bytes, value: Any, raw: bytes | None) -> None:
        if table.resident:
            if value is None:
                self._resident[table.name].pop(key, None)
            else:
                self._resident[table.name][key] = value
        self._derived.pop(table.name, None)
        stored = table.store_key(key)
        k = sha256(packed).digest()
        v = None if raw is None else sha256(raw).digest()
        self._pending[_T + stored] = raw
        self._pending[_D + table.prefix + k] = v or b""
        self._dirty[table.name][k] = v

    def _end_of_block(self, changed: list[list[Any]]) -> None:
        head = self.head
        height = head.height
        before = self.root(height - 1) if (height - 1) % self._round_length == 0 else self.trace(height - 1)
        # the genesis state has no block before it: its trace begins the chain of traces
        self._pending[_X + height.to_bytes(8, "big")] = _trace(before or merkle.ZERO, head.block_id, changed)
        self._pending[_X + max(0, height - self._trace_keep).to_bytes(8, "big")] = None
        if height % self._round_length == 0:
            self._pending[_R + height.to_bytes(8, "big")] = self.current_root()
            old = (height - self._trace_keep) // self._round_length * self._round_length
            self._pending[_R + max(0, old).to_bytes(8, "big")] = None

    def _tree(self, name: str) -> Tree:
        prefix = _M + name.encode() + b"\0"

        def write(path: bytes, value: bytes | None) -> None:
            self._pending[prefix + path] = value

        return Tree(lambda path: self._raw(prefix + path), write)

    def _load_dirty(self) -> None:
        for stored, v in self._store.iterate(_D):
            name, _, k = stored[1:].partition(b"\0")
            self._dirty[name.decode()][k] = v or None

    def _update_trees(self) -> None:
        for name in NAMES:
            dirty = self._dirty[name]
            if dirty:
                self._trees[name].update(dirty.items())
                prefix = _D + name.encode() + b"\0"
                for k in dirty:
                    self._pending[prefix + k] = None
                dirty.clear()

    def _tops(self) -> list[merkle.Entry]:
        """(sha256 of the name, root) of every table that has entries, sorted: the set under the state's root."""
        tops = [(sha256(name.encode()).digest(), self._trees[name].root()) for name in NAMES]
        return sorted(top for top in tops if top[1] != merkle.ZERO)


def _trace(before: bytes, block_id: bytes, changed: list[list[Any]]) -> bytes:
    """H(["trace", ...]); msgspec writes texts, bytes and None in the canonical form (tests hold it to state.codec)."""
    return sha256(_encode(["trace", before, block_id, changed])).digest()
