"""hived's block_log: every block of a genuine one, however it is packed, in one file or in parts."""

import os
import shutil
import tracemalloc
from itertools import pairwise

import pytest
import zstandard

from node.errors import FeedError
from node.feed.archive import Archive
from node.history import log_file
from node.history.block_log import BlockLog
from node.history.log_index import Artifacts, Walked
from node.history.log_packing import MAX_BLOCK
from processors.engine import apply_block, begin
from processors.hive.block import read_block
from processors.hive.packed import as_json
from state.state import State
from state.store import MemoryStore
from tests.node.history.logs import (
    ARTIFACTS,
    GENUINE,
    LAST,
    LOG,
    PLAIN,
    RAW,
    STARTS,
    VECTORS,
    artifacts_of,
    compressed,
    dictionary,
    genuine_raws,
    index_of,
    log_of,
    log_of_packed,
    numbers,
    opened,
    packed,
    whole,
)
from tests.processors.test_engine import eventful
from tests.vectors import hived_blocks, hived_chain

# -- the genuine one


@pytest.mark.parametrize("artifacts", [None, ARTIFACTS], ids=["walked", "artifacts"])
def test_every_block_is_read_and_proven(tmp_path, artifacts):
    with opened(tmp_path, LOG, artifacts) as log:
        assert index_of(log) is (Artifacts if artifacts else Walked)
        assert whole(log)
        assert log.name == f"the block_log {tmp_path}" and log.caveat == ""


def test_it_is_what_the_api_gave(tmp_path):
    first, last = hived_blocks()["first"], hived_blocks()["last"]
    with opened(tmp_path, LOG, ARTIFACTS) as log:
        for block, answer in zip(log.blocks(first, last), hived_blocks()["block_api"], strict=True):
            other = read_block(answer, hived_chain())
            assert (block.id, block.header) == (other.id, other.header)
            for index, txid in enumerate(answer["transaction_ids"]):
                assert block.transaction(index) == other.transaction(index)
                assert block.transaction(index)[2].hex() == txid


@pytest.mark.parametrize("artifacts", [None, ARTIFACTS], ids=["walked", "artifacts"])
def test_any_part_of_it(tmp_path, artifacts, monkeypatch):
    monkeypatch.setattr(log_file, "_BATCH", 7)
    monkeypatch.setattr(log_file, "_READ", 1500)
    with opened(tmp_path, LOG, artifacts) as log:
        for first, last in [(1, 1), (1, 7), (6, 9), (100, 130), (LAST, LAST), (LAST - 8, LAST), (1, LAST), (5, 4)]:
            assert numbers(log, first, last) == list(range(first, last + 1))
        for first, last in [(0, 1), (1, LAST + 1), (LAST + 1, LAST + 1), (-5, 3)]:
            with pytest.raises(FeedError, match=f"holds the blocks 1 to {LAST}, not {first} to {last}: fetch"):
                list(log.blocks(first, last))


def test_a_file_is_named_or_its_folder(tmp_path):
    shutil.copy(GENUINE, tmp_path / "anything")
    with BlockLog.open(tmp_path / "anything", hived_chain(), VECTORS) as log:
        assert numbers(log, 3, 5) == [3, 4, 5]
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "no" / "block_log_part.0001"):
        with pytest.raises(FeedError, match="name "):
            BlockLog.open(path, hived_chain(), VECTORS)


def test_nothing_stays_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for artifacts in (ARTIFACTS, b"no", b""):
        opened(tmp_path, LOG, artifacts).close()
    with pytest.raises(FeedError):
        opened(tmp_path, LOG, ARTIFACTS, dictionaries=tmp_path)
    with pytest.raises(FeedError):
        opened(tmp_path, bytes(3 << 20), b"")
    assert len(os.listdir("/proc/self/fd")) == before


# -- how it is packed


@pytest.mark.parametrize("how", [RAW, PLAIN, 0])
def test_however_it_is_packed(tmp_path, how):
    log, words = log_of(genuine_raws(), how)
    for artifacts in (b"", artifacts_of(words)):
        with opened(tmp_path, log, artifacts) as found:
            assert whole(found)


def test_each_entry_in_its_own_way(tmp_path):
    ways = [(compressed(raw, how), how) for raw, how in zip(genuine_raws(), [RAW, PLAIN, 0] * LAST, strict=False)]
    log, words = log_of_packed(ways)
    with opened(tmp_path, log, artifacts_of(words)) as found:
        assert whole(found)


def test_a_missing_dictionary_is_named(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FeedError, match=r"empty/hive_zstd_dictionary_000M\.zst: .* compression_dictionaries"):
        opened(tmp_path, LOG, dictionaries=empty)
    with opened(tmp_path, log_of(genuine_raws(), PLAIN)[0], dictionaries=empty) as log:
        assert whole(log)
    ways = [(compressed(raw, 0), 7 if number == 5 else 0) for number, raw in enumerate(genuine_raws())]
    with opened(tmp_path, log_of_packed(ways)[0]) as log, pytest.raises(FeedError, match="dictionary_007M"):
        numbers(log)


def test_dictionaries_lie_beside_the_log_unless_told(tmp_path):
    shutil.copy(VECTORS / "hive_zstd_dictionary_000M.zst", tmp_path)
    with opened(tmp_path, LOG, dictionaries=None) as log:
        assert whole(log)


