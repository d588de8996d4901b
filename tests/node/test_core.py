"""A node without its wires: what it hands out, when it keeps still, and how it goes on after a restart."""

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from node import outbox
from node.agent import MAX_BROADCASTS_A_BLOCK, MAX_JSONS_A_BLOCK
from node.core import AGAIN_AFTER, LIVE_WITHIN, ChainView, NodeCore
from node.devnet.founding import GROUP, MemberKeys, found, genesis_document, member_keys, new_chain
from node.devnet.group import VirtualGroup
from node.devnet.watching import PARAMETERS, PAYOUT
from node.errors import JournalError
from node.outbox import Outbox
from node.outgoing import JSON_LIFETIME
from node.signer.journal import Journal
from node.signer.opinion import Opinion
from node.signer.policy import Policy
from node.signer.signer import Signer
from processors.hive.block import reference_prefix
from processors.hive.crypto import recover
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction, pack_transaction, signing_digest
from state.schema import AUTHORITY, BALANCE, DONE, MS, NODE, REPORT, RUNNER, SIG, Balance
from state.state import State
from state.store import LevelStore


def new_group(folder: Path, members: int = 5, *, rules: int = 28, lag: int = 1, **how) -> VirtualGroup:
    """A founded group on virtual time, every member's node started; ``how``: parameters, payouts, policy, ..."""
    keys = [member_keys(number) for number in range(1, members + 1)]
    spares = [member_keys(number) for number in range(members + 1, members + 3)]
    parameters = {**PARAMETERS, "hive_rules": rules, **how.get("parameters", {})}
    document = genesis_document(
        keys,
        start_block=parameters["round_length"],
        parameters=parameters,
        payouts=how.get("payouts", [PAYOUT]),
        collateral=how.get("collateral"),
    )
    group = VirtualGroup(
        new_chain(keys + spares, keys[0], rules=rules, lag=lag), found(document), folder, policy=how.get("policy")
    )
    for member in keys:
        group.join(member)
    return group


def any_state(group: VirtualGroup) -> State:
    """The state of the first node: every honest one has the same."""
    return group.nodes["runner01"].state


def run_to_record(group: VirtualGroup, kind: str = "payout") -> str:
    """Until a group transaction of ``kind`` is out; its id."""
    state = any_state(group)

    def ops():
        return [str(op) for (op,), record in state.walk(MS) if record.kind == kind]

    group.run_until(lambda: state.height > 0 and bool(ops()), 200)
    return ops()[0]


def run_to_founded(group: VirtualGroup) -> None:
    """Until the group holds its account."""
    state = any_state(group)
    everybody = len(group.genesis.runners)
    group.run_until(lambda: state.height > 0 and len(state.need(AUTHORITY, "active").keys) == everybody, 300)


def view_of(group: VirtualGroup, **fields) -> ChainView:
    """What the servers say, or something else."""
    chain = group.chain
    return replace(ChainView(chain.head_number, chain.head_time, chain.irreversible_number), **fields)


def contents(found) -> list[str]:
    return [item.content.partition(":")[0] for item in found]


# -- how far behind


@pytest.mark.parametrize(("behind", "acts"), [(0, True), (LIVE_WITHIN, True), (LIVE_WITHIN + 1, False), (500, False)])
def test_a_node_that_is_behind_does_nothing(tmp_path, behind, acts):
    group = new_group(tmp_path)
    group.silent.add("runner02")
    run_to_record(group)
    node = group.nodes["runner02"]
    top = node.state.height + behind
    view = view_of(group, irreversible_number=top, head_number=top + 1)
    assert bool(node.step(view, lambda txid: True)) == acts


def test_what_is_sent_waits_the_lag_longer(tmp_path):
    group = new_group(tmp_path)
    group.silent.add("runner02")
    run_to_record(group)
    node = group.nodes["runner02"]
    first = node.step(view_of(group), lambda txid: True)
    for item in first:
        node.sent(item)
    height = node.state.height
    for lag, passed, again in [(0, 19, False), (0, 20, True), (15, 34, False), (15, 35, True)]:
        node._outbox._sent = {item.content: height - passed for item in first}
        view = view_of(group, head_number=height + lag, irreversible_number=height)
        assert bool(node.step(view, lambda txid: True)) == again, (lag, passed)
    assert AGAIN_AFTER == 20


# -- what it hands out


