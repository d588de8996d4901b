"""Proving in a process of its own: only verdicts come back, and without it the node goes on alone."""

import asyncio
import os
import signal
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
    [number] = prover._pool._processes
    return number


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


@pytest.fixture(scope="module")
def prover():
    """One process for all tests that leave it alive."""
    found = Prover(CHAIN)
    yield found
    found.close()


def test_the_true_ones_are_read_and_the_lie_is_found_where_it_can_be_told(prover, texts):
    read = asyncio.run(prover.reader(texts))
    for number, text in zip(range(10, 16), texts, strict=True):
        if number == 13:
            with pytest.raises(HiveDataError):
                read(text, CHAIN)
        else:
            assert read(text, CHAIN).id == read_proven(text, CHAIN).id


def test_a_verdict_is_of_that_text_and_of_no_other(prover, texts):
    """What was not looked at is proven where it is read, also if it is equal in number and place."""
    read = asyncio.run(prover.reader(texts[:3]))
    with pytest.raises(HiveDataError):
        read(texts[3], CHAIN)
    assert read(texts[4], CHAIN).number == 14


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"[]", b"\xff", b'{"previous": 5}'])
def test_what_is_no_block_is_a_verdict_and_no_end(prover, text):
    read = asyncio.run(prover.reader([text]))
    with pytest.raises(HiveDataError):
        read(text, CHAIN)
    assert process_of(prover)


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
        prover.close()
        return await gone(number)

    assert asyncio.run(main())


def test_a_feed_whose_prover_is_killed_hands_on_everything(chain):
    many = Many(chain, "north", "south")

    async def main():
        prover = Prover(CHAIN)
        turns = []

        async def reader(batch):
            turns.append(len(batch))
            if len(turns) == 2:
                os.kill(process_of(prover), signal.SIGKILL)
            return await prover.reader(batch)

        ahead(many, reader=reader)
        found = await many.fetched(2, LAST)
        prover.close()
        return found, len(turns)

    (found, error), turns = asyncio.run(main())
    assert error is None and many.is_true(found, 2, LAST) and turns > 2
    assert many.standing() == ["good", "good"], "no server is to blame"


def test_closed_it_leaves_no_process_and_proves_inline(texts):
    async def main():
        prover = Prover(CHAIN)
        await prover.reader(texts)
        number = process_of(prover)
        prover.close()
        prover.close()
        assert await prover.reader(texts) is read_proven
        return await gone(number)

    assert asyncio.run(main())


def test_one_that_was_never_asked_has_no_process():
    prover = Prover(CHAIN)
    assert not prover._pool._processes
    prover.close()
