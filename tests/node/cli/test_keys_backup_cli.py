"""`waggle keys backup` and `restore`: a whole node on another machine, and nothing is ever overwritten."""

import json
import stat
from types import SimpleNamespace

import pytest

from node.cli import keys_backup
from node.signer.service_config import load_service_config
from processors.genesis import genesis_hash
from state.store import LevelStore
from tests.node.cli.key_shell import CONFIG, OTHER, failing, run, secret_file, told, waggle

pytestmark = pytest.mark.usefixtures("quick_scrypt", "no_terminal")


def test_backup_and_restore(home, password, document, tmp_path):
    file = tmp_path / "waggle.backup"
    words = ("keys", "backup", file, "--config", home / "config.toml", "--password", password, "--json")
    made = json.loads(waggle(*words))
    assert made["files"] == ["account.key", "config.toml", "data/journal", "genesis.toml", "signing.key"]
    assert made["about"]["genesis_hash"] == genesis_hash(document).hex()
    assert (made["about"]["account"], made["about"]["height"]) == ("alice", None)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    file.chmod(0o644)  # it came over a stick
    found = run("keys", "restore", file, "--into", tmp_path / "new", "--password", password, "--json")
    assert found.exit_code == 0
    assert f"Backup of alice in {made['about']['group']}, made {made['about']['created']}" in found.stderr
    body = json.loads(found.stdout)
    assert body["about"] == made["about"]
    assert str(tmp_path / "new" / "data" / "journal.restored") in body["files"]
    assert (tmp_path / "new" / "config.toml").read_text() == CONFIG
    listed = json.loads(waggle("keys", "list", "--config", tmp_path / "new" / "config.toml", "--json"))["keys"]
    assert [(one["role"], one["problem"]) for one in listed] == [("account", ""), ("signing", "")]


def test_list_of_a_configuration_whose_keys_are_gone(home, capsys, monkeypatch):
    (home / "account.key").unlink()
    (home / "signing.key").write_text("")
    said = failing(capsys, monkeypatch, "keys", "list", "--config", home / "config.toml")
    assert "No such file" in said and "it holds no key" in said


def test_a_backup_tells_the_height_unless_the_node_holds_its_state(home, password, document, tmp_path):
    LevelStore(home / "data" / "state", genesis_hash(document)).close()
    words = ("--config", home / "config.toml", "--password", password, "--json")
    assert json.loads(waggle("keys", "backup", tmp_path / "one", *words))["about"]["height"] == -1
    held = LevelStore(home / "data" / "state", genesis_hash(document))
    try:
        assert json.loads(waggle("keys", "backup", tmp_path / "two", *words))["about"]["height"] is None
    finally:
        held.close()


def test_a_backup_says_what_lies_elsewhere(home, password, tmp_path):
    (home / "data").rename(tmp_path / "data")
    (home / "config.toml").write_text(CONFIG.replace('"data"', f'"{tmp_path / "data"}"'))
    file = tmp_path / "waggle.backup"
    waggle("keys", "backup", file, "--config", home / "config.toml", "--password", password)
    said = told("keys", "restore", file, "--into", tmp_path / "new", "--password", password)
    assert f"was {tmp_path}/data/journal: move it there, or change the configuration." in said


def test_backup_and_restore_overwrite_nothing(home, password, tmp_path, capsys, monkeypatch):
    file = tmp_path / "waggle.backup"
    words = ("keys", "backup", file, "--config", home / "config.toml", "--password", password)
    waggle(*words)
    before = file.read_bytes()
    assert "a backup is never overwritten" in failing(capsys, monkeypatch, *words)
    assert file.read_bytes() == before
    (home / "data" / "journal").write_text("mine\n")
    said = failing(capsys, monkeypatch, "keys", "restore", file, "--into", home, "--password", password)
    assert "nothing is ever overwritten" in said
    assert (home / "data" / "journal").read_text() == "mine\n"
    assert not (home / "data" / "journal.restored").exists()


def test_what_cannot_be_backed_up_or_restored(home, password, tmp_path, capsys, monkeypatch):
    file = tmp_path / "waggle.backup"
    backup = ("keys", "backup", file, "--config", home / "config.toml", "--password")
    short = secret_file(tmp_path / "short", "too short")
    assert "at least 12 characters" in failing(capsys, monkeypatch, *backup, short)
    (home / "signing.key").rename(home / "kept")
    assert "could not be restored" in failing(capsys, monkeypatch, *backup, password)
    (home / "kept").rename(home / "signing.key")
    assert not file.exists()
    waggle(*backup, password)
    restore = ("keys", "restore", file, "--into", tmp_path / "new", "--password")
    other = secret_file(tmp_path / "other", OTHER)
    assert "wrong password, or the backup was changed" in failing(capsys, monkeypatch, *restore, other)
    file.write_bytes(b"something else")
    assert "no backup of waggle" in failing(capsys, monkeypatch, *restore, password)
    file.unlink()
    assert "the file that `waggle keys backup` wrote" in failing(capsys, monkeypatch, *restore, password)
    assert not (tmp_path / "new").exists()


SIGNER = """
[signer]
account = "alice"
genesis = "genesis.toml"
data = "data"
listen = "tls://127.0.0.1:8096"
certificate = "signer.crt"
key = "tls/signer.key"
authority = "authority.crt"
[keys]
signing = "signing.key"
"""


def test_a_remote_signer_is_backed_up_with_what_it_believes(home, password, document, tmp_path):
    (home / "signer.toml").write_text(SIGNER)
    (home / "tls").mkdir()
    own = ["signer.crt", "tls/signer.key", "authority.crt", "data/trusted.json", "data/approvals", "data/mark.journal"]
    for name in own:
        (home / name).write_text(name)
    LevelStore(home / "data" / "state", genesis_hash(document)).close()
    file = tmp_path / "signer.backup"
    words = ("keys", "backup", file, "--config", home / "signer.toml", "--password", password, "--json")
    held = LevelStore(home / "data" / "state", genesis_hash(document))
    try:
        made = json.loads(waggle(*words))
    finally:
        held.close()
    assert made["files"] == sorted([*own, "data/journal", "genesis.toml", "signer.toml", "signing.key"])
    assert (made["about"]["account"], made["about"]["height"]) == ("alice", None)
    waggle("keys", "restore", file, "--into", tmp_path / "new", "--password", password)
    assert (tmp_path / "new/data/journal.restored").exists()
    assert (tmp_path / "new/data/trusted.json").read_text() == "data/trusted.json"
    assert load_service_config(tmp_path / "new/signer.toml").account == "alice"


def test_a_signers_backup_lacks_nothing_that_its_configuration_names(home, password, tmp_path, capsys, monkeypatch):
    (home / "signer.toml").write_text(SIGNER)
    words = ("keys", "backup", tmp_path / "file", "--config", home / "signer.toml", "--password", password)
    assert "signer.crt: No such file" in failing(capsys, monkeypatch, *words)
    assert not (tmp_path / "file").exists()


def test_of_a_running_node_the_backup_tells_the_height_that_the_node_says(
    home, password, document, tmp_path, monkeypatch
):
    async def running(control):
        assert control == home / "data" / "control.sock"
        return SimpleNamespace(height=4_711)

    monkeypatch.setattr(keys_backup, "status", running)
    words = ("keys", "backup", tmp_path / "file", "--config", home / "config.toml", "--password", password, "--json")
    held = LevelStore(home / "data" / "state", genesis_hash(document))
    try:
        assert json.loads(waggle(*words))["about"]["height"] == 4_711
    finally:
        held.close()
