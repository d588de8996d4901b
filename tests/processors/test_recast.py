"""Recasts, the order of transmission, and the end of what was not confirmed (protocol section 8)."""

from hashlib import sha256

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.context import transmission_order
from processors.recast import due_accounts, recast
from processors.signatures import authority_changed, sig_refuse
from state.schema import CHRON, DONE, MS, QUEUE, REFUSAL, RUNNER, SIG, TALLY, Record
from tests.processors.test_signatures import submit
from tests.processors.world import OP, World

BUILT = 1_050


def run(world: World, first: int, last: int) -> list[int]:
    """The recasts of these blocks; the heights at which there was one."""
    found = []
    for height in range(first, last + 1):
        for (_, sequence), job in list(world.view.walk(CHRON, height)):
            world.view.delete(CHRON, height, sequence)
            if job.kind == "recast":
                found.append(height)
                recast(world.at(height), job.what)
    return found


def jobs(world: World) -> list[tuple[int, str]]:
    """(height, record) of every recast job."""
    return [(found[0], job.what) for found, job in world.view.walk(CHRON) if job.kind == "recast"]


def record(world: World, op: str = OP) -> Record:
    return world.view.need(MS, op)


@pytest.fixture
def world() -> World:
    return World.paying()


# -- when


def test_while_collecting_every_30_blocks_from_building(world):
    assert run(world, BUILT, 1_200) == [1_080, 1_110, 1_140, 1_170, 1_200]
    assert jobs(world) == [(1_230, OP)]
    assert (record(world).status, record(world).recasts, record(world).attempts) == ("collecting", 0, ())


def test_the_job_moves_when_it_becomes_ready_with_a_new_sequence(world):
    before = record(world).job
    submit(world, "a", "b", "c", height=1_062)
    assert jobs(world) == [(1_092, OP)]
    assert record(world).job[0] == 1_092
    assert record(world).job[1] > before[1]
    assert run(world, 1_063, 1_160) == [1_092, 1_122, 1_152]


def test_each_record_has_exactly_one(world):
    world.record("1051:7:9", built=1_051)
    submit(world, "a", "b", "c", height=1_062)
    run(world, 1_062, 1_170)
    assert sorted(op for _, op in jobs(world)) == [OP, "1051:7:9"]
    sequences = [sequence for (_, sequence), _ in world.view.walk(CHRON)]
    assert len(set(sequences)) == 2
    assert record(world).job in dict(world.view.walk(CHRON))


def test_recast_every_is_a_parameter():
    world = World(recast_every=7)
    world.record()
    assert run(world, BUILT, 1_075) == [1_057, 1_064, 1_071]


# -- who


def test_the_leader_at_once_then_one_more_at_each_recast_and_all_members_from_the_third(world):
    submit(world, "a", "b", "c", height=1_062)
    order = record(world).order
    assert sorted(order) == list("abcde")
    for height, due in ((1_091, order[:1]), (1_092, order[:2]), (1_121, order[:2]), (1_122, order[:3]), (1_152, None)):
        run(world, height, height)
        assert due_accounts(record(world)) == due
    assert record(world).attempts == ((1_062, order[0]), (1_092, order[1]), (1_122, order[2]), (1_152, "*"))


def test_after_that_it_counts_no_further(world):
    submit(world, "a", "b", "c", height=1_062)
    run(world, 1_062, 1_152)
    before = record(world)
    run(world, 1_153, 1_182)
    assert (record(world).recasts, record(world).attempts) == (before.recasts, before.attempts) == (3, before.attempts)
    assert jobs(world) == [(1_212, OP)]


def test_a_short_order_runs_out_before_everybody_may():
    world = World()
    world.member("a")
    world.member("member", seat=False)
    world.strict("a")
    world.record()
    submit(world, "a", height=1_062)
    run(world, 1_063, 1_122)
    assert due_accounts(record(world)) == ("a",)
    assert record(world).attempts == ((1_062, "a"),)
    run(world, 1_123, 1_152)
    assert due_accounts(record(world)) is None
    assert record(world).attempts == ((1_062, "a"), (1_152, "*"))


