"""What no single operator is believed about: the first block, what is irreversible, that a transaction is unknown."""

from collections.abc import Callable

from node.core import Log
from node.errors import ApiError, FeedError, LieError, NotLinkedError
from node.feed.feed import Feed
from node.feed.servers import Server
from node.feed.source import ReadBlock, block_time, chain_view, fetch_blocks, transaction_status
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
        self._asked: dict[bytes, tuple[int, int]] = {}  # (height, time) of this state when it arose
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

    async def ask_about(self, questions: dict[bytes, int], height: int, now: int) -> None:
        """Ask servers of different operators whether earlier attempts were included after all.

        ``questions``: the id of each, and a height before which it cannot have been built. ``height`` and ``now`` are
        those of this state: an attempt has expired when its question arises.
        """
        self._denials = {txid: self._denials.get(txid, set()) for txid in questions}
        self._asked = {txid: self._asked.get(txid, (height, now)) for txid in questions}
        for server in self._feed.servers.usable():
            one = server.operator
            still = [t for t in sorted(questions) if not self.denied(t) and one not in self._denials[t]]
            if not still:
                continue
            try:
                number = (await self._feed.ask(server, chain_view(server.api))).irreversible_number
                reached = await block_time(server.api, number)
                for txid in still:
                    if await self._denies(server, txid, questions[txid], number, reached):
                        self._denials[txid].add(one)
            except LieError as lie:
                self._feed.lied(server, lie)
            except (ApiError, FeedError) as error:
                self._log("api_error", {"server": server.api.url, "error": str(error)})

    async def _denies(self, server: Server, txid: bytes, built_after: int, number: int, reached: int) -> bool:
        """Whether a server whose irreversible block ``number`` is of time ``reached`` denies an earlier attempt.

        Only once it has come to the time at which the question arose: by then the attempt has expired there too (the
        time of our own feed is not taken). The earliest time at which it can have expired is told, so that a server
        which did not track that far back says so. That one denies by its chain: where its irreversible block is ours,
        so are all before it, and we have read them. Raises ApiError, FeedError, LieError.
        """
        height, now = self._asked[txid]
        if reached < now:
            return False
        status = await transaction_status(server.api, txid, await block_time(server.api, built_after))
        if status != "too_old":
            return status == "expired_irreversible"
        newest = max((ours for ours in self._recent if height <= ours <= number), default=None)
        if newest is None:
            return False
        return (await self._block(server, newest, quick=True)).id == self._recent[newest][0]

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

    async def is_present(self, latest: int) -> bool:
        """Whether two operators say that no block after ``latest`` is irreversible yet: one may show an old head."""
        found: dict[str, int] = {}
        for server in self._feed.servers.usable():
            try:
                number = (await self._feed.ask(server, chain_view(server.api))).irreversible_number
            except ApiError:
                continue  # told and noted where it was asked
            found[server.operator] = max(number, found.get(server.operator, 0))
        return sum(number <= latest for number in found.values()) >= 2

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
