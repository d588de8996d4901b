"""Ranges fetched ahead from several servers: in order, bounded, whatever the servers do; nothing stays behind."""

import asyncio
from contextlib import aclosing

import pytest

from node.errors import ApiError, NobodyError
from node.feed import ahead as ahead_room
from node.feed.ahead import PARALLEL, Ahead, read_inline
from node.feed.source import MAX_BATCH, read_proven
from tests.node.feed.many import RANGE, Many, chain_of, lacking, ranges_of, strange

LAST = 900


@pytest.fixture(scope="module")
def chain():
    return chain_of(LAST + 1, pay=False)


@pytest.fixture(scope="module")
def paid():
    return chain_of(301)


@pytest.fixture
def many(chain):
    return Many(chain, "north", "south", "east")


def fetching(many, first=2, last=LAST, buffer=64 << 20, reader=read_inline):
    return Ahead(many.feed, first, last, buffer=buffer, reader=reader)


def ahead(many, buffer=64 << 20, reader=read_inline):
    """From now on the feed fetches ahead."""
    many.feed.ahead = lambda first, last: Ahead(many.feed, first, last, buffer=buffer, reader=reader).ranges()


async def taken(work):
    """The texts in the order in which they were handed on, and what it ended with."""
    texts = []
    try:
        async with aclosing(work.ranges()) as ranges:
            async for found in ranges:
                texts += found.texts
    except ApiError as error:
        return texts, error
    return texts, None


def numbers(texts, chain):
    return [read_proven(text, chain.chain).number for text in texts]


def tasks_of(work):
    """What ``work`` returns, and how many tasks it left."""

    async def main():
        found = await work()
        return found, len(asyncio.all_tasks()) - 1

    return asyncio.run(main())


def slowly(many, index, seconds, answer):
    """A server without wires that takes its time."""
    api = many.apis[index]
    raw = api.raw

    async def late(method, params, timeout=None):
        await asyncio.sleep(seconds)
        return await raw(method, params, timeout)

    api.raw = late
    api.answers[RANGE] = answer


# -- order and ranges


def test_all_blocks_once_and_in_order_from_all_servers(many, chain):
    (texts, error), left = tasks_of(lambda: taken(fetching(many)))
    assert error is None and left == 0
    assert numbers(texts, chain) == list(range(2, LAST + 1))


def test_order_holds_though_the_first_range_comes_last(many, chain):
    for index, seconds in enumerate((0.05, 0.0, 0.001)):
        slowly(many, index, seconds, ranges_of(chain))
    (texts, error), left = tasks_of(lambda: taken(fetching(many)))
    assert error is None and left == 0
    assert numbers(texts, chain) == list(range(2, LAST + 1))
    assert all(api.methods for api in many.apis)


def test_several_servers_are_asked_at_once(many, chain):
    asked = {index: [] for index in range(3)}
    for index in range(3):
        slowly(many, index, 0.002, ranges_of(chain, asked=asked[index]))
    tasks_of(lambda: taken(fetching(many)))
    assert all(asked.values())


@pytest.mark.parametrize("most", [1, 3, 49])
def test_a_server_that_gives_short_ranges_leaves_no_hole(chain, most):
    many = Many(chain, "north", "south")
    many.apis[0].answers[RANGE] = ranges_of(chain, most=most)
    (texts, error), left = tasks_of(lambda: taken(fetching(many, last=300)))
    assert error is None and left == 0
    assert numbers(texts, chain) == list(range(2, 301))


def test_ranges_grow_where_answers_are_quick_and_small_and_never_beyond_what_a_server_gives(many, chain):
    asked = []
    for api in many.apis:
        api.answers[RANGE] = ranges_of(chain, asked=asked)
    tasks_of(lambda: taken(fetching(many)))
    counts = [count for _, count in asked]
    assert counts[0] == MAX_BATCH // 4 and max(counts) == MAX_BATCH
    assert max(first + count - 1 for first, count in asked) == LAST, "nobody is asked beyond the last"


def test_ranges_shrink_where_answers_are_slow(many, chain, monkeypatch):
    monkeypatch.setattr(ahead_room, "_SLOW", 0.0)
    asked = []
    for api in many.apis:
        api.answers[RANGE] = ranges_of(chain, asked=asked)
    tasks_of(lambda: taken(fetching(many, last=400)))
    assert min(count for _, count in asked[:-PARALLEL]) == 5, "but not to nothing"


# -- the buffer


@pytest.mark.parametrize("buffer", [1, 20_000, 100_000])
def test_what_waits_and_is_on_its_way_stays_within_the_buffer_and_one_range(many, chain, buffer):
    size = len(asyncio.run(many.apis[0].raw(RANGE, {"starting_block_num": 2, "count": 1})))
    asked = []
    for api in many.apis:
        api.answers[RANGE] = ranges_of(chain, asked=asked)

    async def main():
        given, most = 0, 0
        async with aclosing(fetching(many, buffer=buffer).ranges()) as ranges:
            async for found in ranges:
                given += len(found.texts)
                for _ in range(20):
                    await asyncio.sleep(0)  # time to fetch far too much
                largest = max(count for _, count in asked)
                waiting = sum(count for _, count in asked) - given
                most = max(most, waiting - largest)
        return given, most

    given, most = asyncio.run(main())
    assert given == LAST - 1
    assert most * size <= buffer + 8 * 4096, "the first guess of a block's size is 4 KiB"


