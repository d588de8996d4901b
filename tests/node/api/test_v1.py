"""What other nodes read of this one: each answer is checked as they would check it."""

import asyncio
import hashlib

import msgspec
import pytest

from node.api.limits import Limits
from node.api.v1 import MAX_TRACES
from state.codec import H
from state.manifest import parse_manifest
from state.merkle import root_of
from state.schema import HEAD, NODE, PARAM
from state.snapshot import chunk_name, heights
from state.undo import Changed, trace_of
from tests.node.api.serving import ServedNode, raw, serving
from tests.node.test_core import any_state, new_group


@pytest.fixture
def node(tmp_path) -> ServedNode:
    """A node whose state stands at the end of a round."""
    group = new_group(tmp_path)
    group.run_until(lambda: any_state(group).height == 100, 200)
    return ServedNode(group, tmp_path)


def asked(node: ServedNode, folder, *paths: str, **how) -> list[tuple[int, dict]]:
    """(status, JSON) of each path."""

    async def main():
        async with serving(node, folder) as server:
            return [(await server.ask(path, **how))[:2] for path in paths]

    return asyncio.run(main())


# -- roots and trees


def test_roots_of_rounds_and_the_newest_where_there_is_none(node, tmp_path):
    found, later, between = asked(node, tmp_path, "/v1/roots/100", "/v1/roots/120", "/v1/roots/99")
    assert found == (200, {"height": 100, "root": node.state.root(100).hex()})
    for status, body in (later, between):
        assert (status, body["error"], body["height"]) == (404, "no_root", 100)
        assert body["remedy"] == "ask for the end of a kept round: 100 is there"


def test_the_tables_fold_into_the_root(node, tmp_path):
    [(status, body)] = asked(node, tmp_path, "/v1/tree/100")
    assert status == 200
    tops = sorted((hashlib.sha256(name.encode()).digest(), bytes.fromhex(top)) for name, top in body["tables"])
    assert H(["root", node.genesis.hash, root_of(tops)]) == node.state.root(100)


def test_a_walk_from_the_top_page_down_to_every_entry(node, tmp_path):
    async def main():
        async with serving(node, tmp_path) as server:
            _, body, _ = await server.ask("/v1/tree/100")
            top = dict(body["tables"])["param"]
            entries, ways = [], [""]
            for way in ways:
                status, page, _ = await server.ask(f"/v1/tree/100/param/{way}")
                assert status == 200 and page["path"] == way
                if "entries" in page:
                    entries += page["entries"]
                    continue
                assert len(page["kinds"]) == len(page["hashes"]) == 31
                ways += [way + f"{slot:x}" for slot in range(16) if page["kinds"][15 + slot]]
            return top, entries

    top, entries = asyncio.run(main())
    assert len(entries) == sum(1 for _ in node.state.walk(PARAM))
    assert root_of(sorted((bytes.fromhex(k), bytes.fromhex(v)) for k, v in entries)).hex() == top


def test_trees_of_other_heights_name_the_height_that_is_there(node, tmp_path):
    older, newer, nowhere = asked(node, tmp_path, "/v1/tree/80", "/v1/tree/120/node/", "/v1/tree/100/node/0123456789")
    assert (older[0], older[1]["height"]) == (404, 100)
    assert (newer[0], newer[1]["height"]) == (409, 100)
    assert (nowhere[0], nowhere[1]["error"]) == (404, "nothing_there")


# -- traces and changes


def test_changes_lead_to_the_trace_that_is_named(node, tmp_path):
    for status, body in asked(node, tmp_path, "/v1/changes/100", "/v1/changes/99", "/v1/changes/61"):
        assert status == 200
        changed = [
            Changed(table, bytes.fromhex(key), bytes.fromhex(value) if value is not None else None)
            for table, key, value in body["changes"]
        ]
        trace = trace_of(bytes.fromhex(body["before"]), bytes.fromhex(body["block_id"]), changed)
        assert trace.hex() == body["trace"] == node.state.trace(body["height"]).hex()


def test_traces_from_a_height_on(node, tmp_path):
    [(status, body)] = asked(node, tmp_path, "/v1/trace/95")
    assert status == 200 and body["height"] == 100
    assert [trace[0] for trace in body["traces"]] == [95, 96, 97, 98, 99, 100]
    assert body["traces"][-1] == [100, node.state.head.block_id.hex(), node.state.trace(100).hex()]


def test_at_most_a_hundred_traces(tmp_path):
    group = new_group(tmp_path)
    group.run_until(lambda: any_state(group).height == 140, 200)
    [(_, body)] = asked(ServedNode(group, tmp_path), tmp_path, "/v1/trace/20")
    assert [trace[0] for trace in body["traces"]] == list(range(20, 20 + MAX_TRACES))


