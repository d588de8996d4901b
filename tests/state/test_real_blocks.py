"""Snapshots and rewinds under the real rules: what comes after them is what every other node has."""

import random
from pathlib import Path

import pytest

from processors.engine import apply_block
from state.snapshot import create, read_chunks, read_manifest, restore, verify
from state.state import State
from state.store import LevelStore, MemoryStore
from tests.processors.blocks import Stage
from tests.processors.test_engine import eventful

LAST = 215


@pytest.fixture(scope="module")
def stage() -> Stage:
    """A group with reports, signatures, refusals, rejections; rounds of 50 blocks from 100 on."""
    return eventful()


def go_on(state: State, stage: Stage) -> None:
    """Apply the blocks that the state lacks, each compared with the node that saw all."""
    for block in stage.blocks[state.height + 1 - 100 :]:
        apply_block(state, stage.genesis, block, flush=block.number % 3 == 0)
        assert state.trace(block.number) == stage.state.trace(block.number)
        assert state.root(block.number) == stage.state.root(block.number)
    assert state.height == LAST
    assert state.current_root() == stage.state.current_root()


@pytest.mark.parametrize("height", [100, 150, 200])
def test_a_node_from_a_snapshot_goes_on(stage: Stage, tmp_path: Path, height: int) -> None:
    first = stage.new_state(LevelStore(tmp_path / "first"))
    for block in stage.blocks[1 : height - 99]:
        apply_block(first, stage.genesis, block)
    reader = first.freeze()
    list(create(reader, tmp_path / "snapshots"))
    reader.close()
    first.close()
    manifest = verify(tmp_path / "snapshots", height, stage.genesis.hash)
    assert manifest == read_manifest(tmp_path / "snapshots", height)
    assert manifest.root == stage.state.root(height)
    chunks = read_chunks(tmp_path / "snapshots", manifest)
    restore(tmp_path / "state", manifest, chunks, stage.genesis.hash, round_length=50)
    state = State(LevelStore(tmp_path / "state", stage.genesis.hash), stage.genesis.hash, round_length=50)
    assert (state.height, state.current_root()) == (height, manifest.root)
    go_on(state, stage)
    assert state.round_tops() == stage.state.round_tops()
    state.close()


def test_back_and_forth_under_the_rules(stage: Stage) -> None:
    state, chance = stage.new_state(MemoryStore()), random.Random(8)
    go_on(state, stage)
    for target in [214, 200, 199, 150, 149, 101, 100, *(chance.randrange(100, LAST) for _ in range(4))]:
        state.rewind(target)
        assert state.height == target
        assert state.root(target // 50 * 50) == stage.state.root(target // 50 * 50)
        go_on(state, stage)
