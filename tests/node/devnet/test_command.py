"""`waggle devnet`: what its options refuse, and what it says to a newcomer."""

import asyncio
import io
import os
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from node.cli.devnet import _stay
from node.cli.main import cli
from node.devnet.cluster import Cluster
from node.devnet.manners import MANNERS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--api", "kind"], "'kind' is no manner to serve in: name one of honest, leaves-out, slow:NUMBER"),
        (["--api", "honest", "--api", "behind:0"], "the number is 1 to 100000, a whole one"),
        (["--keep-running", "--scenario", "all"], "goes on after one scenario: name it with --scenario"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(words: list[str], said: str) -> None:
    found = CliRunner().invoke(cli, ["devnet", *words])
    assert found.exit_code == 2
    assert said in " ".join(found.output.replace("│", " ").split())


def test_the_help_knows_every_manner() -> None:
    shown = "".join(CliRunner().invoke(cli, ["devnet", "--help"]).output.split())  # names are broken at their hyphens
    assert all(name in shown for name in MANNERS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_newcomer_is_told_everything_it_needs(tmp_path: Path, number: signal.Signals) -> None:
    out = io.StringIO()
    cluster = Cluster(tmp_path, 5, interval=0.05, lag=1, guest=True)
    cluster.urls = ["http://127.0.0.1:1", "http://127.0.0.1:2"]

    async def main() -> None:
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), number)
        await _stay(Console(file=out, width=300), cluster)

    asyncio.run(main())
    for word in (*cluster.urls, "north", "south", "genesis.toml", "newcomer", str(tmp_path / "newcomer/active.wif")):
        assert word in out.getvalue()
