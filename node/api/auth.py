"""Who may ask what: everything on the control socket or with a token, the public routes for everybody.

Loopback needs no token as long as the configuration names neither tokens nor networks. A proxy on this machine that
adds no header looks like its operator, and who configured either expects others.

An address that ``allow`` does not name gets 403: no token helps. A token that is missing or wrong gets 401.
"""

import hmac
import ipaddress
import socket
from hashlib import sha256
from pathlib import Path

import msgspec
from aiohttp import web

from node.api.answers import AnswerError
from node.config import HttpConfig
from node.errors import ConfigError, KeyFileError
from node.signer.private_files import read_private

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_TOKENS = 64
_TOKEN_LETTERS = (16, 256)  # fewest, most
_MAX_FILE = 1 << 16
#: Headers that a proxy adds: such a request comes from elsewhere, whatever its last hop is.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


class Access(msgspec.Struct, frozen=True):
    """``allow``: networks from which anything may be asked (empty = all); ``tokens`` as sha256."""

    allow: tuple[Network, ...] = ()
    tokens: tuple[bytes, ...] = ()

    @property
    def is_guarded(self) -> bool:
        """Whether the operator has said who may ask: then loopback alone is no proof of being him."""
        return bool(self.allow or self.tokens)


class Origin(msgspec.Struct, frozen=True):
    """Where a request comes from: ``address`` None is the control socket; ``local``: from this machine itself."""

    address: Address | None
    local: bool

    @property
    def key(self) -> str:
        """What is limited together: an address of IPv4, 64 bits of IPv6, this machine, or its proxy."""
        if self.address is None:
            return "control"
        if isinstance(self.address, ipaddress.IPv6Address):
            network = ipaddress.IPv6Network((int(self.address) >> 64 << 64, 64))
            return f"{network}{'' if self.local or not self.address.is_loopback else ' proxy'}"
        return f"{self.address}{'' if self.local or not self.address.is_loopback else ' proxy'}"


def access_of(http: HttpConfig) -> Access:
    """The rules of a configuration. Raises ConfigError."""
    tokens = load_tokens(http.tokens_file) if http.tokens_file is not None else ()
    return Access(tuple(ipaddress.ip_network(network) for network in http.allow), tokens)


def load_tokens(path: Path) -> tuple[bytes, ...]:
    """The hashes of the tokens in a file, one a line, mode 0600. Raises ConfigError."""
    try:
        raw = bytes(read_private(path, _MAX_FILE, "write tokens into it, one a line, and run: chmod 600"))
        lines = raw.decode("ascii").split("\n")
    except (KeyFileError, UnicodeDecodeError) as error:
        raise ConfigError(f"http.tokens_file: {error}") from None
    tokens = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    fewest, most = _TOKEN_LETTERS
    for number, token in enumerate(tokens, 1):
        if not fewest <= len(token) <= most or any(not "!" <= letter <= "~" for letter in token):
            raise ConfigError(
                f"http.tokens_file: {path}: token {number} has not {fewest} to {most} letters without spaces: make one "
                f"with: openssl rand -hex 24"
            )
    if not 1 <= len(tokens) <= MAX_TOKENS:
        raise ConfigError(f"http.tokens_file: {path} holds {len(tokens)} tokens, not 1 to {MAX_TOKENS}")
    return tuple(sha256(token.encode()).digest() for token in tokens)


def origin_of(request: web.Request) -> Origin:
    """Where a request comes from. A connection that is gone already counts as from elsewhere."""
    transport = request.transport
    peer = transport.get_extra_info("socket") if transport is not None else None
    if peer is not None and peer.family == socket.AF_UNIX:
        return Origin(None, True)
    name = transport.get_extra_info("peername") if transport is not None else None
    try:
        address = ipaddress.ip_address(str(name[0]).partition("%")[0]) if name else ipaddress.IPv6Address(0)
    except ValueError:
        address = ipaddress.IPv6Address(0)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    forwarded = any(header in request.headers for header in _FORWARDED)
    return Origin(address, address.is_loopback and not forwarded and _names_this_machine(request))


def _names_this_machine(request: web.Request) -> bool:
    """Whether Host is no name that somebody else may have pointed here (a page in the operator's browser, say)."""
    host = request.headers.get("Host", "")
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() in ("", "localhost"):
        return True
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def check_network(access: Access, origin: Origin) -> None:
    """Raises AnswerError (403) for an address that is not allowed. This machine always is."""
    if origin.local or not access.allow or origin.address is None:
        return
    if not any(origin.address in network for network in access.allow):
        raise AnswerError(
            403, "not_allowed", "this address may not ask here", "have the operator add it to http.allow",
            more={"kind": "network"},
        )  # fmt: skip


def is_operators(access: Access, origin: Origin) -> bool:
    """Whether a request is the operator's by the way it came: the control socket is his, loopback if nobody else is
    expected there."""
    return origin.address is None or (origin.local and not access.is_guarded)


def is_trusted(access: Access, origin: Origin, request: web.Request) -> bool:
    """Whether a request may see what only the operator should: by the way it came, or with a token."""
    return is_operators(access, origin) or _has_token(access, request)


def check_token(access: Access, origin: Origin, request: web.Request) -> None:
    """Raises AnswerError (401) for a request that is not the operator's and has no token of ours."""
    if is_trusted(access, origin, request):
        return
    given = "Authorization" in request.headers
    remedy = "send `Authorization: Bearer TOKEN` with a token of http.tokens_file"
    raise AnswerError(
        401,
        "wrong_token" if given else "no_token",
        "this token is not known here" if given else "this needs a token",
        remedy if access.tokens else "have the operator set http.tokens_file",
        headers={"WWW-Authenticate": 'Bearer realm="waggle"' + (', error="invalid_token"' if given else "")},
        more={"kind": "wrong" if given else "missing"},
    )


def _has_token(access: Access, request: web.Request) -> bool:
    """Whether the request carries a token; each is compared, in constant time."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or len(request.headers.getall("Authorization")) != 1:
        return False
    given = sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
    found = False
    for known in access.tokens:
        found |= hmac.compare_digest(given, known)
    return found
