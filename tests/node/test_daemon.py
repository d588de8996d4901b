"""`waggle run` as a process of its own on a devnet: it starts, stops, is killed, and goes on where it was."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from node.config import ApiConfig, FeedConfig, SnapshotConfig
from node.daemon import run_node
from node.devnet.founding import CHAIN, found, genesis_document, member_keys, new_chain
from node.devnet.manners import HONEST, manner
from node.devnet.server import DevnetServer
from node.devnet.watching import PARAMETERS
from node.errors import ApiError, NodeError
from node.feed.archive import Archive
from node.feed.feed import Feed
from node.genesis_text import to_toml
from node.signer.keys import write_key
from processors.engine import apply_block, begin
from processors.hive.block import read_block
from state.snapshot import heights, verify
from state.state import State
from state.store import LevelStore, MemoryStore
from tests.node.history.logs import PLAIN, log_of, packed
from tests.node.test_runtime import config_for

BLOCKS = 1_500
MEMBERS = [member_keys(number) for number in range(1, 4)]
DOCUMENT = genesis_document(MEMBERS, start_block=20, parameters=PARAMETERS)
GENESIS = found(DOCUMENT)
ROOT = Path(__file__).resolve().parents[2]

CONFIG = """\
[node]
account = "runner01"
genesis = "genesis.toml"
data = "data"
poll_seconds = 0.05
start_tries = {tries}
[keys]
account = "account.wif"
signing = "signing.wif"
{apis}
[feed]
archive = "archive"
prove_ahead = {ahead}
[snapshots]
every = 1
keep = 2
[log]
format = "json"
level = "debug"
"""


@pytest.fixture(scope="module")
def chain():
    found = new_chain(MEMBERS, MEMBERS[0])
    for _ in range(BLOCKS + 1):
        found.produce()
    return found


@pytest.fixture(scope="module")
def roots(chain):
    """The roots of an honest replica, by height."""
    state = State(MemoryStore(), GENESIS.hash, round_length=20)
    found = {}
    for number in range(20, BLOCKS + 1):
        block = read_block(chain.show_block(number, typed=True), chain.chain)
        begin(state, GENESIS, block) if number == 20 else apply_block(state, GENESIS, block)
        if number % 20 == 0:
            found[number] = state.root(number)
    return found


def write_files(folder, urls, tries=3, ahead=True):
    """The files of runner01's node."""
    (folder / "genesis.toml").write_text(to_toml(DOCUMENT))
    for name, key in (("account", MEMBERS[0].account_key), ("signing", MEMBERS[0].signing_key)):
        if not (folder / f"{name}.wif").exists():
            write_key(folder / f"{name}.wif", key)
    names = ("north", "south", "east")
    apis = "\n".join(f'[[api]]\nurl = "{url}"\noperator = "{name}"' for url, name in zip(urls, names, strict=False))
    (folder / "config.toml").write_text(CONFIG.format(apis=apis, tries=tries, ahead=str(ahead).lower()))


@contextlib.asynccontextmanager
async def devnet(chain, *manners):
    server = DevnetServer(chain, interval=3.0)
    try:
        yield server, [await server.listen(manner=one) for one in manners]
    finally:
        await server.stop()


class Process:
    """A node's process, and what it logs."""

    def __init__(self, folder):
        self.folder = folder

    async def __aenter__(self):
        command = [sys.executable, "-m", "node.cli", "run", "--config", str(self.folder / "config.toml")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with open(self.folder / "log", "ab") as log:
            self.running = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=ROOT
            )
        return self

    async def __aexit__(self, *error):
        if self.running.returncode is None:
            self.running.kill()
        await self.running.wait()

    def events(self):
        lines = (self.folder / "log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    async def until(self, condition):
        for _ in range(1_500):
            if condition(self.events()):
                return
            assert self.running.returncode is None, (self.folder / "log").read_text()[-2_000:]
            await asyncio.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text()[-2_000:])

    async def until_height(self, height):
        await self.until(lambda events: any(e["event"] == "round" and e["height"] >= height for e in events))

    async def end(self, number, within=2.0):
        self.running.send_signal(number)
        return await asyncio.wait_for(self.running.wait(), within)


