"""What is kept beside the state goes back with it: no archive and no snapshot brings a dead fork or a wrong state back.

The wires are those of `waggle run`.
"""

import asyncio
import threading
from contextlib import closing

import pytest
from msgspec.structs import replace

from node.config import SnapshotConfig
from node.daemon import _wire
from node.errors import ApiError
from node.feed.archive import Archive
from node.feed.segment import ArchiveError
from node.feed.source import read_proven
from node.keeping import Blocks, Snapshots
from state import snapshot as snapshot_room
from state.manifest import write_manifest
from state.snapshot import create, heights, read_manifest
from tests.node.feed.forked import PARTING, Node, two_chains
from tests.node.feed.many import RANGE, ranges_of
from tests.node.feed.test_second import BLOCKS, longer, silence
from tests.node.sync.test_healing import Diverging
from tests.node.test_core import new_group
from tests.node.test_keeping import Fresh
from tests.node.test_runtime import config_for


@pytest.fixture(scope="module")
def chains():
    return two_chains(BLOCKS)


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    found = new_group(tmp_path_factory.mktemp("forks"))
    found.run(131)
    return found


def wired(node, folder):
    """The archive and the snapshots of a node, behind its wires."""
    log = lambda event, fields: node.events.append((event, fields))  # noqa: E731
    blocks = Blocks(folder / "archive", log)
    snapshots = Snapshots(node.core, folder / "snapshots", SnapshotConfig(0, 2), log)
    home = folder / f"config{len(node.events)}"
    home.mkdir()
    config = config_for(home, "http://127.0.0.1:9")
    _wire(node.runtime, config, None, blocks, snapshots, None, asyncio.Event())
    node.runtime.feed.ahead = None
    return blocks, snapshots


def is_of(folder, chain, last):
    """The archive holds the blocks of this chain up to ``last``, each proven and linked."""
    archive = Archive.open(folder / "archive")
    assert archive.last == last
    found = [read_proven(text, chain.chain) for text in archive.read(archive.first, archive.last)]
    assert [block.id for block in found] == [chain.block(block.number).id for block in found]
    return found[0].number


# -- a fork that died


def left_a_fork(node, chains):
    """Led onto the fork that dies, and back."""
    misled(node)
    led_back(node, chains)
    assert len(node.told("rewound")) == 1


def misled(node):
    node.serve(0, node.dead)
    node.turn()
    assert node.is_on(node.dead) and node.height == BLOCKS - 1


def led_back(node, chains):
    silence(node, 0)
    for index in (1, 2):
        node.serve(index, longer(chains))
    node.turn(6, pause=5.0)
    assert node.height == BLOCKS + 2 and node.is_on(longer(chains))


def test_the_archive_leaves_the_fork_with_the_state_and_goes_on(tmp_path, chains):
    node = Node(tmp_path, chains)
    blocks, _ = wired(node, tmp_path)
    left_a_fork(node, chains)
    [told] = node.told("archive_taken_back")
    assert told["height"] == node.told("rewound")[0]["height"] <= PARTING
    assert not node.told("archive_stopped")
    blocks.close()
    assert is_of(tmp_path, longer(chains), BLOCKS + 2) == 21


def test_a_power_loss_before_the_archive_was_cut_is_mended_by_leaving_the_fork_once_more(tmp_path, chains):
    """The state went back, the archive did not: its dead blocks are replayed, and do not fit to the feed."""
    node = Node(tmp_path, chains)
    blocks, _ = wired(node, tmp_path)
    misled(node)
    blocks.close()
    node.core.rewind(PARTING - 2)
    again, _ = wired(node, tmp_path)
    led_back(node, chains)
    assert node.told("archive_replay") and not node.told("archive_stopped")
    again.close()
    is_of(tmp_path, longer(chains), BLOCKS + 2)


def test_an_archive_that_cannot_be_cut_ends_and_not_the_node(tmp_path, chains, monkeypatch):
    node = Node(tmp_path, chains)
    wired(node, tmp_path)

    def failing(self, height):
        raise ArchiveError("the disk fails")

    monkeypatch.setattr(Archive, "cut_after", failing)
    left_a_fork(node, chains)
    [told] = node.told("archive_stopped")
    assert "the disk fails" in told["error"] and node.is_on(longer(chains))


