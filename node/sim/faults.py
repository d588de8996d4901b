"""Carries out a plan's faults: what begins at a slot, what ends, and what goes on at every slot between."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from node.devnet.chain import ForkPoint
from node.devnet.founding import GROUP, devnet_key, one_key
from node.sim.disk import AFTER, BEFORE, MIDDLE, Backup
from node.sim.machine import Machine
from node.sim.outside import foolish
from node.sim.plan import SLOT_MS, Fault
from state.schema import AUTHORITY, KEY, MS, NODE, SIG

if TYPE_CHECKING:
    from node.sim.world import World

_OF_SERVERS = frozenset({
    "api_timeout", "api_error", "api_late", "old_head", "gap", "other_fork", "tx_left_out", "tx_changed",
    "truncated_json", "huge_json", "broadcast_unheard", "broadcast_dropped", "clock_skew",
})  # fmt: skip
_OF_TRAITORS = frozenset({"false_root", "false_header", "double_report", "no_rotation_signature", "refusing"})
_KILLS = {
    "kill_before_write": ("", BEFORE),
    "kill_mid_write": ("", MIDDLE),
    "kill_after_write": ("", AFTER),
    "kill_after_journal": ("journal", AFTER),
}


class Injector:
    """The faults of one run."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self._waiting = sorted(world.plan.faults, key=lambda fault: fault.slot)
        self._active: list[Fault] = []
        self._backups: dict[Fault, Backup] = {}
        self._forks: dict[Fault, ForkPoint] = {}
        self._twins: dict[Fault, Machine] = {}
        self._holds: set[Fault] = set()
        self._vests = world.chain.ledger.accounts[GROUP].balances[2]
        self._sent: set[tuple[str, str]] = set()
        self._owner_asked: set[Fault] = set()
        self._old_signatures: dict[str, bytes] = {}

    def slot(self, slot: int) -> None:
        """Begin, go on with, and end what is due."""
        for fault in [fault for fault in self._active if fault.until < slot]:
            self._active.remove(fault)
            self._call("end", fault)
            self.world.note("fault", f"end {fault.kind}", who=fault.who)
        while self._waiting and self._waiting[0].slot <= slot:
            fault = self._waiting.pop(0)
            self.world.note("fault", fault.kind, who=fault.who, until=fault.until, server=fault.server, n=fault.n)
            self._active.append(fault)
            self._call("begin", fault)
        for fault in self._active:
            self._call("during", fault)
        if slot == self.world.plan.quiet:
            self._calm()

    def lies_of(self, account: str) -> list[Fault]:
        """How a member cheats now."""
        return [fault for fault in self._active if fault.who == account and fault.kind in _OF_TRAITORS]

    # -- dispatch

    def _call(self, when: str, fault: Fault) -> None:
        if fault.kind in _OF_SERVERS:
            if when == "begin":
                self.world.network.windows.append(fault)
            elif when == "end":
                self.world.network.windows.remove(fault)
            return
        if fault.kind in _KILLS and when == "begin":
            place, moment = _KILLS[fault.kind]
            count = 1 if place else 1 + fault.n % 30
            self._machine(fault).doom(place, moment, count, self._counting(fault.kind))
            return
        call: Callable[[Fault], None] | None = getattr(self, f"_{when}_{fault.kind}", None)
        if call is not None:
            call(fault)

    def _machine(self, fault: Fault) -> Machine:
        return self.world.machines[fault.who]

    def _counting(self, kind: str) -> Callable[[], None]:
        def count() -> None:
            self.world.count(kind)
            self.world.note("fault", f"struck {kind}")

        return count

    def _calm(self) -> None:
        """From here on nothing goes wrong: what has not struck does not strike, and everybody is switched on."""
        for machine in self.world.machines.values():
            machine.disk.doom = None
            machine.die_at_broadcast = None
            machine.paused_until = 0
            machine.start()

    # -- processes and disks

    def _begin_kill_before_broadcast(self, fault: Fault) -> None:
        self._machine(fault).die_at_broadcast = ("before", self._counting(fault.kind))

    def _begin_kill_after_broadcast(self, fault: Fault) -> None:
        self._machine(fault).die_at_broadcast = ("after", self._counting(fault.kind))

    def _begin_pause(self, fault: Fault) -> None:
        self.world.count("pause")
        self._machine(fault).paused_until = fault.until * SLOT_MS

    def _begin_down(self, fault: Fault) -> None:
        self.world.count("down")
        self._machine(fault).stop()

    def _during_down(self, fault: Fault) -> None:
        self._machine(fault).stop()

    def _end_down(self, fault: Fault) -> None:
        self._machine(fault).start()

    def _begin_store_torn(self, fault: Fault) -> None:
        machine = self._machine(fault)
        machine.stop()
        if machine.disk.tear_store(1 + fault.n % 12):
            self.world.count("store_torn")
        machine.restart_in(SLOT_MS * (1 + fault.n % 9))

    def _begin_store_lost(self, fault: Fault) -> None:
        self.world.count("store_lost")
        self._machine(fault).wipe()
        self._machine(fault).restart_in(SLOT_MS * (1 + fault.n % 9))

    def _begin_backup_restored(self, fault: Fault) -> None:
        folder = self.world.folder(f"backup-{fault.who}-{fault.slot}")
        self._backups[fault] = self._machine(fault).disk.back_up(folder)

    def _end_backup_restored(self, fault: Fault) -> None:
        self.world.count("backup_restored")
        self._machine(fault).restore(self._backups.pop(fault))
        self._machine(fault).start()

    def _begin_twin(self, fault: Fault) -> None:
        self.world.count("twin")
        original = self._machine(fault)
        name = f"{fault.who}-twin{len(self._twins)}"
        twin = self.world.add_machine(name, fault.who)
        twin.keys = list(original.keys)
        if fault.n % 2 and self.world.folder(name) is None:
            twin.disk.restore(original.disk.back_up(None))
        self._twins[fault] = twin
        twin.start()

    def _end_twin(self, fault: Fault) -> None:
        self._twins[fault].leave()

    # -- the chain

    def _begin_stall(self, fault: Fault) -> None:
        self.world.count("stall")
        self._hold(fault)

    def _end_stall(self, fault: Fault) -> None:
        self._release(fault)

    def _begin_reorg(self, fault: Fault) -> None:
        self._hold(fault)

    def _during_reorg(self, fault: Fault) -> None:
        """A third of the time in common, a third on the fork that dies, then the other."""
        third = (fault.until - fault.slot) // 3
        now = self.world.slot - fault.slot
        if now == third:
            self._forks[fault] = self.world.chain.fork_point()
        elif now == 2 * third and fault in self._forks:
            self._switch(fault)

    def _end_reorg(self, fault: Fault) -> None:
        self._release(fault)

    def _begin_read_ahead(self, fault: Fault) -> None:
        self.world.count("read_ahead")
        self.world.network.reads_ahead[fault.who] = self._machine(fault).source
        self._hold(fault)

    def _during_read_ahead(self, fault: Fault) -> None:
        self._during_reorg(fault)

    def _end_read_ahead(self, fault: Fault) -> None:
        self.world.network.reads_ahead.pop(fault.who, None)
        self._release(fault)

    def _hold(self, fault: Fault) -> None:
        chain = self.world.chain
        if not self._holds:
            chain.held_at = chain.irreversible_number
        self._holds.add(fault)

    def _release(self, fault: Fault) -> None:
        self._holds.discard(fault)
        if not self._holds:
            self.world.chain.held_at = None

    def _switch(self, fault: Fault) -> None:
        """Another fork wins; who read ahead stands on the dead one. A slot is missed, so that no block is equal."""
        chain, point = self.world.chain, self._forks.pop(fault)
        if point.number > chain.head_number or point.number < chain.irreversible_number:
            return  # another switch went below it
        for number in range(point.number + 1, chain.head_number + 1):
            self.world.network.orphans[number] = msgspec.json.encode(chain.show_block(number, typed=True))
        self._forks = {f: p for f, p in self._forks.items() if p.number <= point.number}
        chain.switch_fork(point)
        self._set_credits()
        self.world.count("reorg")
        self.world.missing_until = max(self.world.missing_until, self.world.slot + 1)

    def _begin_missed_blocks(self, fault: Fault) -> None:
        self.world.count("missed_blocks")
        self.world.missing_until = max(self.world.missing_until, min(fault.until, fault.slot + 1 + fault.n % 30))

    # -- members

    def _begin_leader_silent(self, fault: Fault) -> None:
        self.world.leaders_silent = fault

    def _end_leader_silent(self, fault: Fault) -> None:
        self.world.leaders_silent = next((f for f in self._active if f.kind == fault.kind), None)

    def _begin_all_but_threshold_silent(self, fault: Fault) -> None:
        """Keep exactly as many members as the active authority asks for; of those who cheat, none."""
        state = self.world.auditor.state
        active = state.need(AUTHORITY, "active")
        weight, kept = 0, set()
        for key, key_weight in active.keys:
            owner = state.get(KEY, key)
            if owner is not None and owner.account not in self.world.plan.traitors and weight < active.threshold:
                weight += key_weight
                kept.add(owner.account)
        if weight >= active.threshold:
            self.world.count("all_but_threshold_silent")
            self.world.silent = {name for name, machine in self.world.machines.items() if machine.account not in kept}

    def _end_all_but_threshold_silent(self, fault: Fault) -> None:
        self.world.silent = set()

    # -- signatures of others

    def _during_forged_signature(self, fault: Fault) -> None:
        for op, digest in self._records():
            lie = devnet_key("forger").sign(digest[::-1])
            self._once(fault, op, lie)

    def _during_foreign_signature(self, fault: Fault) -> None:
        for op, digest in self._records():
            self._once(fault, op, devnet_key("foreign").sign(digest))

    def _during_stale_signature(self, fault: Fault) -> None:
        self._remember_signatures()
        living = {op for op, _ in self._records()}
        for op in [op for op in self._old_signatures if op not in living][-1:]:
            self._once(fault, op, self._old_signatures[op])

    def _during_duplicate_signature(self, fault: Fault) -> None:
        self._remember_signatures()
        for op, _ in self._records():
            if op in self._old_signatures:
                self._once(fault, op, self._old_signatures[op])

    def _remember_signatures(self) -> None:
        for (op, _), entry in self.world.auditor.state.walk(SIG):
            self._old_signatures[str(op)] = entry.sig

    def _records(self) -> list[tuple[str, bytes]]:
        return [(str(op), record.digest) for (op,), record in self.world.auditor.state.walk(MS)]

    def _once(self, fault: Fault, op: str, sig: bytes) -> None:
        if (fault.kind, op) not in self._sent and self.world.outside.submit_signature(op, sig) is not None:
            self._sent.add((fault.kind, op))
            self.world.count_once(fault)

    # -- seats and authorities

    def _begin_key_change(self, fault: Fault) -> None:
        """The operator puts a new key beside the old one, restarts, and registers it."""
        machine = self._machine(fault)
        fresh = devnet_key(f"{fault.who} signing {len(machine.keys)} {fault.n}")
        self.world.hold(fresh)
        machine.keys.append(fresh)
        machine.stop()
        machine.start()
        if self.world.outside.register(machine.member, fresh) is not None:
            self.world.count("key_change")

    def _begin_key_theft(self, fault: Fault) -> None:
        """Another member's key, with that member's own proof; or through the own account's authority."""
        outside, state = self.world.outside, self.world.auditor.state
        thief = self._machine(fault)
        victims = [str(name) for (name,), _ in state.walk(NODE) if name != fault.who] if state.height >= 0 else []
        if not victims:
            return
        victim = state.need(NODE, victims[fault.n % len(victims)])
        if fault.n % 2:
            key = outside.keyring[victim.signing_key]
            done = outside.register(thief.member, key, pop=victim.pop or b"\x1f" * 65)
        else:
            outside.register(thief.member, thief.keys[-1], follow_active=True)
            done = outside.claim_by_account(thief.member, victim.signing_key)
        if done is not None:
            self.world.count("key_theft")

    def _begin_seat_bought(self, fault: Fault) -> None:
        machine = self._machine(fault)
        if self.world.outside.register(machine.member, machine.keys[-1]) is not None:
            self.world.count("seat_bought")

    def _begin_seat_emptied(self, fault: Fault) -> None:
        if self.world.outside.unregister(self._machine(fault).member) is not None:
            self.world.count("seat_emptied")

    def _end_seat_emptied(self, fault: Fault) -> None:
        machine = self._machine(fault)
        self.world.outside.register(machine.member, machine.keys[-1])

    def _begin_account_update(self, fault: Fault) -> None:
        self._change_authority(fault)

    def _begin_account_update2(self, fault: Fault) -> None:
        self._change_authority(fault)

    def _change_authority(self, fault: Fault) -> None:
        """At the worst moment: if nothing is out now, wait until something is ready, or two rounds have passed."""
        world = self.world
        records = [record for _, record in world.auditor.state.walk(MS)]
        length = world.genesis.params.round_length
        waited = world.slot - fault.slot
        if not any(record.status == "ready" for record in records) and waited < 2 * length:
            world.clock.after(SLOT_MS, lambda: self._change_authority(fault) if world.slot < world.plan.quiet else None)
            return
        present = world.chain.ledger.accounts[GROUP].active
        authority = foolish(fault.n % 5, present, self._honest_keys())
        owner_too = bool(fault.n & 64)
        second = fault.kind == "account_update2"
        txid = world.outside.change_authority(authority, owner_too=owner_too, second=second)
        if txid is not None:
            world.auditor.foreign.add(txid)
            world.count(fault.kind)
            world.note("fault", "authority changed from outside", owner_too=owner_too, choice=fault.n % 5)

    def _begin_recover_account(self, fault: Fault) -> None:
        self._recover(fault)

    def _recover(self, fault: Fault) -> None:
        """First an owner to go back to, then the recovery account's request, then the recovery itself."""
        world, outside = self.world, self.world.outside
        account = world.chain.ledger.accounts[GROUP]
        keys = self._honest_keys()
        owner = one_key(keys[fault.n % len(keys)])
        if world.slot >= world.plan.quiet:
            return
        if not account.owner_history:
            txid = outside.change_authority(one_key(keys[0]), owner_too=True, second=False)
            if txid is not None:
                world.auditor.foreign.add(txid)
        elif GROUP not in world.chain.ledger.recovery_requests:
            outside.request_recovery(next(iter(world.members.values())), owner)
        elif fault not in self._owner_asked:
            asked, _ = world.chain.ledger.recovery_requests[GROUP]
            txid = outside.recover(asked, outside.keyring[asked.key_auths[0][0]])
            if txid is not None:
                self._owner_asked.add(fault)
                world.auditor.foreign.add(txid)
                world.count("recover_account")
            return
        world.clock.after(2 * SLOT_MS, lambda: self._recover(fault))

    def _honest_keys(self) -> list[bytes]:
        """Present signing keys of members that never cheat, the founder's first."""
        state = self.world.auditor.state
        return [
            member.signing_key
            for (name,), member in state.walk(NODE)
            if name not in self.world.plan.traitors and not member.leaving
        ]

    # -- what Hive refuses

    def _begin_no_credits(self, fault: Fault) -> None:
        self.world.count("no_credits")
        self._set_credits()

    def _end_no_credits(self, fault: Fault) -> None:
        self._set_credits()

    def _set_credits(self) -> None:
        """Also after a switch of forks, which may bring back what was before."""
        drained = any(fault.kind == "no_credits" for fault in self._active)
        self.world.outside.set_credits(0 if drained else self._vests)
