"""`waggle signer`: keys, policy, journal and a state of their own behind a socket. One request after the other.

Who may ask: over a Unix socket whom node/signer/peers.py admits, over TCP whoever shows a certificate of the one
authority. What is asked for is judged by node/signer/replica.py; a client that breaks the rules of the wire is dropped.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from node.core import Log
from node.errors import ConfigError, JournalError, NodeError, SignerError
from node.signer import wire
from node.signer.peers import NOBODY_ELSE, Admitted, open_to, unwelcome
from node.signer.replica import Replica
from state.errors import StateError

#: Connections at the same time.
MAX_CLIENTS = 8
#: Requests a second of one client, over time and at once; more are answered later.
RATE, BURST = 200, 400
_FRAME_SECONDS = 15.0
_END_SECONDS = 1.0
_REMEDY = "see the log of the signer"


class Service:
    """Answers requests by one replica. ``failed`` is set when the store failed: the process must end."""

    def __init__(self, replica: Replica, log: Log, who: Admitted = NOBODY_ELSE) -> None:
        self.failed: asyncio.Event = asyncio.Event()
        self.error: StateError | None = None
        self._replica = replica
        self._log = log
        #: Who may ask over a Unix socket.
        self.who = who
        self._clients: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until it leaves or breaks a rule."""
        peer = _name_of(writer)
        is_full = len(self._clients) >= MAX_CLIENTS
        refusal = unwelcome(writer, self.who) or ("there are too many clients" if is_full else "")
        if refusal:
            self._log("signer_client", {"peer": peer, "outcome": "refused", "why": refusal})
            writer.close()
            return
        self._clients[writer] = asyncio.current_task()
        self._log("signer_client", {"peer": peer, "outcome": "connected", "why": ""})
        why = "it left"
        try:
            await self._talk(reader, writer)
        except SignerError as error:
            why = str(error)
            with contextlib.suppress(OSError):
                writer.write(wire.frame(wire.Refused(why[:1000])))
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            why = f"the connection ended ({type(error).__name__})"
        except Exception as error:  # noqa: BLE001 - whatever one client's bytes do must not end the signer
            why = f"its request broke: {type(error).__name__}: {error}"
        finally:
            self._clients.pop(writer, None)
            writer.close()
            self._log("signer_client", {"peer": peer, "outcome": "dropped", "why": why})

    async def drop_all(self) -> None:
        """End every connection."""
        tasks = [task for task in self._clients.values() if task is not None]
        for writer in list(self._clients):
            writer.transport.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=_END_SECONDS)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        left, at, greeted = float(BURST), loop.time(), False
        while True:
            head = await reader.readexactly(1)
            async with asyncio.timeout(_FRAME_SECONDS):  # who has begun a frame must end it
                kind, size = wire.body_size(head + await reader.readexactly(wire.HEAD - 1))
                if kind == wire.BLOCKS and not greeted:
                    raise SignerError("blocks before hello")
                request = wire.read_request(kind, await reader.readexactly(size))
            if not greeted and not isinstance(request, wire.Hello):
                raise SignerError("the first request is hello")
            answer = self.answer(request)
            greeted = greeted or isinstance(answer, wire.Welcome)
            writer.write(wire.frame(answer))
            async with asyncio.timeout(_FRAME_SECONDS):
                await writer.drain()
            if self.failed.is_set():
                return
            left, at = min(float(BURST), left + RATE * (loop.time() - at)) - 1, loop.time()
            if left < 0:
                await asyncio.sleep(-left / RATE)

    def answer(self, request: wire.Request) -> wire.Answer:
        """Carry out a request. What is refused has changed nothing but the blocks before the refused one."""
        if self.failed.is_set():
            return wire.Refused(f"the signer's store failed and it ends: {_REMEDY}")
        try:
            return self._carry_out(request)
        except (SignerError, JournalError) as error:
            return wire.Refused(str(error)[:4000])
        except StateError as error:
            self.error = error
            self.failed.set()
            return wire.Refused(f"the signer's store failed and it ends: {_REMEDY}")

    def _carry_out(self, request: wire.Request) -> wire.Answer:
        replica = self._replica
        match request:
            case wire.Hello():
                return self._welcome(request)
            case wire.Begin():
                replica.begin(request.text)
            case wire.Apply():
                replica.apply(request.texts)
            case wire.Rewind():
                replica.rewind(request.height)
            case wire.BlockId():
                return wire.At(request.height, replica.block_id(request.height) or b"")
            case wire.Look():
                return wire.Ops(replica.look(), replica.held_until)
            case wire.SignedFor():
                return wire.Ids(sorted(replica.signer.signed_for(request.payloads, request.now)))
            case wire.Report():
                sig = replica.report(request.account, request.height, request.root, request.key)
                return wire.Signed("sign", "", "", sig)
            case wire.Sign():
                verdict, found = replica.sign(request.op, request.key, request.txid)
                return wire.Signed(verdict.kind, verdict.why, verdict.detail[:4000], found or b"")
        return wire.At(replica.height, replica.head_id)

    def _welcome(self, request: wire.Hello) -> wire.Answer:
        replica = self._replica
        if request.version != wire.VERSION:
            return wire.Refused(f"this signer speaks version {wire.VERSION}, not {request.version}: install the same")
        if request.genesis != replica.genesis.hash:
            return wire.Refused(f"this signer signs for genesis {replica.genesis.hash.hex()}: compare the documents")
        if request.account != replica.account:
            return wire.Refused(f"this signer signs for {replica.account}, not {request.account}")
        keys = list(replica.signer.public_keys)
        return wire.Welcome(keys, replica.height, replica.head_id, replica.trusted.height, replica.born)


