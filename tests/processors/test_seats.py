"""Seats and the safety limit (protocol section 5, steps 4 and 5)."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors import seats
from state.schema import COLLATERAL, RUNNER, TALLY, Collateral
from tests.processors.world import World

FIRST = 1_100

# -- step 4: who gets a seat


def seat(world: World, *agreeing: str, height: int = 2_200, seated: tuple[str, ...] = ()) -> list[str]:
    """Step 4; ``seated`` had a seat at the start of the tally and lost it in step 3."""
    without = [name for name in agreeing if name not in world.runners and name not in seated]
    seats.give_seat(world.at(height), world.reports(agreeing), without)
    return world.runners


@pytest.mark.parametrize(("height", "gives"), [(2_100, False), (2_200, True), (2_300, True)])
def test_twelve_rounds_after_the_last_seat_was_given(height, gives):
    world = World()
    world.set_tally(seat_given=1_000)
    world.member("new", seat=False)
    assert seat(world, "new", height=height) == (["new"] if gives else [])
    assert world.view.need(TALLY).seat_given == (height if gives else 1_000)


def test_open_rounds_count_to_seat_rounds():
    world = World(seat_rounds=3)
    for name in "ab":
        world.member(name)
    world.member("new", seat=False)
    world.strict("ab")
    world.asked(1_050)
    world.tally(1_100, "a")
    world.tally(1_200, "a")
    world.tally(1_300, ["a", "b", "new"])
    assert world.runners == ["a", "b", "new"]


def test_a_new_seat_starts_with_nothing_missed_and_no_marks():
    world = World()
    world.member("new", seat=False)
    seat(world, "new")
    found = world.view.need(RUNNER, "new")
    assert (found.since, found.missed, found.marks) == (2_200, 0, 0)


def test_the_richest_first_and_one_at_a_time():
    world = World()
    for name, locked in (("a", 100), ("b", 300), ("c", 200)):
        world.member(name, seat=False, locked=locked)
    assert seat(world, *"abc") == ["b"]
    assert seat(world, *"abc") == ["b"]
    assert seat(world, *"abc", height=3_400) == ["b", "c"]


def test_of_equals_the_smaller_name():
    world = World()
    for name in ("bob", "alice", "bob-2"):
        world.member(name, seat=False)
    assert seat(world, "bob", "bob-2", "alice") == ["alice"]


@pytest.mark.parametrize("why", ["leaving", "not ripe", "did not agree", "too poor", "had a seat"])
def test_who_cannot_have_one_though_nobody_else_asks(why):
    world = World(min_collateral=100)
    world.member("a", seat=False, locked=500, ripe=why != "not ripe", leaving=why == "leaving")
    if why == "too poor":
        world.view.put(COLLATERAL, Collateral(500, 401), "a")
    agreeing = world.reports("" if why == "did not agree" else "a")
    seats.give_seat(world.at(2_200), agreeing, [] if why == "had a seat" else ["a"])
    assert world.runners == []


def test_who_cannot_have_one_does_not_stand_in_the_way():
    world = World()
    world.member("unripe", seat=False, locked=500, ripe=False)
    world.member("good", seat=False)
    assert seat(world, "unripe", "good") == ["good"]


def test_min_collateral_is_enough():
    world = World(min_collateral=100)
    world.member("a", seat=False, locked=100)
    assert seat(world, "a") == ["a"]


def test_an_old_ripe_key_will_do():
    world = World()
    world.member("a", seat=False, signing="a new", ripe="a old")
    assert seat(world, "a") == ["a"]


def test_nobody_to_choose_leaves_the_turn_open():
    world = World()
    seat(world)
    assert world.view.need(TALLY).seat_given == 1_000


def test_a_runner_that_loses_its_seat_does_not_get_it_back_in_the_same_tally():
    world = World(seat_rounds=0, max_runners=4)
    for name in "abc":
        world.member(name)
    world.member("d", marks=3, locked=9_999)
    world.strict("abcd")
    world.asked(1_050)
    world.tally(1_100, "abcd")
    assert world.runners == list("abc")
    world.tally(1_200, "abcd")
    assert world.runners == list("abcd")


@pytest.mark.parametrize(("locked", "wins"), [(110, False), (111, True), (100, False)])
def test_with_all_seats_taken_it_outbids_the_poorest_by_more_than_ten_percent(locked, wins):
    world = World(max_runners=2)
    world.member("a", locked=100)
    world.member("b", locked=500)
    world.member("new", seat=False, locked=locked)
    assert seat(world, "new") == (["b", "new"] if wins else ["a", "b"])
    assert world.view.need(TALLY).seat_given == (2_200 if wins else 1_000)


def test_with_a_seat_free_it_need_not_outbid():
    world = World(max_runners=3)
    world.member("a", locked=100)
    world.member("b", locked=500)
    world.member("new", seat=False, locked=1)
    assert seat(world, "new") == ["a", "b", "new"]


def test_of_equally_poor_runners_the_greater_name_goes():
    world = World(max_runners=3)
    for name, locked in (("a", 100), ("b", 100), ("z", 101)):
        world.member(name, locked=locked)
    world.member("new", seat=False, locked=200)
    assert seat(world, "new") == ["a", "new", "z"]


MEMBERS = st.dictionaries(
    st.sampled_from(["a", "ab", "b", "ba", "z", "zz"]),
    st.tuples(st.booleans(), st.integers(0, 12), st.booleans(), st.booleans()),
    max_size=6,
)


@settings(deadline=None)
@given(MEMBERS, st.permutations(["a", "ab", "b", "ba", "z", "zz"]))
def test_the_choice_does_not_depend_on_the_order_in_which_members_came(members, order):
    def play(names: list[str]) -> tuple[list[str], int]:
        world = World(max_runners=2, min_collateral=1)
        for name in names:
            has_seat, locked, ripe, _ = members[name]
            world.member(name, seat=has_seat, locked=locked, ripe=ripe)
        agreeing = world.reports(name for name in names if members[name][3])
        seats.give_seat(world.at(2_200), agreeing, [name for name in names if not members[name][0]])
        return world.runners, world.view.need(TALLY).seat_given

    assert play(sorted(members)) == play([name for name in order if name in members])


@settings(deadline=None)
@given(MEMBERS)
def test_the_choice_against_the_words_of_the_rule(members):
    world = World(max_runners=2, min_collateral=2)
    for name, (has_seat, locked, ripe, _) in members.items():
        world.member(name, seat=has_seat, locked=locked, ripe=ripe)
    before = world.runners
    result = seat(world, *(name for name in members if members[name][3]))
    waiting = [n for n, (has_seat, locked, ripe, agreed) in members.items() if not has_seat and ripe and agreed
               and locked >= 2]  # fmt: skip
    best = [n for n in waiting if all((-members[n][1], n) <= (-members[m][1], m) for m in waiting)]
    if best and len(before) >= 2:
        low = min(members[n][1] for n in before)
        out = max(n for n in before if members[n][1] == low)
        best, before = (best, [n for n in before if n != out]) if members[best[0]][1] * 10 > low * 11 else ([], before)
    assert result == sorted(before + best)


# -- step 5


def limit(world: World) -> int:
    seats.safety_limit(world.at(FIRST))
    return world.view.need(TALLY).limit


@pytest.mark.parametrize(
    ("collaterals", "expected"), [([], 0), ([7], 7), ([7, 5], 12), ([9, 1, 5], 6), ([4, 3, 2, 1], 6), ([1] * 5, 3)]
)
def test_the_limit_is_the_sum_of_the_smallest(collaterals, expected):
    world = World()
    for number, locked in enumerate(collaterals):
        world.member(f"runner{number}", locked=locked)
    assert limit(world) == expected


def test_only_runners_with_a_ripe_key_count_and_only_what_is_not_leaving():
    world = World()
    world.member("a", locked=10)
    world.member("b", locked=20)
    world.member("c", locked=30)
    world.member("unripe", locked=1, ripe=False)
    world.member("seatless", locked=1, seat=False)
    world.view.put(COLLATERAL, Collateral(30, 25), "c")
    assert limit(world) == 15


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=9))
def test_the_limit_is_what_the_cheapest_coalition_that_can_sign_forfeits(collaterals):
    world = World()
    for number, locked in enumerate(collaterals):
        world.member(f"runner{number}", locked=locked)
    k = len(collaterals)
    threshold = k // 2 + 1
    able = (c for size in range(threshold, k + 1) for c in combinations(collaterals, size))
    assert limit(world) == min(map(sum, able))
