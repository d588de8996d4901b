"""A node's API on a real loopback address and a real Unix socket, around a group in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiohttp
from msgspec.structs import replace
from yarl import URL

from node.api.app import Settings, make_app
from node.api.auth import Access
from node.api.limits import Limits
from node.api.serving import Runner, serve
from node.config import HttpConfig
from node.devnet.group import VirtualGroup
from node.facts import Facts, ServerFacts
from node.metrics import Metrics
from node.status import Status, status
from processors.genesis import Genesis
from state.snapshot import create
from state.state import State

SERVERS = tuple(ServerFacts(f"https://{name}.example", name, "good", 98, 0.12, 0) for name in ("north", "south"))
OPEN, USUAL = Access(), Limits()
#: A header that makes a request on loopback count as from elsewhere.
ELSEWHERE = {"X-Forwarded-For": "203.0.113.7"}


class ServedNode:
    """One node of a group, as the API sees it; ``events`` are what it would log."""

    def __init__(self, group: VirtualGroup, folder: Path, account: str = "runner02") -> None:
        self._group = group
        self._node = group.nodes[account]
        self._metrics = Metrics()
        self.snapshots = folder / "snapshots"
        self.events: list[tuple[str, dict[str, object]]] = []
        self.facts = Facts(is_live=True, servers=SERVERS, sealed=True, free_bytes=1 << 40)

    @property
    def genesis(self) -> Genesis:
        return self._group.genesis

    @property
    def state(self) -> State:
        return self._node.state

    def status(self) -> Status:
        return status(self._node, replace(self.facts, irreversible=self._group.chain.irreversible_number))

    def metrics(self) -> bytes:
        return self._metrics.render(self.status())

    def on_event(self, event: str, fields: dict[str, object]) -> None:
        self.events.append((event, fields))
        self._metrics.on_event(event, fields)

    def snapshot(self) -> int:
        """Write a snapshot of the state, which is at the end of a round; returns its height."""
        with closing(self.state.freeze()) as reader:
            for _ in create(reader, self.snapshots):
                pass
        return self.state.height


class Server:
    """A served node with a client; ``get`` asks over TCP."""

    def __init__(self, runner: Runner, session: aiohttp.ClientSession, control: Path, scheme: str) -> None:
        self.runner = runner
        self.session = session
        self.control = control
        self.url = f"{scheme}://127.0.0.1:{runner.port}"

    async def ask(self, path: str, *, method: str = "GET", **how) -> tuple[int, dict, aiohttp.ClientResponse]:
        """(status, JSON, response); the path goes out as it is written."""
        url = URL(self.url + path, encoded=True)
        async with self.session.request(method, url, allow_redirects=False, **how) as response:
            raw = await response.read()
            is_json = response.content_type == "application/json" and raw
            return response.status, (await response.json() if is_json else {}), response


@asynccontextmanager
async def serving(
    served, folder: Path, *, access: Access = OPEN, limits: Limits = USUAL, clock=None, **http
) -> AsyncIterator[Server]:
    """Serve while the block runs."""
    how = {"clock": clock} if clock is not None else {}
    app = make_app(served, Settings(access, limits), **how)
    control = folder / "control.sock"
    runner = await serve(app, HttpConfig(listen="127.0.0.1:0", **http), control)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
            yield Server(runner, session, control, "https" if http.get("certificate") else "http")
    finally:
        await runner.stop()


async def raw(port: int, data: bytes, *, half_close: bool = False, patience: float = 5.0) -> bytes:
    """Send bytes as they are and read until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    if half_close:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), patience)
    finally:
        writer.close()
