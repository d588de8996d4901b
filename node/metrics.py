"""What Prometheus reads: counters and histograms fed by the node's events, gauges made of its status when asked.

Every label takes its values from a bounded set; what comes from outside is put into one of few words first.
"""

import re
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

from node.gauges import gauges
from node.span import BLOCK_SECONDS
from node.status import Status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Values of a label that are told apart; those that come later are "other".
MAX_VALUES = 32

#: Words in a server's refusal, and the reason they stand for; the first that is found counts.
_REASONS = (
    (r"duplicate transaction", "duplicate"),
    (r"expir", "expired"),
    (r"missing (required )?(active|owner|posting|other) authority|missing.*authority|irrelevant", "authority"),
    (r"tapos|ref_block|reference block", "reference_block"),
    (r"resource credit|\brc\b|not enough rc|mana", "resource_credits"),
    (r"insufficient|does not have sufficient|balance", "balance"),
    (r"custom_?json.*(interval|limit|per block)|too many", "too_many"),
    (r"signature|canonical", "signature"),
    (r"bad.?cast|parse|assert", "invalid"),
)
KINDS = ("report", "sign", "broadcast", "other")
#: Alarms of the protocol (sections 4 and 6), and ways to have no right to an answer.
ALARMS = ("request_account_recovery", "change_recovery_account", "recover_account", "rotation_without_owner")
DENIALS = ("missing", "wrong", "network")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,31}")
_APPLY = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_HTTP = (0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0)
_CONFIRM = (3, 6, 12, 30, 60, 120, 300, 900, 3_600, 14_400, 86_400)


def reason(text: str) -> str:
    """The reason of a refused broadcast, one of few words, from a server's own."""
    lower = text[:2_000].lower()
    return next((name for words, name in _REASONS if re.search(words, lower)), "other")


class _Bounded:
    """Values of a label: a word of ours, and only so many."""

    def __init__(self, most: int = MAX_VALUES) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, value: object) -> str:
        text = str(value)
        if text in self._known:
            return text
        if len(self._known) >= self._most or len(text) > 200:
            return "other"
        self._known.add(text)
        return text