def test_what_is_not_there_yet_and_what_is_no_more(node, tmp_path):
    later, far, before, genesis = asked(
        node, tmp_path, "/v1/trace/101", "/v1/changes/9999999999", "/v1/changes/3", "/v1/changes/20"
    )
    assert (later[0], later[1]["error"], later[1]["height"]) == (404, "not_yet", 100)
    assert (far[0], far[1]["error"], far[1]["height"]) == (404, "not_yet", 100)
    assert (before[0], before[1]["error"]) == (404, "not_kept")
    assert (genesis[0], genesis[1]["error"]) == (404, "genesis")


def test_before_the_state_begins_everything_is_to_be_asked_again(tmp_path):
    group = new_group(tmp_path)
    paths = ("/v1/roots/20", "/v1/tree/20", "/v1/trace/20", "/v1/changes/20", "/v1/value/node/91a161")
    for status, body in asked(ServedNode(group, tmp_path), tmp_path, *paths):
        assert (status, body["error"]) == (409, "not_begun")


def test_a_change_of_many_bytes_is_not_sent(node, tmp_path, monkeypatch):
    monkeypatch.setattr("node.api.v1.MAX_CHANGES", 100)
    [(status, body)] = asked(node, tmp_path, "/v1/changes/100")
    assert (status, body["error"]) == (413, "too_large")


# -- values


def test_the_value_under_a_key(node, tmp_path):
    head, member = HEAD.key(HEAD.fixed).hex(), NODE.key(("runner03",)).hex()
    nobody = NODE.key(("nobody",)).hex()
    found = asked(node, tmp_path, f"/v1/value/meta/{head}", f"/v1/value/node/{member}", f"/v1/value/node/{nobody}")
    assert [status for status, _ in found] == [200, 200, 200]
    assert HEAD.decode(bytes.fromhex(found[0][1]["value"])) == node.state.head
    assert NODE.decode(bytes.fromhex(found[1][1]["value"])) == node.state.need(NODE, "runner03")
    assert found[2][1]["value"] is None


# -- snapshots


def test_a_snapshot_is_read_chunk_by_chunk(node, tmp_path):
    height = node.snapshot()

    async def main():
        async with serving(node, tmp_path) as server:
            _, listed, _ = await server.ask("/v1/snapshots")
            status, _, alone = await server.ask(f"/v1/snapshots/{height}")
            assert status == 200 and alone.headers["ETag"]
            [text] = [msgspec.json.encode(one) for one in listed["snapshots"]]
            manifest = parse_manifest(text)
            for index, chunk in enumerate(manifest.chunks):
                _, _, response = await server.ask(f"/v1/snapshots/{height}/{index}")
                content = (node.snapshots / str(height) / chunk_name(index)).read_bytes()
                assert response.headers["Content-Type"] == "application/octet-stream"
                assert "Content-Encoding" not in response.headers
                assert "immutable" in response.headers["Cache-Control"]
                assert hashlib.sha256(content).digest() == chunk.sha256
                assert int(response.headers["Content-Length"]) == chunk.size
                unchanged = {"If-None-Match": response.headers["ETag"]}
                again, _, _ = await server.ask(f"/v1/snapshots/{height}/{index}", headers=unchanged)
                part, _, _ = await server.ask(f"/v1/snapshots/{height}/{index}", headers={"Range": "bytes=2-5"})
                assert (again, part) == (304, 206)
            return manifest

    manifest = asyncio.run(main())
    assert (manifest.height, manifest.root) == (height, node.state.root(height))


def test_without_a_snapshot_the_list_is_empty_and_others_are_named(node, tmp_path):
    empty, none, _ = asked(node, tmp_path, "/v1/snapshots", "/v1/snapshots/100", "/v1/snapshots/100/0")
    assert empty == (200, {"snapshots": []}) and none[1]["error"] == "no_snapshot"
    height = node.snapshot()
    other, chunk, manifest = asked(
        node, tmp_path, "/v1/snapshots/80/0", f"/v1/snapshots/{height}/77", f"/v1/snapshots/{height + 1}"
    )
    assert other[0] == manifest[0] == 404 and other[1]["remedy"] == f"take one of {height}"
    assert (chunk[0], chunk[1]["error"], chunk[1]["remedy"]) == (404, "no_chunk", "its chunks are 0 to 0")


