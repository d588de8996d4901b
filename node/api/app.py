"""The node's own HTTP: what it answers, to whom, and how much of it. Read only."""

import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import nullcontext

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from node.api import group, health, v1
from node.api.answers import SECURITY_HEADERS, AnswerError, error_answer, send
from node.api.auth import Access, access_of, check_network, check_token, is_operators, origin_of
from node.api.limits import Buckets, Limits, Places, Seldom, too_many
from node.api.served import ACCESS, CHUNKS, LIMITS, SERVED, Served
from node.config import HttpConfig

#: A failed authentication of one kind from one address is told once in so many seconds.
TELL_SECONDS = 60.0
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_PRIVATE = frozenset(route.path for route in health.PRIVATE)


class Settings(msgspec.Struct, frozen=True):
    """Who may ask, and how much is answered."""

    access: Access = Access()
    limits: Limits = Limits()


DEFAULTS = Settings()


def settings_of(http: HttpConfig) -> Settings:
    """The settings of a configuration. Raises ConfigError."""
    return Settings(access_of(http))


def make_app(
    served: Served, settings: Settings = DEFAULTS, clock: Callable[[], float] = time.monotonic
) -> web.Application:
    """The application around a node."""
    limits = settings.limits
    app = web.Application(middlewares=[_answering(served, clock), _guarding(settings, clock)], client_max_size=1_024)
    app[SERVED] = served
    app[ACCESS] = settings.access
    app[CHUNKS] = Places(limits.chunks, limits.chunks_each)
    app[LIMITS] = limits
    app.add_routes([*health.OPEN, *health.PRIVATE, *v1.PUBLIC, *group.PUBLIC])
    app.on_response_prepare.append(_add_headers)
    return app


def route_of(request: web.Request) -> str:
    """The pattern of the route that a request took; "other" if none."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "other"


def _answering(served: Served, clock: Callable[[], float]) -> Middleware:
    """Outermost: every request ends in an answer of ours and in an event; no traceback leaves the node."""
    failures = Seldom(TELL_SECONDS, 256, clock)

    def note_denied(request: web.Request, error: AnswerError) -> None:
        key = origin_of(request).key
        times = failures.times((key, error.body["kind"]))
        if times:
            about = {"peer": key, "path": request.path[:128], "kind": error.body["kind"], "times": times}
            served.on_event("auth_failed", about)

    @web.middleware
    async def answering(request: web.Request, handler: _Handler) -> web.StreamResponse:
        begun = clock()
        denied = ""
        try:
            response = await handler(request)
        except AnswerError as error:
            if error.status in (401, 403):
                denied = error.body["kind"]
                note_denied(request, error)
            response = error_answer(request, error)
        except web.HTTPException as error:
            response = error_answer(request, _of_http(error))
        except ConnectionError:
            raise  # the client has gone: nobody is left to be answered
        except Exception as error:  # noqa: BLE001  the supervisor of all requests: one that fails is no end of the node
            served.on_event(
                "http_error", {"route": route_of(request), "error": repr(error)[:300], "at": _last_line(error)}
            )
            wrong = AnswerError(500, "internal", "this node failed to answer", "the log of the node says why")
            response = error_answer(request, wrong)
        about: dict[str, object] = {"route": route_of(request), "status": response.status, "seconds": clock() - begun}
        served.on_event("http", {**about, "denied": denied} if denied else about)
        return response

    return answering


def _guarding(settings: Settings, clock: Callable[[], float]) -> Middleware:
    """How much, from where, and with which right: checked in this order before a handler runs."""
    limits = settings.limits
    buckets = Buckets(limits.rate, limits.burst, limits.addresses, clock)
    places = Places(limits.requests, limits.requests_each)

    @web.middleware
    async def guarding(request: web.Request, handler: _Handler) -> web.StreamResponse:
        origin = origin_of(request)
        if origin.address is None:
            return await handler(request)
        wait = buckets.take(origin.key)
        if wait:
            raise too_many(wait, f"more than {limits.rate:g} requests a second from this address")
        check_network(settings.access, origin)
        if route_of(request) in _PRIVATE:
            check_token(settings.access, origin, request)
        is_free = is_operators(settings.access, origin)  # the operator is always answered
        with nullcontext() if is_free else places.one(origin.key):
            return await send(request, await handler(request), limits.send_seconds)

    return guarding


def _of_http(error: web.HTTPException) -> AnswerError:
    """An error that aiohttp itself found."""
    if error.status == 405:
        allowed = error.headers.get("Allow", "GET,HEAD")
        return AnswerError(
            405, "method_not_allowed", "this API is read only", f"use {allowed}", headers={"Allow": allowed}
        )
    if error.status == 404:
        return AnswerError(404, "not_found", "there is no such path", "docs/api.md names those that there are")
    return AnswerError(error.status, "bad_request", error.reason, "docs/api.md says what can be asked")


def _last_line(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_HEADERS)
