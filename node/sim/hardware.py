"""Faults of machines and of the chain: processes, disks, backups; irreversibility, forks, missed blocks."""

from collections.abc import Callable

from node.devnet.chain import ForkPoint
from node.sim.disk import AFTER, BEFORE, MIDDLE, Backup
from node.sim.machine import Machine
from node.sim.people import PeoplesFaults
from node.sim.plan import SLOT_MS, Fault
from node.sim.scene import Scene

_KILLS = {
    "kill_before_write": ("", BEFORE),
    "kill_mid_write": ("", MIDDLE),
    "kill_after_write": ("", AFTER),
    "kill_after_journal": ("journal", AFTER),
}


class MachinesFaults:
    """``begin_KIND``, ``during_KIND`` and ``end_KIND`` as in node.sim.people."""

    def __init__(self, scene: Scene, people: PeoplesFaults) -> None:
        self.scene = scene
        self._people = people
        self._backups: dict[Fault, tuple[Backup, bool]] = {}  # and whether the state in it was corrupted
        self._forks: dict[Fault, ForkPoint] = {}
        self._twins: dict[Fault, Machine] = {}
        self._holds: set[Fault] = set()

    def _counting(self, kind: str) -> Callable[[], None]:
        def count() -> None:
            self.scene.count(kind)
            self.scene.note("fault", f"struck {kind}")

        return count

    def _doom(self, fault: Fault) -> None:
        place, moment = _KILLS[fault.kind]
        count = 1 if place else 1 + fault.n % 30
        self.scene.struck(fault).doom(place, moment, count, self._counting(fault.kind))

    begin_kill_before_write = begin_kill_mid_write = begin_kill_after_write = begin_kill_after_journal = _doom

    # -- processes and disks

    def begin_kill_before_broadcast(self, fault: Fault) -> None:
        self.scene.struck(fault).die_at_broadcast = ("before", self._counting(fault.kind))

    def begin_kill_after_broadcast(self, fault: Fault) -> None:
        self.scene.struck(fault).die_at_broadcast = ("after", self._counting(fault.kind))

    def begin_pause(self, fault: Fault) -> None:
        self.scene.count("pause")
        self.scene.struck(fault).paused_until = fault.until * SLOT_MS

    def begin_down(self, fault: Fault) -> None:
        self.scene.count("down")
        self.scene.struck(fault).stop()

    def during_down(self, fault: Fault) -> None:
        self.scene.struck(fault).stop()

    def end_down(self, fault: Fault) -> None:
        self.scene.struck(fault).start()

    def begin_store_torn(self, fault: Fault) -> None:
        machine = self.scene.struck(fault)
        if machine.tear(1 + fault.n % 12):
            self.scene.count("store_torn")
        machine.restart_in(SLOT_MS * (1 + fault.n % 9))

    def begin_store_lost(self, fault: Fault) -> None:
        self.scene.count("store_lost")
        self.scene.struck(fault).wipe()
        self.scene.struck(fault).restart_in(SLOT_MS * (1 + fault.n % 9))

    def begin_backup_restored(self, fault: Fault) -> None:
        folder = self.scene.folder(f"backup-{fault.who}-{fault.slot}")
        machine = self.scene.struck(fault)
        self._backups[fault] = machine.disk.back_up(folder), machine.is_corrupted

    def end_backup_restored(self, fault: Fault) -> None:
        self.scene.count("backup_restored")
        backup, is_corrupted = self._backups.pop(fault)
        self.scene.struck(fault).restore(backup)
        self.scene.struck(fault).is_corrupted = is_corrupted
        self.scene.note_young(self.scene.struck(fault))
        self.scene.struck(fault).start()

    def begin_twin(self, fault: Fault) -> None:
        self.scene.count("twin")
        original = self.scene.struck(fault)
        name = f"{fault.who}-twin{len(self._twins)}"
        twin = self.scene.add_machine(name, fault.who)
        twin.keys = list(original.keys)
        if fault.n % 2 and self.scene.folder(name) is None:
            twin.disk.restore(original.disk.back_up(None))
        self._twins[fault] = twin
        twin.is_misled, twin.is_corrupted = original.is_misled, original.is_corrupted
        self.scene.note_young(twin)
        twin.start()

    def end_twin(self, fault: Fault) -> None:
        self._twins[fault].leave()

    # -- the chain

    def _hold(self, fault: Fault) -> None:
        chain = self.scene.chain
        if not self._holds:
            chain.held_at = chain.irreversible_number
        self._holds.add(fault)

    def _release(self, fault: Fault) -> None:
        self._holds.discard(fault)
        if not self._holds:
            self.scene.chain.held_at = None

    def begin_stall(self, fault: Fault) -> None:
        self.scene.count("stall")
        self._hold(fault)

    begin_reorg = _hold
    end_stall = end_reorg = _release

    def during_reorg(self, fault: Fault) -> None:
        """A third of the time in common, a third on the fork that dies, then the other."""
        third = (fault.until - fault.slot) // 3
        now = self.scene.slot - fault.slot
        if now == third:
            self._forks[fault] = self.scene.chain.fork_point()
        elif now == 2 * third and fault in self._forks:
            self._switch(fault)

    during_read_ahead = during_reorg

    def begin_read_ahead(self, fault: Fault) -> None:
        self.scene.count("read_ahead")
        self.scene.network.reads_ahead[fault.who] = self.scene.struck(fault).source
        self._hold(fault)

    def end_read_ahead(self, fault: Fault) -> None:
        self.scene.network.reads_ahead.pop(fault.who, None)
        self._release(fault)

    def _switch(self, fault: Fault) -> None:
        """Another fork wins; who read ahead stands on the dead one. A slot is missed, so that no block is equal."""
        chain, point = self.scene.chain, self._forks.pop(fault)
        if point.number > chain.head_number or point.number < chain.irreversible_number:
            return  # another switch went below it
        for number in range(point.number + 1, chain.head_number + 1):
            self.scene.network.orphans[number] = self.scene.network.block(number)
        self._forks = {f: p for f, p in self._forks.items() if p.number <= point.number}
        chain.switch_fork(point)
        self._people.set_credits()
        self.scene.count("reorg")
        self.scene.missing_until = max(self.scene.missing_until, self.scene.slot + 1)

    def begin_missed_blocks(self, fault: Fault) -> None:
        self.scene.count("missed_blocks")
        self.scene.missing_until = max(self.scene.missing_until, min(fault.until, fault.slot + 1 + fault.n % 30))
