"""A whole group in one process, on virtual time: what it does for its members, and what it must never do."""

import json
import random

import pytest
from msgspec.structs import replace

from node.devnet.founding import CHAIN, GROUP, member_keys
from node.devnet.watching import PARAMETERS, PAYOUT
from processors.authority import strict
from processors.genesis import pop_digest
from processors.hive.block import reference_prefix
from processors.hive.keys import public_key_to_text
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction, pack_transaction, signing_digest
from state.schema import AUTHORITY, DONE, MS, QUEUE, RUNNER, SIG, TALLY
from tests.node.test_core import any_state, new_group, run_to_founded, run_to_record

ROLES = ("owner", "active", "posting")


def authorities(group):
    """The group account's three authorities, as the chain has them: (threshold, keys)."""
    account = group.chain.ledger.accounts[GROUP]
    return [(getattr(account, role).weight_threshold, getattr(account, role).key_auths) for role in ROLES]


def held_by(*numbers):
    """What the authorities are when these members' keys hold the account."""
    ours = strict([member_keys(number).signing_key.public for number in numbers])
    return [(ours.threshold, ours.keys)] * 3


def irreversible(group):
    """The blocks that the group has applied."""
    return group.chain.blocks[: any_state(group).height]


def payments(group):
    """(block, transaction id, memo) of every transfer from the group account on chain."""
    return [
        (number, entry.txid, operation.value["memo"])
        for number, block in enumerate(irreversible(group), 1)
        for entry in block.transactions
        for operation in entry.tx.operations
        if operation.name == "transfer" and operation.value["from"] == GROUP
    ]


def group_transactions(group):
    """Ids of the group's own transactions that the chain includes."""
    return [
        entry.txid
        for block in irreversible(group)
        for entry in block.transactions
        if any(op.name == "custom_json" and op.value["required_auths"] == (GROUP,) for op in entry.tx.operations)
    ]


def ended(group, status):
    """Payloads with this end: number -> id of the transaction."""
    return {int(n): done.txid for (n,), done in any_state(group).walk(DONE) if done.status == status}


def same_roots(group):
    """Every node is at the same height and has the same root of every round."""
    state = any_state(group)
    for node in group.nodes.values():
        assert node.state.height == state.height
        assert node.halted_at is None
        for height in range(group.genesis.start_block, state.height + 1, group.genesis.params.round_length):
            assert node.state.root(height) == state.root(height)


def exactly_once(group):
    """The chain paid what the group confirmed, each payload in one transaction, nothing twice."""
    confirmed = ended(group, "confirmed")
    included = group_transactions(group)
    assert len(included) == len(set(included)) == len(set(confirmed.values()))
    assert set(included) == set(confirmed.values()), "what Hive included is what the group knows to be done"
    assert len(payments(group)) == sum(1 for txid in confirmed.values() if txid in {p[1] for p in payments(group)})


def register(group, member):
    """node_add by the member itself; then its node is started."""
    proof = member.signing_key.sign(pop_digest(group.genesis.hash, member.account)).hex()
    key = public_key_to_text(member.signing_key.public, CHAIN.address_prefix)
    body = {"domain": f"https://{member.account}.example", "signing_key": key, "pop": proof}
    value = {"required_auths": (member.account,), "required_posting_auths": (), "id": "waggle_node_add"}
    chain = group.chain
    tx = Transaction(
        chain.head_number & 0xFFFF,
        reference_prefix(chain.head_id),
        chain.head_time + 300,
        (Operation("custom_json", {**value, "json": json.dumps(body)}),),
    )
    signature = member.account_key.sign(signing_digest(pack_transaction(tx, CHAIN), CHAIN))
    chain.submit(replace(tx, signatures=(signature,)))
    group.join(member)


# -- founding


@pytest.mark.parametrize("rules", [27, 28])
def test_the_account_goes_from_its_givers_key_to_the_group(tmp_path, rules):
    """Under the rules before hardfork 28 a superfluous signature would be refused: there is none."""
    group = new_group(tmp_path, rules=rules, parameters={"header_lifetime": 900})
    group.run(10)
    assert authorities(group) == [(1, ((member_keys(1).signing_key.public, 1),))] * 3
    run_to_founded(group)
    assert authorities(group) == held_by(1, 2, 3, 4, 5)
    group.run_until(lambda: len(payments(group)) >= 4, 200)
    group.run(3)
    assert group.refusals == [], "Hive took every transaction at the first try"
    assert {done.status for _, done in any_state(group).walk(DONE)} == {"confirmed"}
    exactly_once(group)
    same_roots(group)


