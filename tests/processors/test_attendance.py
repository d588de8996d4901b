"""Attendance (protocol section 5, step 3): absence, collateral, and marks for rotations that a runner never signed."""

import pytest

from processors import seats
from processors.recast import recast
from processors.signatures import sig_submit
from state.schema import COLLATERAL, RUNNER, Collateral
from tests.processors.world import OP, World, key, secret, time_of

FIRST = 1_100


def attend(world: World, *names: str) -> list[str]:
    """Step 3 of an agreed tally at which these members agreed; the runners that are left."""
    seats.attendance(world.at(FIRST), world.reports(names))
    return world.runners


# -- step 3: absence


@pytest.mark.parametrize(("missed", "left"), [(0, "ab"), (10, "ab"), (11, "a")])
def test_the_twelfth_agreed_round_running_without_the_agreed_root_costs_the_seat(missed, left):
    world = World()
    world.member("a")
    world.member("b", missed=missed)
    assert attend(world, "a") == list(left)
    seat = world.view.get(RUNNER, "b")
    assert seat is None or seat.missed == missed + 1


def test_one_agreed_round_reported_and_the_count_begins_anew():
    world = World()
    world.member("a", missed=11)
    assert attend(world, "a") == ["a"]
    assert world.view.need(RUNNER, "a").missed == 0


def test_only_agreed_rounds_count():
    world = World(absent_rounds=2)
    for name in "abcde":
        world.member(name)
    world.strict("abcde")
    world.asked(1_050)
    for height in range(1_100, 1_600, 100):
        world.tally(height, "ab")  # open, all five of them
    assert world.runners == list("abcde")
    world.tally(1_600, "abc")
    world.tally(1_700, "a")
    assert world.runners == list("abcde")
    world.tally(1_800, "abc")
    assert world.runners == list("abc")


# -- step 3: collateral


@pytest.mark.parametrize(
    ("locked", "leaving", "stays"), [(50, 0, True), (49, 0, False), (80, 30, True), (80, 31, False), (0, 0, False)]
)
def test_collateral_locked_and_not_leaving_keeps_the_seat(locked, leaving, stays):
    world = World(min_collateral=50)
    world.member("a")
    world.view.put(COLLATERAL, Collateral(locked, leaving), "a")
    assert attend(world, "a") == (["a"] if stays else [])


def test_an_account_without_an_entry_has_none():
    world = World()
    world.member("a")
    world.view.delete(COLLATERAL, "a")
    assert seats.collateral(world.at(FIRST), "a") == 0
    assert attend(world, "a") == []


# -- step 3: marks


@pytest.mark.parametrize(("marks", "left"), [(2, "abcd"), (3, "abc"), (4, "abc")])
def test_three_marks_cost_the_seat(marks, left):
    world = World()
    for name in "abc":
        world.member(name)
    world.member("d", marks=marks)
    assert attend(world, *"abcd") == list(left)


def test_unless_fewer_than_min_signers_would_be_left():
    world = World()
    for name in "ab":
        world.member(name)
    world.member("c", marks=9)
    assert attend(world, *"abc") == list("abc")
    world.member("d")
    assert attend(world, *"abcd") == list("abd")


def test_seats_lost_for_marks_stop_at_min_signers():
    world = World()
    for name in "abcde":
        world.member(name, marks=3)
    assert len(attend(world, *"abcde")) == 3


def test_what_absence_took_in_the_same_step_counts():
    world = World()
    for name in "ab":
        world.member(name)
    world.member("c", missed=11)
    world.member("d", marks=3)
    assert attend(world, "a", "b", "d") == list("abd")


def test_reports_do_not_clear_marks():
    world = World()
    world.member("a", marks=2)
    attend(world, "a")
    assert world.view.need(RUNNER, "a").marks == 2


def expire(world: World, **fields: object) -> None:
    """A rotation over the keys of a, b, c, and of a former one of d, expires; b signed it."""
    number = world.rotation()
    needed = tuple(sorted(map(key, ["a", "b", "c", "d before"])))
    record = world.record(
        payloads=(number,), **{"kind": "rotation", "needed": needed, "expiration": time_of(1_080), **fields}
    )
    sig_submit(world.at(1_060), "anyone", {"op": OP, "sig": secret("b").sign(record.digest).hex()})
    recast(world.at(1_080), OP)


@pytest.fixture
def world() -> World:
    found = World()
    for name in "abc":
        found.member(name)
    found.member("d", former=["d before"], marks=1)
    found.member("e")
    found.authority(4, ["a", "b", "c", "d before", "x"])
    return found


def marks(world: World) -> dict[str, int]:
    return {name: world.view.need(RUNNER, name).marks for name in world.runners}


def test_a_mark_at_expiry_for_each_runner_that_was_needed_and_never_signed(world):
    expire(world)
    assert marks(world) == {"a": 1, "b": 0, "c": 1, "d": 2, "e": 0}


def test_no_mark_for_one_whose_key_was_not_a_signer_all_the_time(world):
    expire(world, needed=tuple(sorted(map(key, "ab"))))
    assert marks(world) == {"a": 1, "b": 0, "c": 0, "d": 1, "e": 0}


def test_none_for_a_payout_and_none_before_expiry(world):
    expire(world, kind="payout")
    assert marks(world)["a"] == 0
    expire(world, expiration=time_of(1_080) + 1)
    assert marks(world)["a"] == 0


def test_one_of_its_keys_is_enough_to_have_signed(world):
    world.member("a", former=["a before"])
    world.authority(4, ["a", "a before", "b", "c", "d before"])
    record = world.record("1051:7:9", payloads=(world.rotation(),), kind="rotation", expiration=time_of(1_080),
                          needed=tuple(sorted([key("a"), key("a before"), key("c")])))  # fmt: skip
    sig_submit(world.at(1_060), "a", {"op": "1051:7:9", "sig": secret("a before").sign(record.digest).hex()})
    recast(world.at(1_080), "1051:7:9")
    assert marks(world)["a"] == 0
    assert marks(world)["c"] == 1


def test_signing_a_rotation_clears_its_marks_and_signing_a_payout_does_not(world):
    payout = world.record("1051:7:9")
    rotation = world.record(OP, kind="rotation")
    sig_submit(world.at(1_060), "d", {"op": "1051:7:9", "sig": secret("d before").sign(payout.digest).hex()})
    assert marks(world)["d"] == 1
    sig_submit(world.at(1_060), "d", {"op": OP, "sig": secret("d before").sign(rotation.digest).hex()})
    assert marks(world)["d"] == 0
