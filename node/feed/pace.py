"""When to ask for the next block: just before it is due, then often, and seldom while the chain stands still."""

_SHORTEST, _LONGEST = 0.02, 4.0  # seconds between blocks that are believed
_WEIGHT = 0.2


class Pace:
    """``idle`` = seconds between questions while nothing is due."""

    def __init__(self, idle: float) -> None:
        self._idle = idle
        self._period = min(_LONGEST, max(_SHORTEST, 3 * idle))
        self._moved_at: float | None = None

    def moved(self, now: float, blocks: int) -> None:
        """So many new irreversible blocks were found at ``now`` (seconds)."""
        if self._moved_at is not None and blocks > 0:
            found = min(_LONGEST, max(_SHORTEST, (now - self._moved_at) / blocks))
            self._period += (found - self._period) * _WEIGHT
        self._moved_at = now

    def wait(self, now: float) -> float:
        """Seconds until the next question."""
        if self._moved_at is None:
            return self._idle
        quick = min(0.15, self._period / 20)
        due = self._moved_at + self._period
        if now < due - quick:
            return due - quick - now
        return quick if now < due + self._period else max(quick, self._idle)
