"""A node with three servers, of which the first was on a fork that died; blocks up to PARTING are the same on both."""

import asyncio

from node.core import NodeCore
from node.devnet.founding import found, genesis_document, member_keys, new_chain
from node.devnet.watching import PARAMETERS
from node.outbox import Outbox
from node.runtime import Runtime
from node.signer.journal import Journal
from node.signer.policy import Policy
from node.signer.signer import Signer
from state.state import State
from state.store import MemoryStore
from tests.node.feed.many import VIEW, Clock
from tests.node.test_servers import FakeApi

PARTING = 30
MEMBERS = [member_keys(number) for number in range(1, 6)]


def two_chains(blocks, parting=PARTING):
    """(the true chain, the one that dies): equal up to block ``parting``."""
    chains = new_chain(MEMBERS, MEMBERS[0]), new_chain(MEMBERS, MEMBERS[0])
    for number in range(1, blocks + 1):
        for shift, chain in enumerate(chains):
            chain.produce(chain.head_time + 3 + (shift if number == parting + 1 else 0))
    return chains


class Node:
    """runner01's node on virtual time; ``operators`` name its servers."""

    def __init__(self, folder, chains, operators=("north", "south", "east"), *, trace_keep=2_400):
        self.true, self.dead = chains
        parameters = {**PARAMETERS, "trace_keep": trace_keep}
        self.genesis = found(genesis_document(MEMBERS, start_block=20, parameters=parameters))
        self.clock, self.events, self.kept = Clock(), [], {}
        state = State(MemoryStore(), self.genesis.hash, round_length=20, trace_keep=trace_keep)
        journal = Journal(folder / "journal", self.genesis.hash)
        signer = Signer([MEMBERS[0].signing_key], journal, Policy(), self.genesis)
        log = lambda event, fields: self.events.append((event, fields))  # noqa: E731
        account, key = MEMBERS[0].account, MEMBERS[0].account_key
        self.core = NodeCore(self.genesis, state, account, key, signer, Outbox(None), "0.1.0", log)
        self.apis = [FakeApi(operator, self.true) for operator in operators]
        for index, api in enumerate(self.apis):
            api.url = f"http://{api.operator}{index}"
        self.runtime = Runtime(
            self.core, self.apis, log, clock=self.clock, jitter=lambda: 0.5, keep=self.kept.__setitem__
        )

    def serve(self, index, chain):
        """This server shows another chain from now on."""
        old = self.apis[index]
        fresh = FakeApi(old.operator, chain)
        old.methods = fresh.methods

    def claims(self, index, irreversible):
        """This server calls a block irreversible that need not be."""
        methods = self.apis[index].methods
        view = methods.call(VIEW, {})
        head = max(view["head_block_number"], irreversible)
        self.apis[index].answers[VIEW] = {
            **view,
            "last_irreversible_block_num": irreversible,
            "head_block_number": head,
        }

    def turn(self, times=1, pause=1.0):
        for _ in range(times):
            asyncio.run(self.runtime.attempt(asyncio.Event()))
            self.clock.now += pause

    def told(self, event):
        return [fields for name, fields in self.events if name == event]

    @property
    def height(self):
        return self.core.state.height

    def is_on(self, chain):
        return self.core.state.head.block_id == chain.block(self.height).id
