"""Blocks that are taken back: afterwards the state is one that never saw them."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state import schema
from state.errors import StateError, StoreDamagedError
from state.layout import UNDO, of_height
from state.state import State
from state.store import LevelStore, MemoryStore, Store
from state.undo import Changed, trace_of
from tests.reference.packing import encode
from tests.reference.roots import ZERO, digest
from tests.state import model as m
from tests.state import values
from tests.state.model import state_over

KEPT = (b"t", b"x", b"r", b"u")  # tables, traces, roots, undo records


def held(store: Store) -> dict[bytes, bytes]:
    """All bytes but the trees, which may lie in other pages for the same entries, and what they have not seen: it may
    hold more. That both together are right, the root of a state opened anew says.
    """
    return {key: value for key, value in m.stored(store).items() if key[:1] in KEPT}


def replayed(listed: list[m.Block], keep: int = 2_400) -> tuple[State, MemoryStore]:
    """A state that saw these blocks and no others."""
    store = MemoryStore()
    state = state_over(store, keep)
    for block in listed:
        m.apply(state, block)
    return state, store


def alike(one: State, other: State, chance: random.Random) -> None:
    """Everything that two states say of themselves is the same."""
    height = other.height
    assert (one.height, one.head) == (height, other.head)
    assert m.content(one) == m.content(other)
    assert one.current_root() == other.current_root()
    assert (one.round_height, one.round_tops()) == (other.round_height, other.round_tops())
    for number in range(height + 30):
        assert one.trace(number) == other.trace(number)
        assert one.root(number) == other.root(number)
        assert one.changes(number) == other.changes(number)
    for table in chance.sample(m.TABLES, 4):
        key = values.key_of(chance, table)
        assert one.proof(table, *key) == other.proof(table, *key)


@given(st.integers(0, 10**6), st.lists(st.integers(0, 35), min_size=1, max_size=4), st.booleans(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_state_gone_back_is_one_that_never_saw_the_later_blocks(
    seed: int, ways: list[int], flushed: bool, asked: bool
) -> None:
    """Blocks, back to some height, other blocks, and so on; against a replay of those that are left."""
    chance, store = random.Random(seed), MemoryStore()
    state = state_over(store)
    history: list[m.Block] = []
    for turn, back in enumerate(ways):
        first = history[-1].head.height + 1 if history else m.ROUND
        for block in m.blocks(seed + turn, chance.randrange(2, 30), first=first):
            m.apply(state, block, flush=flushed)
            history.append(block)
            if asked and chance.random() < 0.2:
                state.current_root()
        target = max(m.ROUND, history[-1].head.height - 1 - back)
        if target == history[-1].head.height:
            continue
        state.rewind(target)
        del history[target - m.ROUND + 1 :]
        fresh, fresh_store = replayed(history)
        assert held(store) == held(fresh_store)
        alike(state, fresh, chance)
        alike(state_over(store), fresh, chance)


@pytest.mark.parametrize("back", [25, 24, 20, 19, 9, 1])
def test_when_little_is_kept_the_same_blocks_give_the_same_again(back: int) -> None:
    seed, keep = back, 25
    chance = random.Random(seed)
    listed = m.blocks(seed, 90)
    expected, expected_store = replayed(listed, keep)
    state, store = replayed(listed[:60], keep)
    assert state.oldest_rewind == 69 - keep
    target = 69 - back
    state.rewind(target)
    model = m.Model()
    for block in listed[: target - m.ROUND + 1]:
        model.apply(block)
    assert (state.height, state.current_root()) == (target, model.root())
    for earlier in range(2):
        start = (target // m.ROUND - earlier) * m.ROUND
        assert state.root(start) == model.roots[start], "a tally speaks of the round before"
    for block in listed[target - m.ROUND + 1 :]:
        m.apply(state, block, flush=chance.random() < 0.5)
        model.apply(block)
        m.check(state, model, block.head.height)
        if chance.random() < 0.1:
            state = _reopened(state, store, keep)
    state.flush()
    assert held(store) == held(expected_store)
    assert state_over(store).current_root() == state_over(expected_store).current_root() == model.root()
    assert state.oldest_rewind == expected.oldest_rewind == 99 - keep


def _reopened(state: State, store: Store, keep: int) -> State:
    state.flush()
    again = state_over(store, keep)
    assert again.oldest_rewind == state.oldest_rewind
    return again


def test_step_by_step_to_the_genesis_state_and_on_a_disk(tmp_path: Path) -> None:
    state = state_over(LevelStore(tmp_path / "state"))
    listed = m.blocks(31, 24)
    for block in listed:
        m.apply(state, block)
    for height in range(32, m.ROUND - 1, -1):
        state.rewind(height)
        if height % 5 == 0:
            state.close()
            state = state_over(LevelStore(tmp_path / "state"))
        fresh, _ = replayed(listed[: height - m.ROUND + 1])
        assert (state.height, m.content(state)) == (height, m.content(fresh))
        assert state.current_root() == fresh.current_root()
    assert (state.oldest_rewind, state.root(m.ROUND)) == (m.ROUND, state.current_root())
    state.close()


def test_blocks_not_on_disk_yet_are_taken_back_too() -> None:
    store = MemoryStore()
    state, listed = state_over(store), m.blocks(32, 30)
    for block in listed:
        m.apply(state, block, flush=block.head.height <= 25)
    state.rewind(33)
    fresh, expected = replayed(listed[:24])
    assert held(store) == held(expected)
    assert state_over(store).current_root() == fresh.current_root()
    for block in listed[24:]:
        m.apply(state, block, flush=False)
    state.rewind(20)
    fresh, expected = replayed(listed[:11])
    assert held(store) == held(expected)
    assert state_over(store).current_root() == fresh.current_root()


def test_what_is_derived_from_a_table_is_derived_anew() -> None:
    state = state_over(MemoryStore())

    def sums(view: object) -> int:
        return sum(value.liquid for _, value in state.walk(schema.BALANCE))

    for height in range(10, 14):
        balance = (schema.BALANCE, ("alice",), schema.Balance(height))
        m.apply(state, m.Block(schema.Head(height, bytes(20), 0), [balance]))
    assert state.derive(schema.BALANCE, sums) == 13
    state.rewind(11)
    assert state.derive(schema.BALANCE, sums) == 11


@pytest.mark.parametrize("target", [-1, 0, 9, 43, 69, 70, 10**9])
def test_where_one_cannot_go_back_to_nothing_changes(target: int) -> None:
    state, store = replayed(m.blocks(33, 60), keep=25)
    before = m.stored(store)
    with pytest.raises(StateError, match=r"at 69 and can go back to 44 at the oldest.*replay"):
        state.rewind(target)
    assert m.stored(store) == before
    state.rewind(44)
    assert state.oldest_rewind == 44
    with pytest.raises(StateError, match="44 at the oldest"):
        state.rewind(43)


def test_an_empty_state_and_the_genesis_state_have_nothing_to_take_back() -> None:
    state = state_over(MemoryStore())
    assert state.oldest_rewind == -1
    with pytest.raises(StateError):
        state.rewind(-1)
    m.apply(state, m.blocks(34, 1)[0])
    assert (state.oldest_rewind, state.height) == (m.ROUND, m.ROUND)
    with pytest.raises(StateError):
        state.rewind(m.ROUND - 1)


def test_going_back_is_one_synced_write() -> None:
    class Counting(MemoryStore):
        writes = 0

        def write(self, batch: list[tuple[bytes, bytes | None]], *, sync: bool) -> None:
            assert sync
            self.writes += 1
            super().write(batch, sync=sync)

    store = Counting()
    state = state_over(store)
    for block in m.blocks(35, 30):
        m.apply(state, block, flush=False)
    store.writes = 0
    state.rewind(15)
    assert store.writes == 1


@pytest.mark.parametrize("height", [22, 25, 30, 38])
def test_a_missing_or_another_record_is_noticed(height: int) -> None:
    """The state is not usable then, and what is on disk is as it was."""
    state, store = replayed(m.blocks(36, 30))
    key = of_height(UNDO, height)
    store.write([(key, None)], sync=True)
    before = m.stored(store)
    for again in (state, state_over(store)):
        with pytest.raises(StoreDamagedError, match="replay"):
            again.rewind(21)
        with pytest.raises(StateError, match="restart"):
            again.rewind(38)
        assert m.stored(store) == before
    store.write([(key, store.get(of_height(UNDO, 12)))], sync=True)
    with pytest.raises(StateError):
        state_over(store).rewind(21)


@pytest.mark.parametrize(("prefix", "height"), [(b"x", 25), (b"r", 20)])
def test_a_record_that_does_not_follow_what_is_kept_is_noticed(prefix: bytes, height: int) -> None:
    _, store = replayed(m.blocks(38, 30))
    store.write([(of_height(prefix, height), bytes(32))], sync=True)
    before = m.stored(store)
    with pytest.raises(StoreDamagedError, match="replay"):
        state_over(store).rewind(height)
    assert m.stored(store) == before


def test_what_a_block_changed_leads_to_its_trace() -> None:
    state, _ = replayed(m.blocks(37, 40))
    for height in range(m.ROUND, 50):
        undo, changed = state.undo(height), state.changes(height)
        assert undo is not None and changed is not None
        assert undo.before == (state.root(height - 1) or state.trace(height - 1) or ZERO)
        assert undo.changed == changed and len(undo.old) == len(changed)
        assert trace_of(undo.before, undo.block_id, changed) == state.trace(height)
        whole = ["trace", undo.before, undo.block_id, [list(one) for one in changed]]
        assert digest(encode(whole)) == state.trace(height)
        for lie in (changed[1:], [*changed, Changed("node", b"\x91\xa1a", None)], changed[::-1] + changed[:1]):
            assert trace_of(undo.before, undo.block_id, lie) != state.trace(height)
    assert state.changes(9) is state.changes(50) is state.undo(9) is None
