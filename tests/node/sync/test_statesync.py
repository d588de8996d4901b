"""A new node takes a snapshot of strangers over HTTP, and believes nothing but the chain about it."""

import asyncio
import shutil
from contextlib import AsyncExitStack, closing

import aiohttp
import pytest
from aiohttp import web
from msgspec.structs import replace

from node.devnet.founding import CHAIN, GROUP, devnet_key, member_keys
from node.errors import ApiError
from node.feed.feed import Feed
from node.feed.second import Second
from node.feed.servers import Servers
from node.feed.source import read_proven
from node.sync import statesync
from node.sync.peer import Peer, PeerError
from node.sync.statesync import StateSync, SyncError, Trusted
from processors.genesis import pop_digest
from processors.hive.compounds import AUTHORITY as AUTHORITY_FORM
from state.manifest import write_manifest
from state.schema import BALANCE, NODE, Balance
from state.snapshot import read_chunks, read_manifest
from state.state import State
from state.store import LevelStore, MemoryStore
from state.verify import recomputed_root
from tests.node.api.serving import ServedNode, serving
from tests.node.feed.many import RANGE, Clock, ranges_of
from tests.node.test_core import any_state, new_group, run_to_founded
from tests.node.test_servers import FakeApi


class Shared:
    """A founded group, its chain a round and more after the height of the snapshot."""

    def __init__(self, folder):
        self.group = new_group(folder)
        run_to_founded(self.group)
        self.group.run_until(lambda: any_state(self.group).height % 20 == 0, 25)
        self.folder = folder
        self.served = ServedNode(self.group, folder)
        self.height = self.served.snapshot()
        self.root = any_state(self.group).root(self.height)
        self.frozen = frozen(any_state(self.group))
        self.group.run(25)

    def other_snapshot(self, name, change):
        """The same state with something changed by a liar: a perfect snapshot of a false root."""
        folder = self.folder / name
        store = MemoryStore()
        store.write(self.frozen, sync=True)
        state = State(store, self.group.genesis.hash, round_length=20)
        view = state.view()
        change(view, state)
        state.commit(view)
        served = ServedNode(self.group, folder)
        from state.snapshot import create

        with closing(state.freeze()) as reader:
            for _ in create(reader, served.snapshots):
                pass
        return served


def frozen(state):
    """Every entry as it is now."""
    state.flush()
    return list(state._store.iterate(b""))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return Shared(tmp_path_factory.mktemp("shared"))


class Newcomer:
    """A node without a state; ``peers`` are URLs of real servers."""

    def __init__(self, shared, folder, operators=("north", "south"), trust=None):
        self.shared, self.folder = shared, folder / "state"
        self.events, self.clock = [], Clock()
        self.apis = [FakeApi(operator, shared.group.chain) for operator in operators]
        log = lambda event, fields: self.events.append((event, fields))  # noqa: E731
        self.servers = Servers(self.apis, clock=self.clock, jitter=lambda: 0.5)
        self.feed = Feed(self.servers, CHAIN, log, self.clock, read_proven, lambda *kept: None)
        second = Second(self.feed, CHAIN, log, read_proven)
        self.sync = StateSync(shared.group.genesis, self.feed, second, log, trust=trust)

    def told(self, event):
        return [fields for name, fields in self.events if name == event]

    async def of(self, *urls):
        async with aiohttp.ClientSession() as session:
            return await self.sync.run([Peer(url, session, seconds=3.0) for url in urls], self.folder)

    def is_untouched(self):
        """Nothing is where the node looks for a state, nor beside it."""
        return not list(self.folder.parent.glob("state*"))

    def check(self):
        """The state that it has now is the group's, as of the snapshot."""
        with closing(LevelStore(self.folder, create=False)) as store:
            state = State(store, self.shared.group.genesis.hash, round_length=20)
            assert state.height == self.shared.height
            assert recomputed_root(state) == state.current_root() == self.shared.root
        assert [path.name for path in self.folder.parent.glob("state*")] == ["state"]


def synced(newcomer, *served, after=None):
    """Serve all over HTTP, and sync; the height, or raises."""

    async def main():
        async with AsyncExitStack() as stack:
            urls = []
            for number, one in enumerate(served):
                if isinstance(one, str):
                    urls.append(one)
                elif callable(one):
                    urls.append(await stack.enter_async_context(Hostile(one)))
                else:
                    folder = newcomer.folder.parent / f"peer{number}"
                    urls.append((await stack.enter_async_context(serving(one, folder))).url)
            return await (after or newcomer.of)(*urls)

    return asyncio.run(main())


