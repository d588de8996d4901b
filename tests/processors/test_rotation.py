"""When a rotation is queued (protocol section 5, step 6). In each case one reason alone can hold."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors import rotation
from state.schema import QUEUE, TALLY, Payload
from tests.processors.world import World

FIRST = 1_100
EIGHT = list("abcdefgh")


def calm(signers: str, runners: str, *, last: int = 100, limit: int = 100, **params: object) -> World:
    """Runners with ripe keys beside a strict authority; the limit has not moved and patience is long."""
    world = World(**{"rotation_patience": 1_000, "min_signers": 3, **params})
    for name in runners:
        world.member(name)
    world.strict(signers)
    world.set_tally(limit=limit, last=last)
    return world


def queued(world: World, agreeing: str | None = None) -> bool:
    """Step 6 of an agreed tally; by default every runner agreed."""
    before = world.names(QUEUE)
    rotation.decide(world.at(FIRST), world.reports(world.runners if agreeing is None else agreeing))
    new = [number for number in world.names(QUEUE) if number not in before]
    assert all(world.view.need(QUEUE, number).kind == "rotation" for number in new)
    return bool(new)


@pytest.mark.parametrize(
    ("signers", "runners", "moves"),
    [
        ("abcdefgh", "abcdefgX", False),  # 2 of 8: 25 %
        ("abcdefg", "abcdefX", True),  # 2 of 7
        ("abcd", "abcdX", False),  # 1 of 4
        ("abcd", "abcdXY", True),
        ("abc", "abcX", True),  # 1 of 3
        ("abcdefghi", "abcdefg", False),  # 2 of 9: of the signers, not of the wanted
        ("abcdefgh", "abcdefXY", True),  # 4 of 8, and six of them still there
    ],
)
def test_a_more_than_a_quarter_of_the_signers_changes(signers, runners, moves):
    assert queued(calm(signers, runners)) is moves


@pytest.mark.parametrize(
    ("limit", "last", "moves"), [(110, 100, False), (111, 100, True), (90, 100, False), (1, 0, True), (0, 0, False)]
)
def test_b_the_safety_limit_has_grown_by_more_than_ten_percent(limit, last, moves):
    assert queued(calm("abcdefgh", "abcdefgX", limit=limit, last=last)) is moves


@pytest.mark.parametrize(
    ("signers", "runners", "moves"),
    [("abcd", "abcdX", False), ("abcd", "abc", True), ("abcde", "abcd", False), ("abcdefgh", "abcdef", False)],
)
def test_c_one_more_failure_would_lose_the_account(signers, runners, moves):
    """Signers that are a runner's ripe key: 4 and 3 with a threshold of 3; 4 of 3, 6 of 5."""
    assert queued(calm(signers, runners)) is moves


def test_c_looks_at_the_threshold_on_chain_and_not_at_that_of_the_wanted():
    """4 of the 4 signers stay, threshold 3; there are 8 wanted, with a threshold of 5."""
    assert not queued(calm("abcd", "abcdWXYZ", rotation_change=100))
    assert queued(calm("abcd", "abcWXYZ", rotation_change=200))


@pytest.mark.parametrize("role", ["active", "owner"])
@pytest.mark.parametrize(
    ("threshold", "weights", "accounts"),
    [(2, {}, ()), (4, {}, ()), (3, {"a": 2}, ()), (3, {}, (("zoe", 1),))],
    ids=["low", "high", "weight", "account"],
)
def test_d_the_authority_is_not_of_the_strict_shape(role, threshold, weights, accounts):
    world = calm("abcde", "abcde")
    world.authority(threshold, dict.fromkeys("abcde", 1) | weights, accounts, roles=(role,))
    assert queued(world)


@pytest.mark.parametrize("why", ["not rotated", "cannot be met", "posting"])
def test_d_does_not_look_at_owner_where_it_is_not_ours_to_change(why):
    world = calm("abcde", "abcde", rotate_owner=why != "not rotated")
    role = "posting" if why == "posting" else "owner"
    world.authority(5 if why == "not rotated" else 1, ["x"] if why == "cannot be met" else list("abcde"), roles=(role,))
    assert not queued(world)
    assert world.view.need(TALLY).patience == 0


