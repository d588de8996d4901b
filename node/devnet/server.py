"""JSON-RPC over HTTP around the devnet's chain, for any Hive client; and its clock."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from node.devnet.behind import Behind
from node.devnet.chain import DevnetChain, Produced
from node.devnet.envelope import failed, identity, method_of, read
from node.devnet.errors import HivedRefusalError
from node.devnet.manners import HONEST, Manner, without_last
from node.devnet.rpc import Methods, RpcError, bad_cast
from processors.hive.errors import HiveDataError
from processors.hive.transaction import Transaction

MAX_BODY = 4 << 20
MAX_BATCH = 100
MIN_GZIP = 1 << 10
MAX_CLIENTS = 1_000
SYNCHRONOUS_WAIT = 60  # seconds
#: Clients say who they are in this header; the devnet's log and its refusals go by it.
CLIENT_HEADER = "X-Client"


class DevnetServer:
    """The chain behind any number of addresses on loopback; blocks by wall time."""

    def __init__(self, chain: DevnetChain, *, interval: float, log: Path | None = None) -> None:
        self.chain = chain
        self.interval = interval
        #: Clients that get no answer any more.
        self.refused_clients: set[str] = set()
        #: Clients that have asked for anything yet.
        self.clients: set[str] = set()
        #: Called with (client, transaction) before a broadcast; True = it is lost on the way.
        self.swallow: Callable[[str, Transaction], bool] = lambda client, tx: False
        #: Called after each block.
        self.on_block: list[Callable[[Produced], None]] = []
        self._log = log.open("a") if log else None
        self._stopping = asyncio.Event()
        self._produced = asyncio.Condition()
        self._runners: list[web.AppRunner] = []
        self._clock: asyncio.Task[None] | None = None

    async def listen(self, port: int = 0, host: str = "127.0.0.1", manner: Manner = HONEST) -> str:
        """Serve on one more address, in a manner of its own; returns its URL."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/", _Address(self, manner).handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, host, port)
        await site.start()
        address = runner.addresses[0]
        return f"http://{address[0]}:{address[1]}"

    def start_clock(self) -> None:
        """Begin to produce blocks."""
        self._clock = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """No more blocks, no more answers."""
        self._stopping.set()
        if self._clock is not None:
            self._clock.cancel()
        for runner in self._runners:
            await runner.cleanup()
        if self._log is not None:
            self._log.close()

    async def _tick(self) -> None:
        due = time.monotonic()
        while True:
            due += self.interval
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self.produce()

    async def produce(self) -> Produced:
        """One block, now."""
        block = self.chain.produce()
        for listener in self.on_block:
            listener(block)
        async with self._produced:
            self._produced.notify_all()
        return block

    async def wait(self, seconds: float | None) -> None:
        """Wait so long, None = for ever, but not beyond the server's end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def broadcast(self, client: str, method: str, tx: Transaction, *, lost: bool) -> dict[str, Any]:
        """Take a transaction of a client; what is ``lost`` is accepted and forgotten. Raises HivedRefusalError."""
        if self.swallow(client, tx) or lost:
            self._note(client, tx, "lost")
            return {}
        try:
            txid = self.chain.submit(tx)
        except HivedRefusalError as refusal:
            self._note(client, tx, str(refusal))
            raise
        self._note(client, tx, "accepted", txid.hex())
        return await self._included(txid) if method.endswith("_synchronous") else {}

    async def _included(self, txid: bytes) -> dict[str, Any]:
        """broadcast_transaction_synchronous answers when the transaction is in a block."""
        try:
            async with asyncio.timeout(SYNCHRONOUS_WAIT), self._produced:
                await self._produced.wait_for(lambda: txid in self.chain.included)
        except TimeoutError:
            return {"id": txid.hex(), "block_num": 0, "trx_num": 0, "expired": True}
        number = self.chain.included[txid]
        block = self.chain.block(number)
        ids = [entry.txid for entry in block.transactions] if block is not None else []
        return {"id": txid.hex(), "block_num": number, "trx_num": ids.index(txid), "expired": False}

    def _note(self, client: str, tx: Transaction, verdict: str, txid: str = "") -> None:
        """One line a broadcast: who sent what, and what came of it."""
        if self._log is None:
            return
        names = [op.value["id"] if op.name == "custom_json" else op.name for op in tx.operations]
        line = {"head": self.chain.head_number, "client": client, "operations": names, "verdict": verdict, "txid": txid}
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()


class _Address:
    """One address: how it reads a request, and in which manner it answers."""

    def __init__(self, server: DevnetServer, manner: Manner) -> None:
        self._server = server
        self._manner = manner
        shown = Behind(server.chain, int(manner.number)) if manner.name == "behind" else server.chain
        self._methods = Methods(shown, server.chain.submit)
        self._asked = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The answer to a request."""
        client: str = request.headers.get(CLIENT_HEADER) or request.headers.get("User-Agent") or "?"
        if client in self._server.refused_clients:
            raise web.HTTPForbidden(text="this client is refused")
        if len(self._server.clients) < MAX_CLIENTS:
            self._server.clients.add(client)
        text = await request.read()
        await self._misbehave()
        try:
            body = read(text)
        except (ValueError, RecursionError) as error:
            return _answer(request, failed(None, RpcError(-32000, f"Parse Error:{error}")))
        if not isinstance(body, list):
            return _answer(request, await self._one(client, body))
        if not 1 <= len(body) <= MAX_BATCH:
            return _answer(request, failed(None, RpcError(-32000, "Array is invalid")))
        return _answer(request, [await self._one(client, item) for item in body])

    async def _misbehave(self) -> None:
        """The faults that do not depend on what is asked."""
        self._asked += 1
        kind = self._manner.name
        if kind in ("slow", "silent"):
            await self._server.wait(self._manner.number if kind == "slow" else None)
        if kind == "silent" or (kind == "errors" and self._asked % int(self._manner.number) == 0):
            raise web.HTTPServiceUnavailable(text="this server has too much to do")

    async def _one(self, client: str, call: Any) -> dict[str, Any]:
        number = None
        try:
            number = identity(call)
            result = await self._dispatch(client, *method_of(call))
        except HivedRefusalError as refusal:
            return failed(number, RpcError(refusal.rpc_code, refusal.message, refusal.data()))
        except RpcError as wrong:
            return failed(number, wrong)
        return {"jsonrpc": "2.0", "result": result, "id": number}

    async def _dispatch(self, client: str, method: str, params: Any) -> Any:
        if method.rpartition(".")[2].startswith("broadcast_transaction"):
            self._methods.check_method(method)
            return await self._broadcast(client, method, params)
        result = self._methods.call(method, params)
        return without_last(result) if self._manner.name == "leaves-out" else result

    async def _broadcast(self, client: str, method: str, params: Any) -> dict[str, Any]:
        try:
            tx = self._methods.parse(params["trx"] if isinstance(params, dict) else params[0])
        except (HiveDataError, KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise bad_cast(str(error)) from error
        return await self._server.broadcast(client, method, tx, lost=self._manner.name == "swallows")


def _answer(request: web.Request, body: Any) -> web.Response:
    """The answer; a long one as gzip if the client takes it, as the proxies before hived do."""
    text = json.dumps(body).encode()
    response = web.Response(body=text, content_type="application/json")
    if len(text) >= MIN_GZIP and "gzip" in request.headers.get("Accept-Encoding", ""):
        response.enable_compression(web.ContentCoding.gzip)
    return response
