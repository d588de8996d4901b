"""The second opinion agrees with Hive's own library wherever beem is known to, and abstains elsewhere."""

import pytest
from msgspec.structs import replace

from node.signer.opinion import second_opinion
from processors.hive.operations import Operation
from processors.hive.transaction import pack_transaction, parse_transaction
from processors.hive.types import Asset
from tests.vectors import chain_of, golden


@pytest.mark.parametrize(
    "vector", [v for v in golden() if v["libs_agree"]["beem"] is True], ids=lambda vector: vector["name"]
)
def test_given_on_every_vector_that_beem_gets_right(vector):
    chain = chain_of(vector)
    opinion = second_opinion(parse_transaction(vector["tx"], chain), chain)
    assert opinion.packed is not None, opinion.why
    assert opinion.packed.hex() == vector["serialized_hex"]


@pytest.mark.parametrize(
    "vector", [v for v in golden() if v["libs_agree"]["beem"] is not True], ids=lambda vector: vector["name"]
)
def test_abstains_where_beem_is_wrong_or_at_a_loss(vector):
    chain = chain_of(vector)
    opinion = second_opinion(parse_transaction(vector["tx"], chain), chain)
    assert opinion.packed is None
    assert "beem" in opinion.why


def transfer(amount, memo=""):
    vector = next(v for v in golden() if v["name"] == "transfer_hive")
    chain = chain_of(vector)
    tx = parse_transaction(vector["tx"], chain)
    value = {**tx.operations[0].value, "amount": Asset(amount, 0), "memo": memo}
    return replace(tx, operations=(Operation("transfer", value),)), chain


@pytest.mark.parametrize("amount", [1, 999, 2**53 - 1])
def test_amounts_up_to_its_exact_range(amount):
    tx, chain = transfer(amount)
    assert second_opinion(tx, chain).packed == pack_transaction(tx, chain)


def test_amounts_beyond_its_exact_range():
    assert second_opinion(*transfer(2**53)).packed is None


@pytest.mark.parametrize("memo", ["\x00", "a\x08b", "\x0b", "\x0c", "\x1f"])
def test_control_characters(memo):
    assert second_opinion(*transfer(1, memo)).packed is None


@pytest.mark.parametrize("memo", ["tab\t", "line\r\n", "\x7f", "\x85", "é 🐝"])
def test_what_it_does_not_rewrite_it_judges(memo):
    tx, chain = transfer(1, memo)
    assert second_opinion(tx, chain).packed == pack_transaction(tx, chain)


def test_a_different_transaction_gets_different_bytes():
    tx, chain = transfer(1)
    assert second_opinion(transfer(2)[0], chain).packed != pack_transaction(tx, chain)
