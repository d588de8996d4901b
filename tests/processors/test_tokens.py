"""Tokens (protocol section 10): sending, locking, and what leaves in four parts."""

import pytest

from processors import seats
from processors.tokens import KEPT_MOVES
from state.schema import (
    BALANCE,
    CHRON,
    COLLATERAL,
    LEAVING,
    MOVE,
    MOVED,
    MOVES,
    Balance,
    Collateral,
    Moves,
)
from tests.processors.council import Council
from tests.processors.world import World

MOST = 2**63 - 1
PART = 201_600


@pytest.fixture
def world() -> Council:
    """alice has 1,000 liquid tokens, bob 5."""
    world = Council("", history=10_000_000)
    world.view.put(BALANCE, Balance(1_000), "alice")
    world.view.put(BALANCE, Balance(5), "bob")
    return world


def has(world: World, account: str) -> tuple[int, int, int]:
    """(liquid, locked, leaving)."""
    balance, found = world.view.get(BALANCE, account), world.view.get(COLLATERAL, account) or Collateral(0, 0)
    return balance.liquid if balance is not None else 0, found.locked, found.leaving


def unlocks(world):
    """Parts that are to come."""
    return [job for _, job in world.view.walk(CHRON) if job.kind == "unlock"]


def moves(world: World, account: str) -> list[tuple[str, int]]:
    return [(move.kind, move.amount) for _, move in world.view.walk(MOVE, account)]


def with_amount(name: str, amount: str) -> str:
    """A text with this amount, whatever it is."""
    to = '"to":"bob",' if name == "send" else ""
    return f'{{{to}"amount":{amount}}}'


# -- send


def test_sends_to_an_account_that_had_nothing(world):
    assert world.say("alice", "send", to="carol", amount=300, memo="for the honey") == "accepted"
    assert [has(world, name)[0] for name in ("alice", "bob", "carol")] == [700, 5, 300]
    sent, received = world.view.need(MOVE, "alice", 0), world.view.need(MOVE, "carol", 0)
    assert (sent.kind, sent.other, sent.amount, sent.memo) == ("sent", "carol", 300, "for the honey")
    assert (received.kind, received.other, received.amount, received.memo) == ("received", "alice", 300, sent.memo)


def test_who_has_sent_everything_has_no_entry(world):
    world.say("alice", "send", to="carol", amount=1_000)
    assert world.view.get(BALANCE, "alice") is None
    assert world.say("alice", "send", to="carol", amount=1) == "too_little"


@pytest.mark.parametrize("amount", [1_001, MOST])
def test_nobody_sends_more_than_is_liquid(world, amount):
    world.view.put(COLLATERAL, Collateral(MOST, 0), "alice")
    assert world.say("alice", "send", to="bob", amount=amount) == "too_little"
    assert has(world, "alice")[0] == 1_000


def test_nobody_sends_to_oneself(world):
    assert world.say("alice", "send", to="alice", amount=1) == "to_self"
    assert world.say("nobody", "send", to="nobody", amount=1) == "to_self"
    assert moves(world, "alice") == []


@pytest.mark.parametrize("to", ["", "Bob", "bo", "b" * 17, "bob\n", "bоb", "bob.", "1bob"])
def test_the_receiver_is_a_name_by_hives_rule(world, to):
    assert world.say("alice", "send", {"to": to, "amount": 1}) in ("out_of_bounds", "bad_json")
    assert has(world, "alice")[0] == 1_000


@pytest.mark.parametrize(
    ("memo", "code"), [("", "accepted"), ("é" * 256, "accepted"), ("é" * 256 + "a", "out_of_bounds")]
)
def test_a_memo_has_512_bytes_at_most(world, memo, code):
    assert world.say("alice", "send", to="bob", amount=1, memo=memo) == code


@pytest.mark.parametrize(
    ("amount", "code"),
    [("1.0", "bad_json"), ("1e2", "bad_json"), ("1E2", "bad_json"), ("NaN", "bad_json"),
     ("9223372036854775808", "bad_json"), ("true", "bad_type"),
     ('"1"', "bad_type"), ("null", "bad_type"), ("[1]", "bad_type"), ("0x10", "bad_json"),
     ("+1", "bad_json"), ("01", "bad_json"), ("-1", "out_of_bounds"), ("-9223372036854775808", "out_of_bounds"),
     ("9223372036854775807", "too_little"), ("1", "accepted")],
)  # fmt: skip
@pytest.mark.parametrize("name", ["send", "gov_up", "gov_down"])
def test_an_amount_is_an_integer_and_nothing_else(world, name, amount, code):
    world.view.put(COLLATERAL, Collateral(10, 0), "alice")
    assert world.say("alice", name, with_amount(name, amount)) == code


@pytest.mark.parametrize(("amount", "code"), [("0", "out_of_bounds"), ("-0", "out_of_bounds")])
@pytest.mark.parametrize("name", ["send", "gov_up"])
def test_nothing_is_no_amount(world, name, amount, code):
    assert world.say("alice", name, with_amount(name, amount)) == code


