"""The scenarios of governance on real node processes: they earn, decide, pay and stop, while nodes die."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from node.devnet.catalogue import SCENARIOS
from node.devnet.cluster import Cluster
from node.devnet.running import run_scenario

pytestmark = pytest.mark.processes


async def nobody_watches(cluster: Cluster) -> None:
    """The live view of a test."""


def played(name: str, folder: Path) -> dict[str, Any]:
    summary = asyncio.run(run_scenario(name, folder, nodes=5, interval=0.05, lag=1, rounds=0, watch=nobody_watches))
    assert summary["ok"], summary["failure"]
    for log in folder.glob("*/node.log"):
        assert "Traceback" not in log.read_text(), log
    found: dict[str, Any] = summary["facts"]
    return found


def test_they_are_in_the_catalogue() -> None:
    assert {"treasury", "halt"} <= SCENARIOS.keys()


def test_income_proposals_limits_and_two_rotations(tmp_path: Path) -> None:
    facts = played("treasury", tmp_path)
    assert facts["income"] == 5_000
    assert facts["spent"] >= 1_000 + 2_000 + 1_100 + 1_300 + 50_000, "what was approved was paid"
    assert facts["killed"], "nodes died meanwhile"
    assert facts["merged"] != facts["after_the_change"]


def test_a_halt_its_end_and_a_marked_transaction(tmp_path: Path) -> None:
    facts = played("halt", tmp_path)
    assert facts["halted_at"] < facts["resumed_at"]
    assert facts["marked"].count(":") == 2
    assert facts["killed"]
