"""What a node keeps beside its state: an archive and snapshots, neither of which ever stops it."""

import asyncio
import threading
from contextlib import closing

import msgspec
import pytest

from node.config import SnapshotConfig
from node.core import NodeCore
from node.devnet.founding import member_keys
from node.errors import ApiError
from node.feed.archive import Archive
from node.feed.source import Given, read_proven
from node.keeping import Blocks, Snapshots
from node.outbox import Outbox
from node.signer.journal import Journal
from node.signer.policy import Policy
from node.signer.signer import Signer
from processors.engine import begin
from state import snapshot as snapshot_room
from state.snapshot import heights, verify
from state.state import State
from state.store import LevelStore
from tests.node.feed.many import RANGE, Many, strange
from tests.node.test_core import any_state, new_group

LAST = 130


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    found = new_group(tmp_path_factory.mktemp("keeping"))
    found.run(LAST + 1)
    return found


def text_of(group, number, change=lambda number, block: block):
    return msgspec.json.encode(change(number, group.chain.show_block(number, typed=True)))


def given(group, number):
    text = text_of(group, number)
    return Given(read_proven(text, group.chain.chain), text)


class Fresh:
    """A node of runner01 with a store of its own, at its beginning; ``events`` are what it logs."""

    def __init__(self, group, folder, upto=20):
        self.group, self.folder, self.events = group, folder, []
        self.store = LevelStore(folder / "state", group.genesis.hash)
        state = State(self.store, group.genesis.hash, round_length=20)
        member = member_keys(1)
        signer = Signer([member.signing_key], Journal(folder / "journal", group.genesis.hash), Policy(), group.genesis)
        self.core = NodeCore(
            group.genesis, state, member.account, member.account_key, signer, Outbox(None), "0.1.0", self.log
        )
        begin(state, group.genesis, given(group, 20).block)
        self.apply(upto)

    def log(self, event, fields):
        self.events.append((event, fields))

    def told(self, event):
        return [fields for name, fields in self.events if name == event]

    def apply(self, upto):
        for number in range(self.core.state.height + 1, upto + 1):
            self.core.apply(given(self.group, number).block, flush=False)
        self.core.state.flush()

    def blocks(self):
        return Blocks(self.folder / "archive", self.log)

    def fill(self, blocks, many):
        asyncio.run(blocks.fill(self.core, many.feed))

    def replay(self, blocks, stop=False):
        async def main():
            event = asyncio.Event()
            if stop:
                event.set()
            await blocks.replay(self.core, event)

        asyncio.run(main())

    def is_true(self):
        state = self.core.state
        return state.root(state.height // 20 * 20) == any_state(self.group).root(state.height // 20 * 20) is not None


@pytest.fixture
def fresh(group, tmp_path):
    found = Fresh(group, tmp_path)
    yield found
    found.core.state.close()


def archived(folder, group, first, last, change=lambda number, block: block):
    """An archive that holds these blocks."""
    with Archive.open(folder / "archive", write=True) as archive:
        for number in range(first, last + 1):
            archive.append(text_of(group, number, change))


def held(folder):
    with Archive.open(folder / "archive", write=False) as archive:
        return archive.first, archive.last


# -- the archive


def test_what_is_applied_is_kept_once_and_in_order(fresh, group):
    blocks = fresh.blocks()
    for number in [*range(21, 41), 30, 40, 41]:
        blocks.take(given(group, number))
    blocks.close()
    assert held(fresh.folder) == (21, 41) and not fresh.told("archive_stopped")


def test_a_gap_ends_the_filling_and_not_the_node(fresh, group):
    blocks = fresh.blocks()
    blocks.take(given(group, 21))
    blocks.take(given(group, 25))
    for number in range(26, 60):
        blocks.take(given(group, number))
    blocks.flush()
    blocks.close()
    [told] = fresh.told("archive_stopped")
    assert "does not follow" in told["error"] and "goes on without an archive" in told["remedy"]
    assert held(fresh.folder) == (21, 21)


@pytest.mark.parametrize("what", ["a file", "held", "read only"])
def test_a_folder_that_cannot_be_used_ends_the_filling_and_not_the_node(fresh, group, what):
    folder = fresh.folder / "archive"
    other = None
    if what == "a file":
        folder.write_text("x")
    elif what == "held":
        other = Archive.open(folder, write=True)
    else:
        folder.symlink_to("/proc/nowhere")
    blocks = fresh.blocks()
    blocks.take(given(group, 21))
    blocks.flush()
    fresh.replay(blocks)
    fresh.fill(blocks, Many(group.chain, "north"))
    blocks.close()
    assert len(fresh.told("archive_stopped")) == 1
    if other is not None:
        other.close()


def test_a_replay_brings_the_state_to_the_archives_end_with_every_block_proven(fresh, group):
    archived(fresh.folder, group, 20, LAST)
    fresh.replay(fresh.blocks())
    assert fresh.core.state.height == LAST and fresh.is_true()
    assert [told["height"] for told in fresh.told("archive_replay")] == [20]


def test_what_is_replayed_is_on_disk(fresh, group):
    archived(fresh.folder, group, 20, LAST)
    fresh.replay(fresh.blocks())
    assert not fresh.core.state._pending


def test_a_replay_is_told_to_stop_between_two_blocks(fresh, group):
    archived(fresh.folder, group, 20, LAST)
    fresh.replay(fresh.blocks(), stop=True)
    assert fresh.core.state.height == 21


def test_a_block_in_the_archive_that_does_not_prove_ends_the_replay_before_it(fresh, group):
    number = next(n for n in range(50, LAST) if group.chain.block(n).transactions)

    def change(n, block):
        if n == number:
            block["transactions"].pop()
            block["transaction_ids"].pop()
        return block

    archived(fresh.folder, group, 20, LAST, change)
    fresh.replay(fresh.blocks())
    assert fresh.core.state.height == number - 1
    [told] = fresh.told("archive_stopped")
    assert f"block {number} is refused" in told["error"]


def test_an_operation_that_we_do_not_know_is_no_fault_of_the_archive(fresh, group):
    number = next(n for n in range(50, LAST) if group.chain.block(n).transactions)
    archived(fresh.folder, group, 20, LAST, strange({number}))
    blocks = fresh.blocks()
    fresh.replay(blocks)
    assert fresh.core.state.height == number - 1 and not fresh.told("archive_stopped")
    for later in range(number, LAST + 2):
        blocks.take(given(group, later))
    blocks.close()
    assert held(fresh.folder) == (20, LAST + 1)


def test_a_damaged_segment_ends_the_replay_and_not_the_node(fresh, group):
    archived(fresh.folder, group, 20, LAST)
    [segment] = [path for path in (fresh.folder / "archive").iterdir() if path.stat().st_size > 1_000]
    raw = bytearray(segment.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    segment.write_bytes(bytes(raw))
    blocks = fresh.blocks()
    fresh.replay(blocks)
    fresh.fill(blocks, Many(group.chain, "north"))
    blocks.take(given(group, fresh.core.state.height + 1))
    blocks.close()
    assert fresh.core.state.height <= LAST and (fresh.core.state.height == 20 or fresh.is_true())


def test_an_archive_of_another_chain_is_not_replayed(fresh, group, tmp_path):
    other = new_group(tmp_path / "other")
    other.chain.produce(other.chain.head_time + 4)
    other.run(60)
    archived(fresh.folder, other, 21, 50)
    fresh.replay(fresh.blocks())
    assert fresh.core.state.height == 20 and len(fresh.told("archive_stopped")) == 1


def test_an_archive_that_begins_after_the_state_is_not_replayed(fresh, group):
    archived(fresh.folder, group, 50, 80)
    fresh.replay(fresh.blocks())
    assert fresh.core.state.height == 20


def test_what_a_crash_left_out_is_fetched_from_the_servers(group, tmp_path):
    fresh = Fresh(group, tmp_path, upto=100)
    archived(fresh.folder, group, 20, 50)
    blocks = fresh.blocks()
    fresh.fill(blocks, Many(group.chain, "north", "south"))
    blocks.take(given(group, 101))
    blocks.close()
    fresh.core.state.close()
    assert held(fresh.folder) == (20, 101)
    assert fresh.told("archive_fill") == [{"from": 50, "to": 100}]


def test_servers_that_fail_while_it_is_filled_end_the_filling_and_not_the_node(group, tmp_path):
    fresh = Fresh(group, tmp_path, upto=100)
    archived(fresh.folder, group, 20, 50)
    many = Many(group.chain, "north", "south")
    for api in many.apis:
        api.answers[RANGE] = ApiError("silence")
    blocks = fresh.blocks()
    fresh.fill(blocks, many)
    blocks.close()
    fresh.core.state.close()
    assert len(fresh.told("archive_stopped")) == 1 and held(fresh.folder) == (20, 50)


# -- snapshots


def snapshots(fresh, every=1, keep=2):
    return Snapshots(fresh.core, fresh.folder / "snapshots", SnapshotConfig(every, keep), fresh.log)


def at(group, tmp_path, height):
    return Fresh(group, tmp_path, upto=height)


def test_snapshots_are_written_while_blocks_go_on_and_are_of_the_height_where_they_began(group, tmp_path, monkeypatch):
    fresh = at(group, tmp_path, 40)
    go_on, create = threading.Event(), snapshot_room.create

    def slowly(reader, folder):
        assert go_on.wait(10)
        yield from create(reader, folder)

    monkeypatch.setattr("node.keeping.create", slowly)

    async def main():
        kept = snapshots(fresh)
        kept.take(40)
        await asyncio.sleep(0.01)
        fresh.apply(75)
        go_on.set()
        await kept._writing

    asyncio.run(main())
    assert fresh.core.state.height == 75
    assert verify(tmp_path / "snapshots", 40, group.genesis.hash).root == any_state(group).root(40)
    assert fresh.told("snapshot") == [{"height": 40, "kept": [40], "removed": []}]
    fresh.core.state.close()


def test_old_ones_go_and_no_second_is_begun_while_one_is_written(group, tmp_path):
    fresh = at(group, tmp_path, 40)

    async def main():
        kept = snapshots(fresh, keep=2)
        for height in (40, 60, 80, 100):
            fresh.apply(height)
            kept.take(height)
            kept.take(height)
            await kept._writing
        fresh.apply(120)
        kept.take(120)
        fresh.apply(121)
        writing = kept._writing
        kept.take(140)
        assert kept._writing is writing
        await writing

    asyncio.run(main())
    assert heights(tmp_path / "snapshots") == [100, 120]
    fresh.core.state.close()


@pytest.mark.parametrize(("every", "taken"), [(0, []), (1, [40, 60, 80, 100, 120]), (2, [40, 80, 120]), (3, [60, 120])])
def test_as_often_as_is_configured(group, tmp_path, every, taken):
    fresh = at(group, tmp_path, 40)

    async def main():
        kept = snapshots(fresh, every=every, keep=9)
        for height in range(40, 130):
            fresh.apply(height)
            kept.take(height)
            if kept._writing is not None:
                await kept._writing

    asyncio.run(main())
    assert heights(tmp_path / "snapshots") == taken
    fresh.core.state.close()


def test_a_halted_node_makes_no_snapshot(group, tmp_path):
    fresh = at(group, tmp_path, 40)
    fresh.core.halted_at = 20

    async def main():
        kept = snapshots(fresh)
        kept.take(40)
        assert kept._writing is None

    asyncio.run(main())
    fresh.core.state.close()


@pytest.mark.parametrize("room", ["node.keeping.create", "node.keeping.prune"])
def test_a_disk_that_fails_costs_the_snapshot_and_not_the_node(group, tmp_path, monkeypatch, room):
    fresh = at(group, tmp_path, 40)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room, full)

    async def main():
        kept = snapshots(fresh)
        kept.take(40)
        await kept._writing
        await kept.stop()

    asyncio.run(main())
    [told] = fresh.told("snapshot_failed")
    assert told["height"] == 40 and "No space left" in told["error"]
    fresh.apply(60)
    fresh.core.state.close()


def test_stopped_in_the_middle_nothing_half_is_listed_and_the_store_can_be_closed(group, tmp_path, monkeypatch):
    monkeypatch.setattr("state.chunks.CHUNK_BYTES", 200)
    fresh = at(group, tmp_path, 40)
    begun, create = threading.Event(), snapshot_room.create

    def noted(reader, folder):
        for count in create(reader, folder):
            begun.set()
            yield count

    monkeypatch.setattr("node.keeping.create", noted)

    async def main():
        kept = snapshots(fresh)
        kept.take(40)
        while not begun.is_set():
            await asyncio.sleep(0)
        await kept.stop()

    asyncio.run(main())
    fresh.core.state.close()
    with closing(LevelStore(tmp_path / "state", create=False)):
        assert heights(tmp_path / "snapshots") in ([], [40])


def test_stopped_before_it_began_or_without_any_nothing_happens(group, tmp_path):
    fresh = at(group, tmp_path, 40)

    async def main():
        kept = snapshots(fresh)
        await kept.stop()
        kept.take(40)
        await kept.stop()

    asyncio.run(main())
    fresh.core.state.close()
