"""A peer is asked over HTTP, and nothing that it answers is taken on trust."""

import asyncio
import gzip
import hashlib
import json
import ssl
import zlib

import aiohttp
import pytest
from aiohttp import web
from msgspec.structs import replace

from node.api.limits import Limits
from node.errors import NodeError
from node.sync import peer as peers
from node.sync.peer import Peer, PeerError, PeerLacksError, PeerLiesError, open_peer
from node.sync.wire import Page
from state.manifest import Chunk
from state.schema import HEAD, NODE, encode_value
from state.undo import trace_of
from tests.node.api.serving import ServedNode, serving
from tests.node.api.test_app import certificate
from tests.node.sync.two_nodes import THEIRS, answering, document_of, group_of, on_socket, raw_server, run_to, served


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """A group at the end of its fourth round."""
    folder = tmp_path_factory.mktemp("group")
    found = group_of(folder, document_of())
    run_to(found, 100)
    return found


def asking(url, ask, **how):
    """What ``await ask(peer)`` gives, or the error that it raises."""

    async def main():
        async with open_peer(url, **how) as peer:
            return await ask(peer)

    return asyncio.run(main())


def of_node(group, folder, ask):
    """``ask`` a real node."""

    async def main():
        async with served(group, folder) as server, open_peer(server.url) as peer:
            return await ask(peer)

    return asyncio.run(main())


