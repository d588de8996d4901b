"""A remote signer for tests: the very service on a Unix socket, in a thread, and a node that streams to it."""

import asyncio
import contextlib
import json
import threading

from node.assembly import open_state
from node.core import NodeCore
from node.outbox import Outbox
from node.signer.approvals import Approvals
from node.signer.journal import Journal
from node.signer.peers import NOBODY_ELSE
from node.signer.policy import Policy
from node.signer.remote import RemoteSigner, connect_unix
from node.signer.replica import Replica
from node.signer.service import Service, listen, run_service
from node.signer.signer import Signer
from state.store import MemoryStore


def new_replica(genesis, member, folder, *, policy=None, trust=None, store=None, log=lambda *said: None, keys=()):
    """A signer's state, keys and journal in a folder."""
    journal = Journal(folder / "journal", genesis.hash)
    approvals = Approvals(folder / "approvals")
    signer = Signer([member.signing_key, *keys], journal, policy or Policy(), genesis, approvals)
    state = open_state(genesis, store or MemoryStore())
    return Replica(genesis, state, signer, journal, member.account, folder, log, trust=trust)


def text_of(group, number):
    """A block as a server gives it."""
    return json.dumps(group.chain.show_block(number, typed=True)).encode()


def texts_of(group, first, last):
    return [text_of(group, number) for number in range(first, last + 1)]


@contextlib.contextmanager
def serving(replica, path, log=lambda *said: None, address=None, context=None, who=NOBODY_ELSE):
    """The service in a thread; yields it."""
    ready, found = threading.Event(), {}

    async def main():
        found["loop"], found["stop"] = asyncio.get_running_loop(), asyncio.Event()
        found["service"] = Service(replica, log, who)
        server = await listen(found["service"], address or f"unix:{path}", context)
        found["port"] = server.sockets[0].getsockname()[1] if address else 0
        ready.set()
        await run_service(found["service"], server, found["stop"])

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(10)
    try:
        yield found
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(10)
        assert not thread.is_alive()


class Streaming:
    """A RemoteSigner that catches up from the group's chain whenever the node looks, as the daemon does."""

    def __init__(self, remote, group):
        self.remote, self.group, self.node = remote, group, None

    def __getattr__(self, name):
        return getattr(self.remote, name)

    def look(self, state):
        self.remote.catch_up(state, self.node.block_id, lambda first, last: iter(texts_of(self.group, first, last)))
        return self.remote.look(state)


def join_remotely(group, member, path, store=None):
    """A member's node without a signing key; the signer listens at ``path``."""
    streaming = Streaming(RemoteSigner(connect_unix(str(path)), group.genesis, member.account), group)
    state = open_state(group.genesis, store or MemoryStore())

    def log(event, fields):
        group.events.append((group.chain.head_number, member.account, event, fields))

    outbox = Outbox(None)
    node = NodeCore(group.genesis, state, member.account, member.account_key, streaming, outbox, "0.1.0", log)
    streaming.node = node
    group.nodes[member.account] = node
    return streaming
