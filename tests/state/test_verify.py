"""The root computed anew from every entry: it is the tree's root, until an entry is not what the tree says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from state.layout import TABLES as PREFIX
from state.schema import BALANCE, NODE, ROUND, TALLY, Balance
from state.store import MemoryStore
from state.table import encode_value
from state.verify import recomputed_root
from tests.node.test_core import any_state, new_group, run_to_founded


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    found = new_group(tmp_path_factory.mktemp("verify"))
    run_to_founded(found)
    found.run_until(lambda: any_state(found).height % 20 == 0, 25)
    return found


def test_it_is_the_root_of_the_trees_at_every_height(group):
    for _ in range(23):
        for node in group.nodes.values():
            assert recomputed_root(node.state) == node.state.current_root()
        group.step()


def test_computing_it_changes_nothing(group):
    state = any_state(group)
    before = list(state._store.iterate(b""))
    recomputed_root(state)
    assert list(state._store.iterate(b"")) == before


def reopened(state, store):
    return type(state)(store, state.genesis_hash, round_length=20)


def copy_of(state):
    state.flush()
    store = MemoryStore()
    store.write(list(state._store.iterate(b"")), sync=True)
    return store


READ, RESIDENT = PREFIX + ROUND.prefix, PREFIX + NODE.prefix


@pytest.mark.parametrize("where", [READ, RESIDENT], ids=["read through", "resident"])
@pytest.mark.parametrize("what", ["changed", "missing", "added"])
def test_an_entry_that_is_not_what_the_tree_says_is_found(group, what, where):
    state = any_state(group)
    store = copy_of(state)
    (key, value), *others = store.iterate(where)
    other = next(raw for _, raw in others if raw != value)
    if what == "missing":
        store.write([(key, None)], sync=True)
    elif what == "changed":
        store.write([(key, other)], sync=True)
    else:
        table, extra = (NODE, "mallory") if where == RESIDENT else (ROUND, 10**6)
        store.write([(PREFIX + table.store_key((extra,)), value)], sync=True)
    damaged = reopened(state, store)
    assert recomputed_root(damaged) != damaged.current_root() == state.current_root()


def test_a_singleton_that_is_not_what_the_tree_says_is_found(group):
    state = any_state(group)
    store = copy_of(state)
    wrong = replace(state.need(TALLY), height=1)
    store.write([(PREFIX + TALLY.store_key(TALLY.fixed), encode_value(wrong))], sync=True)
    damaged = reopened(state, store)
    assert recomputed_root(damaged) != damaged.current_root()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    found = new_group(tmp_path_factory.mktemp("small"))
    found.run(30)
    return any_state(found)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.integers(0, 99), st.integers(0, 10**6), max_size=40), st.sets(st.integers(0, 99)))
def test_it_follows_whatever_is_written_and_removed(small, puts, gone):
    view = small.view()
    for number, amount in puts.items():
        view.put(BALANCE, Balance(amount), f"filler{number}")
    small.commit(view)
    view = small.view()
    for number in gone:
        if small.get(BALANCE, f"filler{number}") is not None:
            view.delete(BALANCE, f"filler{number}")
    small.commit(view)
    assert recomputed_root(small) == small.current_root()
