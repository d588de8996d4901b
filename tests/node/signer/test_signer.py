"""What the signer says it has signed: the questions that servers are asked about the past."""

from node.devnet.founding import devnet_key, found, genesis_document, member_keys
from node.devnet.watching import PARAMETERS
from node.signer.journal import Journal
from node.signer.policy import Policy
from node.signer.signer import Signer

FIRST, SECOND = bytes.fromhex("11" * 20), bytes.fromhex("22" * 20)


def signer(folder):
    genesis = found(genesis_document([member_keys(1), member_keys(2)], start_block=20, parameters=PARAMETERS))
    journal = Journal(folder / "journal", genesis.hash)
    journal.write((4,), FIRST, 1_000, "40:7:9")
    journal.write((4, 5), SECOND, 2_000, "60:7:9")
    return Signer([devnet_key("a"), devnet_key("b")], journal, Policy(), genesis)


def test_only_what_is_over_is_asked_about(tmp_path):
    """A server that knows nothing of a transaction which can still be included has denied nothing."""
    mine = signer(tmp_path)
    assert mine.signed_for((4, 5), 999) == set()
    assert mine.signed_for((4, 5), 1_000) == {FIRST}
    assert mine.signed_for((4, 5), 1_999) == {FIRST}
    assert mine.signed_for((4, 5), 2_000) == {FIRST, SECOND}


def test_only_of_these_payloads(tmp_path):
    assert signer(tmp_path).signed_for((5, 6), 9_999) == {SECOND}


def test_public_keys_come_in_byte_order(tmp_path):
    keys = signer(tmp_path).public_keys
    assert list(keys) == sorted(keys) and len(keys) == 2
