"""The encrypted key file: one key, opened by its password alone, and by nothing that was changed in it."""

import json
import logging
import os
import stat
import traceback

import pytest

from node.errors import KeyFileError
from node.signer import keyfile, sealing
from node.signer.keyfile import KeyInfo, change_password, info_of, is_sealed, open_sealed, read_info, write_sealed
from node.signer.keys import SecretKey
from node.signer.passwords import as_bytes
from processors.hive.keys import private_key_to_wif, public_key_to_text

SECRET = bytes(range(1, 33))
KEY = SecretKey(SECRET)
PASSWORD = "correct horse battery"
CREATED = "2026-11-21T06:12:02Z"
INFO = info_of(KEY, "signing", "alice", CREATED)
#: Every form in which it could slip out.
FORMS = (private_key_to_wif(SECRET), SECRET.hex(), repr(SECRET)[2:20], str(int.from_bytes(SECRET, "big")), PASSWORD)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """scrypt as cheap as can be, but where a test asks for the real one."""
    monkeypatch.setattr(sealing, "_WORK", 16)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "signing.key"


@pytest.fixture
def written(path):
    write_sealed(path, KEY, INFO, PASSWORD)
    return path


def edit(path, **fields):
    """The file with other fields; None takes one away."""
    found = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({name: value for name, value in found.items() if value is not None}))
    return path


def refused(path, said, password=PASSWORD):
    with pytest.raises(KeyFileError, match=said) as no:
        open_sealed(path, password)
    told = "".join(traceback.format_exception(no.value))
    frames = traceback.TracebackException.from_exception(no.value, capture_locals=True).stack
    told += "".join(str(frame.locals) for frame in frames if "/tests/" not in frame.filename)
    assert not any(form in told for form in FORMS)
    assert no.value.__cause__ is None
    return str(no.value)


# -- written


def test_the_form_of_the_file(path, monkeypatch):
    monkeypatch.setattr(sealing, "_WORK", 1 << 17)
    write_sealed(path, KEY, INFO, PASSWORD)
    found = json.loads(path.read_text())
    assert found["kdf"].pop("salt") != found["cipher"].pop("nonce")
    assert len(bytes.fromhex(found.pop("sealed"))) == 48
    assert found == {
        "waggle_key": 1,
        "role": "signing",
        "account": "alice",
        "public_key": public_key_to_text(KEY.public, "STM"),
        "created": CREATED,
        "kdf": {"name": "scrypt", "n": 131072, "r": 8, "p": 1},
        "cipher": {"name": "aes-256-gcm"},
    }
    info, key = open_sealed(path, PASSWORD)
    assert (info, key.public) == (INFO, KEY.public)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert is_sealed(path.read_bytes())


def test_the_key_is_nowhere_in_the_file(written):
    raw = written.read_text()
    assert not any(form in raw for form in FORMS)


def test_never_over_another(written):
    before = written.read_bytes()
    with pytest.raises(KeyFileError, match="never overwritten"):
        write_sealed(written, KEY, INFO, PASSWORD)
    assert written.read_bytes() == before
    assert len(list(written.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("role", "account", "created", "said"),
    [
        ("active", "alice", CREATED, "the role is one of signing, account"),
        ("", "alice", CREATED, "the role"),
        ("signing", "No Name", CREATED, "no Hive account name"),
        ("signing", "alice", "yesterday", "2026-11-21T06:12:02Z"),
        ("signing", "alice", CREATED + "\n", "2026-11-21T06:12:02Z"),
    ],
)
def test_facts_that_are_none_are_not_written(role, account, created, said):
    with pytest.raises(KeyFileError, match=said):
        info_of(KEY, role, account, created)


def test_the_account_may_be_open_and_the_prefix_another(path):
    write_sealed(path, KEY, info_of(KEY, "account", "", CREATED, "TST"), PASSWORD)
    info, key = open_sealed(path, PASSWORD)
    assert info == KeyInfo("account", "", public_key_to_text(KEY.public, "TST"), CREATED)
    assert key.public == KEY.public


# -- read


def test_what_it_says_is_read_without_the_password(written, monkeypatch):
    monkeypatch.setattr(sealing, "unseal", lambda *words: pytest.fail("no password was given"))
    assert read_info(written) == INFO


def test_a_wrong_password_tells_nothing_else(written):
    for wrong in ("", "correct horse batterz", PASSWORD + "\n"):
        assert refused(written, "wrong password", wrong) == f"{written}: wrong password, or the file was changed"


def test_a_changed_file_says_the_same(written):
    assert refused(edit(written, account="mallory"), "wrong") == f"{written}: wrong password, or the file was changed"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("role", "account"),
        ("account", ""),
        ("account", "alicf"),
        ("public_key", public_key_to_text(SecretKey(bytes(31) + b"\1").public, "STM")),
        ("public_key", public_key_to_text(KEY.public, "TST")),
        ("created", "2026-11-21T06:12:03Z"),
        ("kdf", {"name": "scrypt", "n": 32, "r": 8, "p": 1, "salt": "00" * 32}),
        ("cipher", {"name": "aes-256-gcm", "nonce": "00" * 12}),
        ("sealed", "00" * 48),
    ],
)
def test_every_field_is_authenticated(written, name, value):
    refused(edit(written, **{name: value}), "wrong password, or the file was changed")


def test_no_byte_can_be_changed_but_spaces(written):
    raw = written.read_bytes()
    for at in range(len(raw)):
        written.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        if raw[at : at + 1].isspace():  # no part of the JSON: it may differ if it is still JSON
            continue
        refused(written, str(written))