def state_of(folder, roots):
    """The height of the store, whose newest root is the honest one: nothing is torn."""
    with closing(LevelStore(folder / "data/state", create=False)) as store:
        state = State(store, GENESIS.hash, round_length=20)
        assert state.root(state.height // 20 * 20) == roots[state.height // 20 * 20]
        return state.height


# -- processes


@pytest.mark.processes
def test_terminated_in_the_middle_of_catching_up_it_ends_within_two_seconds_and_goes_on_later(tmp_path, chain, roots):
    async def main():
        async with devnet(chain, HONEST, HONEST) as (_, urls):
            write_files(tmp_path, urls)
            async with Process(tmp_path) as node:
                await node.until_height(200)
                assert await node.end(signal.SIGTERM) == 0
                last = node.events()[-1]
                assert (last["event"], last["outcome"]) == ("stop", "clean")
            first = state_of(tmp_path, roots)
            assert 200 <= first < BLOCKS
            async with Process(tmp_path) as node:
                await node.until_height(1_500)
                assert await node.end(signal.SIGINT) == 0
            assert state_of(tmp_path, roots) == BLOCKS
            events = node.events()
            assert not [e for e in events if e["event"] in ("stopped", "store_damaged", "root_verified")]

    asyncio.run(main())
    with Archive.open(tmp_path / "archive", write=True) as archive:
        assert (archive.first, archive.last) == (21, BLOCKS) and archive.cut == 0


@pytest.mark.processes
def test_killed_in_the_middle_of_catching_up_it_verifies_its_root_and_goes_on(tmp_path, chain, roots):
    async def main():
        async with devnet(chain, HONEST, HONEST) as (_, urls):
            write_files(tmp_path, urls, ahead=False)
            reached = []
            for height in (60, 600, 1_000):
                async with Process(tmp_path) as node:
                    await node.until_height(height)
                    assert await node.end(signal.SIGKILL) == -signal.SIGKILL
                reached.append(state_of(tmp_path, roots))
            assert reached == sorted(reached) and reached[0] >= 20
            async with Process(tmp_path) as node:
                await node.until_height(1_500)
                assert await node.end(signal.SIGTERM) == 0
            events = node.events()
            assert [e["event"] for e in events].count("root_verified") == 3
            assert not [e for e in events if e["event"] in ("stopped", "store_damaged", "diverged")]

    asyncio.run(main())
    assert state_of(tmp_path, roots) == BLOCKS
    with Archive.open(tmp_path / "archive", write=True) as archive:
        assert archive.last == BLOCKS, "what the kills left out was fetched"


@pytest.mark.processes
def test_a_second_run_on_the_same_folder_is_refused_and_the_first_goes_on(tmp_path, chain):
    async def main():
        async with devnet(chain, HONEST, HONEST) as (_, urls):
            write_files(tmp_path, urls)
            async with Process(tmp_path) as node:
                await node.until_height(40)
                command = [sys.executable, "-m", "node.cli", "run", "--config", str(tmp_path / "config.toml")]
                second = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    cwd=ROOT,
                )
                _, words = await asyncio.wait_for(second.communicate(), 20)
                assert second.returncode == 1
                assert b"is held by another process: stop that node first" in words and b"Traceback" not in words
                await node.until_height(1_500)
                assert (tmp_path / "data/control.sock").is_socket(), "nor is its socket taken from it"
                assert await node.end(signal.SIGTERM) == 0

    asyncio.run(main())


# -- in this process


def config(folder, urls, **how):
    apis = tuple(ApiConfig(url, name) for url, name in zip(urls, ("north", "south", "east"), strict=False))
    (folder / "genesis.toml").unlink(missing_ok=True)
    found = config_for(folder, urls[0])
    (folder / "genesis.toml").write_text(to_toml(DOCUMENT))
    return replace(found, apis=apis, **how)


