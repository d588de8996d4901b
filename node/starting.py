"""How a node comes up: its store opened, repaired after a damage, checked after an unclean end, synced from peers."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

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
from state.snapshot import heights, read_chunks, read_manifest, restore
from state.state import State
from state.store import LevelStore, sync_path
from state.verify import recomputed_root

#: Rounds that a new node rather replays than asks peers for a snapshot.
_REPLAYED = 10
_RUNNING, _DAMAGED = "running", "damaged"


def repair_store(config: Config, genesis: Genesis, log: Log) -> None:
    """Set a store aside that LevelDB finds corrupt, and put the newest own snapshot in its place, if there is one.

    Raises StateError for everything that an operator must look at: another process, another genesis, no permission.
    """
    folder = config.data / "state"
    if not (folder.is_dir() and any(folder.iterdir())):
        DISK.remove(config.data / _DAMAGED)  # it spoke of a store that is gone
        return
    try:
        LevelStore(folder, genesis.hash).close()
        if DISK.read(config.data / _DAMAGED) is None:
            return
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
    _restore_newest(config.data / "snapshots", folder, genesis, log)


def begin_with_own(config: Config, genesis: Genesis, log: Log) -> None:
    """Without a state, begin with the newest own snapshot if it is whole: peers and a replay take longer."""
    folder, snapshots = config.data / "state", config.data / "snapshots"
    if not (folder.is_dir() and any(folder.iterdir())):
        _restore_newest(snapshots, folder, genesis, log, most=1)


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
    clock = asyncio.get_running_loop().time
    feed = Feed(Servers(apis, clock=clock), genesis.chain, log, clock, read_proven, lambda name, evidence: None)
    sync = StateSync(genesis, feed, Second(feed, genesis.chain, log, read_proven), log, trust=trust)
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


def _restore_newest(snapshots: Path, folder: Path, genesis: Genesis, log: Log, most: int | None = None) -> None:
    """Make the store from the newest own snapshot that is whole, of the ``most`` newest; without one it begins anew."""
    for height in list(reversed(heights(snapshots)))[:most]:
        try:
            manifest = read_manifest(snapshots, height)
            chunks = read_chunks(snapshots, manifest)
            restore(folder, manifest, chunks, genesis.hash, round_length=genesis.params.round_length)
        except (SnapshotError, OSError) as error:
            log("snapshot_failed", {"height": height, "error": str(error)})
            continue
        log("restored", {"height": height})
        return


def _free_name(path: Path) -> Path:
    number = 1
    while (found := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return found
