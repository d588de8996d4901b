"""Live lag: from the moment at which a server calls a block irreversible to the one at which a node has applied it.

The server is a devnet in a process of its own; the node is the real runtime, and asks when it thinks a block is due.
"""

import asyncio
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp

from benchmarks.table import Row, of
from benchmarks.world import members
from node.assembly import Holder, open_core
from node.devnet.founding import found, genesis_document, new_chain
from node.devnet.server import DevnetServer
from node.devnet.watching import PARAMETERS
from node.feed.http import Http
from node.feed.rpc import Api
from node.feed.source import Given
from node.files import DISK
from node.runtime import Runtime
from node.signer.policy import Policy
from processors.genesis import Genesis
from state.store import LevelStore

BLOCKS, WARM = 20, 8  # measured, and before that, while the node finds out how far apart blocks are
PEOPLE = 3
_FIRST = 40


def _genesis() -> Genesis:
    return found(genesis_document(members(PEOPLE), start_block=20, parameters=PARAMETERS))


def _serve(pipe: Connection, interval: float) -> None:
    """The server: it notes when each block became irreversible, on the clock that all processes share."""
    people = members(PEOPLE)
    chain = new_chain(people, people[0])
    for _ in range(_FIRST):
        chain.produce()
    times: dict[int, float] = {}

    async def main() -> None:
        server = DevnetServer(chain, interval=interval)
        server.on_block.append(lambda block: times.setdefault(chain.irreversible_number, time.monotonic()))
        pipe.send([await server.listen(), await server.listen()])
        server.start_clock()
        await asyncio.to_thread(pipe.recv)
        await server.stop()
        pipe.send(times)

    asyncio.run(main())


async def _follow(urls: list[str], interval: float) -> dict[int, float]:
    """When each block was applied, by number."""
    person, genesis = members(PEOPLE)[0], _genesis()
    applied: dict[int, float] = {}
    stop = asyncio.Event()

    def took(given: Given) -> None:
        applied[given.block.number] = time.monotonic()
        if given.block.number >= _FIRST + WARM + BLOCKS:
            stop.set()

    with tempfile.TemporaryDirectory() as folder:
        store = LevelStore(Path(folder) / "state", genesis.hash)
        holder = Holder(person.account, person.account_key, [person.signing_key], Policy())
        core = open_core(genesis, holder, store, Path(folder), DISK, lambda event, fields: None)
        async with aiohttp.ClientSession() as session:
            names = ("north", "south")
            apis = [Api(url, name, Http(session), "bench") for url, name in zip(urls, names, strict=True)]
            runtime = Runtime(core, apis, lambda event, fields: None, poll_seconds=interval / 3)
            runtime.took = took
            await runtime.run(stop)
        core.state.close()
    return applied


def lags(interval: float) -> list[float]:
    """Milliseconds of each block that was measured, with a block every ``interval`` seconds."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, interval), daemon=True)
    process.start()
    applied = asyncio.run(_follow(ours.recv(), interval))
    ours.send("enough")
    times = ours.recv()
    process.join()
    measured = range(_FIRST + WARM, _FIRST + WARM + BLOCKS)
    return [1000 * (applied[number] - times[number]) for number in measured if number in times]


def all_rows() -> list[Row]:
    """The lag with quick blocks and with Hive's."""
    return [
        of(f"live lag, a block every {interval:g} s", lags(interval), " ms", 250, higher=False)
        for interval in (1.0, 3.0)
    ]
