"""The feed against a real server that lies: whatever it says, nothing unproven is ever handed on."""

import asyncio
import copy
import gzip
import json
import time
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web

from node.devnet.founding import CHAIN
from node.errors import ApiError, BroadcastRefusedError, FeedError
from node.feed import rpc, source
from node.feed.http import Http
from node.feed.rpc import Api
from node.feed.source import chain_view, fetch_blocks
from processors.hive.block import read_block
from tests.node.test_core import new_group

FIRST, LAST = 30, 36  # the reports of a round are in these


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """Blocks as an honest server gives them, by number."""
    group = new_group(tmp_path_factory.mktemp("honest"))
    group.run(40)
    return {number: group.chain.show_block(number, typed=True) for number in range(1, 41)}


def with_transactions(blocks):
    """The first number of FIRST..LAST whose block holds two transactions or more."""
    return next(number for number in range(FIRST, LAST + 1) if len(blocks[number]["transactions"]) > 1)


@asynccontextmanager
async def served(answer):
    """An Api whose server answers (bytes, HTTP status) of ``answer(method, params)``."""

    async def handle(request):
        call = json.loads(await request.read())
        found = answer(call["method"], call["params"])
        body, status = await found if asyncio.iscoroutine(found) else found
        return web.Response(body=body, status=status)

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    try:
        async with aiohttp.ClientSession() as session:
            yield Api(f"http://{host}:{port}", "north", Http(session), "alice")
    finally:
        await runner.cleanup()


def result(value):
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode(), 200


def of_blocks(blocks):
    """An answer to get_block_range out of ``blocks``, by number."""

    def answer(method, params):
        assert method == "block_api.get_block_range"
        first = params["starting_block_num"]
        return result({"blocks": [blocks[n] for n in range(first, first + params["count"]) if n in blocks]})

    return answer


def fetched(answer, *, first=FIRST, last=LAST, previous=None):
    """(what was handed on before it ended, how it ended)."""

    async def fetch():
        found = []
        async with served(answer) as api:
            try:
                async for given in fetch_blocks(api, CHAIN, first, last, previous):
                    found.append(given.block)
            except (ApiError, FeedError, BroadcastRefusedError) as error:
                return found, error
        return found, None

    return asyncio.run(fetch())


def lied(honest, change, number=None):
    """The numbers handed on, and the error, when ``change`` is made to one of the blocks."""
    number = number or with_transactions(honest)
    blocks = copy.deepcopy(honest)
    changed = change(blocks[number])
    if changed is not None:
        blocks[number] = changed
    found, error = fetched(of_blocks(blocks))
    for block in found:
        block.prove()
        assert block.id.hex() == honest[block.number]["block_id"], "only what is true is handed on"
    return [block.number for block in found], error


def before(honest, number=None):
    return list(range(FIRST, number or with_transactions(honest)))


# -- an honest server


def test_in_order_linked_and_proven(honest):
    previous = bytes.fromhex(honest[FIRST - 1]["block_id"])
    found, error = fetched(of_blocks(honest), previous=previous)
    assert error is None
    assert [block.number for block in found] == list(range(FIRST, LAST + 1))
    assert [block.id.hex() for block in found] == [honest[n]["block_id"] for n in range(FIRST, LAST + 1)]


def test_a_server_that_gives_fewer_at_a_time_is_asked_again(honest, monkeypatch):
    asked = []

    def few(method, params):
        asked.append((params["starting_block_num"], params["count"]))
        return of_blocks(honest)(method, {**params, "count": min(2, params["count"])})

    monkeypatch.setattr(source, "MAX_BATCH", 3)
    found, error = fetched(few)
    assert error is None
    assert len(found) == 7
    assert asked == [(30, 3), (32, 3), (34, 3), (36, 1)]


# -- lies


def test_a_chain_that_is_not_ours(honest):
    found, error = fetched(of_blocks(honest), previous=bytes(20))
    assert found == []
    assert isinstance(error, FeedError)
    assert "does not follow ours" in str(error)


