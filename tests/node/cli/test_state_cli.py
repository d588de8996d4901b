"""`waggle rewind`, `snapshot` and `inspect`: what an operator does with the state of a node."""

import asyncio
import json
import shutil
from contextlib import contextmanager

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from node.assembly import open_state
from node.cli.inspect import inspect_command
from node.cli.opened import Overlay
from node.cli.snapshots import snapshot
from node.cli.state import rewind
from node.errors import NodeError
from node.feed.archive import Archive
from node.genesis_text import to_toml
from processors.hive.keys import public_key_to_text
from state.errors import SnapshotError, StateError, StoreLockedError
from state.schema import BALANCE, HEAD, MS, NODE, Balance
from state.snapshot import heights
from state.store import LevelStore, MemoryStore
from tests.node.sync.two_nodes import CONFIG, OURS, at, document_of, group_of, on_disk, on_socket, run_to, sabotage


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """A group at block 95, in the middle of a round; a payment is out, and alice has tokens."""
    folder = tmp_path_factory.mktemp("group")
    found = group_of(folder, document_of())
    for account in found.genesis.runners:
        sabotage(found, account.account, at(70, BALANCE, Balance(5), "alice"))
        sabotage(found, account.account, at(71, BALANCE, Balance(6), "bob"))
    run_to(found, 95)
    return found


