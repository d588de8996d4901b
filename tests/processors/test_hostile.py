"""The hostile corpus on a live group: no crash, one entry with its code, nothing else, and the same root everywhere."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from node.devnet.founding import CHAIN, GROUP
from processors.codes import CODES
from processors.engine import apply_block
from processors.hive.block import read_block, show_header
from processors.hive.errors import HiveDataError
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction, show_transaction
from state.schema import (
    CHRON,
    COUNTERS,
    HEAD,
    MOVE,
    MOVED,
    MOVES,
    REJECTED,
    REJECTED_MORE,
    Counters,
    Job,
    MoreRejections,
    Rejection,
)
from state.state import State
from state.store import LevelStore, MemoryStore
from state.view import View
from tests.processors.blocks import custom_json, custom_json_with_id
from tests.processors.hostile import ACTOR, NAMES, VECTOR, Case, Scene, apply_corpus, cases, in_blocks, vector
from tests.processors.hostile_decisions import ELSEWHERE, check

CORPUS = cases()
Changes = dict[tuple[str, Any], Any]


class Probe(State):
    """Looks at what a block would change, and stays as it is."""

    seen: Changes

    def commit(self, view: View, *, flush: bool = True) -> None:
        self.seen = {(table.name, key): value for table, key, value, _, _ in self.differences(view)}


@cache
def scene() -> Scene:
    """One scene for all that only look."""
    return Scene()


def changes_of(*operations: Operation | Transaction, decoded: bool = True) -> tuple[Changes, bytes]:
    """What a block with these operations would change on the scene; the id of its last transaction."""
    stage = scene().stage
    block = stage.maker.fork().next_block(*operations, decoded=decoded)
    txid = block.transaction(len(operations) - 1)[2] if operations else b""
    genuine, stage.state.__class__ = stage.state.__class__, Probe
    try:
        apply_block(stage.state, stage.genesis, block)
    finally:
        stage.state.__class__ = genuine
    seen: Changes = stage.state.seen  # type: ignore[attr-defined]
    assert seen.pop(("meta", ("head",))).height == block.number
    return seen, txid


@cache
def nothing() -> Changes:
    """What the twin block without any operation changes."""
    return changes_of()[0]


def expected_after_rejection(rejection: Rejection, index: int = 0) -> Changes:
    """The twin's changes, the entry, and the job that forgets it, whose sequence comes before the block's own jobs."""
    state, history = scene().stage.state, scene().stage.genesis.params.history
    height, last = state.height + 1, state.need(COUNTERS).job
    expected: Changes = {}
    for (table, key), value in nothing().items():
        if table == "chron" and key[1] > last:
            key = (key[0], key[1] + 1)
        elif table == "ms" and value is not None and value.job[1] > last:
            value = replace(value, job=(value.job[0], value.job[1] + 1))
        expected[table, key] = value
    counters = expected.get(("meta", ("counters",)), state.need(COUNTERS))
    return expected | {
        ("rejected", (height, index)): rejection,
        ("chron", (height + history, last + 1)): Job("forget_block", str(height)),
        ("meta", ("counters",)): Counters(counters.payload, counters.job + 1),
    }


def test_the_corpus_is_large_and_names_only_codes_that_exist() -> None:
    assert len(CORPUS) >= 300
    assert {case.code for case in CORPUS} - {"ignored", "accepted"} == CODES.keys() - ELSEWHERE
    check(scene())


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_alone_against_its_twin(case: Case) -> None:
    made = case.make(scene())
    operation, index = (made.operations[-1], len(made.operations) - 1) if isinstance(made, Transaction) else (made, 0)
    seen, txid = changes_of(made)
    entries = {key: value for key, value in seen.items() if key[0].startswith("rejected")}
    if case.code == "ignored":
        assert seen == nothing()
    elif case.code == "accepted":
        assert not entries and seen != nothing()
    else:
        name = operation.value["id"].removeprefix("waggle_")
        rejection = Rejection(txid, operation.value["required_auths"][0], name, case.code)
        assert list(entries.values()) == [rejection]
        assert seen == expected_after_rejection(rejection, index)


@pytest.fixture(params=[1_000, 20, 0])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, LevelStore, MemoryStore]]:
    level = LevelStore(tmp_path / "level")
    yield request.param, level, MemoryStore()
    level.close()


def test_together_in_blocks(stores: tuple[int, LevelStore, MemoryStore]) -> None:
    most, *both = stores
    own = Scene(*both, max_rejections=most)
    level, memory = own.stage.states
    for some in in_blocks():
        block = own.stage.block(*[case.make(own) for case in some], decoded=True)
        codes: dict[int, str] = {}
        index = 0
        for position, case in enumerate(some):
            index += len(block.transaction(position)[0].operations)
            if case.code in CODES:
                codes[index - 1] = case.code  # of several operations the last is the hostile one
        entries = {key[1]: entry.code for key, entry in memory.walk(REJECTED, block.number)}
        assert entries == dict(list(codes.items())[:most])
        more = len(codes) - most
        assert memory.get(REJECTED_MORE, block.number) == (MoreRejections(more) if more > 0 else None)
        assert level.trace(block.number) == memory.trace(block.number) is not None
    assert level.current_root() == memory.current_root()
    if most == 1_000:
        assert VECTOR.read_text() == vector(memory.current_root()), "python -m tests.processors.hostile --write"
    heights = {height for (height, _), _ in memory.walk(REJECTED)} | {
        height for (height,), _ in memory.walk(REJECTED_MORE)
    }
    heights |= {height for (height, _), _ in memory.walk(MOVED)}
    assert len(heights) == sum(1 for _, job in memory.walk(CHRON) if job.kind == "forget_block")
    own.stage.run_to(max(heights) + own.stage.genesis.params.history, reporting=())
    for state in (level, memory):
        assert not list(state.walk(REJECTED)) and not list(state.walk(REJECTED_MORE))
        assert not list(state.walk(MOVED)) and not list(state.walk(MOVES)) and not list(state.walk(MOVE))
    assert level.current_root() == memory.current_root()


def test_reopened_store_has_the_same_root(tmp_path: Path) -> None:
    store = LevelStore(tmp_path / "level")
    own = Scene(store)
    root = apply_corpus(own)
    store.close()
    again = LevelStore(tmp_path / "level")
    params = own.stage.genesis.params
    state = State(again, own.stage.genesis.hash, round_length=params.round_length, trace_keep=params.trace_keep)
    assert state.current_root() == root and state.get(HEAD) == own.stage.state.get(HEAD)
    again.close()


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("hints", [True, False])
def test_the_form_of_the_answer_changes_nothing(typed: bool, hints: bool) -> None:
    roots = set()
    for decoded in (True, False):
        own = Scene()
        for some in in_blocks():
            made = [case.make(own) for case in some]
            own.stage.block(*made, typed=typed, hints=hints, decoded=decoded)
        roots.add(own.stage.state.current_root())
    assert len(roots) == 1


def test_bytes_that_are_no_utf8_in_an_answer() -> None:
    operation = custom_json("runner04", "report", '{"a":"\udc80"}')
    entries = [value for key, value in changes_of(operation, decoded=False)[0].items() if key[0] == "rejected"]
    assert [entry.code for entry in entries] == ["bad_json"]


@pytest.mark.parametrize("instead", ['"\\ud800"', "[" * 5_000 + "]" * 5_000], ids=["lone surrogate", "deep"])
def test_an_answer_that_is_no_block_is_a_data_error(instead: str) -> None:
    block = scene().stage.maker.fork().next_block(custom_json("runner04", "report", "{}"))
    shown = [show_transaction(block.transaction(0)[0], CHAIN, typed=True)]
    answer = json.dumps(show_header(block.header, typed=True) | {"transactions": shown})
    with pytest.raises(HiveDataError):
        read_block(answer.replace('"{}"', instead).encode(), CHAIN).prove()


# -- beyond the corpus

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
TEXT = (
    st.text(st.characters(codec="utf-8"), max_size=60)
    | JSON.map(json.dumps)
    | st.sampled_from('{}[]":,\\').map("{".__add__)
)


def at_most_one_entry(operation: Operation) -> None:
    seen, _ = changes_of(operation)
    entries = [value for key, value in seen.items() if key[0] == "rejected"]
    assert len(entries) <= 1 and not any(key[0] == "rejected_more" for key in seen)
    if entries:
        assert entries[0].code in CODES
        assert seen == expected_after_rejection(entries[0])


@pytest.mark.parametrize("name", NAMES)
def test_any_text(name: str) -> None:
    @SETTINGS
    @given(TEXT)
    def check(text: str) -> None:
        at_most_one_entry(custom_json(ACTOR[name], name, text))

    check()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "node_delete"])
def test_any_value_in_any_field(name: str) -> None:
    body = scene().body(name)

    @SETTINGS
    @given(
        st.dictionaries(st.sampled_from(sorted(body)), JSON, min_size=1),
        st.sampled_from((ACTOR[name], "runner02", GROUP)),
    )
    def check(changed: dict[str, Any], account: str) -> None:
        at_most_one_entry(custom_json(account, name, json.dumps(body | changed)))

    check()


@pytest.mark.parametrize("name", NAMES)
def test_any_cut_and_any_byte_of_a_good_text(name: str) -> None:
    good = json.dumps(scene().body(name))

    @SETTINGS
    @given(st.integers(0, len(good) - 1), st.characters(codec="utf-8"), st.booleans())
    def check(at: int, letter: str, cut: bool) -> None:
        at_most_one_entry(custom_json(ACTOR[name], name, good[:at] + ("" if cut else letter) + good[at + 1 :]))

    check()


@SETTINGS
@given(st.text(st.characters(codec="utf-8"), max_size=7))
def test_any_id_is_ignored_or_ours(kind: str) -> None:
    seen, _ = changes_of(custom_json_with_id("waggle_" + kind, "{", active=("runner04",)))
    assert (seen == nothing()) == (kind not in NAMES)
