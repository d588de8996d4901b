"""What holds for tokens whatever is done with them, in whatever order (protocol section 10)."""

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processors import seats
from state.schema import BALANCE, CHRON, COLLATERAL, LEAVING, NODE, RUNNER, TALLY, Balance, Collateral
from tests.processors.council import Council
from tests.processors.test_members import body as node_add
from tests.processors.test_tokens import MOST, has, moves
from tests.processors.world import World

NAMES = ("alice", "bob", "carol")
STEP = st.one_of(
    st.tuples(st.just("send"), st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(1, 60)),
    st.tuples(st.sampled_from(["gov_up", "gov_down"]), st.sampled_from(NAMES), st.just(""), st.integers(0, 60)),
    st.tuples(st.just("wait"), st.just(""), st.just(""), st.integers(1, 12)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=40))
def test_supply_is_conserved_and_what_leaves_is_locked(steps):
    world = Council("", unlock_part=3)
    for name in NAMES:
        world.view.put(BALANCE, Balance(50), name)
    for name, account, to, amount in steps:
        if name == "wait":
            world.wait(amount)
        else:
            world.say(account, name, **({"to": to} if to else {}), amount=amount)
        found = {account: has(world, account) for account in NAMES}
        assert sum(liquid + locked for liquid, locked, _ in found.values()) == 150
        for account, (_, locked, leaving) in found.items():
            entry = world.view.get(LEAVING, account)
            assert 0 <= leaving <= locked
            assert leaving == (entry.amount - entry.moved if entry is not None else 0)
    world.wait(100)
    assert not list(world.view.walk(LEAVING))
    assert {job.kind for _, job in world.view.walk(CHRON)} <= {"forget_block"}


@settings(max_examples=80, deadline=None)
@given(st.integers(1, MOST))
def test_the_parts_are_together_what_was_asked_for(amount):
    world = Council("", unlock_part=1)
    world.view.put(COLLATERAL, Collateral(MOST, 0), "alice")
    world.say("alice", "gov_down", amount=amount)
    world.wait(4)
    assert [value for kind, value in moves(world, "alice") if kind == "unlocked"] == [
        part for part in (*[amount // 4] * 3, amount - amount // 4 * 3) if part
    ]
    assert has(world, "alice") == (amount, MOST - amount, 0)


def joining_and_leaving() -> Council:
    """Four with a seat, three that may get one, at most five seats; each account does one thing."""
    world = Council("abcd", ripe_rounds=0, max_runners=5, seat_rounds=1)
    for name, locked in (("e", 150), ("f", 150), ("g", 90)):
        world.member(name, seat=False, locked=locked)
    for name in "efgh":
        world.view.put(BALANCE, Balance(500), name)
    return world


BODIES: list[tuple[str, str, dict[str, Any]]] = [
    ("a", "gov_down", {"amount": 100}),
    ("b", "node_delete", {}),
    ("e", "gov_up", {"amount": 10}),
    ("f", "gov_up", {"amount": 10}),
    ("g", "gov_down", {"amount": 90}),
    ("h", "node_add", node_add(joining_and_leaving(), "h")),
]


def test_no_order_of_joins_and_leaves_within_a_block_changes_the_seats():
    results = set()
    for order in itertools.permutations(BODIES):
        world = joining_and_leaving()
        for account, name, body in order:
            assert world.say(account, name, body) == "accepted"
        for height in (1_200, 1_300, 1_400):
            world.asked(height - 50)
            world.tally(height, [name for name in "abcdefgh" if world.view.get(NODE, name) is not None])
        results.add((tuple(world.view.walk(RUNNER)), world.view.need(TALLY)))
    ((runners, _),) = results
    assert [account for (account,), _ in runners] == ["c", "d", "e", "f"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 1_000), max_size=6), st.lists(st.integers(1, 1_000), min_size=1, max_size=8))
def test_splitting_collateral_buys_no_majority_below_the_safety_limit(honest, split):
    world = World()
    for number, locked in enumerate(honest):
        world.member(f"h{number}", locked=locked)
    for number, locked in enumerate(split):
        world.member(f"s{number}", locked=locked)
    seats.safety_limit(world.at(1_100))
    limit, everybody = world.view.need(TALLY).limit, len(honest) + len(split)
    if len(split) >= everybody // 2 + 1:
        assert sum(split) >= limit
        assert sum(sorted(split)[: everybody // 2 + 1]) >= limit, "not even the cheapest of them suffice for less"
