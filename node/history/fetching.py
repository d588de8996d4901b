"""Blocks fetched into an archive by somebody who runs no node: as a node's feed does it, and nothing else."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import aiohttp
import msgspec

from node.config import ApiConfig
from node.core import Log
from node.errors import ApiError, FeedError, NodeError, NotLinkedError
from node.feed.ahead import PARALLEL, Ahead, read_inline
from node.feed.archive import Archive
from node.feed.compact import compact
from node.feed.feed import Feed
from node.feed.http import Http
from node.feed.proving import Prover
from node.feed.rpc import Api
from node.feed.second import Second
from node.feed.segment import starts_of
from node.feed.servers import Servers
from node.feed.source import ReadBlock, fetch_blocks, read_proven
from node.history.source import UNREADABLE
from node.history.workers import cores
from node.retry import retry, unless_stopped
from processors.hive.block import read_block
from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError

_LONGEST_PAUSE = 60.0  # seconds
_FIRST_TRIES = 4  # before there is a first answer
_BUFFER = 64 << 20  # bytes fetched ahead
_CLIENT = "waggle-archive"  # how it calls itself at a server


class Plan(msgspec.Struct, frozen=True):
    """The blocks to fetch; none if ``last`` is before ``first``."""

    first: int
    last: int

    @property
    def count(self) -> int:
        """How many there are."""
        return max(0, self.last - self.first + 1)


class Fetched(msgspec.Struct, frozen=True):
    """What the archive holds now, and how many blocks are ``new``. ``confirmed``: two operators have its last block.

    ``merged`` files were written anew with fuller frames.
    """

    first: int | None
    last: int | None
    new: int
    confirmed: bool
    merged: int
    stopped: bool


class Fetcher:
    """Fills one archive from a feed. ``tries`` failures one after the other, with growing pauses, end it."""

    def __init__(
        self, archive: Archive, feed: Feed, second: Second, chain: Chain, log: Log, *, tries: int = 10
    ) -> None:
        self._archive = archive
        self._feed = feed
        self._second = second
        self._chain = chain
        self._log = log
        self._tries = tries
        self._operators = len({server.operator for server in feed.servers})
        self._new = 0
        #: Told how many of the planned blocks are there.
        self.advance: Callable[[int], None] = lambda done: None

    async def plan(self, first: int | None, last: int | None, stop: asyncio.Event) -> Plan | None:
        """What is to be fetched; None if it was stopped. Raises NodeError for what cannot be: it says what can."""
        begin = first_to_fetch(self._archive, first)
        held = self._archive.last
        if last is not None and held is not None and last <= held:
            return Plan(begin, held)
        tries = min(self._tries, _FIRST_TRIES)
        try:
            newest = await retry("API servers", self._newest, tries=tries, log=self._log, stop=stop)
        except ApiError as error:
            raise _given_up(error, tries) from error
        if newest is None:
            return None
        if last is not None and last > newest:
            raise NodeError(f"--to {last}: the newest irreversible block is {newest}: leave --to out, or wait")
        if first is not None and first > newest:
            raise NodeError(f"--from {first}: the newest irreversible block is {newest}: name an earlier one")
        return Plan(begin, newest if last is None else last)

    async def fetch(self, plan: Plan, stop: asyncio.Event) -> Fetched:
        """Fetch what is planned, until ``stop``. What came is kept, however it ends. Raises NodeError."""
        failures = 0
        while not stop.is_set() and (self._archive.last or 0) < plan.last:
            before = self._archive.last
            try:
                await unless_stopped(self._run(plan), stop)
            except ApiError as error:
                failures = failures + 1 if self._archive.last == before else 1
                if failures >= self._tries or all(map(self._feed.servers.is_banned, self._feed.servers)):
                    raise _given_up(error, failures) from error
                await self._pause(failures, error, stop)
            except NotLinkedError as error:
                raise NodeError(f"{error}: {_other_chain(self._archive)}") from error
        confirmed = await unless_stopped(self._confirmed(), stop) if not stop.is_set() and plan.count else None
        self._archive.flush()
        merged = 0 if stop.is_set() else await asyncio.to_thread(compact, self._archive.folder)
        span = self._archive.first, self._archive.last
        return Fetched(*span, self._new, bool(confirmed), merged, stop.is_set())

    async def _newest(self) -> int:
        """The newest block that two operators call irreversible, or the only one. Raises ApiError."""
        if self._operators > 1:
            found = await self._second.called_irreversible()
            if found is not None:
                return found
            raise ApiError("two operators must say which block is irreversible: fewer answer now")
        return (await self._feed.view(-1, 0.0))[1].irreversible_number

    async def _run(self, plan: Plan) -> None:
        """Fetch up to the next segment that is there already. Raises ApiError, FeedError."""
        if self._archive.last is None and self._operators > 1:
            await self._begin(plan.first)
        end = end_of(self._archive, self._chain)
        number, previous = (end[0] + 1, end[1]) if end is not None else (plan.first, None)
        behind = [start - 1 for start in starts_of(self._archive.folder) if start > number]
        last = min([plan.last, *behind])
        blocks = self._feed.blocks(number, last, previous, self._feed.servers.best())
        async with aclosing(blocks):
            async for given in blocks:
                self._archive.append(given.text)
                self._new += 1
                self.advance(given.block.number - plan.first + 1)
                await asyncio.sleep(0)  # so that servers, and the process that proves, are kept busy meanwhile

    async def _begin(self, number: int) -> None:
        """The first block, which follows none that is known: as two operators give it. Raises ApiError, FeedError."""
        alike = await self._second.first_block(number)
        for server in self._feed.servers.usable():
            blocks = fetch_blocks(server.api, self._chain, number, number, alike.header.previous, quick=True)
            try:
                async with aclosing(blocks):
                    async for given in blocks:
                        if given.block.id == alike.id:
                            self._archive.append(given.text)
                            self._new += 1
                            return
            except (ApiError, FeedError) as error:
                self._log("api_error", {"server": server.api.url, "error": str(error)})
        raise ApiError(f"nobody gives block {number} now")

    async def _confirmed(self) -> bool:
        """Whether two operators have the archive's last block, and so all before it.

        Raises NodeError if they have another one.
        """
        end = end_of(self._archive, self._chain)
        if end is None or self._operators < 2:
            return False
        found = await self._second.id_of(end[0], lambda number: end[1] if number == end[0] else None)
        if found is None:
            return False
        votes, identity = found
        if identity != end[1]:
            raise NodeError(
                f"most operators have another block {end[0]} ({identity.hex()}) than was fetched ({end[1].hex()}): "
                f"{_other_chain(self._archive)}"
            )
        return votes > 1

    async def _pause(self, failures: int, error: ApiError, stop: asyncio.Event) -> None:
        pause = min(_LONGEST_PAUSE, 2.0 ** (failures - 1))
        told = {"what": "blocks", "try": failures, "of": self._tries, "again_in": pause, "error": str(error)}
        self._log("start_try", told)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)


@asynccontextmanager
async def sources(
    apis: Sequence[ApiConfig], chain: Chain, log: Log, *, buffer: int = _BUFFER, prove_ahead: bool = True
) -> AsyncGenerator[tuple[Feed, Second], None]:
    """The servers as one feed, which fetches ahead up to ``buffer`` bytes and proves on all cores."""
    provers = [Prover(chain) for _ in range(min(PARALLEL, cores()))] if prove_ahead else []
    turns = itertools.cycle(prover.reader for prover in provers) if provers else itertools.repeat(read_inline)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        wires = [Api(api.url, api.operator, Http(session), _CLIENT) for api in apis]
        feed = Feed(
            Servers(wires, clock=time.monotonic), chain, log, time.monotonic, read_proven, lambda name, raw: None
        )

        async def reader(texts: list[bytes]) -> ReadBlock:
            return await next(turns)(texts)

        feed.ahead = lambda first, last: Ahead(feed, first, last, buffer=buffer, reader=reader).ranges()
        try:
            yield feed, Second(feed, chain, log, read_proven)
        finally:
            for prover in provers:
                await prover.close()


def first_to_fetch(archive: Archive, first: int | None) -> int:
    """Where to go on, if ``first`` was asked for. Raises NodeError where the archive would get a gap."""
    held, last, folder = archive.first, archive.last, archive.folder
    if held is None or last is None:
        if first is None:
            raise NodeError(f"{folder} is empty: say with --from which block it is to begin with")
        return first
    if first is not None and first > last + 1:
        raise NodeError(
            f"{folder} ends with block {last}: --from {first} would leave a gap. Leave --from out to fetch what is "
            f"between too, or name another folder"
        )
    if first is not None and first < held:
        raise NodeError(
            f"{folder} begins with block {held}, and blocks are added at its end only: name another folder for those "
            f"from {first} on, or leave --from out"
        )
    return last + 1


def end_of(archive: Archive, chain: Chain) -> tuple[int, bytes] | None:
    """The number and id of an archive's newest block. Raises NodeError."""
    last = archive.last
    if last is None:
        return None
    [text] = archive.read(last, last)
    try:
        return last, read_block(text, chain).id
    except (HiveDataError, *UNREADABLE) as error:
        raise FeedError(f"{archive.folder}: block {last} is none ({error}): delete its newest file") from error


def _given_up(error: ApiError, tries: int) -> ApiError:
    words = "see whether these servers can be reached, or name others; what came is kept, go on with the same command"
    return ApiError(f"{error}; gave up after {tries} tries: {words}")


def _other_chain(archive: Archive) -> str:
    return (
        f"the end of {archive.folder} is on a fork that died, or of another chain: `waggle archive verify` it, delete "
        f"its newest file, and fetch again from other servers"
    )
