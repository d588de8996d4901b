"""Another node's /v1, asked over HTTP. Whatever comes from there is hostile: bounded while it is read, checked, late.

The bounds hold for what arrives, whatever the headers promise, and for what is unpacked of it.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from node.errors import NodeError
from node.sync import wire
from node.sync.wire import Branch, Changes, TraceAt
from state.errors import SnapshotError
from state.manifest import MAX_MANIFEST_BYTES, Chunk, Manifest, parse_manifest

#: Seconds for one answer, and for one chunk of a snapshot with all that is asked again for it.
ANSWER_SECONDS, CHUNK_SECONDS = 30.0, 120.0
#: Bytes of answers: usual ones, what a block changed, the list of manifests, errors.
_USUAL, _CHANGES, _LIST, _ERROR = 1 << 18, 24 << 20, (4 << 20) + MAX_MANIFEST_BYTES + 4_096, 1 << 14
_PART = 1 << 16
#: A peer that says "too much" is asked again so often, after at most so many seconds.
_TRIES, _LONGEST_WAIT = 4, 10.0

T = TypeVar("T")


class PeerError(NodeError):
    """A peer that does not answer, or not as a node does."""

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(f"{peer}: {reason}")
        self.peer = peer
        self.reason = reason


class PeerLacksError(PeerError):
    """A peer that does not have what was asked for: ``code`` as in docs/api.md, ``height`` names one that is there."""

    def __init__(self, peer: str, reason: str, code: str = "", height: int | None = None) -> None:
        super().__init__(peer, reason)
        self.code = code
        self.height = height


class PeerLiesError(PeerError):
    """A peer whose answers are shown to be false by themselves."""


class Peer:
    """A node at ``url``; ``session`` may be shared, ``seconds`` bounds each answer."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, *, name: str = "", seconds: float = ANSWER_SECONDS
    ) -> None:
        self.url = _checked(url)
        self.name = name or self.url
        self._session = session
        self._seconds = seconds

    def accuse(self, reason: str) -> PeerLiesError:
        """The error for answers that do not hold together."""
        return PeerLiesError(self.name, f"{reason}; ask another node")

    # -- snapshots

    async def snapshots(self) -> list[Manifest]:
        """The manifests of its snapshots, as it gives them. Raises PeerError."""
        found: wire.Snapshots = await self._json("/v1/snapshots", wire.Snapshots, _LIST)
        return [self._manifest(bytes(raw)) for raw in found.snapshots]

    async def manifest(self, height: int) -> Manifest:
        """The manifest of the snapshot of ``height``. Raises PeerError."""
        found = self._manifest(await self._get(f"/v1/snapshots/{height}", MAX_MANIFEST_BYTES))
        return self._about(found, found.height == height)

    async def chunk(self, height: int, index: int, told: Chunk, seconds: float = CHUNK_SECONDS) -> bytes:
        """The chunk that a manifest told of, within ``seconds``: its size and hash are right. Raises PeerError."""
        path = f"/v1/snapshots/{height}/{index}"
        try:
            async with asyncio.timeout(seconds):
                found = await self._get(path, told.size, packed=False, seconds=seconds)
        except TimeoutError as error:
            words = f"chunk {index} of {height} did not come within {seconds:.1f} seconds"
            raise PeerError(self.name, words) from error
        if len(found) != told.size or sha256(found).digest() != told.sha256:
            raise PeerLiesError(self.name, f"chunk {index} of {height} is not the one of the manifest")
        return found

    # -- roots and trees

    async def root(self, height: int) -> bytes:
        """The root after ``height``, the end of a round. Raises PeerError."""
        found: wire.Root = await self._json(f"/v1/roots/{height}", wire.Root)
        return bytes.fromhex(self._about(found, found.height == height).root)

    async def trees_at(self) -> int | None:
        """The height at which its trees stand; None if at none now. Raises PeerError."""
        try:
            found: wire.Tops = await self._json("/v1/tree/0", wire.Tops)
        except PeerLacksError as error:
            return error.height
        return found.height

    async def tops(self, height: int) -> list[tuple[str, bytes]]:
        """(table, root of the table) at ``height``, if its trees stand there. Raises PeerError."""
        found: wire.Tops = await self._json(f"/v1/tree/{height}", wire.Tops)
        self._about(found, found.height == height and len(dict(found.tables)) == len(found.tables))
        return [(name, bytes.fromhex(top)) for name, top in found.tables]

    async def branch(self, height: int, table: str, path: bytes) -> Branch:
        """The page or the bucket at a path of nibbles, one a byte. Raises PeerError."""
        way = "".join(f"{nibble:x}" for nibble in path)
        found: wire.BranchText = await self._json(f"/v1/tree/{height}/{table}/{way}", wire.BranchText)
        self._about(found, (found.height, found.table, found.path) == (height, table, way))
        branch = found.branch()
        if branch is None:
            raise PeerError(self.name, "its answer is neither a page nor a bucket")
        return branch

    # -- blocks

    async def span(self) -> tuple[int, int]:
        """The oldest and the newest block whose changes it keeps; none are if that is the wrong way round."""
        newest = await self._named("/v1/trace/4294967295", "not_yet")
        return await self._named("/v1/trace/0", "not_kept"), newest

    async def traces(self, first: int) -> list[TraceAt]:
        """Up to 100 traces from ``first`` on, at least one. Raises PeerError."""
        found: wire.Traces = await self._json(f"/v1/trace/{first}", wire.Traces)
        traces = found.found()
        self._about(found, [one.height for one in traces] == list(range(first, first + len(traces))))
        return traces

    async def changes(self, height: int) -> Changes:
        """What a block changed, as it says: unchecked. Raises PeerError."""
        found: wire.ChangesText = await self._json(f"/v1/changes/{height}", wire.ChangesText, _CHANGES)
        self._about(found, found.height == height)
        return found.found()

    async def value(self, table: str, key: bytes) -> tuple[int, bytes | None]:
        """(height, canonical value under a canonical key as of then, None if there is none). Raises PeerError."""
        found: wire.ValueText = await self._json(f"/v1/value/{table}/{key.hex()}", wire.ValueText, _CHANGES)
        self._about(found, (found.table, found.key) == (table, key.hex()))
        return found.height, None if found.value is None else bytes.fromhex(found.value)

    # -- inside

    async def _named(self, path: str, code: str) -> int:
        """The height that an answer names instead of the one asked for."""
        try:
            found: wire.Traces = await self._json(path, wire.Traces)
        except PeerLacksError as error:
            if error.code != code or error.height is None:
                raise
            return error.height
        return found.traces[0][0]

    def _manifest(self, text: bytes) -> Manifest:
        try:
            return parse_manifest(text)
        except SnapshotError as error:
            raise PeerError(self.name, _shown(str(error))) from error

    def _about(self, found: T, is_asked: bool) -> T:
        if not is_asked:
            raise PeerError(self.name, "it answers something else than was asked")
        return found

    async def _json(self, path: str, kind: Any, most: int = _USUAL) -> Any:
        raw = await self._get(path, most)
        try:
            return wire.decode(raw, kind)
        except ValueError as error:
            raise PeerError(self.name, f"{path} is not what a node answers ({_shown(str(error))})") from error

    async def _get(self, path: str, most: int, *, packed: bool = True, seconds: float | None = None) -> bytes:
        """The body of an answer with status 200."""
        for last in (False,) * (_TRIES - 1) + (True,):
            try:
                status, wait, body = await self._once(path, most, packed, self._seconds if seconds is None else seconds)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError, zlib.error) as error:
                why = _shown(f"{type(error).__name__} {error}".rstrip())
                raise PeerError(self.name, f"no answer to {path} ({why}): see whether that node runs") from error
            if status == 200:
                return body
            if status != 429 or last:
                break
            await asyncio.sleep(wait)
        raise self._refusal(path, status, body)

    async def _once(self, path: str, most: int, packed: bool, seconds: float) -> tuple[int, float, bytes]:
        """(status, seconds to wait, body) of one request. Raises what aiohttp raises, ValueError, zlib.error."""
        async with self._session.get(
            URL(self.url + path, encoded=True),
            headers={"Accept-Encoding": "gzip" if packed else "identity", "Accept": "*/*"},
            allow_redirects=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=min(10.0, seconds)),
        ) as response:
            coding = response.headers.get("Content-Encoding", "identity").strip().lower()
            if coding not in (("gzip", "identity") if packed else ("identity",)):
                raise ValueError(f"packed as {coding[:32]}, which was not asked for")
            body = await _read(response, most if response.status == 200 else _ERROR, coding == "gzip")
            after = response.headers.get("Retry-After", "")
            wait = min(float(after), _LONGEST_WAIT) if after.isascii() and after.isdigit() else 1.0
            return response.status, wait, body

    def _refusal(self, path: str, status: int, body: bytes) -> PeerError:
        if 300 <= status < 400:
            return PeerError(self.name, "it sends us elsewhere (a redirect): name that address itself")
        try:
            wrong: wire.Wrong = wire.decode(body, wire.Wrong)
        except ValueError:
            wrong = wire.Wrong()
        told = f"{path}: HTTP {status} {_shown(wrong.message)}".rstrip()
        if status in (404, 409, 413):
            return PeerLacksError(self.name, told, wrong.error, wrong.height)
        return PeerError(self.name, told)


