"""How long a peer may take over a snapshot: what its bytes cost at the least rate, and a little more, once.

A deadline for each answer alone would not do: who is just in time with each of thousands of chunks holds a new node up
for weeks.
"""

import asyncio
from collections.abc import Callable

#: Bytes a second that a peer gives at the least, on the whole.
LEAST_RATE = 64 << 10
#: Seconds that a peer may lose beyond that over one snapshot: its answers' way, its pauses, its bad moments.
SLACK = 60.0


def loop_time() -> float:
    """Seconds, never going back."""
    return asyncio.get_running_loop().time()


class Patience:
    """With each peer, over one snapshot. ``clock`` in seconds; ``rate`` in bytes a second; ``slack`` in seconds."""

    def __init__(self, clock: Callable[[], float] = loop_time, *, rate: int = LEAST_RATE, slack: float = SLACK) -> None:
        self.clock = clock
        self._rate = rate
        self._slack = slack
        self._lost: dict[str, float] = {}  # seconds beyond what the bytes cost

    def begin_anew(self) -> None:
        """With another snapshot everybody has all of it again."""
        self._lost = {}

    def seconds(self, peer: str, size: int) -> float:
        """How long an answer of ``size`` bytes may take; 0 and less: this peer is asked no more."""
        left = self._slack - self._lost.get(peer, 0.0)
        return left + size / self._rate if left > 0 else 0.0

    def spent(self, peer: str, size: int, seconds: float) -> None:
        """It gave ``size`` bytes within so many seconds; what it was quicker by is not given back."""
        self._lost[peer] = self._lost.get(peer, 0.0) + max(0.0, seconds - size / self._rate)
