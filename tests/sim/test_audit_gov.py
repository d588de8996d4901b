"""The treasurer finds what it is there to find: for each of its invariants something is broken."""

from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from node.devnet.founding import RECEIVER
from node.sim.audit_gov import Treasurer
from node.sim.outcome import Violation
from processors import engine
from state.schema import (
    ACTION,
    COLLATERAL,
    EMERGENCY,
    LEAVING,
    MS,
    PROPOSAL,
    QUEUE,
    SPENDING,
    VOTE,
    Action,
    Emergency,
    Leaving,
    Payload,
    Proposal,
    Total,
    Vote,
)
from tests.sim.test_audit import at_height, told_by
from tests.sim.tiny import tiny

FAR = 10_000


@pytest.fixture
def rule(monkeypatch):
    """Adds a rule to the protocol, for everybody: ``rule(act)`` calls ``act(ctx)`` at the end of every block."""

    def add(act):
        genuine = engine._close

        def close(ctx):
            act(ctx)
            genuine(ctx)

        monkeypatch.setattr(engine, "_close", close)

    return add


def at_building(kind, act):
    """``act(ctx, op, record)`` on every record of a kind, in the block that builds it."""

    def rule(ctx):
        for (op,), record in list(ctx.view.walk(MS)):
            if record.kind == kind and record.built == ctx.height:
                act(ctx, str(op), record)

    return rule


# -- what is built


def test_nothing_is_found_where_nothing_is_wrong(rule):
    rule(lambda ctx: None)
    assert told_by(tiny()) == ("", "")


def test_a_rotation_that_is_built_while_they_are_held(rule):
    rule(at_building("rotation", lambda ctx, op, record: ctx.view.put(EMERGENCY, Emergency(0, 0, ctx.height + 1))))
    invariant, detail = told_by(tiny())
    assert (invariant, detail.endswith("rotations are held")) == ("held", True)


def test_a_payout_that_is_built_while_the_group_is_halted(rule):
    rule(at_building("payout", lambda ctx, op, record: ctx.view.put(EMERGENCY, Emergency(ctx.height + 1, FAR, 0))))
    invariant, detail = told_by(tiny())
    assert (invariant, detail.endswith("the group is halted")) == ("halted_built", True)


def test_a_halt_that_is_over_stops_nothing_and_a_hold_no_payout(rule):
    def over(ctx, op, record):
        ctx.view.put(EMERGENCY, Emergency(ctx.height, FAR, FAR))

    rule(at_building("payout", over))
    assert told_by(tiny(rounds=4))[0] not in ("halted_built", "held")


def of_a_proposal(not_before, hive):
    def act(ctx, op, record):
        for payload in record.payloads:
            ctx.view.put(ACTION, Action(1, not_before, hive, 0, b""), payload)

    return at_building("payout", act)


def test_a_payload_that_is_built_while_it_is_locked(rule):
    rule(of_a_proposal(FAR, 0))
    invariant, detail = told_by(tiny())
    assert invariant == "locked_built"
    assert "payload 1 is locked" in detail or "is locked and in" in detail


def test_a_payload_that_is_built_above_the_limit(rule):
    rule(of_a_proposal(0, 21))
    assert told_by(tiny(spend_limit_hive=20))[0] == "over_limit"


def test_the_limit_is_that_of_the_window_and_not_of_a_payload(rule):
    rule(of_a_proposal(0, 8))
    assert told_by(tiny(spend_limit_hive=20, spend_window=FAR))[0] == "over_limit", "the third is above"


# -- what seats have marked


def test_a_marked_transaction_that_is_signed_again(rule):
    def mark_and_forget(ctx):
        for (op,), record in list(ctx.view.walk(MS)):
            if record.kind == "payout":
                status = "cancelled" if ctx.height == record.built else "collecting"
                ctx.view.put(MS, replace(record, status=status), op)

    rule(mark_and_forget)
    invariant, detail = told_by(tiny())
    assert (invariant, detail.endswith("is collecting again")) == ("unmarked", True)


class State:
    """A state of a few entries."""

    def __init__(self):
        self.entries = {}

    def put(self, table, value, *key):
        self.entries[table, key] = value

    def get(self, table, *key):
        return self.entries.get((table, key))

    def need(self, table, *key):
        return self.entries[table, key]

    def walk(self, table, *prefix):
        return [
            (key, value) for (at, key), value in self.entries.items() if at is table and key[: len(prefix)] == prefix
        ]


