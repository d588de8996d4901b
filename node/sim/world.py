"""The world of one seed: a chain, machines around it, faults, an auditor; one process, one thread, virtual time.

`run(plan)` is a function of the plan alone: the same seed at the same commit gives the same timeline to the byte.
"""

import shutil
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from node.devnet.chain import BLOCK_INTERVAL
from node.devnet.errors import HivedRefusalError
from node.devnet.founding import GROUP
from node.sim.faults import Injector
from node.sim.judge import Judge
from node.sim.lies import lie
from node.sim.liveness import Liveness
from node.sim.machine import Machine
from node.sim.outcome import Outcome, Violation
from node.sim.plan import SLOT_MS, Fault, Plan
from node.sim.scene import Scene
from node.sim.watch import Watch
from node.sim.watched import Applied
from processors.hive import crypto
from processors.hive.transaction import Transaction, pack_transaction, transaction_id

#: Events of nodes that say too little for a timeline.
_QUIET_EVENTS = frozenset({"sent", "round", "start", "live", "api_error"})


class World(Scene):
    """A scene that runs: slot after slot, nodes and faults, then the checks."""

    def __init__(self, plan: Plan, scratch: Path | None) -> None:
        super().__init__(plan, scratch, self)
        self.network.submit = self._submit
        for name in self.members:
            self.add_machine(name, name)
        self.injector = Injector(self)
        self.liveness = Liveness(self)
        self.judge = Judge(self)
        self.watch = Watch(self, self.judge)
        self.node_blocks = 0

    # -- the run

    def run(self) -> Outcome:
        """All slots; what became of them."""
        failure: Violation | None = None
        try:
            for machine in list(self.machines.values()):
                machine.start()
            for slot in range(1, self.plan.slots + 1):
                self.slot = slot
                self._one_slot()
            self.liveness.check_end()
            self.auditor.replay()
        except Violation as violation:
            failure = violation
            self.note("world", "VIOLATION", invariant=violation.invariant, detail=violation.detail)
        except Exception as error:  # noqa: BLE001 - the auditor's own replica broke, or the world: that fails the seed
            failure = Violation("broken", "".join(traceback.format_exception(error)))
        finally:
            for machine in self.machines.values():
                machine.stop()
        return Outcome(
            seed=self.plan.seed,
            invariant=failure.invariant if failure else "",
            detail=failure.detail if failure else "",
            slot=self.slot,
            blocks=self.chain.head_number,
            node_blocks=self.node_blocks,
            nodes=self.plan.members,
            faults=dict(sorted(self.counts.items())),
            counts={**self.auditor.counts, **self.auditor.treasurer.counts},
            digest=self.digest.hexdigest(),
            timeline=tuple(self.timeline),
        )

    def _one_slot(self) -> None:
        self.injector.slot(self.slot)
        if self.slot == self.plan.quiet:
            self.liveness.begin()
        if self.slot >= self.missing_until:
            self._produce()
        self.clock.run_until(self.slot * SLOT_MS)
        if self.judge.failure is not None:
            raise self.judge.failure
        rotations = self.auditor.counts["rotations"]
        in_flight = self.auditor.payouts_out()
        for height in self.auditor.follow():
            if self.auditor.counts["rotations"] > rotations and in_flight:
                rotations = self.auditor.counts["rotations"]
                self.count("payout_across_rotation")
            self.liveness.at(height)
            if height % self.genesis.params.round_length == 0:
                self.watch.round_ended(height)
        self.judge.compare_those_ahead()
        self.judge.settle()

    def _produce(self) -> None:
        block = self.chain.produce(self.born + self.slot * BLOCK_INTERVAL)
        for entry in block.transactions:
            known = self.auditor.known.get(entry.txid)
            if known is not None:
                self.note("chain", "included", op=known.op, kind=known.kind)

    # -- what nodes do (node.sim.machine.Watcher)

    def told(self, machine: Machine, event: str, fields: dict[str, object]) -> None:
        if event not in _QUIET_EVENTS:
            self.note(machine.name, event, **{name: value for name, value in fields.items() if name != "evidence"})
        self.watch.told(machine, event, fields)

    def applied(self, machine: Machine, block: Applied) -> None:
        self.node_blocks += 1
        self.digest.update(f"{machine.name} {block.height} ".encode() + (block.trace or b"") + (block.root or b""))
        self.judge.applied(machine, block)

    def signed(self, machine: Machine, key: bytes, digest: bytes) -> None:
        self.judge.signed(machine, key, digest)

    def died(self, machine: Machine, error: BaseException) -> None:
        shown = "".join(traceback.format_exception(error))
        self.judge.fail("crash", f"{machine.name}: {shown}")

    def lied(self, fault: Fault, sent: list[Transaction]) -> None:
        """A member that cheats sends this in place of what its node wanted to send."""
        self.count_once(fault)

    # -- inside

    def _submit(self, name: str, tx: Transaction) -> None:
        """A node's broadcast reaches a server."""
        machine = self.machines[name]
        is_groups = _is_groups(tx)
        if machine.is_halted:
            self.judge.fail("halted_sends", f"{name} sends something though the group agreed on another root")
        if name in self.silent or (is_groups and self._leads(machine, tx)):
            return
        for fault in self.injector.lies_of(machine.account):
            sent = lie(fault.kind, tx, machine.member, machine.keys, self.genesis, machine.rotations())
            if sent is not None:
                self.lied(fault, sent)
                for each in sent:
                    self.chain.submit(each)
                return
        try:
            txid = self.chain.submit(tx)
        except HivedRefusalError as refusal:
            if is_groups and machine.account not in self.plan.traitors:
                self.judge.refused(machine, refusal)
            raise
        if is_groups:
            self.note(name, "broadcast", txid=txid.hex()[:16])

    def _leads(self, machine: Machine, tx: Transaction) -> bool:
        txid = transaction_id(pack_transaction(tx, self.chain.chain))
        if self.leaders_silent is not None and txid in self.auditor.led_by(machine.account):
            self.count_once(self.leaders_silent)
            return True
        return False


def _is_groups(tx: Transaction) -> bool:
    """Whether a transaction is one of the group's: its last operation confirms it."""
    last = tx.operations[-1]
    return last.name == "custom_json" and tuple(last.value["required_auths"]) == (GROUP,)


@contextmanager
def keys_recovered_once() -> Iterator[None]:
    """Every machine of a world recovers the same keys from the same signatures: here each is computed once."""
    genuine = crypto._recover
    crypto._recover = lru_cache(maxsize=1 << 16)(genuine)
    try:
        yield
    finally:
        crypto._recover = genuine


def run(plan: Plan) -> Outcome:
    """Run a plan to its end."""
    has_files = plan.on_disk or any(fault.kind == "snapshot_restored" for fault in plan.faults)
    scratch = Path(tempfile.mkdtemp(prefix="waggle-sim-")) if has_files else None
    try:
        with keys_recovered_once():
            return World(plan, scratch).run()
    except Exception as error:  # noqa: BLE001 - a world that cannot even begin fails its seed, and no other
        shown = "".join(traceback.format_exception(error))
        return Outcome(plan.seed, "broken", shown, 0, 0, 0, plan.members, {}, {}, "")
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