def test_a_block_between_that_does_not_link(honest, tmp_path):
    other = new_group(tmp_path, members=4)
    other.run(40)
    strange = {**honest, 33: other.chain.show_block(33, typed=True)}
    found, error = fetched(of_blocks(strange))
    assert [block.number for block in found] == [30, 31, 32]
    assert "does not follow ours" in str(error)


@pytest.mark.parametrize("shift", [-1, 1, 5])
def test_another_block_than_was_asked_for(honest, shift):
    shifted = {number: honest[number + shift] for number in range(FIRST, LAST)}
    found, error = fetched(of_blocks(shifted), last=LAST - 1)
    assert found == []
    assert f"block {FIRST + shift} where {FIRST} was asked for" in str(error)


def change_amount(block):
    operation = block["transactions"][0]["operations"][0]["value"]
    operation["json"] = operation["json"].replace('"v":1', '"v":2')


LIES = {
    "a transaction is missing": lambda b: b["transactions"].pop(),
    "all are missing": lambda b: b["transactions"].clear(),
    "a transaction is doubled": lambda b: b["transactions"].append(b["transactions"][0]),
    "two are swapped": lambda b: b["transactions"].reverse(),
    "an operation was changed": change_amount,
    "another sender": lambda b: b["transactions"][0]["operations"][0]["value"].update(required_auths=["mallory"]),
    "an operation was added": lambda b: b["transactions"][0]["operations"].extend(b["transactions"][1]["operations"]),
    "a signature was left out": lambda b: b["transactions"][0]["signatures"].clear(),
    "a signature was changed": lambda b: b["transactions"][0].update(signatures=["1f" + "11" * 64]),
    "an expiration was changed": lambda b: b["transactions"][0].update(expiration="2026-01-01T01:00:00"),
    "the ids are somebody's": lambda b: b["transactions"][0].update(ref_block_num=1),
    "a wrong merkle root": lambda b: b.update(transaction_merkle_root="11" * 20),
    "no merkle root": lambda b: b.update(transaction_merkle_root="00" * 20),
    "another previous": lambda b: b.update(previous=b["previous"][:-2] + "11"),
    "an id that is not its hash": lambda b: b.update(block_id="00000020" + "11" * 16),
    "another time": lambda b: b.update(timestamp="2026-01-01T00:00:01"),
    "another witness": lambda b: b.update(witness="mallory"),
    "another witness signature": lambda b: b.update(witness_signature="1f" + "11" * 64),
    "an extension": lambda b: b.update(extensions=[{"type": "version", "value": "1.28.0"}]),
}


@pytest.mark.parametrize("lie", LIES, ids=lambda name: name.replace(" ", "_"))
def test_no_lie_is_handed_on(honest, lie):
    numbers, error = lied(honest, LIES[lie])
    assert numbers == before(honest)
    assert isinstance(error, FeedError)
    assert str(error).startswith("http://127.0.0.1:"), "it names the server"


@pytest.mark.parametrize(
    "lie",
    [name for name in list(LIES)[:-4] if name != "an id that is not its hash"],
    ids=lambda name: name.replace(" ", "_"),
)
def test_nor_without_the_servers_own_ids(honest, lie):
    def change(block):
        LIES[lie](block)
        del block["transaction_ids"], block["block_id"]

    numbers, error = lied(honest, change)
    assert numbers == before(honest)
    assert isinstance(error, FeedError)


@pytest.mark.parametrize("lie", ["another time", "another witness", "another witness signature", "an extension"])
def test_a_header_that_is_another_block_is_found_by_the_next_one(honest, lie):
    """Who may sign a block is not looked at: another header is another block, to which no true one links."""
    blocks = copy.deepcopy(honest)
    LIES[lie](blocks[33])
    del blocks[33]["block_id"]
    found, error = fetched(of_blocks(blocks))
    assert [block.number for block in found] == [30, 31, 32, 33]
    assert found[-1].id.hex() != honest[33]["block_id"]
    assert "block 34 does not follow ours" in str(error)


def test_wrong_ids_of_transactions_are_hints_and_no_more(honest):
    blocks = copy.deepcopy(honest)
    for number in range(FIRST, LAST + 1):
        blocks[number]["transaction_ids"] = ["11" * 20, 5, None]
    found, error = fetched(of_blocks(blocks))
    assert error is None
    number = with_transactions(honest)
    [block] = [block for block in found if block.number == number]
    assert block.transaction(0)[2].hex() == honest[number]["transaction_ids"][0]


