"""An answer over HTTP, read no further than a bound: whoever answers decides neither how much is read nor how long."""

import aiohttp

_PART = 1 << 16


class TooLongError(ValueError):
    """An answer is longer than its reader takes."""


async def read_bounded(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body of an answer, of at most ``most`` bytes. The time is bounded by who asks.

    Raises TooLongError for a longer one, and what aiohttp raises.
    """
    raw = bytearray()
    async for part in response.content.iter_chunked(_PART):
        raw += part
        if len(raw) > most:
            raise TooLongError(f"more than {most} bytes")
    return bytes(raw)
