"""The configuration: everything that is wrong at once, each with what to do about it."""

from pathlib import Path

import pytest

from node.config import ApiConfig, load_config
from node.errors import ConfigError
from node.signer.policy import Policy

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
LEAST = """
[node]
account = "alice"
genesis = "genesis.toml"
data = "/var/lib/waggle"
[keys]
account = "keys/account.wif"
signing = "keys/signing.wif"
[[api]]
url = "https://api.example"
operator = "north"

[[api]]
url = "https://api.other"
operator = "south"
"""


@pytest.fixture
def load(tmp_path):
    def load(text):
        (tmp_path / "config.toml").write_text(text)
        return load_config(tmp_path / "config.toml")

    return load


def problems(load, text):
    """Every line of what is wrong, without the file's name."""
    with pytest.raises(ConfigError) as no:
        load(text)
    first, *lines = str(no.value).splitlines()
    assert "config.toml" in first
    return [line.strip() for line in lines]


def test_the_least_that_a_node_needs_and_the_defaults(load, tmp_path):
    config = load(LEAST)
    assert (config.account, config.poll_seconds, config.log_format, config.log_level) == ("alice", 1, "console", "info")
    assert config.policy == Policy() == Policy(True, ("rotation", "standing"), None, None)
    assert config.apis == (ApiConfig("https://api.example", "north"), ApiConfig("https://api.other", "south"))


def test_paths_are_relative_to_the_file(load, tmp_path):
    config = load(LEAST)
    assert config.genesis == tmp_path / "genesis.toml"
    assert config.signing_keys == tmp_path / "keys/signing.wif"
    assert config.account_key == tmp_path / "keys/account.wif"
    assert config.data == Path("/var/lib/waggle")


def test_every_key(load):
    config = load(
        LEAST.replace('data = "/var/lib/waggle"', 'data = "d"\npoll_seconds = 0.5')
        + '[[api]]\nurl = "http://127.0.0.1:1"\noperator = "west"\n'
        + '[policy]\nsecond_opinion = false\nallow = ["payout"]\nmax_hive = 5\nmax_hbd = 0\n'
        + '[log]\nformat = "json"\nlevel = "debug"\n'
    )
    assert config.policy == Policy(False, ("payout",), 5, 0)
    assert [api.operator for api in config.apis] == ["north", "south", "west"]
    assert (config.poll_seconds, config.log_format, config.log_level) == (0.5, "json", "debug")


def test_an_allow_list_that_is_empty_stays_empty(load):
    assert load(LEAST + "[policy]\nallow = []\n").policy.allow == ()


def test_a_missing_file_says_what_to_copy(tmp_path):
    with pytest.raises(ConfigError, match=r"does not exist: copy config\.example\.toml"):
        load_config(tmp_path / "none.toml")


@pytest.mark.parametrize("text", ["[node", "a = ", "= 1", "[node]\n[node]"])
def test_what_is_no_toml_names_the_place(load, text):
    with pytest.raises(ConfigError, match=r"config\.toml: .*\((at line \d|at end of document)"):
        load(text)


def test_a_file_that_is_no_text_or_a_folder(tmp_path):
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for name in ("bytes.toml", "."):
        with pytest.raises(ConfigError):
            load_config(tmp_path / name)


def test_everything_that_is_missing_or_of_the_wrong_kind_at_once(load):
    found = problems(
        load,
        '[node]\naccount = 5\ndata = true\npoll = 1\npoll_seconds = "1"\n'
        '[keys]\nsigning = ["a"]\n[policy]\nallow = "payout"\nsecond_opinion = 1\nmax_hive = true\nmax_hbd = 1.5\n'
        "[network]\nport = 1\n",
    )
    for place in (
        "network: no such section",
        "node.genesis: missing",
        "node.account: 5 has the wrong type",
        "node.data: True has the wrong type",
        "node.poll: no such key; known are account, genesis, data, poll_seconds",
        "node.poll_seconds: '1' has the wrong type",
        "keys.account: missing",
        "keys.signing: ['a'] has the wrong type",
        "policy.allow: 'payout' has the wrong type",
        "policy.second_opinion: 1 has the wrong type",
        "policy.max_hive: True has the wrong type",
        "policy.max_hbd: 1.5 has the wrong type",
    ):
        assert place in found
    assert len(found) == 12


def test_every_value_that_cannot_be_used_at_once(load):
    text = LEAST.replace('"alice"', '"Al ice"').replace("data =", "poll_seconds = 0\ndata =")
    found = problems(
        load,
        text.replace("https://", "ftp://")
        + '[[api]]\nurl = "https://b"\n[policy]\nallow = ["rotation", "everything"]\n'
        + '[log]\nformat = "xml"\nlevel = "loud"\n',
    )
    assert found == [
        "node.account: 'Al ice' is no Hive account name",
        "node.poll_seconds: between 0.005 and 60",
        "api[0].url: 'ftp://api.example' is no http or https URL",
        "api[1].url: 'ftp://api.other' is no http or https URL",
        "api[2]: exactly url and operator",
        "policy.allow: 'everything' is none of rotation, standing, payout",
        "log.format: 'xml' is none of console, json",
        "log.level: 'loud' is none of debug, info, warning",
    ]


@pytest.mark.parametrize("apis", ["", "api = []\n", "[api]\nurl = 'http://a'\noperator = 'b'\n"])
def test_without_a_server_it_cannot_run(load, apis):
    text = apis + LEAST.partition("[[api]]")[0] if apis.startswith("api") else LEAST.partition("[[api]]")[0] + apis
    assert "api: at least one [[api]] with url and operator" in problems(load, text)


def test_one_operator_alone_is_not_enough(load):
    found = problems(load, LEAST.replace('"south"', '"north"'))
    assert found == ["api: two servers of different operators: a second one must confirm what is signed"]


@pytest.mark.parametrize("poll", ["0", "-1", "0.004", "61", "nan", "inf"])
def test_how_often_it_asks_has_bounds(load, poll):
    found = problems(load, LEAST.replace("data =", f"poll_seconds = {poll}\ndata ="))
    assert found == ["node.poll_seconds: between 0.005 and 60"]


def test_a_section_that_is_no_table(load):
    assert problems(load, "log = 5\n" + LEAST) == ["log: must be written [log]"]


def test_the_example_loads():
    config = load_config(EXAMPLE)
    assert config.policy == Policy()
    assert len({api.operator for api in config.apis}) >= 2
