"""The devnet's server on loopback, in a thread of its own, for clients that block."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from node.devnet.chain import Produced
from node.devnet.manners import HONEST, Manner
from node.devnet.server import DevnetServer
from tests.node.devnet.world import World

INTERVAL = 0.3  # seconds


class Served:
    """A world behind an address."""

    def __init__(self, world: World, server: DevnetServer, loop: asyncio.AbstractEventLoop, url: str) -> None:
        self.world, self.server, self.url = world, server, url
        self._loop = loop

    def also(self, manner: Manner) -> "Served":
        """The same chain behind one more address."""
        listening = asyncio.run_coroutine_threadsafe(self.server.listen(manner=manner), self._loop)
        return Served(self.world, self.server, self._loop, listening.result(10))

    def produce(self) -> Produced:
        """The next block, now."""
        return asyncio.run_coroutine_threadsafe(self.server.produce(), self._loop).result(10)

    def post(self, body: Any, headers: dict[str, str] | None = None) -> Any:
        """The answer to a body: bytes as they are, anything else as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        request = urllib.request.Request(self.url, raw, {"Content-Type": "application/json", **(headers or {})})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    def call(self, method: str, params: Any) -> Any:
        """The result of a method; AssertionError with the error."""
        answer = self.post({"jsonrpc": "2.0", "method": method, "params": params, "id": 7})
        assert answer["id"] == 7 and answer["jsonrpc"] == "2.0"
        assert "error" not in answer, answer
        return answer["result"]

    def error(self, method: str, params: Any) -> dict[str, Any]:
        """The error of a method."""
        answer = self.post({"jsonrpc": "2.0", "method": method, "params": params, "id": 7})
        assert answer["id"] == 7 and "result" not in answer
        found: dict[str, Any] = answer["error"]
        return found


@contextmanager
def served(world: World, *, clock: bool = False, manner: Manner = HONEST) -> Iterator[Served]:
    """A server; with a clock it makes blocks by itself."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = DevnetServer(world.chain, interval=INTERVAL)

    async def start() -> str:
        url = await server.listen(manner=manner)
        if clock:
            server.start_clock()
        return url

    try:
        url = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        yield Served(world, server, loop, url)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
