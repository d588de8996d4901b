"""`waggle keys`: made, brought in, proven, and asked for at a real terminal. No secret is ever shown."""

import getpass
import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.cli.main import cli
from node.signer import sealing
from node.signer.keyfile import open_sealed, read_info
from node.signer.keys import load_keys, new_key, write_key
from processors.hive.keys import private_key_to_wif, public_key_to_text
from tests.node.cli.key_shell import OTHER, PASSWORD, failing, run, secret_file, told, typing, waggle

pytestmark = pytest.mark.usefixtures("quick_scrypt", "no_terminal")
ROOT = Path(__file__).resolve().parents[3]


# -- new


def test_new_is_encrypted_and_shows_the_public_half(tmp_path, password):
    path = tmp_path / "signing.key"
    before = os.umask(0)
    try:
        text = waggle("keys", "new", path, "--account", "alice", "--password", password)
    finally:
        os.umask(before)
    info, key = open_sealed(path, PASSWORD)
    assert text.strip() == info.public_key == public_key_to_text(key.public, "STM")
    assert (info.role, info.account) == ("signing", "alice")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_new_for_machines_with_another_role_and_prefix(tmp_path, password):
    path = tmp_path / "a.key"
    words = ("--role", "account", "--prefix", "TST", "--password", password, "--json")
    found = json.loads(waggle("keys", "new", path, *words))
    assert found == {"path": str(path), "public_key": read_info(path).public_key}
    assert found["public_key"].startswith("TST") and read_info(path).role == "account"


def test_new_asks_twice_at_a_terminal(tmp_path, monkeypatch, capsys):
    typing(monkeypatch, PASSWORD, PASSWORD)
    waggle("keys", "new", tmp_path / "a.key")
    assert open_sealed(tmp_path / "a.key", PASSWORD)
    typing(monkeypatch, PASSWORD, OTHER)
    assert "the two passwords differ" in failing(capsys, monkeypatch, "keys", "new", tmp_path / "b.key")
    assert not (tmp_path / "b.key").exists()


def test_new_from_systemd(tmp_path, monkeypatch, password):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    waggle("keys", "new", tmp_path / "a.key", "--password", "credential:password")
    assert open_sealed(tmp_path / "a.key", PASSWORD)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "there is no terminal to ask at"),
        (("--password", "hunter2"), '"prompt", "file:PATH" or "credential:NAME"'),
        (("--password", "file:none"), "write the password"),
        (("--account", "No Name"), "'No Name' is no Hive account name"),
        (("--prefix", "st"), "three capitals like STM"),
    ],
)
def test_what_new_does_not_take(tmp_path, capsys, monkeypatch, words, said):
    text = failing(capsys, monkeypatch, "keys", "new", tmp_path / "a.key", *words)
    assert said in text
    assert "hunter2" not in text
    assert list(tmp_path.iterdir()) == []


def test_new_with_a_short_password(tmp_path, capsys, monkeypatch):
    short = secret_file(tmp_path / "short", "too short")
    assert "at least 12 characters" in failing(
        capsys, monkeypatch, "keys", "new", tmp_path / "a.key", "--password", short
    )
    assert not (tmp_path / "a.key").exists()


def test_plain_wif_is_there_for_who_asks_with_a_warning(tmp_path):
    path = tmp_path / "a.wif"
    assert "is not encrypted: whoever copies it has the key" in told("keys", "new", path, "--plain-wif")
    [key] = load_keys(path)
    found = json.loads(waggle("keys", "new", tmp_path / "b.wif", "--plain-wif", "--json"))
    assert found.keys() == {"path", "public_key"}
    assert public_key_to_text(key.public, "STM") != found["public_key"]


@pytest.mark.parametrize(
    "words", [("new",), ("new", "--plain-wif"), ("import",), ("derive", "--account", "alice")], ids=" ".join
)
def test_nothing_is_asked_where_something_is_there_and_it_stays(tmp_path, capsys, monkeypatch, words):
    monkeypatch.setattr(getpass, "getpass", lambda question: pytest.fail("it asked"))
    for name, make in (("file", Path.touch), ("link", lambda path: path.symlink_to("nowhere")), ("dir", Path.mkdir)):
        make(tmp_path / name)
        assert "never overwritten" in failing(capsys, monkeypatch, "keys", words[0], tmp_path / name, *words[1:])
    assert not (tmp_path / "nowhere").exists()


# -- import, derive


