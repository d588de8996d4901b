"""Packed blocks: what hived stored is read, proven, and the same as what its API gave of it."""

import contextlib
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from processors.engine import apply_block, begin
from processors.hive.block import read_block, reference_prefix
from processors.hive.errors import HiveDataError, UnknownOperationError, UnprovenBlockError
from processors.hive.operations import Operation
from processors.hive.packed import as_json, read_packed_block
from processors.hive.transaction import pack_transaction, parse_transaction, transaction_id
from processors.hive.types import varint
from state.schema import NODE
from state.state import State
from state.store import MemoryStore
from tests.node.history.logs import genuine_raws, packed
from tests.processors.blocks import BlockMaker, Stage, account_update, custom_json, strict_authority, transfer
from tests.processors.test_engine import eventful
from tests.vectors import MAINNET_2016, chain_of, golden, hived_blocks, hived_chain, mainnet_blocks

FULL = max(genuine_raws(), key=len)


def both_of(block):
    """The block, read from its bytes."""
    return read_packed_block(packed(block), block.chain)


def equal(one, other):
    """Whether they are one value, and each transaction the same, its bytes included."""
    count = len(one.transactions)
    assert (one.id, one.header, one.number, count) == (other.id, other.header, other.number, len(other.transactions))
    assert all(one.transaction(index) == other.transaction(index) for index in range(count))
    assert one.merkle_root() == other.merkle_root() == one.header.merkle_root
    return True


# -- what hived stored


def test_every_block_links_and_proves():
    before = None
    for number, raw in enumerate(genuine_raws(), 1):
        block = read_packed_block(raw, hived_chain())
        block.prove()
        assert block.number == number
        assert before is None or block.header.previous == before.id
        assert packed(block) == raw
        before = block
    assert number == 274


def test_it_is_what_the_api_gave():
    raws = genuine_raws()
    for form in ("block_api", "condenser_api"):
        for answer in hived_blocks()[form]:
            block = read_block(answer, hived_chain())
            stored = read_packed_block(raws[block.number - 1], hived_chain())
            assert equal(stored, block)
            assert stored.id.hex() == answer["block_id"]
            for index, txid in enumerate(answer["transaction_ids"]):
                assert stored.transaction(index)[2].hex() == txid
                names = [name for name, _ in stored.transactions[index]["operations"]]
                assert names == [operation.name for operation in block.transaction(index)[0].operations]


def test_blocks_of_the_main_chain():
    for raw in mainnet_blocks():
        block = read_block(raw, MAINNET_2016)
        assert equal(both_of(block), block)


@pytest.mark.parametrize("vector", golden(), ids=lambda vector: vector["name"])
@pytest.mark.parametrize("typed", [False, True])
def test_either_pack_of_a_transaction(vector, typed):
    """The leaf and the id are of the bytes that stand there, and JSON tells them by the id."""
    chain = chain_of(vector)
    tx = parse_transaction(vector["tx"], chain)
    raw = pack_transaction(tx, chain, typed=typed)
    if not typed:
        assert raw.hex() == vector["serialized_hex"]
    block = block_of([raw + b"\1" + bytes(65)], chain)
    block.prove()
    assert block.transaction(0)[0].operations == tx.operations
    assert block.transaction(0)[1:] == (raw, transaction_id(raw))
    again = read_block(as_json(block), chain)
    again.prove()
    assert equal(again, block)


def block_of(transactions, chain):
    """A packed block with these packed transactions, and with their root."""

    def made(root):
        header = (7).to_bytes(4, "big") + bytes(20) + b"\x09initminer" + root + b"\0"
        signed = header + b"\x1f" + bytes(64)
        return read_packed_block(signed + varint(len(transactions)) + b"".join(transactions), chain)

    return made(made(bytes(20)).merkle_root())


# -- as JSON again


def test_as_json_is_what_block_api_gives():
    raws = genuine_raws()
    for answer in hived_blocks()["block_api"]:
        shown = json.loads(as_json(read_packed_block(raws[int(answer["previous"][:8], 16)], hived_chain())))
        assert shown == {key: answer[key] for key in shown}
        assert answer.keys() - shown.keys() == {"signing_key"}


def test_as_json_of_every_block_proves():
    for raw in genuine_raws():
        block = read_packed_block(raw, hived_chain())
        again = read_block(as_json(block), hived_chain())
        again.prove()
        assert equal(again, block)


