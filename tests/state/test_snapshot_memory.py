"""What a snapshot costs in memory while it is taken is bounded, whatever a liar chose; the trees are the same."""

import os
from hashlib import sha256
from pathlib import Path

import pytest

from state import chunks, schema
from state.chunks import Leaves
from state.errors import SnapshotError
from state.snapshot import Restoring, _Scratch, read_chunks, read_manifest
from state.store import MemoryStore
from tests.state import model as m
from tests.state.model import state_over
from tests.state.test_snapshot import large, made, names, pages, taken


def leaf(number: int) -> tuple[bytes, bytes]:
    """Some key's hash, and its value's."""
    return sha256(b"k%d" % number).digest(), sha256(b"v%d" % number).digest()


@pytest.fixture
def spilling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second leaf of a part leaves the memory."""
    monkeypatch.setattr(chunks, "_SPILL_BYTES", 128)


@pytest.mark.parametrize("count", [1, 20, 33, 300, 4_000])
def test_trees_of_spilled_leaves_are_those_made_by_updates(tmp_path: Path, spilling: None, count: int) -> None:
    state = state_over(MemoryStore())
    m.apply(state, large(count))
    made(state, tmp_path / "snapshots")
    found = taken(tmp_path / "snapshots", 10, tmp_path / "state")
    for name in schema.NAMES:
        assert pages(found, name) == pages(state, name), name
    found.close()
    assert names(tmp_path) == ["snapshots", "state"]


def test_leaves_come_back_whole_and_in_parts(tmp_path: Path, spilling: None) -> None:
    leaves, scratch = Leaves(found := _Scratch(tmp_path)), found
    given = [leaf(number) for number in range(5_000)]
    for k, v in given:
        leaves.add(k, v)
    parts = list(leaves.parts())
    assert len(parts) == 256 and all(k[0] == index for index, part in enumerate(parts) for k, _ in part)
    assert sorted(one for part in parts for one in part) == sorted(given)
    assert scratch._handle is None and names(tmp_path) == []


def test_little_stays_in_memory(tmp_path: Path) -> None:
    leaves = Leaves(_Scratch(tmp_path))
    for number in range(40_000):
        k, v = leaf(number % 500)
        leaves.add(bytes([number & 3]) + k[1:], v)
    assert sum(map(len, leaves._parts)) < 4 * chunks._SPILL_BYTES
    assert sum(len(part) for part in leaves.parts()) == 40_000


def test_keys_that_somebody_chose_so_that_all_come_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "MOST_IN_PART", 100)
    leaves = Leaves(_Scratch(tmp_path))
    for number in range(100):
        leaves.add(b"\7" + leaf(number)[0][1:], bytes(32))
    with pytest.raises(SnapshotError, match="whose hash begins alike"):
        leaves.add(b"\7" + bytes(31), bytes(32))
    others = Leaves(None)
    for number in range(10_000):
        others.add(*leaf(number))


def test_a_full_disk_beside_the_store_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spilling: None
) -> None:
    state = state_over(MemoryStore())
    m.apply(state, large(2_000))
    made(state, tmp_path / "snapshots")
    manifest = read_manifest(tmp_path / "snapshots", 10)

    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(SnapshotError, match="No space left on device: make room"):
        restoring = Restoring(tmp_path / "state", manifest, m.GENESIS_HASH, round_length=m.ROUND)
        for chunk in read_chunks(tmp_path / "snapshots", manifest):
            restoring.feed(chunk)
        restoring.finish()
    assert names(tmp_path) == ["snapshots"]
    with pytest.raises(SnapshotError, match="begin again"):
        restoring.finish()