@pytest.mark.parametrize("rules", [27, 28])
def test_five_signatures_there_and_three_sent(tmp_path, rules):
    group = new_group(tmp_path, rules=rules)
    run_to_founded(group)
    group.run_until(lambda: len(payments(group)) >= 2, 100)
    sent = [e.tx for b in group.chain.blocks for e in b.transactions if e.tx.operations[0].name == "transfer"]
    assert len(sent[-1].signatures) == 3
    assert all(len(done.signers) == 5 for _, done in list(any_state(group).walk(DONE))[2:])


def test_fewer_than_min_signers_leave_the_account_with_its_giver(tmp_path):
    group = new_group(tmp_path, members=2)
    before = authorities(group)
    group.run(200)
    assert authorities(group) == before
    assert not any(p.kind == "rotation" for _, p in any_state(group).walk(QUEUE))
    same_roots(group)


@pytest.mark.parametrize("lag", [0, 1, 15])
def test_irreversibility_may_lag(tmp_path, lag):
    group = new_group(tmp_path, lag=lag, parameters={"round_length": 60, "report_at": 20})
    run_to_founded(group)
    assert authorities(group) == held_by(1, 2, 3, 4, 5)
    group.run_until(lambda: len(payments(group)) >= 2, 300)
    exactly_once(group)
    same_roots(group)


# -- joining


@pytest.mark.parametrize(("collateral", "rule"), [(100, "e"), (300, "e"), (301, "b"), (1_000, "b")])
def test_one_who_joins_alone_rotates_in_at_the_exact_tally(tmp_path, collateral, rule):
    """One of five is 20 % (no rule a), five known signers are enough (no rule c), the shape is ours (no rule d).

    The limit was 3 x 1,000 at founding; with the newcomer it is 3 x 1,000 + its collateral (four of six, the poorest):
    above 3,300 rule b rotates at the very tally that seats it, else rule e when wanted has differed for 6 tallies.
    """
    group = new_group(tmp_path, collateral={"runner06": collateral})
    run_to_founded(group)
    register(group, member_keys(6))
    state = any_state(group)
    group.run_until(lambda: state.get(RUNNER, "runner06") is not None, 200)
    seated = state.need(RUNNER, "runner06").since
    assert state.height == seated
    patience = PARAMETERS["rotation_patience"] - 1
    due = seated if rule == "b" else seated + patience * PARAMETERS["round_length"]
    while state.height < due:
        assert not any(payload.kind == "rotation" for _, payload in state.walk(QUEUE)), "not before"
        assert authorities(group) == held_by(1, 2, 3, 4, 5)
        group.step()
    assert any(payload.kind == "rotation" for _, payload in state.walk(QUEUE)), "and not later"
    assert state.need(TALLY).limit == 3_000 + min(collateral, 1_000)
    group.run_until(lambda: len(state.need(AUTHORITY, "active").keys) == 6, 40)
    group.run(2)
    assert authorities(group) == held_by(1, 2, 3, 4, 5, 6)
    assert state.need(TALLY).last == 3_000 + min(collateral, 1_000)
    same_roots(group)


# -- absence


