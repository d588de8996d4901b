"""JSON-RPC over HTTP around the devnet's chain, for any Hive client; and its clock."""

import asyncio
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from node.devnet.chain import DevnetChain, Produced
from node.devnet.errors import HivedRefusalError
from node.devnet.rpc import Methods, RpcError, bad_cast
from processors.hive.errors import HiveDataError
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
            body = _read(await request.read())
        except (ValueError, RecursionError) as error:
            return _answer(_failed(None, RpcError(-32000, f"Parse Error:{error}")))
        if not isinstance(body, list):
            return _answer(await self._one(client, body))
        if not 1 <= len(body) <= MAX_BATCH:
            return _answer(_failed(None, RpcError(-32000, "Array is invalid")))
        return _answer([await self._one(client, item) for item in body])

    async def _one(self, client: str, call: Any) -> dict[str, Any]:
        identity = None
        try:
            identity = _identity(call)
            result = await self._dispatch(client, *_method(call))
        except HivedRefusalError as refusal:
            return _failed(identity, RpcError(refusal.rpc_code, refusal.message, refusal.data()))
        except RpcError as wrong:
            return _failed(identity, wrong)
        return {"jsonrpc": "2.0", "result": result, "id": identity}

    async def _dispatch(self, client: str, method: str, params: Any) -> Any:
        if method.rpartition(".")[2].startswith("broadcast_transaction"):
            self._methods.check_method(method)
            return await self._broadcast(client, method, params)
        return self._methods.call(method, params)

    async def _broadcast(self, client: str, method: str, params: Any) -> dict[str, Any]:
        try:
            tx = self._methods.parse(params["trx"] if isinstance(params, dict) else params[0])
        except (HiveDataError, KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise bad_cast(str(error)) from error
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


def _read(raw: bytes) -> Any:
    """JSON as fc reads it: of the escapes only \\t \\n \\r stand for another character, "\\u00e9" reads "u00e9"."""
    kept = re.sub(rb"\\(.)", lambda found: found[0] if found[1] in b'tnr\\"' else found[1], raw, flags=re.DOTALL)
    return json.loads(kept, strict=False)


def _identity(call: Any) -> Any:
    """The id of a call. Raises RpcError."""
    if not isinstance(call, dict):
        raise bad_cast("a call is an object")
    if "id" in call and type(call["id"]) not in (int, str):
        raise RpcError(-32600, 'Only integer value or string is allowed for member "id"')
    return call.get("id")


def _method(call: dict[str, Any]) -> tuple[str, Any]:
    """The method of a call and its parameters. Raises RpcError."""
    if call.get("jsonrpc") != "2.0":
        raise RpcError(-32600, 'jsonrpc value is not "2.0"')
    method = call.get("method")
    if not isinstance(method, str):
        raise RpcError(-32600, 'A member "method" does not exist')
    params = call.get("params", {})
    if method != "call":
        return method, params
    if "params" not in call:
        raise RpcError(-32001, 'A member "params" does not exist')
    if not isinstance(params, list) or len(params) not in (2, 3):  # the old form: ["api", "method", params]
        raise RpcError(
            -32002, 'Assert Exception:v.size() == 2 || v.size() == 3: params should be {"api", "method", "args"'
        )
    return f"{params[0]}.{params[1]}", params[2] if len(params) == 3 else {}


def _failed(identity: Any, error: RpcError) -> dict[str, Any]:
    shown = {"code": error.code, "message": str(error), **({"data": error.data} if error.data else {})}
    return {"jsonrpc": "2.0", "error": shown, "id": identity}


def _answer(body: Any) -> web.Response:
    return web.Response(body=json.dumps(body).encode(), content_type="application/json")
