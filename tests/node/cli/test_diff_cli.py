"""`waggle diff`: this node, running or stopped, beside another one."""

import asyncio
import hashlib
import json
import shutil

import pytest
from click.testing import CliRunner

from node.assembly import open_state
from node.cli.diff import DIFFERENT, EQUAL, UNKNOWN, diff
from node.genesis_text import to_toml
from node.sync.known_keys import keys_in_snapshots
from state.schema import COLLATERAL, NODE, Collateral
from state.snapshot import create
from state.store import LevelStore
from tests.node.sync.two_nodes import (
    CONFIG,
    OURS,
    THEIRS,
    at,
    document_of,
    group_of,
    liar,
    on_disk,
    on_socket,
    run_to,
    sabotage,
    served,
)

KEEP = 30


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """By the block in which the other node went astray: groups at block 105, with traces of 30 blocks."""
    found = {}
    for height in (None, 45, 90):
        group = group_of(tmp_path_factory.mktemp("group"), document_of())
        for node in group.nodes.values():
            node.state._history._keep = KEEP
        if height is not None:
            sabotage(group, THEIRS, at(height, COLLATERAL, Collateral(5, 0), "runner03"))
        run_to(group, 105)
        found[height] = group
    return found


@pytest.fixture
def home(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "genesis.toml").write_text(to_toml(document_of()))
    (tmp_path / "data").mkdir()
    return tmp_path


def put_state(group, home):
    on_disk(group.nodes[OURS].state, home / "data" / "state", group.genesis.hash)


def run(home, peer, *words):
    found = CliRunner().invoke(diff, [peer, "--config", str(home / "config.toml"), *words])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


def against(group, home, *words, running=False, lie=None):
    """The command against the other node of the group."""

    async def main():
        async with served(group, home) as server:
            if lie is not None:
                async with liar(server.url, lie) as url:
                    return await asyncio.to_thread(run, home, url, *words)
            return await asyncio.to_thread(run, home, server.url, *words)

    async def beside_itself():
        async with on_socket(group, home / "data"):
            return await main()

    if not running:
        return asyncio.run(main())
    store = LevelStore(home / "data" / "state", group.genesis.hash)
    try:
        return asyncio.run(beside_itself())
    finally:
        store.close()


@pytest.mark.parametrize("running", [False, True])
def test_equal(groups, home, running):
    put_state(groups[None], home)
    found = against(groups[None], home, running=running)
    assert found.exit_code == EQUAL == 0
    assert "equal: all traces of the blocks 76 to 105 are the same" in found.stdout
    body = json.loads(against(groups[None], home, "--json", running=running).stdout)
    assert (body["kind"], body["oldest"], body["newest"], body["entries"]) == ("equal", 76, 105, [])


@pytest.mark.parametrize("running", [False, True])
def test_the_first_difference(groups, home, running):
    put_state(groups[90], home)
    found = against(groups[90], home, running=running)
    assert found.exit_code == DIFFERENT == 1
    assert "block 90 is the same on both sides, but did other things: first collateral/runner03" in found.stdout
    body = json.loads(against(groups[90], home, "--json", running=running).stdout)
    assert (body["kind"], body["height"], body["table"], body["key"]) == ("state", 90, "collateral", ["runner03"])
    assert body["theirs"] == {"locked": 5, "leaving": 0}


def test_an_older_difference_of_a_stopped_node(groups, home):
    put_state(groups[45], home)
    body = json.loads(against(groups[45], home, "--json").stdout)
    assert (body["kind"], body["height"], body["key"]) == ("older", 100, ["runner03"])
    held = groups[45].nodes[OURS].state.need(COLLATERAL, "runner03")
    assert body["ours"] == {"locked": held.locked, "leaving": 0} and body["theirs"]["locked"] == 5


def test_a_running_node_knows_its_keys_from_its_snapshots(groups, home):
    group = groups[45]
    put_state(group, home)
    unknown = json.loads(against(group, home, "--json", running=True).stdout)
    assert unknown["kind"] == "older" and unknown["key"] is None and unknown["ours"].startswith("unknown, sha256")
    assert "collateral (sha256 " in against(group, home, running=True).stdout.replace("/(", " (")
    other = group_of(home, document_of())
    run_to(other, 60)
    for _ in create(other.nodes[OURS].state.freeze(), home / "data" / "snapshots"):
        pass
    body = json.loads(against(group, home, "--json", running=True).stdout)
    assert body["key"] == ["runner03"] and body["theirs"]["locked"] == 5


def test_a_damaged_snapshot_names_no_keys(groups, home):
    wanted = {hashlib.sha256(NODE.key(("runner01",))).digest()}
    folder = home / "snapshots"
    assert keys_in_snapshots(folder, wanted) == {}
    other = group_of(home, document_of())
    run_to(other, 60)
    for _ in create(other.nodes[OURS].state.freeze(), folder):
        pass
    assert list(keys_in_snapshots(folder, wanted).values()) == [NODE.key(("runner01",))]
    (folder / "60" / "00000.zst").write_bytes(b"x")
    assert keys_in_snapshots(folder, wanted) == {}


def test_looking_changes_nothing(groups, home):
    group = groups[90]
    put_state(group, home)
    before = shutil.copytree(home / "data" / "state", home / "before")
    against(group, home)
    one, other = (LevelStore(folder, create=False) for folder in (before, home / "data" / "state"))
    assert list(one.iterate(b"")) == list(other.iterate(b""))
    for store in (one, other):
        store.close()


# -- it cannot be told


def cannot(found):
    """What is said where it cannot be told."""
    assert found.exit_code == UNKNOWN == 2 and found.stdout == ""
    return found.stderr


def test_a_peer_that_is_not_there(groups, home):
    put_state(groups[None], home)
    assert "see whether that node runs" in cannot(run(home, "http://127.0.0.1:1"))
    assert "write it as in https://bob.example" in cannot(run(home, "bob"))
    assert "see whether that node runs" in cannot(run(home, "unix:/nowhere/control.sock"))
    found = run(home, "bob", "--json")
    assert found.exit_code == UNKNOWN and json.loads(found.stdout)["kind"] == "unknown"


def test_a_liar_is_called_one(groups, home):
    put_state(groups[90], home)

    def lie(path, answer):
        if path.startswith("/v1/changes/"):
            answer["changes"].pop()
        return answer

    assert "lies about its changes" in cannot(against(groups[90], home, lie=lie))


def test_a_node_without_state_or_configuration(groups, home):
    assert "holds no store" in cannot(run(home, "http://127.0.0.1:1"))
    (home / "config.toml").write_text("[node]\n")
    assert "node.account: missing" in cannot(run(home, "http://127.0.0.1:1"))


def test_a_store_that_is_held_by_something_that_does_not_answer(groups, home):
    group = groups[None]
    put_state(group, home)
    store = LevelStore(home / "data" / "state", group.genesis.hash)
    try:
        assert "this node: no answer" in cannot(against(group, home))
    finally:
        store.close()


def test_a_state_that_has_not_begun(groups, home):
    group = groups[None]
    store = LevelStore(home / "data" / "state", group.genesis.hash)
    open_state(group.genesis, store)
    store.close()
    assert "this node: its state has not begun" in cannot(against(group, home))
