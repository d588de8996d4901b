"""Blocks: ids, links, Merkle roots and witness signatures of the main chain and of a real hived."""

import copy
import json

import pytest

from processors.hive.authority import required_authorities, verify_authority
from processors.hive.block import merkle_root, read_block, reference_prefix, show_header, witness_key
from processors.hive.crypto import recover_any, recover_as_hived
from processors.hive.errors import AuthorityError, HiveDataError, UnprovenBlockError
from processors.hive.keys import public_key_to_text
from processors.hive.transaction import show_transaction, signing_digest
from processors.hive.types import Authority
from tests.vectors import MAINNET_2016, hived_blocks, hived_chain, mainnet_blocks


def test_main_chain_blocks_prove_and_link():
    before, signatures, pows = None, 0, 0
    for raw in mainnet_blocks():
        block = read_block(json.dumps(raw).encode(), MAINNET_2016)
        block.prove()
        assert block.id.hex() == raw["block_id"]
        assert before in (None, block.header.previous)
        assert public_key_to_text(witness_key(block.header), "STM") == raw["signing_key"]
        before = block.id
        for index, txid in enumerate(raw["transaction_ids"]):
            tx, packed, found = block.transaction(index)
            assert found.hex() == txid
            signatures += len([recover_any(sig, signing_digest(packed, MAINNET_2016)) for sig in tx.signatures])
            pows += sum(operation.name == "pow" for operation in tx.operations)
    assert (signatures, pows) == (15, 33)


def both_forms():
    found = hived_blocks()
    return list(zip(found["block_api"], found["condenser_api"], strict=True))


@pytest.mark.parametrize("typed, legacy", both_forms(), ids=lambda raw: raw["block_id"][:8])
def test_both_forms_of_a_block_are_one_value(typed, legacy):
    chain = hived_chain()
    one, other = read_block(typed, chain), read_block(json.dumps(legacy).encode(), chain)
    one.prove()
    other.prove()
    assert one.header == other.header and one.id == other.id
    assert show_header(one.header, typed=True) == {key: typed[key] for key in show_header(one.header, typed=True)}
    for index, raw in enumerate(typed["transactions"]):
        assert one.transaction(index) == other.transaction(index)
        assert one.transaction(index)[2].hex() == typed["transaction_ids"][index]
        assert show_transaction(one.transaction(index)[0], chain, typed=True) == raw
        shown = show_transaction(one.transaction(index)[0], chain, typed=False)
        assert shown == {key: legacy["transactions"][index][key] for key in shown}


def test_signatures_satisfy_the_authorities_in_force():
    """Authorities are learnt from the blocks themselves: an account's first signer, then its updates."""
    chain = hived_chain()
    known: dict[tuple[str, str], Authority] = {}
    checked = 0
    for raw in hived_blocks()["block_api"]:
        block = read_block(raw, chain)
        for index in range(len(block.transactions)):
            tx, packed, _ = block.transaction(index)
            keys = {recover_as_hived(sig, signing_digest(packed, chain)) for sig in tx.signatures}
            required = required_authorities(tx.operations)
            needed = [(role, name) for role in ("posting", "active", "owner") for name in getattr(required, role)]
            if all(pair in known for pair in needed):
                verify_authority(required, keys, lambda role, name: known[role, name])
                checked += 1
            elif len(keys) == 1:
                for pair in needed:
                    known.setdefault(pair, Authority(1, (), ((next(iter(keys)), 1),)))
            for operation in tx.operations:
                for role in ("owner", "active", "posting"):
                    if operation.name.startswith("account_update") and operation.value[role] is not None:
                        known[role, operation.value["account"]] = operation.value[role]
    assert checked >= 80
    with pytest.raises(AuthorityError):
        verify_authority(required, set(), lambda role, name: known[role, name])


def block_with_transactions():
    return copy.deepcopy(next(raw for raw in hived_blocks()["block_api"] if len(raw["transactions"]) > 3))


def test_a_block_that_was_tampered_with_does_not_prove():
    chain = hived_chain()
    raw = block_with_transactions()
    raw["transactions"].pop()
    with pytest.raises(UnprovenBlockError):
        read_block(raw, chain).prove()
    raw = block_with_transactions()
    raw["transactions"][0]["expiration"] = "2026-11-21T00:00:00"
    with pytest.raises(UnprovenBlockError):
        read_block(raw, chain).prove()
    raw = block_with_transactions()
    raw["timestamp"] = "2026-11-21T00:00:00"
    with pytest.raises(UnprovenBlockError):
        read_block(raw, chain)


def test_a_server_cannot_choose_transaction_ids():
    raw = block_with_transactions()
    honest = [read_block(raw, hived_chain()).transaction(i)[2] for i in range(len(raw["transactions"]))]
    raw["transaction_ids"] = ["00" * 20] * len(honest)
    block = read_block(raw, hived_chain())
    block.prove()
    assert [block.transaction(i)[2] for i in range(len(honest))] == honest


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b"null", b'{"previous": 1}', b"{" * 5000, b"\xff\xfe", {}, {"previous": "00"}]
)
def test_what_is_no_block_is_refused(raw):
    with pytest.raises(HiveDataError):
        read_block(raw, MAINNET_2016)


def test_words_are_found_even_when_escaped():
    raw = json.dumps(hived_blocks()["block_api"][0]).encode()
    transfer = b'{"transactions": [{"memo": "plain"}], '
    plain = transfer + raw[1:].replace(b'"transactions": []', b'"x": 0')
    assert not read_block(plain, hived_chain()).may_mention((b"no such word",))
    assert read_block(plain, hived_chain()).may_mention((b"other", b"plain"))
    escaped = plain.replace(b"plain", b"pl\\u0061in")
    assert read_block(escaped, hived_chain()).may_mention((b"no such word",))


def test_an_odd_leaf_is_promoted_unchanged():
    a, b, c = (bytes([n]) * 32 for n in range(3))
    assert merkle_root([]) == bytes(20)
    assert len({merkle_root([a]), merkle_root([a, b]), merkle_root([a, b, c]), merkle_root([a, b, c, c])}) == 4


def test_the_reference_prefix_is_little_endian():
    assert reference_prefix(bytes.fromhex("000f4240e8f91385f7bff8f5aeebddc9b14e4281")) == 0x8513F9E8
