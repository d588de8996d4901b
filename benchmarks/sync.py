"""State sync of 1,000,000 keys over loopback: a node without a state, a peer's API, and two servers of Hive's.

Peer and servers are processes of their own. What is measured is the whole of it: authority, manifests, the proven
blocks with the reports, chunks, the root computed anew, weighing, and the state in its place.
"""

import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from benchmarks.table import Row, of
from benchmarks.world import Maker, fill, group_of, members, new_state, own
from node.api.app import make_app
from node.api.serving import serve
from node.assembly import open_state
from node.config import HttpConfig
from node.devnet.founding import CHAIN
from node.feed.feed import Feed
from node.feed.http import Http
from node.feed.rpc import Api
from node.feed.second import Second
from node.feed.servers import Servers
from node.feed.source import read_proven
from node.status import Status
from node.sync.peer import Peer
from node.sync.statesync import StateSync
from processors.genesis import Genesis
from processors.hive.block import read_block, reference_prefix
from processors.hive.compounds import AUTHORITY
from processors.hive.times import time_to_text
from processors.hive.types import Authority
from processors.report import report_digest
from state.snapshot import create
from state.state import State
from state.store import LevelStore

KEYS, RUNS, ROUND, HEIGHT, PEOPLE = 1_000_000, 3, 100, 100, 25
_HEADER_LIFETIME = 86_400  # seconds


def _genesis() -> Genesis:
    return group_of(members(PEOPLE), round_length=ROUND)


class _Served:
    """What the API needs of a node: a state and its snapshots."""

    def __init__(self, genesis: Genesis, state: State, snapshots: Path) -> None:
        self.genesis, self.state, self.snapshots = genesis, state, snapshots

    def status(self) -> Status:
        raise NotImplementedError("nobody asks for it here")

    def metrics(self) -> bytes:
        raise NotImplementedError("nobody asks for it here")

    def on_event(self, event: str, fields: dict[str, object]) -> None:
        """Nothing is logged."""


def _peer(pipe: Connection, folder: Path) -> None:
    """A node's API over a state of so many keys; it says where it listens, and the root."""
    genesis = _genesis()
    state = new_state(genesis, LevelStore(folder / "peer"), Maker(HEIGHT).block([]))
    fill(state, KEYS)
    reader = state.freeze()
    for _ in create(reader, folder / "snapshots"):
        pass
    reader.close()

    async def main() -> None:
        app = make_app(_Served(genesis, state, folder / "snapshots"))
        runner = await serve(app, HttpConfig(listen="127.0.0.1:0"), folder / "control.sock")
        pipe.send((f"http://127.0.0.1:{runner.port}", state.root(HEIGHT)))
        await asyncio.Event().wait()

    asyncio.run(main())


def _blocks(root: bytes) -> list[bytes]:
    """The blocks from HEIGHT on, with every signer's report of ``root``."""
    genesis, maker = _genesis(), Maker(HEIGHT)
    shown = [maker.block([])]
    asked = {}
    for number in range(HEIGHT + 1, HEIGHT + ROUND + 2):
        reports = []
        place = number - HEIGHT - ROUND // 2 - 1
        if 0 <= place < PEOPLE:
            member = members(PEOPLE)[place]
            sig = member.signing_key.sign(report_digest(genesis.hash, HEIGHT, root, member.account)).hex()
            body = {"v": 1, "height": HEIGHT, "root": root.hex(), "hdr": asked, "ver": "0.1.0", "sig": sig}
            reports.append(own(member.account, "report", body, number))
        shown.append(maker.block(reports))
        if number == HEIGHT + ROUND // 2:
            pre = reference_prefix(maker.previous)
            asked = {"num": number & 0xFFFF, "pre": pre, "exp": maker.timestamp + _HEADER_LIFETIME}
    return [msgspec.json.encode(block) for block in shown]


def _serve(pipe: Connection, root: bytes) -> None:
    """Two servers of Hive's API with these blocks and the group's authority."""
    blocks = _blocks(root)
    last = HEIGHT + len(blocks) - 1
    view = {
        "head_block_number": last,
        "time": time_to_text(read_block(blocks[-1], CHAIN).timestamp),
        "last_irreversible_block_num": last,
    }
    keys = tuple((key, 1) for key in sorted(member.signing_key.public for member in members(PEOPLE)))
    authority = AUTHORITY.show(Authority(PEOPLE // 2 + 1, (), keys), CHAIN, True)
    account = {"owner": authority, "active": authority, "posting": authority}

    async def answer(request: web.Request) -> web.Response:
        call = msgspec.json.decode(await request.read())
        if call["method"] == "block_api.get_block_range":
            start = call["params"]["starting_block_num"] - HEIGHT
            result = b'{"blocks":[%s]}' % b",".join(blocks[start : start + call["params"]["count"]])
        elif call["method"] == "database_api.find_accounts":
            result = json.dumps({"accounts": [account]}).encode()
        else:
            result = json.dumps(view).encode()
        return web.Response(body=b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (call["id"], result))

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        for _ in range(2):
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send([f"http://127.0.0.1:{address[1]}" for address in runner.addresses])
        await asyncio.Event().wait()

    asyncio.run(main())


async def _sync(peer: str, urls: list[str], folder: Path) -> float:
    """Seconds from nothing to a state in its place."""
    genesis = _genesis()
    clock = asyncio.get_running_loop().time

    def log(event: str, fields: dict[str, object]) -> None:
        if event in ("sync_refused", "peer_error"):
            raise RuntimeError(f"{event}: {fields}")

    async with aiohttp.ClientSession() as session:
        names = ("north", "south")
        apis = [Api(url, name, Http(session), "bench") for url, name in zip(urls, names, strict=True)]
        feed = Feed(Servers(apis, clock=clock), CHAIN, log, clock, read_proven, lambda name, evidence: None)
        sync = StateSync(genesis, feed, Second(feed, CHAIN, log, read_proven), log)
        begun = time.perf_counter()
        await sync.run([Peer(peer, session)], folder)
        return time.perf_counter() - begun


def _measure(peer: str, urls: list[str], folder: Path, root: bytes) -> tuple[float, float]:
    """(seconds, MiB of memory that it took at most)."""
    seconds = asyncio.run(_sync(peer, urls, folder))
    state = open_state(_genesis(), LevelStore(folder))
    assert state.current_root() == root
    state.close()
    status = Path("/proc/self/status").read_text()
    return seconds, next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def _started(work: Callable[..., None], *arguments: Any) -> tuple[Any, Any]:
    """(what a process says first, the process)."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=work, args=(theirs, *arguments), daemon=True)
    process.start()
    return ours.recv(), process


def all_rows() -> list[Row]:
    """Time and memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (peer, root), serving = _started(_peer, folder)
        urls, asked = _started(_serve, root)
        figures = []
        for turn in range(RUNS):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                figures.append(pool.apply(_measure, (peer, urls, folder / f"state{turn}", root)))
        for process in (serving, asked):
            process.kill()
            process.join()
    return [
        of(f"state sync of {KEYS:,} keys over loopback", [one[0] for one in figures], " s", 60, higher=False),
        of("memory of the node that syncs", [one[1] for one in figures], " MiB", 400, higher=False),
    ]