def test_a_snapshot_that_is_still_being_written_is_not_listed(node, tmp_path):
    (node.snapshots / ".making-100").mkdir(parents=True)
    (node.snapshots / ".making-100" / "manifest.json").write_bytes(b"{}")
    (node.snapshots / "100").mkdir()
    found = asked(node, tmp_path, "/v1/snapshots", "/v1/snapshots/100", "/v1/snapshots/.making-100")
    assert [status for status, _ in found] == [200, 404, 400] and found[0][1] == {"snapshots": []}
    assert heights(node.snapshots) == []


def test_no_more_chunks_at_the_same_time_than_there_are_places(node, tmp_path):
    height = node.snapshot()
    (node.snapshots / str(height) / chunk_name(0)).write_bytes(bytes(32 << 20))  # more than the sockets' buffers hold

    async def main():
        async with serving(node, tmp_path, limits=Limits(chunks_each=1, send_seconds=0.5)) as server:
            request = f"GET /v1/snapshots/{height}/0 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            reader, writer = await asyncio.open_connection("127.0.0.1", server.runner.port, limit=1 << 12)
            writer.write(request)
            await reader.readline()  # it is being sent, and not taken
            status, body, response = await server.ask(f"/v1/snapshots/{height}/0")
            assert (status, body["error"]) == (429, "too_many") and response.headers["Retry-After"] == "1"
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await asyncio.sleep(0.7)  # longer than a chunk may take
                await reader.readexactly(33 << 20)
            writer.close()
            status, _, _ = await server.ask(f"/v1/snapshots/{height}/0")
            assert status == 200, "the place is free again"

    asyncio.run(main())


def test_an_answer_that_is_not_taken_is_cut_off(node, tmp_path):
    height = node.snapshot()
    (node.snapshots / str(height) / "manifest.json").write_bytes(bytes(32 << 20))

    async def main():
        async with serving(node, tmp_path, limits=Limits(send_seconds=0.3)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.runner.port, limit=1 << 12)
            writer.write(f"GET /v1/snapshots/{height} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await reader.readline()
            await asyncio.sleep(0.6)
            assert server.runner.connections == 0
            writer.close()

    asyncio.run(main())


# -- paths that nobody should write


HOSTILE = (
    "/v1/snapshots/../../genesis.toml",
    "/v1/snapshots/%2e%2e/%2e%2e",
    "/v1/snapshots/..%2f..%2fcontrol.sock/0",
    "/v1/snapshots/100/..%2fmanifest.json",
    "/v1/snapshots/100/%2fetc%2fpasswd",
    "/v1/snapshots/100/manifest.json",
    "/v1/snapshots/100/00000.zst",
    "/v1/snapshots/100/-1",
    "/v1/snapshots/0100/0",
    "/v1/snapshots/100%00/0",
    "/v1/snapshots/1e2/0",
    "/v1/snapshots/" + "9" * 11,
    "/v1/snapshots/" + "9" * 4_000,
    "/v1/roots/latest",
    "/v1/roots/+100",
    "/v1/roots/%201",
    "/v1/roots/%D9%A1%D9%A0%D9%A0",
    "/v1/roots/1_000",
    "/v1/trace/-1",
    "/v1/tree/100/nodes",
    "/v1/tree/100/node/xyz",
    "/v1/tree/100/node/ABC",
    "/v1/tree/100/node/" + "0" * 65,
    "/v1/tree/100/node/0/1",
    "/v1/tree/100/..%2f..%2f/0",
    "/v1/value/node/zz",
    "/v1/value/node/9",
    "/v1/value/node/" + "00" * 513,
    "/v1/value/node/c0",
    "/v1/value/node/91d903616263",
    "/v1/value/nodes/91a161",
    "/v1/value/meta/91a161",
)


@pytest.mark.parametrize("path", HOSTILE)
def test_hostile_paths_are_refused_with_a_reason(node, tmp_path, path):
    node.snapshot()
    [(status, body)] = asked(node, tmp_path, path)
    assert status in (400, 404) and set(body) == {"error", "message", "remedy"}
    assert len(str(body)) < 1_200
    assert not [event for event, _ in node.events if event == "http_error"]


def test_bytes_that_no_client_sends(node, tmp_path):
    async def main():
        async with serving(node, tmp_path) as server:
            port = server.runner.port
            for request in (
                b"GET /v1/snapshots/../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                b"GET /v1/roots/\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                b"GARBAGE\r\n\r\n",
                b"\x16\x03\x01\x02\x00\x01",
                b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: 1\r\n" * 100 + b"Connection: close\r\n\r\n",
            ):
                answer = await raw(port, request, half_close=request[:1] == b"\x16")
                assert (
                    answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.0 400", b"") and b"root:" not in answer
                )
            assert (await server.ask("/health"))[0] == 200

    asyncio.run(main())
