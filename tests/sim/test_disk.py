"""A disk on which a process dies at a write: what lies there afterwards, in memory and in a real LevelDB."""

from pathlib import Path

import pytest

from node.files import DISK as REAL_DISK
from node.outbox import Outbox
from node.signer.journal import Journal
from node.sim.disk import AFTER, BEFORE, MIDDLE, Disk, Doom, Killed
from state.errors import StateError, StoreMismatchError

GENESIS = b"g" * 32
JOURNAL, OUTBOX = Path("/journal"), Path("/outbox")
FIRST, SECOND = b"\x01" * 20, b"\x02" * 20
KINDS = ["memory", "level"]


@pytest.fixture
def struck():
    """How often a doom struck."""
    return []


def doom(disk, struck, place, when, count=1):
    disk.doom = Doom(place, when, count, lambda: struck.append(when))


def new_disk(kind, tmp_path):
    return Disk(tmp_path / "state" if kind == "level" else None)


def opened(disk):
    return disk.open_store(GENESIS)


def entries(disk):
    """What a process finds that starts now."""
    store = opened(disk)
    found = dict(store.iterate(b"k"))
    store.close()
    return found


def write(store, *numbers):
    for number in numbers:
        store.write([(b"k%03d" % number, b"v" * 200), (b"k_last", b"%d" % number)], sync=True)


def keys(*numbers):
    last = {b"k_last": b"%d" % numbers[-1]} if numbers else {}
    return {b"k%03d" % number: b"v" * 200 for number in numbers} | last


# -- files


@pytest.mark.parametrize(("when", "left"), [(BEFORE, b"old "), (MIDDLE, b"old new"), (AFTER, b"old new old")])
def test_an_append_leaves_nothing_or_a_torn_half_or_all(struck, when, left):
    disk = Disk(None)
    disk.append(JOURNAL, b"old ")
    doom(disk, struck, "journal", when)
    with pytest.raises(Killed):
        disk.append(JOURNAL, b"new old")
    assert disk.read(JOURNAL) == left
    assert struck == [when]


@pytest.mark.parametrize(("when", "left"), [(BEFORE, b"old"), (MIDDLE, b"old"), (AFTER, b"new")])
def test_a_replace_leaves_the_old_file_or_the_new_one(struck, when, left):
    disk = Disk(None)
    disk.replace(OUTBOX, b"old")
    doom(disk, struck, "outbox", when)
    with pytest.raises(Killed):
        disk.replace(OUTBOX, b"new")
    assert disk.read(OUTBOX) == left


@pytest.mark.parametrize("when", [BEFORE, MIDDLE])
def test_a_first_replace_that_was_not_finished_leaves_no_file(struck, when):
    disk = Disk(None)
    doom(disk, struck, "outbox", when)
    with pytest.raises(Killed):
        disk.replace(OUTBOX, b"new")
    assert disk.read(OUTBOX) is None


def test_a_doom_strikes_at_its_place_at_its_count_and_once(struck):
    disk = Disk(None)
    doom(disk, struck, "journal", AFTER, count=2)
    disk.replace(OUTBOX, b"1")
    disk.append(JOURNAL, b"1")
    disk.append(JOURNAL, b"")  # no write
    disk.replace(OUTBOX, b"2")
    assert struck == []
    with pytest.raises(Killed):
        disk.append(JOURNAL, b"2")
    disk.append(JOURNAL, b"3")
    assert struck == [AFTER]
    assert disk.files == {"journal": b"123", "outbox": b"2"}


def test_a_doom_without_a_place_counts_every_write(struck):
    disk = Disk(None)
    doom(disk, struck, "", BEFORE, count=3)
    disk.append(JOURNAL, b"1")
    disk.replace(OUTBOX, b"1")
    with pytest.raises(Killed):
        write(opened(disk), 1)
    assert struck == [BEFORE]


