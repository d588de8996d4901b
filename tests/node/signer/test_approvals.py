"""What the operator confirmed by hand: words in a file, read when it matters."""

import stat

import pytest
from msgspec.structs import replace

from node.errors import JournalError
from node.signer.approvals import Approvals, approval, confirmation
from node.signer.entries import Born


def test_a_word_counts_from_the_moment_it_is_written(tmp_path):
    path = tmp_path / "approvals"
    running, command = Approvals(path), Approvals(path)
    assert not running.has("60:1:2")
    command.add("60:1:2")
    assert running.has("60:1:2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_word_is_written_once(tmp_path):
    found = Approvals(tmp_path / "approvals")
    for word in ("a", "b", "a"):
        found.add(word)
    assert found.words() == ["a", "b"]


@pytest.mark.parametrize("near", ["60:1:2", "160:1:23", "60:1:2 3", " 60:1:23", ""])
def test_only_the_whole_word_counts(tmp_path, near):
    path = tmp_path / "approvals"
    path.write_text(f"{near}\n")
    assert not Approvals(path).has("60:1:23")


def test_after_a_line_that_was_torn_or_edited_the_next_word_stands_alone(tmp_path):
    path = tmp_path / "approvals"
    path.write_text("60:1:2")
    Approvals(path).add("journal:7")
    assert Approvals(path).words() == ["60:1:2", "journal:7"]


def test_the_end_of_a_long_file_holds_no_half_word(tmp_path, monkeypatch):
    monkeypatch.setattr("node.signer.approvals._MOST", 20)
    path = tmp_path / "approvals"
    path.write_text("161500:1:2\n61500:1:3\njournal:7\n")
    assert Approvals(path).words() == ["journal:7"]
    assert not Approvals(path).has("1500:1:3")


def test_bytes_that_are_no_text_confirm_nothing(tmp_path):
    path = tmp_path / "approvals"
    path.write_bytes(b"\xff\xfe\n60:1:2\n")
    assert Approvals(path).has("60:1:2")
    assert not Approvals(path).has("\xff\xfe")


def test_without_a_file_nothing_is_confirmed(tmp_path):
    nothing = Approvals(None)
    nothing.add("a")
    assert not nothing.has("a") and not Approvals(tmp_path / "none").has("a")


def test_a_file_that_cannot_be_read_is_no_confirmation(tmp_path):
    (tmp_path / "approvals").mkdir()
    with pytest.raises(JournalError):
        Approvals(tmp_path / "approvals").has("a")


def test_what_confirms_a_journal_cannot_be_guessed_and_is_of_one_beginning():
    one = Born(30, 1000, 1900, 7, "nonce")
    words = {
        confirmation(replace(one, **change)) for change in ({}, {"nonce": "n"}, {"home": 8}, {"time": 1}, {"until": 1})
    }
    assert len(words) == 5 and all(word.startswith("journal:30:") for word in words)


def test_an_approval_is_of_one_transaction():
    assert approval("60:1:2", b"\1" * 20) == "60:1:2 " + "01" * 20