def test_the_order_is_that_of_the_runners_when_it_became_ready(world):
    world.member("member", seat=False)
    submit(world, "a", "b", "c", height=1_062)
    order = record(world).order
    world.view.delete(RUNNER, order[0])
    world.member("late")
    run(world, 1_063, 1_092)
    assert record(world).order == order
    assert sorted(order) == list("abcde")


def test_without_runners_all_members_are_in_it(world):
    for name in "abcde":
        world.view.delete(RUNNER, name)
    world.member("f", seat=False)
    submit(world, "a", "b", "c", height=1_062)
    assert sorted(record(world).order) == list("abcdef")


@given(st.sets(st.text("abc-.1", min_size=1, max_size=16)), st.integers(0, 2**32))
def test_the_order_is_by_the_hash_of_id_and_account(accounts, height):
    op = f"{height}:1:1"

    def place(account: str) -> bytes:
        return sha256(msgpack.packb([op, account])).digest()

    found = transmission_order(op, list(accounts))
    assert list(found) == sorted(accounts, key=place)


def test_ready_again_begins_again(world):
    submit(world, "a", "b", "c", height=1_062)
    run(world, 1_063, 1_122)
    assert record(world).recasts == 2
    world.strict("bcdfg")
    authority_changed(world.at(1_125))
    world.view.delete(RUNNER, "a")
    assert record(world).status == "collecting"
    after = submit(world, "f", height=1_130)
    assert (after.ready_at, after.recasts, after.job[0]) == (1_130, 0, 1_160)
    assert sorted(after.order) == list("bcde")
    assert after.attempts == ((1_130, after.order[0]),)
    assert jobs(world) == [(1_160, OP)]


def test_a_record_that_is_ready_no_more_waits_for_nobody(world):
    submit(world, "a", "b", "c", height=1_062)
    world.strict("vwx")
    authority_changed(world.at(1_070))
    run(world, 1_071, 1_092)
    assert (record(world).recasts, len(record(world).attempts)) == (0, 1)


# -- the end


def expire(world: World, *, time: int | None = None) -> None:
    """The recast at or after the expiration."""
    world.view.delete(CHRON, *record(world).job)
    recast(world.at(1_100, time=record(world).expiration if time is None else time), OP)


def test_it_is_dead_when_a_blocks_time_reaches_the_expiration_and_not_a_second_before(world):
    expire(world, time=record(world).expiration - 1)
    assert world.names(MS) == [OP]
    assert jobs(world) == [(1_130, OP)]
    expire(world)
    assert world.names(MS) == []


@pytest.mark.parametrize("status", ["collecting", "ready"])
def test_its_payload_goes_back_under_its_id(world, status):
    if status == "ready":
        submit(world, "a", "b", "c")
    submit(world, "d")
    sig_refuse(world.at(1_060), "e", {"op": OP, "why": "no"})
    before, payload = record(world), world.view.need(QUEUE, 1)
    expire(world)
    after = world.view.need(QUEUE, 1)
    assert (after.expiries, after.out, after.past) == (1, "", (before.txid,))
    assert (after.to, after.amount, after.memo, after.queued) == (
        payload.to,
        payload.amount,
        payload.memo,
        payload.queued,
    )
    assert [world.names(table) for table in (MS, SIG, REFUSAL, DONE)] == [[], [], [], []]
    assert jobs(world) == []


def test_each_payload_of_a_transaction_goes_back_by_itself():
    world = World()
    first, second = world.payout(1), world.payout(2)
    world.record(payloads=(first, second))
    expire(world)
    assert [world.view.need(QUEUE, number).expiries for number in (first, second)] == [1, 1]


@pytest.mark.parametrize(("expiries", "fails"), [(0, False), (3, False), (4, True)])
def test_the_fifth_expiry_fails_it(expiries, fails):
    world = World()
    past = tuple(bytes([n]) * 20 for n in range(expiries))
    number = world.payout(expiries=expiries, past=past)
    txid = world.record(payloads=(number,)).txid
    expire(world)
    if fails:
        done = world.view.need(DONE, number)
        assert (done.status, done.txid, done.height, done.signers, done.why) == ("failed", txid, 1_100, (), "expired")
        assert world.names(QUEUE) == []
    else:
        assert world.view.need(QUEUE, number).past == (*past, txid)