def test_nothing_that_catches_exceptions_survives_a_kill(struck):
    disk = Disk(None)
    doom(disk, struck, "", AFTER)
    with pytest.raises(Killed):
        try:
            disk.append(JOURNAL, b"x")
        except Exception:  # noqa: BLE001 - that is the point
            pytest.fail("caught")


@pytest.mark.parametrize(("when", "signed"), [(BEFORE, [FIRST]), (MIDDLE, [FIRST]), (AFTER, [FIRST, SECOND])])
def test_a_journal_opens_on_what_a_kill_left_and_goes_on(struck, when, signed):
    disk = Disk(None)
    Journal(JOURNAL, GENESIS, disk).write([1], FIRST, 100, "20:1:1")
    doom(disk, struck, "journal", when)
    with pytest.raises(Killed):
        Journal(JOURNAL, GENESIS, disk).write([1], SECOND, 200, "40:1:1")
    journal = Journal(JOURNAL, GENESIS, disk)
    assert [entry.txid for entry in journal.entries(1)] == [txid.hex() for txid in signed]
    journal.write([2], SECOND, 300, "60:1:1")
    assert len(Journal(JOURNAL, GENESIS, disk).entries(2)) == 1


def test_an_outbox_opens_on_what_a_kill_left(struck):
    disk = Disk(None)
    Outbox(OUTBOX, disk).add("a", 1)
    doom(disk, struck, "outbox", MIDDLE)
    with pytest.raises(Killed):
        Outbox(OUTBOX, disk).add("b", 2)
    assert Outbox(OUTBOX, disk).sent == {"a": 1}


def test_the_files_behave_as_those_of_a_real_machine(tmp_path):
    disk = Disk(None)

    def both(name, *arguments):
        return getattr(disk, name)(JOURNAL, *arguments), getattr(REAL_DISK, name)(tmp_path / "journal", *arguments)

    def alike():
        mine, real = both("read")
        assert mine == real
        return mine

    assert alike() is None
    both("append", b"")
    assert alike() == b""
    both("append", b"abc")
    both("append", b"def")
    both("cut", 4)
    assert alike() == b"abcd"
    both("replace", b"new")
    assert alike() == b"new"


# -- the store


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("when", "left"), [(BEFORE, (1, 2)), (MIDDLE, (1, 2)), (AFTER, (1, 2, 3))])
def test_a_batch_is_there_as_a_whole_or_not_at_all(struck, tmp_path, kind, when, left):
    disk = new_disk(kind, tmp_path)
    store = opened(disk)
    write(store, 1, 2)
    doom(disk, struck, "store", when)
    with pytest.raises(Killed):
        write(store, 3)
    store.close()
    assert struck == [when]
    assert entries(disk) == keys(*left)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_torn_once_is_not_torn_again(struck, tmp_path, kind):
    disk = new_disk(kind, tmp_path)
    store = opened(disk)
    doom(disk, struck, "store", MIDDLE, count=2)
    write(store, 1)
    with pytest.raises(Killed):
        write(store, 2)
    store.close()
    store = opened(disk)
    write(store, 3)
    store.close()
    assert entries(disk) == keys(1, 3)
    assert entries(disk) == keys(1, 3)


def test_the_end_of_a_leveldb_was_really_torn(struck, tmp_path):
    disk = new_disk("level", tmp_path)
    store = opened(disk)
    doom(disk, struck, "store", MIDDLE)
    with pytest.raises(Killed):
        write(store, 1)
    store.close()
    (log,) = (tmp_path / "state").glob("*.log")
    whole = log.read_bytes()
    disk._tear_log()
    assert log.read_bytes() == whole[:-5]


def test_a_store_in_memory_outlives_its_process():
    disk = Disk(None)
    store = opened(disk)
    write(store, 1)
    store.close()
    assert entries(disk) == keys(1)