@pytest.mark.parametrize(("patience", "moves"), [(0, False), (10, False), (11, True), (50, True)])
def test_e_it_has_differed_at_twelve_agreed_tallies_running(patience, moves):
    world = calm("abcdefgh", "abcdefgX", rotation_patience=12)
    world.set_tally(patience=patience)
    assert queued(world) is moves
    assert world.view.need(TALLY).patience == patience + 1


def test_e_begins_at_0_when_nothing_differs():
    world = calm("abcdefgh", "abcdefgh", rotation_patience=12)
    world.set_tally(patience=11)
    assert not queued(world)
    assert world.view.need(TALLY).patience == 0


def test_e_an_owner_that_differs_counts():
    world = calm("abcdefgh", "abcdefgh", rotation_patience=12)
    world.strict("abcdefg", roles=("owner",))
    world.set_tally(patience=11)
    assert queued(world)


def test_e_counts_on_while_a_rotation_is_out():
    world = calm("abcdefgh", "abcdefgX", rotation_patience=12)
    world.rotation(out="1:1:1")
    world.set_tally(patience=40)
    assert not queued(world)
    assert world.view.need(TALLY).patience == 41


def test_nothing_differs_nothing_is_queued_however_much_the_limit_grew():
    assert not queued(calm("abcde", "abcde", limit=10**9, last=1))


@pytest.mark.parametrize("out", ["", "1:1:1"])
def test_no_second_rotation_while_one_is_queued_or_out(out):
    world = calm("abc", "abX")
    number = world.rotation(out=out)
    assert not queued(world)
    world.view.delete(QUEUE, number)
    assert queued(world)


def test_what_is_queued_says_nothing_of_keys():
    """Its authority is computed when it is built."""
    world = calm("abc", "abX")
    assert queued(world)
    (payload,) = [payload for _, payload in world.view.walk(QUEUE)]
    assert payload == Payload("rotation", 0, FIRST, "", 0, "", "", "", ())


def test_payouts_that_wait_do_not_stop_it_not_even_a_full_queue():
    world = calm("abc", "abX", max_queue=2)
    world.payout()
    world.payout(out="1:1:1")
    world.payout()
    assert queued(world)


@pytest.mark.parametrize(("runners", "moves"), [("XY", False), ("XYZ", True)])
def test_min_signers(runners, moves):
    assert queued(calm("abc", runners)) is moves


def test_unripe_runners_are_no_signers_to_be():
    world = calm("abc", "XY")
    world.member("Z", ripe=False)
    assert not queued(world)


@pytest.mark.parametrize(
    ("k", "seen"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 5), (7, 5), (8, 6), (25, 14), (40, 22)]
)
def test_enough_of_the_wanted_keys_were_seen_alive_at_this_tally(k, seen):
    runners = [f"r{number:02}" for number in range(k)]
    for count in (seen - 1, seen):
        world = World(min_signers=1)
        for name in runners:
            world.member(name)
        for name in ("guest1", "guest2"):
            world.member(name, seat=False)
        world.member("unripe", ripe=False)
        world.reports([])
        agreeing = world.reports([*runners[:count], "guest1", "guest2", "unripe"])
        rotation.decide(world.at(FIRST), agreeing)
        assert bool(world.names(QUEUE)) is (count == seen)


# -- the whole rule, in its own words


@settings(deadline=None)
@given(
    st.sets(st.sampled_from(EIGHT), min_size=1),
    st.sets(st.sampled_from([*EIGHT, "X", "Y"])),
    st.sets(st.sampled_from([*EIGHT, "X", "Y"])),
    st.integers(0, 240),
    st.integers(0, 3),
    st.integers(-1, 1),
)
def test_against_the_words_of_the_rule(signers, runners, agreeing, limit, patience, off):
    world = calm("".join(signers), "", limit=limit, last=100, rotation_patience=3, rotate_owner=False)
    for name in sorted(runners | agreeing):
        world.member(name, seat=name in runners)
    threshold = len(signers) // 2 + 1 + off
    world.authority(threshold, signers)
    world.set_tally(patience=patience)
    k = len(runners)
    differs = (sorted(signers), threshold) != (sorted(runners), k // 2 + 1)
    triggers = [
        4 * len(signers ^ runners) > len(signers),
        limit > 110,
        len(signers & runners) <= threshold,
        off != 0,
        differs and patience + 1 >= 3,
    ]
    alive = len(runners & agreeing) >= min(k, k // 2 + 2)
    expected = differs and k >= 3 and alive and any(triggers)
    assert queued(world, "".join(agreeing)) is expected
