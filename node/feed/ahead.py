"""Catching up: ranges of blocks fetched from several servers at once, ahead of the state machine, within a buffer.

Ranges are handed on in order. Their size follows the servers: what comes quickly and is small is asked for in larger
ones. What is in the buffer and on its way never exceeds ``buffer`` bytes by more than one range.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

from node.errors import ApiError, NobodyError
from node.feed.feed import Feed
from node.feed.servers import Server
from node.feed.source import MAX_BATCH, Range, ReadBlock, fetch_texts, read_proven

#: Requests on their way at once.
PARALLEL = 4
#: A range is meant to take about so long, and to be no larger than that.
_QUICK, _SLOW = 0.4, 1.5  # seconds
_LARGE = 4 << 20  # bytes

Reader = Callable[[list[bytes]], Awaitable[ReadBlock]]


async def read_inline(texts: list[bytes]) -> ReadBlock:
    """Each block is proven when it is read."""
    return read_proven


class Ahead:
    """Fetches blocks ``first`` to ``last``. ``reader`` may prove them elsewhere."""

    def __init__(self, feed: Feed, first: int, last: int, *, buffer: int, reader: Reader = read_inline) -> None:
        self._feed = feed
        self._next = first  # the first block that nobody was asked for
        self._wanted = first  # the first block that was not handed on
        self._last = last
        self._buffer = buffer
        self._reader = reader
        self._count = MAX_BATCH // 4
        self._bytes = 0  # fetched and not handed on
        self._usual = 4096.0  # bytes of a block
        self._again: list[tuple[int, int]] = []  # ranges that failed, or came short
        self._ready: dict[int, Range] = {}
        self._asking: dict[int, int] = {}  # first -> count
        self._changed = asyncio.Event()
        self._failure: NobodyError | None = None
        self._is_over = False

    async def ranges(self) -> AsyncGenerator[Range, None]:
        """The ranges in order. Raises NobodyError when no server can be asked now."""
        workers = [asyncio.create_task(self._work()) for _ in range(PARALLEL)]
        try:
            while self._wanted <= self._last:
                found = self._ready.pop(self._wanted, None)
                if found is None:
                    if self._failure is not None:
                        raise self._failure
                    for worker in workers:
                        if worker.done():
                            worker.result()  # a bug must not look like a silent server
                    await self._wait()
                    continue
                self._wanted += len(found.texts)
                yield found
                self._bytes -= sum(map(len, found.texts))
                self._changed.set()
        finally:
            self._is_over = True
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _wait(self) -> None:
        """Until something changes; looked at again soon in any case."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):  # wait_for would begin to wait a moment later, and miss a wake-up
                await self._changed.wait()

    async def _work(self) -> None:
        while self._failure is None and not self._is_over:
            piece = self._take()
            if piece is None:
                await self._wait()
                continue
            try:
                await self._fetch(*piece)
            except ApiError as error:
                self._again.append(piece)
                if not self._feed.servers.usable():
                    self._failure = NobodyError(str(error))
            finally:
                self._asking.pop(piece[0], None)
                self._changed.set()

    def _take(self) -> tuple[int, int] | None:
        """The next range to ask for; None while the buffer is full or nothing is left."""
        if self._again:
            self._again.sort()
            first, count = self._again.pop(0)
        else:
            on_its_way = sum(self._asking.values()) * self._usual
            is_next = self._next == self._wanted  # what everybody waits for is always asked for
            if self._next > self._last or (not is_next and self._bytes + on_its_way >= self._buffer):
                return None
            first, count = self._next, min(self._count, self._last - self._next + 1)
            self._next += count
        self._asking[first] = count
        return first, count

    async def _fetch(self, first: int, count: int) -> None:
        server = self._server()
        begun = asyncio.get_running_loop().time()
        texts = await self._feed.ask(server, fetch_texts(server.api, first, count))
        seconds = asyncio.get_running_loop().time() - begun
        size = sum(map(len, texts))
        self._usual += (size / len(texts) - self._usual) * 0.3
        self._adapt(seconds, size, len(texts))
        if len(texts) < count:
            self._again.append((first + len(texts), count - len(texts)))
        self._bytes += size
        self._ready[first] = Range(first, texts, server, await self._reader(texts))

    def _server(self) -> Server:
        """The least busy of the servers that fare as well as the best. Raises ApiError."""
        best = self._feed.servers.best()
        alike = [server for server in self._feed.servers.usable() if server.score >= best.score - 0.25]
        return min(alike, key=lambda server: (server.busy, server.seconds, server.place))

    def _adapt(self, seconds: float, size: int, count: int) -> None:
        if seconds > _SLOW or size > _LARGE:
            self._count = max(5, min(self._count, count) // 2)
        elif seconds < _QUICK and size < _LARGE // 2:
            self._count = min(MAX_BATCH, self._count * 2)
