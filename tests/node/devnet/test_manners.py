"""Each fault of a server shows exactly as it does on a real one, and leaves the chain itself as it is."""

import json
import threading
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from node.devnet.founding import CHAIN
from node.devnet.manners import HONEST, MANNERS, Manner, manner
from processors.hive.block import read_block
from processors.hive.errors import UnprovenBlockError
from processors.hive.transaction import show_transaction
from tests.node.devnet.serving import Served, served
from tests.node.devnet.world import World, key, transfer

RANGE = ("block_api.get_block_range", {"starting_block_num": 1, "count": 100})


@contextmanager
def serving(text: str, blocks: int = 3) -> Iterator[Served]:
    """A world that is served so; block 4 holds two transactions."""
    world = World()
    for _ in range(2):
        world.send([transfer()], "alice active")
    for _ in range(blocks):
        world.chain.produce()
    with served(world, manner=manner(text)) as found:
        yield found


def signed(world: World) -> dict[str, Any]:
    return show_transaction(world.sign(world.tx([transfer()]), key("alice active")), CHAIN, typed=False)


def head(hive: Served) -> dict[str, Any]:
    found: dict[str, Any] = hive.call("database_api.get_dynamic_global_properties", {})
    return found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("honest", HONEST),
        ("slow", Manner("slow", 2.0)),
        ("slow:0.25", Manner("slow", 0.25)),
        ("behind:7", Manner("behind", 7.0)),
        ("errors", Manner("errors", 3.0)),
        ("swallows", Manner("swallows")),
    ],
)
def test_a_manner_by_its_name(text: str, found: Manner) -> None:
    assert manner(text) == found


@pytest.mark.parametrize(
    "text", ["", "kind", "honest:1", "slow:", "slow:x", "slow:-1", "slow:nan", "behind:0", "behind:1.5", "errors:0"]
)
def test_what_is_no_manner_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ValueError, match=r"name one of honest, leaves-out, slow:NUMBER|the number is"):
        manner(text)


def test_an_honest_one_proves() -> None:
    with serving("honest") as hive:
        for shown in hive.call(*RANGE)["blocks"]:
            read_block(shown, CHAIN).prove()


@pytest.mark.parametrize("method", ["block_api.get_block_range", "block_api.get_block", "condenser_api.get_block"])
def test_one_that_leaves_out_gives_blocks_that_do_not_prove(method: str) -> None:
    with serving("leaves-out") as hive:
        params: Any = {"block_api.get_block_range": RANGE[1], "block_api.get_block": {"block_num": 4}}.get(method, [4])
        answer = hive.call(method, params)
        shown = answer["blocks"][3] if "blocks" in answer else answer.get("block", answer)
        whole = hive.world.chain.show_block(4, typed=True)
        assert whole is not None and len(whole["transactions"]) == 2
        assert len(shown["transactions"]) == len(shown["transaction_ids"]) == 1
        assert shown["block_id"] == whole["block_id"]
        with pytest.raises(UnprovenBlockError):
            read_block(shown, CHAIN).prove()


def test_one_that_leaves_out_is_honest_where_there_is_nothing() -> None:
    with serving("leaves-out") as hive:
        for number in (1, 2, 3, 5):
            read_block(hive.call("block_api.get_block", {"block_num": number})["block"], CHAIN).prove()
        assert hive.call("block_api.get_block", {"block_num": 99}) == {}
        assert head(hive)["head_block_number"] == hive.world.chain.head_number


def test_a_slow_one_answers_late() -> None:
    with serving("slow:0.2") as hive:
        begun = time.monotonic()
        assert head(hive)["head_block_number"] == hive.world.chain.head_number
        assert time.monotonic() - begun >= 0.2, "never before its time"


def test_a_silent_one_answers_nothing_until_it_ends() -> None:
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(head(hive))
        except urllib.error.HTTPError as error:
            answers.append(error.code)

    with serving("silent") as hive:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive() and not answers
    thread.join(10)
    assert answers == [503], "its end does not wait for what nobody answers"


def test_one_that_is_behind_shows_a_chain_that_fits_together() -> None:
    with serving("behind:2", blocks=5) as hive:
        chain = hive.world.chain
        told = head(hive)
        number = chain.head_number - 2
        assert (told["head_block_number"], told["last_irreversible_block_num"]) == (number, number - 1)
        shown = hive.call(*RANGE)["blocks"]
        assert [int(block["block_id"][:8], 16) for block in shown] == list(range(1, number + 1))
        assert told["head_block_id"] == shown[-1]["block_id"] and told["time"] == shown[-1]["timestamp"]
        assert hive.call("condenser_api.get_block", [number + 1]) is None
        hive.produce()
        assert head(hive)["head_block_number"] == number + 1


def test_one_that_is_behind_learns_of_a_transaction_later() -> None:
    with serving("behind:2") as hive:
        hive.call("condenser_api.broadcast_transaction", [signed(hive.world)])
        txid = hive.produce().transactions[0].txid.hex()
        statuses = []
        for _ in range(4):
            answer = hive.call("transaction_status_api.find_transaction", {"transaction_id": txid})
            statuses.append(answer["status"])
            hive.produce()
        assert statuses == ["unknown", "unknown", "within_reversible_block", "within_irreversible_block"]
        assert hive.call("condenser_api.get_transaction", [txid])["transaction_id"] == txid


def test_one_that_is_behind_a_young_chain_is_at_its_beginning() -> None:
    with serving("behind:100") as hive:
        told = head(hive)
        assert (told["head_block_number"], told["last_irreversible_block_num"]) == (0, 0)
        assert hive.call(*RANGE) == {"blocks": []}


def test_one_with_errors_answers_in_between() -> None:
    with serving("errors:3") as hive:
        found = []
        for _ in range(6):
            try:
                found.append(bool(head(hive)))
            except urllib.error.HTTPError as error:
                found.append(error.code == 503 and "503")
        assert found == [True, True, "503", True, True, "503"]


def test_one_that_swallows_accepts_and_forgets() -> None:
    with serving("swallows") as hive:
        tx = signed(hive.world)
        for _ in range(2):
            assert hive.call("condenser_api.broadcast_transaction", [tx]) == {}
        assert hive.world.chain.pool == []
        assert hive.error("condenser_api.broadcast_transaction", [{}])["code"] == -32000, "what is none it refuses"


def test_every_manner_ends_at_once() -> None:
    for name in MANNERS:
        with serving(name):
            pass


def test_addresses_of_one_chain_have_their_own_manners() -> None:
    world = World()
    with served(world, manner=manner("behind:1")) as late:
        body = json.dumps({"jsonrpc": "2.0", "method": RANGE[0], "params": RANGE[1], "id": 1}).encode()
        assert len(late.post(body)["result"]["blocks"]) == world.chain.head_number - 1
        assert len(late.also(HONEST).post(body)["result"]["blocks"]) == world.chain.head_number
