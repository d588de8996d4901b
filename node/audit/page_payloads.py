"""How long what the group wanted took from the queue into a block of Hive, and what came to nothing."""

from collections import Counter
from math import log2

from node.audit.charts import WIDTH, Span, dots, draw, legend, levels, plot, svg
from node.audit.page_html import (
    Cell,
    Raw,
    lasting,
    left_out,
    line,
    minutes,
    note,
    right,
    section,
    table,
    units,
    who,
    word,
)
from node.audit.payloads import Wanted
from node.audit.verdict import Verdict
from node.span import plural

_HEIGHT = 200
_GRID = 2  # dots that are nearer than this are one
_KINDS, _REASONS, _SLOWEST = 12, 50, 20
_FAILED = ("failed", "expired")


def payloads(found: Verdict, span: Span) -> str:
    """Times as a histogram and over the blocks; medians by kind; the failed by reason."""
    lead = (
        "From the block in which a payment or a rotation joined the queue to the block in which its transaction was "
        "confirmed; a block is three seconds."
    )
    done = [one for one in found.payloads if one.status == "confirmed"]
    ended = [one for one in found.payloads if one.status in _FAILED]
    if not found.payloads:
        return section("payloads", "From wish to deed", lead, note("Nothing was queued."))
    scatter = [
        "<h3>Over time: each line stands for ten times as long as the one below it</h3>",
        legend(("dot", "confirmed payment"), ("square", "confirmed rotation of the keys"), ("cross", "failed")),
        _scatter(done, ended, span),
    ]
    return section(
        "payloads",
        "From wish to deed",
        lead,
        f"<p>{plural(len(found.payloads), 'payload')}: <b>{len(done):,} confirmed</b>, {len(ended):,} failed or "
        f"expired, {len(found.payloads) - len(done) - len(ended):,} dropped or waiting.</p>",
        _histogram([_took(one) for one in done]),
        *(scatter if done or ended else []),
        _by_kind(found.payloads),
        _reasons(found.payloads),
        _slowest(done),
    )


def _took(one: Wanted) -> int:
    return max(0, one.ended - one.queued)


def _histogram(times: list[int]) -> str:
    """Each line takes up twice the time of the one above it."""
    counted = Counter(time.bit_length() for time in times)
    most = max(counted.values(), default=1)
    rows: list[tuple[Cell, ...]] = []
    for size in range(min(counted, default=0), max(counted, default=-1) + 1):
        low, high, count = (1 << size) >> 1, max(0, (1 << size) - 1), counted[size]
        blocks = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        width = max(2, count * WIDTH // most) if count else 0
        drawn = (
            f'<svg class="bar" viewBox="0 0 {WIDTH} 10" preserveAspectRatio="none" aria-hidden="true">'
            f"{draw(('agreed', f'M0 0h{width}v10h-{width}z' if width else ''))}</svg>"
        )
        rows.append((line(blocks), right(lasting(high)), count, Raw(drawn)))
    heads = ("Blocks", "That is up to", "Payloads", "")
    return table("How long it took", heads, rows, empty="nothing was confirmed.", fold=False)


def _scatter(done: list[Wanted], ended: list[Wanted], span: Span) -> str:
    top = max((_took(one) for one in [*done, *ended]), default=0) + 1
    if top < 10:
        top = 10

    def at(one: Wanted) -> tuple[int, int]:
        return _snap(span.x(one.queued)), _snap(_y(_took(one), top))

    payments = {at(one) for one in done if one.kind != "rotation"}
    rotations = {at(one) for one in done if one.kind == "rotation"}
    failed = {at(one) for one in ended}
    marks = [10**power for power in range(12) if 10**power <= top]
    scale = [(_y(mark, top), lasting(mark)) for mark in marks]
    words = f"{plural(len(done), 'payload')} confirmed, {len(ended):,} failed; the longest took {top - 1:,} blocks."
    body = levels([y for y, _ in scale], _HEIGHT) + draw(
        ("cross", "".join(f"M{x} {max(0, y - 5)}v10" for x, y in sorted(failed))),
        ("dot", dots(payments)),
        ("square", dots(rotations)),
    )
    return plot(svg("times", _HEIGHT, "Time from queue to confirmation", words, body), _HEIGHT, scale, span)


def _snap(value: int) -> int:
    return value // _GRID * _GRID


def _y(blocks: int, top: int) -> int:
    return _HEIGHT - round(_HEIGHT * log2(blocks + 1) / log2(top + 1))


def _by_kind(all_payloads: list[Wanted]) -> str:
    kinds = Counter(one.kind for one in all_payloads)
    ordered = sorted(kinds, key=lambda kind: (-kinds[kind], kind))[:_KINDS]
    rows = [_kind(kind, [one for one in all_payloads if one.kind == kind]) for kind in ordered]
    heads = (
        "Kind",
        "Queued",
        "Confirmed",
        "Half within, blocks",
        "Half within, minutes",
        "Nine in ten within, blocks",
        "Nine in ten within, minutes",
        "Longest, blocks",
        "Longest, minutes",
        "Failed",
        "Expired",
        "Dropped",
        "Waiting",
    )
    return table("Payloads by kind", heads, rows, note=left_out(len(rows), len(kinds), "kinds"))


def _kind(kind: str, those: list[Wanted]) -> tuple[Cell, ...]:
    states = Counter(one.status for one in those)
    times = sorted(_took(one) for one in those if one.status == "confirmed")
    quantiles: list[Cell] = []
    for percentile in (50, 90, 100):
        at = -(-len(times) * percentile // 100) - 1
        quantiles += [times[at], right(minutes(times[at]))] if times else [right("–"), right("–")]
    others = (states["failed"], states["expired"], states["dropped"], states["waiting"])
    name = word(kind) if kind else "not known: the queue was full"
    return name, len(those), len(times), *quantiles, *others


def _reasons(all_payloads: list[Wanted]) -> str:
    counted = Counter(
        (one.status, one.why, one.kind) for one in all_payloads if one.status not in ("confirmed", "waiting")
    )
    ordered = sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))
    rows = [
        (word(why) if why else "no reason given", word(status), word(kind), count)
        for (status, why, kind), count in ordered[:_REASONS]
    ]
    heads = ("Why", "Ended as", "Kind", "Payloads")
    told = left_out(len(rows), len(ordered), "reasons")
    return table("Not done, by reason", heads, rows, note=told, empty="nothing failed, expired or was dropped.")


def _slowest(done: list[Wanted]) -> str:
    ordered = sorted(done, key=lambda one: (-_took(one), one.number))
    rows: list[tuple[Cell, ...]] = [
        (
            f"p{one.number}",
            word(one.kind),
            who(one.to),
            right(f"{units(one.amount)} {one.asset[:20]}" if one.amount else "–"),
            one.queued,
            one.ended,
            _took(one),
            one.expiries,
        )
        for one in ordered[:_SLOWEST]
    ]
    heads = ("Payload", "Kind", "To", "Amount", "Queued in block", "Confirmed in block", "Blocks", "Expiries")
    told = left_out(len(rows), len(ordered), "confirmed payloads")
    return table("The slowest", heads, rows, note=told, empty="nothing was confirmed.")
