"""A node opens its key files, encrypted and WIF alike, with one password; and what can be said of a file without it."""

import copy
import dataclasses
import inspect
import io
import json
import pickle
import traceback

import msgspec
import pytest
from rich.console import Console
from rich.traceback import Traceback

from node.errors import KeyFileError
from node.signer import sealing
from node.signer.keyfile import info_of, write_sealed
from node.signer.keys import SecretKey, load_keys, look_at, open_keys, write_key
from node.signer.secret import HiddenBytes, HiddenText
from processors.hive import crypto, crypto_pure
from processors.hive.keys import private_key_to_wif, public_key_to_text

PASSWORD = "correct horse battery"
KEYS = [SecretKey(bytes(31) + bytes([number])) for number in (1, 2, 3)]
SECRET = bytes(range(1, 33))
WIF = private_key_to_wif(SECRET)
FORMS = (WIF, SECRET.hex(), repr(SECRET)[2:20], str(int.from_bytes(SECRET, "big")), PASSWORD)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(sealing, "_WORK", 16)


def sealed(path, key, role="signing"):
    write_sealed(path, key, info_of(key, role, "alice", "2026-11-21T06:12:02Z"), PASSWORD)
    return path


def plain(path, *keys):
    path.write_text("".join(private_key_to_wif(key._secret) + "\n" for key in keys))
    path.chmod(0o600)
    return path


class Asked:
    """Gives the password, and counts how often."""

    def __init__(self, password=PASSWORD):
        self.password, self.times = password, 0

    def __call__(self):
        self.times += 1
        return self.password


def shown_of(error):
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    ours = "".join(str(frame.locals) for frame in frames if "/tests/" not in frame.filename)
    return "".join(traceback.format_exception(error)) + ours


# -- opening


def test_both_kinds_in_the_order_of_the_files(tmp_path):
    paths = [sealed(tmp_path / "a", KEYS[0]), plain(tmp_path / "b", KEYS[1], KEYS[2]), sealed(tmp_path / "c", KEYS[2])]
    asked = Asked()
    found = open_keys(paths, asked)
    assert [key.public for key in found.keys] == [KEYS[at].public for at in (0, 1, 2, 2)]
    assert [key.public for key in found.of[paths[1]]] == [KEYS[1].public, KEYS[2].public]
    assert found.plain == [paths[1]]
    assert asked.times == 1


def test_without_an_encrypted_file_nobody_is_asked(tmp_path):
    asked = Asked()
    found = open_keys([plain(tmp_path / "a", KEYS[0])], asked)
    assert (asked.times, len(found.keys), found.plain) == (0, 1, [tmp_path / "a"])


def test_a_file_named_twice_is_one(tmp_path):
    path = sealed(tmp_path / "a", KEYS[0])
    assert len(open_keys([path, path], Asked()).keys) == 1


def test_a_role_that_the_file_does_not_have_is_refused_before_anybody_is_asked(tmp_path):
    asked = Asked()
    path = sealed(tmp_path / "a", KEYS[0], "account")
    with pytest.raises(KeyFileError, match="is the key of the role account: name the signing key's file"):
        open_keys([path], asked, role="signing")
    assert asked.times == 0
    assert open_keys([path], asked, role="account").plain == []
    assert open_keys([plain(tmp_path / "b", KEYS[0])], asked, role="signing").keys  # a WIF says nothing of its role


def test_a_file_that_another_password_seals_is_named(tmp_path):
    paths = [sealed(tmp_path / "a", KEYS[0]), sealed(tmp_path / "b", KEYS[1])]
    with pytest.raises(KeyFileError, match=r"/a: wrong password, or the file was changed") as no:
        open_keys(paths, Asked(PASSWORD[::-1]))
    assert PASSWORD[::-1] not in shown_of(no.value)


def test_what_the_asking_raises_comes_through(tmp_path):
    def nobody():
        raise KeyFileError("there is no terminal")

    with pytest.raises(KeyFileError, match="no terminal"):
        open_keys([sealed(tmp_path / "a", KEYS[0])], nobody)


def test_an_encrypted_file_is_no_wif_file(tmp_path):
    with pytest.raises(KeyFileError, match="is an encrypted key file, not a WIF: it needs its password"):
        load_keys(sealed(tmp_path / "a", KEYS[0]))


@pytest.mark.parametrize("text", ["{}", '{"waggle_key": 1}', "{" * 5000, " \n{"])
def test_something_else_with_a_brace(tmp_path, text):
    path = tmp_path / "a"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="no key file that can be used"):
        open_keys([path], Asked())


def test_a_whole_wif_beside_a_torn_one_does_not_show(tmp_path):
    path = tmp_path / "a"
    path.write_text(f"{WIF}\n{WIF[:-2]}\n")
    path.chmod(0o600)
    for call in (lambda: load_keys(path), lambda: open_keys([path], Asked())):
        with pytest.raises(KeyFileError, match="line 2") as no:
            call()
        shown = shown_of(no.value)
        assert not any(form in shown for form in (*FORMS, WIF[:-2]))
        assert no.value.__cause__ is None and no.value.__context__ is None