def test_its_own_transactions_are_by_the_account_key_and_end_soon(tmp_path):
    group = new_group(tmp_path)
    group.silent.add("runner02")
    group.run(35)
    node = group.nodes["runner02"]
    [report] = node.step(view_of(group), lambda txid: True)
    digest = signing_digest(pack_transaction(report.tx, group.genesis.chain), group.genesis.chain)
    assert recover(report.tx.signatures[0], digest) == member_keys(2).account_key.public
    [operation] = report.tx.operations
    assert operation.value["required_auths"] == ("runner02",)
    assert operation.value["id"] == "waggle_report"
    assert json.loads(operation.value["json"])["height"] == 20
    assert report.tx.expiration == view_of(group).head_time + JSON_LIFETIME


def test_a_report_of_each_member_in_each_round_and_no_more(tmp_path):
    group = new_group(tmp_path)
    group.run(150)
    reports = [
        operation.value["required_auths"][0]
        for block in group.chain.blocks
        for entry in block.transactions
        for operation in entry.tx.operations
        if operation.name == "custom_json" and operation.value["id"] == "waggle_report"
    ]
    rounds = (any_state(group).height - 20) // 20
    assert {name: reports.count(name) for name in set(reports)} == {f"runner{n:02}": rounds for n in range(1, 6)}
    assert group.refusals == []


def test_at_most_four_signatures_and_four_broadcasts_a_block(tmp_path):
    payouts = [{**PAYOUT, "memo": f"payout {n}", "every": 20} for n in range(6)]
    many = {"max_in_flight": 20, "max_merge": 1}
    group = new_group(tmp_path, payouts=payouts, parameters=many)
    run_to_founded(group)
    group.run(12)  # what waited for the rotation is through
    state = any_state(group)
    assert not any(state.walk(MS))
    group.refuses = lambda account, item: not item.content.startswith(("report", "sign"))
    group.silent |= {"runner04"}
    group.run_until(lambda: sum(record.status == "ready" for _, record in state.walk(MS)) >= 6, 100)
    late = group.nodes["runner04"].step(view_of(group), lambda txid: True)
    assert contents(late).count("sign") == MAX_JSONS_A_BLOCK == 4
    assert contents(late).count("broadcast") <= MAX_BROADCASTS_A_BLOCK
    group.run_until(lambda: all(r.recasts >= 3 for _, r in state.walk(MS) if r.status == "ready"), 100)
    assert sum(r.status == "ready" for _, r in state.walk(MS)) > 4
    everything = group.nodes["runner03"].step(view_of(group), lambda txid: True)
    assert contents(everything).count("broadcast") == MAX_BROADCASTS_A_BLOCK == 4


def test_a_refused_broadcast_is_tried_at_the_next_block(tmp_path):
    group = new_group(tmp_path)
    tried = []
    group.refuses = lambda account, item: (
        item.content.startswith("broadcast") and (tried.append(group.chain.head_number) or len(tried) < 4)
    )
    op = run_to_record(group, "rotation")
    group.run_until(lambda: any_state(group).get(MS, op) is None, 30)
    assert tried == list(range(tried[0], tried[0] + 4)), "the leader, at four blocks running"
    assert len(group.broadcasts) == 1


def tries_of(node: NodeCore, group: VirtualGroup, content: str, blocks: int) -> list[int]:
    """The blocks, of so many, at which the node hands out ``content``; each time no server takes it."""
    found = []
    for _ in range(blocks):
        for item in node.step(view_of(group), lambda txid: True):
            if item.content == content:
                found.append(node.state.height)
                node.refused(item)
            else:
                node.sent(item)
        group.step()
    return found


def ready_payout(tmp_path: Path) -> tuple[VirtualGroup, NodeCore, str]:
    """A payout that every member may broadcast, and no other node gets through; the wish for it."""
    group = new_group(tmp_path, parameters={"payload_lifetime": 600})
    run_to_founded(group)
    group.silent.add("runner02")
    group.refuses = lambda account, item: item.content.startswith("broadcast")
    state = any_state(group)
    op = run_to_record(group, "payout")
    group.run_until(lambda: state.need(MS, op).recasts >= 3, 60)
    return group, group.nodes["runner02"], f"broadcast:{op}:{state.need(MS, op).ready_at}"


def test_what_no_server_takes_rests_1_2_4_up_to_32_blocks(tmp_path):
    group, node, content = ready_payout(tmp_path)
    tries = tries_of(node, group, content, 135)
    assert [after - before for before, after in pairwise(tries)] == [1, 2, 4, 8, 16, 32, 32, 32]
    assert outbox.LONGEST_REST == 32


