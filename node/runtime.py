"""`waggle run`: the wires of a node. Reads blocks, applies them, and sends what the core hands out."""

import asyncio
import contextlib
import time
import tomllib
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from node.agent import is_groups_own
from node.assembly import Holder, open_core
from node.config import Config
from node.core import LIVE_WITHIN, MAX_LAG, ChainView, NodeCore, Outgoing
from node.errors import ApiError, BroadcastRefusedError, ConfigError, FeedError, KeyFileError, NodeError
from node.feed.http import Http
from node.feed.rpc import Api
from node.feed.source import ReadBlock, chain_view, fetch_blocks, irreversible_time, is_unknown, read_proven
from node.files import DISK
from node.log import Log
from node.signer.keys import load_keys
from processors.authority_form import as_stored
from processors.engine import begin
from processors.genesis import ROLES, Genesis, parse
from processors.hive.block import Block
from processors.hive.compounds import AUTHORITY
from processors.hive.errors import HiveDataError
from processors.hive.keys import public_key_to_text
from processors.hive.transaction import show_transaction
from state.schema import AUTHORITY as AUTHORITIES
from state.schema import NODE, Authority
from state.store import LevelStore

#: While catching up, so many blocks share one synced write.
CATCH_UP_BATCH = 64
_AUTHORITY_TRIES = 5
#: So many blocks are remembered for a second operator to confirm: he may be that far behind.
_RECENT = 128
#: Seconds without a new irreversible block after which a node says so.
STANDSTILL = 60


