"""Two nodes of a group whose states differ, and servers that lie about theirs."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from node.api.app import make_app
from node.api.limits import Limits
from node.api.serving import serve
from node.config import HttpConfig
from node.devnet.founding import found, genesis_document, member_keys, new_chain
from node.devnet.group import VirtualGroup
from node.devnet.watching import PARAMETERS, PAYOUT
from state.state import State
from state.store import LevelStore
from tests.node.api.serving import ServedNode, serving

CONFIG = """
[node]
account = "runner01"
genesis = "genesis.toml"
data = "data"
[keys]
account = "account.key"
signing = "signing.key"
[[api]]
url = "https://api.one"
operator = "one"
[[api]]
url = "https://api.two"
operator = "two"
"""
OURS, THEIRS = "runner01", "runner02"
MANY = Limits(rate=10_000.0, burst=10_000)


def document_of(members: int = 3, **parameters) -> dict:
    """A genesis document with short rounds of 20 blocks."""
    return genesis_document(
        [member_keys(number) for number in range(1, members + 1)],
        start_block=20,
        parameters={**PARAMETERS, "hive_rules": 28, **parameters},
        payouts=[PAYOUT],
    )


def group_of(folder: Path, document: dict) -> VirtualGroup:
    """Three members' nodes, started."""
    keys = [member_keys(number) for number in (1, 2, 3)]
    group = VirtualGroup(new_chain(keys, keys[0], rules=28, lag=1), found(document), folder)
    for member in keys:
        group.join(member)
    return group


def run_to(group: VirtualGroup, height: int) -> None:
    """Until the nodes have applied block ``height``."""
    group.run_until(lambda: group.nodes[OURS].state.height == height, 2_000)


def sabotage(group: VirtualGroup, account: str, change: Callable) -> None:
    """``change(view, height)`` has its way with every block of one node."""
    state = group.nodes[account].state
    commit = state.commit

    def commit_otherwise(view, *, flush=True):
        change(view, state.height + 1)
        commit(view, flush=flush)

    state.commit = commit_otherwise


def at(height: int, table, value, *key) -> Callable:
    """In block ``height`` an entry gets this value; None deletes it."""

    def change(view, here):
        if here == height:
            _set(view, table, value, key)

    return change


def _set(view, table, value, key):
    if value is None:
        view.delete(table, *key)
    else:
        view.put(table, value, *key)


def on_disk(state: State, folder: Path, genesis_hash: bytes) -> None:
    """What a state in memory holds, as the store of a stopped node."""
    state.flush()
    store = LevelStore(folder, genesis_hash)
    store.write(list(state._store.iterate(b"")), sync=True)
    store.close()


@asynccontextmanager
async def served(group: VirtualGroup, folder: Path, account: str = THEIRS) -> AsyncIterator:
    """A node's API on a loopback address."""
    place = folder / f"served-{account}"
    place.mkdir(exist_ok=True)
    async with serving(ServedNode(group, place, account), place, limits=MANY) as server:
        yield server


@asynccontextmanager
async def on_socket(group: VirtualGroup, data: Path, account: str = OURS) -> AsyncIterator[None]:
    """A node's API on the control socket of its data folder."""
    node = ServedNode(group, data, account)
    runner = await serve(make_app(node), HttpConfig(), data / "control.sock")
    try:
        yield
    finally:
        await runner.stop()


@asynccontextmanager
async def liar(url: str, lie: Callable[[str, dict], object]) -> AsyncIterator[str]:
    """A server that gives the answers of ``url`` as ``lie(path, answer)`` makes them; its URL."""

    async def answer(request: web.Request) -> web.Response:
        async with session.get(url + request.path) as response:
            raw = await response.read()
            if response.status != 200:
                return web.Response(body=raw, status=response.status)
            told = lie(request.path, json.loads(raw))
            return web.json_response(told)

    async with aiohttp.ClientSession() as session, answering(answer) as place:
        yield place


@asynccontextmanager
async def answering(handler) -> AsyncIterator[str]:
    """An aiohttp handler for every path; its URL."""
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_server(write: Callable) -> AsyncIterator[str]:
    """``await write(writer)`` answers each request byte by byte as it likes; the URL."""

    async def handle(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            await write(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client had enough
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
