"""Votes of the seats (protocol section 10): one for each seat, counted over the seats of the moment."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.devnet.founding import GROUP
from processors import tally, votes
from state.schema import DECIDED, EMERGENCY, QUEUE, VOTE, Vote
from tests.processors.council import GENEROUS, Council, transfer, witness_vote


@pytest.fixture
def council() -> Council:
    return Council(**GENEROUS)


def count(council: Council, what: str) -> tuple[int, int, int]:
    return votes.count(council.at(council.height), what)


# -- who votes


def test_who_holds_no_seat_does_not_vote(council):
    number = council.propose(transfer())
    council.member("m", seat=False, locked=10**9)
    for account in ("m", "stranger", GROUP):
        for name, fields in (
            ("vote", {"id": number, "yes": True}),
            ("veto", {"payload": 1}),
            ("ms_cancel", {"op": "1:1:1"}),
            *((name, {"on": on}) for name in ("halt", "resume", "hold") for on in (True, False)),
        ):
            assert council.say(account, name, **fields) == "no_seat"
    assert council.names(VOTE) == []


def test_one_vote_for_each_seat_whatever_its_collateral(council):
    council.member("rich", locked=10**15)
    number = council.propose(transfer())
    council.all_say(["rich", "a", "b"], "vote", id=number, yes=True)
    assert count(council, "proposal:1") == (3, 0, 6) and council.is_open(number)


def test_the_same_vote_twice_is_rejected_and_another_one_takes_its_place(council):
    number = council.propose(transfer())
    for yes in (True, False, True, False):
        assert council.say("a", "vote", id=number, yes=yes) == "accepted"
        assert council.say("a", "vote", id=number, yes=yes) == "voted_already"
    assert count(council, "proposal:1") == (0, 1, 5)
    assert council.all_say("bc", "vote", id=number, yes=False) == ["accepted"] * 2
    assert council.say("a", "vote", id=number, yes=True) == "unknown_proposal"


@pytest.mark.parametrize("number", [2, 0, 2**63 - 1])
def test_about_nothing_nobody_votes(council, number):
    council.propose(transfer())
    assert council.say("a", "vote", id=number, yes=True) == ("out_of_bounds" if number == 0 else "unknown_proposal")


def test_votes_about_10_are_none_about_1(council):
    numbers = [council.propose(witness_vote(), by=by) for by in "aaabbbcccd"]
    council.all_say("ab", "vote", id=10, yes=True)
    assert numbers[-1] == 10
    assert count(council, "proposal:1") == (0, 0, 5) and count(council, "proposal:10") == (2, 0, 5)
    council.all_say("abc", "vote", id=1, yes=False)
    assert count(council, "proposal:10") == (2, 0, 5)


# -- seats that change hands


def test_a_vote_counts_no_more_without_the_seat_and_again_with_it(council):
    number = council.propose(transfer())
    council.all_say("ab", "vote", id=number, yes=True)
    council.unseat("a")
    assert count(council, "proposal:1") == (1, 0, 4)
    assert council.say("a", "vote", id=number, yes=False) == "no_seat"
    council.seat("a")
    assert count(council, "proposal:1") == (2, 0, 5)


def test_the_successor_does_not_inherit_a_vote(council):
    number = council.propose(transfer())
    council.all_say("ab", "vote", id=number, yes=True)
    council.unseat("a")
    council.member("f")
    assert count(council, "proposal:1") == (1, 0, 5)


def test_an_agreed_tally_counts_anew_after_its_seats_were_given(council):
    """Two of five voted; e and d lose their seats at the tally: two of three are more than half."""
    number = council.propose(transfer())
    council.all_say("ab", "vote", id=number, yes=True)
    for name in "de":
        council.say(name, "gov_down", amount=100)
    assert council.is_open(number)
    council.agree()
    assert council.runners == ["a", "b", "c"]
    found = council.view.need(DECIDED, number)
    assert (found.status, found.height, found.yes, found.seats) == ("approved", 1_200, 2, 3)
    assert council.names(QUEUE)[0] == found.payload, "before the rotation that the tally finds due"


def test_an_open_tally_counts_nothing(council):
    number = council.propose(transfer())
    council.all_say("ab", "vote", id=number, yes=True)
    for name in "de":
        council.unseat(name)
    council.height = 1_200
    tally.tally(council.at(1_200))
    assert council.is_open(number)


def test_a_tally_counts_all_that_is_voted_on():
    council = Council("abcdef", large_hive=10)
    locked = council.approve(transfer())
    council.record("1105:7:9", built=1_105)
    council.say("a", "veto", payload=locked)
    for name in ("halt", "hold"):
        council.say("a", name, on=True)
    council.all_say("ab", "hold", on=True)
    council.all_say("abc", "ms_cancel", op="1105:7:9")
    assert council.view.get(EMERGENCY) is None and council.record_of("1105:7:9").status == "collecting"
    for name in "def":
        council.say(name, "gov_down", amount=100)
    council.agree()
    assert council.record_of("1105:7:9").status == "cancelled"
    assert council.names(QUEUE) == []
    found = council.view.need(EMERGENCY)
    assert found.halted_until == 1_200 + 28_800 and found.held_until == 1_200 + 28_800
    assert {what for (what, _), _ in council.view.walk(VOTE)} == {"op:1105:7:9"}


def test_what_is_approved_at_a_tally_joins_the_queue_by_the_bytes_of_its_name(council):
    for by in "aaabbbcccd":
        council.propose(witness_vote(), by=by)
    for number in (9, 10):
        council.all_say("ab", "vote", id=number, yes=True)
    for name in "de":
        council.say(name, "gov_down", amount=100)
    council.agree()
    assert [council.payload_of(number) for number in (10, 9)] == [1, 2]


# -- a third, and more than half


@pytest.mark.parametrize(("seats", "third", "majority"), [
    (1, 1, 1), (2, 1, 2), (3, 1, 2), (4, 2, 3), (5, 2, 3), (6, 2, 4), (7, 3, 4), (25, 9, 13), (40, 14, 21),
])  # fmt: skip
def test_how_many_are_a_third_and_more_than_half(seats, third, majority):
    council = Council("")
    for number in range(seats):
        council.member(f"m{number:02}")
    for voted in range(seats + 1):
        ctx = council.at(council.height)
        assert votes.is_third(ctx, "halt") == (voted >= third)
        assert votes.is_majority(ctx, "halt") == (voted >= majority)
        council.view.put(VOTE, Vote(True, council.height), "halt", f"m{voted:02}")


def test_without_a_seat_nothing_is_decided():
    council = Council("")
    council.view.put(VOTE, Vote(True, council.height), "halt", "ghost")
    ctx = council.at(council.height)
    assert not votes.is_third(ctx, "halt") and not votes.is_majority(ctx, "halt")


# -- age


def test_a_vote_about_a_proposal_does_not_grow_old(council):
    number = council.propose(transfer(), lasts=201_600)
    council.say("a", "vote", id=number, yes=True)
    council.wait(201_599)
    assert count(council, "proposal:1") == (1, 0, 5)
    assert council.say("a", "vote", id=number, yes=True) == "voted_already"


def test_any_other_counts_for_halt_blocks_and_can_be_cast_again_then(council):
    council.say("a", "halt", on=True)
    council.wait(28_800)
    assert count(council, "halt") == (1, 0, 5)
    assert council.say("a", "halt", on=True) == "voted_already"
    council.wait(1)
    assert count(council, "halt") == (0, 0, 5)
    assert council.say("a", "halt", on=False) == "voted_already", "there is none to take back"
    assert council.say("b", "halt", on=True) == "accepted"
    assert council.view.get(EMERGENCY) is None
    assert council.say("a", "halt", on=True) == "accepted"
    assert council.view.get(EMERGENCY) is not None


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdeg"), st.booleans(), st.sampled_from(["vote", "unseat", "seat"])), max_size=25
    )
)
def test_a_proposal_is_decided_by_more_than_half_of_the_seats_and_by_nothing_else(steps):
    council = Council(**GENEROUS)
    number = council.propose(transfer())
    for account, yes, what in steps:
        if what != "vote":
            (council.unseat if what == "unseat" else council.seat)(account)
            continue
        code = council.say(account, "vote", id=number, yes=yes)
        if code == "no_seat":
            assert account not in council.runners
        if not council.is_open(number):
            found = council.view.need(DECIDED, number)
            assert max(found.yes, found.no) * 2 > found.seats == len(council.runners)
            assert (found.status == "approved") == (found.yes > found.no) == bool(council.names(QUEUE))
            return
        yes_votes, no_votes, seats = count(council, "proposal:1")
        assert code != "accepted" or max(yes_votes, no_votes) * 2 <= seats
    assert council.names(QUEUE) == []
