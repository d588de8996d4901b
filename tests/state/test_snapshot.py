"""Snapshots: written while the node goes on, taken by another, who then goes on as if it had seen every block."""

import os
import random
from pathlib import Path

import pytest

from state import schema, snapshot
from state.errors import SnapshotError, StateError, StoreLockedError
from state.manifest import CHUNK_BYTES, MAX_CHUNK_BYTES
from state.snapshot import Restoring, create, read_chunks, read_manifest, restore, verify
from state.state import State
from state.store import LevelStore, MemoryStore
from tests.state import model as m
from tests.state import values
from tests.state.model import state_over


def filled(state: State, seed: int = 1, count: int = 31) -> list[m.Block]:
    """Apply random blocks."""
    listed = m.blocks(seed, count)
    for block in listed:
        m.apply(state, block)
    return listed


def made(state: State, folder: Path) -> list[int]:
    """Write a snapshot to its end; returns what the writer yielded."""
    reader = state.freeze()
    steps = list(create(reader, folder))
    reader.close()
    return steps


def taken(folder: Path, height: int, target: Path) -> State:
    """A state made from a snapshot."""
    manifest = read_manifest(folder, height)
    chunks = read_chunks(folder, manifest)
    restore(target, manifest, chunks, m.GENESIS_HASH, round_length=m.ROUND)
    return state_over(LevelStore(target, m.GENESIS_HASH))


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def pages(state: State, name: str) -> dict[bytes, bytes]:
    """Every page and bucket of a table's tree as stored."""
    prefix = b"m" + name.encode() + b"\0"
    return dict(state._store.iterate(prefix))


@pytest.mark.parametrize("seed", range(3))
def test_a_state_from_a_snapshot_goes_on_as_the_first_one(fresh: State, tmp_path: Path, seed: int) -> None:
    filled(fresh, seed)
    made(fresh, tmp_path / "snapshots")
    manifest = verify(tmp_path / "snapshots", 40, m.GENESIS_HASH)
    assert (manifest.height, manifest.root, manifest.block_id) == (40, fresh.root(40), fresh.head.block_id)
    state = taken(tmp_path / "snapshots", 40, tmp_path / "restored")
    assert (state.is_new, state.height, state.oldest_rewind) == (False, 40, 40)
    assert m.content(state) == m.content(fresh)
    assert manifest.entries == sum(len(entries) for entries in m.content(state).values())
    assert state.root(40) == state.current_root() == fresh.root(40)
    assert (state.round_height, state.round_tops()) == (40, fresh.round_tops())
    assert state.root(30) is state.trace(40) is state.changes(40) is None
    for block in m.blocks(seed + 50, 25, first=41):
        m.apply(fresh, block)
        m.apply(state, block)
        assert m.content(state) == m.content(fresh)
        height = block.head.height
        assert (state.trace(height), state.root(height)) == (fresh.trace(height), fresh.root(height))
        assert state.changes(height) == fresh.changes(height)
    state.rewind(47)
    fresh.rewind(47)
    assert state.current_root() == fresh.current_root()
    assert state.proof(schema.NODE, "nobody") == fresh.proof(schema.NODE, "nobody")
    state.close()


def large(count: int) -> m.Block:
    """A block that writes many entries, of several tables."""
    chance = random.Random(count)
    writes: list[m.Write] = [(schema.BALANCE, (f"account{n}",), schema.Balance(n)) for n in range(count)]
    done = [schema.Done("failed", None, n, (), "x" * 200) for n in range(count)]
    writes += [(schema.DONE, (n * n,), one) for n, one in enumerate(done)]
    writes += [(table, values.key_of(chance, table), values.value_of(chance, table.value)) for table in m.TABLES]
    return m.Block(schema.Head(10, bytes(20), 7), writes)


