"""The feed: irreversible blocks, in order, proven, from whichever server gives them; who lies is left.

Protocol section 1: each block's id is the hash of its header, its ``previous`` is our block's id, its Merkle root is
that of its transactions. Where an operation cannot be serialised, two servers of different operators must give it
alike.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from hashlib import sha256
from typing import TypeVar

import msgspec

from node.core import ChainView, Log
from node.errors import ApiError, LieError, NobodyError, NotLinkedError, UnprovableError
from node.feed.servers import Server, Servers
from node.feed.source import (
    MAX_BATCH,
    RANGE_TIMEOUT,
    Given,
    Range,
    ReadBlock,
    chain_view,
    check_place,
    fetch_texts,
    read_next,
)
from processors.hive.block import Block, read_block
from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError

#: Seconds without a new block after which the other servers are asked for one too.
ASK_OTHERS = 6.0
#: More blocks than this are fetched ahead.
MANY = 200
_GIVERS = 2_400
#: So few blocks come within the usual time of an answer.
FEW = 20
_EXCERPT = 200  # bytes of evidence in the log

T = TypeVar("T")
#: Judges a block's witness; raises LieError.
CheckWitness = Callable[[Server, Given], Awaitable[None]]
#: Keeps evidence of a lie: a name, what was given.
Keep = Callable[[str, bytes], None]


async def _believe(server: Server, given: Given) -> None:
    """No witness is checked."""


class Feed:
    """All servers as one source. ``clock`` in seconds; ``read`` proves a block."""

    def __init__(
        self, servers: Servers, chain: Chain, log: Log, clock: Callable[[], float], read: ReadBlock, keep: Keep
    ) -> None:
        self.servers = servers
        self.check_witness: CheckWitness = _believe
        #: Who gave the newest blocks: number -> operator.
        self.givers: dict[int, str] = {}
        #: Who gave the block that was handed on last.
        self.giver: Server | None = None
        #: Fetches many blocks ahead; None: they are asked for one range after the other.
        self.ahead: Callable[[int, int], AsyncGenerator[Range, None]] | None = None
        self._chain = chain
        self._log = log
        self._clock = clock
        self._read = read
        self._keep = keep

    async def ask(self, server: Server, question: Awaitable[T]) -> T:
        """An answer of one server, which is noted to its credit or debit. Raises ApiError."""
        begun = self._clock()
        server.busy += 1
        try:
            found = await question
        except ApiError as error:
            self.failed(server, error)
            raise
        finally:
            server.busy -= 1
        self.servers.ok(server, self._clock() - begun)
        return found

    def failed(self, server: Server, error: ApiError) -> None:
        """A server did not answer, or not as it should."""
        self.servers.failed(server, str(error))
        self._log("api_error", {"server": server.api.url, "error": str(error), "try": server.failures})

    async def view(self, height: int, still_for: float) -> tuple[Server, ChainView]:
        """(who says so, the chain now): of the best server, or of the first with something new after ``height`` once
        nothing came for a while (``still_for``, seconds). Raises ApiError if nobody answers."""
        first: tuple[Server, ChainView] | None = None
        self.servers.best()
        for server in self.servers.usable():
            try:
                view = await self.ask(server, chain_view(server.api))
            except ApiError:
                continue
            server.irreversible = view.irreversible_number
            if view.irreversible_number > height:
                return server, view
            first = first or (server, view)
            if still_for < ASK_OTHERS:
                break
        if first is None:
            raise NobodyError("no server answers: the next try comes by itself")
        return first

    async def blocks(
        self, first: int, last: int, previous: bytes | None, server: Server
    ) -> AsyncGenerator[Given, None]:
        """Blocks ``first`` to ``last``, from ``server`` as long as it gives them; many, from several at once.

        Raises ApiError when nobody gives the next one now, NotLinkedError when what two operators give does not follow
        ``previous``.
        """
        number = first
        strangers: set[str] = set()
        while number <= last:
            try:
                async with aclosing(self._texts(server, number, last)) as texts:
                    async for giver, read, text in texts:
                        server = giver
                        given = Given(read_next(server.api.url, read, self._chain, text, number, previous), text)
                        await self.check_witness(server, given)
                        self._note_giver(number, server)
                        yield given
                        number, previous = number + 1, given.block.id
                        strangers.clear()
                return
            except NobodyError:
                raise
            except ApiError as error:
                self.failed(server, error)
            except LieError as lie:
                await self._refuse(server, lie)
            except NotLinkedError as error:
                strangers.add(server.operator)
                self.failed(server, ApiError(str(error)))
                if len(strangers) > 1:
                    raise
            except UnprovableError as error:
                giver, given = await self._given_twice(server, error, number, previous)
                self._note_giver(number, giver)
                yield given
                number, previous = number + 1, given.block.id
            server = self.servers.best()

    def _note_giver(self, number: int, server: Server) -> None:
        self.giver = server
        self.givers[number] = server.operator
        self.givers.pop(number - _GIVERS, None)

    async def _texts(
        self, server: Server, first: int, last: int
    ) -> AsyncGenerator[tuple[Server, ReadBlock, bytes], None]:
        """Blocks as they are given, with who gave them: few from ``server``, many fetched ahead."""
        if self.ahead is not None and last - first >= MANY:
            async with aclosing(self.ahead(first, last)) as ranges:
                async for found in ranges:
                    for text in found.texts:
                        yield found.server, found.read, text
            return
        while first <= last:
            count = min(MAX_BATCH, last - first + 1)
            begun = self._clock()
            texts = await fetch_texts(server.api, first, count, RANGE_TIMEOUT if count > FEW else None)
            self.servers.ok(server, self._clock() - begun)
            first += len(texts)
            for text in texts:
                yield server, self._read, text

    def lied(self, server: Server, lie: LieError) -> None:
        """Ban a server; what it gave is kept."""
        seconds = self.servers.ban(server, str(lie))
        name = f"lie-{lie.number}-{server.operator}"
        self._keep(name, lie.evidence)
        excerpt = lie.evidence[:_EXCERPT].decode("utf-8", "replace")
        evidence = {"sha256": sha256(lie.evidence).hexdigest(), "begins": excerpt}
        self._log(
            "server_banned",
            {
                "server": server.api.url,
                "operator": server.operator,
                "why": str(lie),
                "seconds": int(seconds),
                "kept_as": name,
                "evidence": evidence,
            },
        )

    async def _refuse(self, server: Server, lie: LieError) -> None:
        """Ban a server for a block, unless those of other operators all give the very same.

        Then it is not one server's lie: since a hardfork this version may read or serialise something otherwise than
        Hive does. It is not taken either. Raises NobodyError: the node waits.
        """
        alike = {server.operator}
        for other in self.servers.usable():
            if other.operator in alike:
                continue
            try:
                [text] = await self.ask(other, fetch_texts(other.api, lie.number, 1))
            except ApiError:
                continue
            if not _is_same_text(text, lie.evidence):
                return self.lied(server, lie)
            alike.add(other.operator)
        if len(alike) < 2:
            return self.lied(server, lie)
        words = f"{lie}; {', '.join(sorted(alike))} all give this block. A newer version may be needed"
        self._log("block_refused", {"height": lie.number, "operators": sorted(alike), "why": words})
        self._keep(f"refused-{lie.number}", lie.evidence)
        raise NobodyError(words)

    async def _given_twice(
        self, first: Server, error: UnprovableError, number: int, previous: bytes | None
    ) -> tuple[Server, Given]:
        """(who gave it, a block that ``first`` gave with something that we cannot serialise), as two servers of
        different operators give it alike. A server with a block in its place that can be proven ends the question.

        Raises FeedError if they differ, ApiError while only one of several operators answers.
        """
        found: dict[str, Given] = {}
        for server in self.servers.usable():
            if server.operator in found:
                continue
            try:
                [text] = await self.ask(server, fetch_texts(server.api, number, 1))
                given, is_proven = self._read_if_provable(server, text, number, previous)
                await self.check_witness(server, given)
            except LieError as lie:
                self.lied(server, lie)
                continue
            except (ApiError, NotLinkedError) as wrong:
                self._log("api_error", {"server": server.api.url, "error": str(wrong)})
                continue
            if is_proven:
                self.failed(first, ApiError(f"{error}; {server.api.url} gives one in its place that can be proven"))
                return server, given
            found[server.operator] = given
            alike = [one for one in found.values() if _same(one.block, given.block)]
            if len(alike) > 1:
                self._log("unproven_block", {"height": number, "operators": sorted(found), "why": str(error)})
                return server, given
        if len(found) < 2 and len({server.operator for server in self.servers}) > 1:
            raise NobodyError(f"{error}; a second operator that gives it alike does not answer now")
        raise NobodyError(f"{error}; and no two servers of different operators give it alike")

    def _read_if_provable(self, server: Server, text: bytes, number: int, previous: bytes | None) -> tuple[Given, bool]:
        """A block, and whether it was proven; where it cannot be, only its place is checked."""
        try:
            return Given(read_next(server.api.url, self._read, self._chain, text, number, previous), text), True
        except UnprovableError as error:
            try:
                block = read_block(text, self._chain)
            except HiveDataError as unknown:  # a header of a later hardfork: its id cannot even be computed
                raise ApiError(f"{error} ({unknown})") from unknown
            check_place(server.api.url, block, number, previous)
            return Given(block, text), False


def _same(one: Block, other: Block) -> bool:
    """Whether two blocks hold the same header and transactions, however they are written."""
    return one.id == other.id and one.transactions == other.transactions


def _is_same_text(one: bytes, other: bytes) -> bool:
    """Whether two texts say the same, however they are written."""
    try:
        return bool(msgspec.json.decode(one) == msgspec.json.decode(other))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return one == other
