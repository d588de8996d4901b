"""Checks of what is around the node: its own HTTP, the other members' nodes, the remote signer."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import msgspec

from node.api.auth import access_of
from node.bounded_http import read_bounded
from node.config import Config
from node.doctor.finding import SECONDS, Case, Finding, fail, ok, skip, split, warn
from node.errors import NodeError

#: Members' nodes that are asked; bytes of one answer.
MAX_PEERS, MAX_ANSWER = 32, 1 << 16


async def http(case: Case) -> list[Finding]:
    """Whether the node's own address can be listened on, or is the running node's; and who may ask there."""
    config = case.config.http
    if not config.listen:
        return [skip("http", "http.listen is empty: no metrics, and no other node can ask this one")]
    host, _, port = config.listen.rpartition(":")
    found = [await _address(case, host.strip("[]"), int(port))]
    try:
        access = access_of(config)
    except NodeError as error:
        return [*found, fail("http-access", *split(error))]
    for path in (config.certificate, config.key):
        if path is not None and not path.is_file():
            found.append(fail("http-tls", f"{path} is no file", "name the certificate and its key, or neither"))
    if _is_loopback(host.strip("[]")):
        return found
    if not access.tokens:
        what = f"{config.listen} is not loopback, and http.tokens_file names no tokens: nobody elsewhere sees metrics"
        found.append(
            warn("http-access", what, "openssl rand -hex 24 into a file of mode 0600, named in http.tokens_file")
        )
    elif config.certificate is None:
        what = f"{config.listen} is http: a token can be read on its way"
        found.append(warn("http-access", what, "set http.certificate and http.key, or put a proxy with TLS before it"))
    else:
        found.append(ok("http-access", f"{len(access.tokens)} tokens, TLS"))
    return found


async def _address(case: Case, host: str, port: int) -> Finding:
    if case.status is not None:
        asked = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(asked, port), SECONDS)
        except (OSError, TimeoutError):
            what = f"the node runs, and nothing listens on {host}:{port}"
            return warn("http", what, "restart the node if http.listen was changed")
        writer.close()
        return ok("http", f"{host}:{port} is the running node's")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except OSError as error:
        return fail(
            "http", f"{host}:{port}: {error.strerror or error}", "name a free address of this machine in http.listen"
        )
    return ok("http", f"{host}:{port} is free")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def peers(case: Case, session: aiohttp.ClientSession, urls: Mapping[str, str]) -> list[Finding]:
    """Each member's node is asked for its health, and for the root of the last round. ``urls``: URL -> whose."""
    if not urls:
        return [skip("peers", "no member has a domain, and sync.peers is empty")]
    some = list(urls.items())[:MAX_PEERS]
    found = list(await asyncio.gather(*(_peer(case, session, url, whose) for url, whose in some)))
    if len(urls) > MAX_PEERS:
        found.append(skip("peers", f"{len(urls) - MAX_PEERS} more were not asked"))
    return found


async def _peer(case: Case, session: aiohttp.ClientSession, url: str, whose: str) -> Finding:
    name = f"peer {whose}"
    try:
        health = await _json(session, f"{url}/health")
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        words = f"{type(error).__name__} {error}".rstrip()[:200]
        return warn(name, f"{url} does not answer: {words}", "ask its operator; state sync and repair need some peers")
    if not isinstance(health, dict) or health.get("ok") is not True:
        return warn(name, f"{url} answers, but not as a node of Waggle", "ask its operator")
    status = case.status
    if status is None or not status.round.own_root:
        return ok(name, f"{url} answers")
    try:
        root = await _json(session, f"{url}/v1/roots/{status.round.height}")
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return ok(name, f"{url} answers, and does not keep the root of the last round")
    theirs = root.get("root") if isinstance(root, dict) else None
    if isinstance(theirs, str) and theirs != status.round.own_root:
        what = f"{url} has another root at {status.round.height}: {theirs[:64]}"
        return warn(name, what, f"waggle diff {url}: one of the two is wrong, or of another group")
    return ok(name, f"{url} answers" + (", same root" if theirs else ""))


async def _json(session: aiohttp.ClientSession, url: str) -> object:
    """A bounded answer. Raises what aiohttp raises, and ValueError."""
    limit = aiohttp.ClientTimeout(total=SECONDS)
    async with session.get(url, timeout=limit, allow_redirects=False) as response:
        raw = await read_bounded(response, MAX_ANSWER)
        if response.status != 200:
            raise ValueError(f"HTTP {response.status}")
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        raise ValueError("no JSON") from None


async def signer(case: Case) -> list[Finding]:
    """Whether the remote signer can be reached, if there is one."""
    url = case.config.signer.url
    if not url:
        return [skip("signer", "the node signs itself")]
    try:
        if url.startswith("unix:"):
            opened = asyncio.open_unix_connection(url.removeprefix("unix:"))
        else:
            host, _, port = url.removeprefix("tls://").rstrip("/").rpartition(":")
            opened = asyncio.open_connection(host.strip("[]"), int(port), ssl=_tls(case.config))
        _, writer = await asyncio.wait_for(opened, SECONDS)
    except (OSError, TimeoutError, ssl.SSLError) as error:
        words = f"{type(error).__name__} {error}".rstrip()[:300]
        return [fail("signer", f"{url} does not answer: {words}", "start `waggle signer`, and check the certificates")]
    writer.close()
    return [ok("signer", f"{url} answers")]


def _tls(config: Config) -> ssl.SSLContext:
    """Mutual TLS with the files of the configuration. Raises OSError, ssl.SSLError."""
    named: list[Path | None] = [config.signer.authority, config.signer.certificate, config.signer.key]
    authority, certificate, key = (str(path) for path in named)
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(certificate, key)
    return context
