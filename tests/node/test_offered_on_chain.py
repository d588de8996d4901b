"""What the seats approve arrives on Hive: one group transaction for each operation that a proposal can hold."""

import pytest
from msgspec.structs import replace

from node.devnet.founding import GROUP
from processors.hive.operations import show_operation
from processors.offered import OFFERED
from state.schema import DONE, TREASURY
from tests.node.council import approve, done, governed, transfer
from tests.node.test_core import any_state
from tests.node.test_group import same_roots
from tests.processors.offers import GOOD


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    group = governed(tmp_path_factory.mktemp("group"))
    ledger = group.chain.ledger
    ledger.witnesses = ledger.witnesses | {"witness"}
    ledger.put(replace(ledger.accounts[GROUP], savings=(10_000, 10_000)))
    ledger.commit()
    return group


def operations_of(group, txid):
    """What Hive included under an id, as its API shows it."""
    entry = next(e for block in group.chain.blocks for e in block.transactions if e.txid == txid)
    return [show_operation(operation, group.genesis.chain, typed=False) for operation in entry.tx.operations]


def test_every_operation_that_is_offered_is_here():
    assert GOOD.keys() == OFFERED


@pytest.mark.parametrize("name", [*GOOD])
def test_hive_includes_what_was_approved_and_nothing_else(group, name):
    payload = approve(group, [name, GOOD[name]])
    end = done(group, payload)
    assert (end.status, end.why) == ("confirmed", "")
    fields = {**GOOD[name], **({"request_id": payload} if name == "transfer_from_savings" else {})}
    *included, confirming = operations_of(group, end.txid)
    assert included == [[name, fields]]
    assert (confirming[0], confirming[1]["id"]) == ("custom_json", "waggle_ms_signed")
    assert group.refusals == []


def test_what_was_done_to_the_ledger(group):
    """After all of these."""
    ledger = group.chain.ledger
    assert ledger.witness_votes == {}, "the proxy has ended the vote"
    assert ledger.proxies == {GROUP: "receiver"}
    assert ledger.delegations == {(GROUP, "receiver"): 1_000_000}
    assert [key[:2] for key in ledger.recurrent] == [(GROUP, "receiver")]
    same_roots(group)


def test_several_in_one_proposal_are_one_transaction_whole(group):
    before = any_state(group).need(TREASURY, "HIVE").spent
    payload = approve(group, transfer("2.000"), transfer("3.000", to="stranger"), ["custom_json", GOOD["custom_json"]])
    end = done(group, payload)
    assert [name for name, _ in operations_of(group, end.txid)] == [
        "transfer",
        "transfer",
        "custom_json",
        "custom_json",
    ]
    assert any_state(group).need(TREASURY, "HIVE").spent == before + 5_000


def test_what_hive_refuses_of_one_it_refuses_of_all(group):
    """The second operation asks for more than there is: the first is not done either, and the payload fails."""
    receiver = group.chain.ledger.accounts["receiver"].balances[0]
    payload = approve(group, transfer("1.000"), transfer("900000.000", to="stranger"))
    group.run(20)
    assert any("sufficient funds" in words for _, _, _, words in group.refusals)
    assert group.chain.ledger.accounts["receiver"].balances[0] == receiver
    assert any_state(group).get(DONE, payload) is None, "it is tried until it expires"
