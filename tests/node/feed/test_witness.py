"""A block that its witness did not sign is named; one whose key is not sure is never called wrong."""

import asyncio
import json
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from node.devnet.chain import DevnetChain
from node.devnet.founding import CHAIN, START_TIME, WITNESS
from node.devnet.rpc import Methods
from node.errors import ApiError
from node.feed.rpc import Api
from node.feed.witness import MAX_WITNESSES, Heard, Known, WitnessKeys, ask
from processors.hive.block import (
    Block,
    Header,
    block_id,
    merkle_root,
    read_block,
    show_header,
    witness_digest,
    witness_key,
)
from processors.hive.chain import Chain
from processors.hive.crypto import public_key, sign
from processors.hive.keys import NULL_KEY, public_key_from_text, public_key_to_text
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction, pack_signatures, pack_transaction, show_transaction
from processors.hive.types import Asset

SECRETS = {name: name.encode().ljust(32, b"\1") for name in ("old", "new", "forger")}
KEY = {name: public_key(secret) for name, secret in SECRETS.items()}
OK, UNKNOWN, WRONG = Known.OK, Known.UNKNOWN, Known.WRONG


def block(number, signer, operations=(), witness="alice"):
    """Block ``number`` of witness alice, signed by one of SECRETS."""
    txs = [Transaction(1, 2, 1_800_000_000, (operation,), (), ()) for operation in operations]
    leaves = [pack_transaction(tx, CHAIN) + pack_signatures(tx.signatures) for tx in txs]
    root = merkle_root([sha256(leaf).digest() for leaf in leaves])
    header = Header((number - 1).to_bytes(4, "big") + bytes(16), 1_800_000_000, witness, root, (), b"")
    header = replace(header, signature=sign(SECRETS[signer], witness_digest(header)))
    shown = {
        **show_header(header, typed=True),
        "transactions": [show_transaction(tx, CHAIN, typed=True) for tx in txs],
        "block_id": block_id(header).hex(),
    }
    return read_block(msgspec.json.encode(shown), CHAIN)


def update(key, owner="alice"):
    props = {"account_creation_fee": Asset(0, 0), "maximum_block_size": 65536, "hbd_interest_rate": 0}
    value = {"owner": owner, "url": "", "block_signing_key": key, "props": props, "fee": Asset(0, 0)}
    return Operation("witness_update", value)


def properties(key, owner="alice"):
    props = (("key", KEY["old"]), *((("new_signing_key", key),) if key is not None else ()))
    return Operation("witness_set_properties", {"owner": owner, "props": props, "extensions": ()})


def knowing(name="old", head=100, prefix="TST"):
    keys = WitnessKeys(prefix)
    keys.learn(Heard(head, {"alice": KEY[name]}))
    return keys


# -- what a block is


def test_a_real_block_of_each_witness_is_recognised():
    """600 blocks of Hive: each signature recovers to the key that hived calls its witness's."""
    vectors = json.loads((Path(__file__).parents[2] / "vectors" / "mainnet_blocks_1000000.json").read_text())
    chain = Chain(bytes(32), "STM", ("HIVE", "HBD", "VESTS"))
    for raw in vectors["blocks"][:120]:
        found: Block = read_block(raw, chain)
        keys = WitnessKeys("STM")
        assert keys.judge(found) is UNKNOWN
        keys.learn(Heard(found.number - 1, {raw["witness"]: public_key_from_text(raw["signing_key"], "STM")}))
        assert keys.judge(found) is OK
        keys.learn(Heard(found.number - 1, {raw["witness"]: KEY["old"]}))
        assert keys.judge(found) is WRONG


def test_the_devnet_signs_with_the_key_it_tells():
    chain = DevnetChain(CHAIN, WITNESS, START_TIME)
    chain.produce()
    (told,) = Methods(chain, chain.submit).call("database_api.find_witnesses", {"owners": ["initminer"]})["witnesses"]
    key = public_key_from_text(told["signing_key"], "TST")
    assert witness_key(chain.blocks[0].header) == key


