"""What rotations are made of (protocol section 5, steps 6 and 7): ripe keys, the wanted, an owner we can meet, ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import rotation
from processors.authority import can_meet_owner, is_strict, strict
from processors.members import node_delete
from state.schema import KEY, NODE, Authority, Report
from tests.processors.world import ROOT, World, key

FIRST = 1_100

# -- ripening


def ripen(world: World, *agreeing: str) -> None:
    rotation.ripen(world.at(FIRST), world.reports(agreeing))


@pytest.mark.parametrize(("count", "is_ripe"), [(0, False), (286, False), (287, True)])
def test_a_key_is_ripe_at_exactly_ripe_rounds(count, is_ripe):
    world = World()
    world.member("a", ripe=False, count=count)
    ripen(world, "a")
    found = world.view.need(NODE, "a")
    assert found.count == count + 1
    assert found.ripe_key == (key("a") if is_ripe else None)


def test_members_without_a_seat_ripen_too():
    world = World(ripe_rounds=1)
    world.member("a", ripe=False, seat=False)
    ripen(world, "a")
    assert world.view.need(NODE, "a").ripe_key == key("a")


def test_absence_neither_counts_nor_sets_back():
    world = World()
    world.member("a", ripe=False, count=287)
    ripen(world)
    found = world.view.need(NODE, "a")
    assert (found.count, found.ripe_key) == (287, None)


def test_a_report_by_the_key_before_does_not_ripen_the_new_one():
    """The member reported, and changed its key by node_add in the same round."""
    world = World()
    world.member("a", signing="a new", former=["a"], ripe=False)
    rotation.ripen(world.at(FIRST), {"a": Report(ROOT, key("a"), "1")})
    assert world.view.need(NODE, "a").count == 0


def test_the_old_ripe_key_stays_until_the_new_one_is_ripe():
    world = World(ripe_rounds=2)
    world.member("a", signing="a new", ripe="a")
    for expected in ("a", "a new", "a new"):
        ripen(world, "a")
        assert list(rotation.wanted_keys(world.at(FIRST))) == [key(expected)]
    assert world.view.need(NODE, "a").count == 2


def test_a_signing_key_that_equals_the_ripe_key_is_ripe_at_once():
    world = World()
    world.member("a", count=0, ripe=True)
    ripen(world)
    assert rotation.wanted_keys(world.at(FIRST)) == {key("a"): "a"}


def test_losing_the_seat_keeps_the_count():
    world = World(absent_rounds=1)
    for name in "ab":
        world.member(name)
    world.member("c", count=100, ripe=False)
    world.strict("ab")
    world.tally(FIRST, "ab")
    assert world.runners == ["a", "b"]
    assert world.view.need(NODE, "c").count == 100


# -- wanted


def test_wanted_are_the_ripe_keys_of_the_runners_in_byte_order():
    world = World()
    world.member("z")
    world.member("a", signing="a new", ripe="a old")
    world.member("unripe", ripe=False)
    world.member("seatless", seat=False)
    found = rotation.wanted_keys(world.at(FIRST))
    assert found == {key("a old"): "a", key("z"): "z"}
    assert list(found) == sorted(found)


@given(st.integers(1, 40))
def test_the_strict_shape(m):
    keys = [bytes([2]) * 32 + bytes([number]) for number in range(m)]
    made = strict(keys[::-1])
    assert made == Authority(m // 2 + 1, tuple((one, 1) for one in keys), ())
    assert is_strict(made)
    pairs = made.keys
    assert not is_strict(Authority(made.threshold + 1, pairs, ()))
    assert not is_strict(Authority(made.threshold - 1, pairs, ()))
    assert not is_strict(Authority(made.threshold, pairs, (("a", 1),)))
    assert not is_strict(Authority(made.threshold, ((pairs[0][0], 2), *pairs[1:]), ()))


def test_what_is_empty_or_has_41_keys_is_not_of_that_shape():
    assert not is_strict(Authority(1, (), ()))
    assert not is_strict(Authority(21, tuple((bytes([number]), 1) for number in range(41)), ()))


# -- owner, where it can be met


def test_owner_is_met_by_keys_that_runners_have_present_or_former():
    world = World()
    world.member("a", signing="a3", former=["a1", "a2"])
    world.member("b")
    world.authority(3, ["a1", "a2", "b", "x"])
    assert can_meet_owner(world.at(FIRST))
    world.authority(4, ["a1", "a2", "b", "x"])
    assert not can_meet_owner(world.at(FIRST))


def test_keys_of_members_without_a_seat_do_not_count_nor_accounts():
    world = World()
    world.member("a")
    world.member("b", seat=False)
    world.authority(2, ["a", "b"], (("a", 5),))
    assert not can_meet_owner(world.at(FIRST))


def test_it_is_owner_that_must_be_met_and_weights_count():
    world = World()
    world.member("a")
    world.authority(9, ["x"], roles=("active", "posting"))
    world.authority(3, {"a": 3, "x": 5}, roles=("owner",))
    assert can_meet_owner(world.at(FIRST))


def test_founder_keys_count():
    for founder_keys, met in (((), False), ((key("cold"),), True)):
        world = World(founder_keys=founder_keys)
        world.authority(1, ["cold"])
        assert can_meet_owner(world.at(FIRST)) is met


def test_a_threshold_of_0_is_never_met():
    world = World()
    world.member("a")
    world.authority(0, ["a"])
    assert not can_meet_owner(world.at(FIRST))


# -- step 7: ends


@pytest.mark.parametrize(
    ("on_chain", "ends"), [("a new", False), ("a old", False), ("x", True)], ids=["signing key", "former key", "none"]
)
def test_a_leaving_member_is_registered_while_one_of_its_keys_is_in_the_active_authority(on_chain, ends):
    world = World()
    world.member("a", signing="a new", former=["a old"])
    world.member("b")
    world.authority(1, ["b", on_chain])
    world.authority(1, ["a new"], roles=("owner", "posting"))  # these do not keep it
    node_delete(world.at(1_070), "a", {})
    rotation.end_registrations(world.at(FIRST))
    assert world.names(NODE) == (["b"] if ends else ["a", "b"])
    assert (world.view.get(KEY, key("a new")) is None) is ends
    assert (world.view.get(KEY, key("a old")) is None) is ends


def test_who_does_not_leave_stays_with_no_key_on_chain():
    world = World()
    world.member("a")
    rotation.end_registrations(world.at(FIRST))
    assert world.names(NODE) == ["a"]


def test_the_end_of_the_registration_waits_for_an_agreed_tally():
    world = World()
    for name in "abc":
        world.member(name)
    world.strict("abc")
    world.member("gone", seat=False, leaving=True)
    world.tally(1_100, "a")
    assert "gone" in world.names(NODE)
    world.tally(1_200, "ab")
    assert "gone" not in world.names(NODE)