# -- a state that was healed


def healed(folder):
    """A node that was wrong, and replayed: its state is far beyond the height to which it went back."""
    node = Diverging(folder)
    blocks, snapshots = wired(node, folder)
    node.wrong()
    return node, blocks, snapshots


def test_the_archive_of_a_healed_node_has_every_block(tmp_path):
    node, blocks, _ = healed(tmp_path)
    node.run_until_halted()
    assert node.told("healed") and node.told("archive_taken_back") == [
        {"folder": str(tmp_path / "archive"), "height": 40}
    ]
    node.run(5)
    assert not node.told("archive_stopped") and node.is_whole()
    blocks.close()
    is_of(tmp_path, node.group.chain, node.state.height)


def test_while_servers_fail_to_fill_it_the_node_acts_and_asks_again_later(tmp_path):
    node, blocks, _ = healed(tmp_path)
    node.run_until_halted()
    true = ranges_of(node.group.chain)

    def refusing(params):
        if params["starting_block_num"] <= 60:
            raise ApiError("silence")
        return true(params)

    blocks._is_behind = True
    blocks.cut_after(40)
    for api in node.apis:
        api.answers[RANGE] = refusing
    node.run(3)
    assert [told for told in node.told("api_error") if "blocks for the archive" in told["error"]]
    assert not node.told("archive_stopped") and node.is_whole()
    asked = len(node.told("archive_fill"))
    node.run(3)
    assert len(node.told("archive_fill")) == asked, "not at every block"
    for api in node.apis:
        api.answers[RANGE] = true
    node.run(25)
    blocks.close()
    is_of(tmp_path, node.group.chain, node.state.height)


# -- snapshots


def kept(fresh, *at, keep=9):
    """A node's snapshots, of which some were written on the way."""
    found = Snapshots(fresh.core, fresh.folder / "snapshots", SnapshotConfig(1, keep), fresh.log)
    for height in at:
        fresh.apply(height)
        with closing(fresh.core.state.freeze()) as reader:
            list(create(reader, found.folder))
    return found


@pytest.fixture
def fresh(group, tmp_path):
    found = Fresh(group, tmp_path)
    yield found
    found.core.state.close()


def test_those_after_the_height_to_which_the_state_went_back_are_set_aside(fresh):
    snapshots = kept(fresh, 40, 60, 80, 100)
    fresh.core.rewind(70)
    snapshots.forget_after(70)
    assert heights(snapshots.folder) == [40, 60]
    assert [told["height"] for told in fresh.told("snapshot_set_aside")] == [80, 100]
    for told in fresh.told("snapshot_set_aside"):
        assert told["kept_as"].startswith(str(snapshots.folder)) and "taken back" in told["why"]
    snapshots.forget_after(70)
    assert len(fresh.told("snapshot_set_aside")) == 2, "once"


def test_once_the_group_has_another_root_those_since_the_last_equal_one_are_set_aside(fresh, monkeypatch):
    snapshots = kept(fresh, 40, 60, 80, 100)
    monkeypatch.setattr("node.keeping.last_equal", lambda state, halted: 60)
    snapshots.look()
    assert heights(snapshots.folder) == [40, 60, 80, 100]
    fresh.core.halted_at = 80
    snapshots.look()
    assert heights(snapshots.folder) == [40, 60]
    assert "another root of 80" in fresh.told("snapshot_set_aside")[0]["why"]


def test_where_no_root_is_known_to_be_equal_the_one_that_differs_goes_too(fresh, monkeypatch):
    snapshots = kept(fresh, 40, 60, 80)
    monkeypatch.setattr("node.keeping.last_equal", lambda state, halted: None)
    fresh.core.halted_at = 60
    snapshots.look()
    assert heights(snapshots.folder) == [40]


def test_a_node_that_starts_halted_sets_them_aside_at_once(fresh, monkeypatch):
    kept(fresh, 40, 60)
    monkeypatch.setattr("node.keeping.last_equal", lambda state, halted: 40)
    fresh.core.halted_at = 60
    assert heights(kept(fresh).folder) == [40]


