"""State and View over both stores, against a model in plain dicts and the reference roots and traces."""

import random
from pathlib import Path
from typing import Any

import pytest

from state import forest, schema
from state.errors import StateError, StoreDamagedError
from state.layout import DIRTY, TABLES, TREES, of_tree
from state.state import State
from state.store import Batch, LevelStore, MemoryStore
from tests.state import model as m
from tests.state import values
from tests.state.model import state_over


def test_root_and_trace_are_those_of_all_entries(fresh: State) -> None:
    model = m.Model()
    assert (fresh.is_new, fresh.height) == (True, -1)
    with pytest.raises(StateError):
        _ = fresh.head
    for block in m.blocks(1, 61):
        m.apply(fresh, block)
        model.apply(block)
        m.check(fresh, model, block.head.height)
    assert fresh.current_root() == model.root()
    assert len(model.roots) == 7


def test_the_root_on_demand_disturbs_nothing(fresh: State) -> None:
    model = m.Model()
    for block in m.blocks(2, 31):
        m.apply(fresh, block)
        model.apply(block)
        if block.head.height % 3 == 0:
            assert fresh.current_root() == model.root()
            fresh.proof(schema.NODE, "nobody")
        m.check(fresh, model, block.head.height)


@pytest.mark.parametrize("seed", [3, 4])
def test_reopening_in_the_middle_of_a_round(tmp_path: Path, seed: int) -> None:
    model, chance = m.Model(), random.Random(seed)
    through = state_over(MemoryStore())
    state = state_over(LevelStore(tmp_path / "state"))
    reopened = 0
    for block in m.blocks(seed, 51):
        height = block.head.height
        m.apply(state, block)
        m.apply(through, block)
        model.apply(block)
        if chance.random() < 0.4 or height % m.ROUND in (9, 0):
            if chance.random() < 0.3:
                state.current_root()  # not flushed: lost, and must not be missed
            state.close()
            state = state_over(LevelStore(tmp_path / "state", create=False))
            assert not state.is_new
            reopened += 1
        m.check(state, model, height)
    assert reopened > 15
    assert state.current_root() == through.current_root() == model.root()
    state.close()


def test_blocks_that_share_a_write_give_the_same_store(tmp_path: Path) -> None:
    each, shared = MemoryStore(), LevelStore(tmp_path / "state")
    one, other, model = state_over(each), state_over(shared), m.Model()
    for block in m.blocks(5, 45):
        m.apply(one, block)
        m.apply(other, block, flush=False)
        model.apply(block)
        m.check(other, model, block.head.height)
        if block.head.height % 7 == 0:
            other.flush()
            assert m.but_dirty(each) == m.but_dirty(shared)
            # what is noted as dirty differs where an entry is again what it was: a restart makes the same of it
            assert state_over(each).current_root() == state_over(shared).current_root()
    other.flush()
    assert m.but_dirty(each) == m.but_dirty(shared)
    assert other.current_root() == one.current_root() == model.root()
    other.close()


def test_what_comes_and_goes_within_a_round_costs_the_trees_nothing() -> None:
    store = Counting()
    state = state_over(store)
    m.apply(state, m.Block(schema.Head(10, bytes(20), 0), [(schema.BALANCE, ("a",), _tokens(1))]))
    for height in range(11, 21):
        amounts = {(f"b{height}",): _tokens(1), (f"b{height - 1}",): None}
        writes = [(schema.BALANCE, key, value) for key, value in amounts.items() if height < 20 or key != ("b20",)]
        m.apply(state, m.Block(schema.Head(height, bytes(20), 0), writes), flush=False)
    state.flush()
    assert m.content(state)["balance"].keys() == {("a",)}
    assert of_tree(TREES, "meta") in {key[: len(of_tree(TREES, "meta"))] for key, _ in store.written}
    for letter in (TREES, DIRTY):
        assert not [key for key, _ in store.written if key.startswith(of_tree(letter, "balance"))]