def test_line_ends_may_differ(written):
    written.write_bytes(written.read_bytes().replace(b"\n", b"\r\n"))
    assert open_sealed(written, PASSWORD)[1].public == KEY.public


def test_cut_off_anywhere_it_is_refused(written):
    raw = written.read_bytes()
    for size in range(len(raw) - 2):
        written.write_bytes(raw[:size])
        refused(written, "cut off. Restore it from a backup")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"waggle_key": None}, "has no waggle_key"),
        ({"waggle_key": True}, "has no waggle_key"),
        ({"waggle_key": 2}, "version 2, this waggle knows version 1"),
        ({"more": 1}, "its fields are not"),
        ({"role": None}, "its fields are not"),
        ({"role": "owner"}, "the role is one of"),
        ({"role": 5}, "are texts"),
        ({"account": ["alice"]}, "are texts"),
        ({"account": "../x"}, "no Hive account name"),
        ({"public_key": "STM5"}, "the public key is none"),
        ({"public_key": "stm" + INFO.public_key[3:]}, "no prefix"),
        ({"public_key": ""}, "no prefix"),
        ({"created": "x" * 20}, "created is no time"),
        ({"kdf": {"name": "scrypt", "n": 8, "r": 8, "p": 1, "salt": "00" * 32}}, "made cheap: n = 8"),
        ({"kdf": {"name": "scrypt", "n": 1 << 30, "r": 8, "p": 1, "salt": "00" * 32}}, "too much memory"),
        ({"cipher": {"name": "none", "nonce": "00" * 12}}, "its cipher"),
        ({"sealed": "00" * 47}, "its sealed part"),
        ({"sealed": ""}, "its sealed part"),
        ({"sealed": "AA" * 48}, "its sealed part"),
        ({"created": CREATED, "account": "a" * 5000}, "at most 4096"),
    ],
)
def test_what_is_refused_before_any_work_is_done(written, monkeypatch, fields, said):
    monkeypatch.setattr(sealing, "_derive", lambda *words: pytest.fail("it worked on a bad file"))
    refused(edit(written, **fields), said)
    if "4096" not in said:
        with pytest.raises(KeyFileError, match=said):
            read_info(written)


def test_in_the_product_a_weakened_file_is_refused(written, monkeypatch):
    monkeypatch.setattr(sealing, "_WORK", 1 << 17)
    refused(written, "made cheap: n = 16, at least 131072 is taken")


def test_a_file_that_seals_another_key_than_it_says(path):
    """Only who knows the password can write it: a mistake, not an attack, and refused all the same."""
    other = info_of(SecretKey(bytes(31) + b"\1"), "signing", "alice", CREATED)
    write_sealed(path, KEY, other, PASSWORD)
    refused(path, "wrong password, or the file was changed")


@pytest.mark.parametrize("content", [bytes(32), b"\xff" * 32])
def test_a_file_that_seals_no_key(path, content):
    fields = {"waggle_key": 1, "role": "signing", "account": "", "public_key": INFO.public_key, "created": CREATED}
    header, sealed = sealing.seal(fields, content, PASSWORD)
    path.write_text(json.dumps({**header, "sealed": sealed.hex()}))
    path.chmod(0o600)
    refused(path, "wrong password, or the file was changed")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_that_others_can_read_is_refused(written, mode):
    written.chmod(mode)
    refused(written, f"chmod 600 {written}")


def test_a_link_a_folder_and_nothing_are_refused(written, tmp_path):
    (tmp_path / "link").symlink_to(written)
    refused(tmp_path / "link", "symbolic link")
    refused(tmp_path, "is no file")
    refused(tmp_path / "none", "waggle keys new")


# -- another password


def test_change_password(written):
    before = json.loads(written.read_text())
    assert change_password(written, PASSWORD, "another long password") == INFO
    after = json.loads(written.read_text())
    for part, name in (("kdf", "salt"), ("cipher", "nonce")):
        assert before[part][name] != after[part][name]
    refused(written, "wrong password")
    assert open_sealed(written, "another long password")[1].public == KEY.public
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert len(list(written.parent.iterdir())) == 1


def test_change_password_with_a_wrong_one_changes_nothing(written):
    before = written.read_bytes()
    with pytest.raises(KeyFileError, match="wrong password"):
        change_password(written, "something else", "another long password")
    assert written.read_bytes() == before


def test_change_password_on_a_full_disk_changes_nothing(written, monkeypatch):
    def full(*words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(KeyFileError, match="No space left"):
        change_password(written, PASSWORD, "another long password")
    monkeypatch.undo()
    monkeypatch.setattr(sealing, "_WORK", 16)
    assert open_sealed(written, PASSWORD)[1].public == KEY.public
    assert len(list(written.parent.iterdir())) == 1


# -- it does not show


def test_not_in_the_log_of_anybody(path, caplog):
    with caplog.at_level(logging.DEBUG):
        write_sealed(path, KEY, INFO, PASSWORD)
        found = open_sealed(path, PASSWORD)
        logging.getLogger("somebody").warning("opened %s %r", found, [found])
    assert not any(form in caplog.text for form in FORMS)


def test_not_in_the_frames_of_a_failure_in_the_middle(written, monkeypatch):
    def breaks(key, prefix):
        raise RuntimeError("in the middle")

    monkeypatch.setattr(keyfile, "public_key_to_text", breaks)
    with pytest.raises(RuntimeError) as no:
        open_sealed(written, PASSWORD)
    frames = traceback.TracebackException.from_exception(no.value, capture_locals=True).stack
    assert not any(form in str(frame.locals) for frame in frames if "/tests/" not in frame.filename for form in FORMS)
    assert as_bytes(PASSWORD) == PASSWORD.encode()
