"""A peer that sends slowly costs a bounded time, and the next one is asked: at once, or a little late each time."""

import asyncio
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from node.sync import peer as peers
from node.sync.patience import Patience
from node.sync.statesync import StateSync, SyncError
from state.snapshot import read_manifest
from tests.node.feed.many import Clock
from tests.node.sync.test_statesync import Newcomer, Shared, showing, synced

LONG = 60  # seconds after which a test gives up: what is bounded ends long before


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A snapshot of many chunks."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("state.chunks.CHUNK_BYTES", 60)
        found = Shared(tmp_path_factory.mktemp("shared"))
    assert len(read_manifest(found.served.snapshots, found.height).chunks) > 20
    return found


def newcomer_of(shared, folder, patience):
    found = Newcomer(shared, folder)
    genesis, log = shared.group.genesis, lambda event, fields: found.events.append((event, fields))
    found.sync = StateSync(genesis, found.feed, found.sync._second, log, patience=patience)
    return found


class Dribbling:
    """A peer that shows true manifests and sends a byte of a chunk now and then; ``asked`` counts these."""

    def __init__(self, shared, *, pause=0.02):
        self._answer, self._pause, self.asked = showing(shared), pause, 0

    async def __aenter__(self):
        async def handle(request):
            status, body = self._answer(request.path)
            if request.path == "/v1/snapshots":
                return web.Response(status=status, body=body, content_type="application/json")
            self.asked += 1
            response = web.StreamResponse(headers={"Content-Length": str(len(body))})
            await response.prepare(request)
            for at in range(len(body)):
                await response.write(body[at : at + 1])
                await asyncio.sleep(self._pause)
            return response

        app = web.Application()
        app.router.add_get("/{path:.*}", handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *error):
        await self._runner.cleanup()


def with_dribbles(newcomer, dribbling, *served):
    """As ``synced``, with a dribbling peer before the others."""

    async def after(*urls):
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(dribbling)
            async with asyncio.timeout(LONG):
                return await newcomer.of(first, *urls)

    return synced(newcomer, *served, after=after)


# -- over the wire


def test_a_peer_that_dribbles_is_left_within_its_seconds_and_leaves_nothing(shared, tmp_path):
    newcomer = newcomer_of(shared, tmp_path, Patience(rate=1 << 20, slack=0.2))
    with pytest.raises(SyncError, match=r"no peer gives chunk 0: .*did not come within 0\.2 seconds"):
        with_dribbles(newcomer, Dribbling(shared))
    assert newcomer.is_untouched()


def test_the_next_peer_is_asked_in_its_place(shared, tmp_path):
    newcomer = newcomer_of(shared, tmp_path, Patience(rate=1 << 20, slack=0.2))
    dribbling = Dribbling(shared)
    assert with_dribbles(newcomer, dribbling, showing(shared)) == shared.height
    newcomer.check()
    assert 1 <= dribbling.asked <= 4, "what was asked ahead, and nothing after"
    assert {told["peer"] for told in newcomer.told("peer_error")} != set()


def test_several_that_dribble_cost_their_seconds_each_and_no_more(shared, tmp_path):
    newcomer = newcomer_of(shared, tmp_path, Patience(rate=1 << 20, slack=0.2))
    other = Dribbling(shared)

    async def after(*urls):
        async with other as url, Dribbling(shared) as third, asyncio.timeout(LONG):
            return await newcomer.of(url, third, *urls)

    assert synced(newcomer, showing(shared), after=after) == shared.height
    newcomer.check()


def test_one_that_says_too_much_for_ever_is_left_too(shared, tmp_path):
    """Waiting for it counts: a refusal is an answer that gives nothing."""
    busy = showing(shared, chunk=lambda index, true: (429, b"{}"))
    with pytest.raises(SyncError, match="did not come within"):
        synced(alone := newcomer_of(shared, tmp_path / "a", Patience(slack=0.2)), busy)
    assert alone.is_untouched()
    newcomer = newcomer_of(shared, tmp_path / "b", Patience(slack=0.2))
    assert synced(newcomer, busy, showing(shared)) == shared.height


