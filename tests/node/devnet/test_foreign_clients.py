"""Clients that others wrote read the devnet's blocks and send to it: beem, and @hiveio/dhive where node is."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.devnet.founding import CHAIN
from processors.hive.keys import private_key_to_wif, public_key_to_text
from tests.node.devnet.serving import Served, served
from tests.node.devnet.world import World, custom_json, key, transfer

HERE = Path(__file__).parent
JS = HERE / "js"
OLD = 5  # blocks that are there before


@pytest.fixture(scope="module")
def hive() -> Iterator[Served]:
    world = World(start=int(time.time()) - 600)  # beem goes by the wall clock
    world.send([transfer(memo="there before"), custom_json("alice")], "alice active")
    while world.chain.head_number < OLD:
        world.chain.produce()
    with served(world, clock=True) as found:
        yield found


def own_ids(hive: Served) -> list[str]:
    return [block.id.hex() for block in hive.world.chain.blocks[:OLD]]


def in_blocks(hive: Served, txids: list[str]) -> dict[str, Any]:
    """The operations of these transactions, once all are in blocks."""
    until = time.monotonic() + 10
    wanted = [bytes.fromhex(txid) for txid in txids]
    while not all(txid in hive.world.chain.included for txid in wanted):
        assert time.monotonic() < until
        time.sleep(0.02)
    found = {}
    for txid in wanted:
        block = hive.world.chain.blocks[hive.world.chain.included[txid] - 1]
        (entry,) = (entry for entry in block.transactions if entry.txid == txid)
        found.update({operation.name: operation.value for operation in entry.tx.operations})
    return found


def wif(words: str) -> str:
    return private_key_to_wif(key(words)._secret)


def ask(hive: Served, command: list[str], folder: Path, home: Path) -> None:
    """Run a client; it reads the old blocks and sends two transactions that get into blocks."""
    environment = {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=40, env=environment)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["ids"] == own_ids(hive)  # of all clients the same
    assert answer["chain_id"] == CHAIN.chain_id.hex()
    assert answer["active"] == public_key_to_text(key("alice active").public, "TST")
    assert "does not have sufficient funds" in answer["refused"]
    found = in_blocks(hive, answer["sent"])
    assert json.loads(found["custom_json"]["json"]) == {"bee": "🐝"}
    assert found["transfer"]["memo"] == "from outside: é" and found["transfer"]["amount"].amount == 2


def test_beem(hive: Served, tmp_path: Path) -> None:
    ask(hive, [sys.executable, "beem_client.py", hive.url, wif("alice active"), str(OLD)], HERE, tmp_path)


@pytest.fixture(scope="session")
def dhive() -> Path:
    """The folder with @hiveio/dhive installed."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not here")
    if not (JS / "node_modules" / "@hiveio" / "dhive").is_dir():
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        done = subprocess.run(command, cwd=JS, capture_output=True, text=True, timeout=50)
        if done.returncode:
            pytest.skip(f"npm cannot install: {done.stderr.strip()[-200:]}")
    return JS


def test_dhive(hive: Served, dhive: Path, tmp_path: Path) -> None:
    chain_id = CHAIN.chain_id.hex()
    ask(hive, ["node", "client.js", hive.url, chain_id, wif("alice active"), str(OLD)], dhive, tmp_path)
