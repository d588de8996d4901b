"""The command `waggle`: help with an example everywhere, clear errors with a remedy, and output for machines."""

import json
import os
import stat
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from node.cli.main import cli, main
from node.devnet.catalogue import SCENARIOS
from node.devnet.founding import CHAIN, GROUP, genesis_document, member_keys
from node.genesis_text import template, to_toml
from node.signer.keys import load_keys, write_key
from processors.genesis import genesis_hash, pop_digest
from processors.hive.crypto import recover
from processors.hive.keys import public_key_to_text


def commands(command=cli, path=()):
    """Every command with its words."""
    if isinstance(command, click.Group):
        for name in command.list_commands(None):
            yield from commands(command.get_command(None, name), (*path, name))
    else:
        yield path


def waggle(*words):
    """What a shell sees of a command that succeeds: its standard output."""
    found = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def failing(capsys, monkeypatch, *words):
    """(exit code, standard error) of a command that does not; a traceback would be a failure of the test."""
    monkeypatch.setattr(sys, "argv", ["waggle", *map(str, words)])
    with pytest.raises(SystemExit) as leaving:
        main()
    code = leaving.value.code
    shown = capsys.readouterr()
    assert shown.out == ""
    if isinstance(code, str):  # what Python prints to standard error, with exit code 1
        return 1, code
    return code, shown.err


@pytest.fixture
def document():
    return genesis_document([member_keys(n) for n in (1, 2, 3)], start_block=100, parameters={})


@pytest.fixture
def genesis(tmp_path, document):
    path = tmp_path / "genesis.toml"
    path.write_text(to_toml(document))
    return path


# -- help


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_explains_itself_with_an_example(words):
    command = cli
    for word in words:
        command = command.get_command(None, word)
        command._help_option = None  # click keeps that of a test which ran the command without its group
    for option in ("--help", "-h"):
        shown = waggle(*words, option)
        assert "Example:  waggle " + " ".join(words) in shown
        assert "Usage: " in shown
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.name} is explained"
            assert parameter.help.strip().endswith("."), parameter.name


def test_the_first_screen_says_how_to_try_it():
    shown = waggle("--help")
    assert "Try it:  waggle devnet" in shown
    for name in ("devnet", "genesis", "keys", "run"):
        assert name in shown


def test_the_help_of_devnet_knows_every_scenario():
    shown = waggle("devnet", "--help")
    for name in SCENARIOS:
        assert f"\n  {name}" in shown


def test_the_version():
    assert "0." in waggle("--version")


def test_as_a_module_and_as_a_script_it_is_the_same():
    found = subprocess.run(
        [sys.executable, "-m", "node.cli", "genesis", "check", "none"], capture_output=True, text=True
    )
    assert found.returncode == 1
    assert found.stderr.startswith("waggle: none: ")
    assert "Traceback" not in found.stderr


# -- genesis


def test_new_writes_a_document_that_only_needs_its_proofs(tmp_path):
    path, key = tmp_path / "genesis.toml", tmp_path / "signing.wif"
    public = waggle("keys", "new", key, "--plain-wif").strip()
    shown = waggle(
        "genesis",
        "new",
        path,
        "--group",
        "my-group",
        "--start-block",
        1000,
        "--founder",
        "alice",
        "--founder-key",
        public,
    )
    assert "waggle keys pop" in shown
    assert "min_signers" in path.read_text()
    proof = json.loads(waggle("keys", "pop", key, "--genesis", path, "--account", "alice", "--json"))["pop"]
    path.write_text(path.read_text().replace('pop = ""', f'pop = "{proof}"'))
    found = json.loads(waggle("genesis", "check", path, "--json"))
    assert found["ok"] is True
    assert (found["group"], found["runners"], found["founders"]) == ("my-group", ["alice"], ["alice"])
    assert "stays on the founder's key" in waggle("genesis", "check", path)


def test_new_overwrites_nothing(tmp_path, capsys, monkeypatch):
    path = tmp_path / "genesis.toml"
    path.write_text("mine")
    code, error = failing(
        capsys,
        monkeypatch,
        "genesis",
        "new",
        path,
        "--group",
        "g",
        "--start-block",
        100,
        "--founder",
        "a",
        "--founder-key",
        "k",
    )
    assert code == 1
    assert "exists: name a new file" in error
    assert path.read_text() == "mine"


def test_the_template_for_a_testnet_leaves_the_chain_id_open():
    text = template("g", 100, "alice", "TST1", testnet=True)
    assert 'chain_id = "FILL IN"' in text
    assert "TESTS" in text


def test_check_and_hash_agree(genesis, document):
    expected = genesis_hash(document).hex()
    assert waggle("genesis", "hash", genesis).strip() == expected
    assert json.loads(waggle("genesis", "hash", genesis, "--json")) == {"hash": expected}
    found = json.loads(waggle("genesis", "check", genesis, "--json"))
    assert (found["hash"], found["group"], found["start_block"]) == (expected, GROUP, 100)
    assert f"hash: {expected}" in waggle("genesis", "check", genesis)


