"""Where two nodes of a group differ: first by the traces of their last blocks, then down their trees.

A trace stands on the one before it, and at the beginning of a round on the root (protocol section 9). So within a round
equal traces mean equal blocks before; across rounds they only mean equal states: two nodes that differed may agree
again at the end of a round. That is why the common traces are read one by one, and not searched by halves.

What either side says is held against its own hashes: one that contradicts itself is told apart from one that differs.
"""

import asyncio
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec

from node.sync.difference import Difference, EntryDifference, changed_otherwise, words_of
from node.sync.peer import PeerError, PeerLacksError
from node.sync.readable import shown_entry
from node.sync.sides import Side, StateSide
from node.sync.walk import MOST_ENTRIES, Differing, Walk
from node.sync.wire import Changes, TraceAt
from processors.genesis import Genesis
from state.codec import H
from state.merkle import ZERO, root_of
from state.undo import trace_of

__all__ = ["Difference", "EntryDifference", "Side", "StateSide", "compare"]

#: Seconds for all of it; and how often it begins anew when what was asked for went away meanwhile.
SECONDS = 600.0
_TURNS = 3

FindKeys = Callable[[set[bytes]], dict[bytes, bytes]]  # sha256 -> canonical key


async def compare(
    ours: Side,
    theirs: Side,
    genesis: Genesis,
    *,
    find_keys: FindKeys | None = None,
    tell: Callable[[str], None] = lambda words: None,
) -> Difference:
    """The first difference between two nodes. ``find_keys`` knows keys by their hash; ``tell`` hears of the progress.

    Raises PeerError if a peer does not answer, PeerLiesError if it contradicts itself, StateError for our own side.
    """
    try:
        async with asyncio.timeout(SECONDS):
            for _ in range(_TURNS - 1):
                try:
                    return await _Comparison(ours, theirs, genesis, find_keys or _nobody, tell).run()
                except PeerLacksError:
                    continue  # the nodes went on: what was the oldest, or the last round, is so no more
            return await _Comparison(ours, theirs, genesis, find_keys or _nobody, tell).run()
    except TimeoutError:
        raise PeerError(theirs.name, f"the comparison was not done within {SECONDS:g} s: try another node") from None


