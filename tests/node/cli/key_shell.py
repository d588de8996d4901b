"""What a shell sees of `waggle keys`; wherever it looks, a password must not be there."""

import getpass
import sys

import pytest
from click.testing import CliRunner

from node.cli.main import cli, main

PASSWORD = "correct horse battery"
OTHER = "another long password"
CONFIG = """
[node]
account = "alice"
genesis = "genesis.toml"
data = "data"
[keys]
account = "account.key"
signing = "signing.key"
[[api]]
url = "https://api.one"
operator = "one"
[[api]]
url = "https://api.two"
operator = "two"
"""


def secret_file(path, text):
    path.write_text(text + "\n")
    path.chmod(0o600)
    return f"file:{path}"


def typing(monkeypatch, *answers):
    left = list(answers)
    monkeypatch.setattr(getpass, "getpass", lambda question: left.pop(0))
    return left


def run(*words):
    found = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert PASSWORD not in found.output and OTHER not in found.output
    return found


def waggle(*words):
    """Standard output of a command that succeeds."""
    found = run(*words)
    assert found.exit_code == 0, found.output
    return found.stdout


def told(*words):
    """Standard error of a command that succeeds: what a person should know besides."""
    found = run(*words)
    assert found.exit_code == 0, found.output
    return found.stderr


def failing(capsys, monkeypatch, *words):
    """What is said by a command that fails, with exit code 1; a traceback would be a failure of the test."""
    monkeypatch.setattr(sys, "argv", ["waggle", *map(str, words)])
    with pytest.raises(SystemExit) as leaving:
        main()
    text = capsys.readouterr()
    code = leaving.value.code
    said = text.out + text.err + (code if isinstance(code, str) else "")
    assert isinstance(code, str) or code == 1
    assert PASSWORD not in said and OTHER not in said
    return said
