"""How a node comes up: a corrupt store is set aside and replaced, another's is never touched, a new node asks peers."""

import asyncio
import os
import shutil
from contextlib import AsyncExitStack, closing

import aiohttp
import pytest
from msgspec.structs import replace

from node.errors import ApiError, NodeError
from node.starting import (
    begin_with_own,
    check_store,
    ended_cleanly,
    note_damage,
    parse_trust,
    peers_of,
    repair_store,
    sync_if_new,
)
from node.sync.statesync import SyncError, Trusted
from processors.engine import apply_block, begin
from state.errors import StateError, StoreDamagedError, StoreLockedError, StoreMismatchError
from state.layout import TABLES as PREFIX
from state.manifest import write_manifest
from state.schema import ROUND
from state.snapshot import create, heights, read_manifest, set_aside
from state.state import State
from state.store import LevelStore
from tests.node.api.serving import ServedNode, serving
from tests.node.feed.many import VIEW
from tests.node.test_core import any_state, new_group, run_to_founded
from tests.node.test_keeping import given
from tests.node.test_runtime import config_for
from tests.node.test_servers import FakeApi

HEIGHT = 260  # the newest snapshot that others have


def open_store(config, genesis, log, apis=()):
    """The store of a node that starts."""
    if repair_store(config, genesis, log):
        asyncio.run(begin_with_own(config, genesis, apis, log, asyncio.Event(), any_age=True))
    return LevelStore(config.data / "state", genesis.hash)


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    found = new_group(tmp_path_factory.mktemp("starting"))
    run_to_founded(found)
    found.run_until(lambda: any_state(found).height == HEIGHT, 300)
    return found


@pytest.fixture(scope="module")
def served(group, tmp_path_factory):
    """A peer with a snapshot of HEIGHT, and the chain a round and more after it."""
    found = ServedNode(group, tmp_path_factory.mktemp("served"))
    assert found.snapshot() == HEIGHT
    group.run(25)
    return found


class Home:
    """A data folder with a state at ``height`` and a snapshot of 40; ``events`` are what its start logs."""

    def __init__(self, group, folder, height=50, snapshot=True):
        self.group, self.genesis, self.events = group, group.genesis, []
        self.config = replace(config_for(folder, "http://127.0.0.1:9"), start_tries=1)
        self.data = self.config.data
        with closing(LevelStore(self.data / "state", self.genesis.hash)) as store:
            state = State(store, self.genesis.hash, round_length=20)
            begin(state, self.genesis, given(group, 20).block)
            for number in range(21, height + 1):
                apply_block(state, self.genesis, given(group, number).block, flush=False)
                if number == 40 and snapshot:
                    with closing(state.freeze()) as reader:
                        list(create(reader, self.data / "snapshots"))
            state.flush()

    def log(self, event, fields):
        self.events.append((event, fields))

    def told(self, event):
        return [fields for name, fields in self.events if name == event]

    def start(self):
        """The height of the store that a start finds."""
        with closing(open_store(self.config, self.genesis, self.log, honest(self.group))) as store:
            state = State(store, self.genesis.hash, round_length=20)
            check_store(state, self.data, self.log)
            return state.height

    def corrupt(self):
        """Bytes in the middle of LevelDB's files are others."""
        for path in (self.data / "state").iterdir():
            if path.suffix in (".ldb", ".log") and path.stat().st_size > 200:
                raw = bytearray(path.read_bytes())
                for at in range(50, len(raw), 97):
                    raw[at] ^= 0x55
                path.write_bytes(bytes(raw))

    def names(self):
        return sorted(path.name for path in self.data.iterdir())


@pytest.fixture
def home(group, tmp_path):
    return Home(group, tmp_path)


