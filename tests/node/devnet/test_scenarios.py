"""Scenarios on real node processes that are about the servers and not about the group."""

import asyncio
from pathlib import Path

import pytest

from node.devnet.cluster import Cluster
from node.devnet.manners import manner
from node.devnet.running import run_scenario

pytestmark = pytest.mark.processes


async def nobody_watches(cluster: Cluster) -> None:
    """The live view of a test."""


def test_a_liar_among_three_servers_is_banned_by_every_node(tmp_path: Path) -> None:
    summary = asyncio.run(
        run_scenario("servers", tmp_path, nodes=5, interval=0.05, lag=1, rounds=0, watch=nobody_watches)
    )
    assert summary["ok"], summary["failure"]
    assert len(summary["facts"]["banned_for"]) == 5


def test_whoever_stays_finds_everything_running(tmp_path: Path) -> None:
    seen: dict[str, object] = {}

    async def stay(cluster: Cluster) -> None:
        begun = cluster.chain.head_number
        while cluster.chain.head_number < begun + 5:
            await asyncio.sleep(0.05)
        assert cluster.guest is not None
        seen.update(died=cluster.died(), urls=len(cluster.urls), key=cluster.guest_key(cluster.guest).exists())

    apis = [manner(text) for text in ("honest", "honest", "behind:1")]
    summary = asyncio.run(
        run_scenario(
            "found", tmp_path, nodes=5, interval=0.05, lag=1, rounds=0, watch=nobody_watches, apis=apis, stay=stay
        )
    )
    assert summary["ok"], summary["failure"]
    assert seen == {"died": [], "urls": 3, "key": True}