def test_only_a_key_that_is_known_and_differs_is_wrong():
    keys = WitnessKeys("TST")
    assert keys.judge(block(101, "old")) is UNKNOWN
    keys = knowing()
    assert keys.judge(block(101, "old")) is OK
    assert keys.judge(block(101, "forger")) is WRONG
    assert keys.judge(block(101, "forger", witness="bob")) is UNKNOWN


def test_an_answer_says_nothing_bad_of_blocks_before_it():
    """The witness may have had another key at that time."""
    keys = knowing("new", head=100)
    for number in (1, 99, 100):
        assert keys.judge(block(number, "old")) is UNKNOWN
        assert keys.judge(block(number, "new")) is OK
    assert keys.judge(block(101, "old")) is WRONG


def test_a_signature_that_recovers_to_no_key_is_wrong_whoever_signed():
    found = block(101, "old", witness="bob")
    found.header = replace(found.header, signature=b"\x1f" + b"\xff" * 64)
    assert WitnessKeys("TST").judge(found) is WRONG


def test_a_witness_who_signs_no_blocks_has_no_key():
    keys = knowing()
    keys.learn(Heard(100, {"alice": NULL_KEY}))
    assert keys.judge(block(101, "forger")) is UNKNOWN


# -- changes


@pytest.mark.parametrize("change", [update, properties])
def test_a_change_in_a_block_holds_for_the_blocks_after_it(change):
    keys = knowing()
    changing = block(101, "old", [change(KEY["new"])])
    assert keys.judge(changing) is OK
    keys.see(changing)
    assert keys.judge(block(102, "new")) is OK
    assert keys.judge(block(102, "old")) is WRONG


def test_a_block_cannot_be_signed_with_the_key_that_it_sets():
    assert knowing().judge(block(101, "new", [update(KEY["new"])])) is WRONG


@pytest.mark.parametrize("operation", [properties(None), update(KEY["new"], "bob"), properties(KEY["new"], "bob")])
def test_other_changes_leave_the_key_as_it_is(operation):
    keys = knowing()
    keys.see(block(101, "old", [operation]))
    assert keys.judge(block(102, "old")) is OK and keys.judge(block(102, "new")) is WRONG
    assert keys.judge(block(102, "forger", witness="bob")) is UNKNOWN, "nobody was asked for"


def test_a_change_to_no_key_makes_it_unknown():
    keys = knowing()
    keys.see(block(101, "old", [update(NULL_KEY)]))
    assert keys.judge(block(102, "old")) is UNKNOWN


def test_a_gap_makes_every_key_unknown():
    """The change may have been in between."""
    keys = knowing()
    keys.see(block(101, "old"))
    assert keys.judge(block(103, "new")) is UNKNOWN, "block 102 was not seen"
    keys.see(block(103, "new"))
    assert keys.judge(block(104, "old")) is UNKNOWN


def test_a_transaction_that_cannot_be_read_makes_every_key_unknown():
    keys = knowing()
    strange = block(101, "old", [update(KEY["new"])])
    strange.transactions[0]["operations"].append({"type": "from_the_future_operation", "value": {}})
    keys.see(strange)
    assert keys.judge(block(102, "new")) is UNKNOWN


# -- asking anew


def test_a_lie_stays_wrong_when_the_servers_are_asked_again():
    keys = knowing(head=100)
    forged = block(105, "forger")
    for number in range(101, 105):
        keys.see(block(number, "old"))
    assert keys.judge(forged) is WRONG
    keys.learn(Heard(110, {"alice": KEY["old"]}))
    assert keys.judge(forged) is WRONG, "the key is the same before and after"


def test_a_change_that_was_missed_is_no_lie_any_more():
    keys = knowing(head=100)
    genuine = block(105, "new")
    for number in range(101, 105):
        keys.see(block(number, "old"))
    assert keys.judge(genuine) is WRONG
    keys.learn(Heard(110, {"alice": KEY["new"]}))
    assert keys.judge(genuine) is OK