async def listen(service: Service, address: str, context: Callable[[], ssl.SSLContext]) -> asyncio.Server:
    """Listen on ``unix:PATH`` or ``tls://HOST:PORT``. Raises ConfigError."""
    try:
        if address.startswith("unix:"):
            path = Path(address.removeprefix("unix:"))
            _make_way(path)
            before = os.umask(0o177)  # the socket is 0600 from its first moment on
            try:
                server = await asyncio.start_unix_server(service.serve, path)
            finally:
                os.umask(before)
            try:
                open_to(path, service.who)
            except ConfigError:
                server.close()
                raise
            return server
        host, port = host_and_port(address)
        return await asyncio.start_server(
            service.serve, host, port, ssl=context(), ssl_handshake_timeout=5, ssl_shutdown_timeout=1
        )
    except OSError as error:
        raise ConfigError(f"signer.listen: {address}: {error.strerror or error}: name another place") from error


def host_and_port(address: str) -> tuple[str, int]:
    """Of ``tls://HOST:PORT``; an IPv6 address may stand in brackets."""
    host, _, port = address.removeprefix("tls://").rstrip("/").rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def tls_context(certificate: Path, key: Path, authority: Path, *, server: bool) -> ssl.SSLContext:
    """Mutual TLS 1.3: both sides show a certificate of ``authority``, and no other authority counts.

    Raises ConfigError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # an encrypted one would ask at the terminal
        context.load_verify_locations(authority)
    except (OSError, ssl.SSLError) as error:
        words = f"signer: {certificate}, {key} and {authority} cannot be used ({error})"
        raise ConfigError(f"{words}: name a certificate, its unencrypted key and the authority, as PEM") from error
    return context


async def run_service(service: Service, server: asyncio.Server, stop: asyncio.Event) -> None:
    """Until ``stop``, or the store fails. Raises StateError, NodeError."""
    waiting = [asyncio.create_task(event.wait()) for event in (stop, service.failed)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        server.close()
        await service.drop_all()
    if service.error is not None:
        raise NodeError(str(service.error)) from service.error


def _make_way(path: Path) -> None:
    """Remove what a dead signer left; a living one is told apart. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise OSError(98, "another signer listens there")


def _name_of(writer: asyncio.StreamWriter) -> str:
    peer = writer.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "unix"
