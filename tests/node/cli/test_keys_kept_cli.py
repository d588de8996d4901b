"""`waggle keys`: listed, exported, checked, sealed anew, used for a proof. No secret is ever shown."""

import json

import pytest

from node.genesis_text import to_toml
from node.signer.keyfile import open_sealed, read_info
from node.signer.keys import load_keys
from processors.genesis import genesis_hash, pop_digest
from processors.hive.crypto import recover
from processors.hive.keys import public_key_to_text
from tests.node.cli.key_shell import OTHER, PASSWORD, failing, run, secret_file, told, typing, waggle

pytestmark = pytest.mark.usefixtures("quick_scrypt", "no_terminal")


# -- list, export-public, check


def test_list_a_folder(keys):
    found = json.loads(waggle("keys", "list", keys, "--json"))["keys"]
    plain, sealed = found
    assert sealed == {
        "path": str(keys / "signing.key"),
        "encrypted": True,
        "role": "signing",
        "account": "alice",
        "public_keys": [read_info(keys / "signing.key").public_key],
        "mode": "0600",
        "problem": "",
    }
    assert (plain["encrypted"], plain["role"], plain["account"]) == (False, "", "")
    text = waggle("keys", "list", keys)
    assert "signing.key  0600  encrypted  signing  alice  STM" in text
    assert "account.wif  0600  plain WIF  -  -  STM" in text
    assert load_keys(keys / "account.wif")[0]._secret.hex() not in text


def test_list_tells_what_a_node_would_refuse_and_exits_with_1(keys, capsys, monkeypatch):
    (keys / "signing.key").chmod(0o640)
    assert f"chmod 600 {keys / 'signing.key'}" in failing(capsys, monkeypatch, "keys", "list", keys)
    found = run("keys", "list", keys, "--json")
    assert found.exit_code == 1
    assert [bool(one["problem"]) for one in json.loads(found.stdout)["keys"]] == [False, True]


def test_list_of_nothing(tmp_path, capsys, monkeypatch):
    assert waggle("keys", "list") == "no key files here\n"
    assert json.loads(waggle("keys", "list", "--json")) == {"keys": []}
    assert "name a folder with key files" in failing(capsys, monkeypatch, "keys", "list", tmp_path / "none")
    assert "not both" in failing(capsys, monkeypatch, "keys", "list", tmp_path, "--config", "x")


def test_export_public_needs_no_password(keys, capsys, monkeypatch):
    public = read_info(keys / "signing.key").public_key
    assert waggle("keys", "export-public", keys / "signing.key") == public + "\n"
    found = json.loads(waggle("keys", "export-public", keys / "account.wif", "--prefix", "TST", "--json"))
    assert found["public_keys"] == [public_key_to_text(load_keys(keys / "account.wif")[0].public, "TST")]
    assert "holds no key" in failing(capsys, monkeypatch, "keys", "export-public", keys / "notes.txt")
    text = (keys / "signing.key").read_text()
    (keys / "signing.key").write_text(text[:-9])
    assert "cut off" in failing(capsys, monkeypatch, "keys", "export-public", keys / "signing.key")


def test_check_opens_the_file(keys, password, tmp_path, capsys, monkeypatch):
    path = keys / "signing.key"
    public = read_info(path).public_key
    found = json.loads(waggle("keys", "check", path, "--password", password, "--json"))
    assert found == {"path": str(path), "ok": True, "encrypted": True, "public_keys": [public]}
    assert f"the password opens it: {public}" in waggle("keys", "check", path, "--password", password)
    assert "plain WIF" in waggle("keys", "check", keys / "account.wif")  # nobody is asked
    other = secret_file(tmp_path / "other", OTHER)
    assert "wrong password, or the file was changed" in failing(
        capsys, monkeypatch, "keys", "check", path, "--password", other
    )
    path.write_text(path.read_text().replace("alice", "alicf"))
    assert "wrong password, or the file was changed" in failing(
        capsys, monkeypatch, "keys", "check", path, "--password", password
    )


# -- change-password


def test_change_password(keys, password, tmp_path, capsys, monkeypatch):
    path = keys / "signing.key"
    other = secret_file(tmp_path / "other", OTHER)
    words = ("keys", "change-password", path, "--password", password, "--new-password", other)
    assert "old copies and backups" in told(*words)
    assert open_sealed(path, OTHER)
    before = path.read_bytes()
    assert "wrong password" in failing(capsys, monkeypatch, *words)
    assert path.read_bytes() == before


def test_change_password_at_a_terminal_asks_for_the_new_one_only_after_the_old_one_fits(keys, capsys, monkeypatch):
    path = keys / "signing.key"
    left = typing(monkeypatch, OTHER, "never asked")
    assert "wrong password" in failing(capsys, monkeypatch, "keys", "change-password", path)
    assert left == ["never asked"]
    typing(monkeypatch, PASSWORD, OTHER, OTHER)
    found = json.loads(waggle("keys", "change-password", path, "--json"))
    assert found == {"path": str(path), "public_key": read_info(path).public_key}
    assert open_sealed(path, OTHER)


def test_a_plain_file_has_no_password_to_change(keys, capsys, monkeypatch):
    path = keys / "account.wif"
    assert f"waggle keys import NEW --from {path}" in failing(capsys, monkeypatch, "keys", "change-password", path)


# -- pop


def test_pop_with_an_encrypted_key(keys, password, document, tmp_path):
    (tmp_path / "genesis.toml").write_text(to_toml(document))
    words = ("keys", "pop", keys / "signing.key", "--genesis", tmp_path / "genesis.toml", "--account", "alice")
    found = json.loads(waggle(*words, "--password", password, "--json"))
    digest = pop_digest(genesis_hash(document), "alice")
    assert recover(bytes.fromhex(found["pop"]), digest) == open_sealed(keys / "signing.key", PASSWORD)[1].public
