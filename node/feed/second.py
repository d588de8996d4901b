"""What no single operator is believed about: the first block, what is irreversible, that a transaction is unknown."""

from collections.abc import Callable

from node.core import Log
from node.errors import ApiError, FeedError, LieError, NotLinkedError
from node.feed.feed import Feed
from node.feed.servers import Server
from node.feed.source import ReadBlock, chain_view, fetch_blocks, irreversible_time, is_unknown
from processors.hive.block import Block
from processors.hive.chain import Chain

#: So many blocks are remembered for a second operator to confirm: he may be that far behind.
_RECENT = 128


class Second:
    """Asks servers of different operators the same question."""

    def __init__(self, feed: Feed, chain: Chain, log: Log, read: ReadBlock) -> None:
        self.confirmed = -1  # the height up to which a second operator has our blocks
        self._feed = feed
        self._chain = chain
        self._log = log
        self._read = read
        self._denials: dict[bytes, set[str]] = {}
        self._asked: dict[bytes, int] = {}
        self._recent: dict[int, tuple[bytes, str]] = {}  # height -> (block id, who calls it irreversible)

    def remember(self, number: int, block_id: bytes, operator: str) -> None:
        """A block that was applied because ``operator`` calls it irreversible."""
        self._recent[number] = block_id, operator
        self._recent.pop(number - _RECENT, None)

    def forget_from(self, height: int) -> None:
        """Blocks after ``height`` are not ours any more."""
        self._recent = {number: found for number, found in self._recent.items() if number <= height}
        self.confirmed = min(self.confirmed, height)

    async def blame(self, shared: int, number: int, ours: bytes) -> None:
        """Two operators have another block ``number`` than ``ours``.

        Who called a block after ``shared`` irreversible and still gives ours is banned: it would lead us there again.
        """
        operators = {operator for height, (_, operator) in self._recent.items() if height > shared}
        for server in self._feed.servers:
            if server.operator not in operators or self._feed.servers.is_banned(server):
                continue
            try:
                block = await self._irreversible(server, number)
            except (ApiError, FeedError):
                continue
            if block is not None and block.id == ours:
                words = f"{server.api.url}: block {number} is irreversible there, and two operators have another one"
                self._feed.lied(server, LieError(words, number, ours.hex().encode()))

    async def first_block(self, number: int) -> Block:
        """A block that two servers of different operators give alike. Raises ApiError, FeedError."""
        found: dict[str, Block] = {}
        for server in self._feed.servers.usable():
            if server.operator not in found and len(found) < 2:
                try:
                    found[server.operator] = await self._block(server, number)
                except ApiError as error:
                    self._feed.failed(server, error)
                except LieError as lie:
                    self._feed.lied(server, lie)
        if len({block.id for block in found.values()}) > 1:
            ids = {operator: block.id.hex() for operator, block in found.items()}
            raise FeedError(f"the servers differ about block {number}: {ids}. Find out which one lies before you start")
        if len(found) < 2:
            operators = {server.operator for server in self._feed.servers}
            if len(operators) < 2:
                raise FeedError(f"block {number} must come from two servers of different operators: add one to [[api]]")
            raise ApiError(f"block {number} must come from two servers of different operators: one does not answer")
        return next(iter(found.values()))

    async def confirm(self, height: int, wanted: int) -> None:
        """Ask operators other than the one that called our blocks irreversible up to where they do too.

        One operator may lie about what is irreversible: what is signed on a fork that dies is signed all the same. A
        server that is some blocks behind confirms as far as it is. ``wanted`` = the height that is enough. Raises
        NotLinkedError if two operators call other blocks irreversible than ours.
        """
        strangers: set[str] = set()
        for server in self._feed.servers.usable():
            try:
                view = await self._feed.ask(server, chain_view(server.api))
                server.irreversible = view.irreversible_number
                number = min(view.irreversible_number, height)
                own, operator = self._recent.get(number, (b"", server.operator))
                if operator == server.operator or number <= self.confirmed:
                    continue
                block = await self._block(server, number, quick=True)
            except LieError as lie:
                self._feed.lied(server, lie)
                continue
            except (ApiError, FeedError) as error:
                self._log("api_error", {"server": server.api.url, "error": str(error)})
                continue
            if block.id == own:
                self.confirmed = number
            else:
                found = {"height": number, "own": own.hex(), "theirs": block.id.hex()}
                self._log("servers_differ", {"server": server.api.url, **found})
                strangers.add(server.operator)
            if len(strangers) > 1:
                raise NotLinkedError(f"{', '.join(sorted(strangers))} have other irreversible blocks than ours")
            if self.confirmed >= wanted:
                return

    def denied(self, txid: bytes) -> bool:
        """Whether two servers of different operators deny that a transaction was included."""
        return len(self._denials.get(txid, ())) >= 2

    async def ask_about(self, questions: set[bytes], now: int) -> None:
        """Ask servers of different operators whether earlier attempts were included after all.

        "Unknown" denies only from a server whose own irreversible time has reached the time of this state (``now``)
        when the question arose: by then the earlier attempt has expired there too. Our own feed's time is not taken.
        """
        self._denials = {txid: self._denials.get(txid, set()) for txid in questions}
        self._asked = {txid: self._asked.get(txid, now) for txid in questions}
        for server in self._feed.servers.usable():
            api = server.api
            still = [t for t in sorted(questions) if not self.denied(t) and api.operator not in self._denials[t]]
            if not still:
                continue
            try:
                reached = await self._feed.ask(server, irreversible_time(api))
                for txid in still:
                    if reached >= self._asked[txid] and await is_unknown(api, txid):
                        self._denials[txid].add(api.operator)
            except ApiError as error:
                self._log("api_error", {"server": api.url, "error": str(error)})

    async def id_of(self, number: int, ours: Callable[[int], bytes | None]) -> tuple[int, bytes] | None:
        """(votes, id) of a block that most operators call irreversible; None if fewer than two do.

        What is not irreversible there may be on a fork of its own for a moment, and says nothing. Servers that rest
        are asked too: whose blocks did not follow ours was just sent to rest.
        """
        found: dict[bytes, set[str]] = {}
        for server in self._feed.servers:
            if self._feed.servers.is_banned(server):
                continue
            try:
                block = await self._irreversible(server, number)
            except LieError as lie:
                self._feed.lied(server, lie)
                continue
            except (ApiError, FeedError):
                continue
            if block is not None:
                found.setdefault(block.id, set()).add(server.operator)
        if len(set().union(*found.values())) < 2:
            return None
        best = max(found, key=lambda name: (len(found[name]), name == ours(number), name))
        return len(found[best]), best

    async def called_irreversible(self) -> int | None:
        """The newest block that two operators call irreversible; None if fewer than two say anything."""
        found: dict[str, int] = {}
        for server in self._feed.servers:
            if self._feed.servers.is_banned(server):
                continue
            try:
                number = (await chain_view(server.api)).irreversible_number
            except ApiError:
                continue
            found[server.operator] = max(number, found.get(server.operator, 0))
        return sorted(found.values())[-2] if len(found) > 1 else None

    async def _irreversible(self, server: Server, number: int) -> Block | None:
        """A block that a server calls irreversible; None if it does not yet. Raises ApiError, FeedError."""
        if (await chain_view(server.api)).irreversible_number < number:
            return None
        return await self._block(server, number, quick=True)

    async def _block(self, server: Server, number: int, *, quick: bool = False) -> Block:
        """A proven block of one server. Raises ApiError, FeedError."""
        async for given in fetch_blocks(server.api, self._chain, number, number, None, self._read, quick=quick):
            return given.block
        raise ApiError(f"{server.api.url}: no block {number}")
