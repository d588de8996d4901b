"""Every key of the configuration: a problem names key, value, reason and remedy; all problems are told at once."""

import re
import tomllib
from pathlib import Path

import pytest

from node.config import load_config
from node.errors import ConfigError
from node.options import OPTIONS, REQUIRED, problems, value_of
from node.signer.policy import Policy

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
LEAST = """
[node]
account = "alice"
genesis = "genesis.toml"
data = "data"
[keys]
account = "account.key"
signing = "signing.key"
[[api]]
url = "https://api.example"
operator = "north"
[[api]]
url = "https://api.other"
operator = "south"
"""


def least(**sections):
    """The least document, with more in its sections; a key of None is taken out."""
    document = tomllib.loads(LEAST)
    for name, values in sections.items():
        if not isinstance(values, dict):
            document[name] = values
            continue
        section = document.setdefault(name, {})
        section.update(values)
        document[name] = {key: value for key, value in section.items() if value is not None}
    return document


def test_the_least_has_no_problem_and_every_default_has_none():
    assert problems(least()) == []
    written = {
        section: {key: option.default for key, option in options.items() if option.default not in (REQUIRED, None)}
        for section, options in OPTIONS.items()
    }
    written = {section: {k: v for k, v in values.items() if v != ""} for section, values in written.items()}
    written["keys"].pop("signing")
    assert problems(least(**written)) == []


WRONG = {
    "node": {
        "account": ["Al ice", ""],
        "genesis": [""],
        "data": [""],
        "poll_seconds": [0, -1, 0.004, 61, float("nan"), float("inf")],
        "start_tries": [0, 1001],
    },
    "keys": {
        "account": [""],
        "signing": ["", [""], [5]],
        "password": ["", "secret", "file:", "credential:", "env:X", "prompt "],
    },
    "signer": {"url": ["unix:", "tls://", "tls://host", "http://x", "tls://:1", "tls://h:99999"]},
    "feed": {"buffer_mb": [0, 4097]},
    "http": {
        "listen": ["8095", ":8095", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536"],
        "allow": [["10.0.0.0/33"], ["here"], [[]]],
    },
    "snapshots": {"every": [-1], "keep": [0]},
    "sync": {"peers": [["ftp://x"], ["bob.example"], [5], ["http://h:x"], ["http://"]]},
    "policy": {
        "allow": [["everything"]],
        "max_hive": [-1, 2**63],
        "max_hbd": [-1],
        "max_hive_day": [-1],
        "max_hbd_day": [-1],
        "receivers": [["Al ice"], [5]],
    },
    "log": {"format": ["xml"], "level": ["loud", "error"]},
}
CASES = [(s, key, value) for s, keys in WRONG.items() for key, values in keys.items() for value in values]


@pytest.mark.parametrize(("section", "key", "value"), CASES)
def test_a_wrong_value_is_told_with_key_value_reason_and_remedy(section, key, value):
    [line] = problems(least(**{section: {key: value}}))
    before, after = f"{section}.{key}: {value!r} ", f": {OPTIONS[section][key].remedy}"
    assert line.startswith(before) and line.endswith(after)
    reason = line[len(before) : -len(after)]
    assert reason.startswith(("is ", "holds ", "names ", "has "))


@pytest.mark.parametrize(("section", "key"), [(s, k) for s, options in OPTIONS.items() for k in options])
def test_a_value_of_the_wrong_type_is_told_so(section, key):
    option = OPTIONS[section][key]
    wrong = [value for value in (5, "x", True, 1.5, [], {}) if type(value) not in option.kinds]
    for value in wrong:
        if type(value) is int and float in option.kinds:
            continue
        assert problems(least(**{section: {key: value}})) == [
            f"{section}.{key}: {value!r} has the wrong type: {option.remedy}"
        ]


@pytest.mark.parametrize(
    ("section", "key"), [(s, k) for s, options in OPTIONS.items() for k, o in options.items() if o.default is REQUIRED]
)
def test_what_is_missing_says_what_to_write(section, key):
    assert problems(least(**{section: {key: None}})) == [f"{section}.{key}: missing: {OPTIONS[section][key].remedy}"]


def test_a_key_or_a_section_that_nobody_knows_is_told_with_those_that_there_are():
    found = problems(least(network={"port": 1}, node={"poll": 1}))
    assert (
        found[0]
        == "network: no such section; known are node, keys, signer, feed, http, snapshots, sync, policy, log, api"
    )
    assert found[1].startswith("node.poll: no such key; known are account, genesis, data, poll_seconds")


def test_a_section_that_is_no_table():
    assert problems(least(log=5)) == ["log: must be written [log]"]


def test_everything_is_told_at_once():
    document = least(node={"account": 5, "genesis": None}, http={"listen": "x"}, api=[], log={"level": "loud"})
    assert [line.partition(":")[0] for line in problems(document)] == [
        "node.account",
        "node.genesis",
        "http.listen",
        "log.level",
        "api",
    ]


# -- the API servers

NORTH, SOUTH = {"url": "https://a", "operator": "north"}, {"url": "https://b", "operator": "south"}


@pytest.mark.parametrize("servers", [[], {"url": "https://a"}, "https://a", None])
def test_without_servers_it_says_how_to_write_them(servers):
    [line] = problems({**least(), "api": servers})
    assert line == "api: missing: write at least two [[api]] with url and operator, of different operators"


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ([NORTH], "api: two servers of different operators are needed"),
        ([NORTH, {**SOUTH, "operator": "north"}], "api: two servers of different operators are needed"),
        ([NORTH, SOUTH, {**NORTH, "url": "https://a/"}], "api: 'https://a' is written twice"),
        ([NORTH, SOUTH, {"url": "https://c"}], "api[2].operator: missing: say who runs it"),
        ([NORTH, {**SOUTH, "url": "ftp://b"}], "api[1].url: 'ftp://b' is no http or https URL: write the address"),
        ([NORTH, SOUTH, 5], "api[2]: must be written [api[2]]"),
    ],
)
def test_what_is_wrong_with_a_server(servers, said):
    assert any(line.startswith(said) for line in problems(least(api=servers)))


