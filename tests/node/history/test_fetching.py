"""Blocks fetched into an archive from real servers on loopback: whatever these do, what is there is true and whole."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from node.config import ApiConfig
from node.devnet.founding import CHAIN, genesis_document, member_keys
from node.devnet.manners import manner
from node.errors import ApiError, FeedError, NodeError
from node.feed import archive as archives
from node.feed import compact as compacting
from node.feed import cutting, segment
from node.feed.archive import Archive
from node.feed.second import Second
from node.feed.segment import frames_of, opened, segment_path
from node.feed.source import read_proven
from node.genesis_text import to_toml
from node.history import fetching, verifying
from node.history.fetching import Fetcher, sources
from node.history.verifying import Asked, verify
from processors.hive.block import read_block
from tests.node.devnet.serving import served
from tests.node.feed.many import RANGE, Many, chain_of, lacking, ranges_of, strange

LAST = 600  # irreversible; the head is one more
SEGMENT = 100


@pytest.fixture(scope="module")
def chain():
    return chain_of(LAST + 1)


@pytest.fixture(scope="module")
def hive(chain):
    with served(SimpleNamespace(chain=chain)) as first:
        yield first


@pytest.fixture
def short(monkeypatch):
    """Segments of 100 blocks."""
    for module in (segment, archives, compacting, cutting, verifying):
        monkeypatch.setattr(module, "SEGMENT_BLOCKS", SEGMENT)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(fetching, "_LONGEST_PAUSE", 0.4)


def servers(hive, *manners):
    """The first is honest unless a manner is named for it, each of an operator of its own."""
    urls = [hive.url if name == "honest" else hive.also(manner(name)).url for name in manners]
    return [ApiConfig(url, f"operator{index}") for index, url in enumerate(urls)]


def fetched(folder, apis, first=None, last=None, *, stop_at=None, advance=None, tries=10, prove_ahead=False):
    """(what came out, the events): as the command does it."""
    events = []

    async def main(archive):
        stop = asyncio.Event()
        log = lambda event, fields: events.append((event, fields))  # noqa: E731
        async with sources(apis, CHAIN, log, prove_ahead=prove_ahead) as (feed, second):
            fetcher = Fetcher(archive, feed, second, CHAIN, log, tries=tries)
            plan = await fetcher.plan(first, last, stop)

            def told(done):
                if advance is not None:
                    advance(done)
                if stop_at is not None and done >= stop_at:
                    stop.set()

            fetcher.advance = told
            return await fetcher.fetch(plan, stop)

    with Archive.open(folder, write=True) as archive:
        return asyncio.run(main(archive)), events


def is_true(folder, chain, first, last):
    """Whether the archive holds exactly these blocks of the chain."""
    archive = Archive.open(folder)
    assert (archive.first, archive.last) == (first, last)
    found = [read_proven(text, CHAIN).id for text in archive.read(first, last)]
    return found == [chain.block(number).id for number in range(first, last + 1)]


# -- a fetch


@pytest.mark.parametrize("prove_ahead", [False, True])
def test_all_irreversible_blocks_from_the_first_one_on(tmp_path, chain, hive, prove_ahead):
    told = []
    apis = servers(hive, "honest", "honest")
    found, _ = fetched(tmp_path, apis, 1, advance=told.append, prove_ahead=prove_ahead)
    assert (found.first, found.last, found.new, found.confirmed, found.stopped) == (1, LAST, LAST, True, False)
    assert is_true(tmp_path, chain, 1, LAST)
    assert told == sorted(told) and told[-1] == LAST
    assert verify(Asked(tmp_path, CHAIN), lambda done: None).good


def test_a_part_then_what_follows_then_nothing(tmp_path, chain, hive, short):
    apis = servers(hive, "honest", "honest")
    assert fetched(tmp_path, apis, 250, 340)[0].new == 91
    assert is_true(tmp_path, chain, 250, 340)
    assert fetched(tmp_path, apis, None, 350)[0].new == 10
    assert fetched(tmp_path, apis, 300, None)[0].new == LAST - 350
    assert is_true(tmp_path, chain, 250, LAST)
    for first, last in ((None, None), (250, 400), (None, LAST)):
        assert fetched(tmp_path, apis, first, last)[0].new == 0


def test_one_server_is_enough_and_confirms_nothing(tmp_path, chain, hive):
    found, _ = fetched(tmp_path, servers(hive, "honest"), 100)
    assert found.new == LAST - 99 and not found.confirmed
    assert is_true(tmp_path, chain, 100, LAST)


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (None, None, "is empty: say with --from"),
        (1, LAST + 1, f"--to {LAST + 1}: the newest irreversible block is {LAST}"),
        (LAST + 5, None, "name an earlier one"),
    ],
)
def test_what_cannot_be_fetched_into_an_empty_one(tmp_path, hive, first, last, words):
    with pytest.raises(NodeError, match=words):
        fetched(tmp_path, servers(hive, "honest", "honest"), first, last)


@pytest.mark.parametrize(
    ("first", "words"),
    [(112, r"ends with block 110: --from 112 would leave a gap\. Leave --from out"), (99, "begins with block 100")],
)
def test_what_would_leave_a_gap_is_refused(tmp_path, chain, hive, first, words):
    fetched(tmp_path, servers(hive, "honest"), 100, 110)
    with pytest.raises(NodeError, match=words):
        fetched(tmp_path, servers(hive, "honest"), first, 120)
    assert is_true(tmp_path, chain, 100, 110)


def test_a_file_that_was_deleted_is_fetched_again_and_nothing_else(tmp_path, chain, hive, short):
    apis = servers(hive, "honest", "honest")
    fetched(tmp_path, apis, 50)
    kept = segment_path(tmp_path, 400).stat().st_ino
    for number in (200, 300, 500):
        segment_path(tmp_path, number).unlink()
    assert Archive.open(tmp_path).last == 199
    assert fetched(tmp_path, apis)[0].new == 300
    assert is_true(tmp_path, chain, 50, LAST) and segment_path(tmp_path, 400).stat().st_ino == kept


def test_small_frames_are_merged_in_the_end(tmp_path, chain, hive, short):
    apis = servers(hive, "honest", "honest")
    for last in range(110, 260, 10):
        fetched(tmp_path, apis, 100 if last == 110 else None, last)
    found, _ = fetched(tmp_path, apis)
    for number in (100, 200):
        with opened(segment_path(tmp_path, number)) as handle:
            assert len(frames_of(handle)) == 1
    assert is_true(tmp_path, chain, 100, LAST) and found.merged == 1, "the first closed file was merged before"


# -- servers with faults


@pytest.mark.parametrize(
    "manners",
    [
        ("leaves-out", "honest", "honest"),
        ("leaves-out", "leaves-out", "honest", "honest"),
        ("errors:3", "honest"),
        ("errors:2", "errors:3", "errors:5"),
        ("behind:50", "honest", "honest"),
    ],
)
def test_faults_of_some_change_nothing(tmp_path, chain, hive, manners):
    found, events = fetched(tmp_path, servers(hive, *manners), 2)
    assert found.last == LAST and is_true(tmp_path, chain, 2, LAST)
    banned = [fields["operator"] for event, fields in events if event == "server_banned"]
    assert banned == sorted(f"operator{i}" for i, name in enumerate(manners) if name == "leaves-out")


def test_a_server_that_dies_in_the_middle(tmp_path, chain, hive):
    apis = servers(hive, "slow:0.01", "honest")
    runner = hive.server._runners[-1]

    def kill(done):
        if done == 10:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), hive._loop).result(10)
            hive.server._runners.remove(runner)

    found, _ = fetched(tmp_path, apis, 2, advance=kill)
    assert found.last == LAST and is_true(tmp_path, chain, 2, LAST)


def test_when_all_are_banned_it_ends_and_says_who_lied(tmp_path, chain, hive):
    with pytest.raises(ApiError, match=r"no server can be asked now.*is refused"):
        fetched(tmp_path, servers(hive, "leaves-out"), 1)
    assert Archive.open(tmp_path).last in (None, 1), "the first block is empty"


def test_when_nobody_answers_it_ends_after_some_tries(tmp_path, hive):
    closed = ApiConfig("http://127.0.0.1:9", "nobody")
    with pytest.raises(NodeError, match=r"no server .*gave up after 2 tries: .* go on with the same command"):
        fetched(tmp_path, [closed], 1, tries=2)


def many_fetching(folder, many, first=None, last=None, tries=4):
    """Fetch from servers without wires."""

    async def main(archive):
        second = Second(many.feed, CHAIN, lambda event, fields: None, read_proven)
        fetcher = Fetcher(archive, many.feed, second, CHAIN, lambda event, fields: None, tries=tries)
        stop = asyncio.Event()
        return await fetcher.fetch(await fetcher.plan(first, last, stop), stop)

    with Archive.open(folder, write=True) as archive:
        return asyncio.run(main(archive))


def test_an_operation_that_nobody_can_serialise_is_taken_where_two_operators_give_it_alike(tmp_path, chain):
    many = Many(chain, "north", "south", "east")
    for api in many.apis:
        api.answers[RANGE] = ranges_of(chain, strange({20}))
    assert many_fetching(tmp_path / "two", many, 2, 60).last == 60
    alone = Many(chain, "north")
    alone.apis[0].answers[RANGE] = ranges_of(chain, strange({20}))
    with pytest.raises(ApiError, match="no two servers of different operators"):
        many_fetching(tmp_path / "one", alone, 2, 60)
    assert Archive.open(tmp_path / "one").last == 19


def test_who_lies_about_the_first_block_is_not_believed(tmp_path, chain):
    """Nothing comes before it: two operators must give it alike."""
    many = Many(chain, "north", "south")
    many.apis[0].answers[RANGE] = ranges_of(chain_of(60, shift=1))
    with pytest.raises(FeedError, match="the servers differ about block 2"):
        many_fetching(tmp_path, many, 2, 60)
    assert Archive.open(tmp_path).last is None
    many.apis[0].answers[RANGE] = ranges_of(chain, lacking({2}))
    many = Many(chain, "north", "south", "east")
    assert many_fetching(tmp_path, many, 2, 60).last == 60


def test_an_archive_of_a_dead_fork_is_told(tmp_path, chain):
    fork = Many(chain_of(60, shift=1), "north", "south")
    many_fetching(tmp_path, fork, 2, 40)
    with pytest.raises(NodeError, match=r"on a fork that died, or of another chain: .*delete its newest file"):
        many_fetching(tmp_path, Many(chain, "north", "south"), None, 60)


def test_the_last_block_is_held_against_what_most_operators_have(tmp_path, chain):
    """One liar serves a chain of his own from the beginning, the others rest meanwhile."""
    fork = chain_of(60, shift=1)
    many_fetching(tmp_path, Many(fork, "north"), 2, 40)
    many = Many(chain, "north", "south", "east")
    many.apis[0].answers[RANGE] = ranges_of(fork)
    with pytest.raises(NodeError, match="fork that died"):
        many_fetching(tmp_path, many, None, 50)


# -- ended in the middle


def test_stopped_it_keeps_what_came_and_goes_on(tmp_path, chain, hive):
    apis = servers(hive, "honest", "honest")
    found, _ = fetched(tmp_path, apis, 2, stop_at=70)
    assert found.stopped and not found.confirmed and 70 <= found.last < LAST
    assert is_true(tmp_path, chain, 2, found.last)
    assert fetched(tmp_path, apis)[0].new == LAST - found.last
    assert is_true(tmp_path, chain, 2, LAST)


@contextlib.contextmanager
def running(tmp_path, apis, *words):
    """`waggle archive fetch` in a process of its own."""
    genesis = tmp_path / "genesis.toml"
    genesis.write_text(to_toml(genesis_document([member_keys(1)], start_block=100, parameters={})))
    command = [sys.executable, "-m", "node.cli", "archive", "fetch", "--archive", str(tmp_path / "archive")]
    named = [part for api in apis for part in ("--api", f"{api.operator}={api.url}")]
    options = [*command, "--genesis", str(genesis), *named, *words]
    process = subprocess.Popen(options, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def written(folder):
    return sum(path.stat().st_size for path in folder.glob("*.seg"))


def until_some(process, folder):
    end = time.monotonic() + 30
    while written(folder) == 0:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.005)


def slow(hive):
    return servers(hive, "slow:0.25", "slow:0.25")


def test_killed_it_leaves_an_archive_that_the_next_one_goes_on_with(tmp_path, chain, hive):
    folder = tmp_path / "archive"
    for _ in range(2):
        with running(tmp_path, slow(hive), "--from", "2", "--to", str(LAST - 1)) as process:
            until_some(process, folder)
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait(10) == -signal.SIGKILL
    before = Archive.open(folder).last
    assert before is not None and before < LAST - 1
    found, _ = fetched(folder, servers(hive, "honest", "honest"))
    assert found.new >= LAST - before and is_true(folder, chain, 2, LAST)
    assert verify(Asked(folder, CHAIN), lambda done: None).good


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_cleanly(tmp_path, chain, hive, number, code):
    folder = tmp_path / "archive"
    with running(tmp_path, slow(hive), "--from", "2") as process:
        until_some(process, folder)
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=10)
    assert process.returncode == code, err
    assert "stopped: go on with the same command" in out and "Traceback" not in err
    assert is_true(folder, chain, 2, Archive.open(folder).last)
    assert read_block(next(Archive.open(folder).read(2, 2)), CHAIN).number == 2