def of_body(body, ask, *, status=200, **headers):
    """``ask`` a server that answers everything with this."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def main():
        async def answer(request):
            return web.Response(body=raw, status=status, headers=headers)

        async with answering(answer) as url, open_peer(url, seconds=5.0) as peer:
            return await ask(peer)

    return asyncio.run(main())


# -- an honest node


def test_everything_that_a_node_serves(group, tmp_path):
    state = group.nodes[THEIRS].state

    async def ask(peer):
        assert await peer.span() == (21, 100)
        assert await peer.trees_at() == 100
        assert await peer.root(80) == state.root(80)
        assert dict(await peer.tops(100)) == dict(state.round_tops())
        page = await peer.branch(100, "param", b"")
        assert isinstance(page, Page) and len(page.kinds) == len(page.hashes) == 16
        slot = next(index for index, kind in enumerate(page.kinds) if kind)
        assert await peer.branch(100, "param", bytes([slot])) == state.round_bucket("param", bytes([slot]))
        traces = await peer.traces(95)
        assert [at.trace for at in traces] == [state.trace(height) for height in range(95, 101)]
        found = await peer.changes(97)
        assert trace_of(found.before, found.block_id, found.changed) == found.trace == state.trace(97)
        key = HEAD.key(HEAD.fixed)
        assert await peer.value("meta", key) == (100, encode_value(state.head))
        assert await peer.value("node", NODE.key(("nobody",))) == (100, None)

    of_node(group, tmp_path, ask)


def test_the_same_over_the_control_socket(group, tmp_path):
    async def main():
        async with on_socket(group, tmp_path, THEIRS), open_peer(tmp_path / "control.sock", name="this node") as peer:
            assert peer.name == "this node"
            return await peer.root(100)

    assert asyncio.run(main()) == group.nodes[THEIRS].state.root(100)


def test_snapshots_with_their_chunks(group, tmp_path):
    async def main():
        node = ServedNode(group, tmp_path, THEIRS)
        height = node.snapshot()
        async with serving(node, tmp_path) as server, open_peer(server.url) as peer:
            [manifest] = await peer.snapshots()
            assert manifest == await peer.manifest(height) and manifest.root == node.state.root(height)
            chunk = await peer.chunk(height, 0, manifest.chunks[0])
            assert hashlib.sha256(chunk).digest() == manifest.chunks[0].sha256
            with pytest.raises(PeerLiesError, match="not the one of the manifest"):
                await peer.chunk(height, 0, replace(manifest.chunks[0], sha256=bytes(32)))
            with pytest.raises(PeerError, match="more than 5 bytes"):
                await peer.chunk(height, 0, replace(manifest.chunks[0], size=5))
            with pytest.raises(PeerLacksError) as lacking:
                await peer.chunk(height, 9, manifest.chunks[0])
            assert lacking.value.code == "no_chunk"

    asyncio.run(main())


def test_what_is_not_there_names_what_is(group, tmp_path):
    async def ask(peer):
        for asked in (peer.root(120), peer.root(99), peer.tops(80), peer.branch(120, "node", b"")):
            with pytest.raises(PeerLacksError) as lacking:
                await asked
            assert lacking.value.height == 100 and lacking.value.peer == peer.name

    of_node(group, tmp_path, ask)


# -- who is asked


@pytest.mark.parametrize(
    "url",
    ["", "bob.example", "ftp://bob.example", "http://", "https://me:pw@bob.example", "https://bob.example/?a=b",
     "https://bob.example?", "https://bob.example/#x", "http://bob.example:99999", "http://b\u00f6b.example", "http://[::1"],
)  # fmt: skip
def test_what_is_no_address_of_a_node(url):
    with pytest.raises(PeerError, match="no address of a node"):
        asking(url, lambda peer: peer.span())


def test_a_peer_that_is_not_there_is_an_error_that_names_it(tmp_path):
    with pytest.raises(NodeError, match=r"^http://127.0.0.1:1: no answer to /v1/roots/1 .*see whether that node runs"):
        asking("http://127.0.0.1:1", lambda peer: peer.root(1))
    with pytest.raises(PeerError, match="no answer"):
        asking(tmp_path / "none.sock", lambda peer: peer.root(1))


def test_a_server_that_speaks_no_tls_is_no_https_peer(group, tmp_path):
    async def main():
        async with served(group, tmp_path) as server, open_peer(server.url.replace("http:", "https:")) as peer:
            with pytest.raises(PeerError, match="no answer"):
                await peer.root(100)

    asyncio.run(main())


def test_https_is_believed_only_with_a_certificate_that_is(group, tmp_path):
    crt, key = certificate(tmp_path)

    async def main():
        async with serving(ServedNode(group, tmp_path, THEIRS), tmp_path, certificate=crt, key=key) as server:
            async with open_peer(server.url) as peer:
                with pytest.raises(PeerError, match="CERTIFICATE_VERIFY_FAILED"):
                    await peer.root(100)
            knowing = ssl.create_default_context(cafile=str(crt))
            knowing.check_hostname = False  # the certificate is for a name
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=knowing)) as session:
                return await Peer(server.url, session).root(100)

    assert asyncio.run(main()) == group.nodes[THEIRS].state.root(100)


# -- answers of liars


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[" * 100_000, {}, {"height": 100}, {"height": "100", "root": "00" * 32},
     {"height": 100, "root": "00" * 31}, {"height": 100, "root": "00" * 33}, {"height": 100, "root": "AA" * 32},
     {"height": 100, "root": "00" * 31 + "0\n"}, {"height": 100, "root": "0 " * 32}, {"height": 100, "root": None},
     {"height": -1, "root": "00" * 32}, {"height": 2**32, "root": "00" * 32}, {"height": 80, "root": "00" * 32},
     b'{"height": 100, "root": "\xff\xfe"}'],
)  # fmt: skip
def test_what_is_no_root(body):
    with pytest.raises(PeerError):
        of_body(body, lambda peer: peer.root(100))


PAGE = {"kinds": [0] * 31, "hashes": ["00" * 32] * 31}


@pytest.mark.parametrize(
    "more",
    [{}, {"kinds": [0] * 31}, {"hashes": ["00" * 32] * 31}, {**PAGE, "kinds": [0] * 30}, {**PAGE, "kinds": [8] * 31},
     {**PAGE, "hashes": ["00" * 32] * 32}, {**PAGE, "entries": [["00" * 32, "00" * 32]]}, {"entries": []},
     {"entries": [["00" * 32, "00" * 32]] * 33}, {"entries": [["00" * 32]]}, {**PAGE, "path": "01"},
     {**PAGE, "height": 80}, {**PAGE, "table": "param"}, {**PAGE, "table": "../x"}],
)  # fmt: skip
def test_what_is_no_branch(more):
    body = {"height": 100, "table": "node", "path": "0", **more}
    with pytest.raises(PeerError):
        of_body(body, lambda peer: peer.branch(100, "node", b"\0"))


@pytest.mark.parametrize(
    "traces",
    [[], [[95, None, "00" * 32], [97, None, "00" * 32]], [[94, None, "00" * 32]], [[95, "00" * 19, "00" * 32]],
     [[95 + n, None, "00" * 32] for n in range(101)], [[95, "00" * 20]], None],
)  # fmt: skip
def test_what_are_no_traces(traces):
    with pytest.raises(PeerError):
        of_body({"height": 100, "traces": traces}, lambda peer: peer.traces(95))


@pytest.mark.parametrize(
    ("changes", "about"),
    [([["node", "0", None]], {}), ([["no de", "00", None]], {}), ([["node", "00"]], {}), ([["node", None, None]], {}),
     ([], {"height": 96}), ([], {"trace": "00"}), ([], {"block_id": "00" * 32})],
)  # fmt: skip
def test_what_are_no_changes(changes, about):
    body = {"height": 95, "block_id": "00" * 20, "before": "00" * 32, "trace": "00" * 32, "changes": changes, **about}
    with pytest.raises(PeerError):
        of_body(body, lambda peer: peer.changes(95))


def test_a_value_of_another_key_is_none():
    body = {"height": 95, "table": "node", "key": "91a161", "value": None}
    assert of_body(body, lambda peer: peer.value("node", bytes.fromhex("91a161"))) == (95, None)
    with pytest.raises(PeerError, match="something else"):
        of_body(body, lambda peer: peer.value("node", bytes.fromhex("91a162")))


def test_snapshots_that_are_none():
    for body in ({"snapshots": [{}]}, {"snapshots": [{"format": 1}]}, {"snapshots": [None] * 33}, {"snapshots": {}}):
        with pytest.raises(PeerError):
            of_body(body, lambda peer: peer.snapshots())
    assert of_body({"snapshots": []}, lambda peer: peer.snapshots()) == []


def test_a_table_twice_is_refused():
    with pytest.raises(PeerError, match="something else"):
        of_body({"height": 100, "tables": [["node", "00" * 32]] * 2}, lambda peer: peer.tops(100))


def test_a_redirect_is_not_followed():
    with pytest.raises(PeerError, match="a redirect"):
        of_body(b"", lambda peer: peer.root(1), status=302, Location="http://127.0.0.1:22/")


@pytest.mark.parametrize("status", [201, 400, 401, 403, 404, 500, 503])
def test_other_statuses_with_whatever_text(status):
    for body in (b"<html>", b"\xff" * 100, {"error": 5}, {"error": "x", "message": "\x1b[31mred\nline"}):
        with pytest.raises(PeerError) as refused:
            of_body(body, lambda peer: peer.root(1), status=status)
        assert str(refused.value).isprintable() and f"HTTP {status}" in refused.value.reason


def test_an_error_is_short():
    with pytest.raises(PeerError, match="more than 16384 bytes"):
        of_body(b" " * 20_000, lambda peer: peer.root(1), status=500)


def test_a_height_that_another_error_names_is_no_span():
    with pytest.raises(PeerLacksError, match="HTTP 404"):
        of_body({"error": "no_root", "height": 5}, lambda peer: peer.span(), status=404)


def test_a_manifest_of_another_height(group, tmp_path):
    node = ServedNode(group, tmp_path, THEIRS)
    text = (node.snapshots / str(node.snapshot()) / "manifest.json").read_bytes()
    assert of_body(text, lambda peer: peer.manifest(100)).height == 100
    with pytest.raises(PeerError, match="something else"):
        of_body(text, lambda peer: peer.manifest(120))


def test_too_much_is_asked_again_after_a_while_but_not_for_ever(monkeypatch):
    waits = []

    async def sleep(seconds):  # aiohttp sleeps too, for no time at all
        waits.extend([seconds] if seconds else [])

    monkeypatch.setattr(peers.asyncio, "sleep", sleep)
    for given, taken in (("3", 3.0), ("999999999", 10.0), ("soon", 1.0), ("-1", 1.0)):
        waits.clear()
        with pytest.raises(PeerError, match="HTTP 429"):
            of_body({"error": "too_many"}, lambda peer: peer.root(1), status=429, **{"Retry-After": given})
        assert waits == [taken] * 3


def test_a_node_with_narrow_limits_is_asked_to_the_end(group, tmp_path):
    async def main():
        limits = Limits(rate=50.0, burst=2)
        node = ServedNode(group, tmp_path, THEIRS)
        async with serving(node, tmp_path, limits=limits) as server, open_peer(server.url) as peer:
            return [await peer.root(100) for _ in range(3)]

    assert asyncio.run(main()) == [group.nodes[THEIRS].state.root(100)] * 3


# -- sizes, gzip, time


def test_a_gzip_bomb_is_not_unpacked():
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    with pytest.raises(PeerError, match="more than 262144 bytes"):
        of_body(bomb, lambda peer: peer.root(1), **{"Content-Encoding": "gzip"})


def test_gzip_that_is_torn_or_followed_by_something_or_nested():
    good = gzip.compress(json.dumps({"height": 1, "root": "00" * 32}).encode())
    assert of_body(good, lambda peer: peer.root(1), **{"Content-Encoding": "gzip"}) == bytes(32)
    for body in (good[:-1], good + b"x", good + good, b"plain", b""):
        with pytest.raises(PeerError):
            of_body(body, lambda peer: peer.root(1), **{"Content-Encoding": "gzip"})
    for coding in ("br", "zstd", "gzip, gzip", "deflate"):
        with pytest.raises(PeerError, match="packed as"):
            of_body(good, lambda peer: peer.root(1), **{"Content-Encoding": coding})


def test_a_chunk_is_taken_unpacked_only():
    body = gzip.compress(b"x")
    told = Chunk(hashlib.sha256(body).digest(), len(body), 1)
    assert of_body(body, lambda peer: peer.chunk(1, 0, told)) == body
    with pytest.raises(PeerError, match="packed as gzip"):
        of_body(body, lambda peer: peer.chunk(1, 0, told), **{"Content-Encoding": "gzip"})


def of_bytes(write, ask, seconds=5.0):
    async def main():
        async with raw_server(write) as url, open_peer(url, seconds=seconds) as peer:
            return await ask(peer)

    return asyncio.run(main())


HEAD_LINE = b"HTTP/1.1 200 OK\r\n"


def test_a_length_that_is_a_lie():
    async def shorter(writer):
        writer.write(HEAD_LINE + b"Content-Length: 1000\r\n\r\n{}")

    async def huge(writer):
        writer.write(HEAD_LINE + b"Content-Length: 99999999999999\r\n\r\n" + b"x" * (1 << 20))
        await writer.drain()

    async def endless(writer):
        writer.write(HEAD_LINE + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()

    for write in (shorter, huge, endless):
        with pytest.raises(PeerError, match="no answer"):
            of_bytes(write, lambda peer: peer.root(1))


def test_what_is_no_http():
    async def noise(writer):
        writer.write(b"\x16\x03\x01" * 1_000)

    async def heads(writer):
        writer.write(HEAD_LINE + b"X: y\r\n" * 100_000)
        await writer.drain()

    async def nothing(writer):
        writer.write(b"")

    for write in (noise, heads, nothing):
        with pytest.raises(PeerError, match="no answer"):
            of_bytes(write, lambda peer: peer.root(1))


def test_an_answer_by_driblets_has_a_limit():
    async def driblets(writer):
        writer.write(HEAD_LINE + b"\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    with pytest.raises(PeerError, match="TimeoutError"):
        of_bytes(driblets, lambda peer: peer.root(1), seconds=0.2)
