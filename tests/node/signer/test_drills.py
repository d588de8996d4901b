"""What operators will live through: old backups, lost and stolen keys, another machine, two machines at once.

In each nobody signs one payment twice, and the group goes on.
"""

import json
import shutil
from itertools import pairwise

import pytest

from node.assembly import open_state
from node.core import NodeCore
from node.devnet.founding import GROUP, devnet_key, member_keys
from node.devnet.group import VirtualGroup
from node.outbox import Outbox
from node.signer.approvals import Approvals, confirmation
from node.signer.backup import write_restored
from node.signer.journal import MARK, Journal
from node.signer.policy import Policy
from node.signer.signer import Signer
from processors.genesis import pop_digest
from processors.hive.crypto import recover
from processors.hive.keys import public_key_to_text
from processors.hive.operations import active_custom_json
from state.schema import AUTHORITY, DONE, MS, NODE, SIG
from state.store import MemoryStore
from tests.node.test_core import any_state, new_group, run_to_founded, run_to_record, send

ME = member_keys(2)
LIFETIME = 300  # seconds: 100 blocks
PARAMETERS = {"header_lifetime": LIFETIME, "payload_lifetime": LIFETIME, "rotation_lifetime": LIFETIME}


class Machine:
    """A node of a member: what it must keep lies in a folder; its state it can always make anew."""

    def __init__(self, group, folder, *keys, name="runner02"):
        self.group, self.folder, self.keys, self.name = group, folder, keys or (ME.signing_key,), name
        self.said = []

    def start(self):
        genesis = self.group.genesis
        self.journal = Journal(self.folder / "journal", genesis.hash)
        approvals = Approvals(self.folder / "approvals")
        signer = Signer(list(self.keys), self.journal, Policy(), genesis, approvals)
        state = open_state(genesis, MemoryStore())
        node = NodeCore(genesis, state, ME.account, ME.account_key, signer, Outbox(None), "0.1.0", self._log)
        self.group.nodes[self.name] = self.node = node
        return self

    def stop(self):
        del self.group.nodes[self.name]

    def _log(self, event, fields):
        self.said.append((self.group.chain.head_number, event, fields))

    def confirm(self):
        """What `waggle journal confirm` writes."""
        Approvals(self.folder / "approvals").add(confirmation(self.journal.born))

    def holds(self):
        """The heights at which it said that it holds a signature back for the age of its journal."""
        return [at for at, event, fields in self.said if (event, fields.get("why")) == ("hold", "young_journal")]

    def told(self, event):
        return [fields for _, name, fields in self.said if name == event]


@pytest.fixture
def group(tmp_path):
    """A founded group that pays every 40 blocks; the second member's node runs on a machine of its own."""
    found = new_group(tmp_path / "group", parameters=PARAMETERS)
    found.machine = Machine(found, tmp_path / "machine").start()
    run_to_founded(found)
    return found


def mine_on_chain(group, key=ME.signing_key):
    """(height, op) of each signature by the key that reached the chain."""
    found = []
    for number, operation in operations_on_chain(group):
        if operation.name == "custom_json" and operation.value["id"] == "waggle_sig_submit":
            body = json.loads(operation.value["json"])
            digest = group.digests.get(body["op"])
            if digest is not None and recover(bytes.fromhex(body["sig"]), digest) == key.public:
                found.append((number, body["op"]))
    return found


@pytest.fixture(autouse=True)
def digests(monkeypatch):
    """Every group remembers the digest of each group transaction that was out."""
    step = VirtualGroup.step

    def remembering(self, produce=True):
        found = step(self, produce)
        known = self.__dict__.setdefault("digests", {})
        for node in self.nodes.values():
            if node.state.height >= 0:
                known.update({str(op): record.digest for (op,), record in node.state.walk(MS)})
        return found

    monkeypatch.setattr(VirtualGroup, "step", remembering)


def never_twice(*journals):
    """No payload was signed in two transactions that could both be included."""
    by_payload = {}
    for journal in journals:
        for entry in journal.all_entries():
            by_payload.setdefault(entry.payload, {})[entry.txid] = entry
    for found in by_payload.values():
        entries = sorted(found.values(), key=lambda entry: entry.time)
        for before, after in pairwise(entries):
            assert before.expiration <= after.time, (before, after)


