"""A run as a whole: the same to the byte, honest about what broke, and clean behind itself."""

import json
import os
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
from msgspec.structs import replace

import node.core
from node.errors import ApiError, FeedError
from node.runtime import Runtime
from node.sim import world as world_module
from node.sim.audit import Auditor
from node.sim.faults import Injector
from node.sim.judge import Judge
from node.sim.plan import KINDS, OBSERVED, draw, name_of
from node.sim.world import World, run
from processors.hive import crypto
from tests.sim.tiny import ROUND, fault, tiny

ROOT = Path(__file__).parents[2]
SLOTS = 200  # of a drawn plan: enough for most faults, and quick
PROBE = """
import json, sys
from msgspec.structs import replace
from node.sim.plan import draw
from node.sim.world import run
slots, *seeds = json.loads(sys.argv[1])
for seed in seeds:
    outcome = run(replace(draw(seed), slots=slots))
    print(json.dumps([seed, outcome.digest, outcome.invariant, outcome.faults, outcome.counts, outcome.timeline]))
"""


def rich_seeds():
    """Two seeds in memory and one on disk, with many faults early on."""
    found = {True: [], False: []}
    for seed in count(1):
        plan = draw(seed)
        early = sum(each.slot < SLOTS for each in plan.faults)
        if plan.parameters["round_length"] == ROUND and early >= 8 and plan.members <= 7:
            found[plan.on_disk].append(seed)
        if len(found[False]) >= 2 and found[True]:
            return found[False][:2] + found[True][:1]
    return []


def in_a_process(seeds, hash_seed):
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROBE, json.dumps([SLOTS, *seeds])]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout


def test_a_seed_gives_the_same_run_to_the_byte_in_every_process():
    seeds = rich_seeds()
    first, second = in_a_process(seeds, "1"), in_a_process(seeds, "2")
    assert first == second
    outcomes = [json.loads(line) for line in first.splitlines()]
    assert [outcome[0] for outcome in outcomes] == seeds
    assert len({outcome[1] for outcome in outcomes}) == len(seeds)
    assert all(len(outcome[5]) > 20 for outcome in outcomes)
    (again,) = [run(replace(draw(seeds[0]), slots=SLOTS))]
    assert [again.digest, list(again.timeline)] == [outcomes[0][1], outcomes[0][5]]


def test_another_plan_gives_another_digest():
    plans = tiny(), tiny(lag=2), tiny(runners=4), tiny(fault("pause", 30, 35, who="runner01"))
    assert len({run(plan).digest for plan in plans}) == 4


def test_the_digest_tells_of_every_block_that_a_node_applied(monkeypatch):
    before = run(tiny()).digest
    assert run(tiny()).digest == before
    genuine, seen = World.applied, []

    def applied(self, machine, block):
        seen.append(block)
        genuine(self, machine, replace(block, root=b"\x01") if len(seen) == 77 and block.root is None else block)

    monkeypatch.setattr(Judge, "_compare", lambda *_: None)
    monkeypatch.setattr(World, "applied", applied)
    assert run(tiny()).digest != before


def test_keys_that_are_recovered_once_for_all_change_nothing():
    genuine = crypto._recover
    assert run(tiny(rounds=3)).digest == World(tiny(rounds=3), None).run().digest
    assert crypto._recover is genuine


# -- what breaks


def test_a_node_that_crashes_fails_the_seed(monkeypatch):
    def step(self, view, denied, **more):
        if self.state.height > 50 and self.me.account == "runner02":
            raise ZeroDivisionError("a bug of the node")
        return []

    monkeypatch.setattr(node.core.NodeCore, "step", step)
    outcome = run(tiny())
    assert outcome.invariant == "crash"
    assert outcome.detail.startswith("runner02: Traceback")
    assert "a bug of the node" in outcome.detail
    assert outcome.slot < 60
    assert not outcome.ok


def test_a_process_that_ends_by_itself_fails_the_seed(monkeypatch):
    async def attempt(self, stop):
        raise SystemExit(3)

    monkeypatch.setattr(Runtime, "attempt", attempt)
    assert run(tiny()).invariant == "crash"


@pytest.mark.parametrize(("owner", "name"), [(Auditor, "follow"), (Injector, "slot"), (World, "_produce")])
def test_an_exception_of_the_world_itself_is_called_broken(monkeypatch, owner, name):
    def fails(*_):
        raise LookupError("a bug of the world")

    monkeypatch.setattr(owner, name, fails)
    outcome = run(tiny())
    assert outcome.invariant == "broken"
    assert "a bug of the world" in outcome.detail


def test_what_an_operator_can_mend_is_mended(monkeypatch):
    genuine, strikes = Runtime.turn, []

    async def turn(self, stop):
        if self.core.state.height == 40 and len(strikes) < 2:
            strikes.append(self.core.me.account)
            raise (FeedError if len(strikes) == 1 else ApiError)("the wire is bad")
        await genuine(self, stop)

    monkeypatch.setattr(Runtime, "turn", turn)
    outcome = run(tiny())
    assert outcome.invariant == ""
    assert len(strikes) == 2
    assert sum("stopped error=the wire is bad" in line for line in outcome.timeline) == 1


def test_a_violation_is_the_last_line_of_the_timeline():
    world = World(tiny(rounds=9), None)
    world.clock.after(135_000, lambda: world.silent.update(["runner02", "runner03"]))
    failed = world.run()
    assert failed.timeline[-1].split()[2:5] == ["world", "VIOLATION", "invariant=no_agreement"]