class Running:
    """A node in this process; ``events`` are what it logs."""

    def __init__(self, config):
        self.config, self.events, self.stop = config, [], asyncio.Event()

    def log(self, event, fields):
        self.events.append((event, fields))

    def told(self, event):
        return [fields for name, fields in self.events if name == event]

    async def until(self, condition):
        before = asyncio.all_tasks()
        self.task = asyncio.create_task(run_node(self.config, self.log, self.stop))
        for _ in range(1_500):
            if self.task.done() or condition(self):
                break
            await asyncio.sleep(0.01)
        self.stop.set()
        await asyncio.wait_for(self.task, 5)
        assert not [task for task in asyncio.all_tasks() - before if not serves(task)], "a task outlived the node"


def serves(task):
    """The devnet's server lives in this loop too; when its connections' tasks end is its own affair."""
    return task.get_coro().__qualname__.startswith("RequestHandler.")


def reached(height):
    return lambda node: any(fields["height"] >= height for fields in node.told("round"))


def test_where_no_server_answers_it_stops_after_its_tries_with_words(tmp_path, monkeypatch):
    monkeypatch.setattr("node.retry.LONGEST_PAUSE", 0.01)
    node = Running(config(tmp_path, ["http://127.0.0.1:1", "http://127.0.0.1:2"], start_tries=3))
    with pytest.raises(ApiError):
        asyncio.run(node.until(lambda node: False))
    assert [fields["try"] for fields in node.told("start_try")] == [1, 2]
    [stopped] = node.told("stopped")
    assert "http://127.0.0.1:1" in stopped["error"] or "no server" in stopped["error"]
    LevelStore(tmp_path / "data/state", create=False).close()


def test_the_servers_may_come_after_the_node(tmp_path, chain, monkeypatch):
    monkeypatch.setattr("node.retry.LONGEST_PAUSE", 0.05)

    async def main():
        server = DevnetServer(chain, interval=3.0)
        first = await server.listen()
        port = int(first.rpartition(":")[2])
        await server.stop()
        later = DevnetServer(chain, interval=3.0)
        urls = [first, await later.listen()]
        node = Running(config(tmp_path, [first, "http://127.0.0.1:1"], start_tries=200))
        node.config = replace(node.config, apis=(ApiConfig(first, "north"), ApiConfig(urls[1], "south")))
        asyncio.get_running_loop().call_later(0.3, lambda: asyncio.ensure_future(later.listen(port)))
        await node.until(reached(100))
        await later.stop()
        return node

    node = asyncio.run(main())
    assert reached(100)(node) and not node.told("stopped")


def test_one_honest_server_of_three_is_enough_to_go_on(tmp_path, chain, roots):
    """One leaves transactions out, one is slow; here blocks are empty, so that nobody can lie but by being slow."""

    async def main():
        async with devnet(chain, manner("leaves-out"), manner("slow:0.3"), HONEST) as (_, urls):
            node = Running(config(tmp_path, urls, feed=FeedConfig(prove_ahead=False)))
            await node.until(reached(400))
            return node

    node = asyncio.run(main())
    assert reached(400)(node) and not node.told("stopped")
    state_of(tmp_path, roots)


def test_an_archive_brings_a_new_node_up_and_servers_the_rest(tmp_path, chain, roots):
    with Archive.open(tmp_path / "archive", write=True) as archive:
        for number in range(20, 1_001):
            archive.append(json.dumps(chain.show_block(number, typed=True)).encode())
    asked = []

    async def main():
        async with devnet(chain, HONEST, HONEST) as (server, urls):
            feed = FeedConfig(archive=tmp_path / "archive", prove_ahead=False)
            node = Running(config(tmp_path, urls, feed=feed))
            await node.until(reached(1_500))
            asked.append(server.clients)
            return node

    node = asyncio.run(main())
    assert node.told("archive_replay")[0] == {"height": 20, "last": 1_000}
    assert state_of(tmp_path, roots) == BLOCKS
    with Archive.open(tmp_path / "archive", write=False) as archive:
        assert (archive.first, archive.last) == (20, BLOCKS)


def write_block_log(folder, chain, last):
    """The first blocks of a devnet as hived stores them."""
    shown = (json.dumps(chain.show_block(number, typed=True)).encode() for number in range(1, last + 1))
    folder.joinpath("block_log").write_bytes(log_of([packed(read_block(text, CHAIN)) for text in shown], PLAIN)[0])