@pytest.fixture(scope="module")
def original(group, tmp_path_factory):
    """The folder of a stopped node."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "config.toml").write_text(CONFIG)
    (folder / "genesis.toml").write_text(to_toml(document_of()))
    (folder / "data").mkdir()
    on_disk(group.nodes[OURS].state, folder / "data" / "state", group.genesis.hash)
    (folder / "data" / "journal").write_text("what was signed\n")
    (folder / "data" / "outbox.json").write_text('{"report:80": 91}')
    return folder


@pytest.fixture
def home(original, tmp_path):
    return shutil.copytree(original, tmp_path / "home")


def run(command, home, *words, code=0, **how):
    found = CliRunner().invoke(command, [*map(str, words), "--config", str(home / "config.toml")], **how)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == code, found.output
    return found


def told(command, home, *words, code=0, **how):
    """What a machine is told."""
    return json.loads(run(command, home, *words, "--json", code=code, **how).stdout)


@contextmanager
def state_in(home, group):
    """The state in a folder, as a node would find it."""
    store = LevelStore(home / "data" / "state", group.genesis.hash, create=False)
    try:
        yield open_state(group.genesis, store)
    finally:
        store.close()


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix == ".ldb"}


def while_locked(home, group, *words, command):
    with state_in(home, group):
        return run(command, home, *words)


# -- rewind


def test_going_back_some_blocks(home, group):
    found = run(rewind, home, "5", "--yes")
    assert "goes back from block 95 to 90" in found.stderr and "The journal stays as it is" in found.stderr
    with state_in(home, group) as state:
        assert state.height == 90 and state.trace(90) == group.nodes[OURS].state.trace(90)
    assert (home / "data" / "journal").read_text() == "what was signed\n"
    assert not (home / "data" / "outbox.json").exists()


def test_going_back_to_a_block_for_machines(home, group):
    body = told(rewind, home, "--to", "61", "--yes")
    assert (body["from"], body["to"], body["oldest"]) == (95, 61, 20)
    assert body["block_id"] == group.nodes[OURS].state.undo(61).block_id.hex()


def test_the_archive_goes_back_with_the_state(home, group):
    """Else the node would replay from it the very blocks that it shall fetch again."""
    (home / "config.toml").write_text(CONFIG + '\n[feed]\narchive = "data/archive"\n')
    with Archive.open(home / "data" / "archive", write=True) as archive:
        for number in range(21, 96):
            archive.append(json.dumps(group.chain.show_block(number, typed=True)).encode())
    run(rewind, home, "--to", "61", "--yes")
    assert Archive.open(home / "data" / "archive").last == 61
    with state_in(home, group) as state:
        assert state.height == 61


def test_nothing_is_changed_without_a_yes(home, group):
    assert run(rewind, home, "5", input="n\n", code=1).stdout == ""
    assert "add --yes" in run(rewind, home, "5", "--json", code=2).stderr
    with state_in(home, group) as state:
        assert state.height == 95
    assert (home / "data" / "outbox.json").exists()


@pytest.mark.parametrize("words", [("76",), ("--to", "95"), ("--to", "19"), ("--to", "1000")])
def test_a_block_out_of_reach_names_those_within(home, words):
    with pytest.raises(StateError, match=r"is at 95 and can go back to 20 at the oldest.*snapshot list"):
        run(rewind, home, *words, "--yes")
    assert (home / "data" / "outbox.json").exists()


@pytest.mark.parametrize("words", [(), ("5", "--to", "90"), ("0",), ("-5",), ("x",)])
def test_rewind_that_is_not_said_clearly(home, words):
    assert run(rewind, home, *words, "--yes", code=2)


def test_a_running_node_is_not_taken_back(home, group):
    with pytest.raises(StoreLockedError, match="stop that node first"):
        while_locked(home, group, "5", "--yes", command=rewind)


def test_a_folder_without_a_state(home):
    shutil.rmtree(home / "data" / "state")
    for command, words in ((rewind, ("5",)), (snapshot, ("create",)), (inspect_command, ())):
        with pytest.raises(StateError, match="holds no store"):
            run(command, home, *words)
    assert not (home / "data" / "state").exists()


# -- snapshots


def test_a_snapshot_of_the_last_round_leaves_the_state_as_it_is(home, group):
    body = told(snapshot, home, "create")
    assert (body["height"], body["new"]) == (80, True)
    assert body["root"] == group.nodes[OURS].state.root(80).hex()
    with state_in(home, group) as state:
        assert state.height == 95
    again = run(snapshot, home, "create")
    assert "is there already" in again.stdout and body["root"] in again.stdout
    assert (home / "data" / "outbox.json").exists()


def test_a_running_node_makes_snapshots_by_itself(home, group):
    with pytest.raises(NodeError, match="by itself every 12 rounds"):
        while_locked(home, group, "create", command=snapshot)
    with (home / "config.toml").open("a") as config:
        config.write("[snapshots]\nevery = 0\n")
    with pytest.raises(NodeError, match=r"set snapshots\.every"):
        while_locked(home, group, "create", command=snapshot)


def test_before_the_first_round_has_ended_there_is_none(home, group):
    store = MemoryStore()
    open_state(group.genesis, store)
    shutil.rmtree(home / "data" / "state")
    level = LevelStore(home / "data" / "state", group.genesis.hash)
    level.write(list(store.iterate(b"")), sync=True)
    level.close()
    with pytest.raises(SnapshotError, match="no round has ended yet since block 20"):
        run(snapshot, home, "create")


def test_listing_checking_and_pruning(home, group):
    assert "none in" in run(snapshot, home, "list").stdout
    assert told(snapshot, home, "list") == {"snapshots": []}
    with pytest.raises(NodeError, match="snapshot create"):
        run(snapshot, home, "verify")
    made = told(snapshot, home, "create")
    run(rewind, home, "--to", "65", "--yes")
    assert told(snapshot, home, "create")["height"] == 60
    with state_in(home, group):  # the node may run
        listed = told(snapshot, home, "list")["snapshots"]
        assert [one["height"] for one in listed] == [60, 80]
        assert {**listed[1], "new": True} == made
        assert run(snapshot, home, "verify").stdout.count("whole") == 2
    assert told(snapshot, home, "verify", "80")["snapshots"] == [listed[1]]
    assert told(snapshot, home, "prune", "--keep", "1") == {"removed": [60], "kept": [80]}
    assert "removed: none; kept: 80" in run(snapshot, home, "prune").stdout
    with pytest.raises(StoreLockedError):
        while_locked(home, group, "prune", command=snapshot)
    assert run(snapshot, home, "prune", "--keep", "0", code=2)


def test_a_damaged_snapshot_is_told(home):
    run(snapshot, home, "create")
    place = home / "data" / "snapshots" / "80"
    chunk = place / "00000.zst"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\0")
    assert "80  DAMAGED: chunk 0" in run(snapshot, home, "verify", code=1).stdout
    assert "error" in told(snapshot, home, "verify", "80", code=1)["snapshots"][0]
    assert "error" in told(snapshot, home, "verify", "60", code=1)["snapshots"][0]
    run(snapshot, home, "list")
    (place / "manifest.json").write_text("{}")
    assert "80  DAMAGED: no manifest" in run(snapshot, home, "list", code=1).stdout


def test_restoring_where_there_is_no_state(home, group):
    root = told(snapshot, home, "create")["root"]
    shutil.rmtree(home / "data" / "state")
    found = run(snapshot, home, "restore", "80")
    assert f"restored: block 80, root {root}" in found.stdout
    assert "Is this the root that the group agreed on?" in found.stderr
    with state_in(home, group) as state:
        assert (state.height, state.current_root().hex()) == (80, root)
    assert (home / "data" / "journal").read_text() == "what was signed\n"
    assert not (home / "data" / "outbox.json").exists()


def test_an_old_state_is_moved_aside_and_never_deleted(home, group):
    run(snapshot, home, "create")
    before = files_of(home / "data" / "state")
    with pytest.raises(NodeError, match="add --replace"):
        run(snapshot, home, "restore", "80")
    assert run(snapshot, home, "restore", "80", "--replace", input="n\n", code=1)
    assert run(snapshot, home, "restore", "80", "--replace", "--json", code=2)
    with state_in(home, group) as state:
        assert state.height == 95
    body = told(snapshot, home, "restore", "80", "--replace", "--yes")
    assert body["moved"] == str(home / "data" / "state.old-1")
    assert files_of(home / "data" / "state.old-1").items() >= before.items()
    again = run(snapshot, home, "restore", "80", "--replace", input="y\n")
    assert "the old state is in" in again.stdout and (home / "data" / "state.old-2").is_dir()
    with state_in(home, group) as state:
        assert state.height == 80
    assert not (home / "data" / "state.restored").exists()


def test_a_restored_state_goes_on_with_the_next_block(home, group):
    run(snapshot, home, "create")
    run(snapshot, home, "restore", "80", "--replace", "--yes")
    with state_in(home, group) as state:
        assert state.oldest_rewind == 80 and state.round_height == 80


def test_a_root_that_is_trusted_and_no_other(home, group):
    root = told(snapshot, home, "create")["root"]
    shutil.rmtree(home / "data" / "state")
    for other in (f"60:{root}", f"80:{'0' * 64}"):
        with pytest.raises(SnapshotError, match="wanted is"):
            run(snapshot, home, "restore", "80", "--trust", other)
    for wrong in ("80", root, f"80:{root[:-1]}", f"80:{root.upper()}", f"080:{root}", f"80:{root}\n"):
        assert "write HEIGHT:ROOT" in run(snapshot, home, "restore", "80", "--trust", wrong, code=2).stderr
    assert not (home / "data" / "state").exists()
    found = run(snapshot, home, "restore", "80", "--trust", f"80:{root}")
    assert "Is this the root" not in found.stderr


def test_restoring_from_another_folder(home, group, tmp_path):
    run(snapshot, home, "create")
    shutil.move(home / "data" / "snapshots", tmp_path / "elsewhere")
    with pytest.raises(SnapshotError, match="cannot be read"):
        run(snapshot, home, "restore", "80", "--replace", "--yes")
    told(snapshot, home, "restore", "80", "--replace", "--yes", "--from", tmp_path / "elsewhere")
    assert heights(tmp_path / "elsewhere") == [80]


def test_a_damaged_snapshot_leaves_everything_as_it_was(home, group):
    run(snapshot, home, "create")
    chunk = home / "data" / "snapshots" / "80" / "00000.zst"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\0")
    with pytest.raises(SnapshotError, match="chunk 0"):
        run(snapshot, home, "restore", "80", "--replace", "--yes")
    with state_in(home, group) as state:
        assert state.height == 95
    assert sorted(path.name for path in (home / "data").iterdir()) == ["journal", "outbox.json", "snapshots", "state"]


def test_what_the_disk_refuses_is_said(home, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("node.cli.snapshots.create", full)
    with pytest.raises(NodeError, match="No space left on device: see whether the disk is full"):
        run(snapshot, home, "create")


def test_a_restore_that_was_cut_off_is_done_again(home, group):
    run(snapshot, home, "create")
    shutil.copytree(home / "data" / "state", home / "data" / "state.restored")
    run(snapshot, home, "restore", "80", "--replace", "--yes")
    with state_in(home, group) as state:
        assert state.height == 80


def test_a_running_node_keeps_its_state(home, group):
    run(snapshot, home, "create")
    with pytest.raises(StoreLockedError, match="stop that node first"):
        while_locked(home, group, "restore", "80", "--replace", "--yes", command=snapshot)


def test_a_snapshot_of_another_group_is_refused(home, group):
    run(snapshot, home, "create")
    (home / "genesis.toml").write_text(to_toml(document_of(ripe_rounds=5)))
    with pytest.raises(SnapshotError, match="genesis_hash"):
        run(snapshot, home, "restore", "80", "--replace", "--yes")


# -- inspect


def test_the_overview(home, group):
    state = group.nodes[OURS].state
    body = told(inspect_command, home)
    assert (body["height"], body["oldest_rewind"], body["trees_at"]) == (95, 20, 80)
    assert body["meta"]["head"]["block_id"] == state.head.block_id.hex()
    assert body["meta"]["head"]["timestamp"].endswith("Z")
    assert body["tables"]["node"] == 3 and body["tables"]["balance"] == 2
    assert [one["op"] for one in body["out"]] == [op for (op,), _ in state.walk(MS)]
    assert body["rounds"][-1]["start"] == 60 and len(body["rounds"]) <= 5
    text = run(inspect_command, home).stdout
    assert text.startswith("after block 95\n") and "  node: 3 entries" in text and "meta tally" in text


def test_a_table_an_entry_and_what_is_not_there(home, group):
    body = told(inspect_command, home, "balance")
    assert body["entries"] == [
        {"key": ["alice"], "value": {"liquid": 5}},
        {"key": ["bob"], "value": {"liquid": 6}},
    ]
    assert told(inspect_command, home, "balance", "bob")["entries"] == body["entries"][1:]
    assert told(inspect_command, home, "balance", "carol")["entries"] == []
    assert "balance has no such entry" in run(inspect_command, home, "balance", "carol").stdout
    assert told(inspect_command, home, "balance", "--most", "1")["more"] == 1
    assert "and 1 more" in run(inspect_command, home, "balance", "--most", "1").stdout
    assert "balance alice\n  liquid: 5" in run(inspect_command, home, "balance", "alice").stdout


def test_keys_are_shown_and_taken_as_people_write_them(home, group):
    member = group.nodes[OURS].state.need(NODE, OURS)
    key = public_key_to_text(member.signing_key, group.genesis.chain.address_prefix)
    [entry] = told(inspect_command, home, "node", OURS)["entries"]
    assert entry["value"]["signing_key"] == key
    for written in (key, member.signing_key.hex()):
        assert told(inspect_command, home, "key", written)["entries"] == [{"key": [key], "value": {"account": OURS}}]


def test_payments_have_their_precision_and_times_are_times(home, group):
    [entry] = told(inspect_command, home, "standing")["entries"]
    amount = entry["value"]["amount"]
    assert amount.split()[1] in ("HIVE", "HBD", "TESTS", "TBD") and len(amount.split()[0].rpartition(".")[2]) == 3


def test_meta_in_all_and_one_of_it(home):
    assert len(told(inspect_command, home, "meta")["entries"]) == 5
    assert told(inspect_command, home, "meta", "head")["entries"][0]["value"]["height"] == 95


def test_as_it_was(home, group):
    assert told(inspect_command, home, "balance", "--height", "70")["entries"] == [
        {"key": ["alice"], "value": {"liquid": 5}}
    ]
    assert told(inspect_command, home, "--height", "69")["tables"]["balance"] == 0
    with pytest.raises(StateError, match="can go back to 20"):
        run(inspect_command, home, "--height", "5")
    with state_in(home, group) as state:
        assert state.height == 95


def test_a_state_that_has_not_begun(home, group):
    shutil.rmtree(home / "data" / "state")
    store = LevelStore(home / "data" / "state", group.genesis.hash)
    open_state(group.genesis, store)
    store.close()
    assert run(inspect_command, home).stdout.startswith("after block -1")
    assert told(inspect_command, home, "node")["entries"] == []
    with pytest.raises(StateError, match="is at -1"):
        run(rewind, home, "1", "--yes")


@pytest.mark.parametrize(
    ("words", "reason"),
    [(("nodes",), "take one of action, authority, balance"), (("node", "a", "b"), "has 1 fields, not 2"),
     (("round", "x"), "is no number"),
     (("round", "9" * 5_000), "is no number"), (("round", str(2**64)), "is no number"),
     (("key", "STMnokey"), "is no public key"), (("key", "zz"), "is no public key"),
     (("meta", "tail"), "take one of head, headers")],
)  # fmt: skip
def test_what_cannot_be_shown_says_what_can(home, words, reason):
    with pytest.raises(StateError, match=reason):
        run(inspect_command, home, *words)


def test_texts_from_the_chain_do_not_play_with_the_terminal(home, group, tmp_path):
    store = MemoryStore()
    state = group.nodes[OURS].state
    store.write(list(state._store.iterate(b"")), sync=True)
    copy = open_state(group.genesis, store)
    view = copy.view()
    view.put(NODE, replace(copy.need(NODE, OURS), domain="\x1b[31m\x9bred\n"), OURS)
    head = view.need(HEAD)
    view.put(HEAD, type(head)(96, head.block_id, head.timestamp))
    copy.commit(view)
    shutil.rmtree(home / "data" / "state")
    on_disk(copy, home / "data" / "state", group.genesis.hash)
    text = run(inspect_command, home, "node", OURS).stdout
    assert "\x1b" not in text and "\x9b" not in text and r"\x1b[31m\x9bred\n" in text


def test_a_running_node_shows_single_entries_and_the_overview(home, group):
    async def main():
        async with on_socket(group, home / "data"):
            return [
                await asyncio.to_thread(run, inspect_command, home, *words, "--json")
                for words in ((), ("node", OURS), ("node", "nobody"), ("meta", "head"))
            ]

    with state_in(home, group):
        overview, entry, nobody, head = (json.loads(found.stdout) for found in asyncio.run(main()))
        with pytest.raises(NodeError, match=r"no answer to .*control.sock|no answer"):
            run(inspect_command, home, "node", OURS)
        with pytest.raises(NodeError, match="leave --height out"):
            run(inspect_command, home, "node", OURS, "--height", "90")
    assert overview["height"] == 95 and overview["meta"]["head"]["height"] == 95
    stopped = [told(inspect_command, home, *words) for words in (("node", OURS), ("node", "nobody"), ("meta", "head"))]
    assert [entry, nobody, head] == stopped


def test_a_running_node_does_not_show_whole_tables(home, group):
    async def main():
        async with on_socket(group, home / "data"):
            await asyncio.to_thread(run, inspect_command, home, "node")

    with state_in(home, group), pytest.raises(NodeError, match=r"name the whole key \(str\), or stop the node"):
        asyncio.run(main())


# -- looking without changing


def test_what_is_written_over_a_store_is_seen_there_alone():
    below = MemoryStore()
    below.write([(b"a", b"1"), (b"b", b"2"), (b"d", b"4")], sync=True)
    over = Overlay(below)
    over.write([(b"b", None), (b"c", b"3"), (b"d", b"5")], sync=True)
    assert list(over.iterate(b"")) == [(b"a", b"1"), (b"c", b"3"), (b"d", b"5")]
    assert [over.get(key) for key in (b"a", b"b", b"c", b"d", b"e")] == [b"1", None, b"3", b"5", None]
    frozen = over.freeze()
    over.write([(b"a", None)], sync=True)
    assert frozen.get(b"a") == b"1" and over.get(b"a") is None
    assert list(over.iterate(b"d")) == [(b"d", b"5")] and list(below.iterate(b"b")) == [(b"b", b"2")]


def test_every_command_has_an_example():
    for command in (rewind, inspect_command, *snapshot.commands.values()):
        assert "Example:" in command.help and "Exit 0" in command.help


def test_a_remote_signers_state_is_restored_by_its_own_configuration(home, group, tmp_path):
    root = told(snapshot, home, "create")["root"]
    (home / "signer.toml").write_text(
        '[signer]\naccount = "runner01"\ngenesis = "genesis.toml"\ndata = "signer"\nlisten = "unix:sock"\n'
        '[keys]\nsigning = "signing.wif"\n'
    )
    words = ["restore", "80", "--from", str(home / "data" / "snapshots"), "--config", str(home / "signer.toml")]
    found = CliRunner().invoke(snapshot, words)
    assert found.exit_code == 0 and root in found.output
    store = LevelStore(home / "signer" / "state", group.genesis.hash, create=False)
    assert open_state(group.genesis, store).height == 80
    store.close()