class Metrics:
    """The metrics of one node. ``clock`` gives seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.registry = CollectorRegistry(auto_describe=False)
        self._signed_at: float | None = None
        self._tally: int | None = None
        self._ready: dict[str, tuple[str, int, tuple[int, ...]]] = {}  # op -> kind, ready height, payloads
        self._words: dict[str, _Bounded] = {}
        self._make_counters()
        self._make_histograms()
        self._begin_at_zero()

    def on_event(self, event: str, fields: dict[str, object]) -> None:
        """Take note of an event of the node; those that say nothing here are passed over."""
        take = _EVENTS.get(event)
        if take is not None:
            take(self, fields)
        if event in _COUNTED:
            self.events.labels(event).inc()

    def observe(self, status: Status) -> None:
        """Look at the node, at best after every block: rounds and confirmations are counted as they are seen."""
        for server in status.servers:
            self.bans.labels(self._bounded("server", server.url), self._bounded("operator", server.operator))
        self._note_round(status)
        self._note_confirmed(status)

    def render(self, status: Status) -> bytes:
        """Everything in Prometheus' text format."""
        self.observe(status)
        now = CollectorRegistry(auto_describe=False)
        now.register(_Gauges(self._gauges(status)))
        return generate_latest(now) + generate_latest(self.registry)

    # -- inside

    def _gauges(self, status: Status) -> Iterator[GaugeMetricFamily]:
        yield from gauges(status)
        since = float("nan") if self._signed_at is None else max(0.0, self._clock() - self._signed_at)
        words = "Since this node sent a signature of a group transaction; NaN = none since it started"
        yield GaugeMetricFamily("waggle_seconds_since_last_signature", words, value=since)

    def _make_counters(self) -> None:
        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"waggle_{name}", words, labels, registry=self.registry)

        self.blocks = counter("blocks_applied", "Blocks applied since the start")
        self.reports_sent = counter("reports_sent", "Reports that a server took")
        self.reports_missed = counter("reports_missed", "Agreed rounds seen that had no report of this member in them")
        self.rounds = counter("rounds", "Tallies seen, by how they ended", "outcome")
        self.signatures_sent = counter("signatures_sent", "Signatures that a server took")
        self.broadcasts = counter("broadcasts", "Transactions that a server took", "kind")
        self.refused = counter("broadcasts_refused", "Transactions that no server took", "kind", "reason")
        self.unsigned = counter("not_signed", "Times that the signer held back or refused, by reason", "why")
        self.bans = counter("feed_bans", "Servers banned for what they gave", "server", "operator")
        self.alarms = counter("alarms", "Alarms of the protocol seen in blocks", "what")
        self.events = counter("events", "Events that an operator should know of", "event")
        self.denied = counter("auth_failures", "Requests without the right to be answered", "kind")
        self.requests = counter("http_requests", "Requests to this node's own API", "route", "status")
        self.confirmed = counter("transactions_confirmed", "Group transactions seen to be confirmed", "kind")

    def _make_histograms(self) -> None:
        def histogram(name: str, words: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"waggle_{name}", words, labels, buckets=buckets, registry=self.registry)

        self.apply_seconds = histogram("apply_seconds", "Time to apply a block", _APPLY)
        self.http_seconds = histogram("http_request_seconds", "Time to answer a request", _HTTP, "route")
        words = "From ready to confirmed, 3 s a block"
        self.to_confirmed = histogram("ready_to_confirmed_seconds", words, _CONFIRM, "kind")

    def _begin_at_zero(self) -> None:
        """A counter that first appears with 1 has not increased for Prometheus: what alerts look at begins at 0."""
        for event in sorted(_COUNTED):
            self.events.labels(event)
        for what in ALARMS:
            self.alarms.labels(self._word("what", what))
        for kind in KINDS:
            self.broadcasts.labels(kind)
            for _, why in _REASONS:
                self.refused.labels(kind, why)
            self.refused.labels(kind, "other")
        for kind in DENIALS:
            self.denied.labels(self._word("denied", kind))
        for outcome in ("agreed", "open", "other_root"):
            self.rounds.labels(outcome)

    def _bounded(self, label: str, value: object) -> str:
        return self._words.setdefault(label, _Bounded())(value)

    def _word(self, label: str, value: object) -> str:
        """A code of ours; free text is "other"."""
        text = str(value)
        return self._bounded(label, text) if _WORD.fullmatch(text) else "other"

    def _note_round(self, status: Status) -> None:
        found = status.round
        before, self._tally = self._tally, found.height
        if before is None or found.height <= before:  # the rounds before the start are nobody's news
            return
        outcome = "open" if not found.agreed else "agreed" if found.on_own_root else "other_root"
        self.rounds.labels(outcome).inc()
        if found.agreed and status.seat.member and not found.mine:
            self.reports_missed.inc()

    def _note_confirmed(self, status: Status) -> None:
        ended = {one.payload: one for one in status.ended if one.status == "confirmed"}
        now = {one.op: one for one in status.transactions}
        for op, (kind, ready_at, numbers) in self._ready.items():
            done = next((ended[number] for number in numbers if number in ended), None)
            if op not in now and done is not None:
                self.confirmed.labels(kind).inc()
                self.to_confirmed.labels(kind).observe(max(0, done.height - ready_at) * BLOCK_SECONDS)
        self._ready = {
            one.op: (self._word("kind", one.kind), one.ready_at, one.numbers)
            for one in status.transactions
            if one.status == "ready"
        }

    # -- what the events say

    def _block(self, fields: dict[str, object]) -> None:
        self.blocks.inc()
        seconds = fields.get("seconds")
        if isinstance(seconds, int | float):
            self.apply_seconds.observe(seconds)

    def _sent(self, fields: dict[str, object]) -> None:
        kind = _kind(fields)
        self.broadcasts.labels(kind).inc()
        if kind == "report":
            self.reports_sent.inc()
        if kind == "sign":
            self.signatures_sent.inc()
            self._signed_at = self._clock()

    def _refused(self, fields: dict[str, object]) -> None:
        self.refused.labels(_kind(fields), reason(str(fields.get("error", "")))).inc()

    def _not_signed(self, fields: dict[str, object]) -> None:
        self.unsigned.labels(self._word("why", fields.get("why", ""))).inc()

    def _banned(self, fields: dict[str, object]) -> None:
        server = self._bounded("server", fields.get("server", ""))
        self.bans.labels(server, self._bounded("operator", fields.get("operator", ""))).inc()

    def _alarm(self, fields: dict[str, object]) -> None:
        self.alarms.labels(self._word("what", fields.get("what", ""))).inc()

    def _http(self, fields: dict[str, object]) -> None:
        route = self._bounded("route", fields.get("route", ""))
        self.requests.labels(route, self._bounded("status", fields.get("status", ""))).inc()
        seconds = fields.get("seconds")
        if isinstance(seconds, int | float):
            self.http_seconds.labels(route).observe(seconds)
        if fields.get("denied"):
            self.denied.labels(self._word("denied", fields["denied"])).inc()


class _Gauges:
    """A collector of what is known already."""

    def __init__(self, families: Iterator[GaugeMetricFamily]) -> None:
        self._families = list(families)

    def collect(self) -> list[GaugeMetricFamily]:
        return self._families


def _kind(fields: dict[str, object]) -> str:
    """report, sign or broadcast, from the content that an event names."""
    kind = str(fields.get("content", "")).partition(":")[0]
    return kind if kind in KINDS else "other"


_EVENTS: dict[str, Callable[[Metrics, dict[str, object]], None]] = {
    "block": Metrics._block,
    "sent": Metrics._sent,
    "refused": Metrics._refused,
    "hold": Metrics._not_signed,
    "refuse": Metrics._not_signed,
    "server_banned": Metrics._banned,
    "alarm": Metrics._alarm,
    "http": Metrics._http,
}
#: Events of which the number alone says enough.
_COUNTED = frozenset({
    "abstained",
    "api_error",
    "authority_differs",
    "diverged",
    "feed_stalled",
    "held",
    "http_error",
    "servers_differ",
    "signed_elsewhere",
    "unproven_block",
})  # fmt: skip
