"""Records the life of a long world: each irreversible block into an archive, and what an auditor must find in it."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from node.devnet.founding import GROUP, RECEIVER, devnet_key
from node.errors import NodeError
from node.feed.archive import Archive
from node.genesis_text import to_toml
from node.sim.machine import Machine
from node.sim.outcome import Outcome
from node.sim.outside import STRANGER
from node.sim.plan import Fault, Plan
from node.sim.told import Teller, Told
from node.sim.world import World, keys_recovered_once
from processors.hive.block import Block
from processors.hive.chain import HIVE
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction, pack_transaction, transaction_id
from processors.hive.types import Asset
from state.schema import BALANCE, COLLATERAL, NODE
from state.snapshot import heights, read_manifest

ARCHIVE, GENESIS, TOLD = "archive", "genesis.toml", "told.json"
#: Slots between two looks of the operators after what a long life needs.
_UPKEEP = 400
_SNAPSHOTS_KEPT = 3
_BLOCKS_KEPT = 2_000
_LINES_KEPT = 4_000
#: Below so many tokens locked a member gets more; below so many smallest units the group gets its HIVE back.
_POOR, _ALMS, _FUNDS = 300, 400, 500_000

#: Told of each slot that is over.
Progress = Callable[[int], None]


class RecordedWorld(World):
    """A world that lives long: it writes down each block, and forgets what nobody needs any more."""

    def __init__(self, plan: Plan, scratch: Path, archive: Archive, progress: Progress) -> None:
        super().__init__(plan, scratch)
        self.teller = Teller(self.chain, self.genesis, self.auditor)
        self.auditor.heard = self._record
        self._archive = archive
        self._progress = progress

    def add_machine(self, name: str, account: str) -> Machine:
        machine = super().add_machine(name, account)
        machine.is_thrifty = True
        return machine

    def lied(self, fault: Fault, sent: list[Transaction]) -> None:
        super().lied(fault, sent)
        for tx in sent:
            self.teller.lies[transaction_id(pack_transaction(tx, self.chain.chain))] = fault.kind

    def _record(self, number: int) -> None:
        self._archive.append(self.network.block(number))
        self.teller.block(number)

    def _read(self, number: int) -> Block:
        """As before, but of the blocks that were read no more than the newest are kept."""
        if len(self._reader._known) > _BLOCKS_KEPT:
            self._reader._known.clear()
            self.network._blocks.clear()
        return super()._read(number)

    def _one_slot(self) -> None:
        super()._one_slot()
        del self.timeline[: max(0, len(self.timeline) - _LINES_KEPT)]
        if self.slot % _UPKEEP == 0:
            self._keep_snapshots()
            if self.auditor.height > self.genesis.start_block:
                self._keep_members()
                self._keep_funds()
        self._progress(self.slot)

    # -- what a long life needs

    def _keep_snapshots(self) -> None:
        """Each machine makes one now and then, so that no lost store is replayed from the genesis; few are kept, none
        of a fork that died. A machine that is gone keeps nothing."""
        for machine in self.machines.values():
            folder = machine.snapshots
            assert folder is not None
            if machine.is_gone:
                machine.disk.lose_store()
                machine.disk.files.clear()
                shutil.rmtree(folder, ignore_errors=True)
                continue
            machine.snapshot_wanted = True
            made = [height for height in heights(folder) if height <= self.auditor.height]
            true = [height for height in made if read_manifest(folder, height).root == self.auditor.roots.get(height)]
            for height in set(made) - set(true[-_SNAPSHOTS_KEPT:]):
                shutil.rmtree(folder / str(height))

    def _keep_members(self) -> None:
        """Who has lost registration or tokens by faults long past gets them back."""
        state = self.auditor.state
        left = {fault.who for fault in self.injector.active if fault.kind == "seat_emptied"}
        for name, member in self.members.items():
            entry, balance = state.get(NODE, name), state.get(BALANCE, name)
            locked = state.get(COLLATERAL, name)
            if (entry is None or entry.leaving) and name not in left:
                self.outside.register(member, self.machines[name].keys[-1])
            if locked is not None and locked.locked - locked.leaving >= _POOR:
                continue
            if balance is not None and balance.liquid >= _POOR:
                self.outside.custom_json(name, member.account_key, "gov_up", {"amount": balance.liquid // 2})
            else:
                gift = {"to": name, "amount": 2 * _ALMS}
                self.outside.custom_json(STRANGER, devnet_key(STRANGER), "send", gift)

    def _keep_funds(self) -> None:
        """Who was paid gives back, so that there is always something to pay."""
        accounts = self.chain.ledger.accounts
        if accounts[GROUP].balances[HIVE] >= _FUNDS:
            return
        for name in (RECEIVER, STRANGER):
            amount = accounts[name].balances[HIVE] // 2
            value: dict[str, Any] = {"from": name, "to": GROUP, "amount": Asset(amount, HIVE), "memo": "back"}
            self.outside.send([Operation("transfer", value)], [devnet_key(name)])


def record(plan: Plan, folder: Path, progress: Progress = lambda slot: None) -> tuple[Outcome, Told]:
    """Run a plan to its end, and write archive, genesis document and what is true of them into a new ``folder``.

    Raises NodeError if there is something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise NodeError(f"{folder} is not empty: name a new folder for the history")
    scratch = Path(tempfile.mkdtemp(prefix="waggle-sim-"))
    try:
        with keys_recovered_once(), Archive.open(folder / ARCHIVE, write=True) as archive:
            world = RecordedWorld(plan, scratch, archive, progress)
            folder.joinpath(GENESIS).write_text(to_toml(world.document))
            outcome = world.run()
            told = world.teller.tell(plan.seed, outcome.faults)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    folder.joinpath(TOLD).write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n")
    return outcome, told


def load_told(folder: Path) -> Told:
    """What a recorded history's world told. Raises NodeError."""
    path = folder / TOLD
    try:
        return msgspec.json.decode(path.read_bytes(), type=Told)
    except (OSError, msgspec.MsgspecError) as error:
        raise NodeError(f"{path}: {error}: record the history anew with waggle sim --record") from error
