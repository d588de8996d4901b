"""Group transactions that the seats marked (protocol section 10): nobody signs them, and none is built again."""

import pytest

from processors.signatures import CANCELLED, authority_changed, weigh_all
from state.schema import DONE, MS, QUEUE, RUNNER, SIG, SPEND, VOTE
from tests.processors.council import GENEROUS, Council, transfer, witness_vote
from tests.processors.test_emergencies import DAY
from tests.processors.test_signatures import submit
from tests.processors.world import secret


@pytest.fixture
def council() -> Council:
    """Five seats, a to e."""
    return Council(**GENEROUS)


@pytest.fixture
def out(council) -> tuple[Council, str, int]:
    """A payout of a proposal is out, and two have signed it."""
    number = council.approve(transfer("0.400 TESTS"))
    council.built()
    (op,) = council.out()
    submit(council, "a", "b", op=op, height=council.height)
    return council, op, number


def test_more_than_half_mark_a_group_transaction_for_good(out):
    council, op, _ = out
    assert council.all_say("ab", "ms_cancel", op=op) == ["accepted"] * 2
    assert council.record_of(op).status == "collecting"
    assert council.say("b", "ms_cancel", op=op) == "voted_already"
    assert council.say("c", "ms_cancel", op=op) == "accepted"
    record = council.record_of(op)
    assert (record.status, record.ready_at, record.order, record.attempts) == (CANCELLED, 0, (), ())
    assert council.say("d", "ms_cancel", op=op) == "op_cancelled"


def test_nothing_is_signed_or_refused_any_more_and_nothing_unmarks_it(out):
    council, op, _ = out
    council.all_say("abc", "ms_cancel", op=op)
    sig = secret("c").sign(council.record_of(op).digest).hex()
    assert council.say("stranger", "sig_submit", op=op, sig=sig) == "op_cancelled"
    assert council.say("d", "sig_refuse", op=op, why="policy") == "op_cancelled"
    for weigh in (weigh_all, authority_changed):
        council.strict("ab")
        weigh(council.at(council.height))
        assert council.record_of(op).status == CANCELLED
    for name in "cde":
        council.unseat(name)
    council.agree()
    assert council.record_of(op).status == CANCELLED
    council.wait(300)
    assert (council.record_of(op).status, council.record_of(op).recasts) == (CANCELLED, 0)


def test_a_ready_one_can_be_marked_and_is_due_to_nobody(out):
    council, op, _ = out
    submit(council, "c", op=op, height=council.height)
    assert council.record_of(op).status == "ready"
    council.all_say("abc", "ms_cancel", op=op)
    assert council.record_of(op).order == ()
    council.wait(100)
    assert council.record_of(op).attempts == ()


def test_its_signatures_are_public_so_it_can_be_confirmed_after_all(out):
    council, op, number = out
    council.all_say("abc", "ms_cancel", op=op)
    council.confirm(op)
    assert council.view.need(DONE, number).status == "confirmed"
    assert council.out() == council.names(VOTE) == council.names(SIG, op) == []


def test_when_it_is_dead_its_payloads_have_failed_and_are_never_rebuilt(council):
    numbers = tuple(council.approve(transfer("0.100 TESTS", memo=str(n))) for n in range(3))
    assert council.built() == numbers
    (op,) = council.out()
    council.all_say("abc", "ms_cancel", op=op)
    assert len(council.names(SPEND)) == 3
    council.wait(DAY + 100)
    for number in numbers:
        found = council.view.need(DONE, number)
        assert (found.status, found.why) == ("failed", "cancelled")
    assert council.names(QUEUE) == council.names(SPEND) == council.names(VOTE) == council.names(MS) == []
    council.asked(council.height, exp=2**32 - 1, elect=True)
    assert council.build_all() == []


def test_it_takes_its_place_until_it_is_dead():
    council = Council(**GENEROUS, max_in_flight=2)
    for _ in range(3):
        council.approve(witness_vote())
    assert len(council.build_all()) == 2
    council.all_say("abc", "ms_cancel", op=council.out()[0])
    assert council.build_all() == []


def test_nobody_gets_a_mark_for_a_rotation_that_was_marked(council):
    council.strict("abcx")
    number = council.rotation()
    council.built()
    (op,) = council.out()
    council.all_say("abc", "ms_cancel", op=op)
    council.wait(2_500)
    assert council.view.need(DONE, number).why == "cancelled"
    assert [seat.marks for _, seat in council.view.walk(RUNNER)] == [0] * 5


def test_of_nothing(council):
    for op in ("1050:7:9", "0:0:0"):
        assert council.say("a", "ms_cancel", op=op) == "unknown_op"
    assert council.say("a", "ms_cancel", op="p1") == "out_of_bounds"