def test_the_newest_100_movements_of_an_account_stay(world):
    for _ in range(KEPT_MOVES + 20):
        assert world.say("alice", "send", to="bob", amount=1) == "accepted"
    assert world.names(MOVE, "alice") == list(range(20, 120)) == world.names(MOVE, "bob")
    assert world.view.need(MOVES, "alice") == Moves(120)


# -- gov_up, gov_down


def test_what_is_locked_is_collateral_at_once(world):
    assert world.say("alice", "gov_up", amount=600) == "accepted"
    assert world.say("alice", "gov_up", amount=401) == "too_little"
    assert has(world, "alice") == (400, 600, 0)
    assert seats.collateral(world.at(world.height), "alice") == 600


def test_what_leaves_is_no_collateral_from_that_moment_and_liquid_in_four_parts(world):
    world.say("alice", "gov_up", amount=1_000)
    assert world.say("alice", "gov_down", amount=402) == "accepted"
    assert has(world, "alice") == (0, 1_000, 402)
    assert seats.collateral(world.at(world.height), "alice") == 598
    found = []
    for _ in range(4):
        world.wait(PART - 1)
        before = has(world, "alice")
        world.wait(1)
        assert has(world, "alice") != before
        found.append(has(world, "alice"))
    assert found == [(100, 900, 302), (200, 800, 202), (300, 700, 102), (402, 598, 0)]
    assert world.view.get(LEAVING, "alice") is None and not unlocks(world)
    assert moves(world, "alice") == [("locked", 1_000), ("leaving", 402), *[("unlocked", 100)] * 3, ("unlocked", 102)]


@pytest.mark.parametrize(
    ("amount", "parts"),
    [(1, [0, 0, 0, 1]), (2, [0, 0, 0, 2]), (3, [0, 0, 0, 3]), (4, [1, 1, 1, 1]), (7, [1, 1, 1, 4])],
)
def test_dust_leaves_with_the_last_part(world, amount, parts):
    world.view.put(COLLATERAL, Collateral(amount, 0), "alice")
    world.say("alice", "gov_down", amount=amount)
    found = []
    for _ in range(4):
        before = has(world, "alice")[0]
        world.wait(PART)
        found.append(has(world, "alice")[0] - before)
    assert found == parts and world.view.get(COLLATERAL, "alice") is None


def test_another_gov_down_takes_the_place_of_what_was_leaving(world):
    world.view.put(COLLATERAL, Collateral(800, 0), "alice")
    world.say("alice", "gov_down", amount=800)
    world.wait(PART)
    assert has(world, "alice") == (1_200, 600, 600)
    assert world.say("alice", "gov_down", amount=601) == "too_little"
    assert world.say("alice", "gov_down", amount=100) == "accepted"
    assert has(world, "alice") == (1_200, 600, 100)
    assert len(unlocks(world)) == 1
    world.wait(4 * PART)
    assert has(world, "alice") == (1_300, 500, 0)
    assert ("kept", 600) in moves(world, "alice")


def test_asking_again_begins_the_time_anew(world):
    world.view.put(COLLATERAL, Collateral(800, 0), "alice")
    for _ in range(5):
        assert world.say("alice", "gov_down", amount=800) == "accepted"
        world.wait(PART - 1)
    assert has(world, "alice") == (1_000, 800, 800)


def test_0_keeps_it_all_and_only_where_something_leaves(world):
    world.view.put(COLLATERAL, Collateral(800, 0), "alice")
    assert world.say("alice", "gov_down", amount=0) == "nothing_leaves"
    world.say("alice", "gov_down", amount=800)
    assert world.say("alice", "gov_down", amount=0) == "accepted"
    assert has(world, "alice") == (1_000, 800, 0) and not unlocks(world)
    assert world.say("alice", "gov_down", amount=0) == "nothing_leaves"
    assert world.say("nobody", "gov_down", amount=0) == "nothing_leaves"
    assert world.say("nobody", "gov_down", amount=1) == "too_little"


def test_what_is_locked_meanwhile_does_not_leave(world):
    world.view.put(COLLATERAL, Collateral(8, 0), "alice")
    world.say("alice", "gov_down", amount=8)
    world.say("alice", "gov_up", amount=1_000)
    world.wait(4 * PART)
    assert has(world, "alice") == (8, 1_000, 0)


def test_unlock_part_is_a_parameter():
    world = Council("", unlock_part=3)
    world.view.put(COLLATERAL, Collateral(4, 0), "alice")
    world.say("alice", "gov_down", amount=4)
    world.wait(11)
    assert has(world, "alice") == (3, 1, 1)


def test_movements_are_forgotten_after_history_and_the_count_with_the_last():
    world = Council("", history=100)
    world.view.put(BALANCE, Balance(1_000), "alice")
    world.say("alice", "send", to="bob", amount=1)
    world.wait(60)
    world.say("alice", "send", to="bob", amount=2)
    world.wait(40)
    assert moves(world, "alice") == [("sent", 2)] and moves(world, "bob") == [("received", 2)]
    world.wait(60)
    assert not any(list(world.view.walk(table)) for table in (MOVE, MOVES, MOVED, CHRON))
    world.say("alice", "send", to="bob", amount=3)
    assert moves(world, "alice") == [("sent", 3)]