NONSENSE = {
    "a number": 5,
    "nothing": None,
    "a text": "block",
    "an empty object": {},
    "a list": [],
    "no previous": {"timestamp": "2026-01-01T00:00:00"},
}


@pytest.mark.parametrize("what", NONSENSE, ids=lambda name: name.replace(" ", "_"))
def test_what_is_no_block(honest, what):
    found, error = fetched(of_blocks({**honest, FIRST: NONSENSE[what]}))
    assert found == []
    assert isinstance(error, ApiError | FeedError)


@pytest.mark.parametrize("field", ["previous", "timestamp", "witness", "transaction_merkle_root", "witness_signature"])
@pytest.mark.parametrize("value", [None, 5, "", "x", "11", [], "é", "9" * 10_000, "-1", "2026-13-45T99:99:99"])
def test_nonsense_in_a_header(honest, field, value):
    numbers, error = lied(honest, lambda block: block.update({field: value}), FIRST)
    assert numbers == []
    assert isinstance(error, FeedError)


@pytest.mark.parametrize("field", ["operations", "ref_block_num", "ref_block_prefix", "signatures"])
@pytest.mark.parametrize("value", [None, -1, 2**64, 1.5, "x", [5], [[]], {}, [{"type": 5}], [["vote"]], True])
def test_nonsense_in_a_transaction(honest, field, value):
    numbers, error = lied(honest, lambda block: block["transactions"][0].update({field: value}))
    assert numbers == before(honest)
    assert isinstance(error, FeedError)


@pytest.mark.parametrize("value", [None, -1, 2**64, 1.5, "x", "2026-13-01T00:00:00", "1969-12-31T23:59:59", True])
def test_an_expiration_that_is_no_time(honest, value):
    numbers, error = lied(honest, lambda block: block["transactions"][0].update(expiration=value))
    assert numbers == before(honest)
    assert isinstance(error, FeedError)


def test_an_operation_that_we_do_not_know_is_told_apart_from_a_lie(honest):
    def change(block):
        block["transactions"][0]["operations"][0] = {"type": "colonize_mars_operation", "value": {"ship": "x"}}

    numbers, error = lied(honest, change)
    assert numbers == before(honest)
    assert "colonize_mars" in str(error)
    assert "our limit, not the server's fault: a newer version is needed" in str(error)


# -- a server that is broken


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"5", b"[]", b'"text"', b"<html>", b"\xff\xfe", b'{"result": ', b'{"result": {"blocks": [{}'],
)
def test_an_answer_that_is_no_json_rpc(body):
    found, error = fetched(lambda method, params: (body, 200))
    assert found == []
    assert isinstance(error, ApiError)


