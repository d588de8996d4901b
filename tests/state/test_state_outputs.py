"""What a state says about itself: kept traces and roots, proofs, trees, the bytes of its values."""

import random

import pytest

from state import merkle, schema
from state.errors import ProofError
from state.state import State
from state.store import MemoryStore
from tests.reference import roots
from tests.reference.packing import H, encode
from tests.reference.proofs import SetProof, root_by
from tests.state import model as m
from tests.state import values
from tests.state.model import state_over


def test_traces_and_roots_are_kept_for_a_while_outside_the_tables() -> None:
    store = MemoryStore()
    state, model = state_over(store, trace_keep=25), m.Model()
    for block in m.blocks(11, 71):
        m.apply(state, block)
        model.apply(block)
    assert [height for height in range(100) if state.trace(height)] == list(range(56, 81))
    kept = [height for height in range(100) if state.root(height)]
    assert (state.oldest_rewind, kept) == (55, [40, 50, 60, 70, 80]), "those of its round and of the one before too"
    assert state.current_root() == model.root(), "what is forgotten is no part of the root"


def test_a_trace_after_a_round_stands_on_the_root() -> None:
    state = state_over(MemoryStore())
    ids = [bytes([at]) * 20 for at in range(3)]
    for at in range(3):
        m.apply(state, m.Block(schema.Head(m.ROUND + at, ids[at], at), []))
    key = encode(["head"])
    heads = [encode([m.ROUND + at, ids[at], at]) for at in range(3)]
    first = H(["trace", bytes(32), ids[0], [["meta", key, heads[0]]]])
    assert state.trace(m.ROUND) == first
    second = H(["trace", state.root(m.ROUND), ids[1], [["meta", key, heads[1]]]])
    assert state.trace(m.ROUND + 1) == second
    assert state.trace(m.ROUND + 2) == H(["trace", second, ids[2], [["meta", key, heads[2]]]])


def test_proofs_lead_to_the_state_root(fresh: State) -> None:
    model = m.Model()
    for block in m.blocks(12, 33):
        m.apply(fresh, block)
        model.apply(block)
    root, chance = model.root(), random.Random(12)
    seen = set()
    for table in m.TABLES:
        entries = model.tables.get(table.name, {})
        for key in [*list(entries)[:3], values.key_of(chance, table)]:
            if table.fixed and key != table.fixed:
                continue
            within, above = fresh.proof(table, *key)
            k, v = roots.digest(encode(list(key))), None
            if key in entries:
                v = roots.digest(encode(entries[key]))
            table_root = roots.set_root(roots.table_pairs(entries))
            assert merkle.verify(table_root, k, within) == v
            name = roots.digest(table.name.encode())
            top = root_by(SetProof(above.siblings, above.entry), name, table_root if entries else None)
            assert top is not None
            assert H(["root", m.GENESIS_HASH, top]) == root == fresh.current_root()
            assert merkle.verify(top, name, above) == (table_root if entries else None)
            with pytest.raises(ProofError):
                merkle.verify(roots.digest(table_root), k, within)
            seen.add((bool(entries), v is not None))
    assert seen >= {(True, True), (True, False)}


def test_the_trees_of_two_states_differ_where_their_entries_differ() -> None:
    one, other = state_over(MemoryStore()), state_over(MemoryStore())
    for block in m.blocks(13, 5):
        m.apply(one, block)
        m.apply(other, block)
    head = schema.Head(15, bytes(20), 0)
    m.apply(one, m.Block(head, [(schema.BALANCE, ("odd",), schema.Balance(1))]))
    m.apply(other, m.Block(head, [(schema.BALANCE, ("odd",), schema.Balance(2))]))
    unlike = [name for name in schema.NAMES if one.tree(name).nodes(b"") != other.tree(name).nodes(b"")]
    assert unlike == ["balance"]


def test_values_in_the_store_are_the_canonical_form() -> None:
    store = MemoryStore()
    state, model = state_over(store), m.Model()
    for block in m.blocks(14, 9):
        m.apply(state, block)
        model.apply(block)
    for table in schema.TABLES:
        held = model.tables.get(table.name, {})
        assert m.values_in(store, table) == [held[key] for key in sorted(held, key=values.order)]