def test_what_is_no_dictionary(tmp_path):
    plain = dictionary().as_bytes()
    (tmp_path / "hive_zstd_dictionary_000M.zst").write_bytes(plain)
    with opened(tmp_path, LOG, dictionaries=tmp_path) as log:  # one that somebody unpacked
        assert whole(log)
    bomb = zstd(bytes(1 << 30))
    for data in (b"", b"no", zstd(b"no dictionary"), plain[:50], zstd(plain)[:-9], bomb):
        (tmp_path / "hive_zstd_dictionary_000M.zst").write_bytes(data)
        with pytest.raises(FeedError, match=r"dictionary_000M\.zst .* compression_dictionaries"):
            opened(tmp_path, LOG, dictionaries=tmp_path)


def zstd(data):
    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize("told", [False, True])
def test_a_bomb_is_refused_before_it_takes_memory(tmp_path, told):
    bomb = genuine_raws()[0][:-1] + b"\xff\xff\xff\xff\x0f" + bytes(400 << 20)
    small = compressed(bomb, PLAIN, told=told)
    del bomb
    assert len(small) < MAX_BLOCK
    ways = [(compressed(raw, 0), 0) for raw in genuine_raws()[:9]]
    tracemalloc.start()
    try:
        with opened(tmp_path, log_of_packed([*ways, (small, PLAIN)])[0]) as log:  # as the last it is not whole
            assert whole(log, 9)
        middle = [*ways[:4], (small, PLAIN), *ways[5:]]
        with opened(tmp_path, log_of_packed(middle)[0]) as log, pytest.raises(FeedError, match="block 5: "):
            numbers(log)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


# -- parts


def split(folder, *, at=(100, 200), without=(), artifacts=True):
    """The genuine log in parts, as hived cuts one: each with its own positions."""
    bounds = [0, *at, LAST]
    ways = [(LOG[start : end - 8], 0) for start, end in zip(STARTS, [*STARTS[1:], len(LOG)], strict=True)]
    for part, (before, end) in enumerate(pairwise(bounds), 1):
        if part not in without:
            log, words = log_of_packed(ways[before:end])
            (folder / f"block_log_part.{part:04}").write_bytes(log)
            if artifacts:
                name = f"block_log_part.{part:04}.artifacts"
                (folder / name).write_bytes(artifacts_of(words, before + 1))


@pytest.mark.parametrize("artifacts", [False, True])
def test_parts(tmp_path, artifacts):
    split(tmp_path, artifacts=artifacts)
    for path in (tmp_path, tmp_path / "block_log_part.0001"):
        with BlockLog.open(path, hived_chain(), VECTORS) as log:
            assert [index_of(log), len(log._files)] == [Artifacts if artifacts else Walked, 3]
            assert whole(log)
            assert numbers(log, 100, 101) == [100, 101]
            assert numbers(log, 150, 250) == list(range(150, 251))


def test_parts_that_hived_pruned_or_somebody_lost(tmp_path):
    split(tmp_path, without=(1,))
    with opened(tmp_path) as log:
        assert log.span() == (101, LAST) and len(numbers(log)) == LAST - 100
    split(tmp_path)
    (tmp_path / "block_log_part.0002").unlink()
    with opened(tmp_path) as log:
        assert log.span() == (201, LAST)
        with pytest.raises(FeedError, match=f"holds the blocks 201 to {LAST}"):
            numbers(log, 100, 220)


def test_a_newest_part_that_is_new(tmp_path):
    split(tmp_path)
    for data in (b"", b"torn"):
        (tmp_path / "block_log_part.0004").write_bytes(data)
        with opened(tmp_path) as log:
            assert whole(log)


def test_parts_and_a_whole_log_in_one_folder(tmp_path):
    split(tmp_path)
    shutil.copy(GENUINE, tmp_path / "block_log")
    with pytest.raises(FeedError, match="name the file, or the first of the parts"):
        BlockLog.open(tmp_path, hived_chain(), VECTORS)
    for path in (tmp_path / "block_log", tmp_path / "block_log_part.0001"):
        with BlockLog.open(path, hived_chain(), VECTORS) as log:
            assert whole(log)


# -- under the rules


def test_a_group_replays_from_it(tmp_path):
    stage = eventful()
    log, words = log_of([packed(block) for block in stage.blocks], PLAIN)
    state = State(MemoryStore(), stage.genesis.hash, round_length=stage.genesis.params.round_length)
    with opened(tmp_path, log, artifacts_of(words, 100), chain=stage.maker.chain) as found:
        first, *rest = found.blocks(100, stage.height)
        assert index_of(found) is Artifacts
        begin(state, stage.genesis, first)
        for block in rest:
            block.prove()
            apply_block(state, stage.genesis, block)
            assert state.trace(block.number) == stage.state.trace(block.number)
    assert state.current_root() == stage.state.current_root()


def test_the_archive_takes_its_blocks(tmp_path):
    with opened(tmp_path, LOG) as log, Archive.open(tmp_path / "archive", write=True) as archive:
        blocks = list(log.blocks(1, LAST))
        for block in blocks:
            archive.append(as_json(block))
        archive.flush()
        for block, text in zip(blocks, archive.read(1, LAST), strict=True):
            again = read_block(text, hived_chain())
            again.prove()
            count = len(block.transactions)
            assert again.id == block.id
            assert [again.transaction(index) for index in range(count)] == [
                block.transaction(index) for index in range(count)
            ]