def test_an_answer_that_was_cut_off(honest):
    whole = of_blocks(honest)("block_api.get_block_range", {"starting_block_num": FIRST, "count": 7})[0]
    for length in range(len(whole) // 9, len(whole), len(whole) // 9):
        found, error = fetched(lambda method, params, length=length: (whole[:length], 200))
        assert found == []
        assert isinstance(error, ApiError)


@pytest.mark.parametrize("value", [None, 5, [], {}, {"blocks": None}, {"blocks": {}}, {"blocks": []}])
def test_a_result_that_is_no_range(value):
    found, error = fetched(lambda method, params: result(value))
    assert found == []
    assert isinstance(error, ApiError)


def test_more_blocks_than_asked_for_are_no_gift(honest):
    found, error = fetched(lambda *call: result({"blocks": [honest[n] for n in range(FIRST, LAST + 1)]}), last=FIRST)
    assert found == []
    assert "7 blocks instead of 1" in str(error)


@pytest.mark.parametrize("status", [301, 400, 403, 404, 429, 500, 502, 503])
def test_an_http_error(honest, status):
    body = of_blocks(honest)("block_api.get_block_range", {"starting_block_num": FIRST, "count": 7})[0]
    found, error = fetched(lambda method, params: (body, status))
    assert found == []
    assert f"HTTP {status}" in str(error)


def test_an_answer_without_end_is_not_read_to_its_end(honest, monkeypatch):
    monkeypatch.setattr(rpc, "MAX_ANSWER", 2_000)
    found, error = fetched(of_blocks(honest))
    assert found == []
    assert "an answer of more than 2000 bytes" in str(error)


def test_a_server_that_is_silent_costs_its_time_and_no_more(monkeypatch):
    async def silence():
        await asyncio.sleep(5)
        return b"", 200

    monkeypatch.setattr(source, "RANGE_TIMEOUT", 0.1)
    found, error = fetched(lambda method, params: silence())
    assert found == []
    assert isinstance(error, ApiError)
    assert "TimeoutError" in str(error)


def test_a_server_that_is_gone():
    async def ask():
        async with aiohttp.ClientSession() as session:
            api = Api("http://127.0.0.1:1", "north", Http(session), "alice")
            with pytest.raises(ApiError, match=r"127\.0\.0\.1:1"):
                await chain_view(api)

    asyncio.run(ask())


# -- the wire itself


async def posted(url, *, timeout=3.0, body=b"question"):
    """All that a server answers to a POST."""
    async with aiohttp.ClientSession() as session:
        return b"".join([part async for part in Http(session).post(url, body, "alice", timeout)])


@asynccontextmanager
async def raw_server(handle):
    """A server of bytes; its URL."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()


def answering(*parts, seen=None, pause=0.0):
    """A connection that writes these parts when it was asked, and closes."""

    async def handle(reader, writer):
        asked = await reader.readuntil(b"question")
        if seen is not None:
            seen.append(asked)
        for part in parts:
            writer.write(part)
            with suppress(ConnectionError):
                await writer.drain()
            await asyncio.sleep(pause)
        writer.close()

    return handle


def through(handle, **how):
    """What comes of a POST to a server of bytes, or the ApiError."""

    async def main():
        async with raw_server(handle) as url:
            try:
                return await posted(url, **how)
            except ApiError as error:
                return error

    return asyncio.run(main())


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


def test_the_question_goes_as_it_is_and_says_who_asks():
    seen = []
    assert through(answering(HEAD % 6, b"answer", seen=seen)) == b"answer"
    lines = seen[0].lower().split(b"\r\n")
    assert lines[0].startswith(b"post / ")
    assert b"x-client: alice" in lines and b"content-type: application/json" in lines
    assert seen[0].endswith(b"\r\n\r\nquestion")


def test_an_answer_comes_in_parts_and_whole():
    big = bytes(range(256)) * 1_000
    assert through(answering(HEAD % len(big), big[:70_000], big[70_000:])) == big


BROKEN = {
    "no HTTP": (b"\x15\x03\x01 nonsense\r\n\r\n",),
    "closed at once": (),
    "less than it said": (HEAD % 100, b"answer"),
    "a chunk without its end": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nans",),
    "a chunk of no number": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nans\r\n",),
    "no gzip": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\nanswer",),
    "to itself for ever": (b"HTTP/1.1 307 Again\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",),
    "an error": (b"HTTP/1.1 503 Busy\r\nContent-Length: 6\r\n\r\nanswer",),
    "no content": (b"HTTP/1.1 204 None\r\n\r\n",),
}


@pytest.mark.parametrize("what", BROKEN, ids=lambda name: name.replace(" ", "_"))
def test_what_goes_wrong_on_the_wire_is_an_api_error_with_words(what):
    error = through(answering(*BROKEN[what]))
    assert isinstance(error, ApiError)
    assert str(error)


def test_the_time_is_for_the_whole_answer():
    """A server that gives a byte now and then costs no more than a silent one."""
    began = time.monotonic()
    error = through(answering(HEAD % 100, *[b"x"] * 100, pause=0.05), timeout=0.3)
    assert isinstance(error, ApiError) and "TimeoutError" in str(error)
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://", "nonsense", "http://127.0.0.1:99999"])
def test_an_address_where_nobody_is(url):
    with pytest.raises(ApiError):
        asyncio.run(posted(url))


def test_a_server_that_is_gone_in_the_middle_is_left_and_the_next_question_is_answered():
    """One session, kept alive: a connection that broke is not used again."""
    answers = [answering(HEAD % 100, b"answer"), answering(HEAD % 6, b"answer")]

    async def handle(reader, writer):
        await answers.pop(0)(reader, writer)

    async def main():
        async with raw_server(handle) as url, aiohttp.ClientSession() as session:
            http = Http(session)
            with pytest.raises(ApiError):
                async for _ in http.post(url, b"question", "alice", 3.0):
                    pass
            return b"".join([part async for part in http.post(url, b"question", "alice", 3.0)])

    assert asyncio.run(main()) == b"answer"


class Parts:
    """A transport that gives parts one by one, and notes whether it was closed."""

    def __init__(self, *parts):
        self.parts = list(parts)
        self.closed = False

    async def post(self, url, body, client, timeout):
        try:
            while self.parts:
                yield self.parts.pop(0)
        finally:
            self.closed = True


ANSWER = b'{"result": "' + b"x" * 86 + b'"}'  # 100 bytes


@pytest.mark.parametrize(("limit", "taken"), [(101, True), (100, True), (99, False)])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_an_answer_is_as_large_as_max_answer_and_no_larger(monkeypatch, limit, taken, size):
    monkeypatch.setattr(rpc, "MAX_ANSWER", limit)
    transport = Parts(*[ANSWER[start : start + size] for start in range(0, 100, size)])
    api = Api("http://north", "north", transport, "alice")
    if taken:
        assert asyncio.run(api.call("method", {})) == "x" * 86
    else:
        with pytest.raises(ApiError, match=f"http://north: method: an answer of more than {limit} bytes"):
            asyncio.run(api.call("method", {}))


def test_what_is_too_large_is_read_no_further_and_its_connection_is_let_go(monkeypatch):
    monkeypatch.setattr(rpc, "MAX_ANSWER", 25)
    transport = Parts(*[b"x" * 10] * 1_000)
    api = Api("http://north", "north", transport, "alice")

    async def main():
        with pytest.raises(ApiError, match="more than 25 bytes"):
            await api.call("method", {})
        return transport.closed  # now, not when the loop ends and closes what was forgotten

    assert asyncio.run(main())
    assert len(transport.parts) == 997


def test_a_small_answer_that_unpacks_to_a_large_one_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(rpc, "MAX_ANSWER", 100_000)
    packed = gzip.compress(b" " * 50_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)

    async def handle(reader, writer):
        await reader.read(1)
        writer.write(head + packed)
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async def main():
        async with raw_server(handle) as url, aiohttp.ClientSession() as session:
            await Api(url, "north", Http(session), "alice").call("method", {})

    with pytest.raises(ApiError, match="more than 100000 bytes"):
        asyncio.run(main())


# -- what a server says of the chain

GOOD = {"head_block_number": 9, "last_irreversible_block_num": 8, "time": "2026-01-01T00:00:27"}


@pytest.mark.parametrize(
    "properties",
    [None, 5, [], {}, *({**GOOD, name: value} for name in GOOD for value in (None, "x", [], -1, {})),
     {**GOOD, "last_irreversible_block_num": 10}],
)  # fmt: skip
def test_properties_that_cannot_be(properties):
    async def ask():
        async with served(lambda method, params: result(properties)) as api:
            await chain_view(api)

    with pytest.raises(ApiError):
        asyncio.run(ask())


def test_properties():
    async def ask():
        async with served(lambda method, params: result(GOOD)) as api:
            return await chain_view(api)

    view = asyncio.run(ask())
    assert (view.head_number, view.irreversible_number, view.head_time) == (9, 8, 1_767_225_627)


def test_a_refused_broadcast_is_no_broken_server():
    async def send(error):
        async with served(lambda *call: (json.dumps({"error": error}).encode(), 200)) as api:
            await api.broadcast({})

    with pytest.raises(BroadcastRefusedError, match="missing required active authority"):
        asyncio.run(send({"code": -32000, "message": "missing required active authority"}))
    with pytest.raises(BroadcastRefusedError):
        asyncio.run(send("no object"))


def test_what_proves_is_what_the_chain_has(honest):
    for number in range(FIRST, LAST + 1):
        read_block(honest[number], CHAIN).prove()
