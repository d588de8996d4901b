"""The signing journal: on disk before the signature leaves, and never a reason to sign more."""

import errno
import os
import stat
from hashlib import sha256

import pytest

from node.errors import JournalError
from node.signer.journal import Journal

GENESIS, ANOTHER = sha256(b"a genesis").digest(), sha256(b"another").digest()
FIRST, SECOND = bytes.fromhex("11" * 20), bytes.fromhex("22" * 20)
NOW, LATER = 1_000, 2_000


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "journal"


def opened(path, genesis=GENESIS):
    return Journal(path, genesis)


def txids(entries):
    return [entry.txid for entry in entries]


def failing(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


# -- what it remembers


def test_an_entry_for_each_payload_of_a_transaction(path):
    journal = opened(path)
    journal.write((4, 5), FIRST, LATER, "1050:7:9")
    for again in (journal, opened(path)):
        assert [txids(again.entries(n)) for n in (4, 5, 6)] == [[FIRST.hex()], [FIRST.hex()], []]
        assert (again.entries(4)[0].expiration, again.entries(4)[0].op) == (LATER, "1050:7:9")


def test_another_live_transaction_of_a_payload_is_a_conflict(path):
    journal = opened(path)
    journal.write((4,), FIRST, LATER, "1050:7:9")
    assert txids(journal.conflicts((3, 4), SECOND, NOW)) == [FIRST.hex()]
    assert txids(opened(path).conflicts((3, 4), SECOND, NOW)) == [FIRST.hex()]


def test_the_same_transaction_is_none(path):
    journal = opened(path)
    journal.write((4,), FIRST, LATER, "1050:7:9")
    assert journal.conflicts((4,), FIRST, NOW) == []


def test_another_payload_is_none(path):
    journal = opened(path)
    journal.write((4,), FIRST, LATER, "1050:7:9")
    assert journal.conflicts((5, 6), SECOND, NOW) == []


@pytest.mark.parametrize(("block_time", "conflicts"), [(LATER - 1, 1), (LATER, 0), (LATER + 1, 0)])
def test_dead_from_the_block_whose_time_is_its_expiration(path, block_time, conflicts):
    journal = opened(path)
    journal.write((4,), FIRST, LATER, "1050:7:9")
    assert len(journal.conflicts((4,), SECOND, block_time)) == conflicts


def test_the_entries_of_another_genesis_are_kept_and_mean_nothing_here(path):
    opened(path, ANOTHER).write((4,), FIRST, LATER, "1050:7:9")
    journal = opened(path)
    assert journal.entries(4) == []
    assert journal.conflicts((4,), SECOND, NOW) == []
    journal.write((4,), SECOND, LATER, "1051:7:9")
    assert txids(opened(path, ANOTHER).entries(4)) == [FIRST.hex()]


def test_written_once_however_often_it_is_signed(path):
    journal = opened(path)
    for _ in range(3):
        journal.write((4,), FIRST, LATER, "1050:7:9")
    assert len(path.read_bytes().splitlines()) == 1


def test_only_its_owner_can_read_it(path):
    opened(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# -- crashes


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_dropped_and_no_older_one(path, cut):
    journal = opened(path)
    journal.write((4,), FIRST, LATER, "1050:7:9")
    whole = path.stat().st_size
    journal.write((4,), SECOND, LATER, "1051:7:9")
    os.truncate(path, whole + cut)
    again = opened(path)
    assert txids(again.entries(4)) == [FIRST.hex()]
    assert path.stat().st_size == whole
    again.write((4,), SECOND, LATER, "1051:7:9")
    assert txids(opened(path).entries(4)) == [FIRST.hex(), SECOND.hex()]


def test_a_first_line_that_was_torn_leaves_an_empty_journal(path):
    opened(path).write((4,), FIRST, LATER, "1050:7:9")
    os.truncate(path, path.stat().st_size - 1)
    assert opened(path).entries(4) == []


@pytest.mark.parametrize(
    "damage", [b"garbage", b"", b"[]", b"5", b"null", b'["aa", 1, 2]', b"\xff\xfe", b'["a", "b", 1, 2, 3]']
)
def test_a_damaged_line_in_the_middle_refuses_the_whole_journal(path, damage):
    journal = opened(path)
    for number in range(3):
        journal.write((number,), FIRST, LATER, "1050:7:9")
    lines = path.read_bytes().splitlines()
    lines[1] = damage
    path.write_bytes(b"\n".join(lines) + b"\n")
    before = path.read_bytes()
    with pytest.raises(JournalError, match="line 2 is damaged: restore the journal from a backup"):
        opened(path)
    assert path.read_bytes() == before, "it is evidence: nothing is mended"


def test_a_journal_that_cannot_be_opened_is_no_empty_journal(path):
    path.mkdir(parents=True)
    with pytest.raises(JournalError, match="without its journal a node signs nothing"):
        opened(path)


# -- synced before anything leaves


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_when_the_disk_fails_it_raises_and_writes_no_more(path, monkeypatch, call):
    journal = opened(path)
    monkeypatch.setattr(os, call, failing)
    with pytest.raises(JournalError, match=r"No space left.*nothing is signed"):
        journal.write((4,), FIRST, LATER, "1050:7:9")
    assert journal.entries(4) == []
    monkeypatch.undo()
    with pytest.raises(JournalError, match="restart the node"):  # half a line may stand there
        journal.write((4,), FIRST, LATER, "1050:7:9")
    again = opened(path)
    again.write((4,), FIRST, LATER, "1050:7:9")
    assert txids(opened(path).entries(4)) == [FIRST.hex()]


def test_a_half_written_line_is_dropped_when_the_node_starts_again(path, monkeypatch):
    journal = opened(path)
    write = os.write

    def half(handle, data):
        monkeypatch.setattr(os, "write", failing)
        return write(handle, data[:10])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(JournalError):
        journal.write((4,), FIRST, LATER, "1050:7:9")
    monkeypatch.undo()
    again = opened(path)
    assert again.entries(4) == []
    again.write((4,), SECOND, LATER, "1050:7:9")
    assert txids(opened(path).entries(4)) == [SECOND.hex()]


def test_it_is_synced_after_the_last_byte(path, monkeypatch):
    journal = opened(path)
    order = []
    write, fsync = os.write, os.fsync
    monkeypatch.setattr(os, "write", lambda handle, data: order.append("write") or write(handle, data[:7]))
    monkeypatch.setattr(os, "fsync", lambda handle: order.append("fsync") or fsync(handle))
    journal.write((4,), FIRST, LATER, "1050:7:9")
    assert order[-1] == "fsync"
    assert order.count("fsync") == 1
    assert order.count("write") > 5, "short writes are gone on with"
    monkeypatch.undo()
    assert txids(opened(path).entries(4)) == [FIRST.hex()]


def test_the_folder_is_synced_when_the_file_is_made(path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")) or fsync(handle)
    )
    opened(path)
    assert str(path.parent) in synced


# -- an old backup


def test_a_backup_that_is_older_forgets_only_what_came_after_it(path):
    """It stays usable: what it misses, the dead of the state and the servers' denials must hold back (policy)."""
    journal = opened(path)
    journal.write((4,), FIRST, LATER, "1050:7:9")
    backup = path.read_bytes()
    journal.write((5,), SECOND, LATER, "1051:7:9")
    path.write_bytes(backup)
    again = opened(path)
    assert txids(again.conflicts((4,), SECOND, NOW)) == [FIRST.hex()]
    assert again.conflicts((5,), FIRST, NOW) == []
    again.write((6,), SECOND, LATER, "1052:7:9")
    assert [txids(opened(path).entries(n)) for n in (4, 5, 6)] == [[FIRST.hex()], [], [SECOND.hex()]]
