"""What other nodes read of this one (and check): snapshots, roots, trees, traces, what a block changed.

Nothing here needs to be believed: all of it is held against roots that members reported on chain.
"""

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from node.api import parsing
from node.api.answers import AnswerError, json_answer, send
from node.api.auth import origin_of
from node.api.served import CHUNKS, LIMITS, SERVED
from state.canonical import locate
from state.errors import CodecError, SnapshotError
from state.schema import encode_value
from state.snapshot import MANIFEST, chunk_name, heights, read_manifest
from state.state import State

MAX_TRACES = 100
#: Bytes of keys and values in one answer of /v1/changes.
MAX_CHANGES = 2 << 20
#: Manifests in the list, the newest first: so many, and so many bytes after the first.
MAX_MANIFESTS, MAX_MANIFEST_LIST = 32, 4 << 20
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_KINDS = 31
_MANY = "walk down with /v1/tree instead"


async def snapshots(request: web.Request) -> web.StreamResponse:
    """The manifests of this node's snapshots as they were written, the newest first."""
    folder = request.app[SERVED].snapshots

    def read() -> list[msgspec.Raw]:
        found: list[msgspec.Raw] = []
        left = MAX_MANIFEST_LIST
        for height in heights(folder)[: -MAX_MANIFESTS - 1 : -1]:
            try:
                text = (folder / str(height) / MANIFEST).read_bytes()
            except OSError:
                continue  # removed meanwhile
            left -= len(text)
            if found and left < 0:
                break
            found.append(msgspec.Raw(text))
        return found

    return json_answer(request, {"snapshots": await asyncio.to_thread(read)})


async def manifest(request: web.Request) -> web.StreamResponse:
    """One manifest, as it was written."""
    folder = request.app[SERVED].snapshots
    height = parsing.number(request, "height")
    path = folder / str(height) / MANIFEST
    if not await asyncio.to_thread(path.is_file):
        raise await _no_snapshot(request, height)
    return web.FileResponse(path, headers={**_FOREVER, "Content-Type": "application/json"})


async def chunk(request: web.Request) -> web.StreamResponse:
    """The bytes of one chunk: its hash stands in the manifest."""
    folder = request.app[SERVED].snapshots
    height, index = parsing.number(request, "height"), parsing.number(request, "chunk")
    if height not in await asyncio.to_thread(heights, folder):
        raise await _no_snapshot(request, height)
    path = folder / str(height) / chunk_name(index)
    if not await asyncio.to_thread(path.is_file):
        raise await _no_chunk(request, height, index)
    response = web.FileResponse(path, headers={**_FOREVER, "Content-Type": "application/octet-stream"})
    with request.app[CHUNKS].one(origin_of(request).key):
        return await send(request, response, request.app[LIMITS].send_seconds)


async def root(request: web.Request) -> web.StreamResponse:
    """The root after a block that ended a round."""
    state, height = parsing.begun_state(request), parsing.number(request, "height")
    found = state.root(height)
    if found is None:
        length = request.app[SERVED].genesis.params.round_length
        newest = state.height // length * length
        raise _gone("no_root", f"no root of block {height} is kept", "ask for the end of a kept round", height=newest)
    return json_answer(request, {"height": height, "root": found.hex()})


async def tree(request: web.Request) -> web.StreamResponse:
    """The tables with their roots, at the end of the last round."""
    state, height = parsing.begun_state(request), parsing.number(request, "height")
    _must_be_round(state, height)
    tops = state.round_tops() or []
    return json_answer(request, {"height": height, "tables": [[name, top.hex()] for name, top in tops]})


async def branch(request: web.Request) -> web.StreamResponse:
    """A page of a table's tree (31 kinds, 31 hashes) or the entries of a bucket, at the end of the last round."""
    state, height = parsing.begun_state(request), parsing.number(request, "height")
    name, path = parsing.table(request), parsing.way(request)
    _must_be_round(state, height)
    about: dict[str, Any] = {"height": height, "table": name, "path": "".join(f"{nibble:x}" for nibble in path)}
    page = state.round_page(name, path)
    if page is not None:
        hashes = [page[at : at + 32].hex() for at in range(_KINDS, len(page), 32)]
        return json_answer(request, {**about, "kinds": list(page[:_KINDS]), "hashes": hashes})
    bucket = state.round_bucket(name, path)
    if bucket is not None:
        return json_answer(request, {**about, "entries": [[k.hex(), v.hex()] for k, v in bucket]})
    raise AnswerError(404, "nothing_there", "no page and no bucket lies at this path", "walk down from the top page")


