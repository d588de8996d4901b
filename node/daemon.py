"""`waggle run`, put together: configuration, keys, store, servers, and what runs beside the state machine."""

import asyncio
from typing import Any

import aiohttp
import msgspec

from node.api.app import make_app, settings_of
from node.api.serving import serve
from node.assembly import Holder, load_genesis, open_core
from node.beside import GroupAccount, name_difference
from node.config import Config
from node.core import Log
from node.errors import KeyFileError, NodeError
from node.feed.ahead import Ahead, read_inline
from node.feed.http import Http
from node.feed.proving import Prover
from node.feed.rpc import Api
from node.feed.source import Given
from node.feed.watch import WitnessCheck
from node.files import DISK
from node.keeping import Blocks, Snapshots
from node.metrics import Metrics
from node.past_feed import replay_past
from node.retry import retry, unless_stopped
from node.runtime import Runtime
from node.served import Node, keeper
from node.signer.guard import guard_memory, lock_no_more
from node.signer.keys import open_keys
from node.signer.passwords import once, source
from node.signer.remote import RemoteSigner, connect_tls, connect_unix
from node.signer.service import host_and_port, tls_context
from node.starting import (
    begin_with_own,
    check_store,
    ended_cleanly,
    note_damage,
    peers_of,
    repair_store,
    sync_if_new,
)
from node.streaming import Stream
from node.sync.statesync import Trusted
from processors.errors import EngineError
from processors.genesis import Genesis
from state.errors import StateError, StoreDamagedError
from state.store import LevelStore

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


async def run_node(config: Config, log: Log, stop: asyncio.Event, trust: Trusted | None = None) -> None:
    """Open and run a node until ``stop``; the store is closed in any case. ``trust``: begin with this root's snapshot.

    Raises NodeError, GenesisError, StateError, EngineError: each says what to do.
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
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            apis = [Api(api.url, api.operator, Http(session), config.account) for api in config.apis]
            repaired = repair_store(config, genesis, told)
            if trust is None:  # else the operator has said which root to begin with
                await begin_with_own(config, genesis, apis, told, stop, any_age=repaired)
            await sync_if_new(config, genesis, session, apis, told, stop, trust)
            if stop.is_set():  # before there is a store: a node that has one never asks its peers for a snapshot
                told("stop", {"height": -1, "outcome": "clean"})
                return
            remote = await reach_signer(config, genesis, told, stop)
            store = LevelStore(config.data / "state", genesis.hash)
            urls = peers_of(config, genesis)
            core = open_core(genesis, holder, store, config.data, DISK, told, remote)
            try:
                check_store(core.state, config.data, told)
                node = Node(config, core, store, told, metrics)
                node.name_difference = lambda: name_difference(core, session, urls)
                await _run(config, node, apis, remote, told, stop)
            finally:
                core.state.close()
                if remote is not None:
                    remote.close()
    except (NodeError, StateError, EngineError) as error:
        if isinstance(error, StoreDamagedError) and error.is_corrupt:
            note_damage(config.data)
        told("stopped", {"error": str(error)})
        raise
    ended_cleanly(config.data)
    told("stop", {"height": core.state.height, "outcome": "clean"})


async def _run(
    config: Config, node: Node, apis: list[Api], remote: RemoteSigner | None, log: Log, stop: asyncio.Event
) -> None:
    core = node.core
    prover = Prover(core.genesis.chain) if config.feed.prove_ahead else None
    blocks = Blocks(config.feed.archive, log) if config.feed.archive is not None else None
    snapshots = Snapshots(core, node.snapshots, config.snapshots, log)
    runtime = make_runtime(config, node, apis, log)
    runtime.healing.name_difference = node.name_difference
    stream = Stream(remote, core, runtime.feed, log) if remote is not None else None
    _wire(runtime, config, prover, blocks, snapshots, stream, stop)
    group = GroupAccount(core, runtime.feed, log)
    node.facts = lambda: group.add_to(msgspec.structs.replace(runtime.facts(), signer=_reached(stream)))
    server = await serve(make_app(node, settings_of(config.http)), config.http, config.data / CONTROL)
    try:
        tries: dict[str, Any] = {"tries": config.start_tries, "log": log, "stop": stop}
        await retry("API servers", lambda: runtime.feed.view(core.state.height, 0), **tries)
        if blocks is not None:
            await unless_stopped(blocks.fill(core, runtime.feed), stop)
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
            await prover.close()


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
    stream: Stream | None,
    stop: asyncio.Event,
) -> None:
    """What follows the runtime: ranges proven ahead, witnesses, the archive, snapshots."""
    core, feed = runtime.core, runtime.feed
    reader = prover.reader if prover is not None else read_inline
    buffer = config.feed.buffer_mb << 20
    feed.ahead = lambda first, last: Ahead(feed, first, last, buffer=buffer, reader=reader).ranges()
    if config.feed.witness:
        feed.check_witness = WitnessCheck(feed, core.genesis.chain.address_prefix, runtime.log)

    async def before_first() -> None:
        if blocks is not None:
            await blocks.replay(core, stop)
        await replay_past(config.feed, core, runtime.log, stop)
        if blocks is not None:
            blocks.look_behind(core.state.height)

    runtime.before_first = before_first

    def took(given: Given) -> None:
        height = given.block.number
        if stream is not None:
            stream.take(given)
        snapshots.look()
        if blocks is not None:
            blocks.take(given)
        if height % core.genesis.params.round_length == 0:
            if blocks is not None:
                blocks.flush()
            if runtime.is_live:
                snapshots.take(height)

    async def before_acting() -> None:
        if stream is not None:
            await stream.bring()
        if blocks is not None:
            await blocks.catch_up(core, feed)

    runtime.took, runtime.before_acting = took, before_acting

    def rewound(height: int) -> None:
        snapshots.forget_after(height)
        if blocks is not None:
            blocks.cut_after(height)
        if stream is not None:
            stream.realign()

    runtime.rewound = rewound


def _reached(stream: Stream | None) -> str:
    if stream is None:
        return "local"
    return "remote" if stream.is_reached else "unreachable"


async def reach_signer(config: Config, genesis: Genesis, log: Log, stop: asyncio.Event) -> RemoteSigner | None:
    """The signer of another process, if the configuration names one. Raises SignerError after ``start_tries``."""
    address = config.signer.url
    if not address:
        return None
    if address.startswith("unix:"):
        connect = connect_unix(address.removeprefix("unix:"))
    else:
        host, port = host_and_port(address)
        files = config.signer.certificate, config.signer.key, config.signer.authority
        certificate, key, authority = (path for path in files if path is not None)
        connect = connect_tls(host, port, tls_context(certificate, key, authority, server=False))

    async def attempt() -> RemoteSigner:
        return RemoteSigner(connect, genesis, config.account)

    return await retry("signer", attempt, tries=config.start_tries, log=log, stop=stop)