def test_text_that_is_not_utf8_stays():
    op = Operation("transfer", transfer("alice", "bobby").value | {"memo": "\udcff\udcfe ok"})
    block = both_of(BlockMaker().next_block(op, custom_json("alice", "x", '{"é":"\\u0000"}')))
    again = read_block(as_json(block), block.chain)
    again.prove()
    assert equal(again, block)


def test_bytes_that_json_cannot_tell_are_refused():
    """hived takes a set in any order and an asset in either pack; JSON has only the sorted set, and one pack."""
    chain = hived_chain()
    operation = b"\x12\x02\x05bobby\x05alice\x00\x01x\x02{}"
    block = block_of([bytes(10) + b"\1" + operation + b"\0\0"], chain)
    block.prove()
    tx, raw, txid = block.transaction(0)
    assert tx.operations[0].value["required_auths"] == ("alice", "bobby")
    assert txid == transaction_id(raw) and operation in raw
    with pytest.raises(HiveDataError, match="neither of the two packs"):
        as_json(block)


def test_doubles_in_a_set_are_one():
    """Two of the same account are one active authority: as an API shows it, and as a rule needs it."""
    operation = b"\x12\x02\x05alice\x05alice\x00\x01x\x02{}"
    block = block_of([bytes(10) + b"\1" + operation + b"\0\0"], hived_chain())
    assert block.transaction(0)[0].operations[0].value["required_auths"] == ("alice",)


# -- the filter


def filtered(block, *words, operations=(), names=None):
    return block.may_mention(tuple(words), operations, names)


def test_a_word_is_found_in_the_transactions_only():
    block = both_of(BlockMaker().next_block(custom_json("alice", "say", '{"memo":"hello"}')))
    assert filtered(block, b"nothing", b"waggle_") and filtered(block, b"hello") and filtered(block, b"alice")
    assert not filtered(block, b"nothing") and not filtered(block, b"initminer")  # the witness is no transaction


def test_an_operation_is_told_by_the_names_in_it():
    block = both_of(BlockMaker().next_block(transfer("alice", "bobby")))
    followed = (b"account_update",)
    assert filtered(block, operations=followed)
    assert filtered(block, operations=followed, names=lambda: ["carol", "bobby"])
    assert not filtered(block, operations=followed, names=lambda: ["carol"])
    assert not filtered(block, operations=(), names=lambda: ["bobby"])


def test_names_are_asked_for_only_if_that_helps():
    def never():
        raise AssertionError

    maker = BlockMaker()
    assert not filtered(both_of(maker.next_block()), b"x", operations=(b"account_update",), names=never)
    full = both_of(maker.next_block(transfer("alice", "bobby")))
    assert filtered(full, b"alice", operations=(b"account_update",), names=never)
    assert not filtered(full, b"nothing", names=never)


def test_no_name_is_missed():
    """Whatever text an operation holds, the filter finds it."""
    checked = 0
    for raw in genuine_raws():
        block = read_packed_block(raw, hived_chain())
        for index in range(len(block.transactions)):
            for operation in block.transaction(index)[0].operations:
                for value in operation.value.values():
                    if type(value) is str and value:
                        assert filtered(block, operations=(b"any",), names=lambda found=value: ["nobody", found])
                        checked += 1
    assert checked > 300


# -- under the rules


def test_a_group_comes_to_the_same_state():
    stage = eventful()
    who = stage.members[0]
    stage.block(account_update(who.account, active=None), transfer("alice", "bobby"))
    stage.block(account_update("stranger", second=True), stage.group_update(posting=None))
    stage.block(*[transfer("alice", who.account) for _ in range(5)], custom_json("alice", "unknown", "{"))
    state = State(MemoryStore(), stage.genesis.hash, round_length=stage.genesis.params.round_length)
    begin(state, stage.genesis, both_of(stage.blocks[0]))
    for block in stage.blocks[1:]:
        apply_block(state, stage.genesis, both_of(block))
        assert state.trace(block.number) == stage.state.trace(block.number)
    assert state.current_root() == stage.state.current_root()