# -- looking


def test_what_is_said_without_the_password(tmp_path):
    one = look_at(sealed(tmp_path / "a", KEYS[0]))
    assert (one.encrypted, one.role, one.account, one.mode, one.problem) == (True, "signing", "alice", 0o600, "")
    assert one.public_keys == (public_key_to_text(KEYS[0].public, "STM"),)
    two = look_at(plain(tmp_path / "b", KEYS[1], KEYS[2]), "TST")
    assert (two.encrypted, two.role, two.account, two.problem) == (False, "", "", "")
    assert two.public_keys == tuple(public_key_to_text(key.public, "TST") for key in KEYS[1:])


@pytest.mark.parametrize("make", [sealed, plain])
def test_that_others_can_read_it_is_a_problem(tmp_path, make):
    path = make(tmp_path / "a", KEYS[0])
    path.chmod(0o644)
    found = look_at(path)
    assert (found.mode, found.problem) == (0o644, f"others could read it. Run: chmod 600 {path}")


def test_a_damaged_file_is_a_problem(tmp_path):
    path = sealed(tmp_path / "a", KEYS[0])
    path.write_text(path.read_text()[:-20])
    assert "cut off" in look_at(path).problem


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"a": 1}', b"hello", b"\xff\xfe", b"# only words\n", WIF[:-1].encode()])
def test_what_is_no_key_file(tmp_path, raw):
    path = tmp_path / "a"
    path.write_bytes(raw)
    assert look_at(path) is None


# -- signing that fails


@pytest.mark.parametrize("is_fast", [True, False])
@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33), "text", None, 5])
def test_no_frame_of_a_failing_call_holds_the_secret(monkeypatch, digest, is_fast):
    monkeypatch.setattr(crypto, "FAST", is_fast)
    key = SecretKey(SECRET)
    with pytest.raises((ValueError, TypeError), match="a digest") as no:
        key.sign(digest)
    assert not any(form in shown_of(no.value) for form in FORMS)


def test_nor_where_the_library_itself_fails(monkeypatch):
    def breaks(*words, **more):
        raise RuntimeError("the library broke")

    monkeypatch.setattr(crypto, "PrivateKey", breaks)
    key = object.__new__(SecretKey)
    monkeypatch.setattr(crypto, "public_key", lambda secret: bytes(33))
    key.__init__(SECRET)
    with pytest.raises(RuntimeError) as no:
        key.sign(bytes(32))
    assert "crypto.py" in "".join(traceback.format_exception(no.value))
    assert not any(form in shown_of(no.value) for form in FORMS)


def test_not_in_what_rich_shows_of_a_frame():
    def deep(key):
        hidden, words = key._secret, HiddenText(PASSWORD)
        raise RuntimeError(f"{len(hidden) + len(words)} characters")

    try:
        deep(SecretKey(SECRET))
    except RuntimeError:
        console = Console(file=io.StringIO(), width=300)
        console.print(Traceback(show_locals=True, extra_lines=0, max_frames=1))
    shown = console.file.getvalue()
    assert "<hidden>" in shown
    assert not any(form in shown for form in FORMS)


def test_not_in_what_dataclasses_and_inspect_make_of_it():
    @dataclasses.dataclass
    class Holder:
        key: SecretKey

    with pytest.raises(TypeError, match="not copied"):
        dataclasses.asdict(Holder(SecretKey(SECRET)))
    shown = repr(Holder(SecretKey(SECRET))) + repr(inspect.getmembers(SecretKey(SECRET)))
    assert not any(form in shown for form in FORMS)


@pytest.mark.parametrize("encode", [msgspec.json.encode, msgspec.msgpack.encode, json.dumps, pickle.dumps, copy.copy])
def test_nor_are_its_bytes_taken_along(encode):
    with pytest.raises(TypeError) as no:
        encode(HiddenBytes(SECRET))
    assert not any(form in str(no.value) for form in FORMS)


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(32), b"\xff" * 32, SECRET + b"\0"])
def test_what_is_no_secret_is_never_quoted(secret):
    with pytest.raises(ValueError, match="a private key is a number") as no:
        SecretKey(secret)
    assert not any(form in shown_of(no.value) for form in FORMS)


def test_both_libraries_make_of_it_what_they_make_of_bytes():
    key = SecretKey(SECRET)
    digest = bytes(range(32))
    assert key.sign(digest) == crypto.sign(SECRET, digest) == crypto_pure.sign(SECRET, digest)
    assert type(key.sign(digest)) is bytes


def test_a_key_written_is_read_and_derived_ones_do_not_show(tmp_path):
    write_key(tmp_path / "a", SecretKey(SECRET))
    assert open_keys([tmp_path / "a"], Asked()).keys[0].public == SecretKey(SECRET).public
    assert "correct" not in repr([HiddenText(PASSWORD)])
