"""What seeds draw: every plan is a group that can live, and faults that it must survive."""

from functools import cache

import pytest
from msgspec.structs import replace

from node.devnet.founding import found, genesis_document, member_keys
from node.sim.faults import OF_SERVERS, OF_TRAITORS
from node.sim.plan import KINDS, draw, name_of, operator_of
from node.sim.shrink import only
from node.sim.world import World
from processors.genesis import Genesis
from tests.sim.tiny import tiny

MANY = range(3_000)
SOME = range(0, 3_000, 60)


@cache
def plans():
    """Many plans, drawn once."""
    return [draw(seed) for seed in MANY]


def test_the_same_seed_draws_the_same_plan_and_another_another():
    assert draw(7) == draw(7) == plans()[7]
    assert len({repr(replace(plan, seed=0)) for plan in plans()}) == len(MANY)


@pytest.mark.parametrize("seed", SOME)
def test_the_genesis_of_every_plan_is_one(seed):
    plan = draw(seed)
    runners = [member_keys(number) for number in range(1, plan.runners + 1)]
    document = genesis_document(
        runners,
        start_block=plan.parameters["round_length"],
        parameters=plan.parameters,
        collateral=plan.collateral,
        payouts=list(plan.payouts),
    )
    genesis = found(document)
    assert isinstance(genesis, Genesis)
    assert {name: getattr(genesis.params, name) for name in plan.parameters} == plan.parameters


def test_a_group_has_5_to_9_nodes_and_at_least_4_runners():
    assert {plan.members for plan in plans()} == {5, 6, 7, 8, 9}
    assert min(plan.runners for plan in plans()) == 4
    assert all(plan.runners + plan.spares == plan.members for plan in plans())
    assert {plan.spares for plan in plans()} == {0, 1, 2}


def test_every_member_has_collateral_and_a_spare_has_enough_for_a_seat():
    for plan in plans():
        assert sorted(plan.collateral) == [name_of(number) for number in range(1, plan.members + 1)]
        seated = [plan.collateral[name_of(number)] for number in range(1, plan.runners + 1)]
        spare = [plan.collateral[name_of(number)] for number in range(plan.runners + 1, plan.members + 1)]
        assert all(amount > max(seated) for amount in spare)


def test_about_one_in_ten_is_long_and_one_in_ten_on_disk():
    long = sum(plan.parameters["round_length"] == 100 for plan in plans())
    on_disk = sum(plan.on_disk for plan in plans())
    assert 240 <= long <= 360
    assert 240 <= on_disk <= 360
    assert {plan.parameters["round_length"] for plan in plans()} == {20, 100}


