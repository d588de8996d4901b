"""The trees of all tables: in the store as of the end of the last round, in memory as of now (protocol section 9).

What changed since is noted as dirty, in the store too, so that a restart in the middle of a round misses nothing. It is
hashed when that is asked for, with a flush or at the round's end: most of what changes changes again within the round.
What was not there and is gone again is not hashed at all. (What is again what it was is: the trees must cover what is
held now, also where it was not what they thought.)
"""

from collections.abc import Callable, Iterator
from hashlib import sha256

from state import merkle
from state.layout import DIRTY, TREES, TREES_AT, of_tree
from state.schema import NAMES
from state.tree import Tree

_Dirty = dict[bytes, bytes | None]  # k -> v, None = deleted
_Touched = dict[bytes, tuple[bool, bytes | None]]  # canonical key -> (whether it may be in the trees, value now)


class Forest:
    """``read`` and ``write`` reach the store as it will be after the next flush; ``dirty`` are its dirty entries."""

    def __init__(
        self,
        read: Callable[[bytes], bytes | None],
        write: Callable[[bytes, bytes | None], None],
        dirty: Iterator[tuple[bytes, bytes]],
    ) -> None:
        self._write = write
        self._trees = {name: _stored(name, read, write) for name in NAMES}
        self._dirty: dict[str, _Dirty] = {name: {} for name in NAMES}
        #: what is not hashed yet, and not noted in the store
        self._touched: dict[str, _Touched] = {name: {} for name in NAMES}
        #: of tables that were asked for: a tree as of now over that of the round, and what it has not seen yet
        self._now: dict[str, tuple[Tree, _Dirty]] = {}
        at = read(TREES_AT)
        #: the height at which the trees in the store stand; None while that is not the end of the last round
        self.height = None if at is None else int.from_bytes(at, "big")
        self._load_dirty(dirty)

    def change(self, name: str, packed: bytes, raw: bytes | None, *, was_there: bool = True) -> None:
        """The entry under a canonical key has another value (None = it is gone); ``was_there``: whether it had one."""
        touched = self._touched[name]
        first = touched.get(packed)
        touched[packed] = (was_there if first is None else first[0], raw)

    def note(self) -> None:
        """Note in the store what the trees have not seen: what is written now may be all that a restart finds."""
        for name, touched in self._touched.items():
            if touched:
                self._note(name)

    def settle(self, height: int) -> None:
        """Bring the trees in the store to what is now, at the end of a round."""
        for name in NAMES:
            changes = self._dirty[name] | _hashed(self._touched[name])
            if changes:
                self._trees[name].update(changes.items())
        self.forget_changes()
        self.height = height
        self._write(TREES_AT, height.to_bytes(8, "big"))

    def forget_changes(self) -> None:
        """What is now is what the trees in the store say."""
        for name, dirty in self._dirty.items():
            prefix = of_tree(DIRTY, name)
            for k in dirty:
                self._write(prefix + k, None)
            dirty.clear()
            self._touched[name].clear()
        self._now.clear()

    def unsettle(self) -> None:
        """The trees in the store stand at no round that is still there."""
        self.height = None
        self._write(TREES_AT, None)

    def tree(self, name: str) -> Tree:
        """The tree of one table as of now; that in the store stays as it is."""
        if self._touched[name]:
            self._note(name)
        if not self._dirty[name]:
            return self._trees[name]
        if name not in self._now:
            self._now[name] = self._trees[name].overlay(), dict(self._dirty[name])
        tree, unseen = self._now[name]
        if unseen:
            tree.update(unseen.items())
            unseen.clear()
        return tree

    def tops(self) -> list[merkle.Entry]:
        """(sha256 of the name, root) of every table that has entries, sorted: the set under the state's root."""
        tops = [(sha256(name.encode()).digest(), self.tree(name).root()) for name in NAMES]
        return sorted(top for top in tops if top[1] != merkle.ZERO)

    def round_tops(self) -> list[tuple[str, bytes]] | None:
        """(table name, root) of every table that had entries at the end of the last round, by name."""
        if self.height is None:
            return None
        tops = [(name, self._trees[name].root()) for name in NAMES]
        return [top for top in tops if top[1] != merkle.ZERO]

    def round_tree(self, name: str) -> Tree | None:
        """The tree of one table at the end of the last round."""
        return None if self.height is None else self._trees.get(name)

    def _note(self, name: str) -> None:
        changes = _hashed(self._touched[name])
        self._dirty[name].update(changes)
        if name in self._now:
            self._now[name][1].update(changes)
        prefix = of_tree(DIRTY, name)
        for k, v in changes.items():
            self._write(prefix + k, v or b"")
        self._touched[name].clear()  # last: what breaks off here is done again

    def _load_dirty(self, entries: Iterator[tuple[bytes, bytes]]) -> None:
        for stored, v in entries:
            name, _, k = stored[1:].partition(b"\0")
            self._dirty[name.decode()][k] = v or None


def _hashed(touched: _Touched) -> _Dirty:
    """k and v of what was touched, but for what came and went."""
    return {
        sha256(packed).digest(): None if raw is None else sha256(raw).digest()
        for packed, (was_there, raw) in touched.items()
        if was_there or raw is not None
    }


def _stored(name: str, read: Callable[[bytes], bytes | None], write: Callable[[bytes, bytes | None], None]) -> Tree:
    """The tree of a table as it lies in the store."""
    prefix = of_tree(TREES, name)
    return Tree(lambda path: read(prefix + path), lambda path, value: write(prefix + path, value))