def test_take_back_forgets_whole_batches_the_newest_first():
    disk = Disk(None)
    store = opened(disk)
    write(store, 1, 2, 3, 4)
    store.write([(b"k001", None)], sync=True)
    assert disk.tear_store(1)
    assert entries(disk) == keys(1, 2, 3, 4)
    assert disk.tear_store(2)
    assert entries(disk) == keys(1, 2)
    assert disk.tear_store(9)
    assert entries(disk) == {}
    assert not disk.tear_store(1)


def test_take_back_restores_what_a_batch_wrote_twice():
    disk = Disk(None)
    store = opened(disk)
    store.write([(b"k", b"old")], sync=True)
    store.write([(b"k", b"new"), (b"k", None), (b"k", b"newer")], sync=True)
    disk.tear_store(1)
    assert store.get(b"k") == b"old"


def test_take_back_goes_no_further_than_what_is_kept():
    disk = Disk(None)
    write(opened(disk), *range(100))
    assert disk.tear_store(1_000)
    assert entries(disk) == keys(*range(60))


def test_a_torn_leveldb_opens_and_has_lost_its_newest_batch_only(tmp_path):
    disk = new_disk("level", tmp_path)
    store = opened(disk)
    write(store, *range(20))
    store.close()
    assert disk.tear_store(1)
    assert entries(disk) == keys(*range(19))
    store = opened(disk)
    write(store, 50)
    store.close()
    assert entries(disk) == keys(*range(19), 50)


def test_a_leveldb_that_is_not_there_cannot_be_torn(tmp_path):
    assert not new_disk("level", tmp_path).tear_store(1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_store_begins_anew_and_the_files_stay(tmp_path, kind):
    disk = new_disk(kind, tmp_path)
    disk.append(JOURNAL, b"signed")
    store = opened(disk)
    write(store, 1)
    store.close()
    disk.lose_store()
    assert entries(disk) == {}
    assert disk.read(JOURNAL) == b"signed"


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_store_is_not_torn_by_what_befell_the_old_one(tmp_path, kind, struck):
    disk = new_disk(kind, tmp_path)
    store = opened(disk)
    doom(disk, struck, "store", MIDDLE)
    with pytest.raises(Killed):
        write(store, 1)
    store.close()
    disk.lose_store()
    store = opened(disk)
    write(store, 2)
    store.close()
    assert entries(disk) == keys(2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_brings_everything_back_the_journal_too(tmp_path, kind):
    disk = new_disk(kind, tmp_path)
    disk.append(JOURNAL, b"one ")
    store = opened(disk)
    write(store, 1, 2)
    backup = disk.back_up(tmp_path / "backup" if kind == "level" else None)  # the process runs meanwhile
    disk.append(JOURNAL, b"two ")
    disk.replace(OUTBOX, b"box")
    write(store, 3)
    store.close()
    disk.restore(backup)
    assert entries(disk) == keys(1, 2)
    assert disk.files == {"journal": b"one "}
    store = opened(disk)
    write(store, 4)
    store.close()
    disk.append(JOURNAL, b"three")
    disk.restore(backup)  # a copy is not used up, and what came later is not in it
    assert entries(disk) == keys(1, 2)
    assert disk.files == {"journal": b"one "}


def test_a_restored_store_cannot_be_torn_behind_its_backup():
    disk = Disk(None)
    write(opened(disk), 1)
    disk.restore(disk.back_up(None))
    assert not disk.tear_store(1)
    assert entries(disk) == keys(1)


def test_a_backup_made_before_the_store_restores_none(tmp_path):
    disk = new_disk("level", tmp_path)
    backup = disk.back_up(tmp_path / "backup")
    store = opened(disk)
    write(store, 1)
    store.close()
    disk.restore(backup)
    assert entries(disk) == {}


def test_a_leveldb_refuses_the_store_of_another_group(tmp_path):
    disk = new_disk("level", tmp_path)
    opened(disk).close()
    with pytest.raises(StoreMismatchError):
        disk.open_store(b"h" * 32)
    assert issubclass(StoreMismatchError, StateError)  # which an operator can mend
