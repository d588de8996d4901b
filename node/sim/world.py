"""The world of one seed: a chain, machines around it, faults, an auditor; one process, one thread, virtual time.

`run(plan)` is a function of the plan alone: the same seed at the same commit gives the same timeline to the byte.
"""

import shutil
import tempfile
import traceback
from hashlib import sha256
from pathlib import Path
from typing import Any

from node.devnet.chain import BLOCK_INTERVAL
from node.devnet.errors import HivedRefusalError
from node.devnet.founding import GROUP, found, genesis_document, member_keys, new_chain
from node.sim.audit import Auditor
from node.sim.clock import Clock
from node.sim.faults import Injector
from node.sim.judge import Judge
from node.sim.lies import lie
from node.sim.liveness import Liveness
from node.sim.machine import Applied, Machine
from node.sim.network import BlockReader, Network
from node.sim.outcome import Outcome, Violation
from node.sim.outside import Outsiders
from node.sim.plan import SLOT_MS, Fault, Plan
from processors.hive.transaction import Transaction, pack_transaction, transaction_id

#: Events of nodes that say too little for a timeline.
_QUIET_EVENTS = frozenset({"sent", "round", "start", "live", "api_error"})
_TIMELINE_KEPT = 200_000


class World:
    """One run. ``timeline`` holds readable lines: when, at which head, who, what."""

    def __init__(self, plan: Plan, scratch: Path | None) -> None:
        self.plan = plan
        self.clock = Clock()
        self.counts: dict[str, int] = {}
        self._counted: set[Fault] = set()
        self.timeline: list[str] = []
        self.members = {keys.account: keys for keys in map(member_keys, range(1, plan.members + 1))}
        self._digest = sha256()
        self._scratch = scratch
        self._reader = BlockReader()
        runners = list(self.members.values())[: plan.runners]
        self.chain = new_chain(
            list(self.members.values()), runners[0], rules=plan.parameters["hive_rules"], lag=plan.lag
        )
        length = plan.parameters["round_length"]
        self.genesis = found(
            genesis_document(
                runners,
                start_block=length,
                parameters=plan.parameters,
                collateral=plan.collateral,
                payouts=list(plan.payouts),
            )
        )
        for _ in range(length + plan.lag):
            self.chain.produce()
        self._born = self.chain.head_time
        self.network = Network(self.chain, self.clock, plan.seed, self.count_once)
        self.network.submit = self._submit
        self.network.group = GROUP
        self.outside = Outsiders(self.chain, self.genesis)
        self.auditor = Auditor(self.chain, self.genesis, self._reader)
        for keys in self.members.values():
            self.hold(keys.signing_key)
        self.machines: dict[str, Machine] = {}
        for name in self.members:
            self.add_machine(name, name)
        self.silent: set[str] = set()
        self.leaders_silent: Fault | None = None
        self.missing_until = 0  # slot before which no block is produced
        self.injector = Injector(self)
        self.liveness = Liveness(self)
        self.node_blocks = 0
        self.slot = 0
        self.judge = Judge(self)

    # -- what the parts of the world use

    def count(self, kind: str) -> None:
        """A fault took effect."""
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def count_once(self, fault: Fault) -> None:
        """A fault that lasts took effect: it counts once, however often it strikes."""
        if fault not in self._counted:
            self._counted.add(fault)
            self.count(fault.kind)

    def note(self, who: str, what: str, /, **fields: Any) -> None:
        """A line of the timeline."""
        shown = " ".join(f"{key}={value}" for key, value in fields.items())
        line = f"{self.clock.now / 1000:9.3f} {self.chain.head_number:5} {who:<12} {what} {shown}".rstrip()
        self._digest.update(line.encode() + b"\n")
        if len(self.timeline) < _TIMELINE_KEPT:
            self.timeline.append(line)

    def hold(self, key: Any) -> None:
        """Somebody holds this signing key from now on."""
        self.outside.keyring[key.public] = key
        self.auditor.keys.add(key.public)

    def folder(self, name: str) -> Path | None:
        """Where a machine's LevelDB lies, in a seed on disk."""
        return self._scratch / name if self._scratch is not None else None

    def add_machine(self, name: str, account: str) -> Machine:
        """A machine of a member, not started."""
        machine = Machine(
            name,
            self.members[account],
            self.genesis,
            self.network,
            self.clock,
            self,
            seed=self.plan.seed,
            folder=self.folder(name),
            poll_ms=self.plan.poll_ms,
            second_opinion=self.plan.second_opinion,
            reader=self._reader,
        )
        self.machines[name] = machine
        return machine

    def honest(self) -> list[Machine]:
        """The machines of members that never cheat."""
        return [m for m in self.machines.values() if m.account not in self.plan.traitors and not m.is_gone]

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
            counts=self.auditor.counts,
            digest=self._digest.hexdigest(),
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
        self.judge.compare_those_ahead()

    def _produce(self) -> None:
        block = self.chain.produce(self._born + self.slot * BLOCK_INTERVAL)
        for entry in block.transactions:
            known = self.auditor.known.get(entry.txid)
            if known is not None:
                self.note("chain", "included", op=known.op, kind=known.kind)

    # -- what nodes do (node.sim.machine.Watcher)

    def told(self, machine: Machine, event: str, fields: dict[str, object]) -> None:
        if event not in _QUIET_EVENTS:
            self.note(machine.name, event, **fields)
        if event == "diverged":
            if not machine.is_misled and machine.name not in self.network.reads_ahead:
                self.judge.fail("halted", f"{machine.name} differs from what was agreed")
            self.clock.after(SLOT_MS, lambda: self._mend(machine))

    def applied(self, machine: Machine, block: Applied) -> None:
        self.node_blocks += 1
        self._digest.update(f"{machine.name} {block.height} ".encode() + (block.trace or b"") + (block.root or b""))
        self.judge.applied(machine, block)

    def signed(self, machine: Machine, key: bytes, digest: bytes) -> None:
        self.judge.signed(machine, key, digest)

    def died(self, machine: Machine, error: BaseException) -> None:
        shown = "".join(traceback.format_exception(error))
        self.judge.fail("crash", f"{machine.name}: {shown}")

    # -- inside

    def _mend(self, machine: Machine) -> None:
        """The operator reads the alarm of a node that was misled: the store goes, the node replays."""
        if machine.is_up:
            machine.wipe()
            machine.start()
            self.note(machine.name, "wiped")

    def _submit(self, name: str, tx: Transaction) -> None:
        """A node's broadcast reaches a server."""
        machine = self.machines[name]
        is_groups = _is_groups(tx)
        if name in self.silent or (is_groups and self._leads(machine, tx)):
            return
        for fault in self.injector.lies_of(machine.account):
            sent = lie(fault.kind, tx, machine.member, machine.keys, self.genesis, self.auditor.rotations_out())
            if sent is not None:
                self.count_once(fault)
                for each in sent:
                    self.chain.submit(each)
                return
        try:
            self.chain.submit(tx)
        except HivedRefusalError as refusal:
            if is_groups and machine.account not in self.plan.traitors:
                self.judge.refused(machine, refusal)
            raise
        if is_groups:
            self.note(name, "broadcast", txid=transaction_id(pack_transaction(tx, self.chain.chain)).hex()[:16])

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


def run(plan: Plan) -> Outcome:
    """Run a plan to its end."""
    scratch = Path(tempfile.mkdtemp(prefix="waggle-sim-")) if plan.on_disk else None
    try:
        return World(plan, scratch).run()
    except Exception as error:  # noqa: BLE001 - a world that cannot even begin fails its seed, and no other
        shown = "".join(traceback.format_exception(error))
        return Outcome(plan.seed, "broken", shown, 0, 0, 0, plan.members, {}, {}, "")
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