class Hostile:
    """A peer that answers (status, bytes) of ``answer(path)``, or whatever that does."""

    def __init__(self, answer):
        self._answer = answer

    async def __aenter__(self):
        async def handle(request):
            found = self._answer(request.path)
            status, body = await found if asyncio.iscoroutine(found) else found
            return web.Response(status=status, body=body, content_type="application/json")

        app = web.Application()
        app.router.add_get("/{path:.*}", handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *error):
        await self._runner.cleanup()


def listing(*manifests):
    return 200, b'{"snapshots":[%s]}' % b",".join(map(write_manifest, manifests))


def showing(shared, *manifests, chunk=lambda index, true: true):
    """A peer with these manifests, and chunks of the true snapshot after ``chunk`` had them in hands."""
    true = read_manifest(shared.served.snapshots, shared.height)
    chunks = list(read_chunks(shared.served.snapshots, true))

    def answer(path):
        if path == "/v1/snapshots":
            return listing(*(manifests or (true,)))
        index = int(path.rpartition("/")[2])
        given = chunk(index, chunks[index] if index < len(chunks) else b"")
        return given if isinstance(given, tuple) or asyncio.iscoroutine(given) else (200, given)

    return answer


def manifest_of(shared, **changes):
    return replace(read_manifest(shared.served.snapshots, shared.height), **changes)


# -- the honest way


def test_an_honest_peer_and_two_honest_servers(shared, tmp_path):
    newcomer = Newcomer(shared, tmp_path)
    assert synced(newcomer, shared.served) == shared.height
    newcomer.check()
    [told] = newcomer.told("synced")
    assert told["root"] == shared.root.hex() and told["weight"] == told["of"] == 5
    assert told["reported_by"] == [f"runner0{n}" for n in range(1, 6)]


def test_what_was_told_by_somebody_is_held_against_it(shared, tmp_path):
    newcomer = Newcomer(shared, tmp_path, trust=Trusted(shared.height, shared.root))
    assert synced(newcomer, shared.served) == shared.height
    newcomer.check()


@pytest.mark.parametrize("wrong", ["root", "height"])
def test_another_root_or_height_than_the_trusted_one_is_not_taken(shared, tmp_path, wrong):
    trust = Trusted(shared.height + 20, shared.root) if wrong == "height" else Trusted(shared.height, b"\1" * 32)
    newcomer = Newcomer(shared, tmp_path, trust=trust)
    with pytest.raises(SyncError, match="no peer offers one"):
        synced(newcomer, shared.served)
    assert newcomer.is_untouched()


def test_a_trusted_root_that_nobody_reported_is_not_taken_either(shared, tmp_path):
    """The operator's word does not stand for the group's."""
    false = shared.other_snapshot(f"trusted-{tmp_path.name}", enrich)
    root = read_manifest(false.snapshots, shared.height).root
    newcomer = Newcomer(shared, tmp_path, trust=Trusted(shared.height, root))
    with pytest.raises(SyncError, match="the signers reported"):
        synced(newcomer, false)
    assert newcomer.is_untouched()


# -- peers that lie


def enrich(view, state):
    view.put(BALANCE, Balance(10**9), "mallory")


def test_a_perfect_snapshot_of_a_false_root_is_refused_and_the_true_one_taken(shared, tmp_path):
    false = shared.other_snapshot(f"false-{tmp_path.name}", enrich)
    with pytest.raises(SyncError, match="the signers reported"):
        synced(alone := Newcomer(shared, tmp_path / "a"), false)
    assert alone.is_untouched()
    newcomer = Newcomer(shared, tmp_path / "b")
    assert synced(newcomer, false, shared.served) == shared.height
    newcomer.check()


@pytest.mark.parametrize(
    "chunk",
    [
        lambda index, true: b"",
        lambda index, true: b"\0" * len(true),
        lambda index, true: true[:-1],
        lambda index, true: true + b"x",
        lambda index, true: true[:-1] + bytes([true[-1] ^ 1]),
        lambda index, true: (404, b"{}"),
        lambda index, true: (500, b"x" * 100_000),
    ],
    ids=["nothing", "zeros", "cut", "longer", "a bit", "lacking", "broken"],
)
def test_a_peer_with_garbage_chunks_costs_time_and_nothing_else(shared, tmp_path, chunk):
    garbage = showing(shared, chunk=chunk)
    with pytest.raises(SyncError, match="no peer gives chunk 0"):
        synced(alone := Newcomer(shared, tmp_path / "a"), garbage)
    assert alone.is_untouched()
    newcomer = Newcomer(shared, tmp_path / "b")
    assert synced(newcomer, garbage, shared.served) == shared.height
    newcomer.check()
    assert all(told["peer"].startswith("http://127.0.0.1") for told in newcomer.told("peer_error"))