def test_hiveds_block_log_brings_a_new_node_up_and_servers_the_rest(tmp_path, chain, roots):
    """Its blocks are proven like a server's; an archive that begins empty has a gap, which servers fill."""
    write_block_log(tmp_path, chain, 1_000)

    async def main():
        async with devnet(chain, HONEST, HONEST) as (_, urls):
            feed = FeedConfig(block_log=tmp_path / "block_log", prove_ahead=False)
            node = Running(config(tmp_path, urls, feed=feed))
            await node.until(reached(1_500))
            return node

    node = asyncio.run(main())
    assert node.told("past_replay")[0]["last"] == 1_000 and not node.told("past_failed")
    assert state_of(tmp_path, roots) == BLOCKS


@pytest.mark.parametrize("parts_at", [10, 50])
def test_a_block_log_of_another_fork_is_left_again(tmp_path, chain, roots, parts_at):
    """One that parts before the group's first block does not follow; a later one is left as servers' forks are."""
    other = new_chain(MEMBERS, MEMBERS[0])
    for number in range(1, 200):
        other.produce(other.head_time + (6 if number == parts_at else 3))
    write_block_log(tmp_path, other, 199)

    async def main():
        async with devnet(chain, HONEST, HONEST) as (_, urls):
            feed = FeedConfig(block_log=tmp_path / "block_log", prove_ahead=False)
            node = Running(config(tmp_path, urls, feed=feed))
            await node.until(reached(300))
            return node

    node = asyncio.run(main())
    assert len(node.told("past_failed")) == (parts_at < 20)
    state_of(tmp_path, roots)


def test_stopped_while_the_archive_is_filled_from_a_silent_server_it_ends(tmp_path, chain):
    async def main():
        async with devnet(chain, HONEST, HONEST) as (_, urls):
            first = Running(config(tmp_path, urls, feed=FeedConfig(prove_ahead=False)))
            await first.until(reached(200))
            with Archive.open(tmp_path / "archive", write=True) as archive:
                archive.append(json.dumps(chain.show_block(30, typed=True)).encode())
            again = Running(replace(first.config, feed=FeedConfig(archive=tmp_path / "archive", prove_ahead=False)))

            async def silent(*arguments, **how):
                await asyncio.sleep(3_600)
                yield

            blocks, Feed.blocks = Feed.blocks, silent
            try:
                await again.until(lambda node: node.told("archive_fill"))
            finally:
                Feed.blocks = blocks
            return again

    node = asyncio.run(main())
    assert node.events[-1][0] == "stop"


def test_a_live_node_writes_its_snapshots(tmp_path):
    chain = new_chain(MEMBERS, MEMBERS[0])
    for _ in range(45):
        chain.produce()

    async def main():
        async with devnet(chain, HONEST, HONEST) as (server, urls):
            node = Running(config(tmp_path, urls, snapshots=SnapshotConfig(1, 2), feed=FeedConfig(prove_ahead=False)))

            async def clock():
                while chain.head_number < 130:
                    await asyncio.sleep(0.01)
                    await server.produce()

            ticking = asyncio.create_task(clock())
            await node.until(lambda node: len(node.told("snapshot")) >= 3)
            await ticking
            return node

    node = asyncio.run(main())
    kept = heights(tmp_path / "data/snapshots")
    assert 1 <= len(kept) <= 2 and all(height % 20 == 0 for height in kept)
    verify(tmp_path / "data/snapshots", kept[-1], GENESIS.hash)
    assert not node.told("snapshot_failed")


def test_a_disk_that_is_nearly_full_stops_it_cleanly(tmp_path, chain, roots, monkeypatch):
    monkeypatch.setattr("node.served.Node.free_bytes", lambda node: 1 << 20)

    async def main():
        async with devnet(chain, HONEST, HONEST) as (_, urls):
            node = Running(config(tmp_path, urls, feed=FeedConfig(prove_ahead=False)))
            with pytest.raises(NodeError, match="MiB left"):
                await node.until(lambda node: False)
            return node

    node = asyncio.run(main())
    assert "make room" in node.told("stopped")[0]["error"]
    assert state_of(tmp_path, roots) == 20
