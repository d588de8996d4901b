"""Proving in a process of its own: only verdicts come back, and without it the node goes on alone."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from node.feed.proving import Prover
from node.feed.source import read_proven
from processors.hive.errors import HiveDataError
from tests.node.feed.many import CHAIN, Many, chain_of, lacking, ranges_of
from tests.node.feed.test_ahead import ahead

LAST = 320


@pytest.fixture(scope="module")
def chain():
    return chain_of(LAST)


@pytest.fixture(scope="module")
def texts(chain):
    found = ranges_of(chain, lacking({13}))({"starting_block_num": 10, "count": 6})["blocks"]
    return [msgspec.json.encode(block) for block in found]


def process_of(prover):
    """The id of the process that proves."""
    return prover._process.pid


async def gone(number):
    """Until a process has ended."""
    for _ in range(500):
        try:
            if Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        await asyncio.sleep(0.01)
    return False


def asked(*batches):
    """How each batch is read once a process has looked at it."""

    async def main():
        prover = Prover(CHAIN)
        found = [await prover.reader(batch) for batch in batches]
        assert process_of(prover)
        await prover.close()
        return found

    return asyncio.run(main())


def test_the_true_ones_are_read_and_the_lie_is_found_where_it_can_be_told(texts):
    [read] = asked(texts)
    for number, text in zip(range(10, 16), texts, strict=True):
        if number == 13:
            with pytest.raises(HiveDataError):
                read(text, CHAIN)
        else:
            assert read(text, CHAIN).id == read_proven(text, CHAIN).id


def test_a_verdict_is_of_that_text_and_of_no_other(texts):
    """What was not looked at is proven where it is read, also if it is equal in number and place."""
    [read] = asked(texts[:3])
    with pytest.raises(HiveDataError):
        read(texts[3], CHAIN)
    assert read(texts[4], CHAIN).number == 14


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"[]", b"\xff", b'{"previous": 5}'])
def test_what_is_no_block_is_a_verdict_and_no_end(text):
    read, again = asked([text], [text])
    with pytest.raises(HiveDataError):
        read(text, CHAIN)
    with pytest.raises(HiveDataError):
        again(text, CHAIN)


def test_killed_between_two_questions_and_in_the_middle_it_goes_on_alone(texts):
    async def main():
        prover = Prover(CHAIN)
        await prover.reader(texts)
        number = process_of(prover)
        os.kill(number, signal.SIGSTOP)
        asking = asyncio.create_task(prover.reader(texts))
        await asyncio.sleep(0.02)
        os.kill(number, signal.SIGKILL)
        read = await asyncio.wait_for(asking, 10)
        assert read is read_proven
        assert await prover.reader(texts) is read_proven, "and stays alone"
        await prover.close()
        return await gone(number)

    assert asyncio.run(main())


def test_a_feed_whose_prover_is_killed_hands_on_everything(chain):
    many = Many(chain, "north", "south")

    async def main():
        prover = Prover(CHAIN)
        turns = []

        async def reader(batch):
            turns.append(len(batch))
            read = await prover.reader(batch)
            if len(turns) == 2:
                os.kill(process_of(prover), signal.SIGKILL)
            return read

        ahead(many, reader=reader)
        found = await many.fetched(2, LAST)
        await prover.close()
        return found, len(turns)

    (found, error), turns = asyncio.run(main())
    assert error is None and many.is_true(found, 2, LAST) and turns > 2
    assert many.standing() == ["good", "good"], "no server is to blame"


def test_closed_it_leaves_no_process_and_proves_inline(texts):
    async def main():
        prover = Prover(CHAIN)
        await prover.reader(texts)
        number = process_of(prover)
        await prover.close()
        await prover.close()
        assert await prover.reader(texts) is read_proven
        return await gone(number)

    assert asyncio.run(main())


def test_one_that_was_never_asked_has_no_process():
    prover = Prover(CHAIN)
    assert prover._process is None
    asyncio.run(prover.close())


def test_it_ends_with_the_node_however_that_ends(texts):
    """A node that is killed can end nothing itself."""
    code = (
        "import asyncio, os, sys\n"
        "from node.feed.proving import Prover\n"
        "from processors.hive.chain import Chain\n"
        "async def main():\n"
        "    prover = Prover(Chain(bytes(32)))\n"
        "    await prover.reader([b'{}'])\n"
        "    print(prover._process.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert asyncio.run(gone(int(found.stdout)))
    assert found.stderr == ""


def test_a_question_that_was_given_up_answers_no_other(texts):
    """Otherwise the verdicts of good blocks would be read as those of the next ones."""

    async def main():
        prover = Prover(CHAIN)
        good = [texts[0]] * 2_000
        asking = asyncio.create_task(prover.reader(good))
        await asyncio.sleep(0.5)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        read = await prover.reader([texts[3]] * 50)
        await prover.close()
        return read

    read = asyncio.run(main())
    with pytest.raises(HiveDataError):
        read(texts[3], CHAIN)