def test_one_that_is_late_with_each_chunk_is_asked_no_more_once_its_slack_is_used_up(shared, tmp_path):
    """Each answer is in time and true: all of them together would take for ever."""
    clock, asked = Clock(), []

    def late(index, true):
        asked.append(index)
        clock.now += 5.0
        return true

    newcomer = newcomer_of(shared, tmp_path / "a", Patience(clock, rate=1 << 30, slack=12.0))
    with pytest.raises(SyncError, match="none that was not too slow before"):
        synced(newcomer, showing(shared, chunk=late))
    assert len(asked) <= 12 and newcomer.is_untouched()


def test_then_the_others_give_the_rest(shared, tmp_path):
    asked = []

    async def late(true):
        await asyncio.sleep(0.3)  # a chunk of 70 bytes may take 0.1
        return 200, true

    def chunk(index, true):
        asked.append(index)
        return late(true)

    newcomer = newcomer_of(shared, tmp_path, Patience(rate=700, slack=0.5))
    assert synced(newcomer, showing(shared, chunk=chunk), showing(shared)) == shared.height
    newcomer.check()
    count = len(read_manifest(shared.served.snapshots, shared.height).chunks)
    assert 1 <= len(asked) <= 8 < count // 2, "else every second one would have been asked of it"


def test_one_that_is_slow_but_not_too_slow_is_taken_to_the_end(shared, tmp_path):
    clock = Clock()

    def steady(index, true):
        clock.now += len(true) / 1_000
        return true

    # four are asked at once, and each of them sees the time that all four take
    newcomer = newcomer_of(shared, tmp_path, Patience(clock, rate=100, slack=1.0))
    assert synced(newcomer, showing(shared, chunk=steady)) == shared.height
    newcomer.check()
    assert newcomer.told("peer_error") == []


def test_a_list_that_dribbles_ends_and_leaves_the_other_peers(shared, tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "_TRIES", 1)

    async def never():
        await asyncio.sleep(3_600)

    newcomer = Newcomer(shared, tmp_path)
    newcomer.of = lambda *urls: of(newcomer, *urls, seconds=0.3)
    assert synced(newcomer, lambda path: never(), showing(shared)) == shared.height
    assert "TimeoutError" in newcomer.told("peer_error")[0]["error"]


async def of(newcomer, *urls, seconds):
    async with aiohttp.ClientSession() as session:
        return await newcomer.sync.run([peers.Peer(url, session, seconds=seconds) for url in urls], newcomer.folder)


def test_what_a_manifest_of_its_own_costs_is_not_the_next_ones_loss(shared, tmp_path):
    """Each snapshot begins with all of the slack: a peer of two is not left because of the first."""
    patience = Patience(Clock(), slack=5.0)
    patience.spent("bob", 0, 9.0)
    assert patience.seconds("bob", 1) == 0.0
    patience.begin_anew()
    assert patience.seconds("bob", 0) == 5.0


# -- the account of it


@given(
    answers=st.lists(st.tuples(st.integers(0, 4 << 20), st.floats(0, 1, allow_nan=False)), max_size=60),
    rate=st.integers(1, 1 << 20),
    slack=st.floats(0.1, 100, allow_nan=False),
)
def test_whatever_it_does_a_peer_gets_the_time_of_its_bytes_and_the_slack_once(answers, rate, slack):
    """One answer after the other, each as late as it may be by some share; what fails gives no bytes."""
    patience, total, size_of_all = Patience(Clock(), rate=rate, slack=slack), 0.0, 0
    for size, share in answers:
        seconds = patience.seconds("bob", size)
        assert seconds >= 0
        if not seconds:
            continue
        total += seconds * share
        size_of_all += size
        patience.spent("bob", size, seconds * share)
    assert total <= (slack + size_of_all / rate) * 1.000001
    assert patience.seconds("carol", 0) == slack


def test_quick_answers_are_no_savings_to_be_slow_with_later():
    patience = Patience(Clock(), rate=100, slack=10.0)
    for _ in range(1_000):
        patience.spent("bob", 100, 0.0)
    assert patience.seconds("bob", 0) == 10.0
    patience.spent("bob", 100, 4.0)
    assert patience.seconds("bob", 0) == 7.0
    patience.spent("bob", 0, 7.0)
    assert patience.seconds("bob", 10**9) == 0.0
