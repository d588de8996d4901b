"""The trees as they were at the end of the last round, whatever happens and whoever asks in the middle of the next."""

from pathlib import Path

import pytest

from state import merkle, schema
from state.codec import H
from state.state import State
from state.store import LevelStore, MemoryStore
from tests.reference.roots import digest
from tests.state import model as m
from tests.state.model import state_over

BALANCES = [(schema.BALANCE, (f"account{number}",), schema.Balance(number)) for number in range(700)]


def entries_below(state: State, table: str, path: bytes = b"") -> list[merkle.Entry]:
    """All entries of a table by walking down its pages, each hash checked."""
    page = state.round_page(table, path)
    if page is None:
        return state.round_bucket(table, path) or []
    found: list[merkle.Entry] = []
    for nibble in range(16):
        below = entries_below(state, table, path + bytes([nibble]))
        at = 31 + 32 * (15 + nibble)
        assert page[at : at + 32] == merkle.root_of(below, 4 * (len(path) + 1))
        found += below
    return found


def check_round(state: State, root: bytes) -> None:
    """Tops, pages and buckets together give the root of the last round."""
    tops = state.round_tops()
    assert tops is not None and [name for name, _ in tops] == sorted(name for name, _ in tops)
    for name, top in tops:
        below = entries_below(state, name)
        assert merkle.root_of(below) == top
    entries = sorted((digest(name.encode()), top) for name, top in tops)
    assert H(["root", m.GENESIS_HASH, merkle.root_of(entries)]) == root


def test_pages_and_buckets_are_those_of_the_last_round(fresh: State) -> None:
    m.apply(fresh, m.Block(schema.Head(10, bytes(20), 0), list(BALANCES)))
    assert fresh.round_page("balance", b"") is not None and fresh.round_page("balance", b"\3\1") is None
    assert fresh.round_bucket("balance", b"\3") is None and fresh.round_bucket("balance", b"\3\1")
    assert len(entries_below(fresh, "balance")) == 700
    model = m.Model()
    for block in m.blocks(40, 35, first=11):
        last = fresh.round_height
        assert last == fresh.height // m.ROUND * m.ROUND
        check_round(fresh, fresh.root(last) or b"")
        m.apply(fresh, block)
        model.apply(block)
        if block.head.height % 3 == 0:
            fresh.current_root(), fresh.proof(schema.BALANCE, "account3"), fresh.tree("balance")
    check_round(fresh, fresh.root(40) or b"")


@pytest.mark.parametrize("path", [b"\x10", b"\xff" * 70, b"\0" * 65, b"\1\2\3\4\5"])
def test_paths_and_tables_that_are_none(fresh: State, path: bytes) -> None:
    assert fresh.round_height is fresh.round_tops() is None
    assert fresh.round_page("balance", b"") is fresh.round_bucket("balance", b"\1") is None
    m.apply(fresh, m.Block(schema.Head(10, bytes(20), 0), list(BALANCES)))
    for table in ("balance", "no table", "", "income"):
        assert fresh.round_page(table, path) is fresh.round_bucket(table, path) is None
    assert fresh.round_page("income", b"") is None


def test_what_was_asked_in_the_middle_of_a_round_is_not_written() -> None:
    asked, silent = MemoryStore(), MemoryStore()
    one, other = state_over(asked), state_over(silent)
    for block in m.blocks(41, 38):
        m.apply(one, block)
        m.apply(other, block)
        assert one.proof(schema.NODE, "nobody")
        root = one.current_root()
        one.flush()
        assert m.stored(asked) == m.stored(silent)
    assert root == other.current_root()


def test_a_restart_and_a_rewind_keep_them(tmp_path: Path) -> None:
    state = state_over(LevelStore(tmp_path / "state"))
    for block in m.blocks(42, 36):
        m.apply(state, block)
    state.close()
    state = state_over(LevelStore(tmp_path / "state"))
    assert state.round_height == 40
    check_round(state, state.root(40) or b"")
    for height, last in ((43, 40), (40, 40), (39, 30), (12, 10)):
        state.rewind(height)
        assert state.round_height == last
        check_round(state, state.root(last) or b"")
    state.close()


def test_a_rewind_to_where_no_round_is_kept_leaves_none_until_the_next() -> None:
    store = MemoryStore()
    state, model = state_over(store, trace_keep=21), m.Model()
    listed = m.blocks(43, 50)
    for block in listed[:41]:
        m.apply(state, block)
    assert (state.height, state.oldest_rewind) == (50, 29)
    m.apply(state, listed[41])
    m.apply(state, listed[42])
    state.rewind(33)
    assert (state.oldest_rewind, state.round_height, state.round_tops()) == (31, None, None)
    state = state_over(store, trace_keep=21)
    assert state.round_height is None
    for block in listed[:24]:
        model.apply(block)
    assert state.current_root() == model.root()
    for block in listed[24:]:
        m.apply(state, block)
        model.apply(block)
        m.check(state, model, block.head.height)
        assert state.round_height == (None if block.head.height < 40 else block.head.height // 10 * 10)
