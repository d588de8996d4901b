"""Clients that others wrote read the devnet's blocks and send to it: beem, and @hiveio/dhive where node is."""

import json
import logging
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.devnet.founding import CHAIN
from processors.hive.keys import private_key_to_wif, public_key_to_text
from tests.node.devnet.serving import Served, served
from tests.node.devnet.world import World, custom_json, key, transfer

JS = Path(__file__).parent / "js"
OLD = 5  # blocks that are there before


@pytest.fixture
def hive() -> Iterator[Served]:
    world = World(start=int(time.time()) - 60)  # beem goes by the wall clock
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


def test_beem(hive: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    logging.getLogger("beem").setLevel(logging.ERROR)
    from beem import Hive
    from beem.account import Account
    from beem.block import Block
    from beem.blockchain import Blockchain

    beem = Hive(node=[hive.url], keys=[wif("alice active")], num_retries=1, nobroadcast=False)
    assert beem.get_network()["chain_id"] == CHAIN.chain_id.hex()
    chain = Blockchain(blockchain_instance=beem)
    assert [block["block_id"] for block in chain.blocks(start=1, stop=OLD)] == own_ids(hive)
    assert Block(4, blockchain_instance=beem)["transactions"][0]["operations"][0]["type"] == "transfer_operation"
    account = Account("alice", blockchain_instance=beem)
    assert account["active"]["key_auths"][0][0] == public_key_to_text(key("alice active").public, "TST")
    sent = [
        beem.custom_json("beem", {"bee": "🐝"}, required_auths=["alice"]),
        account.transfer("bob", 0.002, "TESTS", memo="von beem: é"),
    ]
    found = in_blocks(hive, [tx["trx_id"] for tx in sent])
    assert json.loads(found["custom_json"]["json"]) == {"bee": "🐝"}
    assert found["transfer"]["memo"] == "von beem: é" and found["transfer"]["amount"].amount == 2


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


def test_dhive(hive: Served, dhive: Path) -> None:
    command = ["node", "client.js", hive.url, CHAIN.chain_id.hex(), wif("alice active"), str(OLD)]
    done = subprocess.run(command, cwd=dhive, capture_output=True, text=True, timeout=40)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["ids"] == own_ids(hive)
    assert answer["active"] == answer["own"]
    assert "does not have sufficient funds" in answer["refused"]
    found = in_blocks(hive, answer["sent"])
    assert json.loads(found["custom_json"]["json"]) == {"bee": "🐝"}
    assert found["transfer"]["memo"] == "von dhive: é" and found["transfer"]["amount"].amount == 2