def test_import_from_a_file_warns_that_it_must_be_destroyed(tmp_path, password):
    key = new_key()
    write_key(tmp_path / "old.wif", key)
    path = tmp_path / "new.key"
    found = run("keys", "import", path, "--from", tmp_path / "old.wif", "--role", "account", "--password", password)
    assert found.exit_code == 0
    assert found.stdout.strip() == public_key_to_text(key.public, "STM")
    assert "whoever has seen the WIF has the key" in found.stderr
    assert f"shred -u {tmp_path / 'old.wif'}" in found.stderr
    assert private_key_to_wif(key._secret) not in found.output + path.read_text()
    assert open_sealed(path, PASSWORD)[1].public == key.public
    assert (tmp_path / "old.wif").exists()  # it is not ours to destroy


def test_import_asks_for_the_wif_unseen(tmp_path, monkeypatch, password):
    key = new_key()
    typing(monkeypatch, f" {private_key_to_wif(key._secret)} ")
    found = run("keys", "import", tmp_path / "a.key", "--password", password)
    assert found.exit_code == 0
    assert open_sealed(tmp_path / "a.key", PASSWORD)[1].public == key.public
    assert private_key_to_wif(key._secret) not in found.output


def test_import_of_what_is_no_wif_shows_nothing_of_it(tmp_path, capsys, monkeypatch, password):
    torn = private_key_to_wif(new_key()._secret)[:-1]
    typing(monkeypatch, torn)
    said = failing(capsys, monkeypatch, "keys", "import", tmp_path / "a.key", "--password", password)
    assert "no private key in WIF form: nothing was written" in said
    assert torn not in said
    assert not (tmp_path / "a.key").exists()


def test_import_takes_one_key_from_a_private_file(tmp_path, capsys, monkeypatch, password):
    wif = tmp_path / "two.wif"
    secret_file(wif, "\n".join(private_key_to_wif(new_key()._secret) for _ in range(2)))
    words = ("keys", "import", tmp_path / "a.key", "--from", wif, "--password", password)
    assert "holds 2 keys: an encrypted file holds one" in failing(capsys, monkeypatch, *words)
    wif.chmod(0o644)
    assert f"chmod 600 {wif}" in failing(capsys, monkeypatch, *words)
    assert "name the file that holds the WIF with --from" in failing(
        capsys, monkeypatch, "keys", "import", tmp_path / "a.key", "--password", password
    )


def test_derive_is_encrypted_too(tmp_path, password):
    path = tmp_path / "account.key"
    words = ["keys", "derive", str(path), "--account", "alice", "--password", password]
    found = CliRunner().invoke(cli, words, input="P5J throw-away words\n")
    assert found.exit_code == 0
    info, key = open_sealed(path, PASSWORD)
    assert (info.role, info.account) == ("account", "alice")
    assert found.stdout.strip() == public_key_to_text(key.public, "STM")
    assert "throw-away" not in found.output


# -- for real


def test_at_a_real_terminal_nothing_that_is_typed_is_shown(tmp_path):
    """With the real scrypt, in a process of its own."""
    parent, terminal = pty.openpty()
    words = [sys.executable, "-m", "node.cli", "keys", "new", str(tmp_path / "a.key")]
    process = subprocess.Popen(
        words, stdin=terminal, stdout=terminal, stderr=terminal, cwd=ROOT, start_new_session=True
    )
    os.close(terminal)
    seen = b""
    try:
        for question in (b"New password of", b"Once more: "):
            while question not in seen or not seen.endswith(b": "):
                seen += os.read(parent, 1000)
            os.write(parent, PASSWORD.encode() + b"\n")
        while True:
            try:
                seen += os.read(parent, 1000)
            except OSError:  # the other side is closed
                break
    finally:
        process.wait()
        os.close(parent)
    assert process.returncode == 0, seen
    assert PASSWORD.encode() not in seen
    sealing._WORK = 1 << 17
    info, _ = open_sealed(tmp_path / "a.key", PASSWORD)
    assert info.public_key.encode() in seen
    assert json.loads((tmp_path / "a.key").read_text())["kdf"]["n"] == 1 << 17


def test_without_a_terminal_it_ends_and_says_what_to_do(tmp_path):
    words = [sys.executable, "-m", "node.cli", "keys", "new", str(tmp_path / "a.key")]
    found = subprocess.run(
        words, input=PASSWORD + "\n", capture_output=True, text=True, cwd=ROOT, start_new_session=True
    )
    assert found.returncode == 1
    assert found.stderr.startswith("waggle: there is no terminal to ask at: ")
    assert "Traceback" not in found.stderr and PASSWORD not in found.stdout + found.stderr
