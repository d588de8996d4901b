"""Virtual time: coroutines that sleep are woken in the order of (time, when they lay down). Nothing waits for real."""

import contextlib
import heapq
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Sleep:
    """Awaited: the coroutine goes on after ``ms`` of virtual time."""

    __slots__ = ("ms",)

    def __init__(self, ms: int) -> None:
        self.ms = ms

    def __await__(self) -> Generator[int, None, None]:
        yield self.ms


class Cancelled(BaseException):
    """Thrown into a coroutine that shall end where it sleeps."""


class Task:
    """A coroutine on the clock. ``on_end`` gets what it raised, or None when it returned."""

    def __init__(
        self, clock: "Clock", coroutine: Coroutine[Any, Any, None], on_end: Callable[[BaseException | None], None]
    ) -> None:
        self._clock = clock
        self._coroutine = coroutine
        self._on_end = on_end
        self._is_over = False

    def step(self) -> None:
        """Run until the next sleep."""
        if self._is_over:
            return
        try:
            ms = self._coroutine.send(None)
        except StopIteration:
            self._end(None)
        except BaseException as error:  # noqa: BLE001 - a process may die of anything; who started it judges
            self._end(error)
        else:
            self._clock.after(ms, self.step)

    def cancel(self) -> None:
        """It sleeps now, and never wakes: thrown into it, since closing would leave its generators where they stand."""
        if not self._is_over:
            self._is_over = True
            with contextlib.suppress(Cancelled, StopIteration):
                self._coroutine.throw(Cancelled())

    def _end(self, error: BaseException | None) -> None:
        self._is_over = True
        self._on_end(error)


class Clock:
    """Milliseconds since the beginning."""

    def __init__(self) -> None:
        self.now = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0

    def after(self, ms: int, call: Callable[[], None]) -> None:
        """Do ``call`` in ``ms`` milliseconds."""
        self._sequence += 1
        heapq.heappush(self._queue, (self.now + ms, self._sequence, call))

    def spawn(self, coroutine: Coroutine[Any, Any, None], on_end: Callable[[BaseException | None], None]) -> Task:
        """Begin a coroutine as soon as the clock runs."""
        task = Task(self, coroutine, on_end)
        self.after(0, task.step)
        return task

    def run_until(self, time: int) -> None:
        """Do everything that is due before ``time``."""
        while self._queue and self._queue[0][0] < time:
            self.now, _, call = heapq.heappop(self._queue)
            call()
        self.now = time