def test_headers_and_payloads_live_6_to_20_rounds():
    rounds = set()
    for plan in plans():
        seconds = 3 * plan.parameters["round_length"]
        for name in ("header_lifetime", "payload_lifetime"):
            assert plan.parameters[name] % seconds == 0
            rounds.add(plan.parameters[name] // seconds)
        assert plan.parameters["header_lifetime"] <= (3_600 if plan.parameters["hive_rules"] == 27 else 86_400)
    assert rounds == set(range(6, 21))


def test_both_rules_of_hive_are_drawn():
    rules = [plan.parameters["hive_rules"] for plan in plans()]
    assert 1_000 < rules.count(27) < 2_000
    assert set(rules) == {27, 28}


def test_a_run_lasts_30_rounds_and_two_lifetimes():
    for plan in plans():
        length = plan.parameters["round_length"]
        lifetime = max(plan.parameters["header_lifetime"], plan.parameters["payload_lifetime"]) // 3
        assert plan.slots >= 30 * length
        assert plan.slots > 2 * lifetime


def test_the_quiet_lasts_a_lifetime_and_five_rounds():
    for plan in plans():
        length = plan.parameters["round_length"]
        lifetime = max(plan.parameters["header_lifetime"], plan.parameters["payload_lifetime"]) // 3
        assert plan.slots - plan.quiet >= lifetime + 5 * length
        assert plan.quiet >= 4 * length


def test_faults_lie_before_the_quiet_in_the_order_of_their_slots():
    for plan in plans():
        assert all(0 < fault.slot <= fault.until < plan.quiet for fault in plan.faults)
        assert [fault.slot for fault in plan.faults] == sorted(fault.slot for fault in plan.faults)


def test_faults_last_as_long_as_their_kind_says():
    for plan in plans():
        length = plan.parameters["round_length"]
        for fault in plan.faults:
            shortest, longest = KINDS[fault.kind].rounds
            assert fault.until - fault.slot <= longest * length
            assert fault.until - fault.slot >= shortest * length or fault.until == plan.quiet - 1


def test_faults_strike_whom_their_kind_says():
    for plan in plans():
        crowds = {
            "member": [name_of(number) for number in range(1, plan.members + 1)],
            "traitor": plan.traitors,
            "spare": [name_of(number) for number in range(plan.runners + 1, plan.members + 1)],
            "group": [""],
        }
        assert all(fault.who in crowds[KINDS[fault.kind].target] for fault in plan.faults)
        assert all(0 <= fault.server < plan.servers for fault in plan.faults)


def test_a_group_has_3_to_5_servers_of_at_least_3_operators():
    assert {plan.servers for plan in plans()} == {3, 4, 5}
    assert [operator_of(server) for server in range(5)] == [0, 1, 2, 3, 0]


def test_no_kind_comes_oftener_than_it_may():
    for plan in plans():
        kinds = [fault.kind for fault in plan.faults]
        more = {"key_change": 3} if "no_rotation_signature" in kinds else {}  # rotations to sign no rotation at
        assert all(kinds.count(kind) <= KINDS[kind].most + more.get(kind, 0) for kind in kinds)


def test_every_kind_is_drawn():
    assert {fault.kind for plan in plans() for fault in plan.faults} == set(KINDS)


def test_traitors_are_few_and_never_the_founder():
    for plan in plans():
        assert name_of(1) not in plan.traitors
        assert {name_of(number) for number in range(1, plan.runners + 1)} >= set(plan.traitors)
        assert plan.runners - len(plan.traitors) >= plan.runners // 2 + 1
        assert list(plan.traitors) == sorted(set(plan.traitors))
    assert {len(plan.traitors) for plan in plans()} == {0, 1, 2}


def test_a_payout_that_hive_refuses_is_there_if_the_fault_is():
    for plan in plans():
        kinds = {fault.kind for fault in plan.faults}
        assert ("no_funds" in kinds) == any(payout["amount"] > 10**9 for payout in plan.payouts)
        assert ("unknown_receiver" in kinds) == any(payout["to"] == "nobody-at-all" for payout in plan.payouts)
        assert sum(payout["to"] == "receiver" and payout["amount"] < 100 for payout in plan.payouts) == 2


@pytest.mark.parametrize("seed", SOME[::10])
def test_taking_one_fault_away_changes_nothing_else(seed):
    plan = draw(seed)
    for place in range(len(plan.faults)):
        rest = [number for number in range(len(plan.faults)) if number != place]
        cut = only(plan, rest)
        assert cut.faults == plan.faults[:place] + plan.faults[place + 1 :]
        assert replace(cut, faults=plan.faults) == plan


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_carried_out_by_somebody(kind):
    """Drawn faults that nobody knows would be survived without a scratch."""
    injector = World(tiny(), None).injector
    elsewhere = OF_SERVERS | OF_TRAITORS | {"no_funds", "unknown_receiver"}
    assert (kind in elsewhere) != any(injector.handler(when, kind) for when in ("begin", "during", "end"))


def test_the_tiny_plan_holds():
    """What the sabotages of these tests begin with."""
    world = World(tiny(), None)
    assert world.run().invariant == ""
    assert world.auditor.counts["confirmed"] >= 4
