"""Sending a registration and waiting for it: servers that refuse, fall silent, lie about it, or let it expire."""

import asyncio
import json

import pytest

from node import registration
from node.devnet.founding import CHAIN, guest_keys, member_keys
from node.errors import ApiError, BroadcastRefusedError, ConfigError, NodeError
from node.feed.rpc import Api
from processors.genesis import parse
from processors.hive.crypto import recover
from processors.hive.transaction import pack_transaction, signing_digest, transaction_id
from tests.node.hive_at_home import hive

GUEST = guest_keys()
TXID = bytes(20)
REFERENCE = registration.Reference(70_000, (70_000).to_bytes(4, "big") + bytes(range(16)), 1_000_000)


@pytest.fixture
def genesis(monkeypatch):
    with hive(monkeypatch, clock=False) as found:
        return parse(found.document)


class Scripted:
    """A server that gives these answers in turn, the last one for ever; an ApiError is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def post(self, url, body, client, timeout):
        self.asked.append(json.loads(body))
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, Exception):
            raise found
        yield json.dumps(found).encode()


def apis(*scripts):
    return [Api(f"http://{index}", "o", script, "me") for index, script in enumerate(scripts)]


def status(name, number=None):
    return {"result": {"status": name, **({"block_num": number} if number is not None else {})}}


def refused(words):
    return {"error": {"code": -32003, "message": words}}


def signed(genesis):
    return registration.sign(genesis, "newcomer", "node_delete", {}, GUEST.account_key, REFERENCE)


# -- the transaction


def test_it_is_one_custom_json_by_the_accounts_active_key(genesis):
    found = signed(genesis)
    [operation] = found.tx.operations
    assert operation.value["required_auths"] == ("newcomer",) and operation.value["json"] == "{}"
    assert operation.value["id"] == "waggle_node_delete"
    assert (found.tx.ref_block_num, found.tx.expiration) == (70_000 & 0xFFFF, 1_000_300)
    packed = pack_transaction(found.tx, CHAIN)
    assert found.txid == transaction_id(packed)
    assert recover(found.tx.signatures[0], signing_digest(packed, CHAIN)) == GUEST.account_key.public


@pytest.mark.parametrize("account", ["alice", "newcomer2"])
def test_a_proof_counts_for_one_account(genesis, account):
    pop = registration.proof(genesis, "newcomer", GUEST.signing_key)
    key = GUEST.signing_key.public
    assert registration.node_add(genesis, "newcomer", key, pop, domain="https://a")["pop"] == pop.hex()
    with pytest.raises(ConfigError, match="waggle keys pop"):
        registration.node_add(genesis, account, key, pop, domain="https://a")
    with pytest.raises(ConfigError, match="waggle keys pop"):
        registration.node_add(genesis, "newcomer", member_keys(1).signing_key.public, pop, domain="https://a")


# -- sending


def sending(genesis, *scripts):
    return asyncio.run(registration.send(apis(*scripts), genesis, signed(genesis).tx))


def test_the_next_server_on_error_silence_and_refusal(genesis):
    scripts = Scripted(ApiError("silent")), Scripted(refused("no")), Scripted({"result": {}}), Scripted({"result": {}})
    assert sending(genesis, *scripts) == "http://2"
    assert [len(script.asked) for script in scripts] == [1, 1, 1, 0]


def test_a_duplicate_is_success(genesis):
    assert sending(genesis, Scripted(refused("x Duplicate transaction check failed y"))) == "http://0"


def test_a_refusal_is_told_in_the_servers_words_on_one_line(genesis):
    with pytest.raises(BroadcastRefusedError, match=r"http://1 refuses it: missing authority\\n\\x1b") as no:
        sending(genesis, Scripted(ApiError("silent")), Scripted(refused("missing authority\n\x1b[2J" + "x" * 9000)))
    assert len(str(no.value)) < 600 and "\x1b" not in str(no.value)


def test_nobody_takes_it(genesis):
    with pytest.raises(ApiError, match="no API server took it"):
        sending(genesis, Scripted(ApiError("silent")), Scripted(ApiError("HTTP 503")))


# -- waiting


def waiting(*scripts, patience=10.0):
    told = []

    async def no_time(seconds):
        """Time passes at once."""

    block = asyncio.run(registration.wait(apis(*scripts), TXID, told.append, patience=patience, sleep=no_time))
    return block, told


def test_until_it_is_irreversible_and_each_step_is_told_once():
    steps = [status("within_mempool"), status("within_mempool"), status("within_reversible_block", 7)]
    block, told = waiting(Scripted(*steps, status("within_irreversible_block", 7)))
    assert block == 7
    assert told == ["within mempool", "within reversible block 7", "within irreversible block 7"]


def test_the_server_that_is_furthest_counts():
    block, _ = waiting(
        Scripted(ApiError("x")), Scripted(status("unknown")), Scripted(status("within_irreversible_block", 9))
    )
    assert block == 9


@pytest.mark.parametrize("name", ["expired_reversible", "expired_irreversible", "too_old"])
def test_what_has_expired_is_told(name):
    with pytest.raises(NodeError, match="expired before it was in a block: run the command again"):
        waiting(Scripted(status(name)))


@pytest.mark.parametrize(
    "answer",
    [{"result": 5}, {"result": None}, {"result": {"status": "fine"}}, {"result": {"status": []}}, {"result": []},
     *(status("within_irreversible_block", number) for number in (None, "7", -7))],
)  # fmt: skip
def test_an_answer_that_is_none_ends_nothing(answer):
    with pytest.raises(NodeError, match="not irreversible after 3 s"):
        waiting(Scripted(answer), patience=3.0)


# -- the block that it stands on


@pytest.mark.parametrize("previous", [None, 5, "zz", "00" * 20, "00000031" + "00" * 15])
def test_a_header_that_does_not_fit(previous):
    view = {"head_block_number": 51, "last_irreversible_block_num": 50, "time": "2026-01-01T00:00:00"}
    script = Scripted({"result": view}, {"result": {"header": {"previous": previous}}})
    with pytest.raises(ApiError, match="no header of block 50"):
        asyncio.run(registration.reference(apis(script)[0]))


def test_the_block_before_the_newest_irreversible_one():
    view = {"head_block_number": 51, "last_irreversible_block_num": 50, "time": "1970-01-01T00:01:00"}
    script = Scripted({"result": view}, {"result": {"header": {"previous": "00000031" + "ab" * 16}}})
    found = asyncio.run(registration.reference(apis(script)[0]))
    assert (found.number, found.block_id[:4], found.head_time) == (49, b"\0\0\0\x31", 60)