def everything(folder):
    """All files but LevelDB's diary and lock, as they are."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("LOG", "LOG.old", "LOCK")
    }


# -- a store that is whole


def test_a_whole_store_is_opened_as_it_is(home):
    assert home.start() == 50
    assert not home.told("store_damaged") and not home.told("root_verified")
    ended_cleanly(home.data)
    assert home.start() == 50 and not home.told("root_verified")


def test_after_an_unclean_end_every_entry_is_held_against_the_root(home):
    home.start()
    assert home.start() == 50
    assert home.told("root_verified") == [{"height": 50}]


def test_a_new_node_has_nothing_to_verify(group, tmp_path):
    home = Home(group, tmp_path)
    config = replace(home.config, data=tmp_path / "new")
    for _ in range(2):
        with closing(open_store(config, group.genesis, home.log)) as store:
            check_store(State(store, group.genesis.hash, round_length=20), config.data, home.log)
    assert home.events == []


# -- a store that is not


def test_a_corrupt_store_is_set_aside_and_the_newest_own_snapshot_takes_its_place(home):
    home.corrupt()
    assert home.start() == 40
    [told] = home.told("store_damaged")
    assert told["kept_as"] == str(home.data / "state.damaged-1") and (home.data / "state.damaged-1").is_dir()
    assert home.told("restored") == [{"height": 40}]
    with closing(LevelStore(home.data / "state", create=False)) as store:
        root = State(store, home.genesis.hash, round_length=20).root(40)
    assert root is not None


def test_a_store_without_its_file_current_is_not_begun_anew_over(home):
    (home.data / "state/CURRENT").unlink()
    assert home.start() == 40
    assert (home.data / "state.damaged-1").is_dir()


def test_without_a_snapshot_it_begins_anew(group, tmp_path):
    home = Home(group, tmp_path, snapshot=False)
    home.corrupt()
    assert home.start() == -1
    assert home.told("store_damaged") and not home.told("restored")


def test_a_snapshot_that_is_damaged_too_is_passed_over(home):
    chunk = home.data / "snapshots/40/00000.zst"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\0")
    home.corrupt()
    assert home.start() == -1
    assert home.told("snapshot_failed")[0]["height"] == 40
    assert home.names() == ["running", "snapshots", "state", "state.damaged-1"]


def test_what_was_set_aside_before_is_never_written_over(home):
    for number in (1, 2, 3):
        home.corrupt()
        try:
            home.start()
        except (
            StoreDamagedError
        ) as error:  # LevelDB found it only when it read: the node stops, and its next start mends
            assert error.is_corrupt
            note_damage(home.data)
            home.start()
        assert (home.data / f"state.damaged-{number}").is_dir()


def test_damage_that_was_found_while_the_node_ran_is_mended_at_the_next_start(home):
    note_damage(home.data)
    assert home.start() == 40
    assert "it was found corrupt while the node ran" in home.told("store_damaged")[0]["error"]
    assert "damaged" not in home.names()
    ended_cleanly(home.data)
    assert home.start() == 40 and len(home.told("store_damaged")) == 1


def test_an_entry_that_changed_without_a_block_is_found_after_an_unclean_end(home):
    """LevelDB's own checksums are right: only the root tells."""
    home.start()
    with closing(LevelStore(home.data / "state", create=False)) as store:
        (key, value), *_ = store.iterate(PREFIX + ROUND.prefix) or [(b"", b"")]
        store.write([(key, value[:-1] + bytes([value[-1] ^ 1]))], sync=True)
    with pytest.raises(StoreDamagedError, match="do not have the root of block 50") as caught:
        home.start()
    assert caught.value.is_corrupt
    note_damage(home.data)
    assert home.start() == 40


# -- no store, and own snapshots


def without_state(home, *, emptied=False, **how):
    shutil.rmtree(home.data / "state")
    if emptied:
        (home.data / "state").mkdir()
    begun(home, **how)


def begun(home, *, genesis=None, apis=None, stop=None, any_age=False):
    """Begin with an own snapshot, if there is reason to."""
    apis = honest(home.group) if apis is None else apis
    told = home.config, genesis or home.genesis, apis, home.log, stop or asyncio.Event()
    asyncio.run(begin_with_own(*told, any_age=any_age))


@pytest.mark.parametrize("emptied", [False, True])
def test_without_a_state_it_begins_with_its_newest_own_snapshot(home, emptied):
    without_state(home, emptied=emptied)
    assert home.told("restored") == [{"height": 40}]
    assert home.start() == 40