def test_many_chunks_and_the_same_trees_as_by_updates(tmp_path: Path) -> None:
    state = state_over(MemoryStore())
    m.apply(state, large(9_000))
    steps = made(state, tmp_path / "snapshots")
    manifest = verify(tmp_path / "snapshots", 10, m.GENESIS_HASH)
    assert len(manifest.chunks) == len(steps) > 2
    assert steps == sorted(steps) and steps[-1] == manifest.entries
    assert all(CHUNK_BYTES * 0.9 < chunk.raw_size < CHUNK_BYTES * 1.2 for chunk in manifest.chunks[:-1])
    again = taken(tmp_path / "snapshots", 10, tmp_path / "state")
    for name in schema.NAMES:
        assert pages(again, name) == pages(state, name)
    assert len(pages(again, "balance")) > 256
    again.close()


def test_the_node_goes_on_while_a_snapshot_is_written(fresh: State, tmp_path: Path) -> None:
    m.apply(fresh, large(9_000))
    root = fresh.root(10)
    reader = fresh.freeze()
    blocks = iter(m.blocks(2, 25, first=11))
    writing = create(reader, tmp_path)
    for _ in writing:
        for _ in range(5):
            m.apply(fresh, next(blocks))
        assert snapshot.heights(tmp_path) == []
    reader.close()
    assert fresh.height > 20
    assert verify(tmp_path, 10, m.GENESIS_HASH).root == root


def test_only_at_the_end_of_a_round(fresh: State, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="empty"):
        made(fresh, tmp_path)
    filled(fresh, count=34)
    with pytest.raises(SnapshotError, match="block 43 ends no round"):
        made(fresh, tmp_path)
    assert names(tmp_path) in ([], ["state"])


def test_blocks_that_are_not_on_disk_yet_are_in_it(tmp_path: Path) -> None:
    state = state_over(LevelStore(tmp_path / "state"))
    for block in m.blocks(3, 31):
        m.apply(state, block, flush=False)
    made(state, tmp_path / "snapshots")
    assert verify(tmp_path / "snapshots", 40, m.GENESIS_HASH).root == state.root(40)
    state.close()


def test_a_half_written_one_is_never_listed(tmp_path: Path) -> None:
    state, folder = state_over(MemoryStore()), tmp_path / "snapshots"
    m.apply(state, large(9_000))
    writing = create(state.freeze(), folder)
    next(writing)
    assert names(folder) == [".making-10"]
    assert snapshot.heights(folder) == []
    writing.close()
    assert names(folder) == []
    (folder / ".making-10").mkdir()  # as after a crash
    (folder / ".making-10/00000.zst").write_bytes(b"half")
    (folder / ".going-5").mkdir()
    made(state, folder)
    assert names(folder) == ["10"]
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "10").iterdir()}
    assert made(state, folder) == [], "one that is there stays"
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "10").iterdir()} == before


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = state_over(MemoryStore())
    m.apply(state, large(9_000))

    def full(path: Path, content: bytes) -> None:
        if path.name == "00002.zst":
            raise OSError(28, "no space left")
        path.write_bytes(content)

    monkeypatch.setattr(snapshot, "write_synced", full)
    with pytest.raises(OSError, match="no space"):
        made(state, tmp_path)
    assert names(tmp_path) == []


def test_list_and_prune(tmp_path: Path) -> None:
    state = state_over(MemoryStore())
    assert snapshot.heights(tmp_path / "nowhere") == snapshot.prune(tmp_path / "nowhere", 2) == []
    for block in m.blocks(4, 51):
        m.apply(state, block)
        if block.head.height % m.ROUND == 0:
            made(state, tmp_path)
    for other in ("7", "x", "070", "-5", "\u0665"):
        (tmp_path / other).mkdir()
        (tmp_path / other / ("manifest.json" if other != "7" else "other")).touch()
    assert snapshot.heights(tmp_path) == [10, 20, 30, 40, 50, 60]
    assert snapshot.prune(tmp_path, 10) == []
    assert snapshot.prune(tmp_path, 2) == [10, 20, 30, 40]
    assert snapshot.heights(tmp_path) == [50, 60]
    assert verify(tmp_path, 60, m.GENESIS_HASH).height == 60
    assert snapshot.prune(tmp_path, 0) == [50, 60]
    assert names(tmp_path) == sorted(["7", "x", "070", "-5", "\u0665"])


