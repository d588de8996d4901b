"""Keys from a Hive master password: what every wallet derives, sha256(account + role + password)."""

import json
import stat
from hashlib import sha256

import pytest
from click.testing import CliRunner

from node.cli.main import cli
from node.signer.keys import key_from_password, load_keys
from processors.hive import crypto
from processors.hive.keys import public_key_to_text

PASSWORD = "P5J throw-away words of a test"


@pytest.mark.parametrize("role", ["owner", "active", "posting", "memo"])
def test_the_key_of_each_role(role):
    expected = crypto.public_key(sha256(f"alice{role}{PASSWORD}".encode()).digest())
    assert key_from_password("alice", role, PASSWORD).public == expected


def test_derive_asks_for_the_password_and_shows_only_the_public_key(tmp_path):
    path = tmp_path / "account.wif"
    words = ["keys", "derive", str(path), "--account", "alice", "--plain-wif", "--json"]
    result = CliRunner().invoke(cli, words, input=PASSWORD + "\n")
    assert result.exit_code == 0
    key = crypto.public_key(sha256(f"aliceactive{PASSWORD}".encode()).digest())
    assert json.loads(result.stdout) == {"path": str(path), "public_key": public_key_to_text(key, "STM")}
    assert load_keys(path)[0].public == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PASSWORD not in result.output and path.read_text().strip() not in result.output
