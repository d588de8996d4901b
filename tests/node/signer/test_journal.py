"""The signing journal: on disk before the signature leaves, and never a reason to sign more."""

import errno
import json
import os
import stat
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import JournalError
from node.signer.journal import Born, Entry, Journal

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

    def note(what, handle):
        if os.readlink(f"/proc/self/fd/{handle}") == str(path):
            order.append(what)

    monkeypatch.setattr(os, "write", lambda handle, data: note("write", handle) or write(handle, data[:7]))
    monkeypatch.setattr(os, "fsync", lambda handle: note("fsync", handle) or fsync(handle))
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


# -- moving: merge never forgets

LINES = st.builds(
    Entry,
    st.integers(1, 5),
    st.sampled_from([FIRST.hex(), SECOND.hex(), "33" * 20]),
    st.integers(0, 100),
    st.just("1:2:3"),
    st.integers(0, 100),
    st.sampled_from(["", "HIVE", "HBD"]),
    st.integers(0, 9),
)


def line(entry, genesis=GENESIS):
    fields = [entry.payload, entry.txid, entry.expiration, entry.op, entry.time, entry.asset, entry.amount]
    return json.dumps([genesis.hex(), *fields])


@settings(max_examples=30, deadline=None)
@given(st.lists(LINES, max_size=12), st.lists(LINES, max_size=12), st.randoms(use_true_random=False))
def test_merge_forgets_nothing_is_idempotent_and_knows_no_order(tmp_path_factory, own, given_lines, random):
    folder = tmp_path_factory.mktemp("journals")
    lines = [line(entry) for entry in given_lines]
    shuffled = list(lines)
    random.shuffle(shuffled)
    seen = []
    for name, first, then in (("a", own, lines), ("b", own, shuffled), ("c", given_lines, [line(e) for e in own])):
        journal = opened(folder / name)
        journal.merge(line(entry) for entry in first)
        before = journal.all_entries()
        new = journal.merge(then)
        after = {(e.payload, e.txid): e for e in journal.all_entries()}
        assert len(after) == len(before) + new
        for entry in [*before, *own, *given_lines]:
            kept = after[entry.payload, entry.txid]
            assert kept.expiration >= entry.expiration and kept.time >= entry.time and kept.amount >= entry.amount
        size = (folder / name).stat().st_size
        assert journal.merge(then) == 0 and (folder / name).stat().st_size == size
        assert {(e.payload, e.txid): e for e in opened(folder / name).all_entries()} == after
        seen.append(sorted(after.items()))
    assert seen[0] == seen[1] == seen[2]


def test_an_export_is_what_merge_takes(path, tmp_path):
    journal = opened(path)
    journal.write((4, 5), FIRST, LATER, "1050:7:9", time=7, spends={4: ("HIVE", 5)})
    journal.begin(1, 2, 3)
    journal.note_key(b"\2" * 33, is_new=True)
    other = opened(tmp_path / "other")
    assert other.merge(journal.lines()) == 2
    assert other.all_entries() == journal.all_entries()
    assert (other.born, other.knows_key(b"\2" * 33)) == (None, False), "where it stands is not exported"
    assert other.merge(path.read_text().splitlines()) == 0, "the file itself is taken too"


@pytest.mark.parametrize(
    "wrong",
    [
        "garbage",
        "[]",
        json.dumps([GENESIS.hex(), "x", FIRST.hex(), 5, "1:2:3"]),
        json.dumps([GENESIS.hex(), 4, "no id", 5, "1:2:3"]),
        json.dumps([GENESIS.hex(), 4, FIRST.hex().upper().replace("1", "A"), 5, "1:2:3"]),
        json.dumps([GENESIS.hex(), 4, FIRST.hex(), 5.5, "1:2:3"]),
        json.dumps([GENESIS.hex(), True, FIRST.hex(), 5, "1:2:3"]),
        json.dumps([GENESIS.hex(), 4, FIRST.hex(), 5, "1:2:3", 1]),
        line(Entry(4, FIRST.hex(), 5, "1:2:3"), ANOTHER),
    ],
)
def test_what_is_no_journal_of_this_genesis_is_not_taken_at_all(path, wrong):
    journal = opened(path)
    with pytest.raises(JournalError, match="line 2"):
        journal.merge([line(Entry(4, FIRST.hex(), 5, "1:2:3")), wrong])
    assert journal.all_entries() == [] and path.read_bytes() == b""


# -- what was signed away


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(0, 50), st.integers(0, 9)), max_size=15),
    st.integers(0, 50),
    st.sets(st.integers(1, 4)),
)
def test_a_payload_counts_once_and_in_the_newest_transaction(tmp_path_factory, written, since, without):
    """Whatever was signed for it: it is paid once at most."""
    journal = opened(tmp_path_factory.mktemp("journal") / "journal")
    amounts = {payload: 10 * payload for payload in range(1, 5)}
    latest = {}
    for payload, number, time, _ in written:
        txid = bytes([number]) * 20
        if not journal.has((payload,), txid):
            latest[payload] = max(latest.get(payload, 0), time)
        journal.write((payload,), txid, 99, "1:2:3", time=time, spends={payload: ("HIVE", amounts[payload])})
    wanted = sum(amounts[p] for p, time in latest.items() if time > since and p not in without)
    assert journal.spent("HIVE", since, without) == wanted
    assert journal.spent("HBD", since, ()) == 0


# -- since when it stands here


def test_from_its_beginning_on_old_keys_are_held_back(path):
    journal = opened(path)
    old, new, unseen = b"\2" * 33, b"\3" * 33, b"\4" * 33
    assert journal.held_until(old) == 0
    journal.begin(30, NOW, LATER)
    journal.note_key(old, is_new=False)
    journal.note_key(new, is_new=True)
    for found in (journal, opened(path)):
        assert [found.held_until(key) for key in (old, new, unseen)] == [LATER, 0, LATER]
        assert found.born == Born(30, NOW, LATER, found._home, journal.born.nonce)
        assert not found.is_moved
    journal.begin(40, LATER, LATER + 5)
    assert journal.held_until(new) == LATER + 5, "it begins anew for every key"
    assert opened(path).held_until(new) == LATER + 5


def test_a_mark_that_cannot_be_written_stops_the_signature(path, monkeypatch):
    journal = opened(path)
    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(JournalError, match="nothing is signed"):
        journal.write((4,), FIRST, LATER, "1050:7:9")
    assert journal.entries(4) == []