def test_who_is_absent_loses_seat_and_key(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    group.silent |= {"runner04", "runner05"}
    state = any_state(group)
    group.run_until(lambda: sum(1 for _ in state.walk(RUNNER)) == 3, 200)
    group.run_until(lambda: len(state.need(AUTHORITY, "active").keys) == 3, 200)
    group.run(2)
    assert authorities(group) == held_by(1, 2, 3)
    exactly_once(group)
    same_roots(group)


def test_three_of_five_absent_stop_the_group_and_nothing_else(tmp_path):
    """Nobody can sign: the rounds are open, nothing is built, nobody is thrown out, and all goes on afterwards."""
    group = new_group(tmp_path)
    run_to_founded(group)
    group.run(2)
    group.silent |= {"runner03", "runner04", "runner05"}
    state = any_state(group)
    group.run_until(lambda: state.need(TALLY).open_rounds == 1, 60)
    group.run_until(lambda: not any(state.walk(MS)), 300)
    paid = len(payments(group))
    group.run(200)
    assert state.need(TALLY).open_rounds > 5
    assert len(payments(group)) == paid
    assert not any(state.walk(MS))
    assert sum(1 for _ in state.walk(RUNNER)) == 5
    group.silent.clear()
    group.run_until(lambda: len(payments(group)) > paid, 60)
    group.run(60)
    exactly_once(group)
    same_roots(group)


# -- the leader, expiry


def leader_of(group, op):
    state = any_state(group)
    group.run_until(lambda: state.need(MS, op).ready_at > 0, 20)
    return state.need(MS, op).order


@pytest.mark.parametrize("silent", [1, 2, 3, 4])
def test_a_silent_leader_costs_a_recast_and_so_does_each_that_follows(tmp_path, silent):
    """At ready the leader, at each recast one more, from the third on everybody."""
    group = new_group(tmp_path)
    run_to_founded(group)
    group.run(3)
    dead = set()
    group.refuses = lambda account, item: item.content.startswith("broadcast") and (not dead or account in dead)
    op = run_to_record(group)
    order = leader_of(group, op)
    dead |= set(order[:silent])
    ready = any_state(group).need(MS, op).ready_at
    group.run_until(lambda: any_state(group).get(MS, op) is None, 100)
    confirmed = any_state(group).height
    recasts = min(silent, 3)
    due = ready + recasts * PARAMETERS["recast_every"]
    assert due < confirmed <= due + 2 + group.chain.lag
    senders = {account for _, account, sent in group.broadcasts if sent == op}
    assert senders == (set(order) - dead if silent >= 3 else {order[silent]})
    exactly_once(group)


def test_what_nobody_signs_expires_and_is_paid_exactly_once_afterwards(tmp_path):
    group = new_group(tmp_path, payouts=[{**PAYOUT, "every": 100}], parameters={"payload_lifetime": 75})
    run_to_founded(group)
    group.refuses = lambda account, item: item.content.startswith("sign")
    first = run_to_record(group)
    state = any_state(group)
    record = state.need(MS, first)
    [number] = record.payloads
    group.run_until(lambda: state.get(MS, first) is None, 60)
    assert state.head.timestamp >= record.expiration, "an applied block said so"
    assert state.need(QUEUE, number).past == (record.txid,)
    group.refuses = lambda account, item: False
    group.run_until(lambda: state.get(QUEUE, number) is None, 60)
    done = state.need(DONE, number)
    assert (done.status, done.txid == record.txid) == ("confirmed", False)
    assert record.txid not in group.chain.included
    assert [txid for _, txid, _ in payments(group)].count(done.txid) == 1
    exactly_once(group)
    same_roots(group)


def test_a_node_that_never_learns_of_the_denial_holds_back(tmp_path):
    """From the second attempt on two servers must deny the first: until then nobody signs."""
    group = new_group(tmp_path, payouts=[{**PAYOUT, "every": 100}], parameters={"payload_lifetime": 75})
    run_to_founded(group)
    group.refuses = lambda account, item: item.content.startswith("sign")
    first = run_to_record(group)
    state = any_state(group)
    [number] = state.need(MS, first).payloads
    group.run_until(lambda: state.get(MS, first) is None, 60)
    group.refuses = lambda account, item: False
    group._denied = lambda txid: False
    group.run_until(lambda: state.need(QUEUE, number).out != "", 60)
    second = state.need(QUEUE, number).out
    group.run(5)
    assert not any(state.walk(SIG, second))
    assert ("hold", "not_denied") in {(event, fields.get("why")) for _, _, event, fields in group.events}
    group._denied = lambda txid: True
    group.run_until(lambda: state.get(QUEUE, number) is None, 60)
    exactly_once(group)


# -- exactly once, whatever is lost


@pytest.mark.parametrize("seed", range(10))
def test_exactly_once_whatever_is_lost_and_whoever_is_silent(tmp_path, seed):
    """Broadcasts are lost, doubled by others, or late; nodes fall silent and come back; lifetimes are short."""
    chance = random.Random(seed)
    loss = chance.choice([0.1, 0.3, 0.6, 0.9])
    payouts = [{**PAYOUT, "memo": f"payout {n}", "every": chance.choice([20, 40, 60])} for n in range(3)]
    parameters = {
        "payload_lifetime": 75,
        "rotation_lifetime": 90,
        "recast_every": 5,
        "max_merge": chance.choice([1, 20]),
    }
    group = new_group(
        tmp_path, rules=chance.choice([27, 28]), lag=chance.choice([0, 1, 4]), payouts=payouts, parameters=parameters
    )
    run_to_founded(group)
    late = []

    def lose(account, item):
        if chance.random() < 0.1:
            late.append((group.chain.head_number + chance.randrange(40), item.tx))
        return chance.random() < loss

    group.refuses = lose
    for _ in range(30):
        group.silent = set(chance.sample(sorted(group.nodes), chance.choice([0, 0, 1, 2])))
        for _ in range(10):
            for when, tx in list(late):
                if when <= group.chain.head_number:
                    late.remove((when, tx))
                    try:
                        group.chain.submit(tx)
                    except Exception as refusal:  # noqa: BLE001 - Hive refuses what is old
                        assert "HivedRefusal" in type(refusal).__name__
            group.step()
    group.silent = set()
    group.refuses = lambda account, item: False
    group.run(120)
    exactly_once(group)
    same_roots(group)
    memos = [memo for _, _, memo in payments(group)]
    for number in range(3):
        assert memos.count(f"payout {number}") <= group.chain.head_number // payouts[number]["every"]
    assert payments(group), "and once nothing is lost any more, it pays"
