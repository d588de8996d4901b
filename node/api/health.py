"""What watches the node asks: does the process work, does it take its part, how is it."""

from aiohttp import web

from node.api.answers import json_answer
from node.api.auth import is_trusted, origin_of
from node.api.served import ACCESS, SERVED
from node.attention import attention, not_ready
from node.metrics import CONTENT_TYPE


async def health(request: web.Request) -> web.StreamResponse:
    """200 while the process works; who may see it is told what needs attention."""
    body: dict[str, object] = {"ok": True}
    if _is_trusted(request):
        found = request.app[SERVED].status()
        body |= {
            "account": found.account,
            "version": found.version,
            "height": found.height,
            "lag": found.lag,
            "halted_at": found.halted_at,
            "attention": attention(found),
        }
    return json_answer(request, body)


async def ready(request: web.Request) -> web.StreamResponse:
    """200 when the node is live, agrees on its own root and is not halted; else 503, with the reasons."""
    reasons = not_ready(request.app[SERVED].status())
    body: dict[str, object] = {"ready": not reasons}
    if _is_trusted(request):
        body["reasons"] = reasons
    return json_answer(request, body, 503 if reasons else 200)


async def metrics(request: web.Request) -> web.StreamResponse:
    """Prometheus' text format."""
    headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}
    return web.Response(body=request.app[SERVED].metrics(), headers=headers)


async def status(request: web.Request) -> web.StreamResponse:
    """All that `waggle status` shows."""
    return json_answer(request, request.app[SERVED].status())


def _is_trusted(request: web.Request) -> bool:
    return is_trusted(request.app[ACCESS], origin_of(request), request)


OPEN = (web.get("/health", health), web.get("/ready", ready))
PRIVATE = (web.get("/metrics", metrics), web.get("/v1/status", status))