def test_the_hash_needs_no_proofs_of_possession_and_does_not_change_with_them(genesis, document):
    expected = waggle("genesis", "hash", genesis)
    for runner in document["runner"]:
        runner.pop("pop")
    genesis.write_text(to_toml(document))
    assert waggle("genesis", "hash", genesis) == expected


def test_check_lists_everything_that_is_wrong(tmp_path, document, capsys, monkeypatch):
    document["runner"][0]["pop"] = "00"
    document["runner"][1]["account"] = "No Name"
    document["collateral"][2]["amount"] = -1
    path = tmp_path / "genesis.toml"
    path.write_text(to_toml(document))
    code, error = failing(capsys, monkeypatch, "genesis", "check", path)
    assert code == 1
    for place in ("runner[0].pop", "waggle keys pop", "runner[1].account: 'No Name'", "collateral[2].amount: -1"):
        assert place in error


@pytest.mark.parametrize("text", ["", "a = ", "x = 1", "runner = 5", "[parameters]\nround_length = 'x'", "\udcff"])
def test_what_is_no_document(tmp_path, capsys, monkeypatch, text):
    path = tmp_path / "genesis.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    code, error = failing(capsys, monkeypatch, "genesis", "check", path)
    assert code == 1
    assert error.startswith("waggle: ")


@pytest.mark.parametrize("words", [("genesis", "check"), ("genesis", "hash")])
def test_a_file_that_is_not_there(tmp_path, capsys, monkeypatch, words):
    code, error = failing(capsys, monkeypatch, *words, tmp_path / "none.toml")
    assert code == 1
    assert "none.toml" in error


# -- keys


def test_new_prints_the_public_half_and_keeps_the_other(tmp_path):
    path = tmp_path / "signing.wif"
    found = json.loads(waggle("keys", "new", path, "--prefix", "TST", "--plain-wif", "--json"))
    [key] = load_keys(path)
    assert found == {"path": str(path), "public_key": public_key_to_text(key.public, "TST")}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().strip() not in json.dumps(found)


def test_new_never_overwrites_a_key(tmp_path, capsys, monkeypatch):
    path = tmp_path / "signing.wif"
    waggle("keys", "new", path, "--plain-wif")
    before = path.read_text()
    code, error = failing(capsys, monkeypatch, "keys", "new", path)
    assert (code, path.read_text()) == (1, before)
    assert "never overwritten" in error


def test_pop_proves_a_key_to_one_account_of_one_genesis(tmp_path, genesis, document):
    path = tmp_path / "signing.wif"
    write_key(path, member_keys(9).signing_key)
    found = json.loads(waggle("keys", "pop", path, "--genesis", genesis, "--account", "alice", "--json"))
    digest = pop_digest(genesis_hash(document), "alice")
    assert recover(bytes.fromhex(found["pop"]), digest) == member_keys(9).signing_key.public
    assert found["signing_key"] == public_key_to_text(member_keys(9).signing_key.public, CHAIN.address_prefix)
    assert found["genesis_hash"] == genesis_hash(document).hex()
    words = waggle("keys", "pop", path, "--genesis", genesis, "--account", "alice")
    assert f'pop = "{found["pop"]}"' in words
    assert path.read_text().strip() not in words + json.dumps(found)


def test_pop_with_a_key_that_others_can_read(tmp_path, genesis, capsys, monkeypatch):
    path = tmp_path / "signing.wif"
    waggle("keys", "new", path, "--plain-wif")
    os.chmod(path, 0o644)
    code, error = failing(capsys, monkeypatch, "keys", "pop", path, "--genesis", genesis, "--account", "alice")
    assert code == 1
    assert f"chmod 600 {path}" in error
    assert path.read_text().strip() not in error


# -- run, devnet


def test_run_without_a_configuration(tmp_path, capsys, monkeypatch):
    code, error = failing(capsys, monkeypatch, "run", "--config", tmp_path / "none.toml")
    assert code == 1
    assert "run `waggle init`, or copy config.example.toml" in error


def test_run_with_a_wrong_one(tmp_path, capsys, monkeypatch):
    (tmp_path / "config.toml").write_text("[node]\naccount = 5\n")
    code, error = failing(capsys, monkeypatch, "run", "--config", tmp_path / "config.toml")
    assert code == 1
    assert "node.account: 5 has the wrong type: name your own Hive account" in error
    assert "keys.account: missing: name the file of the account's active key" in error
    assert "api: missing: write at least two [[api]]" in error


def test_devnet_puts_nothing_into_a_folder_that_is_not_empty(tmp_path, capsys, monkeypatch):
    (tmp_path / "mine").write_text("")
    code, error = failing(capsys, monkeypatch, "devnet", "--data", tmp_path)
    assert code == 2
    assert "is not empty: name a new folder" in error


@pytest.mark.parametrize(
    "words",
    [("devnet", "--nodes", "2"), ("devnet", "--scenario", "party"), ("run",), ("nothing",), ("genesis", "new", "x")],
)
def test_wrong_words_are_a_matter_of_usage(capsys, monkeypatch, words):
    code, error = failing(capsys, monkeypatch, *words)
    assert code == 2
    assert "Error: " in error