def test_each_wish_rests_by_itself(tmp_path):
    group, node, content = ready_payout(tmp_path)
    found = node.step(view_of(group), lambda txid: True)
    [broadcast] = [item for item in found if item.content == content]
    for item in (broadcast, broadcast, broadcast, replace(broadcast, content="report:999999999")):
        node.refused(item)
    height = node.state.height
    assert node._outbox.resting == {content: (height + 4, 4), "report:999999999": (height + 1, 1)}
    assert content not in [item.content for item in node.step(view_of(group), lambda txid: True)]


def test_the_rest_is_forgotten_when_the_record_is_gone(tmp_path):
    group, node, content = ready_payout(tmp_path)
    tries_of(node, group, content, 10)
    assert list(node._outbox.resting) == [content]
    group.refuses = lambda account, item: False
    op = content.removeprefix("broadcast:").rpartition(":")[0]
    group.run_until(lambda: any_state(group).get(MS, op) is None, 30)
    assert node._outbox.resting, "no step of this node since then"
    node.step(view_of(group), lambda txid: True)
    assert node._outbox.resting == {}


def test_a_report_that_was_refused_is_forgotten_with_its_round(tmp_path):
    group = new_group(tmp_path)
    group.silent.add("runner02")
    group.run(35)
    node = group.nodes["runner02"]
    [report] = node.step(view_of(group), lambda txid: True)
    for rest in (1, 2):
        node.refused(report)
        assert node._outbox.resting == {"report:20": (node.state.height + rest, rest)}
    assert node.step(view_of(group), lambda txid: True) == []
    group.run(2)
    assert contents(node.step(view_of(group), lambda txid: True)) == ["report"]
    group.run(10)
    assert node.state.height >= 40
    node.step(view_of(group), lambda txid: True)
    assert node._outbox.resting == {}


# -- a node that differs


def corrupt(node: NodeCore) -> None:
    """Somebody wrote into this node's store."""
    view = node.state.view()
    view.put(BALANCE, Balance(1), "mallory")
    node.state.commit(view)
    assert node.state.get(BALANCE, "mallory") == Balance(1)


