"""A status as Prometheus gauges: a pure function, so that no number of another moment is ever left standing.

Labels are bounded: group transactions by the protocol's parameters, servers by the configuration. What is not known is
NaN, which no alert compares as true.
"""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily

from node.attention import good_operators, not_ready, unsigned_blocks
from node.status import Status

STANDINGS = {"banned": 0, "cooling": 1, "good": 2}
_UNKNOWN = float("nan")

#: name without the prefix -> (help, value).
_PLAIN: dict[str, tuple[str, Callable[[Status], float]]] = {
    "height": ("Block applied last; -1 before the state begins", lambda s: s.height),
    "irreversible_height": ("Newest irreversible block that the servers name", lambda s: s.irreversible),
    "head_height": ("Newest block that the servers name", lambda s: s.head),
    "lag_blocks": ("Irreversible blocks that are not applied yet", lambda s: s.lag),
    "seconds_behind": ("Age of the block applied last, in seconds", lambda s: s.seconds_behind),
    "live": ("1 while the node acts on what it sees", lambda s: s.live),
    "ready": ("1 while /ready answers 200", lambda s: not not_ready(s)),
    "halted": ("1 after the group agreed on another root than this node's", lambda s: s.halted_at is not None),
    "agreed": ("1 if the last tally agreed on a root", lambda s: s.round.agreed),
    "on_own_root": ("1 if the last tally agreed on this node's own root", lambda s: s.round.on_own_root),
    "open_rounds": ("Rounds running that ended without agreement", lambda s: s.round.open_rounds),
    "round_height": ("Height of the round that the last tally ended", lambda s: s.round.height),
    "report_missing": ("1 while a report is due and was not sent", lambda s: s.round.report == "missing"),
    "report_on_chain": ("1 once this round's report is on chain", lambda s: s.round.report == "on_chain"),
    "member": ("1 if the account is registered", lambda s: s.seat.member),
    "runner": ("1 if the account holds a seat", lambda s: s.seat.runner),
    "leaving": ("1 if the account is leaving", lambda s: s.seat.leaving),
    "signer": ("1 if a key of this node stands in the active authority", lambda s: s.seat.signer),
    "key_held": ("1 if the signer holds the registered signing key", lambda s: s.seat.key_held),
    "key_ripe": ("1 if the signing key is ripe", lambda s: s.seat.ripe),
    "tallies_until_ripe": ("Agreed tallies until the signing key is ripe", lambda s: s.seat.tallies_needed),
    "missed_rounds": ("Agreed rounds running without this node's report", lambda s: s.seat.missed),
    "marks": ("Rotations that this node was needed for and did not sign", lambda s: s.seat.marks),
    "members": ("Registered accounts", lambda s: s.members),
    "runners": ("Seats taken", lambda s: s.runners),
    "active_threshold": ("Threshold of the group account's active authority", lambda s: s.threshold),
    "groups_own": ("1 if members' keys alone hold the group account", lambda s: s.groups_own),
    "sealed": ("1 if nobody can take the account back; NaN = not known", lambda s: _number(s.sealed)),
    "resource_credits_percent": ("Of the group account; NaN = not known", lambda s: _number(s.resource_credits)),
    "payloads_waiting": ("Payloads that no group transaction carries yet", lambda s: s.waiting),
    "transactions_open": ("Group transactions that are out", lambda s: len(s.transactions)),
    "journal_held": (
        "1 while a key signs nothing because the journal is younger; NaN = not known",
        lambda s: _number(s.journal_held),
    ),
    "signer_reachable": ("1 if the signer answers", lambda s: s.signer != "unreachable"),
    "good_operators": ("Operators with a good API server; fewer than 2 and nothing is signed", good_operators),
    "store_bytes": ("Size of the state on disk", lambda s: s.store_bytes),
    "disk_free_bytes": ("Free space where the data folder lies", lambda s: s.free_bytes),
    "started_timestamp_seconds": ("When the node started, seconds since 1970", lambda s: s.started_at),
}


def gauges(status: Status) -> Iterator[GaugeMetricFamily]:
    """Every gauge that follows from a status alone."""
    for name, (words, value) in _PLAIN.items():
        yield GaugeMetricFamily(f"waggle_{name}", words, value=float(value(status)))
    info = GaugeMetricFamily("waggle_info", "Who and what runs here", labels=["account", "group", "genesis", "version"])
    info.add_metric([status.account, status.group, status.genesis, status.version], 1)
    yield info
    yield from _of_transactions(status)
    yield from _of_servers(status)
    yield from _of_runners(status)


def _of_transactions(status: Status) -> Iterator[GaugeMetricFamily]:
    def family(name: str, words: str, *more: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"waggle_transaction_{name}", words, labels=["op", "kind", *more])

    missing = family("missing_weight", "Weight that an authority still lacks", "role")
    collected = family("signatures", "Accounts whose signature is on chain")
    age = family("age_blocks", "Blocks since it was built")
    expires = family("expires_seconds", "Block time until it expires")
    ready = family("ready", "1 if it may be broadcast")
    refusals = family("refusals", "Members that refuse it")
    unsigned = family("unsigned_by_me", "1 while a signature of this node is wanted and not on chain")
    late = family("unsigned_late", "1 once that lasts longer than a healthy signer takes")
    for one in status.transactions:
        labels = [one.op, one.kind]
        for role in one.roles:
            missing.add_metric([*labels, role.role], role.missing)
        collected.add_metric(labels, len(one.signed))
        age.add_metric(labels, one.age_blocks)
        expires.add_metric(labels, one.expires_in)
        ready.add_metric(labels, one.status == "ready")
        refusals.add_metric(labels, len(one.refusals))
        unsigned.add_metric(labels, one.mine in ("waiting", "sent"))
        late.add_metric(labels, one.mine in ("waiting", "sent") and one.age_blocks >= unsigned_blocks(status))
    yield from (missing, collected, age, expires, ready, refusals, unsigned, late)


def _of_servers(status: Status) -> Iterator[GaugeMetricFamily]:
    def family(name: str, words: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"waggle_server_{name}", words, labels=["server", "operator"])

    standing = family("standing", "An API server: 2 good, 1 cooling, 0 banned")
    score = family("score", "An API server's score, 0 to 100")
    seconds = family("answer_seconds", "An API server's usual answer")
    behind = family("behind_blocks", "Irreversible blocks behind the newest that any server names")
    for server in status.servers:
        labels = [server.url, server.operator]
        standing.add_metric(labels, STANDINGS.get(server.standing, 0))
        score.add_metric(labels, server.score)
        seconds.add_metric(labels, server.seconds)
        behind.add_metric(labels, server.behind)
    yield from (standing, score, seconds, behind)


def _of_runners(status: Status) -> Iterator[GaugeMetricFamily]:
    agreed = GaugeMetricFamily("waggle_runner_agreed", "1 if a runner agreed in the last round", labels=["account"])
    for report in status.reports:
        agreed.add_metric([report.account], report.agreed)
    yield agreed


def _number(value: bool | int | None) -> float:
    return _UNKNOWN if value is None else float(value)
