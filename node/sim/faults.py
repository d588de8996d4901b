"""Carries out a plan's faults: what begins at a slot, what ends, and what goes on at every slot between."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from node.devnet.chain import ForkPoint
from node.sim.disk import AFTER, BEFORE, MIDDLE, Backup
from node.sim.machine import Machine
from node.sim.people import PeoplesFaults
from node.sim.plan import SLOT_MS, Fault

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


class Injector(PeoplesFaults):
    """The faults of one run."""

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._waiting = sorted(world.plan.faults, key=lambda fault: fault.slot)
        self._backups: dict[Fault, Backup] = {}
        self._forks: dict[Fault, ForkPoint] = {}
        self._twins: dict[Fault, Machine] = {}
        self._holds: set[Fault] = set()

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
        if machine.tear(1 + fault.n % 12):
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