def test_in_a_node_that_goes_wrong_nothing_of_the_wrong_state_is_left_to_begin_with(tmp_path):
    """As the wires see it: a snapshot of block 60 was written before anybody knew."""
    node, _, snapshots = healed(tmp_path)
    took = node.runtime.took

    def taking(one):
        if one.block.number in (40, 60):
            with closing(node.state.freeze()) as reader:
                list(create(reader, snapshots.folder))
        took(one)

    node.runtime.took = taking
    node.run_until_halted()
    assert heights(snapshots.folder) == [40]
    assert [told["height"] for told in node.told("snapshot_set_aside")] == [60]


def test_one_that_is_being_written_while_the_state_goes_back_is_never_listed(group, tmp_path, monkeypatch):
    for at_its_end in (False, True):
        fresh = Fresh(group, tmp_path / str(at_its_end), upto=60)
        begun, go_on = threading.Event(), threading.Event()

        def slowly(reader, folder, begun=begun, go_on=go_on, at_its_end=at_its_end):
            found = list(snapshot_room.create(reader, folder)) if at_its_end else []
            begun.set()
            assert go_on.wait(10)
            yield from found or snapshot_room.create(reader, folder)

        monkeypatch.setattr("node.keeping.create", slowly)

        async def main(fresh=fresh, begun=begun, go_on=go_on):
            snapshots = Snapshots(fresh.core, fresh.folder / "snapshots", SnapshotConfig(1, 2), fresh.log)
            snapshots.take(60)
            while not begun.is_set():
                await asyncio.sleep(0.001)
            fresh.core.rewind(50)
            snapshots.forget_after(50)
            go_on.set()
            await snapshots._writing
            return snapshots

        snapshots = asyncio.run(main())
        assert heights(snapshots.folder) == [] and not fresh.told("snapshot") and not fresh.told("snapshot_failed")
        fresh.core.state.close()


def test_one_that_is_being_written_of_an_earlier_height_stays(group, tmp_path):
    fresh = Fresh(group, tmp_path, upto=60)

    async def main():
        snapshots = Snapshots(fresh.core, tmp_path / "snapshots", SnapshotConfig(1, 2), fresh.log)
        snapshots.take(60)
        fresh.apply(70)
        fresh.core.rewind(65)
        snapshots.forget_after(65)
        await snapshots._writing

    asyncio.run(main())
    assert heights(tmp_path / "snapshots") == [60] and not fresh.told("snapshot_set_aside")
    fresh.core.state.close()


@pytest.mark.parametrize("wrong", ["block_id", "root"])
def test_after_a_crash_what_the_state_knows_better_is_set_aside(fresh, wrong):
    """The power went between the state's going back and this: the state has passed that height again since."""
    snapshots = kept(fresh, 40, 60)
    fresh.apply(75)
    manifest = read_manifest(snapshots.folder, 60)
    other = {"block_id": (60).to_bytes(4, "big") + bytes(16)} if wrong == "block_id" else {"root": b"\1" * 32}
    (snapshots.folder / "60/manifest.json").write_bytes(write_manifest(replace(manifest, **other)))
    assert heights(kept(fresh).folder) == [40]
    [told] = fresh.told("snapshot_set_aside")
    assert told["height"] == 60 and "another block or root" in told["why"]


def test_what_the_state_knows_nothing_of_stays(fresh):
    kept(fresh, 40, 60, 80)
    fresh.core.rewind(50)
    assert heights(kept(fresh).folder) == [40, 60, 80], "it may be right; the chain tells, if it is ever begun with"
    assert not fresh.told("snapshot_set_aside")


def test_a_disk_on_which_nothing_can_be_renamed_ends_nothing(fresh, monkeypatch):
    snapshots = kept(fresh, 40, 60)

    def failing(folder, height):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("node.keeping.set_aside", failing)
    snapshots.forget_after(40)
    assert "Read-only file system" in fresh.told("snapshot_failed")[0]["error"]