def test_the_root_covers_what_is_held_where_that_was_damaged_and_is_again_what_it_was() -> None:
    """A balance that leaves and comes back: what is held is not what the trees had, and the root must say so."""
    roots = []
    for flush in (True, False):
        store = MemoryStore()
        state = state_over(store)
        m.apply(state, m.Block(schema.Head(10, bytes(20), 0), [(schema.BALANCE, ("a",), _tokens(10))]))
        store.write([(TABLES + schema.BALANCE.store_key(("a",)), schema.encode_value(_tokens(99)))], sync=True)
        for height, amount in ((11, 96), (12, 99)):
            block = m.Block(schema.Head(height, bytes(20), 0), [(schema.BALANCE, ("a",), _tokens(amount))])
            m.apply(state, block, flush=flush)
        held = state_over(MemoryStore())
        m.apply(held, m.Block(schema.Head(10, bytes(20), 0), [(schema.BALANCE, ("a",), _tokens(99))]))
        roots.append((state.tree("balance").root(), held.tree("balance").root()))
    assert roots[0] == roots[1] and roots[0][0] == roots[0][1]


def test_what_breaks_off_while_it_is_noted_leaves_the_state_unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    state = state_over(store)
    m.apply(state, m.Block(schema.Head(10, bytes(20), 0), [(schema.BALANCE, ("a",), _tokens(10))]))
    m.apply(state, m.Block(schema.Head(11, bytes(20), 0), [(schema.BALANCE, ("a",), _tokens(11))]), flush=False)

    def interrupted(touched: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(forest, "_hashed", interrupted)
        state.flush()
    with pytest.raises(StateError):
        state.flush()
    assert state_over(store).height == 10


class Counting(MemoryStore):
    """Notes what the last write wrote."""

    written: Batch = ()

    def write(self, batch: Batch, *, sync: bool) -> None:
        self.written = list(batch)
        super().write(batch, sync=sync)


def test_what_was_not_flushed_is_lost_as_a_whole(tmp_path: Path) -> None:
    state, model = state_over(LevelStore(tmp_path / "state")), m.Model()
    listed = m.blocks(6, 28)
    for block in listed:
        m.apply(state, block, flush=block.head.height <= 17)
        if block.head.height <= 17:
            model.apply(block)
    assert state.height == 37
    state.close()
    again = state_over(LevelStore(tmp_path / "state"))
    m.check(again, model, 17)
    for block in listed[8:]:
        m.apply(again, block, flush=False)
        model.apply(block)
        m.check(again, model, block.head.height)
    again.close()


def test_a_view_thrown_away_leaves_nothing(fresh: State) -> None:
    model = m.Model()
    listed = m.blocks(7, 12)
    for block in listed:
        view = fresh.view()
        m.write(view, m.Block(schema.Head(9, bytes(20), 9), m.blocks(99, 1)[0].writes))
        del view
        m.apply(fresh, block)
        model.apply(block)
        m.check(fresh, model, block.head.height)
    before, root = m.stored(fresh._store), fresh.current_root()
    m.write(fresh.view(), listed[0])
    fresh.flush()
    assert fresh.current_root() == root
    assert {k: v for k, v in m.stored(fresh._store).items() if k[:1] == b"t"} == {
        k: v for k, v in before.items() if k[:1] == b"t"
    }


def test_a_view_sees_its_own_writes_only() -> None:
    state = state_over(MemoryStore())
    m.apply(state, m.Block(schema.Head(10, bytes(20), 0), [(schema.BALANCE, (name,), _tokens(1)) for name in "abd"]))
    view, other = state.view(), state.view()
    view.put(schema.BALANCE, _tokens(2), "c")
    view.put(schema.BALANCE, _tokens(3), "a")
    view.delete(schema.BALANCE, "b")
    view.delete(schema.BALANCE, "nobody")
    assert view.writes == 4
    assert [(key, value.liquid) for key, value in view.walk(schema.BALANCE)] == [(("a",), 3), (("c",), 2), (("d",), 1)]
    assert view.get(schema.BALANCE, "b") is None
    with pytest.raises(KeyError):
        view.need(schema.BALANCE, "b")
    assert other.need(schema.BALANCE, "b") == state.need(schema.BALANCE, "b") == _tokens(1)
    assert [(table.name, key, value) for table, key, value, _, _ in state.differences(view)] == [
        ("balance", ("a",), _tokens(3)),
        ("balance", ("b",), None),
        ("balance", ("c",), _tokens(2)),
    ]


def _tokens(amount: int) -> schema.Balance:
    return schema.Balance(amount)


def test_writing_back_what_was_there_is_no_change() -> None:
    one, other = state_over(MemoryStore()), state_over(MemoryStore())
    for block in m.blocks(8, 3):
        m.apply(one, block)
        m.apply(other, block)
    head = schema.Head(13, bytes(20), 0)
    again = list(one.walk(schema.BALANCE))
    noise = [(schema.BALANCE, key, _tokens(77)) for key, _ in again] + [(schema.INCOME, (1, 2), None)]
    m.apply(one, m.Block(head, [*noise, *((schema.BALANCE, key, value) for key, value in again)]))
    m.apply(other, m.Block(head, []))
    assert one.trace(13) == other.trace(13)


@pytest.mark.parametrize("table", schema.TABLES, ids=lambda table: table.name)
def test_walks_go_by_the_fields_of_the_keys(fresh: State, table: schema.Table[Any]) -> None:
    chance = random.Random(table.name)
    keys = {values.key_of(chance, table) for _ in range(120)}
    listed: list[m.Write] = [(table, key, values.value_of(chance, table.value)) for key in keys]
    halves = (listed[:40], listed[40:80], listed[80:])
    m.apply(fresh, m.Block(schema.Head(10, bytes(20), 0), halves[0]))
    m.apply(fresh, m.Block(schema.Head(11, bytes(20), 0), halves[1]), flush=False)
    view = fresh.view()
    for _, key, value in halves[2]:
        view.put(table, value, *key)
    ordered = sorted(keys, key=values.order)
    assert [key for key, _ in view.walk(table)] == ordered
    held = sorted((key for _, key, _ in listed[:80]), key=values.order)
    assert [key for key, _ in fresh.walk(table)] == held
    if len(table.fields) > 1:
        for start in {key[:1] for key in keys}:
            assert [key for key, _ in view.walk(table, *start)] == [key for key in ordered if key[:1] == start]
            assert [key for key, _ in fresh.walk(table, *start)] == [key for key in held if key[:1] == start]


class FailingStore(MemoryStore):
    """A disk that is full when told so."""

    full = False

    def write(self, batch: Batch, *, sync: bool) -> None:
        assert sync, "a block is on disk before the next one"
        if self.full:
            raise StoreDamagedError("no space left: free some, then start again")
        super().write(batch, sync=sync)


@pytest.mark.parametrize("flush", [True, False])
def test_a_failed_write_leaves_the_state_unusable_and_the_store_whole(flush: bool) -> None:
    store, model = FailingStore(), m.Model()
    state = state_over(store)
    listed = m.blocks(9, 15)
    for block in listed[:12]:
        m.apply(state, block)
        model.apply(block)
    before, store.full = m.stored(store), True
    with pytest.raises(StoreDamagedError):
        m.apply(state, listed[12], flush=flush)
        state.flush()
    store.full = False
    with pytest.raises(StateError, match="restart"):
        m.apply(state, listed[13])
    with pytest.raises(StateError, match="restart"):
        state.flush()
    assert m.stored(store) == before
    again = state_over(store)
    m.check(again, model, 21)
    for block in listed[12:]:
        m.apply(again, block)
        model.apply(block)
        m.check(again, model, block.head.height)


def test_a_block_that_cannot_be_encoded_is_not_written_by_halves() -> None:
    store = MemoryStore()
    state, model = state_over(store), m.Model()
    for block in m.blocks(10, 4):
        m.apply(state, block)
        model.apply(block)
    before = m.stored(store)
    payload = schema.Payload("payout", 0, 1, "a", 1, "HIVE", "", "", ())
    bad = m.Block(
        schema.Head(14, bytes(20), 0), [(schema.BALANCE, ("a",), _tokens(1)), (schema.QUEUE, (2**64,), payload)]
    )
    with pytest.raises(StateError):
        m.apply(state, bad)
    with pytest.raises(StateError, match="restart"):
        state.flush()
    assert m.stored(store) == before
    m.check(state_over(store), model, 13)
