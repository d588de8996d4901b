"""Places for the commands to work in: folders with keys, a node's home. Nothing here is used unless it is named."""

import getpass

import pytest

from node.devnet.founding import genesis_document, member_keys
from node.genesis_text import to_toml
from node.signer import sealing
from tests.node.cli.key_shell import CONFIG, PASSWORD, secret_file, waggle


@pytest.fixture
def quick_scrypt(monkeypatch):
    """scrypt as cheap as can be."""
    monkeypatch.setattr(sealing, "_WORK", 16)


@pytest.fixture
def no_terminal(monkeypatch, tmp_path):
    """An empty folder to stand in, and no terminal unless a test types at one."""

    def none(question):
        raise OSError(6, "No such device or address")

    monkeypatch.setattr(getpass, "getpass", none)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def password(tmp_path):
    """A password file, as the option names it."""
    return secret_file(tmp_path / "password", PASSWORD)


@pytest.fixture
def keys(tmp_path, password):
    """A folder with an encrypted key, a WIF, and things that are neither."""
    folder = tmp_path / "keys"
    waggle("keys", "new", folder / "signing.key", "--account", "alice", "--password", password)
    waggle("keys", "new", folder / "account.wif", "--plain-wif")
    (folder / "notes.txt").write_text("hello")
    (folder / "config.json").write_text("{}")
    (folder / "large").write_bytes(bytes(2 << 20))
    (folder / "deeper").mkdir()
    (folder / "link").symlink_to(folder / "signing.key")
    return folder


@pytest.fixture
def document():
    return genesis_document([member_keys(n) for n in (1, 2, 3)], start_block=100, parameters={})


@pytest.fixture
def home(tmp_path, password, document):
    folder = tmp_path / "home"
    waggle("keys", "new", folder / "account.key", "--role", "account", "--password", password)
    waggle("keys", "new", folder / "signing.key", "--password", password)
    (folder / "config.toml").write_text(CONFIG)
    (folder / "genesis.toml").write_text(to_toml(document))
    (folder / "data").mkdir()
    (folder / "data" / "journal").write_text("")
    return folder
