"""How a node comes up: its store opened, repaired after a damage, checked after an unclean end, synced from peers."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from node.config import Config
from node.core import Log
from node.errors import ApiError, NodeError
from node.feed.feed import Feed
from node.feed.rpc import Api
from node.feed.second import Second
from node.feed.servers import Servers
from node.feed.source import read_proven
from node.files import DISK
from node.retry import retry, unless_stopped
from node.sync.peer import Peer
from node.sync.statesync import StateSync, SyncError, Trusted
from processors.genesis import Genesis
from state.errors import SnapshotError, StoreDamagedError
from state.manifest import Manifest, expect
from state.snapshot import heights, read_chunks, read_manifest, restore, set_aside
from state.state import State
from state.store import LevelStore, sync_path
from state.verify import recomputed_root

#: Rounds that a new node rather replays than asks peers for a snapshot.
_REPLAYED = 10
_RUNNING, _DAMAGED = "running", "damaged"


def repair_store(config: Config, genesis: Genesis, log: Log) -> bool:
    """Set a store aside that LevelDB finds corrupt; whether it did. Another takes its place: see begin_with_own.

    Raises StateError for everything that an operator must look at: another process, another genesis, no permission.
    """
    folder = config.data / "state"
    if not (folder.is_dir() and any(folder.iterdir())):
        DISK.remove(config.data / _DAMAGED)  # it spoke of a store that is gone
        return False
    try:
        LevelStore(folder, genesis.hash).close()
        if DISK.read(config.data / _DAMAGED) is None:
            return False
        why = "it was found corrupt while the node ran"
    except StoreDamagedError as error:
        if not error.is_corrupt:
            raise
        why = str(error)
    aside = _free_name(folder.with_name("state.damaged"))
    folder.rename(aside)
    sync_path(folder.parent)
    log("store_damaged", {"error": why, "kept_as": str(aside)})
    DISK.remove(config.data / _DAMAGED)
    return True


async def begin_with_own(
    config: Config, genesis: Genesis, apis: Sequence[Api], log: Log, stop: asyncio.Event, *, any_age: bool = False
) -> None:
    """Without a state, begin with an own snapshot: peers and a replay take longer.

    The newest one on a block that is the chain's is taken, if it is whole; with ``any_age`` the newest whole one. One
    on a block that two operators have another of in its place is set aside, and the next older looked at.

    Raises ApiError after ``start_tries`` without an answer of two operators, as for other things that are not ready: a
    node without a state cannot begin in any other way without them either, and with the state of a dead fork it would
    stand before a feed that does not follow, with nothing to go back to. Its next start asks again.
    """
    folder, snapshots = config.data / "state", config.data / "snapshots"
    if folder.is_dir() and any(folder.iterdir()):
        return
    _, second = _asking(genesis, apis, log)
    tries: dict[str, Any] = {"tries": config.start_tries, "log": log, "stop": stop}
    for height in reversed(heights(snapshots)):
        try:
            manifest = read_manifest(snapshots, height)
            expect(manifest, genesis_hash=genesis.hash)
            is_ours = await retry("own snapshot", partial(_is_ours, manifest, second, apis), **tries)
            if is_ours is None:
                return  # told to stop
            if not is_ours:
                told = {"height": height, "why": "two operators have another block at its height"}
                log("snapshot_set_aside", {**told, "kept_as": str(set_aside(snapshots, height))})
                continue
            chunks = read_chunks(snapshots, manifest)
            restore(folder, manifest, chunks, genesis.hash, round_length=genesis.params.round_length)
        except (SnapshotError, OSError) as error:
            log("snapshot_failed", {"height": height, "error": str(error)})
            if not any_age:
                return
            continue
        log("restored", {"height": height})
        return


async def _is_ours(manifest: Manifest, second: Second, apis: Sequence[Api]) -> bool:
    """Whether two operators have the block that a snapshot stands on. Raises ApiError while they do not tell.

    Where only one is configured there is no second word to wait for: his blocks must follow the snapshot's, and without
    a second operator to confirm them nothing is signed.
    """
    if len({api.operator for api in apis}) < 2:
        return True
    found = await second.id_of(manifest.height, lambda number: manifest.block_id)
    if found is None or found[0] < 2:
        raise ApiError(
            f"two servers of different operators must say which block {manifest.height} is, and do not: an own "
            f"snapshot stands on it, and may be of a fork that died"
        )
    return found[1] == manifest.block_id


def _asking(genesis: Genesis, apis: Sequence[Api], log: Log) -> tuple[Feed, Second]:
    """The servers as they are asked before there is a state."""
    clock = asyncio.get_running_loop().time
    feed = Feed(Servers(apis, clock=clock), genesis.chain, log, clock, read_proven, lambda name, evidence: None)
    return feed, Second(feed, genesis.chain, log, read_proven)


def note_damage(folder: Path) -> None:
    """What LevelDB found while the node ran: the next start sets the store aside."""
    DISK.replace(folder / _DAMAGED, b"")


def check_store(state: State, folder: Path, log: Log) -> None:
    """After an unclean end, hold every entry against the root. Raises StoreDamagedError."""
    marker = folder / _RUNNING
    if DISK.read(marker) is not None and state.height >= 0:
        if recomputed_root(state) != state.current_root():
            raise StoreDamagedError(
                f"the entries in {folder / 'state'} do not have the root of block {state.height}: start again, and a "
                f"snapshot or a replay takes its place",
                is_corrupt=True,
            )
        log("root_verified", {"height": state.height})
    DISK.replace(marker, b"")


def ended_cleanly(folder: Path) -> None:
    """The store was closed as it should be."""
    DISK.remove(folder / _RUNNING)


async def sync_if_new(
    config: Config,
    genesis: Genesis,
    session: aiohttp.ClientSession,
    apis: Sequence[Api],
    log: Log,
    stop: asyncio.Event,
    trust: Trusted | None,
) -> None:
    """Take a snapshot of peers for a node that has no state, if its group is not young. Without one it replays.

    Raises SyncError if ``trust`` names a root and no peer has it; ApiError while no server answers.
    """
    folder = config.data / "state"
    peers = [Peer(url, session) for url in peers_of(config, genesis)]
    if (folder.is_dir() and any(folder.iterdir())) or not (peers or trust):
        return
    feed, second = _asking(genesis, apis, log)
    sync = StateSync(genesis, feed, second, log, trust=trust)
    seen = await retry("API servers", lambda: feed.view(0, 0), tries=config.start_tries, log=log, stop=stop)
    young = genesis.start_block + _REPLAYED * genesis.params.round_length
    if seen is None or (seen[1].irreversible_number <= young and trust is None):
        return
    config.data.mkdir(parents=True, exist_ok=True)
    try:
        await unless_stopped(sync.run(peers, folder), stop)
    except (SyncError, ApiError) as error:
        if trust is not None:
            raise
        log("sync_failed", {"error": str(error), "remedy": "the node replays from the genesis: this takes longer"})


def peers_of(config: Config, genesis: Genesis) -> list[str]:
    """Where other nodes can be asked: the configuration first, then the domains of the genesis."""
    domains = [runner.domain for runner in genesis.runners if runner.domain and runner.account != config.account]
    return list(dict.fromkeys([*config.peers, *domains]))


def parse_trust(text: str) -> Trusted:
    """HEIGHT:ROOT as the operator writes it. Raises NodeError."""
    height, _, root = text.partition(":")
    try:
        raw = bytes.fromhex(root)
    except ValueError:
        raw = b""
    if not (height.isascii() and height.isdigit()) or len(raw) != 32:
        raise NodeError(f"--trust {text!r}: write HEIGHT:ROOT, a block number and 64 hex digits")
    return Trusted(int(height), raw)


def _free_name(path: Path) -> Path:
    number = 1
    while (found := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return found
