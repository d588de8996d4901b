"""Proposals (protocol section 10): who makes them, how they end, and what becomes of the approved ones."""

import json

import pytest
from msgspec.structs import replace

from node.devnet.founding import GROUP
from processors.hive.operations import Operation
from processors.hive.transaction import unpack_transaction
from processors.hive.types import Asset
from processors.proposals import OPEN_OF_ALL
from processors.tokens import PARTS
from state.schema import (
    ACTION,
    BALANCE,
    CHRON,
    COLLATERAL,
    DECIDED,
    DONE,
    NODE,
    PROPOSAL,
    PROPOSALS,
    QUEUE,
    VOTE,
    Balance,
    Collateral,
    encode_value,
)
from tests.processors.council import GENEROUS, Council, transfer, witness_vote


@pytest.fixture
def council() -> Council:
    """Five seats, a to e."""
    return Council(**GENEROUS)


def change(council: Council, name: str, value: int, delay: int = 28_800, by: str = "a", lasts: int = 1_000) -> str:
    return council.say(by, "propose_change", name=name, value=value, delay=delay, expires=council.height + lasts)


def offer(council: Council, by: str = "a", lasts: int = 1_000) -> str:
    return council.say(by, "propose", ops=[witness_vote()], expires=council.height + lasts)


# -- who


@pytest.mark.parametrize("make", [offer, lambda council, by: change(council, "outbid", 120, by=by)])
def test_the_proposer_is_a_member_with_collateral_of_a_seat_or_none(council, make):
    council.member("m", seat=False)
    council.member("poor", seat=False, locked=0)
    council.member("gone", seat=False, leaving=True)
    council.view.put(COLLATERAL, Collateral(100, 0), "stranger")
    council.view.put(COLLATERAL, Collateral(100, 100), "e")
    codes = [make(council, by=by) for by in ("m", "poor", "gone", "stranger", "e", GROUP)]
    assert codes == ["accepted", "no_collateral", "not_member", "not_member", "no_collateral", "not_member"]


@pytest.mark.parametrize(("least", "locked", "code"), [
    (0, 0, "no_collateral"), (0, 1, "accepted"), (7, 6, "no_collateral"), (7, 7, "accepted"),
])  # fmt: skip
def test_collateral_of_at_least_one_unit_and_of_min_collateral(least, locked, code):
    council = Council(min_collateral=least)
    council.member("m", seat=False, locked=locked)
    assert offer(council, by="m") == code


@pytest.mark.parametrize(("lasts", "code"), [
    (-1, "bad_end"), (99, "bad_end"), (100, "accepted"), (201_600, "accepted"), (201_601, "bad_end"),
])  # fmt: skip
def test_its_end_is_100_to_201600_blocks_ahead(council, lasts, code):
    assert offer(council, lasts=lasts) == change(council, "outbid", 120, lasts=lasts) == code


def test_three_open_ones_of_an_account(council):
    assert [offer(council) for _ in range(4)] == [*["accepted"] * 3, "too_many_open"]
    assert change(council, "outbid", 120) == "too_many_open"
    assert offer(council, by="b") == "accepted"
    council.say("a", "unpropose", id=2)
    assert [offer(council) for _ in range(2)] == ["accepted", "too_many_open"]
    assert council.names(PROPOSAL) == [1, 3, 4, 5], "numbers are not used again"


def test_two_hundred_open_ones_in_all(council):
    for number in range(67):
        council.member(f"m{number}", seat=False)
    codes = [offer(council, by=f"m{number}") for number in range(67) for _ in range(3)]
    assert codes == [*["accepted"] * 200, "too_many_proposals"]
    assert change(council, "outbid", 120, by="m66") == "too_many_proposals"
    assert offer(council, by="m0") == "too_many_open"
    assert [offer(council, by="a") for _ in range(4)] == [*["accepted"] * 3, "too_many_open"], "seats are heard"
    assert len(council.names(PROPOSAL)) == OPEN_OF_ALL + 3


