"""A real server on loopback answers in hived's shape."""

import gzip
import json
import threading
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest

from node.devnet.founding import CHAIN
from node.devnet.server import MAX_BATCH, MAX_BODY
from processors.hive.block import read_block, witness_key
from processors.hive.keys import public_key_to_text
from processors.hive.transaction import show_transaction
from tests.node.devnet.serving import Served, served
from tests.node.devnet.world import World, custom_json, key, transfer

HEADER = {"previous", "timestamp", "witness", "transaction_merkle_root", "extensions"}
BLOCK = HEADER | {"witness_signature", "transactions", "block_id", "signing_key", "transaction_ids"}


@pytest.fixture(scope="module")
def hive() -> Iterator[Served]:
    world = World()
    world.send([transfer(memo="first")], "alice active")
    world.send([custom_json("bob"), transfer("bob")], "bob active")
    world.chain.produce()
    world.chain.produce()
    with served(world) as found:
        yield found


def raw(world: World, *, typed: bool = False, signer: str = "alice active", **changes: Any) -> dict[str, Any]:
    tx = world.sign(world.tx([transfer(**changes)]), key(signer), typed=typed)
    return show_transaction(tx, CHAIN, typed=typed)


@pytest.mark.parametrize("method", ["condenser_api", "database_api"])
def test_properties(hive: Served, method: str) -> None:
    found = hive.call(f"{method}.get_dynamic_global_properties", [] if method == "condenser_api" else {})
    chain = hive.world.chain
    assert found["head_block_number"] == chain.head_number >= found["last_irreversible_block_num"] > 0
    assert found["head_block_id"] == chain.head_id.hex()
    assert found["current_witness"] == "initminer"
    assert isinstance(found["current_supply"], str if method == "condenser_api" else dict)
    assert found["maximum_block_size"] == 65_536


def test_block_in_both_forms(hive: Served) -> None:
    legacy = hive.call("condenser_api.get_block", [4])
    typed = hive.call("block_api.get_block", {"block_num": 4})["block"]
    assert legacy.keys() == typed.keys() == BLOCK
    assert legacy["block_id"] == typed["block_id"] and legacy["block_id"].startswith("00000004")
    assert legacy["transactions"][0]["operations"][0][0] == "transfer"
    assert legacy["transactions"][1]["transaction_num"] == 1
    assert legacy["transactions"][0]["transaction_id"] == legacy["transaction_ids"][0]
    assert typed["transactions"][0]["operations"][0]["type"] == "transfer_operation"
    for shown in (legacy, typed):
        read_block(shown, CHAIN).prove()


def test_block_that_is_not_there(hive: Served) -> None:
    assert hive.call("condenser_api.get_block", [10_000]) is None
    assert hive.call("block_api.get_block", {"block_num": 10_000}) == {}
    assert hive.call("block_api.get_block_header", {"block_num": 10_000}) == {}
    assert hive.call("block_api.get_block_range", {"starting_block_num": 10_000, "count": 5}) == {"blocks": []}


def test_header_and_range(hive: Served) -> None:
    header = hive.call("block_api.get_block_header", {"block_num": 4})["header"]
    assert header.keys() == HEADER
    blocks = hive.call("block_api.get_block_range", {"starting_block_num": 2, "count": 1000})["blocks"]
    assert [int(block["block_id"][:8], 16) for block in blocks] == list(range(2, hive.world.chain.head_number + 1))
    assert blocks[2]["previous"] == header["previous"] == blocks[1]["block_id"]


def test_accounts(hive: Served) -> None:
    legacy = hive.call("condenser_api.get_accounts", [["alice", "nobody", "bob"]])
    typed = hive.call("database_api.find_accounts", {"accounts": ["alice", "bob"]})["accounts"]
    assert [account["name"] for account in legacy] == [account["name"] for account in typed] == ["alice", "bob"]
    assert legacy[0]["balance"].endswith(" TESTS") and typed[0]["balance"]["nai"] == "@@000000021"
    text = public_key_to_text(key("alice active").public, "TST")
    assert legacy[0]["active"] == {"weight_threshold": 1, "account_auths": [], "key_auths": [[text, 1]]}
    assert hive.call("account_by_key_api.get_key_references", {"keys": [text]}) == {"accounts": [["alice"]]}


