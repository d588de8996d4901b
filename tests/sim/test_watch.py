"""What nodes say is held against what was done to them; each sabotage of a node is found."""

import pytest
from msgspec.structs import replace

import node.core
import node.signer.policy
import node.signer.signer
import node.sim.machine
from node.feed.servers import Servers
from node.signer.journal import Journal
from node.sim.plan import SLOT_MS
from node.sim.watched import Applied
from node.sim.world import World, run
from tests.sim.tiny import ROUND, fault, payout, tiny

WHO = "runner03"


def plan(*faults, **more):
    """Four honest members, faults for five rounds, payouts all the time."""
    return tiny(*faults, **{"runners": 4, "rounds": 9, "quiet_round": 5, "payouts": [payout(every=10)], **more})


def corrupted(n):
    """A state changed in the ``n``-th way."""
    return plan(fault("state_corrupted", 45, who=WHO, n=n))


# -- the product


def test_a_node_whose_rule_went_wrong_halts_and_heals_by_itself():
    outcome = run(corrupted(0))
    assert (outcome.invariant, outcome.detail) == ("", "")
    assert [outcome.faults.get(kind) for kind in ("state_corrupted", "diverged", "healed")] == [1, 1, 1]


def test_a_node_whose_memory_went_wrong_halts_and_its_store_is_made_anew():
    outcome = run(corrupted(1))
    assert (outcome.invariant, outcome.detail) == ("", "")
    assert [outcome.faults.get(kind, 0) for kind in ("state_corrupted", "diverged", "healed")] == [1, 1, 0]
    assert any(line.endswith("wiped") for line in outcome.timeline)


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_store_whose_bits_changed_is_not_started_on(on_disk):
    own = fault("snapshot_restored", 25, 79, who=WHO, n=1)
    outcome = run(plan(own, fault("state_corrupted", 65, who=WHO, n=2), on_disk=on_disk))
    assert (outcome.invariant, outcome.detail) == ("", "")
    assert [outcome.faults.get(kind, 0) for kind in ("state_corrupted", "repaired", "diverged")] == [1, 1, 0]


def test_a_liar_is_banned_and_comes_back_when_its_ban_is_over():
    outcome = run(plan(fault("liar", 25, 30), fault("liar", 25, 31, server=1), rounds=17))
    assert (outcome.invariant, outcome.detail) == ("", "")
    assert outcome.faults["banned"] >= 1
    assert outcome.faults["ban_over"] >= 1


def test_a_moved_journal_holds_its_keys_back_until_the_operator_confirms():
    held = run(plan(fault("journal_copied", 45, who=WHO, n=2)))
    confirmed = run(plan(fault("journal_copied", 45, who=WHO, n=3)))
    assert held.invariant == confirmed.invariant == ""
    assert held.faults["journal_held"] > confirmed.faults.get("journal_held", 0)
    assert confirmed.faults["journal_confirmed"] == 1
    assert "journal_confirmed" not in held.faults


def test_a_signature_of_a_twin_is_noticed():
    outcome = run(plan(fault("twin", 60, 99, who=WHO, n=1)))
    assert (outcome.invariant, outcome.detail) == ("", "")
    assert outcome.faults["signed_elsewhere"] >= 1


# -- sabotage


def test_a_ban_without_a_lie_is_found():
    world = World(plan(), None)
    told = {"server": "http://server1", "why": "a whim", "seconds": 600}
    world.clock.after(30 * SLOT_MS, lambda: world.told(world.machines[WHO], "server_banned", told))
    assert world.run().invariant == "banned_for_nothing"


def test_asking_a_banned_server_is_found(monkeypatch):
    monkeypatch.setattr(Servers, "usable", lambda self: list(self))
    monkeypatch.setattr(Servers, "best", lambda self: next(iter(self)))
    assert run(plan(fault("liar", 25, 30, server=0))).invariant == "asked_while_banned"


def test_a_node_that_does_not_halt_is_found(monkeypatch):
    monkeypatch.setattr(node.core, "differs_from_agreed", lambda state, params: None)
    assert run(corrupted(0)).invariant == "not_halted"


@pytest.mark.parametrize("invariant", ["halted_signs", "halted_sends"])
def test_a_halted_node_that_goes_on_is_found(monkeypatch, invariant):
    genuine = node.core.NodeCore.step

    def step(self, *given, **more):
        before, self.halted_at = self.halted_at, None
        found = genuine(self, *given, **more)
        self.halted_at = before
        if invariant == "halted_signs" and before is not None:
            self._signer.sign_report(self.me.account, 1, bytes(32), self.me.keys[0])
        return found

    monkeypatch.setattr(node.core.NodeCore, "step", step)
    monkeypatch.setattr("node.sync.healing.Healing.attempt", lambda self: _nothing())
    assert run(corrupted(0)).invariant == invariant


async def _nothing():
    """Nobody heals."""


def test_a_store_that_is_not_checked_is_found(monkeypatch):
    monkeypatch.setattr(node.sim.machine, "recomputed_root", lambda state: state.current_root())
    assert run(corrupted(2)).invariant == "not_noticed"


def test_a_young_journal_that_signs_is_found(monkeypatch):
    monkeypatch.setattr(Journal, "held_until", lambda self, key: 0)
    long = {"header_lifetime": 10 * 3 * ROUND, "payload_lifetime": 10 * 3 * ROUND}
    found = run(plan(fault("journal_copied", 61, who=WHO, n=2), rounds=12, **long))
    assert found.invariant == "held_signs"


def test_a_journal_that_never_looks_at_the_chain_is_found(monkeypatch):
    monkeypatch.setattr(node.signer.signer, "look", lambda *given: [])
    assert run(plan(fault("twin", 60, 99, who=WHO, n=1))).invariant in ("journal_lacks", "held_signs")


def test_signing_without_an_agreed_root_is_found(monkeypatch):
    monkeypatch.setattr(node.signer.policy, "agrees", lambda state, params: True)
    restored = fault("snapshot_restored", 45, 62, who=WHO, n=1)
    assert run(plan(restored)).invariant == "signed_unagreed"


def test_a_block_that_nobody_gave_is_found():
    world = World(plan(), None)
    false = Applied(40, bytes(20), None, None, 0)
    world.clock.after(41 * SLOT_MS, lambda: world.applied(world.machines[WHO], false))
    assert world.run().invariant == "misled_by_nobody"


def test_healing_that_does_not_heal_is_found():
    world = World(plan(), None)

    def heal():
        world.auditor.traces[world.machines[WHO].core.state.height] = bytes(32)
        world.told(world.machines[WHO], "healed", {})

    world.clock.after(41 * SLOT_MS - 100, heal)
    assert world.run().invariant == "healed_wrong"


def test_a_signature_of_what_nobody_built_is_found():
    world = World(plan(), None)
    genuine = world.judge.signed

    def signed(machine, key, digest):
        genuine(machine, key, digest)
        world.judge._unsettled = [(who, replace(record, txid=bytes(20))) for who, record in world.judge._unsettled]

    world.judge.signed = signed
    assert world.run().invariant == "signed_false"
