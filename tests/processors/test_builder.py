"""The builder (protocol section 6): what is built, when, in which order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from processors.builder import build
from state.schema import CHRON, DONE, MS, OWNER_CHANGES, QUEUE, Job, OwnerChanges
from tests.processors.world import World, key, time_of

AT = 1_100


def ready(**params: object) -> World:
    """Three runners hold the account, a header is elected."""
    world = World(**params)
    for name in "abc":
        world.member(name)
    world.strict("abc")
    world.asked(1_050, elect=True)
    return world


@pytest.fixture
def world() -> World:
    return ready()


def built(world: World, height: int = AT) -> tuple[int, ...]:
    """The payloads of what is built at ``height``."""
    record = world.build(height)
    return record.payloads if record is not None else ()


# -- the header


def test_nothing_without_an_elected_header(world):
    world = World()
    world.asked(1_050)
    world.payout()
    assert built(world) == ()


@pytest.mark.parametrize(("left", "builds"), [(1_200, True), (1_199, False)])
def test_the_header_stays_valid_for_header_min_left(world, left, builds):
    world.asked(1_050, exp=time_of(AT) + left, elect=True)
    number = world.payout()
    assert built(world) == ((number,) if builds else ())


@pytest.mark.parametrize(("age", "builds"), [(60_000, True), (60_001, False)])
def test_its_block_is_within_the_reach_of_tapos(world, age, builds):
    world.asked(1_050, exp=2**32 - 1, elect=True)
    number = world.payout()
    assert built(world, 1_050 + age) == ((number,) if builds else ())


def test_the_header_bounds_rotations_too(world):
    world.strict("abx")
    world.asked(1_050, exp=time_of(AT) + 1_199, elect=True)
    world.rotation()
    assert built(world) == ()


@pytest.mark.parametrize("kind", ["payout", "rotation"])
def test_nothing_after_an_open_tally(world, kind):
    world.set_tally(is_open=True)
    world.strict("abx")
    number = world.payout() if kind == "payout" else world.rotation()
    assert built(world) == ()
    world.set_tally(is_open=False)
    assert built(world) == (number,)


# -- order and merging


def test_at_most_one_a_block_and_nothing_from_an_empty_queue(world):
    assert built(world) == ()
    assert world.names(MS) == []


def test_up_to_max_merge_transfers_that_never_expired_in_the_order_of_their_ids(world):
    numbers = [world.payout(amount) for amount in range(1, 26)]
    assert built(world) == tuple(numbers[:20])
    assert built(world, AT + 1) == tuple(numbers[20:])
    assert built(world, AT + 2) == ()


def test_one_that_has_expired_goes_alone_after_the_fresh_ones(world):
    old = world.payout(expiries=1, past=(b"1" * 20,))
    fresh = [world.payout(), world.payout()]
    assert built(world) == tuple(fresh)
    assert built(world, AT + 1) == (old,)


def test_fewer_expiries_first_then_the_lower_id():
    world = ready(max_in_flight=20)
    numbers = [world.payout(amount, expiries=expiries) for amount, expiries in enumerate((3, 1, 2, 1, 1), 1)]
    assert [built(world, AT + i) for i in range(6)] == [(numbers[i],) for i in (1, 3, 4, 2, 0)] + [()]


def test_ids_go_by_size_not_by_their_digits(world):
    numbers = [world.payout() for _ in range(11)]
    world.params = replace(world.params, max_merge=10)
    assert built(world) == tuple(numbers[:10])
    assert built(world, AT + 1) == (11,)


def test_what_is_out_is_not_built_again(world):
    world.payout(out="1:1:1")
    assert built(world) == ()


# -- how many are out


def test_max_in_flight_group_transactions_are_out():
    world = ready(max_merge=1)
    numbers = [world.payout() for _ in range(6)]
    assert [built(world, AT + i) for i in range(6)] == [(n,) for n in numbers[:4]] + [(), ()]


def test_one_transaction_with_many_payloads_is_one(world):
    for _ in range(3):
        world.payout(out="1:1:1")
    number = world.payout()
    world.params = replace(world.params, max_in_flight=2)
    assert built(world) == (number,)
    world.payout()
    assert built(world, AT + 1) == ()


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (8, 4)])
def test_at_most_half_of_them_carry_what_has_expired_before(limit, most):
    world = ready(max_in_flight=limit)
    for _ in range(limit + 1):
        world.payout(expiries=1)
    assert sum(bool(built(world, AT + i)) for i in range(limit + 2)) == most


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (2, 1), (3, 2), (4, 3)])
def test_while_one_waits_that_has_expired_before_a_place_is_kept_for_it(limit, most):
    world = ready(max_in_flight=limit, max_merge=1)
    old = world.payout(expiries=1)
    fresh = [world.payout() for _ in range(limit + 1)]
    found = [built(world, AT + i) for i in range(limit)]
    assert found[:most] == [(number,) for number in fresh[:most]]
    assert found[most:] == [(old,)] * (limit - most)


def test_the_kept_place_is_for_one_that_waits_not_for_one_that_is_out():
    world = ready(max_in_flight=4, max_merge=1)
    world.payout(expiries=1, out="1:1:1")
    fresh = [world.payout() for _ in range(4)]
    assert [built(world, AT + i) for i in range(4)] == [(n,) for n in fresh[:3]] + [()]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["", "", "", "1:1:1", "2:1:1", "3:1:1", "4:1:1"])), max_size=9
    ),
    st.integers(1, 5),
    st.integers(1, 3),
    st.booleans(),
)
def test_against_the_words_of_the_rule(entries, limit, merge, rotation_out):
    """Go through the queue in its order; the first payload that no limit passes over is built."""
    world = ready(max_in_flight=limit, max_merge=merge)
    if rotation_out:
        world.rotation(out="9:1:1")
    # what has expired before is out alone
    out: dict[str, int] = {}
    queue: dict[int, tuple[int, str]] = {}
    for expiries, op in entries:
        if op and op in out and (expiries or out[op]):
            continue
        if op:
            out[op] = expiries
        queue[world.payout(expiries=expiries, out=op)] = (expiries, op)
    old_out, fresh_out = sum(map(bool, out.values())), sum(not expiries for expiries in out.values())
    waiting = sorted((expiries, number) for number, (expiries, op) in queue.items() if not op)
    old_waits = any(expiries for expiries, _ in waiting)

    def may_be_built(expiries: int) -> bool:
        if old_out + fresh_out >= limit:
            return False
        if expiries:
            return old_out < max(1, limit // 2)
        return not old_waits or fresh_out < max(1, limit - 1)

    first = next((entry for entry in waiting if may_be_built(entry[0])), None)
    expected: tuple[int, ...] = ()
    if first is not None:
        companions = [number for expiries, number in waiting if not expiries][:merge]
        expected = (first[1],) if first[0] else tuple(companions)
    assert built(world) == expected


# -- the rotation


def test_the_rotation_comes_first_and_waits_for_no_place():
    world = ready(max_in_flight=1)
    world.strict("abx")
    payout = world.payout()
    world.payout(out="1:1:1")
    rotation = world.rotation()
    assert built(world) == (rotation,)
    assert built(world, AT + 1) == ()
    world.params = replace(world.params, max_in_flight=2)
    assert built(world, AT + 2) == (payout,)


def test_one_rotation_is_out_at_a_time_and_payouts_pass_it(world):
    world.strict("abx")
    world.record("1090:1:1", kind="rotation")
    world.rotation()
    payout = world.payout()
    assert built(world) == (payout,)
    assert built(world, AT + 1) == ()


@pytest.mark.parametrize(
    ("ages", "rotates"),
    [
        ((3_660, 0), False),
        ((3_661, 0), True),
        ((0,), True),
        ((9_000, 3_660, 3_660), False),
        ((9_000, 9_000, 0), True),
        ((), True),
    ],
)
@pytest.mark.parametrize("rotate_owner", [True, False])
def test_with_rotate_owner_it_waits_while_two_owner_changes_lie_within_3660_seconds(ages, rotates, rotate_owner):
    world = ready(rotate_owner=rotate_owner)
    world.strict("abx")
    world.view.put(OWNER_CHANGES, OwnerChanges(tuple(time_of(AT) - age for age in ages)))
    rotation, payout = world.rotation(), world.payout()
    assert built(world) == ((rotation,) if rotates or not rotate_owner else (payout,))


def test_its_authority_is_computed_when_it_is_built(world):
    world.strict("xyz")
    number = world.rotation()
    world.member("d")
    record = world.build(AT)
    assert record is not None and record.payloads == (number,)
    assert all(key(name) in record.tx for name in "abcd")


def test_it_is_dropped_when_nothing_differs_any_more(world):
    number = world.rotation()
    assert built(world) == ()
    done = world.view.need(DONE, number)
    assert (done.status, done.txid, done.height, done.signers, done.why) == ("dropped", None, AT, (), "same")
    assert world.names(QUEUE) == []


@pytest.mark.parametrize("role", ["owner", "active", "posting"])
def test_all_that_it_would_set_is_compared(role):
    for rotated in (True, False):
        world = ready(rotate_owner=rotated, rotate_posting=rotated)
        world.authority(1, ["a", "b", "c"], roles=(role,))
        number = world.rotation()
        expected = (number,) if rotated or role == "active" else ()
        assert built(world) == expected


def test_an_owner_that_cannot_be_met_is_not_compared(world):
    world.authority(1, ["x"], roles=("owner",))
    number = world.rotation()
    assert built(world) == ()
    assert world.view.need(DONE, number).why == "same"


@pytest.mark.parametrize(("min_signers", "drops"), [(3, False), (4, True)])
def test_it_is_dropped_with_fewer_than_min_signers(min_signers, drops):
    world = ready(min_signers=min_signers)
    world.strict("xyz")
    number = world.rotation()
    assert built(world) == (() if drops else (number,))
    if drops:
        done = world.view.need(DONE, number)
        assert (done.status, done.why) == ("dropped", "too_few_signers")


def test_nothing_else_takes_it_from_the_queue(world):
    world.strict("abx")
    world.record("1090:1:1", kind="rotation")
    number = world.rotation()
    for height in range(AT, AT + 50):
        build(world.at(height))
    assert world.names(QUEUE) == [number]


# -- a full queue


def test_what_falls_due_with_max_queue_waiting_is_done_as_failed():
    world = ready(max_queue=2)
    world.payout(out="1:1:1")  # is out: does not wait
    numbers = [world.payout(), world.payout(), world.payout()]
    assert world.names(QUEUE) == [1, *numbers[:2]]
    done = world.view.need(DONE, numbers[2])
    assert (done.status, done.txid, done.height, done.why) == ("failed", None, 1_000, "queue_full")
    assert world.rotation() in world.names(QUEUE)


def test_ids_are_never_used_again():
    world = ready(max_queue=1)
    assert [world.payout(), world.payout(), world.rotation(), world.payout()] == [1, 2, 3, 4]


def test_the_end_of_a_payload_is_kept_for_history_blocks():
    world = ready(max_queue=1, history=500)
    world.payout()
    number = world.payout()
    jobs = [(height, job) for (height, _), job in world.view.walk(CHRON)]
    assert jobs == [(1_500, Job("forget_payload", str(number)))]
