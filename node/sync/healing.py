"""Divergence (protocol section 5, end): the group agreed on another root than ours.

The node has stopped signing by then. It keeps the evidence, lets its peers name the first difference, fetches the
blocks since the last equal root from servers of other operators, goes back and replays. If the roots are equal then, it
goes on; if not, it stays halted and readable: a majority is no reason to forget what one has proven.
"""

from collections.abc import Awaitable, Callable
from contextlib import aclosing

import msgspec

from node.agent import last_equal
from node.core import Log, NodeCore
from node.errors import ApiError, FeedError, LieError
from node.feed.feed import Feed, Keep
from node.feed.second import Second
from node.feed.servers import Server
from node.feed.source import Given, ReadBlock, fetch_blocks

#: Names the first difference with a peer, in fields for the log.
NameDifference = Callable[[], Awaitable[dict[str, object]]]
_RESTORE = "ask in the group what changed; replay from the genesis, or restore a snapshot with a root you trust"


class Healing:
    """One attempt for each round in which the group agreed on another root. ``read`` proves a block."""

    def __init__(self, core: NodeCore, feed: Feed, second: Second, log: Log, read: ReadBlock, keep: Keep) -> None:
        self.name_difference: NameDifference | None = None
        self._core = core
        self._feed = feed
        self._second = second
        self._log = log
        self._read = read
        self._keep = keep
        self._tried: int | None = None
        self._failed_at = -1  # the height at which the servers failed

    async def attempt(self) -> int | None:
        """Heal if the state differs and this was not tried yet; the height that the state was taken back to, if it was.

        Raises what stops a node: EngineError, StateError.
        """
        halted, state = self._core.halted_at, self._core.state
        if halted is None or halted == self._tried or state.height == self._failed_at:
            return None
        equal = last_equal(state, halted)
        if self._failed_at < 0:
            self._keep_evidence(halted, equal)
            if self.name_difference is not None:
                self._log("difference", await self.name_difference())
        self._tried, self._failed_at = halted, -1
        if equal is None or equal < state.oldest_rewind:
            self._log("still_diverged", {"round": halted, "why": "no equal root is within reach", "remedy": _RESTORE})
            return None
        try:
            blocks = await self._fetch(equal + 1, state.height, self._core.block_id(equal) or b"")
            await self._must_be_shared(blocks[-1])
        except (ApiError, FeedError) as error:
            self._tried, self._failed_at = None, state.height  # the servers' fault: the next block is another chance
            self._log("api_error", {"error": f"the blocks since {equal} could not be fetched anew: {error}"})
            return None
        self._replay(halted, equal, blocks)
        return equal

    async def _must_be_shared(self, newest: Given) -> None:
        """Other blocks than ours are taken on the word of two operators, not of one. Raises ApiError."""
        number, block_id = newest.block.number, newest.block.id
        if block_id == self._core.block_id(number):
            return
        alike = await self._second.id_of(number, lambda _: block_id)
        if alike is None or alike[0] < 2 or alike[1] != block_id:
            raise ApiError(f"another block {number} than ours is given, which no two operators have alike")

    def _replay(self, halted: int, equal: int, blocks: list[Given]) -> None:
        """Go back, and apply what other servers gave; nothing is awaited in between."""
        core = self._core
        changed = [given.block.number for given in blocks if given.block.id != core.block_id(given.block.number)]
        core.rewind(equal)
        for given in blocks:
            core.apply(given.block, flush=False)
        core.state.flush()
        about: dict[str, object] = {"round": halted, "from": equal, "to": core.state.height}
        if changed:
            about["other_blocks_from"] = changed[0]
        if core.halted_at is None:
            self._log("healed", about)
        else:
            self._tried = core.halted_at
            why = "every block is proven and the root still differs"
            self._log("still_diverged", {**about, "why": why, "remedy": _RESTORE})

    async def _fetch(self, first: int, last: int, previous: bytes) -> list[Given]:
        """The blocks from one server whose operator gave none of those that we applied. Raises ApiError, FeedError."""
        givers = {self._feed.givers.get(number, "") for number in range(first, last + 1)}
        others = [server for server in self._feed.servers.usable() if server.operator not in givers]
        failure: Exception = ApiError("there is no server of another operator: add one to [[api]]")
        for server in others or self._feed.servers.usable():
            try:
                return await self._all(server, first, last, previous)
            except LieError as lie:
                self._feed.lied(server, lie)
                failure = lie
            except (ApiError, FeedError) as error:
                failure = error
        raise failure

    async def _all(self, server: Server, first: int, last: int, previous: bytes) -> list[Given]:
        found = []
        blocks = fetch_blocks(server.api, self._core.genesis.chain, first, last, previous, self._read)
        async with aclosing(blocks):
            async for given in blocks:
                found.append(given)
        return found

    def _keep_evidence(self, halted: int, equal: int | None) -> None:
        """What this node has: its roots, traces and block ids since the last equal root, for whoever looks into it."""
        state = self._core.state
        first = max(state.oldest_rewind, equal if equal is not None else halted)
        found = []
        for height in range(first, state.height + 1):
            trace, block_id, root = state.trace(height), self._core.block_id(height), state.root(height)
            found.append([height, *(raw.hex() if raw is not None else None for raw in (block_id, trace, root))])
        about = {"round": halted, "last_equal": equal, "account": self._core.me.account}
        columns = ["height", "block_id", "trace", "root"]
        self._keep(f"diverged-{halted}", msgspec.json.encode({**about, "columns": columns, "blocks": found}))
