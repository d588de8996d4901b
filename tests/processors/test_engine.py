"""The engine (protocol section 3): one block after the other, whole or not at all."""

from pathlib import Path

import pytest

from node.devnet.founding import GROUP
from processors import engine, registry
from processors.context import Context
from processors.engine import apply_block, begin
from processors.errors import EngineError, Rejected
from processors.hive.block import Block
from processors.hive.transaction import unpack_transaction
from processors.registry import Rule
from state.errors import StateError
from state.schema import (
    COUNTERS,
    FEED,
    HEAD,
    HEADERS,
    MS,
    NODE,
    REJECTED,
    REJECTED_MORE,
    ROUND,
    TALLY,
    Counters,
    MoreRejections,
    Taken,
)
from state.state import State
from state.store import Batch, LevelStore, MemoryStore
from tests.processors.blocks import BlockMaker, Stage, custom_json, custom_json_with_id, member, transfer
from tests.state.model import but_dirty

PAYOUT = {"to": "receiver", "amount": 5, "asset": "HIVE", "every": 7, "memo": "m"}


def eventful(**how: object) -> Stage:
    """A group that reported, signed, refused, rejected and joined, up to the middle of a round."""
    stage = Stage(payouts=[PAYOUT], parameters={"header_min_left": 60, "payload_lifetime": 120}, **how)  # type: ignore[arg-type]
    stage.run_to(165)
    extra = member("extra")
    stage.block(stage.node_add("extra", extra.signing_key, follow=True), custom_json("extra", "report", "{}"))
    op = stage.records()[-1]
    keys = [m.signing_key for m in stage.members]
    stage.block(stage.submit(op, keys[0]), stage.refuse(op, "runner02"), transfer("receiver", GROUP))
    stage.block(stage.submit(op, keys[2]), stage.submit(op, keys[3]))
    stage.run_to(215)
    return stage


def contents(store: MemoryStore) -> list[tuple[bytes, bytes]]:
    return list(store.iterate(b""))


def opened(stage: Stage, store: MemoryStore | LevelStore) -> State:
    params = stage.genesis.params
    return State(store, stage.genesis.hash, round_length=params.round_length, trace_keep=params.trace_keep)


# -- which block


def test_only_the_next_block_of_the_same_chain() -> None:
    stage = Stage()
    before = stage.state.current_root()
    other, ahead = BlockMaker(101, previous=(100).to_bytes(4, "big") + b"other chain 1234"), stage.maker.fork()
    skipped = [ahead.next_block(), ahead.next_block()][1]
    for block in (
        stage.blocks[0],
        skipped,
        other.next_block(),
        BlockMaker(100).next_block(),
        BlockMaker(1).next_block(),
    ):
        with pytest.raises(EngineError):
            apply_block(stage.state, stage.genesis, block)
        assert stage.state.current_root() == before
    stage.block()
    assert stage.state.height == 101


def test_a_block_is_applied_once() -> None:
    stage = Stage()
    block = stage.block()
    with pytest.raises(EngineError):
        apply_block(stage.state, stage.genesis, block)


@pytest.mark.parametrize("number", [99, 101, 150])
def test_the_state_begins_with_start_block(number: int) -> None:
    stage = Stage()
    state = opened(stage, MemoryStore())
    with pytest.raises(EngineError):
        begin(state, stage.genesis, BlockMaker(number).next_block())
    assert state.height == -1


def test_the_operations_of_start_block_are_not_applied() -> None:
    stage = Stage()
    loud = BlockMaker(100).next_block(custom_json("runner01", "node_delete", "{}"), custom_json("x", "report", "{"))
    state = opened(stage, MemoryStore())
    begin(state, stage.genesis, loud)
    assert not state.need(NODE, "runner01").leaving and not list(state.walk(REJECTED))


def test_an_empty_state_applies_nothing() -> None:
    stage = Stage()
    with pytest.raises(StateError):
        apply_block(opened(stage, MemoryStore()), stage.genesis, stage.maker.next_block())


# -- rules that are wrong


def with_rule(monkeypatch: pytest.MonkeyPatch, call: object) -> Stage:
    """A stage whose node_delete is ``call``."""
    genuine = engine.RULES.find("json", "node_delete", 0)
    assert genuine is not None
    wrong = genuine._replace(call=call)  # type: ignore[arg-type]
    find = registry.Registry.find

    def instead(self: registry.Registry, kind: str, name: str, height: int) -> Rule | None:
        return wrong if (kind, name) == ("json", "node_delete") else find(self, kind, name, height)

    monkeypatch.setattr(registry.Registry, "find", instead)
    return Stage()


