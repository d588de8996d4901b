"""The archive: blocks added and read a second, and how much smaller than their JSON they are."""

import json
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256, sha512
from pathlib import Path

import msgspec
from msgspec.structs import replace

from benchmarks.table import Row, of
from benchmarks.world import Maker, foreign
from node.feed.archive import Archive
from processors.hive.transaction import Transaction

VECTORS = Path(__file__).parent.parent / "tests" / "vectors"
RUNS = 5


def signed(number: int, index: int) -> Transaction:
    """A stranger's transfer whose signature and reference do not repeat, as on Hive: that is what packs badly."""
    prefix = int.from_bytes(sha256(f"{number}".encode()).digest()[:4], "little")
    noise = sha512(f"{number}/{index}".encode()).digest()
    return replace(foreign(number, index), ref_block_prefix=prefix, signatures=(b"\x1f" + noise,))


def made(count: int, transactions: int) -> list[bytes]:
    """Linked blocks as a server gives them."""
    maker = Maker(100)
    return [
        msgspec.json.encode(
            maker.block([signed(n, i) for i in range(transactions)])
            | {"signing_key": "STM6LLegbAgLAy28EHrffBVuANFWcFgmqRMW13wBmTExqFE9SCkg4"}
        )
        for n in range(101, 101 + count)
    ]


def real() -> dict[str, list[bytes]]:
    """Blocks that others made, by what they are."""
    hive = json.loads((VECTORS / "mainnet_blocks_1000000.json").read_text())["blocks"]
    testnet = json.loads((VECTORS / "hived_blocks.json").read_text())["block_api"]
    return {
        "Hive's blocks from 1,000,000 on": [msgspec.json.encode(block) for block in hive],
        "blocks of a hived testnet": [msgspec.json.encode(block) for block in testnet],
    }


def measure(raws: list[bytes]) -> tuple[float, float, float]:
    """(blocks added a second, blocks read a second, ratio of their JSON to what is on disk)."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        with Archive.open(Path(folder), write=True) as archive:
            first = int(json.loads(raws[0])["previous"][:8], 16) + 1
            for raw in raws:
                archive.append(raw)
        added = time.perf_counter()
        count = sum(1 for _ in Archive.open(Path(folder)).read(first, first + len(raws) - 1))
        read = time.perf_counter()
        assert count == len(raws)
        size = sum(path.stat().st_size for path in Path(folder).glob("*.seg"))
    return len(raws) / (added - begun), len(raws) / (read - added), sum(map(len, raws)) / size


def all_rows() -> list[Row]:
    """Rates of small and full blocks, and ratios of these and of real ones."""
    rows = []
    makers: dict[str, tuple[Callable[[], list[bytes]], int, int]] = {
        "of 5 transactions": (lambda: made(10_000, 5), 5_000, 50_000),
        "of 60 transactions": (lambda: made(1_500, 60), 400, 10_000),
    }
    for name, (make, append, read) in makers.items():
        raws = make()
        found = [measure(raws) for _ in range(RUNS)]
        rows.append(of(f"archive: blocks {name} added", [one[0] for one in found], "/s", append, higher=True))
        rows.append(of(f"archive: blocks {name} read", [one[1] for one in found], "/s", read, higher=True))
        rows.append(of(f"archive: JSON to disk, blocks {name}", [found[0][2]], " x", 10, higher=True))
    for name, raws in real().items():
        rows.append(of(f"archive: JSON to disk, {name}", [measure(raws)[2]], " x", 10, higher=True))
    return rows
