"""`waggle run`: the wires of a node. Reads blocks, applies them, and sends what the core hands out."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from node.core import LIVE_WITHIN, ChainView, NodeCore
from node.errors import ApiError, DiskFullError, FeedError, LieError, NotLinkedError
from node.facts import Facts
from node.feed.feed import Feed, Keep
from node.feed.pace import Pace
from node.feed.rpc import Api
from node.feed.second import Second
from node.feed.servers import Server, Servers
from node.feed.source import Given, ReadBlock, read_proven
from node.going_live import GoingLive
from node.log import Log
from node.receivers import Receivers
from node.retry import unless_stopped
from node.sending import Sender
from node.sync.healing import Healing
from processors.engine import begin
from processors.hive.errors import HiveDataError

#: While catching up, so many blocks share one synced write.
CATCH_UP_BATCH = 64
#: Seconds without a new irreversible block after which a node says so.
STANDSTILL = 60
#: So many blocks a node follows without a second operator's word, whatever there is to sign.
CONFIRM_WITHIN = 20
#: Bytes that must stay free on the disk: LevelDB compacts, and the journal must always have room.
ROOM = 256 << 20
#: Blocks between two looks at the disk.
_LOOK_EVERY = 64


def _keep_nothing(name: str, evidence: bytes) -> None:
    """Evidence stays in the log alone."""


def _endless_room() -> int:
    """Nobody measures the disk."""
    return 1 << 62


class Runtime:
    """The wires around one core.

    ``clock`` in seconds, never going back; ``read`` proves a block; ``jitter`` from 0 to 1; ``keep`` keeps evidence of
    a lie; ``room`` measures the free bytes of the disk; ``acted`` is called after each turn of a live node.

    ``took`` is shown each block that was applied; ``before_first`` is awaited once before the first block is fetched.
    """

    def __init__(
        self,
        core: NodeCore,
        apis: Sequence[Api],
        log: Log,
        *,
        poll_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        read: ReadBlock = read_proven,
        jitter: Callable[[], float] = random.random,
        keep: Keep = _keep_nothing,
        room: Callable[[], int] = _endless_room,
        acted: Callable[[], None] = lambda: None,
    ) -> None:
        self.core = core
        self.servers = Servers(apis, clock=clock, jitter=jitter)
        self.feed = Feed(self.servers, core.genesis.chain, log, clock, read, keep)
        self.second = Second(self.feed, core.genesis.chain, log, read)
        self.receivers = Receivers(self.feed, log)
        self.healing = Healing(core, self.feed, self.second, log, read, keep)
        self._sender = Sender(core, self.feed, log)
        self.log = self._log = log
        self.took: Callable[[Given], None] = lambda given: None
        self.before_first: Callable[[], Awaitable[None]] | None = None
        #: Awaited before a live node acts.
        self.before_acting: Callable[[], Awaitable[None]] | None = None
        #: Called with the height to which the state was taken back.
        self.rewound: Callable[[int], None] = lambda height: None
        self.is_live = False
        self._acted = acted
        self._clock = clock
        self._pace = Pace(poll_seconds)
        self._room = room
        self._moved_at = self._told_at = clock()
        self._going_live = GoingLive(core, self.feed, self.second, log)
        self._view: ChainView | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``. Raises FeedError, EngineError, StateError, JournalError: the node must not go on."""
        while not stop.is_set():
            await unless_stopped(self.attempt(stop), stop)
            if stop.is_set():
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._pace.wait(self._clock()))
        self.core.state.flush()

    async def attempt(self, stop: asyncio.Event) -> None:
        """A turn; servers that fail cost no more than this one."""
        try:
            await self.turn(stop)
        except ApiError as error:
            self._log("api_error", {"error": str(error)})

    def facts(self) -> Facts:
        """What the node knows besides its state."""
        view = self._view
        return Facts(
            irreversible=view.irreversible_number if view is not None else 0,
            head=view.head_number if view is not None else 0,
            is_live=self.is_live,
            servers=self.servers.facts(),
        )

    async def turn(self, stop: asyncio.Event) -> None:
        """Apply what has become irreversible, then act. Raises ApiError besides what ``run`` raises."""
        state = self.core.state
        server, view = await self.feed.view(state.height, self._clock() - self._moved_at)
        self._view = view
        if state.height < 0:
            if view.irreversible_number < self.core.genesis.start_block:
                return
            begin(state, self.core.genesis, await self.second.first_block(self.core.genesis.start_block))
            self._log_round()
        if self.before_first is not None:
            await self.before_first()
            self.before_first = None
        if self.servers.is_banned(server):
            return  # it lied since it said so
        before = state.height
        if view.irreversible_number > before:
            await self._catch_up(server, view, stop)
        taken_back = await self.healing.attempt()
        if taken_back is not None:
            self._forget_from(taken_back)
        moved = state.height - before
        self._watch_for_standstill(moved, server)
        if moved <= 0 or stop.is_set() or self.servers.is_banned(server):
            return  # an old head: this server is behind what it said before; or it lied, and is asked nothing
        self.is_live = moved <= LIVE_WITHIN
        if self.is_live:  # otherwise what the server said of the chain is old by now
            if self.before_acting is not None:
                await self.before_acting()
            await self._act(view)
            self._acted()

    async def _act(self, view: ChainView) -> None:
        """Do what the state asks of this node now."""
        if not await self._going_live.is_sure(view):
            return
        core = self.core
        await self.second.ask_about(core.questions(), core.state.height, core.state.head.timestamp)
        await self.receivers.ask_about(core.receivers(), core.newest_to_sign())
        # also where nothing is to be signed: a node must not follow one operator's fork beyond what it can undo
        wanted = max(core.newest_to_sign(), core.state.height - CONFIRM_WITHIN)
        if wanted > self.second.confirmed:
            try:
                await self.second.confirm(core.state.height, wanted)
            except NotLinkedError as error:  # a server that goes on giving a fork of its own
                await self._leave_the_fork(error)
                return
        for outgoing in core.step(
            view, self.second.denied, confirmed=self.second.confirmed, missing=self.receivers.is_missing
        ):
            await self._sender.send(outgoing)

    async def _catch_up(self, server: Server, view: ChainView, stop: asyncio.Event) -> None:
        state = self.core.state
        last = view.irreversible_number
        live = last - state.height <= CATCH_UP_BATCH
        self._watch_the_disk()
        try:
            blocks = self.feed.blocks(state.height + 1, last, state.head.block_id, server)
            async with contextlib.aclosing(blocks):
                async for given in blocks:
                    self._apply(given, server, flush=live or given.block.number % CATCH_UP_BATCH == 0)
                    if stop.is_set():
                        break
        except NotLinkedError as error:
            await self._leave_the_fork(error)
        except LieError as lie:
            self.feed.lied(self.feed.giver or server, lie)
        except ApiError:
            if state.height < last and not self.servers.is_banned(server):
                self.servers.failed(server, f"it calls block {last} irreversible, and nobody gives it")
            raise
        state.flush()

    def _apply(self, given: Given, server: Server, *, flush: bool) -> None:
        """One block, told and remembered. Raises what stops the node, and LieError for a time that goes back."""
        block, state = given.block, self.core.state
        if block.timestamp <= state.head.timestamp:
            giver = self.feed.giver or server
            words = f"{giver.api.url}: block {block.number} is not later than the one before it"
            raise LieError(words, block.number, given.text)
        begun = self._clock()
        try:
            self.core.apply(block, flush=flush)
        except HiveDataError as error:
            raise FeedError(
                f"block {block.number} holds something of ours that this version cannot read ({error}): install a "
                f"newer one"
            ) from error
        self.second.remember(block.number, block.id, server.operator)
        self.took(given)
        seconds = round(self._clock() - begun, 6)
        self._log("block", {"height": block.number, "id": block.id.hex(), "seconds": seconds})
        if block.number % self.core.genesis.params.round_length == 0:
            self._log_round()
        if block.number % _LOOK_EVERY == 0:
            self._watch_the_disk()

    def _watch_the_disk(self) -> None:
        """Stop while there is still room to stop in. Raises DiskFullError."""
        free = self._room()
        if free < ROOM:
            raise DiskFullError(
                f"the disk of the data folder has {free >> 20} MiB left, at least {ROOM >> 20} are needed: make room, "
                f"then start again; nothing is lost"
            )

    async def _leave_the_fork(self, error: NotLinkedError) -> None:
        """Two operators' blocks do not follow ours: if they agree on another block in place of one of ours, the one
        that called ours irreversible was wrong. Take the state back to the newest block that they share with it."""
        state = self.core.state
        oldest = max(state.oldest_rewind, self.core.genesis.start_block)
        known = await self.second.called_irreversible()
        if known is None:
            raise ApiError(f"{error}; two operators must say which block is right, and do not answer now")
        height, step = min(state.height, known), 1
        if height < oldest:
            raise error
        while True:
            found = await self.second.id_of(height, self.core.block_id)
            if found is None:
                raise ApiError(f"{error}; two operators must say which block is right, and do not answer now")
            if found[0] < 2:
                raise ApiError(f"{error}; the servers differ about block {height}, one each: name a third operator")
            if found[1] == self.core.block_id(height):
                break
            if height <= oldest:
                raise error
            height, step = max(oldest, height - step), step * 2
        if step == 1:
            raise ApiError(f"{error}; two operators have our block {height}: asking again")
        await self.second.blame(height, state.height, state.head.block_id)
        self.core.rewind(height)
        self._forget_from(height)
        self._log("rewound", {"height": height, "why": str(error)})

    def _forget_from(self, height: int) -> None:
        """The state was taken back: whoever keeps something of the blocks after ``height`` lets go of it."""
        self.second.forget_from(height)
        self.rewound(height)

    def _log_round(self) -> None:
        height = self.core.state.height
        root = self.core.state.root(height)
        self._log("round", {"height": height, "root": root.hex() if root else "", "halted": self.core.halted_at})

    def _watch_for_standstill(self, moved: int, server: Server) -> None:
        """Say so, once a minute, while no server names a new irreversible block."""
        now = self._clock()
        if moved > 0:
            self._pace.moved(now, moved)
            self._moved_at = self._told_at = now
        elif now - self._told_at >= STANDSTILL:
            self._told_at = now
            seconds = int(now - self._moved_at)
            self._log("feed_stalled", {"height": self.core.state.height, "server": server.api.url, "seconds": seconds})