def test_ten_thousand_from_one_account_take_the_room_of_three(council):
    text = json.dumps({"ops": [transfer(memo="x" * 512)] * 12, "expires": council.height + 1_000})
    codes = [council.say("a", "propose", text) for _ in range(10_000)]
    assert codes == [*["accepted"] * 3, *["too_many_open"] * 9_997]
    assert council.view.need(PROPOSALS).last == 3 == len(list(council.view.walk(CHRON)))


def test_making_and_taking_back_leaves_no_operations_behind(council):
    text = json.dumps({"ops": [transfer(memo="x" * 512)] * 12, "expires": council.height + 1_000})
    for number in range(1, 101):
        assert council.say("a", "propose", text) == "accepted"
        assert council.say("a", "unpropose", id=number) == "accepted"
    size = sum(len(encode_value(found)) for _, found in council.view.walk(DECIDED))
    assert size < 100 * 100
    council.wait(council.params.history)
    assert not list(council.view.walk(DECIDED)) and not list(council.view.walk(CHRON))


def test_a_proposal_of_all_8192_bytes(council):
    body = {"ops": [], "expires": council.height + 1_000}
    while len(json.dumps(body)) < 7_000:
        body["ops"].append(transfer(memo="m" * 500))  # type: ignore[attr-defined]
    fill = ["custom_json", {"required_auths": [GROUP], "required_posting_auths": [], "id": "x", "json": '{"a":"HERE"}'}]
    text = json.dumps({**body, "ops": [*body["ops"], fill]})  # type: ignore[misc]
    text = text.replace("HERE", "y" * (8_192 - len(text) + 4))
    assert len(text) == 8_192
    assert council.say("a", "propose", text) == "accepted"
    assert council.say("b", "propose", text + " ") == "too_long"


# -- taking back, deciding, ending


def test_only_its_proposer_takes_it_back_and_only_while_it_is_open(council):
    number = council.propose(witness_vote())
    assert council.say("b", "unpropose", id=number) == "not_proposer"
    assert council.say("stranger", "unpropose", id=number + 1) == "unknown_proposal"
    council.say("b", "vote", id=number, yes=True)
    assert council.say("a", "unpropose", id=number) == "accepted"
    assert council.names(DECIDED) == [], "nobody decided anything"
    assert not council.names(VOTE) and council.names(QUEUE) == []
    assert council.say("a", "unpropose", id=number) == "unknown_proposal"
    assert council.say("a", "vote", id=number, yes=True) == "unknown_proposal"


def test_a_proposer_that_is_no_member_any_more_can_take_it_back(council):
    number = council.propose(witness_vote())
    council.view.delete(NODE, "a")
    council.unseat("a")
    assert council.say("a", "unpropose", id=number) == "accepted"


@pytest.mark.parametrize(("seats", "needed"), [("a", 1), ("ab", 2), ("abc", 2), ("abcd", 3), ("abcde", 3)])
@pytest.mark.parametrize("yes", [True, False])
def test_more_than_half_of_the_seats_decides_at_once(seats, needed, yes):
    council = Council(seats, **GENEROUS)
    number = council.propose(witness_vote())
    for voted, account in enumerate(seats[:needed], 1):
        assert council.is_open(number)
        assert council.say(account, "vote", id=number, yes=yes) == "accepted"
        assert council.is_open(number) == (voted < needed)
    found = council.view.need(DECIDED, number)
    assert found.status == ("approved" if yes else "rejected")
    assert (found.yes, found.no, found.seats) == ((needed, 0, len(seats)) if yes else (0, needed, len(seats)))
    assert council.names(QUEUE) == ([found.payload] if yes else [])


def test_what_was_decided_is_final(council):
    number = council.propose(witness_vote())
    council.all_say("abc", "vote", id=number, yes=False)
    assert council.all_say("abde", "vote", id=number, yes=True) == ["unknown_proposal"] * 4
    assert council.say("a", "unpropose", id=number) == "unknown_proposal"
    assert council.names(QUEUE) == []


