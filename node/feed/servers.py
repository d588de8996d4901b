"""The servers of Hive's API and how each has fared: who is asked first, who rests after a failure, who lied.

A score between 0 and 1 follows the newest answers. A failure lets a server rest, longer each time, with jitter so that
a group's nodes do not come back together. A lie that can be shown bans it, longer each time.
"""

import random
from collections.abc import Callable, Iterator, Sequence

from node.errors import NobodyError
from node.facts import ServerFacts
from node.feed.rpc import Api

LONGEST_REST = 60.0  # seconds
BAN, LONGEST_BAN = 600.0, 86_400.0  # seconds: the first ban, and what it doubles up to
#: An answer that takes longer than this is a slow one.
SLOW = 1.5  # seconds
#: Seconds by which a server may be slower than twice the quickest and still be asked first.
NEAR = 0.1
_WEIGHT = 0.2
_SLOW_SCORE = 0.5
_FAILED = 0.6
#: Scores that round to the same quarter are equal (one that failed comes near to 1 again, never quite to it): then the
#: order of the configuration counts, and nobody is left for a whim.
_STEPS = 4


class Server:
    """A server: its score, until when it rests or is banned, the newest irreversible block that it named."""

    __slots__ = (
        "api",
        "banned_until",
        "bans",
        "busy",
        "failures",
        "irreversible",
        "place",
        "rests_until",
        "score",
        "seconds",
        "why",
    )

    def __init__(self, api: Api, place: int) -> None:
        self.api = api
        self.place = place
        self.score = 1.0
        self.seconds = 0.0
        self.busy = 0  # questions that it has not answered yet
        self.failures = 0
        self.bans = 0
        self.rests_until = self.banned_until = float("-inf")
        self.irreversible = 0
        self.why = ""

    @property
    def operator(self) -> str:
        """Who runs it."""
        return self.api.operator


class Servers:
    """All servers of a node. ``clock`` in seconds, never going back; ``jitter`` gives numbers from 0 to 1."""

    def __init__(
        self, apis: Sequence[Api], *, clock: Callable[[], float], jitter: Callable[[], float] = random.random
    ) -> None:
        self._servers = [Server(api, place) for place, api in enumerate(apis)]
        self._clock = clock
        self._jitter = jitter

    def __iter__(self) -> Iterator[Server]:
        return iter(self._servers)

    def usable(self) -> list[Server]:
        """Those that neither rest nor are banned, the best first."""
        now = self._clock()
        found = [s for s in self._servers if s.rests_until <= now and s.banned_until <= now]
        quickest = min((s.seconds for s in found), default=0.0)
        return sorted(found, key=lambda s: (-round(s.score * _STEPS), s.seconds > 2 * quickest + NEAR, s.place))

    def best(self) -> Server:
        """The one to ask first. Raises NobodyError while all rest or are banned."""
        for server in self.usable():
            return server
        whys = ", ".join(f"{s.api.url} ({s.why})" for s in self._servers)
        raise NobodyError(f"no server can be asked now: {whys}. If this lasts, name others in [[api]]")

    def is_banned(self, server: Server) -> bool:
        """Whether it lied lately."""
        return server.banned_until > self._clock()

    def ok(self, server: Server, seconds: float) -> None:
        """It answered as it should, after so long."""
        target = 1.0 if seconds <= SLOW else _SLOW_SCORE
        server.score += (target - server.score) * _WEIGHT
        server.seconds += (seconds - server.seconds) * _WEIGHT
        server.failures = 0
        server.why = "" if seconds <= SLOW else "slow"

    def failed(self, server: Server, why: str) -> None:
        """It did not answer, or not as Hive's API does: it rests 1, 2, 4 ... seconds."""
        server.failures += 1
        server.score *= _FAILED
        server.why = why[:200]
        rest = min(LONGEST_REST, 2.0 ** min(server.failures - 1, 10))
        server.rests_until = self._clock() + rest * (0.75 + self._jitter() / 2)

    def ban(self, server: Server, why: str) -> float:
        """It lied: it is asked nothing for so many seconds, which are returned."""
        seconds = min(LONGEST_BAN, BAN * 2.0 ** min(server.bans, 20))
        server.bans += 1
        server.score = 0.25
        server.why = why[:200]
        server.banned_until = self._clock() + seconds
        return seconds

    def facts(self) -> tuple[ServerFacts, ...]:
        """How each fares, in the order of the configuration."""
        now = self._clock()
        newest = max((server.irreversible for server in self._servers), default=0)
        return tuple(
            ServerFacts(
                s.api.url,
                s.operator,
                "banned" if s.banned_until > now else "cooling" if s.rests_until > now else "good",
                round(s.score * 100),
                round(s.seconds, 3),
                newest - s.irreversible if s.irreversible else 0,
                s.why,
            )
            for s in self._servers
        )
