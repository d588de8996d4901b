"""What seats can stop (protocol section 10): payloads, group transactions, payouts, rotations."""

import pytest

from node.devnet.founding import GROUP
from state.schema import ACTION, DONE, EMERGENCY, QUEUE, VOTE, Emergency
from tests.processors.council import GENEROUS, Council, transfer, witness_vote
from tests.processors.test_signatures import submit

DAY = 28_800
LOCKED = {**GENEROUS, "large_hive": 500, "large_delay": 50}


@pytest.fixture
def council() -> Council:
    """Five seats, a to e; more than 0.500 TESTS wait for 50 blocks."""
    return Council(**LOCKED)


# -- veto


def test_a_third_cancels_a_payload_while_it_is_locked(council):
    number = council.approve(transfer())
    assert council.say("a", "veto", payload=number) == "accepted"
    assert council.say("a", "veto", payload=number) == "voted_already"
    assert council.names(QUEUE) == [number]
    council.wait(49)
    assert council.say("b", "veto", payload=number) == "accepted"
    found = council.view.need(DONE, number)
    assert (found.status, found.txid, found.why) == ("failed", None, "vetoed")
    assert council.names(QUEUE) == council.names(ACTION) == council.names(VOTE) == []
    council.wait(100)
    assert council.build_all() == []


def test_after_the_lock_it_takes_more_than_half_while_it_is_in_no_transaction(council):
    number = council.approve(transfer())
    council.say("a", "veto", payload=number)
    council.wait(50)
    council.say("b", "veto", payload=number)
    assert number in council.names(QUEUE), "two of five were a third"
    council.say("c", "veto", payload=number)
    assert council.view.need(DONE, number).why == "vetoed"


def test_not_once_it_is_in_a_group_transaction_which_ends_the_votes(council):
    number = council.approve(transfer())
    council.say("a", "veto", payload=number)
    council.wait(50)
    assert council.built() == (number,)
    assert council.all_say("bcde", "veto", payload=number) == ["not_waiting"] * 4
    council.agree()
    assert council.names(VOTE) == [] and number in council.names(QUEUE)


def test_only_what_came_from_a_proposal(council):
    assert council.say("a", "veto", payload=council.payout(10**9)) == "not_waiting"
    assert council.say("a", "veto", payload=99) == "unknown_payload"
    council.strict("abx")
    assert council.say("a", "veto", payload=council.rotation()) == "not_waiting"


# -- halt, resume


def emergency(council: Council) -> Emergency:
    return council.view.get(EMERGENCY) or Emergency(0, 0, 0)


def test_a_third_stops_the_building_of_payouts_for_halt_blocks(council):
    number = council.approve(witness_vote())
    assert council.all_say("ab", "halt", on=True) == ["accepted"] * 2
    assert emergency(council) == Emergency(1_110 + DAY, 1_110 + 2 * DAY, 0)
    assert council.names(VOTE) == []
    council.asked(1_110 + DAY, exp=2**32 - 1, elect=True)
    council.wait(DAY - 1)
    assert council.built() == ()
    council.wait(1)
    assert council.built() == (number,)


def test_what_is_out_stays_out(council):
    number = council.approve(transfer("0.400 TESTS"))
    council.built()
    (op,) = council.out()
    submit(council, "a", "b", op=op, height=council.height)
    council.all_say("ab", "halt", on=True)
    submit(council, "c", op=op, height=council.height)
    assert council.record_of(op).status == "ready"
    council.confirm(op)
    assert council.view.need(DONE, number).status == "confirmed"


def test_rotations_go_on(council):
    payout = council.approve(witness_vote())
    council.all_say("ab", "halt", on=True)
    council.strict("abcx")
    rotation = council.rotation()
    assert council.build_all() == [(rotation,)] and council.view.need(QUEUE, payout).out == ""


