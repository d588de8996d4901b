"""What a running node asks now and then, beside the state machine: its group's account, and its peers."""

import asyncio
import contextlib
from collections.abc import Sequence

import aiohttp

from node.account_facts import resource_credits, sealing
from node.agent import is_groups_own
from node.core import Log, NodeCore
from node.errors import ApiError, NodeError
from node.facts import Facts
from node.feed.feed import Feed
from node.feed.source import chain_view
from node.sync.differ import compare
from node.sync.peer import Peer
from node.sync.sides import StateSide
from state.errors import StateError
from state.schema import NODE

#: Seconds between two looks at the group's account.
LOOK_EVERY = 600.0
_FIRST_LOOK = 5.0
#: Peers that are asked for the first difference.
_MOST_PEERS = 5


class GroupAccount:
    """Whether the account is sealed (protocol section 12), and what is left of its resource credits."""

    def __init__(self, core: NodeCore, feed: Feed, log: Log) -> None:
        self._core = core
        self._feed = feed
        self._log = log
        self._sealed: bool | None = None
        self._sealed_at = 0
        self._credits: int | None = None

    def add_to(self, facts: Facts) -> Facts:
        """The facts with what was found."""
        return facts.with_group(self._sealed, self._sealed_at, self._credits)

    async def watch(self, stop: asyncio.Event) -> None:
        """Look, until ``stop``; a server that does not answer costs one look."""
        pause = _FIRST_LOOK
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            if not stop.is_set() and self._core.state.height >= 0:
                await self._look()
            pause = LOOK_EVERY

    async def _look(self) -> None:
        group = self._core.genesis.group
        try:
            server = self._feed.servers.best()
            now = (await self._feed.ask(server, chain_view(server.api))).head_time  # the chain's, as everything here
            question = server.api.call("database_api.find_accounts", {"accounts": [group]})
            accounts = (await self._feed.ask(server, question))["accounts"]
            found = sealing(accounts[0], now, groups_own=is_groups_own(self._core.state))
            self._sealed, self._sealed_at = found.sealed, found.sealed_at
            credits = await server.api.call("rc_api.find_rc_accounts", {"accounts": [group]})
            self._credits = resource_credits(credits["rc_accounts"][0], now)
        except ApiError as error:
            self._log("api_error", {"error": str(error)})
        except (KeyError, IndexError, TypeError, AttributeError):
            self._credits = None  # a server that says nothing of it


async def name_difference(core: NodeCore, session: aiohttp.ClientSession, urls: Sequence[str]) -> dict[str, object]:
    """The first difference between this node and the first peer that can tell one, as fields of a log."""
    domains = [member.domain for (name,), member in core.state.walk(NODE) if name != core.me.account and member.domain]
    failures = []
    side = StateSide(core.state)
    for url in list(dict.fromkeys([*urls, *domains]))[:_MOST_PEERS]:
        try:
            found = await compare(side, Peer(url, session), core.genesis, find_keys=side.find_keys)
        except (NodeError, StateError) as error:
            failures.append(str(error))
            continue
        if found.kind != "equal":
            about = {"peer": url, "kind": found.kind, "height": found.height, "table": found.table, "key": found.key}
            return {**about, "words": found.words}
    return {"peer": "", "kind": "unknown", "words": "; ".join(failures) or "no peer differs, or none is known"}
