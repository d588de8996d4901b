"""Work spread over the cores: functions of their arguments alone, results in order, no more in memory than is needed.

The processes hold no key and write nothing. They end with the one that began them, however that one ended.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from node.errors import NodeError

Q = TypeVar("Q")
A = TypeVar("A")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def in_order(function: Callable[[Q], A], questions: Iterable[Q], count: int) -> Generator[A, None, None]:
    """What ``function`` answers to each question, in their order, worked out by ``count`` processes (1: by this one).

    Raises what ``function`` raises, and NodeError if a process is killed.
    """
    if count <= 1:
        yield from map(function, questions)
        return
    context = multiprocessing.get_context("spawn")  # this one may have threads, which a fork would not survive
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin)
    asked: deque[Future[A]] = deque()
    try:
        for question in questions:
            asked.append(pool.submit(function, question))
            if len(asked) > 2 * count:
                yield asked.popleft().result()
        while asked:
            yield asked.popleft().result()
    except BrokenProcessPool as error:
        words = "a process that checks blocks was killed, perhaps for want of memory"
        raise NodeError(f"{words}: do it again with --jobs 1") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A terminal's Ctrl-C is for the one that began this process, whose end is the end of this one too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
