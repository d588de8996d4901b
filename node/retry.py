"""Dependencies that are not ready yet: tried again with growing pauses, each try told with its number."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from node.core import Log
from node.errors import ApiError, NodeError

LONGEST_PAUSE = 60.0  # seconds

T = TypeVar("T")


async def unless_stopped(work: Coroutine[Any, Any, T], stop: asyncio.Event) -> T | None:
    """What ``work`` returns, unless ``stop`` comes first: a silent server must not hold up the end. None = stopped."""
    task, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    finally:
        stopping.cancel()
    if task.done():
        return task.result()
    task.cancel()  # lands at a call to a server; blocks are applied between such calls, whole
    with contextlib.suppress(asyncio.CancelledError, ApiError):
        await task
    return None


async def retry(
    what: str,
    attempt: Callable[[], Coroutine[Any, Any, T]],
    *,
    tries: int,
    log: Log,
    stop: asyncio.Event,
    first_pause: float = 1.0,
    jitter: Callable[[], float] = random.random,
) -> T | None:
    """What ``attempt`` returns; None if ``stop`` came first. Raises the NodeError of the last try."""
    for number in range(1, tries + 1):
        try:
            return await unless_stopped(attempt(), stop)
        except NodeError as error:
            if number == tries:
                raise
            pause = min(LONGEST_PAUSE, first_pause * 2.0 ** min(number - 1, 20)) * (0.75 + jitter() / 2)
            told = {"what": what, "try": number, "of": tries, "again_in": round(pause, 1), "error": str(error)}
            log("start_try", told)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
        if stop.is_set():
            return None
    return None
