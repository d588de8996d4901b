"""JSON-RPC over HTTP around the devnet's chain, for any Hive client; and its clock."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from node.devnet.chain import DevnetChain, Produced
from node.devnet.errors import HivedRefusalError
from node.devnet.rpc import Methods, RpcError
from processors.hive.transaction import Transaction

MAX_BODY = 4 << 20
MAX_BATCH = 100
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
        #: Called with (client, transaction) before a broadcast; True = it is lost on the way.
        self.swallow: Callable[[str, Transaction], bool] = lambda client, tx: False
        #: Called after each block.
        self.on_block: list[Callable[[Produced], None]] = []
        self._log = log.open("a") if log else None
        self._methods = Methods(chain, chain.submit)
        self._produced = asyncio.Condition()
        self._runners: list[web.AppRunner] = []
        self._clock: asyncio.Task[None] | None = None

    async def listen(self, port: int = 0, host: str = "127.0.0.1") -> str:
        """Serve on one more address; returns its URL."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/", self._handle)
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

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        client: str = request.headers.get(CLIENT_HEADER) or request.headers.get("User-Agent") or "?"
        if client in self.refused_clients:
            raise web.HTTPForbidden(text="this client is refused")
        try:
            body = json.loads(await request.read())
        except (ValueError, RecursionError):
            return _answer({"jsonrpc": "2.0", "error": {"code": -32700, "message": "parse error"}, "id": None})
        if isinstance(body, list):
            if len(body) > MAX_BATCH:
                return _answer({"jsonrpc": "2.0", "error": {"code": -32600, "message": "batch too large"}, "id": None})
            return _answer([await self._one(client, item) for item in body])
        return _answer(await self._one(client, body))

    async def _one(self, client: str, call: Any) -> dict[str, Any]:
        identity = call.get("id") if isinstance(call, dict) else None
        try:
            result = await self._dispatch(client, call)
        except HivedRefusalError as refusal:
            error = {"code": -32000, "message": refusal.message, "data": refusal.data()}
            return {"jsonrpc": "2.0", "error": error, "id": identity}
        except RpcError as wrong:
            return {"jsonrpc": "2.0", "error": {"code": wrong.code, "message": str(wrong)}, "id": identity}
        return {"jsonrpc": "2.0", "result": result, "id": identity}

    async def _dispatch(self, client: str, call: Any) -> Any:
        if not isinstance(call, dict) or not isinstance(call.get("method"), str):
            raise RpcError(-32600, "not a JSON-RPC call")
        method, params = call["method"], call.get("params", [])
        if method == "call":  # the old form: ["api", "method", params]
            if not isinstance(params, list) or len(params) != 3:
                raise RpcError(-32602, "Invalid parameters: call takes an api, a method and its parameters")
            method, params = f"{params[0]}.{params[1]}", params[2]
        if method.rpartition(".")[2].startswith("broadcast_transaction"):
            return await self._broadcast(client, method, params)
        return self._methods.call(method, params)

    async def _broadcast(self, client: str, method: str, params: Any) -> dict[str, Any]:
        try:
            raw = params["trx"] if isinstance(params, dict) else params[0]
            tx = self._methods.parse(raw)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise RpcError(-32602, f"Invalid parameters: {error}") from error
        except HivedRefusalError:
            raise
        except Exception as error:
            raise RpcError(-32602, f"Invalid parameters: {error}") from error
        if self.swallow(client, tx):
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


def _answer(body: Any) -> web.Response:
    return web.Response(body=json.dumps(body).encode(), content_type="application/json")
