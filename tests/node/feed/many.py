"""Several servers of one chain without wires, each with its own faults, and a clock that the test moves."""

import asyncio
import copy
from contextlib import aclosing

from msgspec.structs import replace

from node.devnet.founding import CHAIN, devnet_key, member_keys, new_chain
from node.errors import ApiError, FeedError
from node.feed.feed import Feed
from node.feed.servers import Servers
from node.feed.source import read_proven
from processors.hive.block import reference_prefix
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction, pack_transaction, signing_digest
from processors.hive.types import Asset
from tests.node.test_servers import FakeApi

RANGE, VIEW = "block_api.get_block_range", "database_api.get_dynamic_global_properties"


class Clock:
    """Seconds that pass only when the test says so."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def paying(chain, number):
    """A transfer between strangers into the pool, so that the next block holds something."""
    value = {"from": "stranger", "to": "receiver", "amount": Asset(1 + number, 0), "memo": f"{number}"}
    head = chain.head_number
    tx = Transaction(
        head & 0xFFFF, reference_prefix(chain.head_id), chain.head_time + 300, (Operation("transfer", value),)
    )
    digest = signing_digest(pack_transaction(tx, CHAIN), CHAIN)
    chain.submit(replace(tx, signatures=(devnet_key("stranger").sign(digest),)))


def chain_of(blocks, *, shift=0, pay=True):
    """A chain of so many blocks, each with a transfer; with ``shift`` seconds its first block is another one."""
    chain = new_chain([member_keys(1)], member_keys(1))
    for number in range(blocks):
        if pay and number > 0:
            paying(chain, number)
        chain.produce(chain.head_time + 3 + (shift if number == 0 else 0))
    return chain


def ranges_of(chain, change=lambda number, block: block, most=1_000, asked=None):
    """An answer to get_block_range; ``change`` gives another block, None for none; at most ``most`` at a time."""

    def answer(params):
        first, count = params["starting_block_num"], min(params["count"], most)
        if asked is not None:
            asked.append((first, params["count"]))
        shown = [chain.show_block(number, typed=True) for number in range(first, first + count)]
        found = [change(first + index, copy.deepcopy(block)) for index, block in enumerate(shown) if block]
        return {"blocks": [block for block in found if block is not None]}

    return answer


def lacking(numbers):
    """A change that leaves the transactions out of some blocks: a lie that the Merkle root shows."""

    def change(number, block):
        if number in numbers:
            block["transactions"], block["transaction_ids"] = [], []
        return block

    return change


def strange(numbers, name="colonize_mars_operation"):
    """A change that puts an operation that we do not know into some blocks."""

    def change(number, block):
        if number in numbers:
            block["transactions"][0]["operations"][0] = {"type": name, "value": {"ship": "x"}}
        return block

    return change


class Many:
    """A feed over servers named ``operators`` (one may stand there twice), all honest at first."""

    def __init__(self, chain, *operators):
        self.chain = chain
        self.clock = Clock()
        self.apis = [FakeApi(operator, chain) for operator in operators]
        for index, api in enumerate(self.apis):
            api.url = f"http://{api.operator}{index}"
        self.events, self.kept = [], {}
        log = lambda event, fields: self.events.append((event, fields))  # noqa: E731
        self.servers = Servers(self.apis, clock=self.clock, jitter=lambda: 0.5)
        self.feed = Feed(self.servers, CHAIN, log, self.clock, read_proven, self.kept.__setitem__)

    def told(self, event):
        return [fields for name, fields in self.events if name == event]

    def server(self, index):
        return list(self.servers)[index]

    def standing(self):
        return [facts.standing for facts in self.servers.facts()]

    def id_of(self, number):
        return self.chain.block(number).id

    async def fetched(self, first, last, index=0, previous=None):
        found = []
        blocks = self.feed.blocks(first, last, previous or self.id_of(first - 1), self.server(index))
        try:
            async with aclosing(blocks):
                async for given in blocks:
                    found.append(given.block)
        except (ApiError, FeedError) as error:
            return found, error
        return found, None

    def fetch(self, first, last, index=0, previous=None):
        """(blocks handed on, how it ended)."""
        return asyncio.run(self.fetched(first, last, index, previous))

    def is_true(self, blocks, first, last):
        """Whether these are the chain's blocks, each once and in order."""
        return [block.id for block in blocks] == [self.id_of(number) for number in range(first, last + 1)]
