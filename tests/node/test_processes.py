"""Real `waggle run` processes on a devnet of their own: they found, lose a leader, stop, crash, and come back."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from node.devnet.cluster import Cluster
from node.devnet.running import run_scenario
from node.devnet.scenarios import founded
from node.devnet.watching import PARAMETERS, PAYOUT, until
from state.store import LevelStore

pytestmark = pytest.mark.processes

STRANGER = Path(__file__).with_name("stranger.py")
INTERVAL = 0.03
STOP_WITHIN = 2.0  # seconds


async def nobody_watches(cluster):
    """The live view of a test."""


def played(name, folder, nodes=5):
    return asyncio.run(
        run_scenario(name, folder, nodes=nodes, interval=INTERVAL, lag=1, rounds=0, watch=nobody_watches)
    )


def recheck(folder):
    """What a program that knows nothing of ours makes of the folder."""
    found = subprocess.run([sys.executable, "-I", STRANGER, folder], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


@contextlib.asynccontextmanager
async def running(folder, nodes=4):
    """A founded group of processes."""
    cluster = Cluster(folder, nodes, interval=INTERVAL, lag=1)
    try:
        await cluster.start(PARAMETERS, payouts=[PAYOUT])
        await founded(cluster)
        yield cluster
    finally:
        await cluster.stop()


async def caught_up(cluster, account):
    """Until this node logs the root that the replica has, of a round that begins after now."""
    length = PARAMETERS["round_length"]
    height = (cluster.observer.height // length + 1) * length

    def equal():
        own = cluster.observer.state.root(height)
        return own is not None and cluster.roots()[account].get(height) == own.hex()

    await until(cluster, f"{account}'s root at {height}", equal, 6)


def events(folder, account):
    return [json.loads(line) for line in (folder / account / "node.log").read_text().splitlines()]


@pytest.mark.parametrize("name", ["found", "leader-dies"])
def test_a_scenario_and_a_stranger_who_checks_it(tmp_path, name):
    summary = played(name, tmp_path)
    assert summary["ok"], summary["failure"]
    found = recheck(tmp_path)
    assert found["rotations"] == len(summary["rotations"]) == 1
    paid, known = [txid for txid, _, _ in found["payments"]], [end["txid"] for end in summary["payouts"]]
    assert paid[: len(known)] == known
    assert len(paid) <= len(known) + 1, "at most one that is not irreversible yet"
    assert {memo for _, _, memo in found["payments"]} == {PAYOUT["memo"]}
    for role, held in found["authority"].items():
        assert held == summary["authority"][role]
    assert len(found["authority"]["active"]["key_auths"]) == 5
    assert found["surplus"] == [], "no signature that was not needed"
    assert set(found["ops"]) >= {end["op"] for end in summary["rotations"] + summary["payouts"]}
    for member in ("runner01", "runner05"):
        text = (tmp_path / member / "node.log").read_text()
        for file in ("account.wif", "signing.wif"):
            assert (tmp_path / member / file).read_text().strip() not in text
        assert "Traceback" not in text


def test_the_stranger_is_not_easily_pleased(tmp_path):
    """The check itself: whatever is changed afterwards, it says so."""
    summary = played("found", tmp_path, nodes=3)
    assert summary["ok"], summary["failure"]
    recheck(tmp_path)
    genesis, chain = tmp_path / "genesis.toml", tmp_path / "chain/blocks.json"
    before = genesis.read_text(), chain.read_text()
    for change in ("amount", "signature", "authority"):
        blocks = json.loads(before[1])
        txs = [tx for block in blocks["blocks"] for tx in block["transactions"]]
        paying = next(tx for tx in txs if tx["operations"][0]["type"] == "transfer_operation")
        if change == "amount":
            paying["operations"][0]["value"]["amount"]["amount"] = "9999"
        elif change == "signature":
            paying["signatures"].pop()
        more = "weight_threshold = 2" if change == "authority" else "weight_threshold = 1"
        genesis.write_text(before[0].replace("weight_threshold = 1", more))
        chain.write_text(json.dumps(blocks))
        found = subprocess.run([sys.executable, "-I", STRANGER, tmp_path], capture_output=True, text=True, timeout=60)
        assert found.returncode == 1, change
        assert "it does not hold" in found.stderr


def test_stopped_killed_and_started_again(tmp_path):
    async def play():
        async with running(tmp_path) as cluster:
            await second_node_on_the_same_folder(cluster)
            await sigterm(cluster, "runner02")
            await cluster.start_node("runner02")
            await caught_up(cluster, "runner02")
            for _ in range(3):
                await cluster.kill_node("runner03")
                await asyncio.sleep(10 * INTERVAL)
                await cluster.start_node("runner03")
                await asyncio.sleep(20 * INTERVAL)
            await caught_up(cluster, "runner03")
            await kill_in_pieces(cluster)

    async def second_node_on_the_same_folder(cluster):
        command = [sys.executable, "-m", "node.cli", "run", "--config", tmp_path / "runner02" / "config.toml"]
        found = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
        assert found.returncode == 1
        assert "is held by another process: stop that node first" in found.stderr
        assert "Traceback" not in found.stderr
        assert cluster.died() == []

    async def sigterm(cluster, account):
        process = cluster.running.pop(account)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        assert time.monotonic() - begun < STOP_WITHIN
        last = events(tmp_path, account)[-1]
        assert (last["event"], last["outcome"]) == ("stop", "clean")
        LevelStore(tmp_path / account / "data/state", create=False).close()  # nobody holds it, nothing is damaged

    async def kill_in_pieces(cluster):
        """Killed at moments that nobody chose, also while it starts."""
        for wait in (0.2, 0.5, 0.35):
            await cluster.kill_node("runner04")
            await cluster.start_node("runner04")
            await asyncio.sleep(wait)
        await caught_up(cluster, "runner04")

    asyncio.run(play())
    recheck(tmp_path)
    for account in ("runner01", "runner02", "runner03", "runner04"):
        assert [e for e in events(tmp_path, account) if e["event"] in ("stopped", "diverged")] == []
