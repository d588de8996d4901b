"""Snapshots of a state of 1,000,000 keys: written, checked, made into a store again, each in its own process."""

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.table import Row, of
from benchmarks.world import Maker, fill, group_of, members, new_state
from state.snapshot import create, read_chunks, read_manifest, restore, verify
from state.state import State
from state.store import LevelStore

KEYS, RUNS, ROUND, HEIGHT = 1_000_000, 3, 100, 100
MIB = 1 << 20


def prepare(folder: Path) -> bytes:
    """A store of so many keys; returns its genesis hash."""
    genesis = group_of(members(25), round_length=ROUND)
    state = new_state(genesis, LevelStore(folder / "state"), Maker(HEIGHT).block([]))
    fill(state, KEYS)
    state.close()
    return genesis.hash


def make(folder: Path, genesis_hash: bytes, turn: int) -> tuple[float, float]:
    """Seconds to write a snapshot, and the longest wait between two chunks in ms."""
    state = State(LevelStore(folder / "state"), genesis_hash, round_length=ROUND)
    reader = state.freeze()
    begun = before = time.perf_counter()
    longest = 0.0
    for _ in create(reader, folder / f"snapshots{turn}"):
        now = time.perf_counter()
        before, longest = now, max(longest, now - before)
    seconds = time.perf_counter() - begun
    reader.close()
    state.close()
    return seconds, longest * 1000


def check(folder: Path, genesis_hash: bytes, turn: int) -> tuple[float, float]:
    """Seconds to check a snapshot."""
    begun = time.perf_counter()
    verify(folder / f"snapshots{turn}", HEIGHT, genesis_hash)
    return time.perf_counter() - begun, 0.0


def take(folder: Path, genesis_hash: bytes, turn: int) -> tuple[float, float]:
    """Seconds to make a store from a snapshot, and the MiB of that store."""
    snapshots, target = folder / f"snapshots{turn}", folder / f"restored{turn}"
    begun = time.perf_counter()
    manifest = read_manifest(snapshots, HEIGHT)
    restore(target, manifest, read_chunks(snapshots, manifest), genesis_hash, round_length=ROUND)
    store = LevelStore(target, genesis_hash)
    state = State(store, genesis_hash, round_length=ROUND)
    seconds, size = time.perf_counter() - begun, store.size() / MIB
    assert state.root(HEIGHT) == state.current_root() == manifest.root
    state.close()
    return seconds, size


def alone(work: Callable[..., tuple[float, float]], *arguments: Any) -> tuple[float, float, float]:
    """What ``work`` measures, and the MiB of memory that its process had at most."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        first, second = pool.apply(work, arguments)
        return first, second, pool.apply(_peak)


def _peak() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def all_rows() -> list[Row]:
    """Times, sizes and memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        genesis_hash = prepare(folder)
        made = [alone(make, folder, genesis_hash, turn) for turn in range(RUNS)]
        checked = [alone(check, folder, genesis_hash, turn) for turn in range(RUNS)]
        taken = [alone(take, folder, genesis_hash, turn) for turn in range(RUNS)]
        size = sum(path.stat().st_size for path in folder.joinpath("snapshots0", str(HEIGHT)).iterdir()) / MIB
    keys = f"{KEYS:,} keys"
    return [
        of(f"writing a snapshot of {keys}", [one[0] for one in made], " s", 30, higher=False),
        of("the longest wait for a chunk of it", [one[1] for one in made], " ms", 250, higher=False),
        of("memory of the process that writes it", [one[2] for one in made], " MiB", 150, higher=False),
        of("the snapshot on disk", [size], " MiB", 100, higher=False),
        of(f"checking a snapshot of {keys}", [one[0] for one in checked], " s", 30, higher=False),
        of(f"a store from a snapshot of {keys}", [one[0] for one in taken], " s", 30, higher=False),
        of("memory of the process that makes it", [one[2] for one in taken], " MiB", 300, higher=False),
        of("the store made from it", [one[1] for one in taken], " MiB", 300, higher=False),
    ]
