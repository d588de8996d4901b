"""Backups: everything a node needs on another machine, and a restored journal that knows that it is old."""

import os
import stat
import traceback

import msgspec
import pytest

from node.config import load_config
from node.signer import backup as module
from node.signer import sealing
from node.signer.backup import About, BackupError, backup, describe, files_of, restore, write_restored
from node.signer.journal import RESTORED, Journal
from node.signer.keyfile import info_of, open_sealed, write_sealed
from node.signer.keys import new_key

PASSWORD = "correct horse battery"
ABOUT = About("alice", "my-group", "ab" * 32, 101_000_250, "2026-11-21T06:12:02Z")
FILES = {"config.toml": b"[node]", "account.key": b"sealed", "data/journal": b"line\n", "data/approvals": b""}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(sealing, "_WORK", 16)


@pytest.fixture
def raw():
    return backup(FILES, PASSWORD, ABOUT)


def sealing_these(pairs):
    """A backup whose maker had the password and no manners."""
    header, sealed = sealing.seal(
        {"waggle_backup": 1, **msgspec.to_builtins(ABOUT)}, msgspec.msgpack.encode(pairs), PASSWORD
    )
    return sealing.canonical(header) + b"\n" + sealed


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- made and opened


def test_what_went_in_comes_out(raw):
    assert restore(raw, PASSWORD) == FILES


def test_whose_it_is_and_how_old_is_said_without_the_password(raw):
    assert describe(raw) == ABOUT
    assert describe(backup(FILES, PASSWORD, About("alice", "g", "", None, "now"))).height is None


def test_names_and_contents_are_sealed(raw):
    for word in (b"config.toml", b"sealed", b"journal", b"[node]", PASSWORD.encode()):
        assert word not in raw.partition(b"\n")[2]


def test_a_wrong_password_tells_nothing_else(raw):
    with pytest.raises(BackupError) as no:
        restore(raw, PASSWORD[::-1])
    assert str(no.value) == "wrong password, or the backup was changed"
    frames = traceback.TracebackException.from_exception(no.value, capture_locals=True).stack
    assert not any(PASSWORD[::-1] in str(frame.locals) for frame in frames if "/tests/" not in frame.filename)


def test_no_byte_can_be_changed(raw):
    for at in range(len(raw)):
        with pytest.raises(BackupError):
            restore(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :], PASSWORD)


def test_cut_off_anywhere_it_is_refused(raw):
    for size in range(len(raw)):
        with pytest.raises(BackupError):
            restore(raw[:size], PASSWORD)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (b'"height":101000250', b'"height":101000251', "wrong password, or the backup was changed"),
        (b'"height":101000250', b'"height":null', "wrong password, or the backup was changed"),
        (b'"account":"alice"', b'"account":"mallo"', "wrong password, or the backup was changed"),
        (b'"created":"2026', b'"created":"2027', "wrong password, or the backup was changed"),
        (b'"height":101000250', b'"height":"high"', "no number of a block"),
        (b'"height":101000250', b'"height":true', "no number of a block"),
        (b'"account":"alice"', b'"account":5', "short texts"),
        (b'"account":"alice"', b'"account":"\\u001b[31m"', "short texts"),
        (b'"account":"alice"', b'"account": "alice"', "rewritten"),
        (b'"account":"alice",', b"", "its fields are others"),
        (b'"waggle_backup":1', b'"waggle_backup":2', "version 2, this waggle knows version 1"),
        (b'"waggle_backup":1', b'"waggle_backup":true', "no backup of waggle"),
        (b'"n":16', b'"n":8', "made cheap"),
        (b'"n":16', b'"n":1073741824', "too much memory"),
    ],
)
def test_the_header_is_authenticated(raw, before, after, said):
    assert before in raw
    with pytest.raises(BackupError, match=said):
        restore(raw.replace(before, after), PASSWORD)


@pytest.mark.parametrize("raw", [b"", b"\n", b"{}\n", b"x" * 10_000, b"[]\n", b'{"waggle_key": 1}\n', b"\xff" * 100])
def test_what_is_no_backup(raw):
    with pytest.raises(BackupError, match="no backup of waggle, or it was cut off"):
        describe(raw)


# -- names that lead elsewhere