@asynccontextmanager
async def open_peer(where: str | Path, *, name: str = "", seconds: float = ANSWER_SECONDS) -> AsyncIterator[Peer]:
    """A peer with a session of its own: ``where`` is a URL, or the path of a Unix socket. Raises PeerError."""
    is_path = isinstance(where, Path)
    connector = aiohttp.UnixConnector(str(where)) if is_path else aiohttp.TCPConnector(limit=8)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        url = "http://node" if is_path else str(where)
        yield Peer(url, session, name=name or str(where), seconds=seconds)


async def _read(response: aiohttp.ClientResponse, most: int, is_gzip: bool) -> bytes:
    """The body, unpacked; ValueError above ``most`` bytes."""
    found = bytearray()
    unpacker = zlib.decompressobj(wbits=31) if is_gzip else None
    unpack: Callable[[bytes, int], bytes] = unpacker.decompress if unpacker is not None else lambda part, _: part
    async for part in response.content.iter_chunked(_PART):
        found += unpack(part, most + 1 - len(found))
        if len(found) > most:
            raise ValueError(f"more than {most} bytes")
        if unpacker is not None and unpacker.unused_data:
            raise ValueError("something follows what was packed")
    if unpacker is not None and not unpacker.eof:
        raise ValueError("what was packed is not whole")
    return bytes(found)


def _checked(url: str) -> str:
    """A URL that is only scheme, host, port and perhaps a path. Raises PeerError."""
    try:
        parts = URL(url)
        good = parts.scheme in ("http", "https") and bool(parts.host) and url.isascii()
        good = good and not (parts.user or parts.password or parts.query_string or parts.fragment or "?" in url)
    except ValueError:
        good = False
    if not good:
        raise PeerError(_shown(url), "no address of a node: write it as in https://bob.example")
    return url.rstrip("/")


def _shown(text: str) -> str:
    """Text of a stranger, fit for a terminal: cut, and nothing in it but printable ASCII."""
    return ascii(text[:200])[1:-1]
