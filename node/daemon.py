"""`waggle run`, put together: configuration, keys, store, servers, and what runs beside the state machine."""

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from node.api.app import make_app, settings_of
from node.api.serving import serve
from node.assembly import Holder, load_genesis, open_core
from node.beside import GroupAccount, name_difference
from node.config import Config
from node.core import Log, NodeCore
from node.errors import KeyFileError, NodeError
from node.facts import Facts
from node.feed.ahead import Ahead, read_inline
from node.feed.http import Http
from node.feed.proving import Prover
from node.feed.rpc import Api
from node.feed.source import Given
from node.feed.watch import WitnessCheck
from node.files import DISK
from node.keeping import Blocks, Snapshots
from node.metrics import Metrics
from node.retry import retry
from node.runtime import Runtime
from node.signer.guard import guard_memory, lock_no_more
from node.signer.keys import open_keys
from node.signer.passwords import once, source
from node.starting import check_store, ended_cleanly, note_damage, open_store, peers_of, sync_if_new
from node.status import Status, status
from node.sync.healing import NameDifference
from node.sync.statesync import Trusted
from processors.genesis import Genesis
from state.errors import StateError, StoreDamagedError
from state.state import State
from state.store import LevelStore

#: Pieces of evidence that are kept; the oldest make room.
_MOST_EVIDENCE = 100
CONTROL = "control.sock"


def open_holder(config: Config, log: Log) -> Holder:
    """Account, keys and policy of a configuration; the password is asked for where a file needs it.

    Raises KeyFileError.
    """
    ask = once(source(config.password))
    account = open_keys([config.account_key], ask, role="account")
    signing = open_keys(list(config.signing_keys), ask, role="signing")
    for path in [*account.plain, *signing.plain]:
        log("plain_key", {"path": str(path), "remedy": "waggle keys import it, then destroy the file"})
    if len(account.keys) != 1:
        raise KeyFileError(f"{config.account_key} must hold exactly one key: the active key of {config.account}")
    return Holder(config.account, account.keys[0], signing.keys, config.policy)


