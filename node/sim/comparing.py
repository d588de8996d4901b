"""What an auditor found of a recorded history, held against what its world told."""

from collections import Counter

from node.audit.findings import KEPT
from node.audit.verdict import Verdict
from node.sim.told import Attended, Told

#: A finding as both name it: kind, height, account, transaction.
Named = tuple[str, int, str, str]
_SHOWN = 10


def differences(told: Told, found: Verdict, trace: bytes | None) -> list[str]:
    """What is not alike, one line each; none if the auditor found exactly what is so."""
    ends = {
        "genesis": (told.genesis, found.genesis),
        "first block": (told.first, found.first),
        "last block": (told.height, found.height),
        "last root": ((told.root_height, told.root), (found.root_height, found.root)),
        "last trace": (told.trace, trace.hex() if trace is not None else None),
        "rounds": (told.rounds, len(found.rounds)),
        "open rounds": (told.open_rounds, sum(one.is_open for one in found.rounds)),
    }
    lines = [f"{name}: told {one}, found {other}" for name, (one, other) in ends.items() if one != other]
    return [*lines, *_findings(told, found), *_attendance(told, found), *_transactions(told, found)]


def _findings(told: Told, found: Verdict) -> list[str]:
    lines = []
    counts = Counter(one.kind for one in told.findings)
    for kind in sorted(counts.keys() | found.deviations.keys()):
        if counts[kind] != found.deviations.get(kind, 0):
            lines.append(f"{kind}: told {counts[kind]} times, found {found.deviations.get(kind, 0)} times")
        expected: Counter[Named] = Counter(
            (one.kind, one.height, one.account, one.txid) for one in told.findings if one.kind == kind
        )
        seen: Counter[Named] = Counter(
            (one.kind, one.height, one.account, one.txid) for one in found.findings if one.kind == kind
        )
        if seen.total() == KEPT:  # no more are kept: those up to the last of them
            last = max(height for _, height, _, _ in seen)
            expected = Counter({one: count for one, count in expected.items() if one[1] < last})
            seen = Counter({one: count for one, count in seen.items() if one[1] < last})
        lines += [f"not found: {_shown(one)}" for one in sorted((expected - seen).elements())[:_SHOWN]]
        lines += [f"found, and not so: {_shown(one)}" for one in sorted((seen - expected).elements())[:_SHOWN]]
    return lines


def _shown(one: Named) -> str:
    kind, height, account, txid = one
    return " ".join(part for part in (kind, f"at {height}", account, txid) if part)


def _attendance(told: Told, found: Verdict) -> list[str]:
    seen = {
        name: Attended(one.agreed, one.wrong, one.missing, one.guest, one.reports)
        for name, one in found.accounts.items()
    }
    names = sorted(told.attendance.keys() | seen.keys())
    pairs = ((name, told.attendance.get(name, Attended()), seen.get(name, Attended())) for name in names)
    return [f"attendance of {name}: told {one}, found {other}" for name, one, other in pairs if one != other]


def _transactions(told: Told, found: Verdict) -> list[str]:
    expected = {one.txid: (one.kind, one.included) for one in told.transactions}
    seen = {one.txid: (one.kind, one.included) for one in found.transactions}
    wrong = [txid for txid in sorted(expected.keys() | seen.keys()) if expected.get(txid) != seen.get(txid)]
    return [f"group transaction {txid}: told {expected.get(txid)}, found {seen.get(txid)}" for txid in wrong[:_SHOWN]]
