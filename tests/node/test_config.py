"""What a checked configuration becomes: values of their types, defaults, and paths beside the file."""

from pathlib import Path

import pytest

from node.config import ApiConfig, Config, FeedConfig, HttpConfig, SignerConfig, SnapshotConfig, load_config
from node.signer.policy import Policy

LEAST = """
[node]
account = "alice"
genesis = "genesis.toml"
data = "/var/lib/waggle"
[keys]
account = "keys/account.key"
signing = "keys/signing.key"
[[api]]
url = "https://api.example"
operator = "north"

[[api]]
url = "https://api.other"
operator = "south"
"""
EVERY = """
[signer]
url = "unix:run/signer.sock"
[feed]
witness = true
archive = "archive"
buffer_mb = 8
prove_ahead = false
[http]
listen = "0.0.0.0:8095"
tokens_file = "tokens"
allow = ["10.0.0.0/8"]
certificate = "a.crt"
key = "/etc/a.key"
[snapshots]
every = 0
keep = 1
[sync]
peers = ["https://bob.example/"]
[policy]
second_opinion = false
allow = ["payout"]
max_hive = 5
max_hbd = 0
max_hive_day = 6
max_hbd_day = 7
receivers = ["bob"]
manual = true
dry_run = true
[log]
format = "json"
level = "debug"
"""


@pytest.fixture
def load(tmp_path):
    def load(text):
        (tmp_path / "config.toml").write_text(text)
        return load_config(tmp_path / "config.toml")

    return load


def test_the_least_that_a_node_needs_and_the_defaults(load, tmp_path):
    apis = (ApiConfig("https://api.example", "north"), ApiConfig("https://api.other", "south"))
    expected = Config(
        path=tmp_path / "config.toml",
        account="alice",
        genesis=tmp_path / "genesis.toml",
        data=Path("/var/lib/waggle"),
        account_key=tmp_path / "keys/account.key",
        signing_keys=(tmp_path / "keys/signing.key",),
        apis=apis,
        policy=Policy(),
    )
    assert load(LEAST) == expected


def test_every_key_and_paths_are_relative_to_the_file(load, tmp_path):
    text = LEAST.replace('signing = "keys/signing.key"', 'password = "file:secret"')
    config = load(text.replace("data =", "poll_seconds = 2\nstart_tries = 3\ndata =") + EVERY)
    assert (config.poll_seconds, config.start_tries, config.password) == (2.0, 3, f"file:{tmp_path / 'secret'}")
    assert config.signing_keys == () and config.signer == SignerConfig(f"unix:{tmp_path / 'run/signer.sock'}")
    assert config.feed == FeedConfig(True, tmp_path / "archive", 8, False)
    files = (tmp_path / "tokens", ("10.0.0.0/8",), tmp_path / "a.crt", Path("/etc/a.key"))
    assert config.http == HttpConfig("0.0.0.0:8095", *files)
    assert config.snapshots == SnapshotConfig(0, 1) and config.peers == ("https://bob.example",)
    assert config.policy == Policy(False, ("payout",), 5, 0, 6, 7, ("bob",), True, True)
    assert (config.log_format, config.log_level) == ("json", "debug")


def test_several_signing_keys(load, tmp_path):
    config = load(LEAST.replace('"keys/signing.key"', '["a.key", "/b.key"]'))
    assert config.signing_keys == (tmp_path / "a.key", Path("/b.key"))


def test_a_signer_over_tls_keeps_its_address(load, tmp_path):
    tls = '[signer]\nurl = "tls://10.0.0.1:9"\ncertificate = "c"\nkey = "k"\nauthority = "a"\n'
    config = load(LEAST.replace('signing = "keys/signing.key"', "") + tls)
    assert config.signer == SignerConfig("tls://10.0.0.1:9", tmp_path / "c", tmp_path / "k", tmp_path / "a")


@pytest.mark.parametrize("source", ["prompt", "credential:waggle"])
def test_other_sources_of_the_password_stay_as_they_are(load, source):
    assert load(LEAST.replace("[[api]]", f'password = "{source}"\n[[api]]', 1)).password == source


def test_an_allow_list_that_is_empty_stays_empty(load):
    config = load(LEAST + "[policy]\nallow = []\nreceivers = []\n")
    assert (config.policy.allow, config.policy.receivers) == ((), ())
