"""A server's JSON-RPC over HTTP: bounded in time and size; every failure is an ApiError that names the server."""

import itertools
from typing import Any

import aiohttp
import msgspec

from node.errors import ApiError, BroadcastRefusedError

MAX_ANSWER = 64 << 20  # bytes
_CHUNK = 1 << 16


class _Answer(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None


_decode = msgspec.json.Decoder(_Answer).decode


class Api:
    """One server, run by ``operator``; ``client`` is how this node calls itself there."""

    def __init__(
        self, url: str, operator: str, session: aiohttp.ClientSession, client: str, timeout: float = 3.0
    ) -> None:
        self.url = url
        self.operator = operator
        self._session = session
        self._headers = {"X-Client": client, "Content-Type": "application/json"}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._ids = itertools.count(1)

    async def raw(self, method: str, params: Any, timeout: float | None = None) -> msgspec.Raw:
        """The undecoded result; ``timeout`` in seconds if not the server's usual one.

        Raises ApiError, and BroadcastRefusedError for an error that the server names.
        """
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params})
        limit = aiohttp.ClientTimeout(total=timeout) if timeout else self._timeout
        try:
            async with self._session.post(self.url, data=body, headers=self._headers, timeout=limit) as response:
                text = await self._read(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(f"{self.url}: {method}: {type(error).__name__} {error}".rstrip()) from error
        try:
            answer = _decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError(f"{self.url}: {method}: not a JSON-RPC answer ({text[:80]!r})") from error
        if answer.error is not None:
            message = answer.error.get("message") if isinstance(answer.error, dict) else answer.error
            raise BroadcastRefusedError(str(message)[:2000])
        return answer.result

    async def call(self, method: str, params: Any) -> Any:
        """The decoded result. Raises ApiError."""
        try:
            return msgspec.json.decode(await self.raw(method, params))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError(f"{self.url}: {method}: not JSON") from error
        except BroadcastRefusedError as error:
            raise ApiError(f"{self.url}: {method}: {error}") from error

    async def broadcast(self, transaction: dict[str, Any]) -> None:
        """Send a transaction in the condenser form. Raises ApiError, BroadcastRefusedError."""
        await self.raw("condenser_api.broadcast_transaction", [transaction])

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status != 200:
            raise ApiError(f"{self.url}: HTTP {response.status}")
        parts: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_chunked(_CHUNK):
            size += len(chunk)
            if size > MAX_ANSWER:
                raise ApiError(f"{self.url}: an answer of more than {MAX_ANSWER} bytes")
            parts.append(chunk)
        return b"".join(parts)
