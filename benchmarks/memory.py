"""RSS of `waggle run` after 3,000 live blocks on a state of 1,000,000 keys of 200 bytes."""

import asyncio
import tempfile
from pathlib import Path

from benchmarks.table import Row, of
from benchmarks.world import fill
from node.devnet.cluster import Cluster
from node.devnet.founding import found, genesis_document
from processors.engine import begin
from processors.hive.block import read_block
from state.state import State
from state.store import LevelStore

KEYS, BLOCKS = 1_000_000, 3_000
PARAMETERS = {"round_length": 100, "min_signers": 1}


async def measure(folder: Path) -> float:
    """MiB of resident memory of a real node process."""
    cluster = Cluster(folder, 1, interval=0.01, lag=1)
    text = genesis_document(cluster.members, start_block=100, parameters=PARAMETERS)
    genesis = found(text)
    for _ in range(102):
        cluster.chain.produce()
    home = folder / cluster.members[0].account / "data" / "state"
    home.mkdir(parents=True)
    state = State(LevelStore(home), genesis.hash, round_length=100)
    raw = cluster.chain.show_block(100, typed=True)
    assert raw is not None
    begin(state, genesis, read_block(raw, cluster.chain.chain))
    fill(state, KEYS, size=200)
    state.current_root()
    state.flush()
    state.close()
    await cluster.start(PARAMETERS)
    process = next(iter(cluster.running.values()))
    target = cluster.chain.head_number + BLOCKS
    while cluster.chain.head_number < target:
        await asyncio.sleep(0.2)
        assert process.returncode is None, (folder / "runner01" / "node.log").read_text()[-2000:]
    await asyncio.sleep(1)
    newest = max(cluster.roots()["runner01"], default=0)
    assert newest > target - 200, f"the node is only at {newest} of {target}"
    status = Path(f"/proc/{process.pid}/status").read_text()
    rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    await cluster.stop()
    return rss / 1024


def all_rows() -> list[Row]:
    """The one figure of memory."""
    with tempfile.TemporaryDirectory() as folder:
        rss = asyncio.run(measure(Path(folder)))
    return [of("RSS of waggle run, 3,000 live blocks, 1,000,000 keys", [rss], " MiB", 150, higher=False)]