def test_at_its_end_it_has_expired_whatever_the_votes(council):
    number = council.propose(witness_vote(), lasts=100)
    council.all_say("ab", "vote", id=number, yes=True)
    council.wait(99)
    assert council.is_open(number)
    council.wait(1)
    assert council.view.need(DECIDED, number).status == "expired"
    assert council.say("c", "vote", id=number, yes=True) == "unknown_proposal"
    assert not council.names(VOTE) and council.names(QUEUE) == []


def test_operations_of_the_block_in_which_it_ends_come_before_its_end(council):
    number = council.propose(witness_vote(), lasts=100)
    council.all_say("ab", "vote", id=number, yes=True)
    council.wait(99)
    council.height += 1
    assert council.say("c", "vote", id=number, yes=True) == "accepted"
    council.wait(0)
    assert council.view.need(DECIDED, number).status == "approved"


def test_what_was_decided_stays_for_history_blocks(council):
    number = council.propose(witness_vote())
    council.all_say("abc", "vote", id=number, yes=True)
    council.wait(council.params.history - 1)
    assert council.view.get(DECIDED, number) is not None
    council.wait(1)
    assert council.view.get(DECIDED, number) is None


# -- what was approved


def test_one_transfer_is_a_payout_like_any_other(council):
    payload = council.view.need(QUEUE, council.approve(transfer("1.500 TBD", memo="thanks")))
    assert (payload.kind, payload.to, payload.amount) == ("payout", "receiver", 1_500)
    assert (payload.asset, payload.memo) == ("HBD", "thanks")
    action = council.view.need(ACTION, 1)
    assert (action.proposal, action.hive, action.hbd, action.ops) == (1, 0, 1_500, b"")


def test_all_else_is_one_payload_in_one_transaction(council):
    number = council.approve(transfer(), transfer(), witness_vote())
    payload, action = council.view.need(QUEUE, number), council.view.need(ACTION, number)
    assert (payload.to, payload.amount, payload.asset, payload.memo) == ("", 0, "", "")
    assert (action.hive, action.hbd) == (2_000, 0)
    one = Operation("transfer", {"from": GROUP, "to": "receiver", "amount": Asset(1_000, 0), "memo": ""})
    built = operations_of(council)
    assert built[:2] == [one, one] and [other.name for other in built[2:]] == ["account_witness_vote", "custom_json"]


def operations_of(council: Council) -> list[Operation]:
    """Of what is built now."""
    record = council.build(council.height)
    assert record is not None
    return list(unpack_transaction(record.tx, council.genesis.chain).operations)


def test_a_full_queue_fails_it_and_it_was_approved_all_the_same():
    council = Council(max_queue=1, **GENEROUS)
    council.payout()
    number = council.approve(transfer())
    assert council.view.need(DONE, number).why == "queue_full"
    assert council.view.get(ACTION, number) is None and council.view.need(DECIDED, 1).payload == number


def test_what_it_does_beyond_the_queue_goes_with_the_payload(council):
    number = council.approve(witness_vote())
    assert council.built() == (number,)
    council.confirm(council.out()[0])
    assert council.view.get(ACTION, number) is None and council.view.need(DONE, number).status == "confirmed"


def test_tokens_of_the_proposer_play_no_further_part(council):
    """What it has locked may leave after the proposal was made; the seats decide."""
    number = council.propose(witness_vote())
    council.view.put(BALANCE, Balance(1), "a")
    council.say("a", "gov_down", amount=100)
    council.wait(PARTS)
    council.view.put(NODE, replace(council.view.need(NODE, "a"), leaving=True), "a")
    assert council.all_say("bcd", "vote", id=number, yes=True) == ["accepted"] * 3
    assert council.view.need(DECIDED, number).status == "approved"
