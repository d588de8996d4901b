"""Writes block_logs as hived does: packed blocks, their words, artifacts beside them. And opens them."""

import struct
from functools import cache
from pathlib import Path

import zstandard

from node.history.block_log import BlockLog
from processors.hive.block import Block, pack_header
from processors.hive.chain import Chain
from processors.hive.transaction import pack_signatures
from processors.hive.types import varint
from tests.vectors import hived_chain

VECTORS = Path(__file__).parents[2] / "vectors"
GENUINE = VECTORS / "hived_block_log"
RAW = 256  # instead of a dictionary's number: the block as it is
PLAIN = 257  # zstd without a dictionary


def packed(block: Block) -> bytes:
    """The bytes that hived packs of a block, its transactions in the pack in which they are."""
    count = len(block.transactions)
    found = pack_header(block.header) + block.header.signature + varint(count)
    for index in range(count):
        tx, raw, _ = block.transaction(index)
        found += raw + pack_signatures(tx.signatures)
    return found


@cache
def dictionary() -> zstandard.ZstdCompressionDict:
    """Hive's dictionary 0."""
    raw = zstandard.ZstdDecompressor().decompress((VECTORS / "hive_zstd_dictionary_000M.zst").read_bytes())
    return zstandard.ZstdCompressionDict(raw)


def compressed(raw: bytes, how: int, *, told: bool = False) -> bytes:
    """What stands of a block before its word; with ``told`` its size is in it, which hived leaves out."""
    if how == RAW:
        return raw
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=told, write_checksum=0, write_dict_id=0
    )
    own = None if how == PLAIN else dictionary()
    return zstandard.ZstdCompressor(dict_data=own, compression_params=parameters).compress(raw)


def word(position: int, how: int) -> int:
    """Position and flags."""
    return position | {RAW: 0, PLAIN: 1 << 63}.get(how, 0x81 << 56 | how << 48)


def log_of(raws: list[bytes], how: int = 0) -> tuple[bytes, list[int]]:
    """(a block_log, its words)."""
    return log_of_packed([(compressed(raw, how), how) for raw in raws])


def log_of_packed(entries: list[tuple[bytes, int]]) -> tuple[bytes, list[int]]:
    """The same of what is packed already."""
    log, words = bytearray(), []
    for data, how in entries:
        words.append(word(len(log), how))
        log += data + words[-1].to_bytes(8, "little")
    return bytes(log), words


def artifacts_of(words: list[int], first: int = 1, **other: int) -> bytes:
    """An artifacts file with these words; its ids are of nobody."""
    head = {"head": first + len(words) - 1, "major": 1, "minor": 1, "interrupted": 0} | other
    header = struct.pack("<I41sBBBII", head["head"], b"f" * 40, head["major"], head["minor"], 1, 1, head["interrupted"])
    return header + b"".join(struct.pack("<Q16s", one, b"") for one in words)


def words_in(log: bytes) -> list[int]:
    """The words of a whole log."""
    found, end = [], len(log)
    while end:
        found.append(int.from_bytes(log[end - 8 : end], "little"))
        end = found[-1] & (1 << 48) - 1
    return found[::-1]


@cache
def genuine_raws() -> list[bytes]:
    """The blocks of the genuine log, unpacked here without the code under test."""
    log = GENUINE.read_bytes()
    unpack = zstandard.ZstdDecompressor(dict_data=dictionary(), format=zstandard.FORMAT_ZSTD1_MAGICLESS).decompress
    starts = [one & (1 << 48) - 1 for one in words_in(log)]
    ends = [*starts[1:], len(log)]
    return [unpack(log[start : end - 8], max_output_size=1 << 21) for start, end in zip(starts, ends, strict=True)]


LOG = GENUINE.read_bytes()
WORDS = words_in(LOG)
STARTS = [one & (1 << 48) - 1 for one in WORDS]
ARTIFACTS = (VECTORS / "hived_block_log.artifacts").read_bytes()
LAST = len(WORDS)


def opened(
    folder: Path,
    log: bytes | None = None,
    artifacts: bytes | None = None,
    *,
    chain: Chain | None = None,
    dictionaries: Path | None = VECTORS,
) -> BlockLog:
    """The log of a folder after these bytes were written there."""
    if log is not None:
        (folder / "block_log").write_bytes(log)
    if artifacts is not None:
        (folder / "block_log.artifacts").write_bytes(artifacts)
    return BlockLog.open(folder, chain or hived_chain(), dictionaries)


def index_of(log: BlockLog) -> type:
    """How its only file is looked up in."""
    return type(log._files[0]._index)


def numbers(log: BlockLog, first: int | None = None, last: int | None = None) -> list[int]:
    """The numbers of all its blocks, or of some."""
    span = log.span()
    return [] if span is None else [block.number for block in log.blocks(first or span[0], last or span[1])]


def whole(log: BlockLog, last: int = LAST) -> bool:
    """Whether it gives all blocks up to ``last``, proven."""
    assert log.span() == (1, last)
    for number, block in enumerate(log.blocks(1, last), 1):
        block.prove()
        assert block.number == number
        assert packed(block) == genuine_raws()[number - 1]
    assert number == last
    return True