def test_then_no_peer_is_asked(group, home, served):
    without_state(home)
    home.events.clear()
    syncing(home, [], served)
    assert home.events == [] and home.start() == 40


def test_a_state_that_is_there_is_left_as_it_is(home):
    begun(home)
    assert home.events == [] and home.start() == 50


def test_if_the_newest_is_not_whole_peers_are_asked_and_no_older_one_is_taken(home):
    shutil.copytree(home.data / "snapshots/40", home.data / "snapshots/60")
    without_state(home)
    assert [told["height"] for told in home.told("snapshot_failed")] == [60] and not home.told("restored")
    assert not (home.data / "state").exists() and "state.making" not in home.names()


def test_snapshots_of_another_genesis_are_never_taken(home, tmp_path):
    other = new_group(tmp_path / "other", members=3).genesis
    shutil.rmtree(home.data / "state")
    begun(home, genesis=other)
    [told] = home.told("snapshot_failed")
    assert told["height"] == 40 and "genesis" in told["error"]
    assert not (home.data / "state").exists() and "state.making" not in home.names()


# -- own snapshots, held against the chain


def with_two(home, newer=60):
    """A home with the snapshot of 40, and one of ``newer`` whose block nobody else has."""
    folder = home.data / "snapshots"
    shutil.copytree(folder / "40", folder / str(newer))
    manifest = replace(read_manifest(folder, 40), height=newer, block_id=newer.to_bytes(4, "big") + b"\1" * 16)
    (folder / str(newer) / "manifest.json").write_bytes(write_manifest(manifest))
    shutil.rmtree(home.data / "state")
    return home


def test_one_of_a_dead_fork_is_set_aside_and_the_next_older_taken(home):
    with_two(home)
    begun(home)
    [told] = home.told("snapshot_set_aside")
    assert told["height"] == 60 and "two operators have another block" in told["why"]
    assert told["kept_as"] == str(home.data / "snapshots/set-aside-1-60")
    assert (home.data / "snapshots/set-aside-1-60/manifest.json").is_file(), "kept to be looked into"
    assert heights(home.data / "snapshots") == [40] and home.told("restored") == [{"height": 40}]
    assert home.start() == 40


def test_one_of_a_dead_fork_does_not_take_the_place_of_a_damaged_store_either(home):
    folder = home.data / "snapshots"
    manifest = replace(read_manifest(folder, 40), block_id=(40).to_bytes(4, "big") + b"\1" * 16)
    (folder / "40/manifest.json").write_bytes(write_manifest(manifest))
    home.corrupt()
    assert home.start() == -1
    assert home.told("snapshot_set_aside") and not home.told("restored") and heights(folder) == []


def silent(group, *which):
    """Three servers, of which some say nothing."""
    apis = [FakeApi(operator, group.chain) for operator in ("north", "south", "east")]
    for index in which:
        apis[index].answers[VIEW] = ApiError("silence")
    return apis


@pytest.mark.parametrize("which", [(0, 1, 2), (0, 1), (1, 2)])
def test_while_fewer_than_two_operators_answer_nothing_is_restored_nor_set_aside(home, which):
    """Neither taken on one word nor thrown away for want of another: the next start asks again."""
    shutil.rmtree(home.data / "state")
    with pytest.raises(ApiError, match="two servers of different operators must say which block 40 is"):
        begun(home, apis=silent(home.group, *which))
    assert heights(home.data / "snapshots") == [40] and not (home.data / "state").exists() and home.events == []
    begun(home)
    assert home.start() == 40


def test_one_silent_server_of_three_is_no_hindrance(home):
    shutil.rmtree(home.data / "state")
    begun(home, apis=silent(home.group, 0))
    assert home.told("restored") == [{"height": 40}]


