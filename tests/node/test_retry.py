"""What is not there yet is tried again, each try told; the end of the node waits for nobody."""

import asyncio

import pytest

from node.errors import ApiError, FeedError, KeyFileError
from node.retry import LONGEST_PAUSE, retry, unless_stopped


def played(work):
    """What ``work(stop, told)`` returns; the events it told; how many tasks it left."""

    async def main():
        told = []
        stop = asyncio.Event()
        found = await work(stop, lambda event, fields: told.append((event, fields)))
        await asyncio.sleep(0)  # what was called off ends now
        return found, told, len(asyncio.all_tasks()) - 1

    return asyncio.run(main())


def failing(times, error=None, result="here"):
    left = [times]

    async def attempt():
        left[0] -= 1
        if left[0] >= 0:
            raise error or ApiError("connection refused")
        return result

    return attempt


def trying(attempt, tries=10, **how):
    how = {"first_pause": 0.001, "jitter": lambda: 0.5, **how}
    return lambda stop, log: retry("API servers", attempt, tries=tries, log=log, stop=stop, **how)


def test_what_is_there_is_returned_and_nothing_is_told():
    assert played(trying(failing(0))) == ("here", [], 0)


def test_each_try_is_told_with_its_number_and_what_is_wrong():
    found, told, left = played(trying(failing(3)))
    assert (found, left) == ("here", 0)
    assert [event for event, _ in told] == ["start_try"] * 3
    assert [fields["try"] for _, fields in told] == [1, 2, 3]
    assert told[0][1] == {
        "what": "API servers",
        "try": 1,
        "of": 10,
        "again_in": 0.0,
        "error": "connection refused",
    }


def test_after_the_last_try_the_error_is_the_last_ones():
    with pytest.raises(ApiError, match="connection refused"):
        played(trying(failing(3), tries=3))


def test_with_one_try_there_is_no_pause():
    with pytest.raises(ApiError):
        played(trying(failing(1), tries=1, first_pause=3_600))


def test_pauses_double_up_to_a_minute_with_jitter(monkeypatch):
    pauses = []
    wait_for = asyncio.wait_for

    async def at_once(waiting, seconds):
        pauses.append(seconds)
        return await wait_for(waiting, 0)

    monkeypatch.setattr(asyncio, "wait_for", at_once)
    played(trying(failing(30), tries=31, first_pause=1.0))
    assert pauses[:7] == [1, 2, 4, 8, 16, 32, 60] and set(pauses[6:]) == {LONGEST_PAUSE}
    pauses.clear()
    for jitter in (0.0, 0.999):
        played(trying(failing(12), tries=13, first_pause=1.0, jitter=lambda jitter=jitter: jitter))
    assert min(pauses) == 0.75 and max(pauses) <= 75


@pytest.mark.parametrize("error", [FeedError("two chains"), KeyFileError("no key")])
def test_every_error_of_the_node_is_tried_again(error):
    assert played(trying(failing(2, error)))[0] == "here"


def test_a_bug_is_not_tried_again():
    with pytest.raises(ZeroDivisionError):
        played(trying(failing(1, ZeroDivisionError())))


def test_a_stop_during_a_pause_ends_it_at_once():
    async def work(stop, log):
        asyncio.get_running_loop().call_later(0.01, stop.set)
        return await retry("x", failing(99), tries=99, log=log, stop=stop, first_pause=3_600)

    found, told, left = played(work)
    assert found is None and len(told) == 1 and left == 0


def test_a_stop_during_a_silent_try_ends_it_at_once():
    async def silent():
        await asyncio.sleep(3_600)

    async def work(stop, log):
        asyncio.get_running_loop().call_later(0.01, stop.set)
        return await retry("x", silent, tries=99, log=log, stop=stop)

    assert played(work) == (None, [], 0)


def test_once_stopped_nothing_is_begun():
    async def work(stop, log):
        stop.set()
        return await unless_stopped(asyncio.sleep(3_600, "done"), stop)

    assert played(work) == (None, [], 0)


def test_what_ends_in_an_error_while_it_is_called_off_is_told_unless_a_server_failed():
    async def ending(error):
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            raise error from None

    def work(error):
        async def stopped(stop, log):
            asyncio.get_running_loop().call_later(0.01, stop.set)
            return await unless_stopped(ending(error), stop)

        return stopped

    assert played(work(ApiError("silence")))[0] is None
    with pytest.raises(FeedError):
        played(work(FeedError("two chains")))


def test_called_off_from_outside_it_leaves_nothing_that_runs():
    ended = []

    async def working():
        try:
            await asyncio.sleep(3_600)
        finally:
            ended.append(True)

    async def work(stop, log):
        waiting = asyncio.create_task(unless_stopped(working(), stop))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return waiting.cancelled()

    assert played(work) == (True, [], 0)
    assert ended