@pytest.mark.parametrize("expiries", [0, 1, 4])
def test_what_expires_together_with_another_is_never_failed_by_that(expiries):
    """Any of them may be the one that Hive refuses: none is given up for another's fault."""
    world = World(max_attempts=1)
    past = tuple(bytes([n]) * 20 for n in range(expiries))
    numbers = [world.payout(amount, expiries=expiries, past=past) for amount in (1, 2, 3)]
    txid = world.record(payloads=tuple(numbers)).txid
    expire(world)
    found = [world.view.need(QUEUE, number) for number in numbers]
    assert [(one.expiries, one.out, one.past) for one in found] == [(expiries + 1, "", (*past, txid))] * 3
    assert world.names(DONE) == []


def test_with_one_attempt_it_is_failed_by_the_first_expiry_that_it_rode_in_alone():
    world = World(max_attempts=1)
    first, second = world.payout(1), world.payout(2)
    together = world.record(payloads=(first, second))
    expire(world)
    alone = world.record("1101:7:9", built=1_101, payloads=(second,))
    world.view.delete(CHRON, *alone.job)
    recast(world.at(1_131, time=alone.expiration), "1101:7:9")
    done = world.view.need(DONE, second)
    assert (done.status, done.txid, done.why) == ("failed", alone.txid, "expired")
    assert world.names(QUEUE) == [first]
    assert world.view.need(QUEUE, first).past == (together.txid,)


def test_a_fresh_payload_that_rides_alone_has_one_attempt_if_no_more_are_given():
    world = World(max_attempts=1)
    number = world.payout()
    world.record(payloads=(number,))
    expire(world)
    assert world.view.need(DONE, number).status == "failed"


def test_what_was_refused_together_goes_back_and_rides_alone():
    """One payout that the members refuse takes no other with it; alone it is failed, with the reason."""
    world = World(max_attempts=5)
    for name in "abc":
        world.member(name)
    world.strict("abc")
    numbers = (world.payout(1), world.payout(2))
    world.record(payloads=numbers)
    for name in "ab":
        sig_refuse(world.at(1_060), name, {"op": OP, "why": "no"})
    expire(world)
    assert [world.view.get(DONE, number) for number in numbers] == [None, None]
    assert [(world.view.need(QUEUE, n).expiries, world.view.need(QUEUE, n).out) for n in numbers] == [(1, "")] * 2


def test_what_was_refused_fails_with_the_reason_of_the_first_by_account(world):
    txid = record(world).txid
    for name in "ecb":
        sig_refuse(world.at(1_060), name, {"op": OP, "why": f"{name}_says_no"})
    expire(world)
    done = world.view.need(DONE, 1)
    assert (done.status, done.txid, done.why) == ("failed", txid, "refused:b_says_no")
    assert world.names(QUEUE) == []


def test_a_refusal_that_was_withdrawn_fails_nothing(world):
    for name in "abc":
        sig_refuse(world.at(1_060), name, {"op": OP, "why": "no"})
    submit(world, "c")
    expire(world)
    assert world.names(QUEUE) == [1]


def test_what_is_refused_waits_for_its_expiration(world):
    for name in "abc":
        sig_refuse(world.at(1_060), name, {"op": OP, "why": "no"})
    assert run(world, BUILT, 1_140) == [1_080, 1_110, 1_140]
    assert record(world).status == "refused"
    assert world.names(QUEUE) == [1]


@pytest.mark.parametrize(("refusers", "status", "why"), [("", "expired", ""), ("abc", "failed", "refused:no")])
def test_a_rotation_is_done_and_not_queued_again(world, refusers, status, why):
    number = world.rotation()
    world.record(payloads=(number,), kind="rotation")
    txid = record(world).txid
    for name in refusers:
        sig_refuse(world.at(1_060), name, {"op": OP, "why": "no"})
    expire(world)
    done = world.view.need(DONE, number)
    assert (done.status, done.txid, done.why) == (status, txid, why)
    assert number not in world.names(QUEUE)


def test_an_expiry_does_not_reset_patience_nor_last(world):
    world.set_tally(patience=7, last=5)
    world.record(payloads=(world.rotation(),), kind="rotation", limit=99)
    expire(world)
    tally = world.view.need(TALLY)
    assert (tally.patience, tally.last) == (7, 5)
