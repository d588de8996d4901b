"""The two sides of a comparison behind one interface: a peer over HTTP, or a state that is open here."""

from hashlib import sha256
from typing import Protocol

from node.sync.peer import PeerLacksError
from node.sync.wire import MOST_TRACES, Branch, Changes, Page, TraceAt
from state.canonical import locate
from state.errors import CodecError, StoreDamagedError
from state.schema import SINGLETONS, TABLES, encode_value
from state.state import State

_KINDS, _FIRST_SLOT = 31, 15


class Side(Protocol):
    """What a comparison asks of either side. All of it raises PeerLacksError for what is not there, PeerError."""

    @property
    def name(self) -> str:
        """Who it is, for people."""

    def accuse(self, reason: str) -> Exception:
        """The error to raise when its own answers do not hold together."""

    async def span(self) -> tuple[int, int]:
        """The oldest and the newest block whose changes it keeps; none are if that is the wrong way round."""

    async def traces(self, first: int) -> list[TraceAt]:
        """Traces from ``first`` on, one after the other, at least one."""

    async def changes(self, height: int) -> Changes:
        """What a block changed."""

    async def root(self, height: int) -> bytes:
        """The root after ``height``."""

    async def trees_at(self) -> int | None:
        """The height of the round at whose end the trees stand."""

    async def tops(self, height: int) -> list[tuple[str, bytes]]:
        """(table, its root) at ``height``."""

    async def branch(self, height: int, table: str, path: bytes) -> Branch:
        """A page or a bucket at a path of nibbles."""

    async def value(self, table: str, key: bytes) -> tuple[int, bytes | None]:
        """(height, value as of then) under a canonical key."""


class StateSide:
    """A state that is open in this process."""

    name = "this node"

    def __init__(self, state: State) -> None:
        self._state = state

    def accuse(self, reason: str) -> StoreDamagedError:
        return StoreDamagedError(
            f"our own state does not hold together: {reason}. Check the disk, then move the folder of the state away "
            f"and restore a snapshot or let the node replay"
        )

    async def span(self) -> tuple[int, int]:
        oldest = self._state.oldest_rewind
        if oldest < 0:
            raise PeerLacksError(self.name, "its state has not begun: let it catch up first", "not_begun")
        return oldest if self._state.undo(oldest) is not None else oldest + 1, self._state.height

    async def traces(self, first: int) -> list[TraceAt]:
        found = []
        for height in range(first, first + MOST_TRACES):
            trace, undo = self._state.trace(height), self._state.undo(height)
            if trace is None:
                break
            found.append(TraceAt(height, None if undo is None else undo.block_id, trace))
        if not found:
            raise self._lacks(f"no trace of block {first} is kept")
        return found

    async def changes(self, height: int) -> Changes:
        undo, trace = self._state.undo(height), self._state.trace(height)
        if undo is None or trace is None:
            raise self._lacks(f"nothing of block {height} is kept")
        return Changes(height, undo.before, undo.block_id, trace, undo.changed, undo.old)

    async def root(self, height: int) -> bytes:
        root = self._state.root(height)
        if root is None:
            raise self._lacks(f"no root of block {height} is kept")
        return root

    async def trees_at(self) -> int | None:
        return self._state.round_height

    async def tops(self, height: int) -> list[tuple[str, bytes]]:
        self._must_stand(height)
        return self._state.round_tops() or []

    async def branch(self, height: int, table: str, path: bytes) -> Branch:
        self._must_stand(height)
        page = self._state.round_page(table, path)
        if page is None:
            return self._state.round_bucket(table, path) or []
        hashes = [page[at : at + 32] for at in range(_KINDS, len(page), 32)]
        return Page(tuple(page[_FIRST_SLOT:_KINDS]), tuple(hashes[_FIRST_SLOT:]))

    async def value(self, table: str, key: bytes) -> tuple[int, bytes | None]:
        try:
            found = locate(table, key)
        except CodecError as error:
            raise self._lacks(str(error)) from error
        value = self._state.get(found[0], *found[1])
        return self._state.height, None if value is None else encode_value(value)

    def find_keys(self, wanted: set[bytes]) -> dict[bytes, bytes]:
        """The canonical keys whose sha256 is among ``wanted``, from all tables: many keys stand in several."""
        left, found = set(wanted), {}
        for table in TABLES + SINGLETONS:
            for key in [table.fixed] if table.fixed else (key for key, _ in self._state.walk(table)):
                packed = table.key(key)
                k = sha256(packed).digest()
                if k in left:
                    found[k] = packed
                    left.discard(k)
                    if not left:
                        return found
        return found

    def _must_stand(self, height: int) -> None:
        if self._state.round_height != height:
            here = self._state.round_height
            raise PeerLacksError(self.name, f"its trees stand at {here}, not at {height}", "other_height", here)

    def _lacks(self, reason: str) -> PeerLacksError:
        return PeerLacksError(self.name, reason, "not_kept")
