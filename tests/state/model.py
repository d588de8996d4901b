"""A state as plain dicts beside the real one: random blocks, and the root and traces that the reference gives."""

import random
from dataclasses import dataclass, field
from typing import Any

from state import schema
from state.layout import DIRTY
from state.schema import Key, Table
from state.state import State
from state.store import Store
from state.view import View
from tests.reference.packing import decode
from tests.reference.roots import ZERO, Fields, changes, state_root, trace
from tests.state.values import fields, key_of, value_of

ROUND = 10
GENESIS_HASH = bytes(range(32))
TABLES: tuple[Table[Any], ...] = (*schema.TABLES, *(one for one in schema.SINGLETONS if one is not schema.HEAD))

Write = tuple[Table[Any], Key, Any]  # value None = delete
Tables = dict[str, dict[Fields, Any]]


def state_over(store: Store, trace_keep: int = 2_400) -> State:
    """A state of the tests' genesis."""
    return State(store, GENESIS_HASH, round_length=ROUND, trace_keep=trace_keep)


@dataclass
class Block:
    """One block's head and writes."""

    head: schema.Head
    writes: list[Write]


def blocks(seed: int, count: int, first: int = ROUND, each: int = 12) -> list[Block]:
    """Random blocks from height ``first`` on. The first one fills every table; small pools make keys come again."""
    chance = random.Random(seed)
    pools = {table: [key_of(chance, table) for _ in range(12)] for table in TABLES}
    made = []
    for height in range(first, first + count):
        tables = list(TABLES) if height == first else chance.choices(TABLES, k=chance.randrange(each))
        writes: list[Write] = []
        for table in tables:
            value = None if height > first and chance.random() < 0.35 else value_of(chance, table.value)
            writes.append((table, chance.choice(pools[table]), value))
        if chance.random() < 0.2:  # empty a whole table
            table = chance.choice(TABLES)
            writes += [(table, key, None) for key in pools[table]]
        head = schema.Head(height, chance.randbytes(20), 1_700_000_000 + 3 * height)
        made.append(Block(head, writes))
    return made


def write(view: View, block: Block) -> None:
    """Put a block's writes into a view."""
    view.put(schema.HEAD, block.head)
    for table, key, value in block.writes:
        if value is None:
            view.delete(table, *key)
        else:
            view.put(table, value, *key)


def apply(state: State, block: Block, *, flush: bool = True) -> None:
    """Commit a block."""
    view = state.view()
    write(view, block)
    state.commit(view, flush=flush)


@dataclass
class Model:
    """All entries, and what the reference says of them after every block."""

    tables: Tables = field(default_factory=dict)
    roots: dict[int, bytes] = field(default_factory=dict)
    traces: dict[int, bytes] = field(default_factory=dict)

    def apply(self, block: Block) -> None:
        """Take a block."""
        before = self.tables
        after: Tables = {name: dict(entries) for name, entries in before.items()}
        for table, key, value in [(schema.HEAD, schema.HEAD.fixed, block.head), *block.writes]:
            entries = after.setdefault(table.name, {})
            if value is None:
                entries.pop(key, None)
            else:
                entries[key] = fields(value)
        height = block.head.height
        last = self.roots[height - 1] if height - 1 in self.roots else self.traces.get(height - 1, ZERO)
        self.tables = after
        self.traces[height] = trace(last, block.head.block_id, changes(before, after))
        if height % ROUND == 0:
            self.roots[height] = self.root()

    def root(self) -> bytes:
        """The root of everything, computed anew."""
        return state_root(GENESIS_HASH, self.tables)


def content(state: State) -> Tables:
    """Everything that a state holds, read through its own API."""
    found: Tables = {}
    for table in schema.TABLES:
        found[table.name] = {key: fields(value) for key, value in state.walk(table)}
    found["meta"] = {}
    for table in schema.SINGLETONS:
        value = state.get(table)
        if value is not None:
            found["meta"][table.fixed] = fields(value)
    return {name: entries for name, entries in found.items() if entries}


def stored(store: Any) -> dict[bytes, bytes]:
    """Every byte of a store."""
    return dict(store.iterate(b""))


def but_dirty(store: Any) -> dict[bytes, bytes]:
    """Every byte of a store but what it notes for the trees."""
    return {key: value for key, value in stored(store).items() if key[:1] != DIRTY}


def check(state: State, model: Model, height: int) -> None:
    """The state holds what the model holds, with the same trace and, at a round's end, root."""
    assert state.height == height
    assert state.trace(height) == model.traces[height]
    assert state.root(height) == model.roots.get(height)
    assert content(state) == {name: entries for name, entries in model.tables.items() if entries}


def values_in(store: Any, table: Table[Any]) -> list[Any]:
    """The values of a table as a store holds them, decoded by the reference."""
    return [decode(raw) for _, raw in store.iterate(b"t" + table.prefix)]
