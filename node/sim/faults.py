"""Carries out a plan's faults: what begins at a slot, what goes on at every slot, and what ends."""

from collections.abc import Callable

from node.sim.hardware import MachinesFaults
from node.sim.operators import OperatorsFaults
from node.sim.people import PeoplesFaults
from node.sim.plan import Fault
from node.sim.politics import Politics
from node.sim.scene import Scene

OF_SERVERS = frozenset({
    "api_timeout", "api_error", "api_late", "old_head", "gap", "other_fork", "tx_left_out", "tx_changed",
    "truncated_json", "huge_json", "broadcast_unheard", "broadcast_dropped", "clock_skew", "liar", "behind",
})  # fmt: skip
OF_TRAITORS = frozenset({"false_root", "false_header", "double_report", "no_rotation_signature", "refusing"})


class Injector:
    """The faults of one run."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._waiting = sorted(scene.plan.faults, key=lambda fault: fault.slot)
        self.active: list[Fault] = []
        people = PeoplesFaults(scene, self.active)
        self._hands = (people, MachinesFaults(scene, people), OperatorsFaults(scene), Politics(scene))

    def slot(self, slot: int) -> None:
        """Begin, go on with, and end what is due."""
        for fault in [fault for fault in self.active if fault.until < slot]:
            self.active.remove(fault)
            self._call("end", fault)
            self._scene.note("fault", f"end {fault.kind}", who=fault.who)
        while self._waiting and self._waiting[0].slot <= slot:
            fault = self._waiting.pop(0)
            self._scene.note("fault", fault.kind, who=fault.who, until=fault.until, server=fault.server, n=fault.n)
            self.active.append(fault)
            self._call("begin", fault)
        for fault in self.active:
            self._call("during", fault)
        if slot == self._scene.plan.quiet:
            self._calm()

    def lies_of(self, account: str) -> list[Fault]:
        """How a member cheats now."""
        return [fault for fault in self.active if fault.who == account and fault.kind in OF_TRAITORS]

    def handler(self, when: str, kind: str) -> Callable[[Fault], None] | None:
        """What is done for a kind of fault when it begins, at every slot while it lasts, or when it ends."""
        known = (getattr(hand, f"{when}_{kind}", None) for hand in self._hands)
        return next((found for found in known if found is not None), None)

    def _call(self, when: str, fault: Fault) -> None:
        if fault.kind in OF_SERVERS:
            if when == "begin":
                self._scene.network.windows.append(fault)
            elif when == "end":
                self._scene.network.windows.remove(fault)
            return
        handler = self.handler(when, fault.kind)
        if handler is not None:
            handler(fault)

    def _calm(self) -> None:
        """From here on nothing goes wrong: what has not struck does not strike, and everybody is switched on."""
        for machine in self._scene.machines.values():
            machine.disk.doom = None
            machine.die_at_broadcast = None
            machine.paused_until = 0
            machine.start()