@pytest.mark.parametrize("second", [False, True])
def test_a_members_new_key_is_followed(second):
    own, other = Stage(), Stage()
    for stage in (own, other):
        stage.block(stage.node_add("extra", stage.members[0].account_key, follow=True))
    before = own.state.get(NODE, "extra")
    new = strict_authority([own.members[1].account_key])
    block = own.block(account_update("extra", active=new, second=second))
    apply_block(other.state, other.genesis, both_of(block))
    assert own.state.get(NODE, "extra") == other.state.get(NODE, "extra") != before
    assert own.state.current_root() == other.state.current_root()


# -- what is no block


def refused(data):
    with pytest.raises(HiveDataError):
        read_packed_block(data, hived_chain()).prove()


def test_every_shorter_or_longer_block_is_refused():
    for length in range(len(FULL)):
        refused(FULL[:length])
    refused(FULL + b"\0")


def test_a_header_that_is_not_packed_as_hived_does():
    raw = genuine_raws()[0]
    at = 24  # the witness' length
    assert raw[at:].startswith(b"\x09initminer")
    refused(raw[:at] + b"\x89\0" + raw[at + 1 :])  # not the shortest form
    refused(raw[:at] + b"\x11" + b"a" * 17 + raw[at + 10 :])
    refused(raw[:at] + b"\x09initmin\xc3\xa9" + raw[at + 10 :])
    refused(b"\xff" * 4 + raw[4:])
    ext = at + 10 + 20
    with pytest.raises(UnknownOperationError):
        read_packed_block(raw[:ext] + b"\1\x07" + raw[ext + 1 :], hived_chain())


def test_another_transaction_is_not_proven():
    at = FULL.index(b"\1\x02")  # the count of operations and a transfer, somewhere
    with pytest.raises(UnprovenBlockError):
        read_packed_block(FULL[: at - 1] + bytes([FULL[at - 1] ^ 1]) + FULL[at:], hived_chain()).prove()


def test_a_name_that_is_too_long_is_refused():
    """hived refuses it; a reader that cut it off would take what follows for something else."""
    for size, good in ((16, True), (17, False), (40, False)):
        packed_tx = bytes(10) + b"\1" + b"\x0d" + bytes([size]) + b"a" * size + b"\x05bobby\0\0"  # a proxy
        with contextlib.nullcontext() if good else pytest.raises(HiveDataError):
            block_of([packed_tx], hived_chain()).transaction(0)


def test_counts_that_promise_too_much_cost_nothing():
    head, huge = genuine_raws()[1][:-1], b"\xff\xff\xff\xff\x0f"
    begun = time.perf_counter()
    for data in (head + huge, head + b"\1" + bytes(10) + huge, head + b"\1" + bytes(10) + b"\0\0" + huge):
        refused(data)
        refused(data + bytes(2000))
    assert time.perf_counter() - begun < 5


@given(st.integers(0, len(FULL) - 1), st.binary(max_size=40), st.integers(0, 40), st.integers(0, 273))
@settings(max_examples=1500, deadline=None, derandomize=True)
def test_other_bytes_at_any_place(where, instead, gone, which):
    raw = genuine_raws()[which] if which % 2 else FULL
    at = where % len(raw)
    with contextlib.suppress(HiveDataError):
        block = read_packed_block(raw[:at] + instead + raw[at + gone :], hived_chain())
        block.may_mention((b"x",), (b"y",), lambda: ["z"])
        for index in range(len(block.transactions)):
            with contextlib.suppress(HiveDataError):
                block.transaction(index)
        with contextlib.suppress(HiveDataError):
            as_json(block)
        block.prove()


@given(st.binary(max_size=400))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_any_bytes(data):
    with contextlib.suppress(HiveDataError):
        read_packed_block(data, hived_chain()).prove()
    body = genuine_raws()[1][:-1] + data
    with contextlib.suppress(HiveDataError):
        read_packed_block(body, hived_chain()).prove()


def test_transactions_stay_packed_until_somebody_asks():
    raw = genuine_raws()[5][:-1] + b"\x05 this is no transaction"
    block = read_packed_block(raw, hived_chain())
    assert block.number == 6 and reference_prefix(block.id)
    with pytest.raises(HiveDataError):
        block.transactions  # noqa: B018


def test_signatures_are_taken_along():
    maker = BlockMaker()
    made = maker.transaction(transfer("alice", "bobby"))
    signed = replace(made, signatures=(b"\x1f" + bytes(64), bytes(65)))
    block = both_of(maker.next_block(signed))
    block.prove()
    assert block.transaction(0)[0] == signed