@pytest.mark.parametrize("error", [KeyError("x"), ValueError, RecursionError, UnicodeDecodeError("a", b"", 0, 1, "")])
def test_another_error_than_rejected_stops_the_block(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def rule(ctx: Context, account: str, body: dict[str, object]) -> None:
        ctx.view.delete(NODE, account)
        raise error

    stage = with_rule(monkeypatch, rule)
    before, trace = stage.state.current_root(), stage.state.trace(100)
    block = stage.maker.next_block(
        custom_json("x", "report", "{"), custom_json("runner01", "node_delete", "{}"), transfer("receiver", GROUP)
    )
    for _ in range(2):
        with pytest.raises(error if isinstance(error, type) else type(error)):
            apply_block(stage.state, stage.genesis, block)
        assert (stage.state.height, stage.state.current_root(), stage.state.trace(100)) == (100, before, trace)
        assert stage.state.trace(101) is None
    monkeypatch.undo()
    apply_block(stage.state, stage.genesis, block)  # the corrected program goes on from there
    assert stage.state.height == 101 and stage.state.need(NODE, "runner01").leaving


def test_a_rule_that_writes_before_it_rejects_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def rule(ctx: Context, account: str, body: dict[str, object]) -> None:
        ctx.view.put(COUNTERS, Counters(9, 9))
        raise Rejected("not_member")

    stage = with_rule(monkeypatch, rule)
    before = stage.state.current_root()
    with pytest.raises(EngineError, match="wrote before"):
        stage.block(custom_json("runner01", "node_delete", "{}"))
    assert stage.state.current_root() == before and stage.state.height == 100


def test_an_unknown_job_stops_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(payouts=[PAYOUT])
    stage.run_to(106)
    find = registry.Registry.find
    monkeypatch.setattr(registry.Registry, "find", lambda s, kind, *at: None if kind == "job" else find(s, kind, *at))
    with pytest.raises(EngineError, match="standing"):
        stage.block()
    assert stage.state.height == 106


# -- writes that fail


class FailingStore(MemoryStore):
    """Fails the write when ``left`` runs out."""

    left = 10**9

    def write(self, batch: Batch, *, sync: bool) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError("disk full")
        super().write(batch, sync=sync)


def test_a_failed_write_stops_and_a_restart_goes_on() -> None:
    store = FailingStore()
    stage = Stage(stores=(store,), payouts=[PAYOUT])
    stage.run_to(110)
    kept, store.left = contents(store), 0
    with pytest.raises(OSError, match="disk full"):
        stage.block(custom_json("runner01", "node_delete", "{}"))
    failed = stage.blocks[-1]
    store.left = 10**9
    with pytest.raises(StateError):
        apply_block(stage.state, stage.genesis, stage.maker.next_block())
    assert contents(store) == kept
    again = opened(stage, store)
    assert again.height == 110
    apply_block(again, stage.genesis, failed)
    assert again.need(NODE, "runner01").leaving


# -- the same state, however it came about


def replayed(stage: Stage, store: MemoryStore | LevelStore, every: int) -> State:
    """All blocks again, flushed after each ``every`` of them (0 = never)."""
    state = stage.new_state(store)
    for number, block in enumerate(stage.blocks[1:], 1):
        apply_block(state, stage.genesis, block, flush=bool(every) and number % every == 0)
    return state


@pytest.mark.parametrize("every", [0, 1, 7, 50])
def test_replay_and_catching_up_give_the_same(tmp_path: Path, every: int) -> None:
    mine = MemoryStore()
    stage = eventful(stores=(mine,))
    level = LevelStore(tmp_path / "level")
    for store in (MemoryStore(), level):
        state = replayed(stage, store, every)
        for height in range(100, 216):
            assert state.trace(height) == stage.state.trace(height)
        assert [state.root(h) for h in (100, 150, 200)] == [stage.state.root(h) for h in (100, 150, 200)]
        assert state.current_root() == stage.state.current_root()
        state.flush()
        stage.state.flush()
        assert but_dirty(store) == but_dirty(mine)
        # what is noted for the trees may be more where more was written: a restart makes the same of it
        assert state.current_root() == opened(stage, store).current_root() == opened(stage, mine).current_root()
    level.close()


@pytest.mark.parametrize("at", [149, 150, 151, 168, 200])
def test_a_restart_anywhere_changes_nothing(at: int) -> None:
    stage, store = eventful(), MemoryStore()
    state = stage.new_state(store)
    for block in stage.blocks[1:]:
        apply_block(state, stage.genesis, block)
        if block.number == at:
            state = opened(stage, store)
    assert state.current_root() == stage.state.current_root()
    assert state.trace(215) == stage.state.trace(215)


def test_what_was_not_flushed_comes_again() -> None:
    stage, store = eventful(), MemoryStore()
    state = stage.new_state(store)
    for block in stage.blocks[1:80]:
        apply_block(state, stage.genesis, block, flush=block.number == 150)
    state = opened(stage, store)
    assert state.height == 150
    for block in stage.blocks[51:]:
        apply_block(state, stage.genesis, block)
    assert state.current_root() == stage.state.current_root()


# -- what is looked at


def test_a_block_without_our_words_is_skipped_but_becomes_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    quiet = [transfer("receiver", "stranger"), custom_json_with_id("podping", '{"v":1}', posting=("receiver",))]
    block = stage.maker.next_block(*quiet)
    monkeypatch.setattr(Block, "transactions", property(lambda self: pytest.fail("looked inside")))
    before = stage.state.trace(100)
    apply_block(stage.state, stage.genesis, block)
    head = stage.state.need(HEAD)
    assert (head.height, head.block_id, head.timestamp) == (101, block.id, block.timestamp)
    assert stage.state.trace(101) not in (None, before)


def test_a_word_in_another_place_changes_the_head_alone() -> None:
    stage = Stage()
    stage.block(
        custom_json_with_id("podping", '"waggle_report the-group account_update"', posting=("runner01",)),
        transfer("waggle_report", "receiver"),
        transfer(GROUP, "receiver"),
    )
    assert not list(stage.state.walk(REJECTED)) and not list(stage.state.walk(FEED))
    assert stage.state.height == 101


def test_op_index_counts_all_operations_of_the_block() -> None:
    stage = Stage(parameters={"max_rejections": 2})
    bad, other = custom_json("stranger", "node_delete", "{}"), transfer("receiver", "stranger")
    tx = stage.maker.transaction(other, bad, other)
    block = stage.block(other, tx, bad, other, bad, bad)
    found = {key: entry.txid for key, entry in stage.state.walk(REJECTED)}
    assert found == {(101, 2): block.transaction(1)[2], (101, 4): block.transaction(2)[2]}
    assert stage.state.get(REJECTED_MORE, 101) == MoreRejections(2)


def test_the_header_asked_for_is_that_of_report_at() -> None:
    stage = Stage()
    stage.run_to(119)
    assert stage.state.need(HEADERS).asked is None
    stage.run_to(130)
    block, lifetime = stage.blocks[20], stage.genesis.params.header_lifetime
    pre = int.from_bytes(block.id[4:8], "little")
    assert stage.state.need(HEADERS).asked == Taken(120, pre, block.timestamp + lifetime, 120)


def test_the_tally_comes_at_every_end_of_a_round() -> None:
    stage = Stage()
    stage.run_to(149)
    assert stage.state.need(TALLY).height == 100
    stage.run_to(150)
    assert (stage.state.need(TALLY).height, stage.state.need(TALLY).is_open) == (150, False)
    stage.run_to(200, reporting=())
    assert (stage.state.need(TALLY).height, stage.state.need(TALLY).open_rounds) == (200, 1)


# -- past the reach of 16 bits


@pytest.mark.parametrize("start", [65_450, 65_500, 131_000])
def test_a_group_goes_on_past_the_numbers_that_tapos_has(start: int) -> None:
    """A header's number has 16 bits: it begins anew at 65,536, and reports, election and building must not care."""
    wraps = (start // 65_536 + 1) * 65_536
    stage = Stage(payouts=[PAYOUT], start=start, parameters={"max_in_flight": 20})
    stage.run_to(wraps + 150)
    rounds = {int(height): found for (height,), found in stage.state.walk(ROUND)}
    assert sorted(rounds) == list(range(start, wraps + 100, 50))
    for height, found in rounds.items():
        assert found.root == stage.state.root(height), "agreed"
        assert found.agreed == tuple(member.account for member in stage.members), "everybody's report was accepted"
        assert found.header is not None
        assert (found.header.height, found.header.num) == (height + 20, (height + 20) % 65_536)
    elected = stage.state.need(HEADERS).elected
    assert elected is not None and elected.height > wraps and elected.num < 200
    assert not list(stage.state.walk(REJECTED))
    used = set()
    for (op,), record in stage.state.walk(MS):
        tx = unpack_transaction(record.tx, stage.genesis.chain)
        [header] = [found.header for found in rounds.values() if found.header and found.header.num == tx.ref_block_num]
        block = stage.blocks[header.height - start]
        assert tx.ref_block_prefix == int.from_bytes(block.id[4:8], "little")
        assert op == f"{record.built}:{block.number % 65_536}:{tx.ref_block_prefix}"
        used.add(block.number > wraps)
    assert used == {False, True}, "built on headers before and after"