# -- what each key allows by itself


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"keys": {"signing": None}}, "keys.signing: missing"),
        ({"signer": {"url": "unix:s"}}, "signer.url: 'unix:s' holds the signing keys"),
        ({"keys": {"signing": None}, "signer": {"url": "tls://h:1"}}, "signer.certificate: missing"),
        ({"http": {"certificate": "x"}}, "http.certificate: certificate and key go together"),
        ({"http": {"key": "x"}}, "http.certificate: certificate and key go together"),
    ],
)
def test_what_does_not_go_together(sections, said):
    assert any(line.startswith(said) for line in problems(least(**sections)))


@pytest.mark.parametrize(
    "sections",
    [
        {"keys": {"signing": ["a.key", "b.key"]}},
        {"keys": {"signing": None}, "signer": {"url": "unix:s"}},
        {
            "keys": {"signing": None},
            "signer": {"url": "tls://h:1", "certificate": "c", "key": "k", "authority": "a"},
        },
        {"http": {"certificate": "c", "key": "k", "listen": "[::1]:8095", "allow": ["10.0.0.0/8", "::1"]}},
        {"http": {"listen": ""}},
        {"keys": {"password": "file:x"}},
        {"keys": {"password": "credential:x"}},
        {"policy": {"receivers": [], "allow": []}},
    ],
)
def test_what_does(sections):
    assert problems(least(**sections)) == []


# -- the file


@pytest.fixture
def load(tmp_path):
    def load(text):
        (tmp_path / "config.toml").write_text(text)
        return load_config(tmp_path / "config.toml")

    return load


def test_the_error_names_the_file_and_one_problem_a_line(load, tmp_path):
    with pytest.raises(ConfigError) as no:
        load(LEAST.replace('"alice"', "5").replace("https", "ftp"))
    first, *lines = str(no.value).splitlines()
    assert first == f"{tmp_path / 'config.toml'}:"
    assert [line.split(":")[0] for line in lines] == ["  node.account", "  api[0].url", "  api[1].url"]


def test_a_missing_file_says_what_to_run(tmp_path):
    with pytest.raises(ConfigError, match=r"does not exist: run `waggle init`, or copy config\.example\.toml"):
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


# -- the example


def uncommented():
    """The example with every key of it in force."""
    lines = EXAMPLE.read_text().splitlines()
    return "\n".join(re.sub(r"^# (?=[a-z_]+ = )", "", line) for line in lines)


def test_the_example_loads():
    config = load_config(EXAMPLE)
    assert config.policy == Policy()
    assert len({api.operator for api in config.apis}) >= 2
    assert config.http.listen.startswith("127.0.0.1:")


def test_the_example_explains_every_key_and_no_other():
    document = tomllib.loads(uncommented())
    assert document.pop("api")[0].keys() == {"url", "operator"}
    assert {name: set(keys) for name, keys in document.items()} == {name: set(keys) for name, keys in OPTIONS.items()}
    wrong = problems(tomllib.loads(uncommented()))
    assert wrong == ["signer.url: 'unix:signer.sock' holds the signing keys: take keys.signing out of this file"]


def test_the_defaults_that_the_example_names_are_the_defaults():
    shown = tomllib.loads(uncommented())
    examples = {"archive", "tokens_file", "allow", "certificate", "key", "peers", "url", "authority", "receivers"}
    for section, options in OPTIONS.items():
        for key, option in options.items():
            if option.default not in (REQUIRED, None, "", []) and key not in examples:
                assert shown[section][key] == value_of({}, section, key), f"{section}.{key}"
