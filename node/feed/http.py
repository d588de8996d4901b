"""Bytes to a server and back over HTTP: the only room that holds sockets of the feed."""

from collections.abc import AsyncGenerator
from typing import Protocol

import aiohttp

from node.errors import ApiError

_CHUNK = 1 << 16


class Transport(Protocol):
    """How a request reaches a server."""

    def post(self, url: str, body: bytes, client: str, timeout: float) -> AsyncGenerator[bytes, None]:
        """The answer's body in parts, all within ``timeout`` seconds. Raises ApiError."""


class Http:
    """HTTP with one session's connections, kept alive."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def post(self, url: str, body: bytes, client: str, timeout: float) -> AsyncGenerator[bytes, None]:
        headers = {"X-Client": client, "Content-Type": "application/json"}
        limit = aiohttp.ClientTimeout(total=timeout)
        try:
            async with self._session.post(
                url, data=body, headers=headers, timeout=limit, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise ApiError(f"HTTP {response.status}")
                async for chunk in response.content.iter_chunked(_CHUNK):
                    yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(f"{type(error).__name__} {error}".rstrip()) from error