@pytest.mark.parametrize(
    "answer",
    [
        lambda path: (200, b""),
        lambda path: (200, b"{"),
        lambda path: (200, b'{"snapshots":5}'),
        lambda path: (200, b'{"snapshots":[{}]}'),
        lambda path: (200, b'{"snapshots":[' + b"null," * 99 + b"null]}"),
        lambda path: (200, b"[" * 100_000),
        lambda path: (503, b"busy"),
        lambda path: (302, b""),
    ],
)
def test_a_list_that_is_none_leaves_the_other_peers(shared, tmp_path, answer):
    newcomer = Newcomer(shared, tmp_path)
    assert synced(newcomer, answer, "http://127.0.0.1:1", shared.served) == shared.height
    newcomer.check()
    assert len(newcomer.told("peer_error")) == 2


def test_a_snapshot_of_another_genesis_is_not_looked_at(shared, tmp_path):
    with pytest.raises(SyncError, match="no peer offers one"):
        synced(Newcomer(shared, tmp_path), showing(shared, manifest_of(shared, genesis_hash=b"\1" * 32)))


@pytest.mark.parametrize("shift", [-10, 1, 10, 10**6])
def test_heights_that_end_no_round_or_are_to_come_are_not_looked_at(shared, tmp_path, shift):
    with pytest.raises(SyncError, match="no peer offers one"):
        synced(Newcomer(shared, tmp_path), showing(shared, manifest_of(shared, height=shared.height + shift)))


def test_more_than_a_node_would_write_is_not_looked_at(shared, tmp_path, monkeypatch):
    monkeypatch.setattr(statesync, "MOST_BYTES", 1_000)
    with pytest.raises(SyncError, match="no peer offers one"):
        synced(Newcomer(shared, tmp_path), shared.served)


def test_a_manifest_on_a_block_that_is_not_on_chain_blames_no_server(shared, tmp_path):
    """A liar's block id must not make honest servers look like strangers: then nobody could be asked any more."""
    newcomer = Newcomer(shared, tmp_path)
    liar = showing(shared, manifest_of(shared, block_id=shared.height.to_bytes(4, "big") + b"\1" * 16))
    assert synced(newcomer, liar, shared.served) == shared.height
    newcomer.check()
    assert [facts.standing for facts in newcomer.servers.facts()] == ["good", "good"]
    assert "no two operators have the block" in newcomer.told("sync_refused")[0]["why"]


def test_a_list_full_of_lies_leaves_room_for_an_honest_one(shared, tmp_path):
    """Newer by what they say, and many."""
    lies = [manifest_of(shared, height=shared.height - 20 * n, root=bytes([n]) * 32, timestamp=n) for n in range(3)] + [
        manifest_of(shared, timestamp=n, root=bytes([n]) * 32) for n in range(1, 25)
    ]
    lies += [manifest_of(shared, height=shared.height + 20 * n) for n in range(1, 5)]
    newcomer = Newcomer(shared, tmp_path)
    assert synced(newcomer, showing(shared, *lies), shared.served) == shared.height
    newcomer.check()
    assert len(newcomer.told("sync_refused")) <= statesync._MOST_EACH, "and does not take long"


def test_a_manifest_that_lies_about_the_time_or_the_number_of_entries_is_refused(shared, tmp_path):
    for changes in ({"timestamp": 5}, {"entries": 7}):
        newcomer = Newcomer(shared, tmp_path / str(*changes))
        with pytest.raises(SyncError, match="no snapshot can be believed"):
            synced(newcomer, showing(shared, manifest_of(shared, **changes)))
        assert newcomer.is_untouched()


def test_a_peer_that_dies_midway_leaves_nothing_behind(shared, tmp_path):
    dying = showing(shared, chunk=lambda index, true: (_ for _ in ()).throw(ConnectionResetError()))
    newcomer = Newcomer(shared, tmp_path)
    with pytest.raises(SyncError, match="no peer gives chunk 0"):
        synced(newcomer, dying)
    assert newcomer.is_untouched()


