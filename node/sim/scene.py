"""What stands on the stage of a run: chain, servers, machines, strangers, auditor; and the timeline of what happens.

The world moves it; faults, judge and liveness see no more than this.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from node.devnet.founding import GROUP, found, genesis_document, member_keys, new_chain
from node.signer.keys import SecretKey
from node.sim.audit import Auditor
from node.sim.clock import Clock
from node.sim.machine import Machine
from node.sim.network import BlockReader, Network
from node.sim.outside import Outsiders
from node.sim.plan import Fault, Plan
from node.sim.watched import Watcher
from processors.hive.block import Block
from state.schema import KEY

_TIMELINE_KEPT = 200_000


class Scene:
    """One run's things. ``timeline`` holds readable lines: when, at which head, who, what."""

    def __init__(self, plan: Plan, scratch: Path | None, watcher: Watcher) -> None:
        self.plan = plan
        self._watcher = watcher
        self.clock = Clock()
        self.counts: dict[str, int] = {}
        self._counted: set[Fault] = set()
        self.timeline: list[str] = []
        self.members = {keys.account: keys for keys in map(member_keys, range(1, plan.members + 1))}
        self.digest = sha256()
        self._scratch = scratch
        self._reader = BlockReader()
        runners = list(self.members.values())[: plan.runners]
        self.chain = new_chain(
            list(self.members.values()), runners[0], rules=plan.parameters["hive_rules"], lag=plan.lag
        )
        length = plan.parameters["round_length"]
        self.document = genesis_document(
            runners,
            start_block=length,
            parameters=plan.parameters,
            collateral=plan.collateral,
            balances=plan.balances,
            payouts=list(plan.payouts),
        )
        self.genesis = found(self.document)
        for _ in range(length + plan.lag):
            self.chain.produce()
        self.born = self.chain.head_time
        self.network = Network(self.chain, self.clock, plan.seed, self.count_once, plan.servers)
        self.network.group = GROUP
        self.outside = Outsiders(self.chain, self.genesis)
        self.auditor = Auditor(self.chain, self.genesis, self._read)
        for keys in self.members.values():
            self.hold(keys.signing_key)
        self.machines: dict[str, Machine] = {}
        self.silent: set[str] = set()
        self.leaders_silent: Fault | None = None
        self.missing_until = 0  # slot before which no block is produced
        self.slot = 0
        self.fail: Callable[[str, str], None] = lambda invariant, detail: None

    def _read(self, number: int) -> Block:
        """A block of the chain as it is now, proven."""
        block: Block = self._reader(self.network.block(number), self.genesis.chain)
        return block

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
        self.digest.update(line.encode() + b"\n")
        if len(self.timeline) < _TIMELINE_KEPT:
            self.timeline.append(line)

    def hold(self, key: SecretKey) -> None:
        """Somebody holds this signing key from now on."""
        self.outside.keyring[key.public] = key
        self.auditor.keys.add(key.public)

    def folder(self, name: str) -> Path | None:
        """Where a machine's LevelDB lies, in a seed on disk."""
        return self._scratch / name if self._scratch is not None and self.plan.on_disk else None

    def snapshots(self, name: str) -> Path | None:
        """Where snapshots of a machine lie, in a seed that has some."""
        return self._scratch / f"{name}-snapshots" if self._scratch is not None else None

    def add_machine(self, name: str, account: str) -> Machine:
        """A machine of a member, not started."""
        machine = Machine(
            name,
            self.members[account],
            self.genesis,
            self.network,
            self.clock,
            self._watcher,
            seed=self.plan.seed,
            folder=self.folder(name),
            snapshots=self.snapshots(name),
            poll_ms=self.plan.poll_ms,
            second_opinion=self.plan.second_opinion,
            reader=self._reader,
        )
        self.machines[name] = machine
        return machine

    def note_young(self, machine: Machine) -> None:
        """From now on its journal may lack signatures of the keys that the chain knows."""
        auditor, params = self.auditor, self.genesis.params
        if auditor.height <= self.genesis.start_block + 2 * params.round_length:
            return  # in the first round no key is older than a journal
        machine.held_at = auditor.irreversible_time()
        machine.held_keys = {key.public for key in machine.keys if auditor.state.get(KEY, key.public) is not None}

    def struck(self, fault: Fault) -> Machine:
        """The machine of the member that a fault strikes."""
        return self.machines[fault.who]

    def corrupted(self) -> set[str]:
        """The accounts of which a machine's state was changed behind its back."""
        return {machine.account for machine in self.machines.values() if machine.is_corrupted}

    def honest(self) -> list[Machine]:
        """The machines of members that never cheat."""
        return [m for m in self.machines.values() if m.account not in self.plan.traitors and not m.is_gone]
