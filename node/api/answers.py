"""How the node's API answers: JSON, also where something is wrong, then with what to do about it."""

import asyncio
from typing import Any

import msgspec
from aiohttp import web

#: Answers below this many bytes are not worth compressing; larger ones than the second are compressed on a thread.
_COMPRESS_FROM, _THREAD_FROM = 1_024, 1 << 16
SECURITY_HEADERS = {
    "Server": "waggle",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class AnswerError(Exception):
    """A request that is answered with an error: ``code`` for machines, ``message`` and ``remedy`` for people."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        remedy: str,
        *,
        headers: dict[str, str] | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.body = {"error": code, "message": message, "remedy": remedy, **(more or {})}


def json_answer(
    request: web.Request, body: Any, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """``body`` as JSON, compressed if it is large and the client takes gzip."""
    raw = msgspec.json.encode(body)
    response = web.Response(
        body=raw, status=status, content_type="application/json", headers=headers, zlib_executor_size=_THREAD_FROM
    )
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["Vary"] = "Accept-Encoding"
    if len(raw) >= _COMPRESS_FROM and _takes_gzip(request):
        response.enable_compression(web.ContentCoding.gzip)
    return response


async def send(request: web.Request, response: web.StreamResponse, seconds: float) -> web.StreamResponse:
    """Send an answer now, so that whoever holds a place for it holds it until it was taken; cut off what is not."""
    if response.prepared:
        return response
    try:
        async with asyncio.timeout(seconds):
            await response.prepare(request)
            await response.write_eof()
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
    return response


def error_answer(request: web.Request, error: AnswerError) -> web.Response:
    """An error as JSON."""
    return json_answer(request, error.body, error.status, error.headers)


def _takes_gzip(request: web.Request) -> bool:
    """Whether gzip stands in Accept-Encoding, and not with the weight 0."""
    for part in request.headers.get("Accept-Encoding", "").lower().split(","):
        name, _, weight = part.replace(" ", "").partition(";q=")
        if name == "gzip":
            return weight.strip("0.") != "" if weight else True
    return False