def test_a_node_whose_root_is_not_the_agreed_one_signs_nothing_any_more(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    state = any_state(group)
    bad = group.nodes["runner04"]
    corrupt(bad)
    group.run_until(lambda: bad.halted_at is not None, 60)
    halted = group.chain.head_number
    [told] = [(name, fields) for _, name, event, fields in group.events if event == "diverged"]
    assert told[0] == "runner04"
    assert told[1]["own_root"] == bad.state.root(bad.halted_at).hex() != state.root(bad.halted_at).hex()
    sent = []
    group.refuses = lambda account, item: sent.append((account, item.content)) or False
    group.run(120)
    assert {account for account, _ in sent} == {"runner01", "runner02", "runner03", "runner05"}
    assert bad.step(view_of(group), lambda txid: True) == []
    signed = [key for (op, key), _ in state.walk(SIG) if int(str(op).partition(":")[0]) > halted]
    assert member_keys(4).signing_key.public not in signed
    assert bad.state.height == state.height, "it goes on reading"
    assert {n.state.root(100) for a, n in group.nodes.items() if a != "runner04"} == {state.root(100)}


def test_between_the_lie_and_the_tally_it_holds_back_too(tmp_path):
    """Whoever has another root than the agreed one of the last tally holds every signature, halted or not."""
    group = new_group(tmp_path)
    run_to_founded(group)
    group.silent.add("runner04")
    run_to_record(group, "payout")
    bad = group.nodes["runner04"]
    start = bad.state.height // 20 * 20 - 20
    bad.state._pending.put(b"r" + start.to_bytes(8, "big"), bytes(32))
    found = bad.step(view_of(group), lambda txid: True)
    assert "sign" not in contents(found)
    assert ("hold", "no_agreement") in [(event, fields.get("why")) for _, _, event, fields in group.events]


# -- restart


class Restartable:
    """A node whose store, journal and outbox lie on disk, as `waggle run` has them."""

    def __init__(self, group: VirtualGroup, member: MemberKeys, folder: Path) -> None:
        self.group, self.member, self.folder = group, member, folder
        self.store: LevelStore

    def start(self) -> NodeCore:
        genesis, params = self.group.genesis, self.group.genesis.params
        self.store = LevelStore(self.folder / "state")
        state = State(self.store, genesis.hash, round_length=params.round_length, trace_keep=params.trace_keep)
        journal = Journal(self.folder / "journal", genesis.hash)
        signer = Signer([self.member.signing_key], journal, Policy(), genesis)
        outbox = Outbox(self.folder / "outbox.json")
        node = NodeCore(
            genesis, state, self.member.account, self.member.account_key, signer, outbox, "0.1.0", lambda *said: None
        )
        self.group.nodes[self.member.account] = node
        return node

    def kill(self) -> None:
        """Nothing is cleaned up but what the system itself lets go of."""
        del self.group.nodes[self.member.account]
        self.store.close()


@pytest.mark.parametrize("away", [0, 1, 7, 33])
def test_a_node_goes_on_after_a_restart_in_the_middle_of_a_round(tmp_path, away):
    group = new_group(tmp_path)
    disk = Restartable(group, member_keys(3), tmp_path / "three")
    disk.start()
    sent = []
    group.refuses = lambda account, item: sent.append((account, item.content)) or False
    run_to_record(group, "payout")
    group.step()
    for _ in range(5):
        disk.kill()
        group.run(away)
        disk.start()
        group.run(9)
    node = group.nodes["runner03"]
    state = any_state(group)
    assert node.state.height == state.height
    newest = state.height // 20 * 20
    assert node.state.root(newest) == state.root(newest)
    assert node.halted_at is None
    mine = [content for account, content in sent if account == "runner03"]
    assert len(mine) == len(set(mine)), "nothing twice: the outbox remembers"
    assert (state.get(RUNNER, "runner03") is None) == (away > 20), "absent for too long costs the seat, no more"


def test_without_its_outbox_it_sends_doubles_and_nothing_worse(tmp_path):
    group = new_group(tmp_path)
    disk = Restartable(group, member_keys(3), tmp_path / "three")
    disk.start()
    for _ in range(30):
        group.run(5)
        disk.kill()
        (disk.folder / "outbox.json").unlink(missing_ok=True)
        disk.start()
    state = any_state(group)
    assert [done.status for _, done in state.walk(DONE)] == ["confirmed"] * sum(1 for _ in state.walk(DONE))
    newest = state.height // 20 * 20
    assert group.nodes["runner03"].state.root(newest) == state.root(newest)
    assert state.get(NODE, "runner03") is not None


# -- the journal fails


def test_an_abstaining_second_opinion_is_told_once_and_signed_over(tmp_path, monkeypatch):
    monkeypatch.setattr("node.signer.policy.second_opinion", lambda tx, chain: Opinion(None, "beem is at a loss"))
    group = new_group(tmp_path)
    run_to_founded(group)
    told = [(name, fields["op"]) for _, name, event, fields in group.events if event == "abstained"]
    assert told and len(told) == len(set(told))


def test_a_recovery_of_the_account_is_an_alarm(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    founder = member_keys(1)
    authority = group.chain.ledger.accounts["stranger"].owner
    value = {
        "recovery_account": founder.account,
        "account_to_recover": GROUP,
        "new_owner_authority": authority,
        "extensions": (),
    }
    send(group, founder, Operation("request_account_recovery", value))
    group.run(4)
    alarms = [fields for _, name, event, fields in group.events if event == "alarm" and name == "runner03"]
    assert [(alarm["what"], alarm["account"]) for alarm in alarms] == [("request_account_recovery", founder.account)]


def send(group, member, operation):
    """Send an operation, signed by a member's account key."""
    chain = group.chain
    head = chain.head_number
    tx = Transaction(head & 0xFFFF, reference_prefix(chain.head_id), chain.head_time + 60, (operation,))
    digest = signing_digest(pack_transaction(tx, chain.chain), chain.chain)
    chain.submit(replace(tx, signatures=(member.account_key.sign(digest),)))


def test_when_the_journal_cannot_be_written_the_node_hands_out_no_signature(tmp_path, monkeypatch):
    group = new_group(tmp_path)
    group.silent.add("runner02")
    op = run_to_record(group, "payout")
    node = group.nodes["runner02"]

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(JournalError, match="nothing is signed"):
        node.step(view_of(group), lambda txid: True)
    monkeypatch.undo()
    assert any_state(group).get(SIG, op, member_keys(2).signing_key.public) is None
    assert any_state(group).get(REPORT, "runner02") is None