def test_no_halt_begins_for_halt_blocks_after_one(council):
    council.all_say("ab", "halt", on=True)
    assert council.all_say("abc", "halt", on=True) == ["halted_already"] * 3
    council.wait(DAY)
    assert council.all_say("abc", "halt", on=True) == ["too_soon"] * 3
    council.wait(DAY - 1)
    assert council.say("a", "halt", on=True) == "too_soon"
    council.wait(1)
    assert council.all_say("ab", "halt", on=True) == ["accepted"] * 2
    assert emergency(council).halted_until == council.height + DAY


def test_a_halt_right_after_a_resumed_one_is_too_soon(council):
    council.all_say("ab", "halt", on=True)
    council.wait(10)
    assert council.all_say("cde", "resume", on=True) == ["accepted"] * 3
    assert emergency(council) == Emergency(1_120, 1_120 + DAY, 0)
    assert council.say("a", "halt", on=True) == "too_soon"
    council.wait(DAY)
    assert council.say("a", "halt", on=True) == "accepted"


def test_more_than_half_end_it_and_payouts_are_built_in_that_block(council):
    number = council.approve(witness_vote())
    assert council.say("a", "resume", on=True) == "not_halted"
    council.all_say("ab", "halt", on=True)
    assert council.all_say("cd", "resume", on=True) == ["accepted"] * 2
    assert council.built() == ()
    assert council.say("d", "resume", on=True) == "voted_already"
    assert council.say("a", "resume", on=True) == "accepted"
    assert council.built() == (number,)
    assert council.say("b", "resume", on=True) == "not_halted" and council.names(VOTE) == []


@pytest.mark.parametrize("name", ["halt", "resume", "hold"])
def test_a_vote_is_taken_back_before_it_decides(council, name):
    if name == "resume":
        council.all_say("ab", "halt", on=True)
    assert council.say("a", name, on=False) == "voted_already"
    assert council.say("a", name, on=True) == "accepted"
    assert council.say("a", name, on=False) == "accepted"
    before = emergency(council)
    assert council.say("b", name, on=True) == "accepted"
    assert emergency(council) == before


def test_votes_to_resume_are_gone_at_the_tally_after_a_halt_that_ended_by_itself(council):
    council.all_say("ab", "halt", on=True)
    council.say("a", "resume", on=True)
    council.wait(DAY)
    council.agree()
    assert council.names(VOTE) == []


def test_one_seat_of_three_stops_payouts_half_of_the_time_and_no_more():
    council = Council("abc", halt_blocks=10)
    halted = 0
    for _ in range(200):
        council.say("a", "halt", on=True)
        halted += council.height < emergency(council).halted_until
        council.wait(1)
    assert halted == 100


# -- hold


def test_more_than_half_hold_rotations_back_for_ripe_rounds_rounds():
    council = Council(ripe_rounds=3, rotation_patience=1)
    council.strict("abcx")
    number = council.rotation()
    assert council.all_say("abc", "hold", on=True) == ["accepted"] * 3
    assert emergency(council) == Emergency(0, 0, 1_110 + 300) and council.names(VOTE) == []
    assert council.all_say("abc", "hold", on=True) == ["held_already"] * 3
    council.wait(299)
    assert council.built() == ()
    council.wait(1)
    assert council.built() == (number,)


def test_none_is_queued_while_they_are_held_and_one_that_is_out_stays_out():
    council = Council(ripe_rounds=3, rotation_patience=1)
    council.strict("abcx")
    council.all_say("abc", "hold", on=True)
    for _ in range(3):
        council.agree()
        assert council.names(QUEUE) == []
    council.wait(10)
    council.agree()
    assert [payload.kind for _, payload in council.view.walk(QUEUE)] == ["rotation"]
    council.asked(council.height, exp=2**32 - 1, elect=True)
    council.built()
    (op,) = council.out()
    council.all_say("abc", "hold", on=True)
    council.wait(1)
    assert council.out() == [op]


def test_payouts_go_on_while_rotations_are_held(council):
    council.strict("abcx")
    council.rotation()
    number = council.approve(witness_vote())
    council.all_say("abc", "hold", on=True)
    assert council.build_all() == [(number,)]


def test_the_group_account_itself_has_no_voice(council):
    assert council.say(GROUP, "halt", on=True) == "no_seat"