def test_what_the_node_is(hive: Served) -> None:
    for api, params in (("condenser_api", []), ("database_api", {})):
        config, version = hive.call(f"{api}.get_config", params), hive.call(f"{api}.get_version", params)
        assert config["HIVE_CHAIN_ID"] == version["chain_id"] == CHAIN.chain_id.hex()
        assert config["HIVE_ADDRESS_PREFIX"] == "TST" and config["HIVE_BLOCK_INTERVAL"] == 3
        assert version["blockchain_version"].startswith("1.28.")
    hardfork = hive.call("condenser_api.get_hardfork_properties", [])
    assert hardfork["last_hardfork"] == 28 and hardfork["current_hardfork_version"] == "1.28.0"


def test_the_witness_and_its_key(hive: Served) -> None:
    """The blocks are signed with the key that is told, as on Hive."""
    text = public_key_to_text(hive.world.chain.witness_key, "TST")
    typed = hive.call("database_api.find_witnesses", {"owners": ["nobody", "initminer"]})["witnesses"]
    legacy = hive.call("condenser_api.get_witness_by_account", ["initminer"])
    assert [found["owner"] for found in typed] == [legacy["owner"]] == ["initminer"]
    assert typed[0]["signing_key"] == legacy["signing_key"] == text
    assert typed[0].keys() == legacy.keys()
    assert isinstance(typed[0]["props"]["account_creation_fee"], dict)
    assert isinstance(legacy["props"]["account_creation_fee"], str)
    block = hive.call("block_api.get_block", {"block_num": 4})["block"]
    assert block["signing_key"] == text
    assert witness_key(read_block(block, CHAIN).header) == hive.world.chain.witness_key
    assert hive.call("condenser_api.get_witness_by_account", ["nobody"]) is None
    assert hive.call("database_api.get_active_witnesses", {}) == {"witnesses": ["initminer"]}
    future = hive.call("database_api.get_active_witnesses", {"include_future": True})
    assert future == {"witnesses": ["initminer"], "future_witnesses": ["initminer"]}


def test_resource_credits(hive: Served) -> None:
    """Its vesting is what an account has; of more than 32 bits it is a text, as fc writes it."""
    names = ["alice", "nobody", "poor"]
    alice, poor = hive.call("rc_api.find_rc_accounts", {"accounts": names})["rc_accounts"]
    assert alice["rc_manabar"] == {"current_mana": str(10**12), "last_update_time": hive.world.chain.head_time}
    assert alice["account"] == "alice" and alice["max_rc"] == str(10**12)
    assert poor["account"] == "poor" and poor["rc_manabar"]["current_mana"] == poor["max_rc"] == 0
    assert alice["max_rc_creation_adjustment"] == {"amount": "0", "precision": 6, "nai": "@@000000037"}


