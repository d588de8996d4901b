"""The engine and the state: blocks a second, Merkle checks, recoveries, root updates."""

import gc
import statistics
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.table import Row, of, rate
from benchmarks.world import Maker, busy_blocks, fill, foreign, group_of, members, new_state
from node.devnet.founding import CHAIN, devnet_key
from processors.engine import apply_block
from processors.hive.block import read_block
from processors.hive.crypto import recover
from state.schema import BALANCE, REJECTED, Balance
from state.store import LevelStore

#: So many reports and signatures as fit: one of each a block.
BUSY = {"round_length": 100, "report_at": 1, "max_in_flight": 20, "max_merge": 1, "max_rejections": 1000}


def apply_busy(runs: int = 3, count: int = 1500, keys: int = 100_000) -> list[Row]:
    """apply_block from the parsed envelope to the committed LevelDB batch, root each 100 blocks included."""
    people = members(98)
    genesis = group_of(people[:25], **BUSY)
    busy = busy_blocks(genesis, people[:25], people[25:], count)
    rows = []
    for share, words in ((64, "64 blocks share a synced batch"), (1, "a synced batch each")):
        figures = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as folder:
                state = new_state(genesis, LevelStore(Path(folder)), busy.warm[0])
                fill(state, keys)
                for raw in busy.warm[1:]:
                    apply_block(state, genesis, read_block(raw, CHAIN))
                blocks = [read_block(raw, CHAIN) for raw in busy.measured]
                gc.collect()
                gc.freeze()  # the parsed blocks waiting here are the benchmark's: no node holds so many at once
                begun = time.perf_counter()
                for block in blocks:
                    apply_block(state, genesis, block, flush=block.number % share == 0)
                state.flush()
                figures.append(count / (time.perf_counter() - begun))
                gc.unfreeze()
                assert next(state.walk(REJECTED), None) is None, "every operation must be accepted"
                state.close()
        name = f"apply_block, 60 transactions, {keys:,} keys, {words}"
        rows.append(of(name, figures, "/s", 3000, higher=True))
    return rows


def apply_foreign(transactions: int, runs: int = 3, count: int = 3000) -> Row:
    """Foreign blocks from raw bytes, link checked, Merkle not; 64 blocks share a synced batch."""
    genesis = group_of(members(25))
    maker = Maker(100)
    first = maker.block([])
    raws = [
        msgspec.json.encode(maker.block([foreign(number, index) for index in range(transactions)]))
        for number in range(101, 101 + count)
    ]
    figures = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            state = new_state(genesis, LevelStore(Path(folder)), first)
            begun = time.perf_counter()
            for raw in raws:
                block = read_block(raw, CHAIN)
                apply_block(state, genesis, block, flush=block.number % 64 == 0)
            state.flush()
            figures.append(count / (time.perf_counter() - begun))
            state.close()
    return of(f"foreign blocks of {transactions} transactions, from raw bytes", figures, "/s", 10_000, higher=True)


def merkle() -> Row:
    """Merkle check of a foreign block of 60 transactions, from raw bytes."""
    maker = Maker(100)
    raws = [msgspec.json.encode(maker.block([foreign(n, i) for i in range(60)])) for n in range(300)]

    def work() -> None:
        for raw in raws:
            read_block(raw, CHAIN).prove()

    return rate("Merkle check, 60 transactions, from raw bytes", len(raws), work, 500)


def recovery() -> Row:
    """Strict signature recovery through our API."""
    key = devnet_key("bench")
    digests = [bytes([n]) * 32 for n in range(250)]
    pairs = [(key.sign(digest), digest) for digest in digests] * 8

    def work() -> None:
        for signature, digest in pairs:
            recover(signature, digest)

    return rate("signature recovery", len(pairs), work, 20_000)


def root_updates(changed: int = 300, rounds: int = 7) -> list[Row]:
    """A commit with ``changed`` keys and the root, synced, at 1,000 and at 1,000,000 keys."""
    genesis = group_of(members(25))
    medians, rows = [], []
    for keys in (1_000, 1_000_000):
        with tempfile.TemporaryDirectory() as folder:
            maker = Maker(100)
            state = new_state(genesis, LevelStore(Path(folder)), maker.block([]))
            fill(state, keys)
            state.current_root()
            state.flush()
            figures = []
            for turn in range(rounds):
                view = state.view()
                for index in range(changed):
                    number = (index * 7919 + turn * 104729) % keys
                    view.put(BALANCE, Balance(10**9 + turn), f"filler{number:07}")
                begun = time.perf_counter()
                state.commit(view, flush=False)
                state.current_root()
                state.flush()
                figures.append((time.perf_counter() - begun) * 1000)
            state.close()
        medians.append(statistics.median(figures))
        rows.append(
            of(f"commit of {changed} changed of {keys:,} keys, with root, synced", figures, " ms", 1000, higher=False)
        )
    rows.append(of("ratio of the two commits", [medians[1] / medians[0]], "x", 2, higher=False))
    return rows


def all_rows() -> list[Row]:
    """Every figure of the engine."""
    return [*apply_busy(), apply_foreign(60), apply_foreign(5), merkle(), recovery(), *root_updates()]
