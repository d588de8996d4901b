"""How much is answered: a bucket of tokens for each client address, places for what runs at the same time.

Every table here is bounded: what was not used for longest makes room, which costs its owner nothing.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import msgspec

from node.api.answers import AnswerError


class Limits(msgspec.Struct, frozen=True):
    """What one node answers. Times in seconds.

    ``rate`` requests a second and ``burst`` at once for each address (of IPv6 for each /64); ``requests``
    from elsewhere and ``chunks`` at the same time, and ``..._each`` of them for one address; ``connections`` likewise.
    ``head_seconds``: a connection on which no whole request came for so long is closed; ``send_seconds``: an answer
    that is not taken by then is not sent further.
    """

    rate: float = 50.0
    burst: int = 200
    addresses: int = 4_096
    requests: int = 64
    requests_each: int = 16
    chunks: int = 8
    chunks_each: int = 4
    connections: int = 256
    connections_each: int = 32
    head_seconds: float = 15.0
    send_seconds: float = 120.0
    stop_seconds: float = 1.0


class Buckets:
    """A bucket for each key: it holds ``burst`` tokens and gains ``rate`` a second."""

    def __init__(self, rate: float, burst: int, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._clock = clock
        self._found: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # key -> tokens, when

    def __len__(self) -> int:
        return len(self._found)

    def take(self, key: Hashable) -> float:
        """Take a token; 0 if there was one, else the seconds until there is."""
        now = self._clock()
        tokens, then = self._found.pop(key, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - then) * self._rate)
        granted = tokens >= 1
        self._found[key] = (tokens - granted, now)
        while len(self._found) > self._most:
            self._found.popitem(last=False)
        return 0.0 if granted else (1 - tokens) / self._rate


class Places:
    """Places for what runs at the same time: ``most`` in all, ``each`` for one key."""

    def __init__(self, most: int, each: int) -> None:
        self._most = most
        self._each = each
        self._held: dict[Hashable, int] = {}

    @property
    def taken(self) -> int:
        """How many are taken."""
        return sum(self._held.values())

    @contextmanager
    def one(self, key: Hashable) -> Iterator[None]:
        """A place while the block runs. Raises AnswerError (429) if there is none."""
        mine = self._held.get(key, 0)
        if mine >= self._each or self.taken >= self._most:
            raise too_many(1.0, "as much as this node answers at the same time is running")
        self._held[key] = mine + 1
        try:
            yield
        finally:
            left = self._held[key] - 1
            if left:
                self._held[key] = left
            else:
                del self._held[key]


class Seldom:
    """Tells of what happens often no more than once in ``seconds`` for each key."""

    def __init__(self, seconds: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._found: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()  # key -> told at, times since

    def times(self, key: Hashable) -> int:
        """How often it happened since it was told last, this time included, if it is to be told now; else 0."""
        now = self._clock()
        told_at, times = self._found.pop(key, (float("-inf"), 0))
        due = now - told_at >= self._seconds
        self._found[key] = (now, 0) if due else (told_at, times + 1)
        while len(self._found) > self._most:
            self._found.popitem(last=False)
        return times + 1 if due else 0


def too_many(seconds: float, message: str) -> AnswerError:
    """429, with the whole seconds after which to come again."""
    wait = max(1, int(seconds + 0.999))
    return AnswerError(
        429, "too_many", message, f"come again after {wait} s, and more slowly", headers={"Retry-After": str(wait)}
    )