def test_gzip_for_those_who_take_it(hive: Served) -> None:
    body = {**CALL, "method": "block_api.get_block", "params": {"block_num": 4}}

    def answered(coding: str, call: Any) -> tuple[str | None, Any]:
        headers = {"Content-Type": "application/json", "Accept-Encoding": coding}
        request = urllib.request.Request(hive.url, json.dumps(call).encode(), headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            coded, text = answer.headers.get("Content-Encoding"), answer.read()
        return coded, json.loads(gzip.decompress(text) if coded == "gzip" else text)

    packed, plain = answered("gzip, deflate", body), answered("identity", body)
    assert (packed[0], plain[0]) == ("gzip", None) and packed[1] == plain[1]
    assert answered("gzip", CALL)[0] is None, "a short answer stays as it is"


def test_operations_and_transactions(hive: Served) -> None:
    found = hive.call("condenser_api.get_ops_in_block", [4, False])
    assert [(op["trx_in_block"], op["op_in_trx"], op["op"][0]) for op in found] == [
        (0, 0, "transfer"),
        (1, 0, "custom_json"),
        (1, 1, "transfer"),
    ]
    tx = hive.call("condenser_api.get_transaction", [found[1]["trx_id"]])
    assert (tx["block_num"], tx["transaction_num"], tx["transaction_id"]) == (4, 1, found[1]["trx_id"])
    status = hive.call("transaction_status_api.find_transaction", {"transaction_id": tx["transaction_id"]})
    assert status == {"status": "within_irreversible_block", "block_num": 4}
    assert "Unknown Transaction" in hive.error("condenser_api.get_transaction", ["00" * 20])["message"]


@pytest.mark.parametrize(
    ("method", "typed", "wrapped"),
    [
        ("condenser_api.broadcast_transaction", False, False),
        ("network_broadcast_api.broadcast_transaction", True, True),
        ("network_broadcast_api.broadcast_transaction", False, True),
    ],
)
def test_broadcast(hive: Served, method: str, typed: bool, wrapped: bool) -> None:
    tx = raw(hive.world, typed=typed)
    params = {"trx": tx} if wrapped else [tx]
    assert hive.call(method, params) == {}
    txid = hive.world.chain.pool[-1].txid.hex()
    find = {"transaction_id": txid}
    assert hive.call("transaction_status_api.find_transaction", find) == {"status": "within_mempool"}
    error = hive.error(method, params)
    assert "Duplicate transaction check failed" in error["message"]
    assert hive.produce().transactions[-1].txid.hex() == txid
    number = hive.world.chain.head_number
    found = hive.call("transaction_status_api.find_transaction", find)
    assert found == {"status": "within_reversible_block", "block_num": number}
    assert "Duplicate transaction check failed" in hive.error(method, params)["message"]


def test_synchronous_broadcast(hive: Served) -> None:
    answers: list[dict[str, Any]] = []
    tx = raw(hive.world)

    def send() -> None:
        answers.append(hive.call("condenser_api.broadcast_transaction_synchronous", [tx]))

    thread = threading.Thread(target=send)
    thread.start()
    while not hive.world.chain.pool:
        thread.join(0.01)
    assert not answers
    block = hive.produce()
    thread.join(10)
    number = hive.world.chain.head_number
    assert answers == [{"id": block.transactions[0].txid.hex(), "block_num": number, "trx_num": 0, "expired": False}]


@pytest.mark.parametrize("method", ["condenser_api.verify_authority", "database_api.verify_authority"])
def test_verify_authority(hive: Served, method: str) -> None:
    def params(signer: str) -> Any:
        tx = raw(hive.world, signer=signer)
        return [tx] if method.startswith("condenser") else {"trx": tx}

    assert hive.call(method, params("alice active")) in (True, {"valid": True})
    error = hive.error(method, params("alice owner"))
    assert error["data"]["name"] == "tx_missing_active_auth"
    assert error["message"].startswith("missing required active authority:Missing Active Authority alice")


def test_refusals(hive: Served) -> None:
    error = hive.error("condenser_api.broadcast_transaction", [raw(hive.world, amount=10**9)])
    assert error["code"] == -32003 and error["data"]["name"] == "assert_exception" and error["data"]["code"] == 10
    assert "Account alice does not have sufficient funds for balance adjustment." in error["message"]
    error = hive.error("condenser_api.broadcast_transaction", [raw(hive.world, signer="alice posting")])
    assert error["code"] == -32003 and error["data"]["code"] == 3010000
    tx = {**raw(hive.world), "expiration": "2031-01-01T00:00:00"}
    assert hive.error("condenser_api.broadcast_transaction", [tx])["data"]["code"] == 4030100


def test_id_33_chars(hive: Served) -> None:
    """A row of hived_verdicts.md: fixed_string refuses it while the transaction is read."""
    tx = raw(hive.world)
    tx["operations"] = [["custom_json", {"required_auths": ["alice"], "required_posting_auths": [], "json": "{}"}]]
    tx["operations"][0][1]["id"] = "i" * 33
    error = hive.error("condenser_api.broadcast_transaction", [tx])
    words = f"in_len <= sizeof(data): Input too large: `{'i' * 33}` (33) for fixed size string: (32)"
    assert error["data"]["name"] == "assert_exception" and words in error["message"]


def test_escapes_are_read_as_fc_reads_them(hive: Served) -> None:
    """hived's JSON knows no \\u: a client that writes it signs another text than hived sees."""
    tx = raw(hive.world, memo="é")
    body = {"jsonrpc": "2.0", "method": "condenser_api.broadcast_transaction", "params": [tx], "id": 1}
    escaped = json.dumps(body).encode()
    assert b"\\u00e9" in escaped
    assert hive.post(escaped)["error"]["data"]["name"] == "tx_missing_active_auth"
    assert hive.post(body)["result"] == {}


CALL = {"jsonrpc": "2.0", "method": "condenser_api.get_version", "params": [], "id": 1}


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"{", -32000, "Parse Error"),
        (b"", -32000, "Parse Error"),
        (b"\xff\xfe", -32000, "Parse Error"),
        (b"[" * 100_000, -32000, "Parse Error"),
        ([], -32000, "Array is invalid"),
        ([CALL] * (MAX_BATCH + 1), -32000, "Array is invalid"),
        ("text", -32000, "Bad Cast"),
        ({**CALL, "jsonrpc": "1.0"}, -32600, 'jsonrpc value is not "2.0"'),
        ({**CALL, "id": None}, -32600, "Only integer value or string"),
        ({**CALL, "id": 1.5}, -32600, "Only integer value or string"),
        ({**CALL, "method": 5}, -32600, 'A member "method" does not exist'),
        ({**CALL, "method": "get_version"}, -32002, "Should be api.method"),
        ({**CALL, "method": "no_api.get_version"}, -32002, "Could not find API no_api"),
        ({**CALL, "method": "condenser_api.nothing"}, -32002, "Could not find method nothing"),
        ({**CALL, "method": "no_api.broadcast_transaction"}, -32002, "Could not find API"),
        ({**CALL, "method": "call"}, -32002, "params should be"),
        ({"jsonrpc": "2.0", "method": "call", "id": 1}, -32001, 'A member "params" does not exist'),
        ({**CALL, "method": "condenser_api.get_block"}, -32003, "Expected 1 argument(s), was 0"),
        ({**CALL, "method": "condenser_api.get_block", "params": ["x"]}, -32000, "Bad Cast"),
        ({**CALL, "method": "condenser_api.get_block", "params": {}}, -32000, "Bad Cast"),
        ({**CALL, "method": "block_api.get_block", "params": [1]}, -32000, "Bad Cast"),
        ({**CALL, "method": "block_api.get_block", "params": {"block_num": -1}}, -32000, "Bad Cast"),
        ({**CALL, "method": "condenser_api.get_accounts", "params": [5]}, -32000, "Bad Cast"),
        ({**CALL, "method": "condenser_api.get_transaction", "params": ["zz"]}, -32000, "Bad Cast"),
        ({**CALL, "method": "condenser_api.broadcast_transaction", "params": [{}]}, -32000, "Bad Cast"),
        ({**CALL, "method": "condenser_api.broadcast_transaction", "params": [None]}, -32000, "Bad Cast"),
        ({**CALL, "method": "condenser_api.broadcast_transaction", "params": []}, -32000, "Bad Cast"),
        ({**CALL, "method": "network_broadcast_api.broadcast_transaction", "params": {}}, -32000, "Bad Cast"),
        ({**CALL, "method": "database_api.verify_authority", "params": {"trx": []}}, -32000, "Bad Cast"),
        ({**CALL, "method": "database_api.find_witnesses", "params": {"owners": "initminer"}}, -32000, "Bad Cast"),
        ({**CALL, "method": "database_api.find_witnesses", "params": {"owners": []}}, -32003, "not filled or too big"),
        ({**CALL, "method": "condenser_api.get_witness_by_account", "params": [5]}, -32000, "Bad Cast"),
        ({**CALL, "method": "database_api.get_active_witnesses", "params": 5}, -32000, "Bad Cast"),
        ({**CALL, "method": "rc_api.find_rc_accounts", "params": {"accounts": [[]]}}, -32000, "Bad Cast"),
        ({**CALL, "method": "account_by_key_api.get_key_references", "params": {"keys": ["x"]}}, -32000, "Bad Cast"),
    ],
    ids=lambda value: str(value)[:60] if not isinstance(value, bytes) else repr(value[:9]),
)
def test_errors(hive: Served, body: Any, code: int, words: str) -> None:
    answer = hive.post(body)
    assert "result" not in answer
    assert answer["error"]["code"] == code, answer
    assert words in answer["error"]["message"]


def test_batch(hive: Served) -> None:
    wrong = {**CALL, "id": "b", "method": "condenser_api.nothing"}
    answers = hive.post([CALL, wrong, {**CALL, "method": "call", "params": ["condenser_api", "get_version", []]}])
    assert [answer["id"] for answer in answers] == [1, "b", 1]
    assert ["error" in answer for answer in answers] == [False, True, False]


def test_too_large_a_body(hive: Served) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        hive.post(b" " * (MAX_BODY + 1))
    assert caught.value.code == 413


def test_refused_client(hive: Served) -> None:
    hive.server.refused_clients.add("unwanted")
    with pytest.raises(urllib.error.HTTPError) as caught:
        hive.post(CALL, {"X-Client": "unwanted"})
    assert caught.value.code == 403
    assert hive.post(CALL, {"X-Client": "another"})["result"]["node_type"] == "testnet"
