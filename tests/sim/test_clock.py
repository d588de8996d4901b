"""Virtual time: who wakes when, and what becomes of a coroutine that ends or is ended."""

import gc
import inspect
from contextlib import aclosing

import pytest

from node.sim.clock import Cancelled, Clock, Sleep


class Stage:
    """A clock, and a diary of (time, word)."""

    def __init__(self):
        self.clock = Clock()
        self.diary = []
        self.ends = []

    def write(self, word):
        self.diary.append((self.clock.now, word))

    def spawn(self, coroutine):
        return self.clock.spawn(coroutine, self.ends.append)


@pytest.fixture
def stage():
    return Stage()


async def naps(stage, name, *lengths):
    for length in lengths:
        await Sleep(length)
        stage.write(name)


def test_sleepers_wake_in_the_order_of_time(stage):
    stage.spawn(naps(stage, "late", 30, 30))
    stage.spawn(naps(stage, "soon", 10, 15))
    stage.clock.run_until(100)
    assert stage.diary == [(10, "soon"), (25, "soon"), (30, "late"), (60, "late")]


def test_of_equal_times_the_one_wakes_first_that_lay_down_first(stage):
    stage.spawn(naps(stage, "a", 10, 20))
    stage.spawn(naps(stage, "b", 20, 10))
    stage.spawn(naps(stage, "c", 30))
    stage.clock.run_until(31)
    # at 30: c lay down at 0, a at 10, b at 20
    assert stage.diary == [(10, "a"), (20, "b"), (30, "c"), (30, "a"), (30, "b")]


def test_a_nap_of_no_length_lets_those_go_first_who_are_due_now(stage):
    async def polite():
        stage.write("polite 1")
        await Sleep(0)
        stage.write("polite 2")

    stage.spawn(polite())
    stage.spawn(naps(stage, "other"))
    stage.clock.after(0, lambda: stage.write("call"))
    stage.clock.run_until(1)
    assert stage.diary == [(0, "polite 1"), (0, "call"), (0, "polite 2")]


def test_nothing_of_the_end_itself_is_done_and_the_clock_stands_there(stage):
    stage.clock.after(50, lambda: stage.write("at the end"))
    stage.clock.after(49, lambda: stage.write("before"))
    stage.clock.run_until(50)
    assert stage.diary == [(49, "before")]
    assert stage.clock.now == 50
    stage.clock.run_until(51)
    assert stage.diary[1:] == [(50, "at the end")]


def test_what_is_asked_for_while_the_clock_runs_is_done_in_the_same_run(stage):
    stage.clock.after(5, lambda: stage.clock.after(5, lambda: stage.write("second")))
    stage.clock.run_until(11)
    assert stage.diary == [(10, "second")]


def test_a_spawned_coroutine_does_nothing_before_the_clock_runs(stage):
    stage.spawn(naps(stage, "x", 1))
    assert (stage.diary, stage.ends) == ([], [])
    stage.clock.run_until(1)
    assert stage.diary == []
    stage.clock.run_until(2)
    assert (stage.diary, stage.ends) == ([(1, "x")], [None])


@pytest.mark.parametrize("error", [ValueError("v"), KeyboardInterrupt("k"), Cancelled()])
def test_what_a_task_raises_reaches_on_end_once(stage, error):
    async def fails():
        await Sleep(3)
        raise error

    stage.spawn(fails())
    stage.spawn(naps(stage, "other", 5))
    stage.clock.run_until(10)
    assert stage.ends == [error, None]
    assert stage.diary == [(5, "other")]  # nobody else is harmed


def test_what_one_raises_before_its_first_nap_reaches_on_end(stage):
    async def fails():
        raise OSError("at once")

    stage.spawn(fails())
    stage.clock.run_until(1)
    assert [str(error) for error in stage.ends] == ["at once"]


async def inner(stage):
    try:
        for number in range(9):
            await Sleep(10)
            yield number
    finally:
        stage.write("inner is over")


async def outer(stage):
    try:
        async with aclosing(inner(stage)) as numbers:
            async for number in numbers:
                yield number
    finally:
        stage.write("outer is over")


async def reader(stage):
    try:
        async with aclosing(outer(stage)) as numbers:
            async for number in numbers:
                stage.write(number)
    finally:
        stage.write("reader is over")


def test_cancel_throws_into_nested_generators_where_they_sleep(stage):
    task = stage.spawn(reader(stage))
    stage.clock.run_until(25)
    task.cancel()
    assert [word for _, word in stage.diary] == [0, 1, "inner is over", "outer is over", "reader is over"]
    assert stage.ends == []  # who cancels knows


def test_cancel_leaves_nothing_suspended(stage):
    task = stage.spawn(reader(stage))
    stage.clock.run_until(25)
    coroutine = task._coroutine
    task.cancel()
    assert coroutine.cr_frame is None
    gc.collect()
    found = [thing for thing in gc.get_objects() if inspect.isasyncgen(thing) and thing.__name__ in ("inner", "outer")]
    assert [thing for thing in found if thing.ag_frame is not None] == []


def test_a_cancelled_task_never_wakes(stage):
    task = stage.spawn(naps(stage, "x", 10, 10))
    stage.clock.run_until(11)
    task.cancel()
    task.cancel()
    stage.clock.run_until(100)
    assert stage.diary == [(10, "x")]
    assert stage.ends == []


def test_a_task_that_was_cancelled_before_it_began_never_begins(stage):
    task = stage.spawn(naps(stage, "x"))
    task.cancel()
    stage.clock.run_until(10)
    assert (stage.diary, stage.ends) == ([], [])


def test_a_task_can_be_cancelled_after_its_end(stage):
    task = stage.spawn(naps(stage, "x", 1))
    stage.clock.run_until(10)
    task.cancel()
    assert stage.ends == [None]


def test_what_goes_wrong_while_a_task_cleans_up_is_not_hidden(stage):
    async def clumsy():
        try:
            await Sleep(10)
        finally:
            raise ValueError("dropped it")

    task = stage.spawn(clumsy())
    stage.clock.run_until(5)
    with pytest.raises(ValueError, match="dropped it"):
        task.cancel()