def test_the_first_failure_is_the_one_that_is_told():
    world = World(tiny(), None)
    for words in ("first", "second"):
        world.died(world.machines["runner01"], ValueError(words))
    assert "first" in world.run().detail


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_of_a_run_is_left(monkeypatch, tmp_path, fails):
    scratch = tmp_path / "scratch"
    monkeypatch.setattr(world_module.tempfile, "mkdtemp", lambda prefix: scratch.mkdir() or str(scratch))
    if fails:
        monkeypatch.setattr(Auditor, "replay", lambda self: 1 // 0)
    folders = []
    genuine = World._produce
    monkeypatch.setattr(World, "_produce", lambda self: folders.append(len(list(scratch.iterdir()))) or genuine(self))
    outcome = run(tiny(rounds=2, on_disk=True))
    assert outcome.ok is not fails
    assert max(folders) == 3  # a LevelDB each
    assert not scratch.exists()


def test_every_process_is_stopped_at_the_end():
    world = World(tiny(rounds=2), None)
    world.run()
    assert [machine.is_up for machine in world.machines.values()] == [False] * 3


# -- what is counted


def test_an_outcome_counts_blocks_of_the_chain_and_of_the_nodes():
    plan = tiny(rounds=4)
    outcome = run(plan)
    assert outcome.blocks == ROUND + plan.lag + 4 * ROUND
    assert outcome.nodes == 3
    assert 3 * (4 * ROUND - 5) <= outcome.node_blocks <= 3 * 4 * ROUND
    assert (outcome.seed, outcome.slot) == (plan.seed, plan.slots)


def test_a_fault_that_lasts_is_counted_once_and_another_of_its_kind_again():
    world = World(tiny(), None)
    one, other = fault("gap", 1, 9), fault("gap", 2, 9)
    for each in (one, one, other, one, other):
        world.count_once(each)
    assert world.counts == {"gap": 2}


def test_a_slot_without_a_block_is_missed():
    outcome = run(tiny(fault("missed_blocks", 10, 30, n=7), rounds=4))
    assert outcome.ok
    assert run(tiny(rounds=4)).blocks - outcome.blocks == 8


OF_DISKS = (
    *("kill_mid_write", "store_torn", "store_lost", "backup_restored", "twin"),
    *("journal_copied", "snapshot_restored", "rewound", "state_corrupted"),
)
OF_SERVERS = (
    *("api_", "old_head", "gap", "other_fork", "tx_left_out", "tx_changed"),
    *("truncated_json", "huge_json", "broadcast_", "clock_skew", "behind"),
)
PAID = {"to": "receiver", "asset": "HIVE", "memo": "x", "amount": 10, "every": 10}
NEVER_PAID = {
    "no_funds": {**PAID, "amount": 2_000_000_000, "every": 45},
    "unknown_receiver": {**PAID, "to": "nobody-at-all", "every": 45},
}


@pytest.mark.parametrize(
    ("kind", "on_disk"), [(kind, False) for kind in sorted(KINDS)] + [(kind, True) for kind in OF_DISKS]
)
def test_every_kind_of_fault_strikes_where_a_plan_has_it(kind, on_disk):
    """A fault that never takes effect would be survived by anybody."""
    how = KINDS[kind]
    who = {"traitor": "runner02", "spare": name_of(5), "group": ""}.get(how.target, "runner03")
    faults = [fault(kind, 25, 75 if how.rounds[1] else 25, who=who, server=n, n=7) for n in range(3)]
    if not kind.startswith(OF_SERVERS):
        del faults[1:]
    if kind == "no_rotation_signature":
        # something to rotate for, in round 5
        faults = [fault(kind, 25, 110, who=who, n=7), fault("key_change", 22, who="runner03")]
    payouts = [PAID, *([NEVER_PAID[kind]] if kind in NEVER_PAID else [])]
    quiet = 6 if kind == "no_rotation_signature" else 4
    traitors = [] if kind == "state_corrupted" else ["runner02"]  # it counts as one
    more = {"payouts": payouts, "traitors": traitors, "on_disk": on_disk}
    plan = tiny(*faults, runners=4, rounds=quiet + 3, quiet_round=quiet, **more)
    if how.target == "spare":
        plan = replace(plan, spares=1, collateral={**plan.collateral, name_of(5): 9_000})
    outcome = run(plan)
    assert (outcome.invariant, outcome.detail) == ("", "")
    if kind not in NEVER_PAID:  # these are standing payouts of the genesis
        assert outcome.faults.get(kind, 0) >= 1


def test_who_lost_the_dead_fork_with_the_newest_writes_is_misled_no_more():
    """A fork that dies is read ahead, torn away by a lost write, and the true chain is read instead."""
    read_ahead, torn = fault("read_ahead", 25, 55, who="runner02"), fault("store_torn", 47, who="runner02", n=11)
    outcome = run(tiny(read_ahead, torn, runners=4, rounds=9, quiet_round=5))
    assert any("runner02" in line and " misled " in line for line in outcome.timeline)
    assert (outcome.invariant, outcome.detail) == ("", "")


def test_what_is_observed_is_no_fault_that_is_drawn():
    assert not set(OBSERVED) & set(KINDS)
    assert set(run(tiny()).faults) <= set(OBSERVED)


def test_a_line_of_the_timeline_says_when_where_who_and_what():
    outcome = run(tiny(fault("pause", 30, 35, who="runner02"), rounds=2))
    (line,) = [line for line in outcome.timeline if " fault " in line and " pause " in line and "until" in line]
    seconds, head, who, what, *fields = line.split()
    assert (float(seconds), int(head), who, what) == (29 * 3.0, ROUND + 1 + 29, "fault", "pause")
    assert fields == ["who=runner02", "until=35", "server=0", "n=0"]
