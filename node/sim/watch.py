"""What nodes say, held against what was done to them: bans, halts, healing; and the operators who read it."""

from collections.abc import Callable
from typing import Any

from node.sim.judge import Judge
from node.sim.machine import Machine
from node.sim.plan import SLOT_MS, operator_of
from node.sim.scene import Scene
from node.sim.upkeep import repair
from state.schema import KEY, MS, SIG

#: An operator looks at an alarm within so many slots.
_LOOKS_WITHIN = 30


class Watch:
    """Hears every node's log."""

    def __init__(self, scene: Scene, judge: Judge) -> None:
        self._scene = scene
        self._judge = judge
        self._alarms = 0
        self._due: list[tuple[str, bytes, str, int]] = []  # (account, key, op, height at which its signature stood)
        self._hears: dict[str, Callable[[Machine, dict[str, Any]], None]] = {
            "diverged": self._diverged,
            "healed": self._healed,
            "still_diverged": self._still_diverged,
            "rewound": self._fork_left,
            "server_banned": self._banned,
            "signed_elsewhere": lambda machine, fields: scene.count("signed_elsewhere"),
            "repaired": lambda machine, fields: scene.count("repaired"),
            "hold": self._held,
        }
        scene.network.asked = self._asked

    def told(self, machine: Machine, event: str, fields: dict[str, Any]) -> None:
        """A line of a node's log."""
        hears = self._hears.get(event)
        if hears is not None:
            hears(machine, fields)

    # -- divergence

    def _diverged(self, machine: Machine, fields: dict[str, Any]) -> None:
        self._scene.count("diverged")
        is_struck = machine.is_misled or machine.is_corrupted or machine.name in self._scene.network.reads_ahead
        if not is_struck:
            self._judge.fail("halted", f"{machine.name} differs from what was agreed")

    def _healed(self, machine: Machine, fields: dict[str, Any]) -> None:
        """The node replayed what other servers gave: now it is where everybody is."""
        self._scene.count("healed")
        if machine.core is None:
            return
        auditor, state = self._scene.auditor, machine.core.state
        machine.is_corrupted = False
        machine.is_misled = state.head.block_id != auditor.ids.get(state.height, state.head.block_id)
        trace = state.trace(state.height)
        if not machine.is_misled and trace is not None and trace != auditor.traces.get(state.height, trace):
            self._judge.fail("healed_wrong", f"{machine.name} has another trace at {state.height} after it healed")
        for height, root in auditor.roots.items():
            own = state.root(height)
            if not machine.is_misled and own is not None and own != root:
                self._judge.fail("healed_wrong", f"{machine.name} has another root at {height} after it healed")

    def _still_diverged(self, machine: Machine, fields: dict[str, Any]) -> None:
        """It stays halted until its operator reads the alarm: a snapshot, or a replay."""
        self._alarms += 1
        self._scene.clock.after(SLOT_MS * (1 + self._alarms * 7 % _LOOKS_WITHIN), lambda: self._mend(machine))

    def _mend(self, machine: Machine) -> None:
        if machine.is_up and machine.is_halted:
            repair(machine)
            machine.start()

    def _fork_left(self, machine: Machine, fields: dict[str, Any]) -> None:
        self._scene.count("fork_left")

    # -- servers

    def _banned(self, machine: Machine, fields: dict[str, Any]) -> None:
        """Only who lied is banned."""
        server = int(fields["server"].removeprefix("http://server"))
        lied, misleads = self._scene.network.lied, self._scene.network.misleads.get(machine.name, ())
        if (machine.name, server) not in lied and operator_of(server) not in misleads:
            self._judge.fail("banned_for_nothing", f"{machine.name} bans server {server}: {fields['why']}")
        lied.discard((machine.name, server))
        machine.bans[server] = self._scene.clock.now + fields["seconds"] * 1000
        self._scene.count("banned")

    def _asked(self, name: str, server: int) -> None:
        """Who is banned is asked nothing until the ban is over."""
        machine = self._scene.machines[name]
        until = machine.bans.get(server)
        if until is None:
            return
        if self._scene.clock.now < until:
            self._judge.fail("asked_while_banned", f"{name} asks server {server}, which lied")
        del machine.bans[server]
        self._scene.count("ban_over")

    # -- journals

    def _held(self, machine: Machine, fields: dict[str, Any]) -> None:
        if fields["why"] == "young_journal":
            self._scene.count("journal_held")

    def round_ended(self, height: int) -> None:
        """The journal of a node that acts holds every signature of its keys that stood on chain a round ago, and does.

        One that is dropped meanwhile (its key is a signer no more) is not seen by a node that begins later.
        """
        scene = self._scene
        state = scene.auditor.state
        for account, key, op, stood in self._due:
            record = state.get(MS, op)
            stands = record is not None and state.get(SIG, op, key) is not None
            for machine in scene.machines.values() if stands else ():
                journal, keys = machine.journal, {held.public for held in machine.keys}
                is_theirs = machine.account == account and key in keys and machine.acted_at > stood
                if is_theirs and not machine.is_corrupted and not machine.is_misled and journal is not None:
                    assert record is not None
                    if not journal.has(record.payloads, record.txid):
                        words = f"{machine.name} acts at {machine.acted_at} and knows nothing of its signature of {op}"
                        self._judge.fail("journal_lacks", words)
        self._due = []
        for (signed, signer), _ in state.walk(SIG):
            assert isinstance(signer, bytes)
            owner = state.get(KEY, signer)
            if owner is not None and owner.account not in scene.plan.traitors:
                self._due.append((owner.account, signer, str(signed), height))
