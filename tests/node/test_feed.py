"""The feed against a real server that lies: whatever it says, nothing unproven is ever handed on."""

import asyncio
import copy
import json
from contextlib import asynccontextmanager

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
                async for block in fetch_blocks(api, CHAIN, first, last, previous):
                    found.append(block)
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
