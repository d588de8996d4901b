"""`waggle explain`: what a transaction does, by its bytes alone; and what is said where they are not what they seem."""

import asyncio
import json
import re
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from node.errors import NodeError
from node.signer.opinion import second_opinion
from processors.hive.transaction import signing_digest, unpack_transaction
from state.schema import MS
from tests.node.cli.governing import governing
from tests.node.council import approve, done, out, transfer
from tests.node.test_core import any_state

pytestmark = pytest.mark.usefixtures("quick_scrypt", "no_terminal")


@pytest.fixture
def found(tmp_path, monkeypatch):
    with governing(tmp_path, monkeypatch) as world:
        payload, op = world.on_chain(lambda group: out(group, transfer("2.000", memo="für März"), transfer("1.000")))
        yield SimpleNamespace(world=world, payload=payload, op=op, state=any_state(world.group))


def test_what_it_does_who_signed_and_what_it_lacks(found):
    shown = found.world.run("explain", found.op)
    assert shown.exit_code == 0
    record = found.state.need(MS, found.op)
    for words in (
        f"group transaction {found.op}: payout of p{found.payload}, collecting",
        "1. pay 2.000 TESTS to receiver, memo 'für März'",
        "2. pay 1.000 TESTS to receiver, memo ''",
        "3. say waggle_ms_signed: ",
        f"Hive id  {record.txid.hex()}, from its bytes: as the state has it",
        f"digest   {record.digest.hex()}, from its bytes and chain id",
        "active: weight 0 of 2, lacking 2",
        "has not signed",
        "nobody may broadcast it before the weight is there; next recast at block",
        "; expires 20",
    ):
        assert words in shown.stdout, words


def test_machines_get_the_same_and_another_library_agrees(found):
    body = found.world.done("explain", f"p{found.payload}", acts=False)
    [one] = body["found"]
    chain = found.world.group.genesis.chain
    tx = unpack_transaction(bytes.fromhex(one["tx"]), chain)
    assert second_opinion(tx, chain).packed.hex() == one["tx"]
    assert one["decoded"]["digest"] == one["digest"] == signing_digest(bytes.fromhex(one["tx"]), chain).hex()
    assert one["is_right"] is True and body["status"] == "out"
    assert [operation[0] for operation in one["decoded"]["operations"]] == ["transfer", "transfer", "custom_json"]


def test_by_the_beginning_of_its_hive_id(found):
    txid = found.state.need(MS, found.op).txid.hex()
    assert found.world.run("explain", txid[:10]).stdout.startswith(f"group transaction {found.op}")


@pytest.mark.parametrize("which", ["p999", "1:2:3", "deadbeefdeadbeef", "p", "x"])
def test_what_is_not_there(found, which):
    said = found.world.fails("explain", which)
    assert "nothing like that is out, waits, or ended lately: `waggle pending` shows what there is" in said


@pytest.mark.parametrize("which", ["../status", "p7?x", "p7#x", "é", "p7/..", "a" * 41, "p7 ", "%70"])
def test_what_is_no_id_is_not_taken_for_another_question(found, which):
    said = found.world.fails("explain", which)
    assert "is no id" in said and "write HEIGHT:NUM:PREFIX" in said


# -- bytes that are not what the state says


def change(found, **fields):
    """What the running node would show of the record: as from a store whose bits were changed."""
    state, genuine = found.state, found.state.need

    def need(table, *key):
        record = genuine(table, *key)
        return replace(record, **fields) if table is MS and key == (found.op,) else record

    state.need = need


@pytest.mark.parametrize("position", [6, 12, 20, -40, -2])
def test_a_changed_byte_is_noticed(found, position):
    tx = bytearray(found.state.need(MS, found.op).tx)
    tx[position] ^= 1
    change(found, tx=bytes(tx))
    for words in ((), ("--json",)):
        said = found.world.fails("explain", found.op, *words)
        assert "do not sign it, and tell the others" in said
    body = json.loads(found.world.run("explain", found.op, "--json").stdout)
    assert body["found"][0]["is_right"] is False


@pytest.mark.parametrize(("field", "value"), [("digest", bytes(32)), ("txid", bytes(20))])
def test_an_id_or_a_digest_of_something_else_is_noticed(found, field, value):
    change(found, **{field: value})
    said = found.world.fails("explain", found.op)
    assert f"NOT THAT OF THE STATE: {value.hex()}" in said and "do not sign it" in said


@pytest.mark.parametrize("tx", [b"", b"\0", b"\xff" * 100])
def test_bytes_that_are_no_transaction(found, tx):
    change(found, tx=tx)
    said = found.world.fails("explain", found.op)
    assert "its bytes are no transaction" in said and "do not sign it" in said


def test_a_memo_cannot_pretend_to_be_a_line_of_ours(tmp_path, monkeypatch):
    """Control characters are no part of a memo; whatever else is in it stays within its quotes."""
    with governing(tmp_path, monkeypatch) as world:
        memo = "x'  Hive id  00, from its bytes: as the state has it"
        _, op = world.on_chain(lambda group: out(group, transfer(memo=memo), transfer()))
        shown = world.run("explain", op).stdout.splitlines()
        assert len([line for line in shown if line.startswith("  Hive id")]) == 1
        assert re.search(r"memo \"x'  Hive id", "\n".join(shown))


# -- what is over


def test_how_a_payload_ended(tmp_path, monkeypatch):
    with governing(tmp_path, monkeypatch) as world:
        payload = world.on_chain(lambda group: approve(group, transfer()))
        end = world.on_chain(lambda group: done(group, payload))
        shown = world.run("explain", f"p{payload}")
        assert shown.stdout == f"confirmed at block {end.height}, Hive transaction {end.txid.hex()}\n"
        body = world.done("explain", f"p{payload}", acts=False)
        assert (body["status"], body["found"]) == ("confirmed", [])


def test_a_node_that_answers_what_nobody_understands(found, monkeypatch):
    async def other(control, path):
        return b'{"height": "x"}'

    monkeypatch.setattr("node.group_facts.control.get", other)
    assert "of another version" in found.world.fails("explain", found.op)
    assert issubclass(NodeError, Exception) and asyncio.iscoroutinefunction(other)
