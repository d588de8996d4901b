"""A group transaction in words: its id and digest come from its bytes alone, and another library finds the same."""

from hashlib import sha256

import pytest

from node.devnet.founding import CHAIN, GROUP
from node.explain import decode, ended, explain, operation_ids, payload_number, words
from node.signer.opinion import second_opinion
from processors.hive.errors import HiveDataError
from processors.hive.operations import parse_operation
from processors.hive.transaction import Transaction, pack_transaction, unpack_transaction
from processors.offered import OFFERED
from state.schema import DECIDED, EMERGENCY, MS, QUEUE
from tests.node.council import all_say, approve, done, governed, out, propose, say, seen, transfer
from tests.node.test_core import any_state, new_group, run_to_record
from tests.processors.offers import ALSO_GOOD, GOOD

ABSTAINS = {"recurrent_transfer"}  # beem does not know it


def built(*ops):
    """The bytes of a transaction of these operations."""
    operations = tuple(parse_operation(one, CHAIN) for one in ops)
    return pack_transaction(Transaction(7, 3735928559, 1_767_229_200, operations), CHAIN)


CONFIRMING = ["custom_json", {**GOOD["custom_json"], "id": "waggle_ms_signed", "json": '{"op":"1:2:3"}'}]


# -- the digest


@pytest.mark.parametrize("name", [*GOOD])
def test_the_digest_is_that_of_another_library(name):
    packed = built([name, GOOD[name]], CONFIRMING)
    found = decode(packed, CHAIN)
    opinion = second_opinion(unpack_transaction(packed, CHAIN), CHAIN)
    assert (opinion.packed is None) == (name in ABSTAINS), opinion.why
    theirs = opinion.packed or packed
    assert found.digest == sha256(CHAIN.chain_id + theirs).hexdigest()
    assert found.txid == sha256(theirs).hexdigest()[:40]


@pytest.mark.parametrize(("name", "fields"), ALSO_GOOD)
def test_at_the_edge_of_what_is_allowed_too(name, fields):
    packed = built([name, {**GOOD[name], **fields}])
    opinion = second_opinion(unpack_transaction(packed, CHAIN), CHAIN)
    if opinion.packed is not None:
        assert decode(packed, CHAIN).digest == sha256(CHAIN.chain_id + opinion.packed).hexdigest()
    else:
        assert opinion.why and not opinion.failed


def test_of_every_operation_there_is_one_here():
    assert GOOD.keys() == OFFERED


@pytest.mark.parametrize("position", [0, 5, 9, -3])
def test_a_changed_byte_is_another_digest_or_no_transaction(position):
    packed = bytearray(built(["transfer", GOOD["transfer"]]))
    before = decode(bytes(packed), CHAIN)
    packed[position] ^= 1
    try:
        after = decode(bytes(packed), CHAIN)
    except HiveDataError:
        return
    assert (after.digest, after.txid) != (before.digest, before.txid)
    assert after.digest != before.digest and after.txid != before.txid


@pytest.mark.parametrize("more", [b"\0", b"\0\0", b"x"])
def test_bytes_that_are_more_than_a_transaction(more):
    with pytest.raises(HiveDataError):
        decode(built(["transfer", GOOD["transfer"]]) + more, CHAIN)


@pytest.mark.parametrize("raw", [b"", b"\0", bytes(10), b"\xff" * 300])
def test_bytes_that_are_none(raw):
    with pytest.raises(HiveDataError):
        decode(raw, CHAIN)


# -- words


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("transfer", {}, "pay 1.000 TESTS to receiver, memo 'für Bob'"),
        ("transfer", {"memo": "a\tb\n' or 1"}, 'pay 1.000 TESTS to receiver, memo "a\\tb\\n\' or 1"'),
        ("transfer_to_savings", {}, "move 0.001 TBD into the savings of receiver, memo ''"),
        ("transfer_from_savings", {}, f"take 1.000 TBD out of savings for {GROUP} (request 0), memo ''"),
        ("delegate_vesting_shares", {}, "delegate 1.000000 VESTS to receiver"),
        ("account_witness_vote", {}, "vote for witness witness"),
        ("account_witness_vote", {"approve": False}, "take the vote back from witness witness"),
        ("account_witness_proxy", {}, "let 'receiver' vote for witnesses (empty = nobody)"),
        ("account_witness_proxy", {"proxy": ""}, "let '' vote for witnesses (empty = nobody)"),
        ("update_proposal_votes", {}, "support no more Hive's proposals 0, 7"),
        ("update_proposal_votes", {"approve": True}, "support Hive's proposals 0, 7"),
        ("recurrent_transfer", {}, "pay 1.000 TESTS to receiver every 24 hours, 2 times, memo ''"),
        ("custom_json", {}, 'say game: {"a":[1,"b"]}'),
    ],
)
def test_each_operation_in_a_line(name, changes, said):
    assert words(parse_operation([name, {**GOOD[name], **changes}], CHAIN), CHAIN) == said


def test_what_has_no_words_of_its_own_is_shown_as_it_is():
    value = {"from": GROUP, "to": "receiver", "amount": "1.000 TESTS"}
    said = words(parse_operation(["transfer_to_vesting", value], CHAIN), CHAIN)
    assert said == f"transfer_to_vesting {value}"


