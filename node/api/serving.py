"""Where the node's API listens: a Unix socket for its own operator, and an address if one is configured."""

import asyncio
import errno
import logging
import os
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from node.api.limits import Limits
from node.api.served import LIMITS
from node.config import HttpConfig
from node.errors import ConfigError, NodeError

_HEAD_BYTES, _HEADERS = 8_190, 64
_BACKLOG = 64
_TLS_SECONDS = 10.0
_MAX_SOCKET_PATH = 107  # bytes, of Linux
_LOG = logging.getLogger("waggle.api")
_LOG.addHandler(logging.NullHandler())
_LOG.propagate = False  # what aiohttp would say of broken requests is noise, and may quote them


class Runner:
    """A served application."""

    def __init__(self, runner: web.AppRunner, control: Path) -> None:
        self._runner = runner
        self._control = control
        self._servers: list[asyncio.Server] = []

    @property
    def port(self) -> int:
        """The port of the TCP address, 0 without one."""
        found = [s.getsockname() for server in self._servers for s in server.sockets if s.family != socket.AF_UNIX]
        return int(found[0][1]) if found else 0

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._runner.server.connections) if self._runner.server is not None else 0

    def add(self, server: asyncio.Server) -> None:
        """Another place where it listens."""
        self._servers.append(server)

    async def stop(self) -> None:
        """No more answers: what is being sent is cut off after a moment."""
        for server in self._servers:
            server.close()
        await self._runner.cleanup()
        if self._servers:  # else the socket is another's
            self._control.unlink(missing_ok=True)
        self._servers.clear()


async def serve(app: web.Application, http: HttpConfig, control: Path) -> Runner:
    """Listen on the socket ``control`` (mode 0600), and on ``http.listen`` unless that is empty.

    Raises ConfigError for an address, a certificate or a path that cannot be used, NodeError if another node listens.
    """
    context, limits = _tls(http), app[LIMITS]
    protocol: dict[str, Any] = {
        "logger": _LOG,
        "access_log": None,
        "keepalive_timeout": limits.head_seconds,
        "lingering_time": 1.0,
        "max_line_size": _HEAD_BYTES,
        "max_field_size": _HEAD_BYTES,
        "max_headers": _HEADERS,
    }
    runner = web.AppRunner(app, shutdown_timeout=limits.stop_seconds, **protocol)
    await runner.setup()
    served = Runner(runner, control)
    try:
        loop = asyncio.get_running_loop()
        assert runner.server is not None
        factory = _door(runner.server, limits, protocol)
        served.add(await loop.create_unix_server(factory, sock=_control_socket(control), backlog=_BACKLOG))
        if http.listen:
            served.add(await _listen(loop, factory, http.listen, context))
    except BaseException:
        await served.stop()
        raise
    return served


def _door(server: web.Server, limits: Limits, protocol: dict[str, Any]) -> Callable[[], web.RequestHandler]:
    """What takes connections: no more than so many, and of one address no more than so many of them."""

    class Door(web.RequestHandler):
        __slots__ = ()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            mine = _host(transport)
            others = [connection.transport for connection in server.connections]
            same = sum(other is not None and _host(other) == mine for other in others)
            if mine and (len(others) > limits.connections or same > limits.connections_each):
                transport.abort()  # type: ignore[attr-defined]

    loop = asyncio.get_running_loop()
    return lambda: Door(server, loop=loop, **protocol)


def _host(transport: asyncio.BaseTransport) -> str:
    """The address of the other side; empty on the control socket, which is never full."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


async def _listen(
    loop: asyncio.AbstractEventLoop,
    factory: Callable[[], web.RequestHandler],
    listen: str,
    context: ssl.SSLContext | None,
) -> asyncio.Server:
    host, _, port = listen.rpartition(":")
    seconds = _TLS_SECONDS if context is not None else None
    try:
        return await loop.create_server(
            factory,
            host.strip("[]"),
            int(port),
            ssl=context,
            backlog=_BACKLOG,
            reuse_address=True,
            ssl_handshake_timeout=seconds,
        )
    except OSError as error:
        raise ConfigError(f"http.listen: {listen} cannot be used ({error.strerror or error}): take another") from None


def _tls(http: HttpConfig) -> ssl.SSLContext | None:
    """TLS 1.2 or newer with the certificate of the configuration; None without one."""
    if http.certificate is None or http.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(http.certificate, http.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"http.certificate: {http.certificate} with http.key {http.key} cannot be used ({error}): name the chain "
            f"and its key in PEM form, readable by the node"
        ) from None
    return context


def _control_socket(path: Path) -> socket.socket:
    """A bound Unix socket that its owner alone can reach; one that a dead node left is replaced."""
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        raise ConfigError(f"node.data: {path} is longer than {_MAX_SOCKET_PATH} bytes: name a shorter folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # the socket must not be there for a moment with another mode
    try:
        control.bind(os.fspath(path))
    except OSError as error:
        control.close()
        raise NodeError(f"{path}: {error.strerror}: the data folder must be writable, and take sockets") from None
    finally:
        os.umask(before)
    control.setblocking(False)
    return control


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(f"{path} is no socket: move it away, the node listens there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        found = probe.connect_ex(os.fspath(path))
    if found not in (errno.ECONNREFUSED, errno.ENOENT):
        raise NodeError(f"{path}: another node runs on this data folder: stop it first, or ask it with `waggle status`")
    path.unlink(missing_ok=True)
