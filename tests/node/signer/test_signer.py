"""What the signer says it has signed: the questions that servers are asked about the past."""

from node.devnet.founding import devnet_key, found, genesis_document, member_keys
from node.devnet.watching import PARAMETERS
from node.signer.approvals import Approvals, confirmation
from node.signer.journal import RESTORED, Journal
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


# -- until when keys are held back


def holding(folder):
    """A signer with an old key, a new one, and its journal."""
    genesis = found(genesis_document([member_keys(1), member_keys(2)], start_block=20, parameters=PARAMETERS))
    journal, approvals = Journal(folder / "journal", genesis.hash), Approvals(folder / "approvals")
    keys = [devnet_key("old"), devnet_key("new")]
    return Signer(keys, journal, Policy(), genesis, approvals), journal, approvals, keys


def test_before_the_journal_has_begun_here_nobody_knows_until_when_keys_are_held(tmp_path):
    mine, journal, _, _ = holding(tmp_path)
    assert mine.held_until(1_000) is None
    journal.begin(30, 1_000, 1_900)
    (tmp_path / RESTORED).touch()
    again, _, _, _ = holding(tmp_path)
    assert again.held_until(1_000) is None


def test_the_key_that_is_held_longest_counts_until_its_time_is_over(tmp_path):
    mine, journal, _, (old, new) = holding(tmp_path)
    journal.begin(30, 1_000, 1_900)
    journal.note_key(new.public, is_new=True)
    journal.note_key(old.public, is_new=False)
    assert [mine.held_until(now) for now in (1_000, 1_899, 1_900)] == [1_900, 1_900, 0]


def test_new_keys_alone_are_not_held(tmp_path):
    mine, journal, _, keys = holding(tmp_path)
    journal.begin(30, 1_000, 1_900)
    for key in keys:
        journal.note_key(key.public, is_new=True)
    assert mine.held_until(1_000) == 0


def test_the_word_of_this_beginning_ends_it_and_no_other(tmp_path):
    mine, journal, approvals, _ = holding(tmp_path)
    journal.begin(30, 1_000, 1_900)
    for guess in ("journal:29", "journal:30", "journal:30:"):
        approvals.add(guess)
    assert mine.held_until(1_000) == 1_900
    approvals.add(confirmation(journal.born))
    assert mine.held_until(1_000) == 0
