"""A server's JSON-RPC: bounded in time and size; every failure is an ApiError that names the server."""

import itertools
from contextlib import aclosing
from typing import Any

import msgspec

from node.errors import ApiError, BroadcastRefusedError
from node.feed.http import Transport

#: Bytes of an answer: of a range of blocks, and of all that is decoded as a whole (1,000 witnesses are the most).
MAX_ANSWER, MAX_CALL = 64 << 20, 4 << 20


class _Answer(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None


_decode = msgspec.json.Decoder(_Answer).decode


class Api:
    """One server, run by ``operator``; ``client`` is how this node calls itself there."""

    def __init__(self, url: str, operator: str, transport: Transport, client: str, timeout: float = 3.0) -> None:
        self.url = url
        self.operator = operator
        self._transport = transport
        self._client = client
        self._timeout = timeout
        self._ids = itertools.count(1)

    async def raw(
        self, method: str, params: Any, timeout: float | None = None, *, most: int | None = None
    ) -> msgspec.Raw:
        """The undecoded result of at most ``most`` bytes (MAX_ANSWER); ``timeout`` in seconds if not the usual one.

        Raises ApiError, and BroadcastRefusedError for an error that the server names.
        """
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params})
        try:
            text = await self._read(body, timeout or self._timeout, MAX_ANSWER if most is None else most)
        except ApiError as error:
            raise ApiError(f"{self.url}: {method}: {error}") from error
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
            return msgspec.json.decode(await self.raw(method, params, most=min(MAX_CALL, MAX_ANSWER)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError(f"{self.url}: {method}: not JSON") from error
        except BroadcastRefusedError as error:
            raise ApiError(f"{self.url}: {method}: {error}") from error

    async def broadcast(self, transaction: dict[str, Any]) -> None:
        """Send a transaction in the condenser form. Raises ApiError, BroadcastRefusedError."""
        await self.raw("condenser_api.broadcast_transaction", [transaction])

    async def _read(self, body: bytes, timeout: float, most: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        async with aclosing(self._transport.post(self.url, body, self._client, timeout)) as answer:
            async for chunk in answer:
                size += len(chunk)
                if size > most:
                    raise ApiError(f"an answer of more than {most} bytes")
                parts.append(chunk)
        return b"".join(parts)