def load_genesis(path: Path) -> Genesis:
    """The genesis of a TOML file. Raises ConfigError, GenesisError."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return parse(document)


def open_node(config: Config, log: Log) -> NodeCore:
    """The node of a configuration, its store open. Raises NodeError, GenesisError, StateError."""
    genesis = load_genesis(config.genesis)
    account_keys = load_keys(config.account_key)
    signing_keys = [key for path in config.signing_keys for key in load_keys(path)]
    if len(account_keys) != 1:
        raise KeyFileError(f"{config.account_key} must hold exactly one key: the active key of {config.account}")
    holder = Holder(config.account, account_keys[0], signing_keys, config.policy)
    return open_core(genesis, holder, LevelStore(config.data / "state", genesis.hash), config.data, DISK, log)


class Runtime:
    """The wires around one core."""

    def __init__(
        self,
        core: NodeCore,
        apis: Sequence[Api],
        log: Log,
        *,
        poll_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        read: ReadBlock = read_proven,
    ) -> None:
        self.core = core
        self.apis = list(apis)
        self._log = log
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._read = read
        self._denials: dict[bytes, set[str]] = {}
        self._asked: dict[bytes, int] = {}
        self._moved_at = clock()
        self._authority_tries = 0
        self._authority_checked = False
        self._confirmed = -1  # the height up to which a second operator has our blocks
        self._recent: dict[int, bytes] = {}  # height -> block id
        if core.state.height >= 0:
            self._remember(core.state.height, core.state.head.block_id)

    @property
    def _source(self) -> Api:
        return self.apis[0]

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``. Raises FeedError, EngineError, StateError, JournalError: the node must not go on."""
        while not stop.is_set():
            if not await _unless_stopped(self.attempt(stop), stop):
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._poll_seconds)
        self.core.state.flush()

    async def attempt(self, stop: asyncio.Event) -> None:
        """A turn; a server that fails costs no more than this one."""
        try:
            await self.turn(stop)
        except ApiError as error:
            self._log("api_error", {"error": str(error)})

    async def turn(self, stop: asyncio.Event) -> None:
        """Apply what has become irreversible, then act. Raises ApiError besides what ``run`` raises."""
        view = await chain_view(self._source)
        if self.core.state.height < 0:
            if view.irreversible_number < self.core.genesis.start_block:
                return
            await self._begin()
        state = self.core.state
        if view.irreversible_number < state.height:
            self._watch_for_standstill(False)
            return  # an old head: this server is behind what it said before
        before = state.height
        await self._catch_up(view, stop)
        if state.height == before or stop.is_set():
            self._watch_for_standstill(state.height != before)
            return
        self._watch_for_standstill(True)
        if state.height - before > LIVE_WITHIN:
            return  # what the server said of the chain is old by now
        if not self._authority_checked and not await self._authorities_match(view):
            return
        await self._ask_about_past()
        if self.core.newest_to_sign() > self._confirmed:
            await self._confirm()
        for outgoing in self.core.step(view, self._denied, confirmed=self._confirmed):
            await self._send(outgoing)

    async def _begin(self) -> None:
        """The genesis state, from the block start_block that two servers of different operators gave alike."""
        number = self.core.genesis.start_block
        found: dict[str, Block] = {}
        for api in self.apis:
            if api.operator not in found and len(found) < 2:
                async for block in fetch_blocks(api, self.core.genesis.chain, number, number, None, self._read):
                    found[api.operator] = block
        if len({block.id for block in found.values()}) != 1:
            ids = {operator: block.id.hex() for operator, block in found.items()}
            raise FeedError(f"the servers differ about block {number}: {ids}. Find out which one lies before you start")
        if len(found) < 2:
            raise FeedError(f"block {number} must come from two servers of different operators: add one to [[api]]")
        begin(self.core.state, self.core.genesis, next(iter(found.values())))
        self._log_round()

    async def _catch_up(self, view: ChainView, stop: asyncio.Event) -> None:
        state = self.core.state
        live = view.irreversible_number - state.height <= CATCH_UP_BATCH
        first, last, previous = state.height + 1, view.irreversible_number, state.head.block_id
        blocks = fetch_blocks(self._source, self.core.genesis.chain, first, last, previous, self._read)
        async for block in blocks:
            if block.timestamp <= state.head.timestamp:
                raise FeedError(f"{self._source.url}: block {block.number} is not later than the one before it")
            self.core.apply(block, flush=live or block.number % CATCH_UP_BATCH == 0)
            self._remember(block.number, block.id)
            self._log("block", {"height": block.number, "id": block.id.hex()})
            if block.number % self.core.genesis.params.round_length == 0:
                self._log_round()
            if stop.is_set():
                break
        state.flush()

    def _log_round(self) -> None:
        height = self.core.state.height
        root = self.core.state.root(height)
        self._log("round", {"height": height, "root": root.hex() if root else "", "halted": self.core.halted_at})

    async def _authorities_match(self, view: ChainView) -> bool:
        """Compare the authorities of the state with the chain's, once live; a lasting difference stops the node."""
        for role, found in (await self._authorities(self._source)).items():
            if found != self.core.state.need(AUTHORITIES, role):
                return self._authority_differs(role, view)
        self._authority_checked = True
        self._log("live", {"height": self.core.state.height, "members_keys_hold_it": is_groups_own(self.core.state)})
        self._tell_what_is_missing()
        return True

    async def _authorities(self, api: Api) -> dict[str, Authority]:
        """The group account's authorities as a server has them at its head. Raises ApiError."""
        found = await api.call("database_api.find_accounts", {"accounts": [self.core.genesis.group]})
        try:
            account = found["accounts"][0]
            chain = self.core.genesis.chain
            return {role: as_stored(AUTHORITY.parse(account[role], chain)) for role in ROLES}
        except (KeyError, IndexError, TypeError, HiveDataError) as error:
            raise ApiError(f"{api.url}: no account {self.core.genesis.group}: {error}") from error

    def _tell_what_is_missing(self) -> None:
        """A node that can do nothing says so, and what would help."""
        me = self.core.me
        member = self.core.state.get(NODE, me.account)
        if member is None:
            self._log("not_member", {"account": me.account, "remedy": "register it with a node_add of its own"})
        elif not {member.signing_key, member.next_key} & set(me.keys):
            wanted = public_key_to_text(member.signing_key, self.core.genesis.chain.address_prefix)
            self._log(
                "key_missing", {"registered": wanted, "remedy": "put that key into keys.signing, or node_add anew"}
            )

    def _authority_differs(self, role: str, view: ChainView) -> bool:
        """A change may be on its way in blocks that are not irreversible yet: look again at later blocks."""
        self._authority_tries += 1
        lag = min(MAX_LAG, view.head_number - view.irreversible_number)
        self._log("authority_differs", {"role": role, "height": self.core.state.height, "try": self._authority_tries})
        if self._authority_tries > _AUTHORITY_TRIES + lag:
            raise FeedError(
                f"{self.core.genesis.group} has another {role} authority on chain than in the state, at height "
                f"{self.core.state.height}: the genesis or the server is wrong; nothing is signed"
            )
        return False

    def _denied(self, txid: bytes) -> bool:
        return len(self._denials.get(txid, ())) >= 2

    async def _ask_about_past(self) -> None:
        """Ask servers of different operators whether an earlier attempt was included after all.

        "Unknown" denies only from a server whose own irreversible time has reached the time of this state when the
        question arose: by then the earlier attempt has expired there too. Our own feed's time is not taken for it.
        """
        questions = self.core.questions()
        now = self.core.state.head.timestamp
        self._denials = {txid: self._denials.get(txid, set()) for txid in questions}
        self._asked = {txid: self._asked.get(txid, now) for txid in questions}
        for api in self.apis:
            open_questions = [
                txid for txid in sorted(questions) if not self._denied(txid) and api.operator not in self._denials[txid]
            ]
            if not open_questions:
                continue
            try:
                reached = await irreversible_time(api)
                for txid in open_questions:
                    if reached >= self._asked[txid] and await is_unknown(api, txid):
                        self._denials[txid].add(api.operator)
            except ApiError as error:
                self._log("api_error", {"error": str(error)})

    async def _confirm(self) -> None:
        """Ask servers of other operators than the feed's up to where they have our blocks, and call them irreversible.

        Our own feed may lie about what is irreversible: what is signed on a fork that dies is signed all the same. A
        server that is some blocks behind confirms as far as it is.
        """
        for api in self.apis:
            if api.operator == self._source.operator:
                continue
            try:
                number = min((await chain_view(api)).irreversible_number, self.core.state.height)
                own = self._recent.get(number)
                if own is None or number <= self._confirmed:
                    continue
                async for block in fetch_blocks(
                    api, self.core.genesis.chain, number, number, None, self._read, quick=True
                ):
                    if block.id == own:
                        self._confirmed = number
                    else:
                        found = {"height": number, "own": own.hex(), "theirs": block.id.hex()}
                        self._log("servers_differ", {"server": api.url, **found})
            except (ApiError, FeedError) as error:
                self._log("api_error", {"error": str(error)})
            if self._confirmed >= self.core.newest_to_sign():
                return

    def _remember(self, number: int, block_id: bytes) -> None:
        """The newest blocks that were applied, for others to confirm."""
        self._recent[number] = block_id
        self._recent.pop(number - _RECENT, None)

    def _watch_for_standstill(self, moved: bool) -> None:
        """Say so, once a minute, while the server names no new irreversible block."""
        now = self._clock()
        if moved or now - self._moved_at >= STANDSTILL:
            if not moved:
                self._log("feed_stalled", {"height": self.core.state.height, "server": self._source.url})
            self._moved_at = now

    async def _send(self, outgoing: Outgoing) -> None:
        """Broadcast; the next server on error, silence or refusal; on "duplicate" too, which is success."""
        shown: dict[str, Any] = show_transaction(outgoing.tx, self.core.genesis.chain, typed=False)
        taken = 0
        refusal = ""
        for api in self.apis:
            try:
                if outgoing.roles and not await self._still_ours(api, outgoing):
                    continue
                await api.broadcast(shown)
                taken = 2
            except BroadcastRefusedError as error:
                if "Duplicate transaction check failed" in str(error):
                    taken += 1
                else:
                    refusal = f"{api.url}: {str(error)[:300]}"
            except ApiError as error:
                self._log("api_error", {"error": str(error)})
            if taken >= 2:
                break
        if taken:
            self.core.sent(outgoing)
            self._log("sent", {"content": outgoing.content})
        elif refusal:
            if outgoing.roles:  # a report has no time to rest
                self.core.refused(outgoing)
            self._log("refused", {"content": outgoing.content, "error": refusal})

    async def _still_ours(self, api: Api, outgoing: Outgoing) -> bool:
        """Whether the authorities that a group transaction was signed for stand at the server's head: a change on its
        way, in blocks that are not irreversible yet, would have Hive refuse it."""
        theirs = await self._authorities(api)
        moved = [role for role in outgoing.roles if theirs[role] != self.core.state.need(AUTHORITIES, role)]
        if moved:
            self._log("held", {"content": outgoing.content, "authority_on_its_way": moved, "server": api.url})
        return not moved


async def _unless_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Await ``work`` unless ``stop`` comes first: a silent server must not hold up the end. False = stopped."""
    task, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        task.cancel()  # lands at a call to a server; blocks are applied between such calls, whole
        with contextlib.suppress(asyncio.CancelledError, ApiError):
            await task
        return False
    task.result()
    return True


async def run_node(config: Config, log: Log, stop: asyncio.Event) -> None:
    """Open and run a node until ``stop``; the store is closed in any case."""
    core = open_node(config, log)
    try:
        async with aiohttp.ClientSession() as session:
            apis = [Api(api.url, api.operator, Http(session), config.account) for api in config.apis]
            await Runtime(core, apis, log, poll_seconds=config.poll_seconds).run(stop)
    except NodeError as error:
        log("stopped", {"error": str(error)})
        raise
    finally:
        core.state.close()
    log("stop", {"height": core.state.height, "outcome": "clean"})