class _Comparison:
    def __init__(
        self, ours: Side, theirs: Side, genesis: Genesis, find_keys: FindKeys, tell: Callable[[str], None]
    ) -> None:
        self._ours = ours
        self._theirs = theirs
        self._sides = ours, theirs
        self._genesis = genesis
        self._find_keys = find_keys
        self._tell = tell
        self._span = -1, -1

    async def run(self) -> Difference:
        (one, top), (other, other_top) = await self._ours.span(), await self._theirs.span()
        oldest, newest = max(one, other), min(top, other_top)
        if oldest > newest:
            return await self._without_traces()
        self._span = oldest, newest
        first, again, before = await self._first_trace(oldest, newest)
        if first is None:
            words = f"equal: all traces of the blocks {oldest} to {newest} are the same"
            return self._result("equal", newest, words)
        height = first[0].height
        found = await self._in_block(first, before)
        if found is None:
            since = f"they differ since before block {height}"
            if before is not None:
                since = f"the roots before block {height} differ, the traces do not: one of the two stores is damaged"
            return await self._older(since, again)
        if again is None:
            return found
        words = f"{found.words}. From block {again} on they agree again"
        return msgspec.structs.replace(found, again=again, words=words)

    # -- traces

    async def _first_trace(
        self, oldest: int, newest: int
    ) -> tuple[tuple[TraceAt, TraceAt] | None, int | None, TraceAt | None]:
        """(the first traces that differ, the height from which on they agree again, the common trace before)."""
        first: tuple[TraceAt, TraceAt] | None = None
        again: int | None = None
        before: TraceAt | None = None
        height = oldest
        while height <= newest:
            self._tell(f"comparing traces: {height} of {oldest} to {newest}")
            pairs = list(zip(await self._ours.traces(height), await self._theirs.traces(height), strict=False))
            for one, other in pairs[: newest - height + 1]:
                if one.trace != other.trace:
                    again = None
                    first = first or (one, other)
                elif first is None:
                    before = one
                elif again is None:
                    again = one.height
            height += len(pairs)
        return first, again, before

    async def _in_block(self, first: tuple[TraceAt, TraceAt], before: TraceAt | None) -> Difference | None:
        """What this block did on either side; None if they differed before it."""
        height = first[0].height
        try:
            one = await self._changes(self._ours, first[0], before)
            other = await self._changes(self._theirs, first[1], before)
        except PeerLacksError as error:
            return self._by_ids(first, str(error))
        if one.before != other.before:
            return None
        if one.block_id != other.block_id:
            return self._by_ids(first, "")
        entries = changed_otherwise(one, other, self._genesis.chain.address_prefix)
        if not entries:
            raise self._theirs.accuse(f"what it says of block {height} has not the trace that it names")
        words = f"block {height} is the same on both sides, but did other things: first {words_of(entries[0])}"
        return self._result("state", height, words, entries=entries)

    async def _changes(self, side: Side, at: TraceAt, before: TraceAt | None) -> Changes:
        """A block's changes, held against the trace that its side gave, and that against the one before."""
        self._tell(f"what block {at.height} changed, of {side.name}")
        found = await side.changes(at.height)
        on_a_root = (at.height - 1) % self._genesis.params.round_length == 0
        if found.trace != at.trace or found.block_id != at.block_id:
            raise side.accuse(f"its changes of block {at.height} are not those of the trace that it listed")
        if trace_of(found.before, found.block_id, found.changed) != found.trace:
            raise side.accuse(f"lies about its changes: those of block {at.height} have not the trace that it names")
        if before is not None and not on_a_root and found.before != before.trace:
            raise side.accuse(f"its trace of block {at.height} does not stand on its trace of the block before")
        if len({(one.table, one.key) for one in found.changed}) != len(found.changed):
            raise side.accuse(f"its changes of block {at.height} name an entry twice")
        return found

    def _by_ids(self, first: tuple[TraceAt, TraceAt], lacking: str) -> Difference:
        """What the block ids alone tell."""
        height = first[0].height
        one, other = (at.block_id.hex() if at.block_id is not None else "" for at in first)
        if one and other and one != other:
            words = f"the feeds differ, not the state: block {height} is {one} here and {other} there"
            return self._result("blocks", height, words, block_ids=(one, other))
        words = f"block {height} did other things on both sides; which ones cannot be seen ({lacking})"
        return self._result("state", height, words)

    # -- trees

    async def _without_traces(self) -> Difference:
        """No block is kept by both: the root of a round that both know decides."""
        for side, other in (self._sides, self._sides[::-1]):
            height = await side.trees_at()
            if height is None:
                continue
            try:
                one, two = await side.root(height), await other.root(height)
            except PeerLacksError:
                continue
            if one == two:
                return self._result("equal", height, f"equal: the roots after block {height} are the same")
            return await self._older("they keep no trace of a common block, and have other roots", None)
        words = "it and this node have no block and no root in common: let the one that is behind catch up"
        raise PeerError(self._theirs.name, words)

    async def _older(self, since: str, again: int | None) -> Difference:
        """They differ since before what both keep: the first entries that differ now, by their trees."""
        one, other = await self._ours.trees_at(), await self._theirs.trees_at()
        if one is None or one != other:
            words = f"{since}; their trees stand at {one} and {other}: ask again when both are live"
            return self._result("older", self._span[1], words, again=again)
        return await self._down(one, since, again)

    async def _down(self, height: int, since: str, again: int | None) -> Difference:
        ours, theirs = [dict(await self._tops(side, height)) for side in self._sides]
        tables = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        if not tables:
            words = f"{since}; after block {height} their states are the same again"
            return self._result("older", height, words, again=height if again is None else again)
        walk = Walk(self._ours, self._theirs, height, self._tell)
        found: list[Differing] = []
        for name in tables:
            tops = ours.get(name, ZERO), theirs.get(name, ZERO)
            found += await walk.differing(name, *tops, MOST_ENTRIES - len(found))
        entries = await self._named(found)
        words = f"{since}. After block {height} these tables differ: {', '.join(tables)}"
        words += f"; first {words_of(entries[0])}" if entries else ""
        return self._result("older", height, words, again=again, tables=tables, entries=entries)

    async def _tops(self, side: Side, height: int) -> list[tuple[str, bytes]]:
        """The roots of the tables, held against the side's root."""
        tops = await side.tops(height)
        hashed = sorted((sha256(name.encode()).digest(), top) for name, top in tops if top != ZERO)
        if H(["root", self._genesis.hash, root_of(hashed)]) != await side.root(height):
            raise side.accuse(f"its tables at {height} have not its root, or it is of another genesis")
        return tops

    async def _named(self, found: list[Differing]) -> list[EntryDifference]:
        """With keys and values, as far as they can be had."""
        self._tell("looking for the keys")
        keys = self._find_keys({one.k for one in found}) if found else {}
        return [await self._entry(one, keys.get(one.k)) for one in found]

    async def _entry(self, one: Differing, packed: bytes | None) -> EntryDifference:
        if packed is None:
            shown = [None if v is None else f"unknown, sha256 {v.hex()}" for v in (one.ours, one.theirs)]
            return EntryDifference(one.table, one.k.hex(), None, *shown)
        values = []
        for side, v in zip(self._sides, (one.ours, one.theirs), strict=True):
            values.append(None if v is None else await self._value(side, one.table, packed, v))
        key, _ = shown_entry(one.table, packed, None, self._genesis.chain.address_prefix)
        return EntryDifference(one.table, one.k.hex(), key, *values)

    async def _value(self, side: Side, table: str, packed: bytes, v: bytes) -> Any:
        """The value whose hash stands in the tree, if it is still there."""
        try:
            _, raw = await side.value(table, packed)
        except PeerLacksError:
            raw = None
        if raw is None or sha256(raw).digest() != v:
            return f"changed since, sha256 {v.hex()}"
        return shown_entry(table, packed, raw, self._genesis.chain.address_prefix)[1]

    def _result(self, kind: str, height: int, words: str, **more: Any) -> Difference:
        entries = more.get("entries") or []
        if entries:
            first = entries[0]
            more.update(table=first.table, key=first.key, ours=first.ours, theirs=first.theirs)
        return Difference(kind, height, words, *self._span, **more)


def _nobody(wanted: set[bytes]) -> dict[bytes, bytes]:
    """No key is known by its hash."""
    return {}