def test_it_is_tried_as_often_as_other_things_that_are_not_ready(home, monkeypatch):
    monkeypatch.setattr("node.retry.LONGEST_PAUSE", 0.01)
    home.config = replace(home.config, start_tries=4)
    shutil.rmtree(home.data / "state")
    apis, asked = silent(home.group, 0, 1, 2), []

    def later(params):
        asked.append(params)
        if len(asked) <= 6:
            raise ApiError("silence")
        return apis[0].methods.call(VIEW, {})

    for api in apis:
        api.answers[VIEW] = later
    begun(home, apis=apis)
    assert [told["try"] for told in home.told("start_try")] == [1, 2] and home.told("restored") == [{"height": 40}]


def test_told_to_stop_while_it_asks_it_leaves_everything_as_it_was(home):
    home.config = replace(home.config, start_tries=1_000)
    shutil.rmtree(home.data / "state")
    stop = asyncio.Event()

    class Slow(FakeApi):
        async def call(self, method, params):
            stop.set()
            await asyncio.sleep(3_600)

    begun(home, apis=[Slow(operator, home.group.chain) for operator in ("north", "south")], stop=stop)
    assert heights(home.data / "snapshots") == [40] and not (home.data / "state").exists() and home.events == []


def test_two_operators_that_differ_decide_nothing(home, tmp_path):
    """One has ours, one has another: who is right nobody knows."""
    shutil.rmtree(home.data / "state")
    other = new_group(tmp_path / "other")
    other.chain.produce(other.chain.head_time + 4)
    other.run(60)
    with pytest.raises(ApiError, match="must say which block 40 is"):
        begun(home, apis=[FakeApi("north", home.group.chain), FakeApi("south", other.chain)])
    assert heights(home.data / "snapshots") == [40] and not (home.data / "state").exists()
    apis = [FakeApi(name, chain) for name, chain in (("n", home.group.chain), ("s", other.chain), ("e", other.chain))]
    begun(home, apis=apis)
    assert heights(home.data / "snapshots") == [] and not (home.data / "state").exists()


def test_with_one_operator_alone_there_is_no_second_word_to_wait_for(home):
    shutil.rmtree(home.data / "state")
    begun(home, apis=[FakeApi("north", home.group.chain), FakeApi("north", home.group.chain)])
    assert home.told("restored") == [{"height": 40}]


def test_of_those_set_aside_the_newest_few_stay(home):
    folder = home.data / "snapshots"
    for number in range(6):
        shutil.copytree(folder / "40", folder / str(60 + 20 * number))
        set_aside(folder, 60 + 20 * number)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["40", *(f"set-aside-{number}-{40 + 20 * number}" for number in (3, 4, 5, 6))]
    assert heights(folder) == [40]


def test_without_state_and_snapshots_nothing_is_done(group, tmp_path):
    home = empty(group, tmp_path)
    begun(home)
    assert home.events == [] and not home.data.exists()


# -- a store that is another's


def test_a_store_that_another_process_holds_is_not_touched(home):
    with closing(LevelStore(home.data / "state", create=False)):
        before = everything(home.data)
        with pytest.raises(StoreLockedError):
            home.start()
        assert everything(home.data) == before and not home.events


def test_a_store_of_another_genesis_is_not_touched(home, tmp_path):
    before = everything(home.data)
    other = new_group(tmp_path / "other", members=3).genesis
    with pytest.raises(StoreMismatchError, match="belongs to genesis"):
        open_store(home.config, other, home.log)
    assert everything(home.data) == before and not home.events


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_store_without_permission_is_not_touched(home):
    (home.data / "state").chmod(0)
    with pytest.raises(StateError):
        home.start()
    (home.data / "state").chmod(0o700)


# -- peers


def syncing(home, apis, *peers, trust=None, stop=None, tries=1):
    """What a start without a state does about it."""

    async def main():
        async with AsyncExitStack() as stack:
            urls = []
            for peer in peers:
                is_served = isinstance(peer, ServedNode)
                folder = home.data.parent / "peer"
                urls.append((await stack.enter_async_context(serving(peer, folder))).url if is_served else peer)
            config = replace(home.config, peers=tuple(urls), start_tries=tries)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            await sync_if_new(config, home.genesis, session, apis, home.log, stop or asyncio.Event(), trust)

    asyncio.run(main())


