"""The same blocks of the devnet's API, read by a plain replayer on beem's classes and by ours, in processes."""

import asyncio
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp

from node.audit.replay import Asked, replay
from node.config import ApiConfig
from node.devnet.founding import CHAIN, GROUP, devnet_key, genesis_document, member_keys, new_chain
from node.devnet.founding import found as founded
from node.devnet.server import DevnetServer
from node.feed.archive import Archive
from node.feed.http import Http
from node.feed.rpc import Api
from node.feed.source import fetch_blocks
from node.history.archived import Archived
from processors.hive.block import reference_prefix
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction
from processors.hive.types import Asset
from state.store import LevelStore

TRANSACTIONS = 60
_START = 20


def _serve(pipe: Connection, count: int) -> None:
    """A devnet with so many full blocks, behind its own server."""
    members = [member_keys(number) for number in (1, 2, 3)]
    chain = new_chain(members, members[0])
    key = devnet_key("stranger")
    while chain.head_number <= count + _START:
        if chain.head_number >= _START:
            for index in range(TRANSACTIONS):
                memo = f"block {chain.head_number} transfer {index}"
                value = {"from": "stranger", "to": "receiver", "amount": Asset(1, 0), "memo": memo}
                head = chain.head_number & 0xFFFF, reference_prefix(chain.head_id), chain.head_time + 300
                chain.submit(key.sign_transaction(Transaction(*head, (Operation("transfer", value),)), CHAIN))
        chain.produce()

    async def main() -> None:
        server = DevnetServer(chain, interval=3_600)
        pipe.send(await server.listen())
        await asyncio.Event().wait()

    asyncio.run(main())


def against_beem(count: int, runs: int) -> tuple[list[float], list[float]]:
    """(ours, beem's): blocks a second, of whole processes."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, count), daemon=True)
    process.start()
    try:
        url, found = ours.recv(), ([], [])
        for _ in range(runs):
            for who, figures in zip(("ours", "beem"), found, strict=True):
                begun = time.perf_counter()
                command = [sys.executable, "-m", "benchmarks.beside", who, url, str(_START), str(_START + count)]
                done = subprocess.run(command, check=True, capture_output=True)
                assert json.loads(done.stdout)["transactions"] >= (count - 1) * TRANSACTIONS
                figures.append(count / (time.perf_counter() - begun))
        return found
    finally:
        process.kill()


def _beem(url: str, first: int, last: int) -> int:
    """A plain replayer: each block through beem, its operations looked at for the group's."""
    from beem import Hive
    from beem.block import Block
    from beem.blockchain import Blockchain

    hive = Hive(node=[url], nobroadcast=True, num_retries=3)
    Blockchain(blockchain_instance=hive).get_current_block_num()
    seen = 0
    for number in range(first, last + 1):
        block = Block(number, blockchain_instance=hive)
        for transaction in block.transactions:
            seen += 1
            for operation in transaction["operations"]:
                if operation["type"] == "custom_json_operation" and operation["value"]["id"].startswith("waggle_"):
                    json.loads(operation["value"]["json"])
    return seen


def _ours(url: str, first: int, last: int) -> int:
    """Fetched, proven, archived, replayed with everything checked."""
    document = genesis_document([member_keys(n) for n in (1, 2, 3)], start_block=first // 10 * 10, parameters=_SHORT)
    genesis = founded(document)
    assert genesis.group == GROUP
    seen = 0
    with tempfile.TemporaryDirectory() as folder:
        with Archive.open(Path(folder) / "blocks", write=True) as archive:

            async def fetch() -> int:
                count = 0
                async with aiohttp.ClientSession() as session:
                    api = Api(url, ApiConfig(url, "devnet").operator, Http(session), "bench")
                    async for given in fetch_blocks(api, CHAIN, genesis.start_block, last, None):
                        archive.append(given.text)
                        count += len(given.block.transactions)
                return count

            seen = asyncio.run(fetch())
        store = LevelStore(Path(folder) / "state", genesis.hash)
        _, found = replay(
            Archived(Path(folder) / "blocks", CHAIN), genesis, store, Asked(merkle=False), lambda done: None
        )
        store.close()
        assert found.good
    return seen


_SHORT = {"round_length": 10, "report_at": 5, "recast_every": 5, "header_min_left": 60}

if __name__ == "__main__":
    _, who, url, first, last = sys.argv
    read = _beem if who == "beem" else _ours
    print(json.dumps({"transactions": read(url, int(first), int(last))}))