def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"take one of \[\]"):
        read_manifest(tmp_path, 10)


def test_it_is_made_into_an_empty_folder_only(fresh: State, tmp_path: Path) -> None:
    filled(fresh)
    folder, target = tmp_path / "snapshots", tmp_path / "target"
    made(fresh, folder)
    target.mkdir()
    (target / "something").touch()
    with pytest.raises(SnapshotError, match="not empty"):
        taken(folder, 40, target)
    assert names(target) == ["something"]
    (target / "something").unlink()
    taken(folder, 40, target).close()
    with pytest.raises(SnapshotError, match="not empty"):
        taken(folder, 40, target)


def test_what_a_crash_left_is_begun_anew_but_not_under_another_process(fresh: State, tmp_path: Path) -> None:
    filled(fresh)
    folder, target = tmp_path / "snapshots", tmp_path / "target"
    made(fresh, folder)
    manifest = read_manifest(folder, 40)
    one = Restoring(target, manifest, m.GENESIS_HASH, round_length=m.ROUND)
    with pytest.raises(StoreLockedError):
        Restoring(target, manifest, m.GENESIS_HASH, round_length=m.ROUND)
    one._store.close()  # type: ignore[union-attr]
    assert "target.making" in names(tmp_path)
    taken(folder, 40, target).close()
    assert "target.making" not in names(tmp_path)


def test_whoever_leaves_in_the_middle_leaves_nothing(fresh: State, tmp_path: Path) -> None:
    filled(fresh)
    made(fresh, tmp_path / "snapshots")
    manifest = read_manifest(tmp_path / "snapshots", 40)
    chunks = list(read_chunks(tmp_path / "snapshots", manifest))
    with Restoring(tmp_path / "one", manifest, m.GENESIS_HASH, round_length=m.ROUND) as restoring:
        restoring.feed(chunks[0])
    with pytest.raises(SnapshotError, match="given up"):
        restoring.feed(chunks[0])
    with pytest.raises(SnapshotError, match="given up"):
        restoring.finish()
    assert not {"one", "one.making"} & set(names(tmp_path))


def test_frozen_means_frozen(fresh: State) -> None:
    filled(fresh, count=11)
    reader = fresh.freeze()
    before = dict(reader.iterate(b""))
    for block in m.blocks(5, 20, first=21):
        m.apply(fresh, block)
    assert dict(reader.iterate(b"")) == before != m.stored(fresh._store)
    assert reader.get(b"t" + schema.HEAD.store_key(("head",))) == before[b"t" + schema.HEAD.store_key(("head",))]
    reader.close()


def test_the_size_of_a_store(tmp_path: Path) -> None:
    store = LevelStore(tmp_path / "state")
    filled(state_over(store))
    files = [path for path in (tmp_path / "state").iterdir() if path.is_file()]
    assert store.size() == sum(os.path.getsize(path) for path in files) > 10_000
    store.close()


def test_a_store_closed_under_a_reader_says_so(tmp_path: Path) -> None:
    state = state_over(LevelStore(tmp_path / "state"))
    filled(state, count=11)
    reader = state.freeze()
    state.close()
    with pytest.raises((StateError, RuntimeError)):
        reader.get(b"!identity")
    reader.close()


def test_an_entry_that_nobody_would_take_is_not_written(tmp_path: Path) -> None:
    state = state_over(MemoryStore())
    huge = schema.Done("failed", None, 1, (), "x" * MAX_CHUNK_BYTES)
    m.apply(state, m.Block(schema.Head(10, bytes(20), 7), [(schema.DONE, (1,), huge)]))
    with pytest.raises(SnapshotError, match="of done makes a chunk of"):
        made(state, tmp_path)
    assert names(tmp_path) == []