EVIL = [
    "/etc/passwd", "..", "../x", "a/../../x", "a/..", ".", "a/./b", "a//b", "a/", "", "/", "a\\..\\x", "C:x", "a\0b",
    "a\nb", "a" * 300, "a/" * 600 + "a", "\x1b[2J", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", EVIL)
def test_an_evil_name_is_neither_taken_nor_given_back_nor_written(name, tmp_path):
    with pytest.raises(BackupError):
        backup({"fine": b"", name: b""}, PASSWORD, ABOUT)
    with pytest.raises(BackupError):
        write_restored({"fine": b"", name: b""}, tmp_path / "in" / "to")
    assert list(tmp_path.iterdir()) == []
    if name != "\ud800":  # msgpack has no such text
        with pytest.raises(BackupError, match="nothing was written"):
            restore(sealing_these([("fine", b""), (name, b"")]), PASSWORD)


def test_a_name_below_a_file_is_refused(tmp_path):
    with pytest.raises(BackupError, match="lies in something that is a file"):
        restore(sealing_these([("a", b""), ("a/b", b"")]), PASSWORD)


@pytest.mark.parametrize(
    "content", [5, [], [("a",)], [("a", "text")], {"a": b""}, [(b"a", b"")], [("a", b""), ("a", b"")]]
)
def test_what_is_sealed_is_files_each_once(content):
    if content == []:
        assert restore(sealing_these(content), PASSWORD) == {}
        return
    with pytest.raises(BackupError, match="something else than files"):
        restore(sealing_these(content), PASSWORD)


# -- sizes


def test_sizes_are_bounded(monkeypatch):
    assert module._MOST_BYTES == 64 << 20
    monkeypatch.setattr(module, "_MOST_BYTES", 1000)
    assert restore(backup({"a": bytes(900)}, PASSWORD, ABOUT), PASSWORD) == {"a": bytes(900)}
    with pytest.raises(BackupError, match="at most"):
        backup({"a": bytes(1000)}, PASSWORD, ABOUT)
    with pytest.raises(BackupError, match="more than 1000 files"):
        backup({str(number): b"" for number in range(1001)}, PASSWORD, ABOUT)
    with pytest.raises(BackupError, match="or has more than"):
        describe(backup({"a": b""}, PASSWORD, ABOUT) + bytes(1100))


# -- written


def test_written_for_the_owner_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        written = write_restored(FILES, tmp_path / "new" / "home")
    finally:
        os.umask(before)
    home = tmp_path / "new" / "home"
    assert tree(home) == {**FILES, f"data/{RESTORED}": b""}
    assert sorted(written) == sorted(path for path in home.rglob("*") if path.is_file())
    for path in (home, *home.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["home"]


def test_an_empty_folder_will_do_and_a_link_to_one(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    write_restored(FILES, tmp_path / "link")
    assert tree(tmp_path / "empty").keys() == {*FILES, f"data/{RESTORED}"}


@pytest.mark.parametrize("there", ["journal", "data/journal", ".hidden"])
def test_never_into_a_folder_that_holds_anything(tmp_path, there):
    home = tmp_path / "home"
    (home / there).parent.mkdir(parents=True)
    (home / there).write_text("mine")
    with pytest.raises(BackupError, match="nothing is ever overwritten"):
        write_restored(FILES, home)
    assert tree(home) == {there: b"mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_nor_in_the_place_of_a_file(tmp_path):
    (tmp_path / "home").write_text("mine")
    with pytest.raises(BackupError, match="not empty"):
        write_restored(FILES, tmp_path / "home")
    assert (tmp_path / "home").read_text() == "mine"


def test_somebody_who_fills_the_folder_meanwhile_loses_nothing(tmp_path, monkeypatch):
    home, real = tmp_path / "home", os.rename

    def rename(old, new):
        home.mkdir()
        (home / "journal").write_text("mine")
        real(old, new)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(BackupError, match="name a new folder"):
        write_restored(FILES, home)
    assert tree(home) == {"journal": b"mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
def test_a_disk_that_fails_leaves_nothing(tmp_path, monkeypatch, step):
    def fails(*words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fails)
    with pytest.raises(BackupError, match="No space left"):
        write_restored(FILES, tmp_path / "home")
    assert list(tmp_path.iterdir()) == []


def test_a_restored_journal_knows_that_it_is_old(tmp_path):
    """Whatever it holds, and wherever it lies."""
    journal = Journal(tmp_path / "old" / "data" / "journal", bytes(32))
    journal.write([7], bytes(20), 1000, "7")
    assert not journal.is_moved
    raw = backup({"data/journal": (tmp_path / "old" / "data" / "journal").read_bytes()}, PASSWORD, ABOUT)
    write_restored(restore(raw, PASSWORD), tmp_path / "new")
    found = Journal(tmp_path / "new" / "data" / "journal", bytes(32))
    assert found.is_moved
    assert [entry.txid for entry in found.entries(7)] == [bytes(20).hex()]
    assert tree(tmp_path / "new")[f"data/{RESTORED}"] == b""


@pytest.mark.parametrize("name", ["journal", "data/journal", "outside/var/lib/waggle/journal"])
def test_every_journal_gets_its_mark(tmp_path, name):
    write_restored({name: b""}, tmp_path / "new")
    assert tree(tmp_path / "new") == {name: b"", f"{name}.restored": b""}


# -- which files

CONFIG = """
[node]
account = "alice"
genesis = "genesis.toml"
data = "data"
[keys]
account = "account.key"
signing = ["signing.key", "keys/old.key"]
password = "file:password"
[[api]]
url = "https://api.one"
operator = "one"
[[api]]
url = "https://api.two"
operator = "two"
"""


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    (folder / "keys").mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG)
    (folder / "genesis.toml").write_text("the genesis")
    (folder / "password").write_text(PASSWORD)
    for name in ("account.key", "signing.key", "keys/old.key"):
        key = new_key()
        write_sealed(folder / name, key, info_of(key, "signing", "alice", ABOUT.created), PASSWORD)
    (folder / "data" / "state").mkdir(parents=True)
    (folder / "data" / "state" / "CURRENT").write_text("")
    (folder / "data" / "journal").write_text("a line\n")
    (folder / "data" / "approvals").write_text("word\n")
    (folder / "data" / "outbox.json").write_text("[]")
    return folder


EXPECTED = {
    "config.toml",
    "genesis.toml",
    "account.key",
    "signing.key",
    "keys/old.key",
    "data/journal",
    "data/approvals",
}


def test_the_files_of_a_node_and_not_its_password(home):
    found = files_of(load_config(home / "config.toml"))
    assert found.keys() == EXPECTED
    assert all(found[name] == (home / name).read_bytes() for name in EXPECTED)


def test_the_same_from_wherever_the_configuration_is_named(home, monkeypatch):
    monkeypatch.chdir(home / "data")
    assert files_of(load_config(module.Path("../config.toml"))).keys() == EXPECTED


def test_a_whole_node_on_another_machine(home, tmp_path):
    raw = backup(files_of(load_config(home / "config.toml")), PASSWORD, ABOUT)
    write_restored(restore(raw, PASSWORD), tmp_path / "new")
    config = load_config(tmp_path / "new" / "config.toml")
    for path in (config.account_key, *config.signing_keys):
        assert path.is_relative_to(tmp_path / "new")
        assert open_sealed(path, PASSWORD)
    assert (config.data / "journal").read_text() == "a line\n"
    assert (config.data / RESTORED).read_bytes() == b""


def test_without_a_journal_the_restored_one_is_not_fresh(home, tmp_path):
    (home / "data" / "journal").unlink()
    (home / "data" / "approvals").unlink()
    found = files_of(load_config(home / "config.toml"))
    assert found["data/journal"] == b""
    assert "data/approvals" not in found
    write_restored(found, tmp_path / "new")
    assert (tmp_path / "new" / "data" / RESTORED).exists()


def test_what_lies_elsewhere_keeps_its_whole_path(home, tmp_path):
    (tmp_path / "var").mkdir()
    (home / "data" / "journal").rename(tmp_path / "var" / "journal")
    (home / "config.toml").write_text(CONFIG.replace('"data"', f'"{tmp_path / "var"}"'))
    found = files_of(load_config(home / "config.toml"))
    assert found[f"outside{tmp_path}/var/journal"] == b"a line\n"


@pytest.mark.parametrize("name", ["genesis.toml", "account.key", "keys/old.key"])
def test_a_file_that_is_missing_is_told(home, name):
    (home / name).unlink()
    with pytest.raises(BackupError, match="a backup without it could not be restored"):
        files_of(load_config(home / "config.toml"))


def test_the_word_for_the_journal_that_stands_here_is_none_for_its_copy(home):
    (home / "data" / "approvals").write_text("word\njournal:30:ab\n61500:1:2 ab\njournal:")
    assert files_of(load_config(home / "config.toml"))["data/approvals"] == b"word\n61500:1:2 ab\n"