def test_with_the_smallest_buffer_it_still_goes_on(many, chain):
    (texts, error), left = tasks_of(lambda: taken(fetching(many, buffer=1)))
    assert error is None and left == 0 and len(texts) == LAST - 1


# -- servers that fail


def test_a_server_that_dies_midway_costs_no_block(many, chain):
    answer, left = ranges_of(chain), [2]

    def dying(params):
        left[0] -= 1
        if left[0] < 0:
            raise ApiError("http://north0: connection refused")
        return answer(params)

    many.apis[0].answers[RANGE] = dying
    (texts, error), tasks = tasks_of(lambda: taken(fetching(many)))
    assert error is None and tasks == 0
    assert numbers(texts, chain) == list(range(2, LAST + 1))
    assert many.standing() == ["cooling", "good", "good"]


def test_a_server_that_never_answers_holds_up_its_own_range_only_until_it_is_called_off(many, chain):
    api = many.apis[0]
    raw, hung = api.raw, []

    async def silent(method, params, timeout=None):
        hung.append(params)
        await asyncio.sleep(0.05)  # the time-out of a transport
        raise ApiError("http://north0: TimeoutError")

    api.raw = silent
    (texts, error), left = tasks_of(lambda: taken(fetching(many)))
    assert raw and hung and error is None and left == 0
    assert numbers(texts, chain) == list(range(2, LAST + 1))


def test_when_nobody_can_be_asked_it_ends_with_what_came(many, chain):
    for api in many.apis:
        answer = ranges_of(chain)
        api.answers[RANGE] = lambda params, answer=answer: (
            answer(params) if params["starting_block_num"] < 100 else fail(params)
        )
    (texts, error), left = tasks_of(lambda: taken(fetching(many)))
    assert isinstance(error, NobodyError) and left == 0
    assert numbers(texts, chain) == list(range(2, 2 + len(texts))) and len(texts) >= 98


def fail(params):
    raise ApiError("no such block")


def test_a_bug_does_not_look_like_a_silent_server(many):
    async def broken(texts):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tasks_of(lambda: taken(fetching(many, reader=broken)))


def test_cancelled_in_the_middle_it_leaves_no_task_and_no_question(many, chain):
    for index in range(3):
        slowly(many, index, 0.01, ranges_of(chain))

    async def main():
        working = asyncio.create_task(taken(fetching(many)))
        await asyncio.sleep(0.015)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return len(asyncio.all_tasks()) - 1, [server.busy for server in many.servers]

    assert asyncio.run(main()) == (0, [0, 0, 0])
    assert many.standing() == ["good"] * 3, "who was called off did not fail"


def test_left_after_the_first_range_it_leaves_no_task(many):
    async def main():
        async with aclosing(fetching(many).ranges()) as ranges:
            async for _ in ranges:
                break
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(main()) == 0


# -- through the feed


def test_a_lie_in_the_middle_of_a_prefetched_range_bans_the_liar_and_nothing_false_is_handed_on(paid):
    many = Many(paid, "north", "south", "east")
    ahead(many)
    many.apis[0].answers[RANGE] = ranges_of(paid, lacking(set(range(2, 301, 7))))
    (found, error), left = tasks_of(lambda: many.fetched(2, 300, index=1))
    assert error is None and left == 0 and many.is_true(found, 2, 300)
    assert all(block.transactions for block in found)
    assert many.standing() == ["banned", "good", "good"] and len(many.kept) == 1


def test_all_but_one_lie_in_their_prefetched_ranges(paid):
    many = Many(paid, "north", "south", "east")
    ahead(many)
    for index in (0, 1):
        many.apis[index].answers[RANGE] = ranges_of(paid, lacking(set(range(2, 301, 3))))
    (found, error), left = tasks_of(lambda: many.fetched(2, 300))
    assert error is None and left == 0 and many.is_true(found, 2, 300)
    assert many.standing() == ["banned", "banned", "good"]


def test_an_unknown_operation_in_a_prefetched_range_is_asked_for_twice_and_the_rest_goes_on(paid):
    many = Many(paid, "north", "south", "east")
    ahead(many)
    for api in many.apis:
        api.answers[RANGE] = ranges_of(paid, strange({77, 78, 250}))
    (found, error), left = tasks_of(lambda: many.fetched(2, 300))
    assert error is None and left == 0 and many.is_true(found, 2, 300)
    assert [told["height"] for told in many.told("unproven_block")] == [77, 78, 250]
    assert not many.told("server_banned")


def test_a_fork_in_a_prefetched_range_is_left(paid):
    many = Many(paid, "north", "south", "east")
    ahead(many)
    fork = chain_of(300, shift=1)
    many.apis[0].answers[RANGE] = ranges_of(fork)
    (found, error), left = tasks_of(lambda: many.fetched(2, 300))
    assert error is None and left == 0 and many.is_true(found, 2, 300)
    assert not many.kept


def test_few_blocks_are_not_fetched_ahead(many):
    many.feed.ahead = lambda first, last: pytest.fail("for so few")
    found, error = many.fetch(2, 200)
    assert error is None and len(found) == 199
