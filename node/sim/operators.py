"""Faults that operators bring on or must mend: moved journals, snapshots, states taken back, damaged states."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from node.signer.approvals import confirmation
from node.sim.disk import Killed
from node.sim.machine import Machine
from node.sim.plan import SLOT_MS, Fault
from node.sim.scene import Scene
from node.sim.upkeep import begin_with, rewind
from state.errors import StateError
from state.layout import TABLES
from state.schema import BALANCE, COLLATERAL, NODE, QUEUE, STANDING
from state.snapshot import heights, read_manifest
from state.state import State
from state.table import Key, Table, encode_value
from state.view import View

Place = tuple[Table[Any], Key, Any]  # an entry, and the false value that it gets


class OperatorsFaults:
    """``begin_KIND``, ``during_KIND`` and ``end_KIND`` as in node.sim.people."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._sources: dict[Fault, Machine] = {}

    # -- moved journals

    def begin_journal_copied(self, fault: Fault) -> None:
        """The old machine is off before the new one begins: the operator may confirm that nobody else signed."""
        machine = self.scene.struck(fault)
        self.scene.count("journal_copied")
        machine.move()
        self.scene.note_young(machine)
        machine.restart_in(SLOT_MS * (1 + fault.n % 9))
        others = any(f.who == fault.who and f.kind in ("twin", "backup_restored") for f in self.scene.plan.faults)
        if fault.n % 2 and not others:
            self._later(1 + fault.n % 50, lambda: self._confirm(machine))

    def _confirm(self, machine: Machine) -> None:
        """`waggle journal confirm`, as soon as the journal of the new machine has begun."""
        journal = machine.journal
        if journal is None or journal.born is None or journal.is_moved:
            self._later(1, lambda: self._confirm(machine))
        elif machine.holds_back():
            before = machine.disk.files.get("approvals", b"")
            machine.disk.files["approvals"] = before + f"{confirmation(journal.born)}\n".encode()
            machine.held_at = None
            self.scene.count("journal_confirmed")
            self.scene.note(machine.name, "journal confirmed", height=journal.born.height)

    # -- snapshots

    def begin_snapshot_restored(self, fault: Fault) -> None:
        """Somebody makes a snapshot when the next round ends: the machine itself, or another member's."""
        others = [m for m in self.scene.honest() if m.snapshots is not None]
        own = self.scene.struck(fault)
        source = own if fault.n % 2 or not others else others[fault.n % len(others)]
        source.snapshot_wanted = True
        self._sources[fault] = source

    def end_snapshot_restored(self, fault: Fault) -> None:
        """The store is lost; a snapshot takes its place whose root the group has agreed on."""
        machine, folder = self.scene.struck(fault), self._sources.pop(fault).snapshots
        if folder is None:
            return
        for height in reversed(heights(folder)):
            if read_manifest(folder, height).root == self.scene.auditor.roots.get(height):
                begin_with(machine, folder, height)
                self.scene.count("snapshot_restored")
                self.scene.note(machine.name, "begins with a snapshot", height=height)
                machine.restart_in(SLOT_MS * (1 + fault.n % 9))
                return

    # -- the state taken back

    def begin_rewound(self, fault: Fault) -> None:
        """`waggle rewind` on the stopped machine, by a few blocks or by as many as can be undone."""
        machine = self.scene.struck(fault)
        keep = self.scene.genesis.params.trace_keep
        blocks = 1 + fault.n % (keep + keep // 4 if fault.n % 3 else 12)
        if rewind(machine, blocks):
            self.scene.count("rewound")
        machine.restart_in(SLOT_MS * (1 + fault.n % 9))

    # -- damaged states

    def begin_state_corrupted(self, fault: Fault) -> None:
        """A rule computes something else than it should, memory is changed, or bits on the disk: in turn."""
        machine = self.scene.struck(fault)
        core = machine.core
        is_well = core is not None and not (machine.is_misled or machine.is_corrupted or machine.is_halted)
        if core is None or not is_well or core.state.height < 0 or not self._can_do_without(machine):
            self._later(1, lambda: self.begin_state_corrupted(fault))
            return
        place = _place(core.state, fault.n // 3)
        strike = (self._in_a_rule, self._in_memory, self._on_disk)[fault.n % 3]
        strike(machine, core.state, place)

    def _can_do_without(self, machine: Machine) -> bool:
        """Whether the others could agree, and change the authority, if this one were false: it counts as a traitor."""
        scene = self.scene
        first = next((str(name) for (name,), _ in scene.auditor.state.walk(NODE)), "")
        rest = {m.account for m in scene.honest() if not m.is_halted} - scene.corrupted() - {machine.account}
        held, total, threshold = scene.auditor.weigh(rest)
        return machine.account != first and held >= threshold and 2 * held > total

    def _in_a_rule(self, machine: Machine, state: State, place: Place) -> None:
        """The next block changes one value more than the rules say: the undo records cover it."""
        table, key, false = place
        commit = state.commit

        def twisted(view: View, *, flush: bool = True) -> None:
            state.commit = commit  # type: ignore[method-assign]
            if view.get(table, *key) is not None:
                view.put(table, false, *key)
                self._struck(machine, place)
            commit(view, flush=flush)

        state.commit = twisted  # type: ignore[method-assign]

    def _in_memory(self, machine: Machine, state: State, place: Place) -> None:
        """A value changes between two blocks, and all that is computed from it: no undo record knows of it."""
        table, key, false = place
        raw = encode_value(false)
        state._take(table, key, false, raw)
        state._forest.change(table.name, table.key(key), raw)
        self._struck(machine, place)

    def _on_disk(self, machine: Machine, state: State, place: Place) -> None:
        """Bits of the store change while the process is dead: it must be noticed before a block is applied on it."""
        table, key, false = place
        machine.stop()
        try:
            machine.disk.flip(self.scene.genesis.hash, TABLES + table.store_key(key), encode_value(false))
        except (StateError, Killed):
            machine.restart_in(SLOT_MS)
            return
        self._struck(machine, place)
        machine.start()
        if machine.is_up:
            self.scene.fail("not_noticed", f"{machine.name} starts on a store that was changed: {table.name} {key}")

    def _struck(self, machine: Machine, place: Place) -> None:
        table, key, _ = place
        machine.is_corrupted = True
        self.scene.count("state_corrupted")
        self.scene.note("fault", f"struck state_corrupted {table.name} {key}", who=machine.name)

    def _later(self, slots: int, call: Callable[[], None]) -> None:
        """In some slots, unless the faults are over by then."""
        scene = self.scene
        scene.clock.after(slots * SLOT_MS, lambda: call() if scene.slot < scene.plan.quiet - 1 else None)


def _place(state: State, n: int) -> Place:
    """An entry that the rules do not soon write anew, with another number in it."""
    found: list[Place] = []
    numbers: tuple[tuple[Table[Any], str], ...]
    numbers = (COLLATERAL, "locked"), (BALANCE, "liquid"), (QUEUE, "amount"), (STANDING, "amount")
    for table, field in numbers:
        walk: Iterator[tuple[Key, Any]] = state.walk(table)
        entries = [(key, value) for key, value in walk if getattr(value, field) > 0]
        if entries:
            key, value = entries[n % len(entries)]
            found.append((table, key, msgspec.structs.replace(value, **{field: getattr(value, field) + 1 + n % 5_000})))
    return found[n % len(found)]