def test_the_map_is_bounded():
    keys = knowing()
    for part in range(3):
        keys.learn(Heard(100, {f"w{part}-{index}": KEY["new"] for index in range(MAX_WITNESSES // 2)}))
    assert len(keys._keys) == MAX_WITNESSES
    assert keys.judge(block(101, "forger")) is UNKNOWN, "who was asked for longest ago went first"


# -- what servers say


class Server:
    """The transport of one server: keys by witness, a head, or bytes as they are."""

    def __init__(self, keys, head=100, answer=None):
        self.keys, self.head, self.answer, self.asked = keys, head, answer, []

    async def post(self, url, body, client, timeout):
        call = json.loads(body)
        self.asked.append(call["method"])
        if self.answer is not None:
            yield self.answer
            return
        if call["method"] == "database_api.find_witnesses":
            owners = call["params"]["owners"]
            found = [
                {"owner": name, "signing_key": public_key_to_text(key, "TST"), "url": ""}
                for name, key in self.keys.items()
                if name in owners
            ]
            result = {"witnesses": found}
        else:
            head = self.head
            result = {"head_block_number": head, "last_irreversible_block_num": head, "time": "2026-01-01T00:00:00"}
        yield json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()


def asked(*servers, operators=("north", "south", "east"), names=("alice", "bob")):
    apis = [
        Api(f"http://{index}", operator, server, "me")
        for index, (server, operator) in enumerate(zip(servers, operators, strict=False))
    ]
    return asyncio.run(ask(apis, names, "TST"))


def test_two_operators_who_agree_are_believed():
    north, south = Server({"alice": KEY["old"], "bob": KEY["new"]}, 100), Server({"alice": KEY["old"]}, 103)
    heard = asked(north, south)
    assert heard == Heard(103, {"alice": KEY["old"]}), "bob is known to one only; the head is the highest"
    assert north.asked == ["database_api.find_witnesses", "database_api.get_dynamic_global_properties"]


def test_operators_who_differ_are_not_believed():
    assert asked(Server({"alice": KEY["old"]}), Server({"alice": KEY["forger"]})).keys == {}


def test_of_three_the_one_who_differs_is_not_believed():
    lie = {"alice": KEY["forger"]}
    assert asked(Server(lie), Server({"alice": KEY["old"]}), Server({"alice": KEY["old"]})).keys["alice"] == KEY["old"]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"[]",
        b'{"result":null}',
        b'{"result":{"witnesses":5}}',
        b'{"result":{"witnesses":[5]}}',
        b'{"result":{"witnesses":[{"owner":"alice"}]}}',
        b'{"result":{"witnesses":[{"owner":"alice","signing_key":"TST1"}]}}',
        b'{"result":{"witnesses":[{"owner":"alice","signing_key":[]}]}}',
        b'{"error":{"message":"no"}}',
    ],
)
def test_a_server_that_answers_nonsense_is_not_counted(bad):
    with pytest.raises(ApiError, match="need answers of 2 operators"):
        asked(Server({"alice": KEY["old"]}), Server({}, answer=bad))
    heard = asked(Server({"alice": KEY["old"]}), Server({}, answer=bad), Server({"alice": KEY["old"]}))
    assert heard.keys == {"alice": KEY["old"]}


def test_two_servers_of_one_operator_are_one_voice():
    with pytest.raises(ApiError, match="need answers of 2 operators: only one operator is configured"):
        asked(Server({"alice": KEY["old"]}), Server({"alice": KEY["old"]}), operators=("north", "north"))


def test_what_nobody_asked_for_is_not_learned():
    keys = {"alice": KEY["old"], "eve": KEY["forger"]}

    class Talkative(Server):
        async def post(self, url, body, client, timeout):
            call = json.loads(body)
            call["params"]["owners"] = ["alice", "eve"] if "owners" in call["params"] else None
            async for part in super().post(url, json.dumps(call).encode(), client, timeout):
                yield part

    assert asked(Talkative(keys), Talkative(keys), names=["alice"]).keys == {"alice": KEY["old"]}
