"""`waggle run`, put together: configuration, keys, store, servers, and what runs beside the state machine."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import aiohttp

from node.assembly import Holder, load_genesis, open_core
from node.config import Config
from node.core import NodeCore
from node.errors import KeyFileError, NodeError
from node.feed.ahead import Ahead, read_inline
from node.feed.http import Http
from node.feed.proving import Prover
from node.feed.rpc import Api
from node.files import DISK
from node.log import Log
from node.runtime import Runtime
from node.signer.keys import load_keys
from state.errors import StateError
from state.store import LevelStore

#: Pieces of evidence that are kept; the oldest make room.
_MOST_EVIDENCE = 100


def open_node(config: Config, log: Log) -> NodeCore:
    """The node of a configuration, its store open. Raises NodeError, GenesisError, StateError."""
    genesis = load_genesis(config.genesis)
    account_keys = load_keys(config.account_key)
    signing_keys = [key for path in config.signing_keys for key in load_keys(path)]
    if len(account_keys) != 1:
        raise KeyFileError(f"{config.account_key} must hold exactly one key: the active key of {config.account}")
    holder = Holder(config.account, account_keys[0], signing_keys, config.policy)
    return open_core(genesis, holder, LevelStore(config.data / "state", genesis.hash), config.data, DISK, log)


async def run_node(config: Config, log: Log, stop: asyncio.Event) -> None:
    """Open and run a node until ``stop``; the store is closed in any case."""
    core = open_node(config, log)
    prover = Prover(core.genesis.chain) if config.feed.prove_ahead else None
    try:
        async with aiohttp.ClientSession() as session:
            await _run(config, core, session, prover, log, stop)
    except (NodeError, StateError) as error:
        log("stopped", {"error": str(error)})
        raise
    finally:
        if prover is not None:
            prover.close()
        core.state.close()
    log("stop", {"height": core.state.height, "outcome": "clean"})


async def _run(
    config: Config,
    core: NodeCore,
    session: aiohttp.ClientSession,
    prover: Prover | None,
    log: Log,
    stop: asyncio.Event,
) -> None:
    apis = [Api(api.url, api.operator, Http(session), config.account) for api in config.apis]
    runtime = Runtime(
        core,
        apis,
        log,
        poll_seconds=config.poll_seconds,
        keep=keeper(config.data / "evidence"),
        room=lambda: shutil.disk_usage(config.data).free,
    )
    reader = prover.reader if prover is not None else read_inline
    buffer = config.feed.buffer_mb << 20
    runtime.feed.ahead = lambda first, last: Ahead(runtime.feed, first, last, buffer=buffer, reader=reader).ranges()
    await runtime.run(stop)


def keeper(folder: Path) -> Callable[[str, bytes], None]:
    """Keeps evidence in a folder, the newest pieces of it."""

    def keep(name: str, evidence: bytes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        DISK.replace(folder / f"{name}.json", evidence)
        kept = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
        for old in kept[:-_MOST_EVIDENCE]:
            old.unlink(missing_ok=True)

    return keep
