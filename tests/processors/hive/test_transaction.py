"""Transactions: both API forms are one value; bytes, digest and id are those of Hive's own library."""

import pytest

from processors.hive.chain import MAINNET
from processors.hive.errors import HiveDataError, UnknownOperationError
from processors.hive.operations import TABLE
from processors.hive.transaction import (
    pack_transaction,
    parse_transaction,
    show_transaction,
    signing_digest,
    transaction_id,
    unpack_transaction,
)
from tests.vectors import chain_of, golden

EMPTY = {
    "ref_block_num": 1,
    "ref_block_prefix": 2,
    "expiration": "2026-11-21T00:00:00",
    "operations": [],
    "extensions": [],
}


@pytest.mark.parametrize("vector", golden(), ids=lambda vector: vector["name"])
def test_golden_vector(vector):
    chain = chain_of(vector)
    tx = parse_transaction(vector["tx"], chain)
    packed = pack_transaction(tx, chain)
    assert packed.hex() == vector["serialized_hex"]
    assert transaction_id(packed).hex() == vector["txid"]
    assert signing_digest(packed, chain).hex() == vector["digest_hex"]
    if vector["tx_hf26"] and vector["serialized_hf26_hex"]:
        assert parse_transaction(vector["tx_hf26"], chain) == tx
        typed = pack_transaction(tx, chain, typed=True)
        assert typed.hex() == vector["serialized_hf26_hex"]
        assert signing_digest(typed, chain).hex() == vector["digest_hf26_hex"]


@pytest.mark.parametrize("vector", golden(), ids=lambda vector: vector["name"])
def test_what_is_shown_is_read_back(vector):
    chain = chain_of(vector)
    tx = parse_transaction(vector["tx"], chain)
    for typed in (False, True):
        assert parse_transaction(show_transaction(tx, chain, typed=typed), chain) == tx


@pytest.mark.parametrize("vector", golden(), ids=lambda vector: vector["name"])
def test_bytes_are_read_back(vector):
    chain = chain_of(vector)
    tx = parse_transaction(vector["tx"], chain)
    for typed in (False, True):
        packed = pack_transaction(tx, chain, typed=typed)
        assert unpack_transaction(packed, chain) == tx
        for broken in (packed[:-1], packed + b"\0", packed[:9]):
            with pytest.raises(HiveDataError):
                unpack_transaction(broken, chain)


def test_every_operation_number_has_its_name():
    assert len(TABLE) == 50
    assert [TABLE[number][0] for number in (0, 18, 30, 42, 48, 49)] == [
        "vote",
        "custom_json",
        "pow2",
        "witness_set_properties",
        "collateralized_convert",
        "recurrent_transfer",
    ]


def test_an_unknown_operation_is_told_apart_from_a_malformed_one():
    with pytest.raises(UnknownOperationError):
        parse_transaction({**EMPTY, "operations": [["teleport", {}]]}, MAINNET)
    with pytest.raises(HiveDataError) as caught:
        parse_transaction({**EMPTY, "operations": [["transfer", {"from": "alice"}]]}, MAINNET)
    assert not isinstance(caught.value, UnknownOperationError)


@pytest.mark.parametrize(
    "amount",
    [
        "1.0000 HIVE",
        "1.00 HIVE",
        "1 HIVE",
        "1.000 TESTS",
        "1.000",
        " 1.000 HIVE",
        "1.000 HIVE ",
        "+1.000 HIVE",
        "1e3 HIVE",
        "٣.000 HIVE",
        "9223372036854775.808 HIVE",
        1,
        1.0,
        None,
        {"amount": "1", "precision": 6, "nai": "@@000000021"},
        {"amount": "1", "precision": 3, "nai": "@@000000099"},
        {"amount": 1.0, "precision": 3, "nai": "@@000000021"},
        {"amount": "1", "precision": 3},
    ],
)
def test_what_is_no_amount_is_refused(amount):
    transfer = ["transfer", {"from": "alice", "to": "bobby", "amount": amount, "memo": ""}]
    with pytest.raises(HiveDataError):
        parse_transaction({**EMPTY, "operations": [transfer]}, MAINNET)


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {**EMPTY, "ref_block_num": 65536},
        {**EMPTY, "ref_block_num": True},
        {**EMPTY, "ref_block_prefix": -1},
        {**EMPTY, "expiration": "2026-02-29T00:00:00"},
        {**EMPTY, "expiration": "2026-11-21T00:00:00Z"},
        {**EMPTY, "operations": {}},
        {**EMPTY, "operations": [[]]},
        {**EMPTY, "signatures": ["00"]},
        {key: EMPTY[key] for key in EMPTY if key != "extensions"},
    ],
)
def test_what_is_no_transaction_is_refused(broken):
    with pytest.raises(HiveDataError):
        parse_transaction(broken, MAINNET)


def test_sets_are_read_as_sets():
    raw = [
        "custom_json",
        {"required_auths": ["bob", "al1", "bob"], "required_posting_auths": [], "id": "x", "json": "{}"},
    ]
    tx = parse_transaction({**EMPTY, "operations": [raw]}, MAINNET)
    assert tx.operations[0].value["required_auths"] == ("al1", "bob")


@pytest.mark.parametrize("text", ["ä", "é 🐝", "\udcff", "a\udcc3", "\udcc3\udca4x"])
def test_the_same_bytes_are_the_same_value_however_they_were_escaped(text):
    """A server may write the bytes of a text as lone halves; the Merkle root proves the bytes, so the value is one."""
    raw = text.encode("utf-8", "surrogateescape")
    escaped = "".join(chr(0xDC00 + octet) if octet >= 0x80 else chr(octet) for octet in raw)
    both = [
        parse_transaction({**EMPTY, "operations": [["custom_json", custom(form)]]}, MAINNET) for form in (text, escaped)
    ]
    assert both[0] == both[1]
    assert pack_transaction(both[0], MAINNET) == pack_transaction(both[1], MAINNET)


def custom(json):
    return {"required_auths": ["alice"], "required_posting_auths": [], "id": "x", "json": json}


def test_extensions_are_sets_by_alternative():
    body = {"creator": "alice", "fee": "0.000 HIVE", "extensions": [[0, {}], [0, {}]]}
    tx = parse_transaction({**EMPTY, "operations": [["claim_account", body]]}, MAINNET)
    assert len(tx.operations[0].value["extensions"]) == 1