class Node:
    """A running node, as its own API and its log see it."""

    def __init__(self, config: Config, core: NodeCore, store: LevelStore, log: Log, metrics: Metrics) -> None:
        self.core = core
        self.metrics_of_it = metrics
        self.snapshots = config.data / "snapshots"
        self.facts: Callable[[], Facts] = Facts
        self.name_difference: NameDifference | None = None
        self._config = config
        self._store = store
        self._log = log
        self._started_at = int(time.time())

    @property
    def genesis(self) -> Genesis:
        """The group's genesis."""
        return self.core.genesis

    @property
    def state(self) -> State:
        """The state, to read."""
        return self.core.state

    def status(self) -> Status:
        """The node as it stands."""
        facts = msgspec.structs.replace(
            self.facts(),
            store_bytes=self._store.size(),
            free_bytes=self.free_bytes(),
            started_at=self._started_at,
        )
        return status(self.core, facts, int(time.time()))

    def free_bytes(self) -> int:
        """What is free on the disk of the data folder."""
        return shutil.disk_usage(self._config.data).free

    def metrics(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return self.metrics_of_it.render(self.status())

    def on_event(self, event: str, fields: dict[str, object]) -> None:
        """Log an event, and count it."""
        self._log(event, fields)


async def run_node(config: Config, log: Log, stop: asyncio.Event, trust: Trusted | None = None) -> None:
    """Open and run a node until ``stop``; the store is closed in any case. ``trust``: begin with this root's snapshot.

    Raises NodeError, GenesisError, StateError: each says what to do.
    """
    metrics = Metrics()

    def told(event: str, fields: dict[str, object]) -> None:
        log(event, fields)
        metrics.on_event(event, fields)

    for sentence in guard_memory():
        told("unguarded", {"what": sentence})
    genesis = load_genesis(config.genesis)
    holder = open_holder(config, told)
    lock_no_more()
    try:
        async with aiohttp.ClientSession() as session:
            apis = [Api(api.url, api.operator, Http(session), config.account) for api in config.apis]
            await sync_if_new(config, genesis, session, apis, told, stop, trust)
            store = open_store(config, genesis, told)
            urls = peers_of(config, genesis)
            core = open_core(genesis, holder, store, config.data, DISK, told)
            try:
                check_store(core.state, config.data, told)
                node = Node(config, core, store, told, metrics)
                node.name_difference = lambda: name_difference(core, session, urls)
                await _run(config, node, apis, told, stop)
            finally:
                core.state.close()
    except (NodeError, StateError) as error:
        if isinstance(error, StoreDamagedError) and error.is_corrupt:
            note_damage(config.data)
        told("stopped", {"error": str(error)})
        raise
    ended_cleanly(config.data)
    told("stop", {"height": core.state.height, "outcome": "clean"})


async def _run(config: Config, node: Node, apis: list[Api], log: Log, stop: asyncio.Event) -> None:
    core = node.core
    prover = Prover(core.genesis.chain) if config.feed.prove_ahead else None
    blocks = Blocks(config.feed.archive, log) if config.feed.archive is not None else None
    snapshots = Snapshots(core, node.snapshots, config.snapshots, log)
    runtime = make_runtime(config, node, apis, log)
    runtime.healing.name_difference = node.name_difference
    _wire(runtime, config, prover, blocks, snapshots, stop)
    group = GroupAccount(core, runtime.feed, log)
    node.facts = lambda: group.add_to(runtime.facts())
    server = await serve(make_app(node, settings_of(config.http)), config.http, config.data / CONTROL)
    try:
        tries: dict[str, Any] = {"tries": config.start_tries, "log": log, "stop": stop}
        await retry("API servers", lambda: runtime.feed.view(core.state.height, 0), **tries)
        if blocks is not None:
            await blocks.fill(core, runtime.feed)
        watching = asyncio.create_task(group.watch(stop))
        try:
            await runtime.run(stop)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    finally:
        await server.stop()
        await snapshots.stop()
        if blocks is not None:
            blocks.close()
        if prover is not None:
            prover.close()


def make_runtime(config: Config, node: Node, apis: list[Api], log: Log) -> Runtime:
    """The wires of a configuration's servers."""
    return Runtime(
        node.core,
        apis,
        log,
        poll_seconds=config.poll_seconds,
        keep=keeper(config.data / "evidence"),
        room=node.free_bytes,
        acted=lambda: node.metrics_of_it.observe(node.status()),
    )


def _wire(
    runtime: Runtime,
    config: Config,
    prover: Prover | None,
    blocks: Blocks | None,
    snapshots: Snapshots,
    stop: asyncio.Event,
) -> None:
    """What follows the runtime: ranges proven ahead, witnesses, the archive, snapshots."""
    core, feed = runtime.core, runtime.feed
    reader = prover.reader if prover is not None else read_inline
    buffer = config.feed.buffer_mb << 20
    feed.ahead = lambda first, last: Ahead(feed, first, last, buffer=buffer, reader=reader).ranges()
    if config.feed.witness:
        feed.check_witness = WitnessCheck(feed, core.genesis.chain.address_prefix, runtime.log)
    if blocks is not None:
        runtime.before_first = lambda: blocks.replay(core, stop)

    def took(given: Given) -> None:
        height = given.block.number
        if blocks is not None:
            blocks.take(given)
        if height % core.genesis.params.round_length == 0:
            if blocks is not None:
                blocks.flush()
            if runtime.is_live:
                snapshots.take(height)

    runtime.took = took


def keeper(folder: Path) -> Callable[[str, bytes], None]:
    """Keeps evidence in a folder, the newest pieces of it."""

    def keep(name: str, evidence: bytes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        DISK.replace(folder / f"{name}.json", evidence)
        kept = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
        for old in kept[:-_MOST_EVIDENCE]:
            old.unlink(missing_ok=True)

    return keep
