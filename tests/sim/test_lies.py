"""What cheats send instead of what their nodes meant, and what the rules make of it."""

import json

import pytest

from node.devnet.founding import CHAIN, found, genesis_document, member_keys
from node.sim.lies import custom_json_of, lie
from node.sim.world import World
from processors.hive.crypto import recover
from processors.hive.operations import Operation, active_custom_json
from processors.hive.transaction import Transaction, pack_transaction, signing_digest
from processors.report import report_digest
from state.schema import REJECTED, ROUND
from tests.sim.tiny import fault, tiny

MEMBERS = [member_keys(number) for number in range(1, 4)]
ME = MEMBERS[1]
ROOT, ROTATION, PAYOUT = b"\x07" * 32, "40:30:5", "60:50:5"


@pytest.fixture(scope="module")
def genesis():
    return found(genesis_document(MEMBERS, start_block=20, parameters=tiny().parameters))


def sent(name, body, prefix="waggle_"):
    """A node's own transaction."""
    operation = active_custom_json(ME.account, prefix + name, json.dumps(body))
    return ME.account_key.sign_transaction(Transaction(7, 9, 1_767_226_000, (operation,)), CHAIN)


def report(genesis, root=ROOT):
    digest = report_digest(genesis.hash, 20, root, ME.account)
    header = {"num": 30, "pre": 5, "exp": 1_767_229_000}
    return {
        "v": 1,
        "height": 20,
        "root": root.hex(),
        "hdr": header,
        "ver": "1",
        "sig": ME.signing_key.sign(digest).hex(),
    }


def told(kind, tx, genesis, rotations=(ROTATION,)):
    return lie(kind, tx, ME, [ME.signing_key], genesis, set(rotations))


def body_of(tx, genesis):
    return custom_json_of(tx, genesis.prefix)


def is_signed_by_the_account(tx):
    digest = signing_digest(pack_transaction(tx, CHAIN), CHAIN)
    return [recover(sig, digest) for sig in tx.signatures] == [ME.account_key.public]


def test_a_false_root_is_another_root_under_a_true_signature(genesis):
    honest = sent("report", report(genesis))
    (false,) = told("false_root", honest, genesis)
    name, body = body_of(false, genesis)
    root = bytes.fromhex(body["root"])
    assert name == "report"
    assert root != ROOT
    assert len(root) == 32
    assert body == report(genesis, root)
    assert is_signed_by_the_account(false)


def test_a_false_root_is_the_same_whenever_it_is_told(genesis):
    honest = sent("report", report(genesis))
    assert told("false_root", honest, genesis) == told("false_root", honest, genesis)


def test_a_false_header_changes_the_expiration_and_nothing_else(genesis):
    (false,) = told("false_header", sent("report", report(genesis)), genesis)
    _, body = body_of(false, genesis)
    true = report(genesis)
    assert body == {**true, "hdr": {**true["hdr"], "exp": true["hdr"]["exp"] + 3}}
    assert is_signed_by_the_account(false)


def test_a_double_report_is_the_true_one_and_then_a_false_one(genesis):
    honest = sent("report", report(genesis))
    first, second = told("double_report", honest, genesis)
    assert first == honest
    assert [second] == told("false_root", honest, genesis)


def test_who_signs_no_rotation_sends_nothing_for_one_and_signs_the_rest(genesis):
    assert told("no_rotation_signature", sent("sig_submit", {"op": ROTATION, "sig": "1f"}), genesis) == []
    assert told("no_rotation_signature", sent("sig_submit", {"op": PAYOUT, "sig": "1f"}), genesis) is None


def test_who_refuses_sends_a_refusal_of_the_same_transaction(genesis):
    (false,) = told("refusing", sent("sig_submit", {"op": PAYOUT, "sig": "1f"}), genesis)
    assert body_of(false, genesis) == ("sig_refuse", {"op": PAYOUT, "why": "not_allowed"})
    assert is_signed_by_the_account(false)


@pytest.mark.parametrize("kind", ["false_root", "false_header", "double_report"])
def test_who_lies_in_reports_signs_honestly(genesis, kind):
    assert told(kind, sent("sig_submit", {"op": ROTATION, "sig": "1f"}), genesis) is None


@pytest.mark.parametrize("kind", ["no_rotation_signature", "refusing"])
def test_who_cheats_in_signing_reports_honestly(genesis, kind):
    assert told(kind, sent("report", report(genesis)), genesis) is None


@pytest.mark.parametrize("kind", ["false_root", "refusing", "no_rotation_signature"])
def test_what_is_not_ours_or_not_alone_goes_out_as_it_is(genesis, kind):
    operation = sent("report", report(genesis)).operations[0]
    other = Operation("transfer", {})
    for operations in ((operation, operation), (other,)):
        assert told(kind, Transaction(7, 9, 1_767_226_000, operations), genesis) is None
    assert told(kind, sent("report", report(genesis), prefix="other_"), genesis) is None


# -- in a group


def rejections(world, account):
    return {(entry.name, entry.code) for _, entry in world.auditor.state.walk(REJECTED) if entry.account == account}


def with_liar(kind, *, who="runner02", rounds=5):
    """A group of four, one of whom cheats from the first slot to the quiet; its seat is never needed."""
    world = World(tiny(fault(kind, 1, 79, who=who), runners=4, rounds=rounds, quiet_round=4, traitors=[who]), None)
    outcome = world.run()
    assert outcome.invariant == ""
    assert outcome.faults[kind] == 1  # once for the fault, however often it is told
    return world


def test_a_report_with_a_false_header_is_rejected_for_it():
    assert ("report", "wrong_header") in rejections(with_liar("false_header"), "runner02")


def test_the_second_of_two_reports_is_rejected():
    world = with_liar("double_report")
    assert {name for name, _ in rejections(world, "runner02")} == {"report"}
    assert rejections(world, "runner03") == set()


def test_a_false_root_is_taken_and_agrees_with_nobody():
    world = with_liar("false_root")
    assert rejections(world, "runner02") == set()
    agreed = [set(entry.agreed) for (height,), entry in world.auditor.state.walk(ROUND) if height < 60]
    assert len(agreed) == 2
    assert all("runner02" not in names and "runner03" in names for names in agreed)


def test_who_refuses_is_heard_and_the_rest_signs():
    world = with_liar("refusing")
    assert world.auditor.counts["confirmed"] > 0
    assert rejections(world, "runner02") == set()
