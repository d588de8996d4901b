"""hived's block_log: blocks read a second, linked, and also proven; and how fast its words are walked."""

import tempfile
import time
from pathlib import Path

import zstandard

from benchmarks.archive import signed
from benchmarks.table import Row, of
from benchmarks.world import Maker
from node.devnet.founding import CHAIN
from node.history.block_log import BlockLog
from processors.hive.block import Block, pack_header, read_block
from processors.hive.packed import as_json
from processors.hive.transaction import pack_signatures
from processors.hive.types import varint

RUNS = 5
BLOCKS, TRANSFERS = 1_500, 60
SMALL = 100_000  # empty blocks, for the walk


def packed(block: Block) -> bytes:
    """The bytes that hived stores of a block."""
    count = len(block.transactions)
    found = [pack_header(block.header), block.header.signature, varint(count)]
    for index in range(count):
        tx, raw, _ = block.transaction(index)
        found += [raw, pack_signatures(tx.signatures)]
    return b"".join(found)


def write(path: Path, count: int, transactions: int) -> None:
    """A log of so many linked blocks, packed with zstd as hived does it, but without its dictionary."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=False
    )
    compress = zstandard.ZstdCompressor(compression_params=parameters).compress
    maker, at = Maker(1), 0
    with path.open("wb") as file:
        for number in range(1, count + 1):
            block = read_block(maker.block([signed(number, index) for index in range(transactions)]), CHAIN)
            entry = compress(packed(block))
            file.write(entry + (1 << 63 | at).to_bytes(8, "little"))
            at += len(entry) + 8


def measure(path: Path) -> tuple[float, float, float, float]:
    """(opened in seconds, then a second: blocks read and linked, with prove() too, and made JSON for the archive)."""
    begun = time.perf_counter()
    with BlockLog.open(path, CHAIN) as log:
        opened = time.perf_counter()
        count = sum(1 for _ in log.blocks(1, BLOCKS))
        read = time.perf_counter()
        for block in log.blocks(1, BLOCKS):
            block.prove()
        proven = time.perf_counter()
        for block in log.blocks(1, BLOCKS):
            as_json(block)
        shown = time.perf_counter()
    assert count == BLOCKS
    return opened - begun, count / (read - opened), count / (proven - read), count / (shown - proven)


def walked(path: Path) -> float:
    """Entries a second when a log without artifacts is opened."""
    begun = time.perf_counter()
    BlockLog.open(path, CHAIN).close()
    return SMALL / (time.perf_counter() - begun)


def all_rows() -> list[Row]:
    """Rates of full blocks, and of the walk over small ones."""
    with tempfile.TemporaryDirectory() as folder:
        full, small = Path(folder) / "full", Path(folder) / "small"
        write(full, BLOCKS, TRANSFERS)
        write(small, SMALL, 0)
        found = [measure(full) for _ in range(RUNS)]
        walks = [walked(small) for _ in range(RUNS)]
    what = f"blocks of {TRANSFERS} transactions"
    return [
        of(f"block_log: {what} read and linked", [one[1] for one in found], "/s", 5_000, higher=True),
        of(f"block_log: {what} read and proven", [one[2] for one in found], "/s", 400, higher=True),
        of(f"block_log: {what} read and made JSON", [one[3] for one in found], "/s", 100, higher=True),
        of("block_log: entries walked without artifacts", walks, "/s", 300_000, higher=True),
    ]
