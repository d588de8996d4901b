"""`waggle doctor`: a screen for people, JSON for machines, and the worst finding as the exit code."""

import json
from functools import partial

import pytest
from click.testing import CliRunner
from rich.console import Console

from node.cli.doctor import doctor, shown
from node.doctor.finding import Finding
from node.doctor.walk import examine
from tests.node.cli.key_shell import typing
from tests.node.hive_at_home import PASSWORD, hive, home, secret

pytestmark = pytest.mark.usefixtures("quick_scrypt", "no_terminal")


@pytest.fixture(autouse=True)
def unguarded(monkeypatch):
    """The tests' own process stays as it is."""
    monkeypatch.setattr("node.cli.doctor.examine", partial(examine, guard=list))


def run(path, *words):
    found = CliRunner().invoke(doctor, ["--config", str(path), *words])
    assert PASSWORD not in found.output
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found


def levels(found):
    body = json.loads(found.stdout)
    assert body["code"] == found.exit_code
    return {finding["name"]: finding["level"] for finding in body["findings"]}


def test_people_see_each_finding_and_what_to_do(tmp_path, monkeypatch):
    with hive(monkeypatch) as found:
        said = run(home(tmp_path / "home", found))
    assert said.exit_code == 1
    words = " ".join(said.stdout.split())
    assert "password the password opens all 2 keys" in words
    assert "-> waggle join, once the node is live" in words
    assert "0 failed" in words


def test_machines_get_every_finding_and_its_code(tmp_path, monkeypatch):
    with hive(monkeypatch) as found:
        path = home(tmp_path / "home", found)
        good = run(path, "--json")
        other = run(path, "--json", "--expect", "00" * 32, "--no-password")
    assert levels(good)["genesis"] == "ok" and good.exit_code == 1
    assert levels(other)["genesis"] == "fail" and levels(other)["password"] == "skip" and other.exit_code == 2


def test_a_configuration_that_does_not_load_is_a_finding(tmp_path):
    (tmp_path / "config.toml").write_text("[node]\naccount = 5\n")
    found = run(tmp_path / "config.toml", "--json")
    assert levels(found) == {"config": "fail"} and found.exit_code == 2
    assert run(tmp_path / "none.toml").exit_code == 2


def test_a_wrong_password_and_no_terminal_are_findings(tmp_path, monkeypatch):
    with hive(monkeypatch, clock=False) as found:
        path = home(tmp_path / "home", found, urls=["http://127.0.0.1:1", "http://127.0.0.1:2"])
    secret(tmp_path / "home/password", "another long password")
    assert levels(run(path, "--json"))["password"] == "fail"
    path.write_text(path.read_text().replace('"file:password"', '"prompt"'))
    assert levels(run(path, "--json"))["password"] == "fail", "nobody is there to type it"
    left = typing(monkeypatch, PASSWORD)
    assert levels(run(path, "--json"))["password"] == "ok" and left == []


def test_what_a_server_says_is_no_markup_and_moves_no_cursor():
    console = Console(width=80, record=True, force_terminal=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(shown([Finding("api x", "fail", "[red]evil[/red] \x1b[2J\x07", "none")]))
    text = console.export_text(styles=True)
    assert "[red]evil[/red]" in text and "\x1b[2J" not in text and "\x07" not in text