async def traces(request: web.Request) -> web.StreamResponse:
    """Up to 100 traces from a height on: height, block id, trace."""
    state, first = parsing.begun_state(request), parsing.number(request, "from")
    if state.trace(first) is None:
        raise _not_kept(state, first)
    found = []
    for height in range(first, min(first + MAX_TRACES, state.height + 1)):
        trace, undo = state.trace(height), state.undo(height)
        if trace is None:
            break
        found.append([height, undo.block_id.hex() if undo is not None else None, trace.hex()])
    return json_answer(request, {"height": state.height, "traces": found})


async def changes(request: web.Request) -> web.StreamResponse:
    """What a block changed, with what its trace stands on: whoever reads it computes the trace himself."""
    state, height = parsing.begun_state(request), parsing.number(request, "height")
    if height == request.app[SERVED].genesis.start_block:
        raise AnswerError(404, "genesis", "this is the genesis state", "make it from the genesis document")
    undo, trace = state.undo(height), state.trace(height)
    if undo is None or trace is None:
        raise _not_kept(state, height)
    if sum(len(one.key) + len(one.value or b"") for one in undo.changed) > MAX_CHANGES:
        raise AnswerError(413, "too_large", f"block {height} changed more than {MAX_CHANGES} bytes", _MANY)
    listed = [[one.table, one.key.hex(), None if one.value is None else one.value.hex()] for one in undo.changed]
    about = {"height": height, "block_id": undo.block_id.hex(), "before": undo.before.hex(), "trace": trace.hex()}
    return json_answer(request, {**about, "changes": listed})


async def value(request: web.Request) -> web.StreamResponse:
    """The value under a key as of now, in hex; null if there is none."""
    state, name, packed = parsing.begun_state(request), parsing.table(request), parsing.key(request)
    try:
        table, key = locate(name, packed)
    except CodecError as error:
        raise AnswerError(400, "bad_key", str(error), "write the canonical msgpack of the key's fields") from None
    found = state.get(table, *key)
    shown = encode_value(found).hex() if found is not None else None
    return json_answer(request, {"height": state.height, "table": name, "key": packed.hex(), "value": shown})


def _must_be_round(state: State, height: int) -> None:
    """Trees are kept for the end of the last round alone."""
    here = state.round_height
    if here is None:
        raise AnswerError(409, "no_round", "no round has ended yet since the trees are here", "come again in a round")
    if height != here:
        message = f"the trees stand at the end of the round at {here}, not at {height}"
        status = 404 if height < here else 409
        raise AnswerError(status, "other_height", message, f"ask for {here}", more={"height": here})


def _not_kept(state: State, height: int) -> AnswerError:
    oldest = state.oldest_rewind + 1
    if height > state.height:
        return _gone("not_yet", f"block {height} is not applied here yet", "come again later", height=state.height)
    return _gone("not_kept", f"nothing of block {height} is kept", "ask for newer blocks", height=oldest)


def _gone(code: str, message: str, remedy: str, **more: int) -> AnswerError:
    """404 with a height that is there."""
    return AnswerError(404, code, message, f"{remedy}: {more['height']} is there", more=more)


async def _no_snapshot(request: web.Request, height: int) -> AnswerError:
    there = await asyncio.to_thread(heights, request.app[SERVED].snapshots)
    remedy = f"take one of {', '.join(map(str, there[-MAX_MANIFESTS:]))}" if there else "ask another node"
    return AnswerError(404, "no_snapshot", f"there is no snapshot of block {height}", remedy)


async def _no_chunk(request: web.Request, height: int, index: int) -> AnswerError:
    try:
        found = await asyncio.to_thread(read_manifest, request.app[SERVED].snapshots, height)
    except SnapshotError:
        return await _no_snapshot(request, height)
    message = f"this snapshot has no chunk {index}"
    return AnswerError(404, "no_chunk", message, f"its chunks are 0 to {len(found.chunks) - 1}")


PUBLIC = (
    web.get("/v1/snapshots", snapshots),
    web.get("/v1/snapshots/{height}", manifest),
    web.get("/v1/snapshots/{height}/{chunk}", chunk),
    web.get("/v1/roots/{height}", root),
    web.get("/v1/tree/{height}", tree),
    web.get("/v1/tree/{height}/{table}", branch),
    web.get(r"/v1/tree/{height}/{table}/{path:[^/]*}", branch),
    web.get("/v1/trace/{from}", traces),
    web.get("/v1/changes/{height}", changes),
    web.get("/v1/value/{table}/{key}", value),
)
