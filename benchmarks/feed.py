"""Catching up from a server on the same machine, as a whole node does: fetched, proven, applied, written.

The server is a process of its own that has every answer ready, so that what is measured is the node.
"""

import asyncio
import json
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web

from benchmarks.table import Row, of
from benchmarks.world import Maker, foreign, group_of, members
from node.assembly import Holder, open_core
from node.devnet.founding import CHAIN
from node.feed.ahead import Ahead, read_inline
from node.feed.http import Http
from node.feed.proving import Prover
from node.feed.rpc import Api
from node.files import DISK
from node.runtime import Runtime
from node.signer.policy import Policy
from processors.engine import begin
from processors.hive.block import read_block
from processors.hive.times import time_to_text
from state.store import LevelStore

FIRST = 100


def blocks_of(transactions: int, count: int) -> list[bytes]:
    """A chain of foreign blocks from FIRST on, each as a server shows it."""
    maker = Maker(FIRST)
    shown = [maker.block([])]
    shown += [
        maker.block([foreign(number, index) for index in range(transactions)])
        for number in range(FIRST + 1, FIRST + 1 + count)
    ]
    return [msgspec.json.encode(block) for block in shown]


def _serve(pipe: Connection, transactions: int, count: int) -> None:
    """The server: what it answers lies ready as bytes."""
    blocks = blocks_of(transactions, count)
    last = FIRST + count
    time_of_last = read_block(blocks[-1], CHAIN).timestamp
    view = {"head_block_number": last, "time": time_to_text(time_of_last), "last_irreversible_block_num": last}

    async def answer(request: web.Request) -> web.Response:
        call = msgspec.json.decode(await request.read())
        if call["method"] == "block_api.get_block_range":
            start = call["params"]["starting_block_num"] - FIRST
            found = blocks[start : start + call["params"]["count"]]
            result = b'{"blocks":[%s]}' % b",".join(found)
        else:
            result = json.dumps(view).encode()
        return web.Response(body=b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (call["id"], result))

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send((f"http://127.0.0.1:{runner.addresses[0][1]}", blocks[0]))
        await asyncio.Event().wait()

    asyncio.run(main())


async def _catch_up(url: str, first: bytes, ahead: bool, last: int) -> float:
    """Seconds from the first question to the last block applied."""
    people = members(25)
    genesis = group_of(people)
    with tempfile.TemporaryDirectory() as folder:
        store = LevelStore(Path(folder) / "state", genesis.hash)
        holder = Holder(people[0].account, people[0].account_key, [people[0].signing_key], Policy())
        core = open_core(genesis, holder, store, Path(folder), DISK, lambda event, fields: None)
        begin(core.state, genesis, read_block(first, CHAIN))
        prover = Prover(CHAIN) if ahead else None
        async with aiohttp.ClientSession() as session:
            api = Api(url, "north", Http(session), "bench")
            runtime = Runtime(core, [api], lambda event, fields: None)
            reader = prover.reader if prover is not None else read_inline
            if prover is not None:
                await prover.reader([first])  # the process is up
            runtime.feed.ahead = lambda a, b: Ahead(runtime.feed, a, b, buffer=64 << 20, reader=reader).ranges()
            begun = time.perf_counter()
            while core.state.height < last:
                await runtime.turn(asyncio.Event())
            seconds = time.perf_counter() - begun
        if prover is not None:
            await prover.close()
        core.state.close()
    return seconds


def catch_up(transactions: int, count: int, wanted: float, runs: int) -> list[Row]:
    """Blocks a second with and without a process that proves ahead."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(theirs, transactions, count), daemon=True
    )
    process.start()
    url, first = ours.recv()
    rows = []
    for ahead in (False, True):
        figures = [count / asyncio.run(_catch_up(url, first, ahead, FIRST + count)) for _ in range(runs)]
        how = "proven ahead by a second process" if ahead else "proven in one process"
        name = f"catch-up over HTTP, {transactions} transactions, {how}"
        rows.append(of(name, figures, "/s", wanted, higher=True))
    process.kill()
    return rows


def all_rows() -> list[Row]:
    """Every figure of the feed."""
    return [*catch_up(5, 20_000, 5000, 5), *catch_up(60, 2_000, 400, 5)]