def test_called_off_in_the_middle_it_leaves_nothing_behind_and_no_task(shared, tmp_path):
    async def never():
        await asyncio.sleep(3_600)

    newcomer = Newcomer(shared, tmp_path)
    silent = showing(shared, chunk=lambda index, true: never())

    async def called_off(*urls):
        running = asyncio.create_task(newcomer.of(*urls))
        await asyncio.sleep(0.3)
        assert list(newcomer.folder.parent.glob("state.synced.making"))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return running.cancelled()

    assert synced(newcomer, silent, after=called_off)
    assert newcomer.is_untouched()


# -- what was reported


def reporting(shared, newcomer, change):
    """Servers of whose blocks ``change`` keeps only some reports (by account): new blocks, whole and linked."""
    from tests.node.sync.rewriting import rewritten

    blocks = rewritten(shared.group.chain, shared.height, change)
    for api in newcomer.apis:
        api.answers[RANGE] = lambda params: {
            "blocks": [
                blocks[number]
                for number in range(params["starting_block_num"], params["starting_block_num"] + params["count"])
                if number in blocks
            ]
        }


@pytest.mark.parametrize(("accounts", "enough"), [(5, True), (3, True), (2, False), (1, False)])
def test_the_weight_behind_a_root_must_be_more_than_half(shared, tmp_path, accounts, enough):
    newcomer = Newcomer(shared, tmp_path)
    reporting(shared, newcomer, lambda account: int(account[-2:]) <= accounts)
    if enough:
        assert synced(newcomer, shared.served) == shared.height
        newcomer.check()
    else:
        with pytest.raises(SyncError, match=f"only {accounts} of the 3"):
            synced(newcomer, shared.served)
        assert newcomer.is_untouched()


def test_where_nobody_reported_nothing_is_even_fetched(shared, tmp_path):
    newcomer = Newcomer(shared, tmp_path)
    reporting(shared, newcomer, lambda account: False)
    fetched = []
    peer = showing(shared, chunk=lambda index, true: fetched.append(index) or true)
    with pytest.raises(SyncError, match="nobody reported its root"):
        synced(newcomer, peer)
    assert fetched == [] and newcomer.is_untouched()


@pytest.mark.parametrize("shift", [-20, 20])
def test_reports_of_another_height_do_not_count(shared, tmp_path, monkeypatch, shift):
    """Signed by everybody, in the right blocks, of the right root: but they speak of another round."""
    reports_in = statesync.reports_in

    def shifted(block, genesis):
        return [replace(report, height=report.height + shift) for report in reports_in(block, genesis)]

    monkeypatch.setattr(statesync, "reports_in", shifted)
    newcomer = Newcomer(shared, tmp_path)
    with pytest.raises(SyncError, match="nobody reported its root"):
        synced(newcomer, shared.served)
    assert newcomer.is_untouched()


def test_reports_of_those_who_are_no_signers_weigh_nothing(shared, tmp_path):
    """The authority on chain is another one: what the members say is nobody's word."""
    newcomer = Newcomer(shared, tmp_path)
    authority(newcomer, *newcomer.apis, keys=[devnet_key(f"other {n}").public for n in range(5)])
    with pytest.raises(SyncError, match="only 0 of the 3"):
        synced(newcomer, shared.served)
    assert newcomer.is_untouched()