def empty(group, tmp_path):
    home = Home(group, tmp_path, height=21, snapshot=False)
    home.config = replace(home.config, data=tmp_path / "new")
    home.data = home.config.data
    return home


def honest(group):
    return [FakeApi(operator, group.chain) for operator in ("north", "south")]


def test_a_new_node_takes_the_snapshot_of_a_peer(group, served, tmp_path):
    home = empty(group, tmp_path)
    syncing(home, honest(group), "http://127.0.0.1:1", served)
    assert home.told("synced")[0]["height"] == HEIGHT
    assert home.start() == HEIGHT


def test_one_that_has_a_state_asks_nobody(group, served, home):
    syncing(home, [], served)
    assert home.events == [] and home.start() == 50


def test_one_without_peers_asks_nobody(group, tmp_path):
    home = empty(group, tmp_path)
    syncing(home, [])
    assert home.events == []


def test_in_a_young_group_it_rather_replays(group, served, tmp_path):
    home = empty(group, tmp_path)
    apis = honest(group)
    for api in apis:
        view = api.methods.call(VIEW, {})
        api.answers[VIEW] = {**view, "last_irreversible_block_num": 220}
    syncing(home, apis, served)
    assert home.events == [] and not home.data.exists()


def test_without_anything_to_believe_it_replays_and_says_so(group, tmp_path):
    home = empty(group, tmp_path)
    syncing(home, honest(group), "http://127.0.0.1:1")
    [told] = home.told("sync_failed")
    assert "no peer offers one" in told["error"] and "replays" in told["remedy"]
    assert home.start() == -1


def test_told_what_to_trust_it_does_not_begin_with_anything_else(group, served, tmp_path):
    home = empty(group, tmp_path)
    with pytest.raises(SyncError):
        syncing(home, honest(group), served, trust=Trusted(HEIGHT, b"\1" * 32))
    with pytest.raises(SyncError):
        syncing(home, honest(group), trust=Trusted(HEIGHT, b"\1" * 32))
    assert not (home.data / "state").exists()
    syncing(home, honest(group), served, trust=Trusted(HEIGHT, any_state(group).root(HEIGHT)))
    assert home.start() == HEIGHT


def test_while_no_server_answers_it_tries_and_then_stops(group, served, tmp_path):
    home = empty(group, tmp_path)
    apis = honest(group)
    for api in apis:
        api.answers[VIEW] = ApiError("silence")
    with pytest.raises(ApiError):
        syncing(home, apis, served)
    assert not (home.data / "state").exists(), "the next start asks the peers again"


def test_stopped_while_it_asks_it_leaves_no_state_and_the_next_start_asks_again(group, served, tmp_path):
    home = empty(group, tmp_path)
    stop = asyncio.Event()

    class Slow(FakeApi):
        async def call(self, method, params):
            if method == "database_api.find_accounts":
                stop.set()
                await asyncio.sleep(3_600)
            return await super().call(method, params)

    syncing(home, [Slow(operator, group.chain) for operator in ("north", "south")], served, stop=stop)
    assert not (home.data / "state").exists()
    syncing(home, honest(group), served)
    assert home.start() == HEIGHT


def test_where_to_ask():
    class Some:
        def __init__(self, **fields):
            self.__dict__.update(fields)

    runners = [
        Some(account=name, domain=domain) for name, domain in (("me", "https://me"), ("a", ""), ("b", "https://b"))
    ]
    config = Some(account="me", peers=("https://first", "https://b"))
    assert peers_of(config, Some(runners=runners)) == ["https://first", "https://b"]


# -- --trust


def test_a_trusted_root_as_it_is_written():
    assert parse_trust("1200:" + "ab" * 32) == Trusted(1200, b"\xab" * 32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "5",
        "5:",
        f":{'ab' * 32}",
        f"x:{'ab' * 32}",
        f"-5:{'ab' * 32}",
        f"5:{'ab' * 31}",
        f"5:{'xy' * 32}",
        f"٥:{'ab' * 32}",
    ],
)
def test_anything_else_is_an_error_that_says_how(text):
    with pytest.raises(NodeError, match="HEIGHT:ROOT"):
        parse_trust(text)