@pytest.mark.parametrize("name", [*GOOD])
def test_the_words_name_whoever_gets_something_and_how_much(name):
    fields = GOOD[name]
    said = words(parse_operation([name, fields], CHAIN), CHAIN)
    for field in ("to", "delegatee", "amount", "vesting_shares", "proxy", "witness"):
        assert str(fields.get(field, "")) in said
    assert "\n" not in said


# -- what the state holds


@pytest.fixture
def group(tmp_path):
    return governed(tmp_path)


def test_a_transaction_that_waits_for_signatures(group):
    payload, op = out(group, transfer(memo="for March"))
    state = any_state(group)
    found = explain(state, group.genesis, op)
    assert (found.op, found.kind, found.status, found.payloads) == (op, "payout", "collecting", (payload,))
    decoded = decode(bytes.fromhex(found.tx), CHAIN)
    assert (decoded.txid, decoded.digest) == (found.txid, found.digest)
    assert decoded.words[0] == "pay 1.000 TESTS to receiver, memo 'for March'"
    assert decoded.expiration == found.expiration
    assert found.left == found.expiration - state.head.timestamp > 0
    [role] = found.roles
    assert (role.role, role.needed, role.collected, role.missing) == ("active", 2, 0, 2)
    assert sorted(signer.account for signer in found.signers) == ["runner01", "runner02", "runner03"]
    assert {signer.signed for signer in found.signers} == {0}
    assert found.due == (), "nobody may broadcast it yet"


def test_who_has_signed_and_who_may_broadcast(group):
    payload = approve(group, transfer())
    group.refuses = lambda account, item: item.content.startswith("broadcast")
    state = any_state(group)
    group.run_until(lambda: any(record.status == "ready" for _, record in state.walk(MS)), 100)
    group.run(2)
    op = state.need(QUEUE, payload).out
    found = explain(state, group.genesis, op)
    assert found.roles[0].missing == 0
    assert all(found.built < signer.signed <= state.height for signer in found.signers)
    assert found.due == found.order[:1], "the leader first"
    group.run_until(lambda: state.need(MS, op).recasts >= 3, 100)
    assert explain(state, group.genesis, op).due == ("*",)


def test_a_rotation_names_the_keys_that_it_sets(tmp_path):
    group = new_group(tmp_path, 3)
    group.refuses = lambda account, item: item.content.startswith("sign")
    op = run_to_record(group, "rotation")
    found = explain(any_state(group), group.genesis, op)
    said = decode(bytes.fromhex(found.tx), CHAIN).words[0]
    assert found.kind == "rotation" and said.startswith("set the account's authorities; owner: 2 of TST")
    assert said.count("TST") == 9 and "memo" not in said
    assert [signer.account for signer in found.signers] == ["runner01"], "the giver's key holds the account"


def test_a_marked_one_and_a_refused_one(group):
    _, op = out(group, transfer(), transfer(to="stranger"))
    say(group, "runner02", "sig_refuse", op=op, why="over_limit")
    seen(group)
    [refusal] = explain(any_state(group), group.genesis, op).refusals
    assert (refusal.account, refusal.why) == ("runner02", "over_limit")
    all_say(group, "ms_cancel", op=op)
    found = explain(any_state(group), group.genesis, op)
    assert (found.status, found.due) == ("cancelled", ())


# -- what is meant


def test_an_id_a_payload_and_the_beginning_of_a_hive_id(group):
    payload, op = out(group, transfer())
    state = any_state(group)
    txid = state.need(MS, op).txid.hex()
    for text in (op, f"p{payload}", txid, txid[:8], txid[:-1]):
        assert operation_ids(state, text) == [op], text
    for text in ("", "p", "p0", f"p{payload + 1}", str(payload), txid[:7], txid + "0", op[:-1], "é"):
        assert operation_ids(state, text) == [], text


@pytest.mark.parametrize(
    ("text", "number"),
    [("p7", 7), ("p07", 7), ("7", None), ("p", None), ("", None), ("p-1", None), ("p1.0", None), ("p²", None)],
)
def test_what_is_a_payload(text, number):
    assert payload_number(text) == number


def test_no_number_is_so_long_that_it_hurts():
    assert payload_number("p" + "9" * 18) == 10**18 - 1
    assert payload_number("p" + "9" * 5_000) is None


def test_how_a_payload_ended(group):
    state = any_state(group)
    assert ended(state, 999) == ("", "")
    payload = approve(group, transfer())
    assert ended(state, payload)[0] in ("waiting", "out")
    found = done(group, payload)
    status, said = ended(state, payload)
    assert status == "confirmed"
    assert said == f"confirmed at block {found.height}, Hive transaction {found.txid.hex()}"


def test_how_a_payload_ended_that_failed(group):
    number = propose(group, transfer("2.000"))
    say(group, "runner01", "halt", on=True)
    all_say(group, "vote", id=number, yes=True)
    state = any_state(group)
    payload = state.need(DECIDED, number).payload
    why = f"the group is halted until block {state.need(EMERGENCY).halted_until}"
    assert ended(state, payload) == ("waiting", f"waits since block {state.need(QUEUE, payload).queued}: {why}")
    for account in ("runner01", "runner02"):
        say(group, account, "veto", payload=payload)
    seen(group)
    status, said = ended(state, payload)
    assert status == "failed" and said.startswith("failed (vetoed) at block ")