def authority(newcomer, *apis, keys):
    """These servers show another active authority of the group."""
    shown = newcomer.apis[0].methods.accounts([GROUP], typed=True)[0]
    true = newcomer.shared.group.chain.ledger.accounts[GROUP].active
    other = type(true)(len(keys) // 2 + 1, (), tuple(sorted((key, 1) for key in keys)))
    shown = {**shown, "active": AUTHORITY_FORM.show(other, CHAIN, True)}
    for api in apis:
        api.answers["database_api.find_accounts"] = {"accounts": [shown]}


def test_two_operators_must_show_the_same_authority(shared, tmp_path):
    newcomer = Newcomer(shared, tmp_path)
    authority(newcomer, newcomer.apis[1], keys=[devnet_key("mallory").public])
    with pytest.raises(ApiError, match="two servers of different operators must show the-group alike"):
        synced(newcomer, shared.served)
    third = Newcomer(shared, tmp_path / "b", operators=("north", "south", "east"))
    authority(third, third.apis[0], keys=[devnet_key("mallory").public])
    assert synced(third, shared.served) == shared.height


def test_one_operator_is_not_enough(shared, tmp_path):
    newcomer = Newcomer(shared, tmp_path, operators=("north", "north"))
    with pytest.raises(ApiError, match="different operators"):
        synced(newcomer, shared.served)
    assert newcomer.is_untouched()


def test_a_map_of_keys_that_the_snapshot_makes_up_gives_nobody_weight(shared, tmp_path):
    """A liar's snapshot says that the signers' keys are strangers' own, who did report its root."""
    strangers = [devnet_key(f"stranger {n}") for n in range(5)]

    def forge(view, state):
        for number, stranger in enumerate(strangers):
            member = state.need(NODE, "runner01")
            name = f"stranger{number}"
            key = member_keys(number + 1).signing_key.public
            pop = stranger.sign(pop_digest(shared.group.genesis.hash, name))
            view.put(NODE, replace(member, signing_key=key, pop=pop), name)

    false = shared.other_snapshot(f"map-{tmp_path.name}", forge)
    root = read_manifest(false.snapshots, shared.height).root
    newcomer = Newcomer(shared, tmp_path)
    from node.sync.trust import Reported

    async def reports(manifest):
        return [
            Reported(f"stranger{number}", shared.height, root, stranger.public)
            for number, stranger in enumerate(strangers)
        ]

    newcomer.sync._reports = reports
    with pytest.raises(SyncError, match="only 0 of the 3"):
        synced(newcomer, false)
    assert newcomer.is_untouched()


def test_servers_that_differ_about_the_blocks_of_the_reports_are_not_believed(shared, tmp_path):
    newcomer = Newcomer(shared, tmp_path)
    reporting(shared, newcomer, lambda account: account != "runner05")
    newcomer.apis[1].answers[RANGE] = ranges_of(shared.group.chain)
    with pytest.raises((SyncError, ApiError)):
        synced(newcomer, shared.served)
    assert newcomer.is_untouched()


def test_reports_that_are_not_irreversible_yet_do_not_count(tmp_path):
    young = Shared.__new__(Shared)
    young.group = new_group(tmp_path / "young")
    run_to_founded(young.group)
    young.group.run_until(lambda: any_state(young.group).height % 20 == 0, 25)
    young.folder, young.served = tmp_path, ServedNode(young.group, tmp_path)
    young.height = young.served.snapshot()
    young.group.run(19)
    newcomer = Newcomer(young, tmp_path / "new")
    with pytest.raises(SyncError, match="no peer offers one"):
        synced(newcomer, young.served)
    young.group.run(1)
    young.root = any_state(young.group).root(young.height)
    assert synced(newcomer, young.served) == young.height


# -- crashes


@pytest.mark.parametrize("step", ["finish", "weigh", "settle"])
def test_a_crash_between_two_steps_leaves_no_half_of_a_state(shared, tmp_path, monkeypatch, step):
    """The process is gone: nothing is cleaned up. The next start begins anew, and gets there."""
    newcomer = Newcomer(shared, tmp_path)
    crash = {
        "finish": ("node.sync.statesync.Restoring.finish", Crash),
        "weigh": ("node.sync.statesync.StateSync._weigh", Crash),
        "settle": ("node.sync.statesync.settle_store", Crash),
    }[step]

    def crashing(*arguments, **how):
        raise crash[1]

    with monkeypatch.context() as patched:
        patched.setattr(crash[0], crashing)
        patched.setattr(shutil, "rmtree", lambda *arguments, **how: None)
        with pytest.raises(Crash):
            synced(newcomer, shared.served)
    assert not newcomer.folder.exists()
    again = Newcomer(shared, tmp_path)
    assert synced(again, shared.served) == shared.height
    again.check()


class Crash(BaseException):
    """The power is gone."""


def test_a_state_that_is_there_is_never_written_over(shared, tmp_path):
    newcomer = Newcomer(shared, tmp_path)
    newcomer.folder.mkdir(parents=True)
    (newcomer.folder / "CURRENT").write_text("somebody's")
    with pytest.raises((SyncError, OSError)):
        synced(newcomer, shared.served)
    assert (newcomer.folder / "CURRENT").read_text() == "somebody's"


def test_peers_errors_are_of_the_kind_that_is_caught():
    assert issubclass(PeerError, Exception) and not issubclass(SyncError, PeerError)
