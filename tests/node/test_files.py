"""The small files of a node on a real disk: what is written, by which mode, and when it is synced."""

import os
import stat
from contextlib import suppress

import pytest

from node.files import DISK


@pytest.fixture
def path(tmp_path):
    """Where a file may be made; its folder is there."""
    return tmp_path / "journal"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def calls(monkeypatch):
    """What the system was asked to do with which file, in order; ``os`` does it all the same."""
    found = []

    def name_of(handle):
        return os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))

    def watch(call, names):
        genuine = getattr(os, call)

        def instead(*arguments):
            found.append((call, *names(*arguments)))
            return genuine(*arguments)

        monkeypatch.setattr(os, call, instead)

    watch("write", lambda handle, data: (name_of(handle),))
    watch("fsync", lambda handle: (name_of(handle),))
    watch("ftruncate", lambda handle, size: (name_of(handle),))
    watch("replace", lambda old, new: (old.name, new.name))
    return found


# -- what stands there


def test_a_file_that_is_not_there_reads_as_none(path):
    assert DISK.read(path) is None
    path.write_bytes(b"")
    assert DISK.read(path) == b""


def test_another_trouble_than_a_missing_file_is_no_none(path):
    path.mkdir()
    with pytest.raises(OSError):
        DISK.read(path)


def test_what_is_appended_comes_after_what_is_there(path):
    for part in (b"one", b"", b"\x00two", bytes(100_000)):
        DISK.append(path, part)
    assert DISK.read(path) == b"one\x00two" + bytes(100_000)


def test_to_append_nothing_makes_the_file(path):
    DISK.append(path, b"")
    assert DISK.read(path) == b""
    DISK.append(path, b"more")
    DISK.append(path, b"")
    assert DISK.read(path) == b"more"


def test_append_makes_the_folders_too(tmp_path):
    DISK.append(tmp_path / "a" / "b" / "journal", b"x")
    assert DISK.read(tmp_path / "a" / "b" / "journal") == b"x"


def test_only_append_makes_folders(tmp_path):
    with pytest.raises(FileNotFoundError):
        DISK.replace(tmp_path / "a" / "outbox", b"x")


@pytest.mark.parametrize("size", [0, 1, 4, 5])
def test_cut_leaves_the_first_bytes(path, size):
    path.write_bytes(b"12345")
    DISK.cut(path, size)
    assert path.read_bytes() == b"12345"[:size]
    DISK.append(path, b"6")
    assert path.read_bytes() == b"12345"[:size] + b"6"


def test_cut_makes_no_file(path):
    with pytest.raises(FileNotFoundError):
        DISK.cut(path, 0)
    assert not path.exists()


@pytest.mark.parametrize("before", [None, b"", b"old and longer"])
def test_replace_puts_all_of_it_and_nothing_else(tmp_path, before):
    path = tmp_path / "outbox.json"
    if before is not None:
        path.write_bytes(before)
    DISK.replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert [found.name for found in tmp_path.iterdir()] == ["outbox.json"]


def test_replace_heeds_no_rest_of_an_earlier_attempt(tmp_path):
    (tmp_path / "outbox.new").write_bytes(b"torn by a crash, and longer")
    DISK.replace(tmp_path / "outbox.json", b"new")
    assert (tmp_path / "outbox.json").read_bytes() == b"new"


@pytest.mark.parametrize("umask", [0, 0o022])
@pytest.mark.parametrize("how", ["append", "replace"])
def test_what_is_new_is_the_owners_alone(path, umask, how):
    before = os.umask(umask)
    try:
        getattr(DISK, how)(path, b"x")
    finally:
        os.umask(before)
    assert mode(path) == 0o600


def test_what_was_open_to_others_is_closed_by_replacing_it(path):
    path.write_bytes(b"old")
    path.chmod(0o644)
    DISK.replace(path, b"new")
    assert mode(path) == 0o600


# -- what is synced


def test_a_new_file_is_synced_and_then_the_folder_that_names_it(path, calls):
    DISK.append(path, b"x")
    assert calls == [("write", "journal"), ("fsync", "journal"), ("fsync", path.parent.name)]


def test_a_new_empty_file_is_synced_with_its_folder(path, calls):
    DISK.append(path, b"")
    assert calls == [("fsync", "journal"), ("fsync", path.parent.name)]


def test_what_is_appended_to_a_known_file_is_synced(path, calls):
    path.write_bytes(b"known")
    DISK.append(path, b"x")
    assert calls[:2] == [("write", "journal"), ("fsync", "journal")]


def test_what_is_cut_is_synced(path, calls):
    path.write_bytes(b"12345")
    DISK.cut(path, 2)
    assert calls[:2] == [("ftruncate", "journal"), ("fsync", "journal")]


def test_the_new_content_is_synced_before_it_takes_the_place_and_the_folder_after(tmp_path, calls):
    (tmp_path / "outbox.json").write_bytes(b"old")
    DISK.replace(tmp_path / "outbox.json", b"new")
    assert calls == [
        ("write", "outbox.new"),
        ("fsync", "outbox.new"),
        ("replace", "outbox.new", "outbox.json"),
        ("fsync", tmp_path.name),
    ]


@pytest.mark.parametrize("how", ["append", "replace"])
def test_a_write_that_takes_a_part_is_gone_on_with(path, monkeypatch, how):
    genuine = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: genuine(handle, data[:3]))
    getattr(DISK, how)(path, b"0123456789")
    assert path.read_bytes() == b"0123456789"


# -- what fails


def fail_at(monkeypatch, call, after=0):
    """The call after ``after`` others raises."""
    genuine, made = getattr(os, call), []

    def instead(*arguments):
        made.append(arguments)
        if len(made) > after:
            raise OSError(28, "No space left on device")
        return genuine(*arguments)

    monkeypatch.setattr(os, call, instead)


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_replacement_that_fails_leaves_the_old_file(path, monkeypatch, call):
    path.write_bytes(b"old")
    fail_at(monkeypatch, call)
    with pytest.raises(OSError, match="No space left"):
        DISK.replace(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    DISK.replace(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_replacement_that_is_torn_leaves_the_old_file(path, monkeypatch):
    path.write_bytes(b"old")
    genuine = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: genuine(handle, data[:1]))
    fail_at(monkeypatch, "write", after=2)
    with pytest.raises(OSError, match="No space left"):
        DISK.replace(path, b"0123")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("after", [0, 2])
def test_a_failed_append_leaves_what_was_there_and_a_part_at_most(path, monkeypatch, after):
    path.write_bytes(b"old")
    genuine = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: genuine(handle, data[:1]))
    fail_at(monkeypatch, "write", after)
    with pytest.raises(OSError, match="No space left"):
        DISK.append(path, b"0123")
    assert path.read_bytes() == b"old" + b"0123"[:after]


@pytest.mark.parametrize("how", ["append", "replace"])
def test_what_could_not_be_synced_is_no_success(path, monkeypatch, how):
    """Neither the file nor the folder: a signature may leave only after both."""
    for after in (0, 1):
        fail_at(monkeypatch, "fsync", after)
        with pytest.raises(OSError, match="No space left"):
            getattr(DISK, how)(path, b"x")
        monkeypatch.undo()
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("call", ["write", "fsync", "ftruncate", "replace"])
def test_no_handle_stays_open(path, monkeypatch, call):
    path.write_bytes(b"old")
    before = len(os.listdir("/proc/self/fd"))
    fail_at(monkeypatch, call)
    for act in (lambda: DISK.append(path, b"x"), lambda: DISK.replace(path, b"x"), lambda: DISK.cut(path, 1)):
        with suppress(OSError):
            act()
    monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) == before
