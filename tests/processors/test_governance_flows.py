"""Governance by blocks (protocol section 10): from a proposal to its end, as every node applies it."""

from typing import Any

import pytest

from node.devnet.founding import GROUP
from processors.hive.transaction import unpack_transaction
from state.schema import (
    BALANCE,
    CHRON,
    COLLATERAL,
    DECIDED,
    DONE,
    LEAVING,
    MS,
    QUEUE,
    REJECTED,
    RUNNER,
    SPEND,
    SPENDING,
    TREASURY,
    VOTE,
    Holding,
    Total,
)
from state.store import MemoryStore
from tests.processors.blocks import Stage, transfer
from tests.processors.council import transfer as offered
from tests.processors.council import witness_vote
from tests.processors.hostile_decisions import say

PARAMETERS = {
    "spend_limit_hive": 5_000, "large_hive": 1_000, "large_delay": 15, "payload_lifetime": 90, "header_min_left": 30,
    "history": 300, "halt_blocks": 10, "unlock_part": 5,
}  # fmt: skip
FOUR = ("runner01", "runner02", "runner03", "runner04")


@pytest.fixture
def stage() -> Stage:
    """Four runners hold the account; a header is elected. Two states are given the same blocks."""
    found = Stage(4, parameters=PARAMETERS, stores=(MemoryStore(), MemoryStore()))
    found.run_to(155)
    return found


def same(stage: Stage) -> bool:
    return len({state.current_root() for state in stage.states}) == 1


def approve(stage: Stage, *ops: Any) -> int:
    """Proposed, and approved by three, in one block; the number of the payload."""
    number = sum(1 for _ in stage.state.walk(DECIDED)) + 1
    made = say("runner01", "propose", ops=list(ops), expires=stage.height + 1_000)
    stage.block(made, *[say(who, "vote", id=number, yes=True) for who in FOUR[:3]])
    return stage.state.need(DECIDED, number).payload


def include(stage: Stage, op: str) -> None:
    """Hive includes the group transaction."""
    stage.block(unpack_transaction(stage.state.need(MS, op).tx, stage.genesis.chain))


def codes(stage: Stage) -> list[str]:
    return [found.code for _, found in stage.state.walk(REJECTED, stage.height)]


def test_from_a_proposal_to_its_confirmation(stage):
    stage.block(transfer("friend", GROUP, 9_000))
    number = approve(stage, offered("0.900 TESTS"))
    (op,) = stage.records()
    assert stage.state.need(MS, op).payloads == (number,), "it is built in the block that approves it"
    stage.block(*[stage.submit(op, member.signing_key) for member in stage.members[:3]])
    assert stage.state.need(MS, op).status == "ready"
    include(stage, op)
    assert stage.state.need(DONE, number).status == "confirmed"
    assert stage.state.need(TREASURY, "HIVE") == Holding(9_000, 900)
    assert stage.state.need(SPENDING, "HIVE") == Total(900)
    assert same(stage)


def test_behind_its_lock_and_vetoed(stage):
    number = approve(stage, offered("4.000 TESTS"))
    stage.run_to(165)
    assert stage.records() == []
    stage.block(say("runner01", "veto", payload=number))
    assert stage.state.get(QUEUE, number) is not None
    stage.block(say("runner04", "veto", payload=number), say("runner02", "veto", payload=number))
    assert stage.state.need(DONE, number).why == "vetoed" and codes(stage) == ["unknown_payload"]
    assert list(stage.state.walk(VOTE)) == [] and same(stage)


def test_a_veto_of_a_third_in_the_block_in_which_the_lock_ends_comes_too_late(stage):
    number = approve(stage, offered("4.000 TESTS"))
    end = stage.height + 15
    stage.run_to(end - 1)
    stage.block(*[say(who, "veto", payload=number) for who in FOUR[:2]])
    assert codes(stage) == []
    (op,) = stage.records()
    assert stage.state.need(MS, op).built == end
    stage.block(*[say(who, "veto", payload=number) for who in FOUR])
    assert codes(stage) == ["not_waiting"] * 4


