"""The tally, steps 1 and 2 (protocol section 5): which root is agreed, who votes with what weight, open rounds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors import tally
from processors.tally import agreed_root
from state.schema import HEADERS, KEY, MS, NODE, QUEUE, REPORT, ROUND, RUNNER, TALLY, KeyOwner, Report, Round
from tests.processors.world import OTHER_ROOT, ROOT, World, key

FIRST = 1_100  # the first tally


def agreed(world: World, *names: str) -> bool:
    """Whether these members, reporting the same root, agree."""
    found = agreed_root(world.at(FIRST), world.reports(names))
    assert found in (None, ROOT)
    return found is not None


# -- whose votes, and how many


def test_the_threshold_of_the_active_authority():
    world = World()
    for name in "abcd":
        world.member(name)
    world.strict("abcd")  # threshold 3
    assert not agreed(world)
    assert not agreed(world, "a", "b")
    assert agreed(world, "a", "b", "c")


def test_a_threshold_above_half_counts_too():
    world = World()
    for name in "abcd":
        world.member(name)
    world.authority(4, "abcd")
    assert not agreed(world, "a", "b", "c")
    assert agreed(world, "a", "b", "c", "d")


def test_more_than_half_of_all_weight_even_where_the_threshold_asks_for_less():
    world = World()
    for name in "abcd":
        world.member(name)
    world.authority(1, "abcd")
    assert not agreed(world, "a")
    assert not agreed(world, "a", "b")  # exactly half
    assert agreed(world, "a", "b", "c")


def test_a_threshold_of_0_gives_nothing_away():
    world = World()
    for name in "ab":
        world.member(name)
    world.authority(0, "ab")
    assert not agreed(world, "a")
    assert agreed(world, "a", "b")


@pytest.mark.parametrize(("weight", "enough"), [(0, True), (2, True), (3, False), (4, False)])
def test_weights_of_accounts_count_to_all_the_weight_though_nobody_votes_for_them(weight, enough):
    world = World()
    for name in ("a", "b", "c", "dave"):
        world.member(name)
    world.authority(3, "abc", (("dave", weight),))
    assert agreed(world, "a", "b", "c", "dave") is enough


def test_keys_of_nobody_count_to_all_the_weight():
    world = World()
    for name in "ab":
        world.member(name)
    world.authority(2, ["a", "b", "x", "y"])
    assert not agreed(world, "a", "b")
    world.authority(2, ["a", "b", "x"])
    assert agreed(world, "a", "b")


def test_a_vote_weighs_what_the_keys_weigh():
    world = World()
    for name in "abc":
        world.member(name)
    world.authority(3, {"a": 3, "b": 1, "c": 1})
    assert agreed(world, "a")
    assert not agreed(world, "b", "c")


def test_former_keys_vote_and_the_keys_of_one_member_add_up():
    world = World()
    world.member("a", signing="a3", former=["a1", "a2"])
    world.member("b")
    world.member("c")
    world.authority(3, ["a1", "a2", "b", "c", "x"])
    assert agreed(world, "a", "b")
    assert not agreed(world, "b", "c")


def test_members_without_a_seat_vote_and_so_do_leaving_ones():
    world = World()
    world.member("a", seat=False)
    world.member("b", seat=False, leaving=True)
    world.member("c")
    world.strict("abc")
    assert agreed(world, "a", "b")


def test_a_runner_without_a_key_on_chain_has_no_vote():
    world = World()
    for name in "abc":
        world.member(name)
    world.strict("abx")
    assert not agreed(world, "b", "c")
    assert agreed(world, "a", "b")


def test_a_key_of_weight_0_is_no_signer():
    world = World()
    for name in "abc":
        world.member(name)
    world.authority(1, {"a": 1, "b": 0, "c": 0})
    assert agreed(world, "a")
    assert not agreed(world, "b", "c")


def test_keys_of_accounts_that_are_not_registered_do_not_vote():
    world = World()
    world.member("a")
    world.view.put(KEY, KeyOwner("gone"), key("gone"))
    world.authority(2, ["a", "gone"])
    gone = {"gone": Report(ROOT, key("gone"), "1")}
    assert agreed_root(world.at(FIRST), world.reports("a") | gone) is None


@pytest.mark.parametrize(("n", "enough"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_without_any_members_key_on_chain_the_runners_vote(n, enough):
    world = World()
    names = [f"runner{i}" for i in range(n)]
    for name in names:
        world.member(name)
    for name in ("rich", "poor"):
        world.member(name, seat=False)
    world.authority(1, ["x", "y", "z"])
    assert not agreed(world, *names[: enough - 1], "rich", "poor")
    assert agreed(world, *names[:enough])


def test_one_members_key_on_chain_ends_the_runners_votes():
    world = World()
    for name in "abc":
        world.member(name)
    world.authority(1, ["x"])
    assert agreed(world, "b", "c")
    world.authority(1, ["a"])
    assert not agreed(world, "b", "c")


def test_the_root_with_the_weight_wins_and_a_split_agrees_on_nothing():
    world = World()
    for name in "abcde":
        world.member(name)
    world.strict("abcde")
    ctx = world.at(FIRST)
    assert agreed_root(ctx, world.reports("abc") | world.reports("de", OTHER_ROOT)) == ROOT
    assert agreed_root(ctx, world.reports("de") | world.reports("abc", OTHER_ROOT)) == OTHER_ROOT
    assert agreed_root(ctx, world.reports("ab") | world.reports("cd", OTHER_ROOT)) is None


@settings(deadline=None)
@given(
    keys=st.lists(st.tuples(st.sampled_from("abcdx"), st.integers(0, 4)), max_size=7),
    accounts=st.integers(0, 4),
    threshold=st.integers(0, 12),
    votes=st.dictionaries(st.sampled_from("abcd"), st.sampled_from([ROOT, OTHER_ROOT])),
)
def test_against_a_count_by_hand(keys, accounts, threshold, votes):
    """Every key by itself: whose is it, what did its member report, what does it weigh."""
    world = World()
    held = [f"{name}{index}" for index, (name, _) in enumerate(keys)]
    for name in "abcd":
        world.member(name, former=[one for one in held if one[0] == name], seat=name in "ab")
    weights = {one: weight for one, (_, weight) in zip(held, keys, strict=True)}
    world.authority(threshold, weights, (("zoe", accounts),))
    expected = None
    for root in (ROOT, OTHER_ROOT):
        weight = sum(w for one, w in weights.items() if votes.get(one[0]) == root)
        enough = weight >= threshold and 2 * weight > sum(weights.values()) + accounts
        if not any(w for one, w in weights.items() if one[0] != "x"):
            enough = sum(votes.get(runner) == root for runner in "ab") == 2
        expected = root if enough else expected
    reports = {name: Report(root, key(name), "1") for name, root in votes.items()}
    assert agreed_root(world.at(FIRST), reports) == expected


# -- what an agreed and an open round leave behind


@pytest.fixture
def world() -> World:
    found = World(seat_rounds=0, ripe_rounds=2, rotation_patience=1)
    for name in "abc":
        found.member(name)
    found.strict("abc")
    found.asked(1_050)
    return found


def test_an_agreed_round_elects_the_header_as_one_value(world):
    world.set_tally(is_open=True, open_rounds=4)
    world.reports("b", OTHER_ROOT)
    world.tally(FIRST, "ca")
    asked = world.view.need(HEADERS).asked
    assert asked is not None
    assert world.view.need(HEADERS).elected == asked
    assert world.view.need(ROUND, 1_000) == Round(ROOT, asked, ("a", "c"))
    found = world.view.need(TALLY)
    assert (found.height, found.is_open, found.open_rounds) == (FIRST, False, 0)
    assert world.names(REPORT) == []


def test_who_agreed_are_all_members_that_reported_the_root_voters_or_not(world):
    world.member("zoe", seat=False)
    world.reports("b", OTHER_ROOT)
    world.tally(FIRST, ["zoe", "c", "a"])
    assert world.view.need(ROUND, 1_000).agreed == ("a", "c", "zoe")


def test_an_open_round_counts_and_nothing_else_happens(world):
    """The steps after the first would have given and taken seats, ripened keys, queued a rotation, let go a member."""
    world.asked(950, elect=True)
    world.asked(1_050)
    world.member("rich", seat=False, locked=10_000, count=1, ripe=True)
    world.member("poor", locked=0)
    world.member("gone", seat=False, leaving=True)
    world.set_tally(limit=7, last=1, patience=9)
    before = world.view.need(TALLY)
    nodes, runners = dict(world.view.walk(NODE)), dict(world.view.walk(RUNNER))
    world.reports(["b"], OTHER_ROOT)
    world.tally(FIRST, ["a", "rich"])
    found = world.view.need(TALLY)
    assert (found.height, found.is_open, found.open_rounds) == (FIRST, True, 1)
    assert (found.seat_given, found.limit, found.last, found.patience) == (before.seat_given, 7, 1, 9)
    elected = world.view.need(HEADERS).elected
    assert elected is not None and elected.height == 950
    assert world.view.need(ROUND, 1_000) == Round(None, None, ())
    assert dict(world.view.walk(NODE)) == nodes
    assert dict(world.view.walk(RUNNER)) == runners
    assert world.names(QUEUE) == []
    assert world.names(REPORT) == []


def test_open_rounds_add_up_until_one_agrees(world):
    for number in range(1, 4):
        world.tally(1_000 + 100 * number, "a")
        assert world.view.need(TALLY).open_rounds == number
    world.tally(1_400, "ab")
    assert world.view.need(TALLY).open_rounds == 0


def test_reports_of_one_round_do_not_count_in_the_next(world):
    world.tally(1_100, "a")
    world.tally(1_200, "b")
    assert world.view.need(TALLY).is_open


def test_the_builder_rests_from_an_open_round_until_one_agrees(world):
    number = world.payout()
    world.tally(1_100, "abc")
    world.asked(1_150)
    world.tally(1_200, "a")
    for height in (1_200, 1_201, 1_299):
        assert world.build(height) is None
    assert world.names(MS) == []
    world.tally(1_300, "ab")
    record = world.build(1_300)
    assert record is not None and record.payloads == (number,)


def test_a_round_is_forgotten_after_history_blocks(world):
    world.params = World(history=250).params
    for height in range(1_100, 1_500, 100):
        world.tally(height, "abc" if height % 200 else "a")
    assert world.names(ROUND) == [1_100, 1_200, 1_300]


def test_each_step_sees_what_the_steps_before_it_changed():
    """In one tally a seat is lost, that seat is given, the limit counts the new runner, its key is wanted."""
    world = World(seat_rounds=1, absent_rounds=1, max_runners=4, rotation_change=0)
    for name in "abcd":
        world.member(name)
    world.member("new", seat=False, locked=1_000)
    world.strict("abcd")
    world.asked(1_050)
    world.tally(FIRST, ["a", "b", "c", "new"])
    assert world.runners == ["a", "b", "c", "new"]
    assert world.view.need(TALLY).limit == 300
    assert [payload.kind for _, payload in world.view.walk(QUEUE)] == ["rotation"]


def test_the_runners_that_vote_are_those_before_this_tally_takes_seats():
    world = World(absent_rounds=1)
    for name in "abcd":
        world.member(name)
    ctx = world.at(FIRST)
    world.reports("ab")
    world.asked(1_050)
    tally.tally(ctx)
    assert world.view.need(TALLY).is_open  # 2 of 4, though only 2 would be left