def operations_on_chain(group):
    """(height, operation) of everything in a block."""
    for number, block in enumerate(group.chain.blocks, 1):
        for entry in block.transactions:
            for operation in entry.tx.operations:
                yield number, operation


def paid_once(group):
    """What the account did is what the state says it did, each payload once; how many payouts that were."""
    done = [one for _, one in any_state(group).walk(DONE) if one.status == "confirmed"]
    names = [
        operation.name
        for number, operation in operations_on_chain(group)
        if number <= any_state(group).height and GROUP in (operation.value.get("from"), operation.value.get("account"))
    ]
    assert len(names) == len(done)
    return names.count("transfer")


def node_add(group, key):
    """`waggle join` with another signing key."""
    prefix = group.genesis.chain.address_prefix
    pop = key.sign(pop_digest(group.genesis.hash, ME.account)).hex()
    body = {"domain": "https://two.example", "signing_key": public_key_to_text(key.public, prefix), "pop": pop}
    send(group, ME, active_custom_json(ME.account, "waggle_node_add", json.dumps(body)))


def until_in(group, key):
    """Until a key stands in the active authority."""
    state = any_state(group)
    group.run_until(lambda: key.public in dict(state.need(AUTHORITY, "active").keys), 600)


# -- yesterday's backup


@pytest.mark.parametrize("how", ["written over", "another file", "keys restore"])
def test_yesterdays_backup_signs_nothing_until_what_it_lacks_is_dead(group, tmp_path, how):
    machine = group.machine
    group.run(20)
    shutil.copytree(machine.folder, tmp_path / "backup")
    known = len(machine.journal.all_entries())
    group.run(90)
    assert len(machine.journal.all_entries()) > known, "it signed since"
    today = machine.journal
    machine.stop()
    if how == "written over":
        shutil.copyfile(tmp_path / "backup/journal", machine.folder / "journal")
    else:
        machine.folder.rename(tmp_path / "away")
        if how == "another file":
            shutil.copytree(tmp_path / "backup", machine.folder)
        else:
            write_restored({"journal": (tmp_path / "backup/journal").read_bytes()}, machine.folder)
    machine.said.clear()
    machine.start()
    at = group.chain.head_number
    group.run(LIFETIME // 3 - 2)
    assert [op for height, op in mine_on_chain(group) if height > at + 1] == []
    assert machine.holds()
    group.run(90)
    later = [op for height, op in mine_on_chain(group) if height > at + LIFETIME // 3 - 2]
    assert later, "then it signs again"
    never_twice(today, machine.journal)
    assert paid_once(group)


def test_the_operator_who_knows_better_confirms(group, tmp_path):
    machine = group.machine
    machine.stop()
    machine.folder.rename(tmp_path / "away")
    shutil.copytree(tmp_path / "away", machine.folder)
    machine.start()
    run_to_record(group)
    group.run_until(machine.holds, 60)
    machine.confirm()
    before = len(mine_on_chain(group))
    group.run(50)
    assert len(mine_on_chain(group)) > before
    machine.stop()
    machine.start()
    group.run(50)
    assert not machine.journal.is_moved, "and that stays so"


# -- keys


def test_a_key_that_was_lost_is_replaced_and_leaves(group, tmp_path):
    """The old one is gone with its machine; the new one is made where the node runs from now on."""
    group.machine.stop()
    fresh = devnet_key("the second key of runner02")
    machine = Machine(group, tmp_path / "new machine", fresh).start()
    group.run(2)
    node_add(group, fresh)
    until_in(group, fresh)
    state = any_state(group)
    assert state.need(NODE, ME.account).ripe_key == fresh.public
    assert ME.signing_key.public not in dict(state.need(AUTHORITY, "active").keys)
    before = len(mine_on_chain(group, fresh))
    group.run(90)
    assert len(mine_on_chain(group, fresh)) > before
    assert machine.holds() == [], "a new key has signed nothing anywhere"
    assert paid_once(group)


def test_a_key_that_was_stolen_is_noticed_held_back_and_rotated_out(group, tmp_path):
    machine = group.machine
    group.run_until(lambda: not any(any_state(group).walk(MS)), 60)
    group.silent.add("runner02")  # the thief is quicker
    group.refuses = lambda account, item: item.content.startswith("broadcast")
    op = run_to_record(group)
    thief = member_keys(6)
    sig = ME.signing_key.sign(any_state(group).need(MS, op).digest).hex()
    send(group, thief, active_custom_json(thief.account, "waggle_sig_submit", json.dumps({"op": op, "sig": sig})))
    group.run(4)
    assert any_state(group).get(SIG, op, ME.signing_key.public) is not None
    [told] = machine.told("signed_elsewhere")
    assert told["op"] == op and "node_add" in told["remedy"]
    at = group.chain.head_number
    group.silent.clear()
    group.refuses = lambda account, item: False
    group.run(60)
    assert [one for height, one in mine_on_chain(group) if height > at + 1] == []
    assert machine.holds()
    fresh = devnet_key("the second key of runner02")
    machine.stop()
    machine.keys = (ME.signing_key, fresh)
    machine.start()
    group.run(2)
    node_add(group, fresh)
    until_in(group, fresh)
    assert ME.signing_key.public not in dict(any_state(group).need(AUTHORITY, "active").keys)
    group.run(60)
    assert mine_on_chain(group, fresh)
    never_twice(machine.journal)
    assert paid_once(group)


# -- machines


def test_another_machine_with_the_exported_journal_waits_for_the_operators_word(group, tmp_path):
    old = group.machine
    group.run(30)
    old.stop()
    moved = Machine(group, tmp_path / "new machine")
    journal = Journal(moved.folder / "journal", group.genesis.hash)
    assert journal.merge(old.journal.lines()) == len(old.journal.all_entries()) > 0
    moved.start()
    group.run_until(moved.holds, 60)
    moved.confirm()
    before = len(mine_on_chain(group))
    group.run(50)
    assert len(mine_on_chain(group)) > before
    never_twice(old.journal, moved.journal)


def test_a_fresh_journal_with_an_old_key_holds_for_a_header_lifetime(group, tmp_path):
    group.machine.stop()
    fresh = Machine(group, tmp_path / "new machine").start()
    at = group.chain.head_number
    group.run(LIFETIME // 3 - 2)
    assert [op for height, op in mine_on_chain(group) if height > at + 1] == []
    assert fresh.holds()
    group.run(60)
    assert [op for height, op in mine_on_chain(group) if height > at + LIFETIME // 3 - 2]
    never_twice(group.machine.journal, fresh.journal)


def test_at_the_founding_no_journal_is_young(tmp_path):
    group = new_group(tmp_path / "group", parameters=PARAMETERS)
    machine = Machine(group, tmp_path / "machine").start()
    run_to_founded(group)
    group.run(60)
    assert machine.holds() == []
    assert mine_on_chain(group)


def test_an_upgrade_from_the_first_release_holds_nothing(group):
    machine = group.machine
    group.run(20)
    machine.stop()
    lines = [json.loads(line) for line in (machine.folder / "journal").read_text().splitlines()]
    old = [line[:5] for line in lines if line[1] not in ("born", "key")]
    assert old
    (machine.folder / "journal").write_text("".join(json.dumps(line) + "\n" for line in old))
    (machine.folder / f"{MARK}journal").unlink()
    machine.start()
    before = len(mine_on_chain(group))
    group.run(60)
    assert machine.holds() == []
    assert len(mine_on_chain(group)) > before
    assert machine.journal.born is not None


def test_two_machines_with_one_key_never_sign_two_transactions_of_a_payload(group, tmp_path):
    """The second one began later: it keeps still while the first one signs."""
    second = Machine(group, tmp_path / "second", name="runner02 again").start()
    group.run(2 * LIFETIME // 3 + 40)
    assert second.holds()
    never_twice(group.machine.journal, second.journal)
    assert paid_once(group)


def test_two_machines_that_both_saw_the_key_when_it_was_new(tmp_path):
    group = new_group(tmp_path / "group", parameters=PARAMETERS)
    machines = [Machine(group, tmp_path / name, name=f"runner02 {name}").start() for name in ("a", "b")]
    del group.nodes["runner02"]
    run_to_founded(group)
    group.run(60)
    group.silent.add("runner02 a")  # one is slow
    group.refuses = lambda account, item: item.content.startswith("broadcast")
    run_to_record(group)
    group.run(6)
    assert machines[0].told("signed_elsewhere"), "the slow one learns that it is not alone"
    group.silent.clear()
    group.refuses = lambda account, item: False
    group.run(60)
    assert machines[0].holds()
    never_twice(*(machine.journal for machine in machines))
    assert paid_once(group)