def test_marked_and_then_confirmed_all_the_same(stage):
    number = approve(stage, offered("0.900 TESTS"))
    (op,) = stage.records()
    signing = [stage.submit(op, member.signing_key) for member in stage.members[:3]]
    stage.block(*signing[:2])
    stage.block(*[say(who, "ms_cancel", op=op) for who in FOUR[:3]], signing[2])
    assert stage.state.need(MS, op).status == "cancelled" and codes(stage) == ["op_cancelled"]
    include(stage, op)
    assert stage.state.need(DONE, number).status == "confirmed" and list(stage.state.walk(MS)) == []
    assert list(stage.state.walk(VOTE)) == [] and same(stage)


def test_marked_and_then_dead(stage):
    number = approve(stage, offered("0.900 TESTS"))
    (op,) = stage.records()
    stage.block(*[say(who, "ms_cancel", op=op) for who in FOUR[:3]])
    stage.run_to(200)
    found = stage.state.need(DONE, number)
    assert (found.status, found.why) == ("failed", "cancelled")
    assert [list(stage.state.walk(table)) for table in (MS, QUEUE, SPEND, SPENDING, VOTE)] == [[]] * 5
    stage.run_to(260)
    assert stage.records() == [] and same(stage)


def test_a_halt_a_second_one_and_its_end(stage):
    stage.block(*[say(who, "halt", on=True) for who in FOUR[:2]])
    begun = stage.height
    assert approve(stage, witness_vote()) == 1
    stage.block(*[say(who, "halt", on=True) for who in FOUR[:2]])
    assert codes(stage) == ["halted_already"] * 2 and stage.records() == []
    stage.run_to(begun + 9)
    stage.block(*[say(who, "halt", on=True) for who in FOUR[:2]])
    assert codes(stage) == ["too_soon"] * 2
    assert [stage.state.need(MS, op).built for op in stage.records()] == [begun + 10]
    stage.run_to(begun + 19)
    stage.block(*[say(who, "halt", on=True) for who in FOUR[:2]])
    assert codes(stage) == [] and approve(stage, witness_vote("another")) == 2 and len(stage.records()) == 1
    stage.block(*[say(who, "resume", on=True) for who in FOUR[:3]])
    assert len(stage.records()) == 2 and same(stage)


def test_a_seat_that_is_given_up_takes_its_votes_along(stage):
    made = say("runner01", "propose", ops=[witness_vote()], expires=stage.height + 1_000)
    stage.block(made, *[say(who, "vote", id=1, yes=True) for who in FOUR[:2]])
    stage.block(say("runner02", "node_delete"), say("runner02", "vote", id=1, yes=False))
    assert codes(stage) == ["no_seat"] and len(list(stage.state.walk(RUNNER))) == 3
    stage.block(say("runner03", "vote", id=1, yes=False), say("runner04", "vote", id=1, yes=False))
    found = stage.state.need(DECIDED, 1)
    assert (found.status, found.yes, found.no, found.seats) == ("rejected", 1, 2, 3) and same(stage)


def test_the_group_says_nothing_of_ours_by_a_proposal(stage):
    for name in ("waggle_vote", "waggle_ms_signed", "waggle_anything"):
        op = ["custom_json", {"required_auths": [GROUP], "required_posting_auths": [], "id": name, "json": "{}"}]
        stage.block(say("runner01", "propose", ops=[op], expires=stage.height + 1_000))
        assert codes(stage) == ["bad_operation"]


def supply(stage: Stage) -> int:
    liquid = sum(found.liquid for _, found in stage.state.walk(BALANCE))
    return liquid + sum(found.locked for _, found in stage.state.walk(COLLATERAL))


def test_tokens_by_blocks_and_what_leaves_while_a_seat_is_held(stage):
    before = supply(stage)
    stage.block(say("runner01", "gov_down", amount=1_000))
    for _ in range(15):
        stage.block(say("runner01", "send", to="friend", amount=100), say("friend", "gov_up", amount=7))
        assert supply(stage) == before
    assert stage.state.need(LEAVING, "runner01").parts == 3
    stage.run_to(200)
    assert stage.state.get(LEAVING, "runner01") is None and stage.state.get(COLLATERAL, "runner01") is None
    assert supply(stage) == before
    assert stage.state.get(RUNNER, "runner01") is None, "without collateral it lost its seat at the tally"
    assert {job.kind for _, job in stage.state.walk(CHRON)} <= {"recast", "forget_block", "forget_payload"}
    assert same(stage)
