"""Work on other cores: in order, with errors where they belong; nothing stays behind, however it ended."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from node.errors import FeedError, NodeError
from node.history.workers import cores, in_order


def square(number):
    return number * number


def failing(number):
    if number == 5:
        raise FeedError("five")
    return number


def dying(number):
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("count", [1, 2])
def test_answers_come_in_order(count):
    assert list(in_order(square, range(50), count)) == [number * number for number in range(50)]
    assert list(in_order(square, [], count)) == []
    assert cores() >= 1


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_comes_in_its_place(count):
    found = in_order(failing, range(50), count)
    assert [next(found) for _ in range(5)] == list(range(5))
    with pytest.raises(FeedError, match="five"):
        next(found)


def test_a_process_that_is_killed_is_told():
    with pytest.raises(NodeError, match="was killed, perhaps for want of memory: do it again with --jobs 1"):
        list(in_order(dying, range(50), 2))


def test_questions_are_asked_no_further_ahead_than_needed():
    asked = []

    def questions():
        for number in range(1000):
            asked.append(number)
            yield number

    with closing(in_order(square, questions(), 2)) as answers:
        assert next(answers) == 0
        assert len(asked) < 10


CODE = """
import time
from node.history.workers import in_order
from tests.node.history.test_workers import square
found = in_order(square, range(50), 2)
next(found)
import multiprocessing
print(*[child.pid for child in multiprocessing.active_children()], flush=True)
time.sleep(60)
"""


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_they_end_with_the_one_that_began_them():
    process = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True)
    pids = [int(word) for word in process.stdout.readline().split()]
    assert len(pids) == 2 and all(map(is_running, pids))
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    end = time.monotonic() + 10
    while any(map(is_running, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    process.stdout.close()
    assert not any(map(is_running, pids))