@pytest.fixture
def books(monkeypatch):
    """A treasurer, a state with one payload of 10 HIVE, and ``record``: a transaction of it was built."""
    params = SimpleNamespace(spend_window=100, spend_limit_hive=25)
    monkeypatch.setattr("node.sim.audit_gov.read", lambda view: params)
    state = State()
    state.view = lambda: None
    treasurer = Treasurer(None)

    def record(number, payload=1, hive=10):
        op = f"{number}:1:1"
        state.put(QUEUE, Payload("payout", 0, 1, RECEIVER, hive, "HIVE", "", op, ()), payload)
        state.put(ACTION, Action(1, 0, hive, 0, b""), payload)
        treasurer.record(state, op, SimpleNamespace(kind="payout", payloads=(payload,)), number)

    return SimpleNamespace(treasurer=treasurer, state=state, record=record, params=params)


def breaks(invariant, act, *given):
    with pytest.raises(Violation) as caught:
        act(*given)
    assert caught.value.invariant == invariant


def test_a_payload_of_a_marked_one_that_is_built_again(books):
    books.record(10)
    books.treasurer.ended(1, "failed", "cancelled")
    breaks("rebuilt", books.record, 20)


def test_one_that_expired_may_be_built_again_and_counts_once(books):
    for number in (10, 20, 30):
        books.record(number)
        books.treasurer.expired(1)
    books.record(40)
    books.record(41, payload=2)
    breaks("over_limit", books.record, 42, 3)


def test_what_failed_leaves_the_window_what_was_paid_stays_in_it(books):
    books.record(10)
    books.record(11, payload=2)
    books.treasurer.ended(1, "failed", "vetoed")
    books.record(12, payload=3)
    books.treasurer.ended(2, "confirmed", "")
    breaks("over_limit", books.record, 13, 4)
    assert books.treasurer.counts["vetoed"] == 1 and books.treasurer.counts["proposals_paid"] == 1


@pytest.mark.parametrize("number", [109, 110])
def test_the_window_ends_at_its_last_block(books, number):
    """Built at 10 within a window of 100: it counts at 109, and at 110 no more."""
    books.record(10)
    books.params.spend_limit_hive = 19
    if number == 109:
        breaks("over_limit", books.record, number, 2)
    else:
        books.record(number, payload=2)


def test_what_leaves_nothing_waits_for_no_limit(books):
    books.params.spend_limit_hive = 0
    books.record(10, hive=0)


# -- sums and bounds, at each tally


def at_a_tally(act):
    return at_height(60, act)


def leaves(ctx, leaving, entry=None):
    ctx.view.put(COLLATERAL, replace(ctx.view.need(COLLATERAL, "runner01"), leaving=leaving), "runner01")
    if entry is not None:
        ctx.view.put(LEAVING, entry, "runner01")


@pytest.mark.parametrize(
    ("leaving", "entry"), [(1, None), (2_000, Leaving(2_000, 0, 0, (FAR, 0))), (5, Leaving(9, 5, 1, (FAR, 0)))]
)
def test_collateral_that_leaves_otherwise_than_its_parts_say(rule, leaving, entry):
    rule(at_a_tally(lambda ctx: leaves(ctx, leaving, entry)))
    assert told_by(tiny())[0] == "leaving"


def test_a_sum_of_what_was_built_that_is_none(rule):
    rule(at_a_tally(lambda ctx: ctx.view.put(SPENDING, Total(123_456), "HIVE")))
    assert told_by(tiny())[0] == "spending"


@pytest.mark.parametrize("what", ["payload:999", "proposal:9", "op:1:2:3", "anything"])
def test_votes_about_what_is_gone(rule, what):
    rule(at_a_tally(lambda ctx: ctx.view.put(VOTE, Vote(True, ctx.height), what, "runner01")))
    invariant, detail = told_by(tiny())
    assert (invariant, what in detail) == ("votes", True)


def test_votes_about_what_is_there_are_none_of_those(rule):
    rule(at_a_tally(lambda ctx: ctx.view.put(VOTE, Vote(True, ctx.height), "halt", "runner01")))
    assert told_by(tiny(rounds=3))[0] != "votes"


def test_more_than_three_open_proposals_of_one_account(rule):
    def stuff(ctx):
        for number in range(1, 5):
            ctx.view.put(PROPOSAL, Proposal("runner01", 1, FAR, b"", "large_delay", 1, 0, (FAR, number)), number)

    rule(at_a_tally(stuff))
    invariant, detail = told_by(tiny())
    assert (invariant, "more than 3" in detail) == ("bounds", True)
