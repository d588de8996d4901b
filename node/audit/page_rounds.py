"""Who reported what over time, and whether the group agreed."""

import msgspec

from node.audit.charts import Span, area, band, buckets, draw, lane, lanes, legend, levels, plot, steps, svg, ticks
from node.audit.page_html import (
    NAME,
    Cell,
    Raw,
    esc,
    left_out,
    line,
    note,
    percent,
    right,
    said,
    section,
    table,
    who,
)
from node.audit.reports import ABSENT, AGREED, GUEST, MISSING, WRONG, RoundSeen
from node.audit.verdict import Account, Verdict
from node.span import plural

#: So many accounts have a strip, and a line in the table.
_STRIPS, _LINES = 60, 1_000
_PERIODS = 24
_TOP, _LANE = 8, 20  # a strip's room for the heads of pins, and its height below that
_LEAST = 5  # so high is the smallest share of what must be seen
_PLOT = 160


class Column(msgspec.Struct, frozen=True):
    """What lies in one column of a strip: rounds in all, and those of each mark."""

    rounds: int
    agreed: int = 0
    guest: int = 0
    missing: int = 0
    wrong: int = 0


def attendance(found: Verdict, span: Span) -> str:
    """A strip for each account, and the counts."""
    ordered = sorted(found.accounts.items(), key=_importance)
    drawn = [(name, one) for name, one in ordered if one.marks.strip(ABSENT)]
    cuts, slices = _columns(found, span)
    strips = [_strip(f"strip-{number}", *one, slices, cuts) for number, one in enumerate(drawn[:_STRIPS])]
    each = -(-len(found.rounds) // max(1, len(slices)))
    return section(
        "attendance",
        "Who reported, and what",
        "Every round each runner reports the fingerprint (root) of the group's state: a full column is a runner that "
        "always reported the right one, what hangs from above is silence, a pin is a wrong report.",
        legend(
            ("agreed", "right report"),
            ("guest", "right report without a seat"),
            ("missing", "seat, but no report"),
            ("pin", "wrong report"),
            ("empty", "no seat, no report"),
        ),
        lanes(strips, span) if strips else note("No round has ended yet."),
        note(
            f"A column stands for up to {plural(each, 'round')}; a single wrong or missing one in it is drawn larger "
            "than its share. Accounts with wrong reports come first, then those with the most rounds."
        ),
        note(left_out(len(strips), len(drawn), "accounts' strips", "their counts are below")),
        _table(found, ordered),
    )


def _table(found: Verdict, ordered: list[tuple[str, Account]]) -> str:
    rows = [_counts(found, name, one) for name, one in ordered[:_LINES]]
    heads = ("Account", "Agreed", "Wrong", "Missing", "Without a seat", "Share agreed", "Wrong in rounds from")
    return table("Rounds by account", heads, rows, note=left_out(len(rows), len(ordered), "accounts"))


def _importance(entry: tuple[str, Account]) -> tuple[int, int, int, str]:
    name, one = entry
    return -one.wrong, -(one.agreed + one.missing), -one.guest, name


def _columns(found: Verdict, span: Span) -> tuple[list[int], list[tuple[int, int]]]:
    """Where the columns stand, and the rounds (first, end) in each."""
    slices = buckets(len(found.rounds))
    if not slices:
        return [0], []
    cuts = [span.x(found.rounds[first].height) for first, _ in slices]
    return [*cuts, span.x(found.rounds[-1].height + found.round_length)], slices


def _strip(ident: str, name: str, one: Account, slices: list[tuple[int, int]], cuts: list[int]) -> str:
    told = f"{percent(one.agreed, _seated(one))} agreed" if _seated(one) else f"{one.guest:,} without a seat"
    if one.wrong:
        told += f", <b>{one.wrong:,} wrong</b>"
    words = (
        f"{plural(one.agreed, 'round')} agreed, {one.wrong:,} wrong, {one.missing:,} missing, {one.guest:,} without a "
        f"seat."
    )
    body = _shares([_column(one, first, end) for first, end in slices], cuts)
    title = f"Reports of {esc(name, NAME)} over time"
    return lane(said(name, NAME), svg(ident, _TOP + _LANE, title, words, body, "strip"), told)


def _seated(one: Account) -> int:
    return one.agreed + one.missing + one.wrong


def _column(one: Account, first: int, end: int) -> Column:
    marks, low, high = one.marks, max(0, first - one.first), max(0, end - one.first)
    agreed, guest, missing, wrong = (marks.count(mark, low, high) for mark in (AGREED, GUEST, MISSING, WRONG))
    return Column(end - first, agreed, guest, missing, wrong)


def _shares(columns: list[Column], cuts: list[int]) -> str:
    """A strip: right reports grow from below, silence and lies hang from above, and a lie has a pin."""
    lies, bad, right, all_right = [], [], [], []
    for one in columns:
        wrong = max(_LEAST, _LANE * one.wrong // one.rounds) if one.wrong else 0
        missing = max(_LEAST, _LANE * one.missing // one.rounds) if one.missing else 0
        bad.append(min(_LANE, wrong + missing))
        lies.append(wrong)
        rest = max(1, one.rounds - one.wrong - one.missing)
        right.append((_LANE - bad[-1]) * one.agreed // rest)
        all_right.append((_LANE - bad[-1]) * (one.agreed + one.guest) // rest)
    pins = [(cuts[i] + cuts[i + 1]) // 2 for i, one in enumerate(columns) if one.wrong]
    bottom = _TOP + _LANE
    return draw(
        ("guest", area(cuts, bottom, all_right) if all_right != right else ""),
        ("agreed", area(cuts, bottom, right)),
        ("missing", area(cuts, _TOP, bad, down=True)),
        ("wrong", area(cuts, _TOP, lies, down=True)),
        ("stem", "".join(f"M{x} 4v{bottom - 4}" for x in pins)),
        ("head", "".join(f"M{x} 4h0" for x in pins)),
    )


def _counts(found: Verdict, name: str, one: Account) -> tuple[Cell, ...]:
    at = one.marks.find(WRONG)
    heights: list[str] = []
    while at >= 0 and len(heights) < 3:
        index = one.first + at
        heights.append(f"{found.rounds[index].height:,}" if index < len(found.rounds) else "?")
        at = one.marks.find(WRONG, at + 1)
    wrong = "; ".join(heights) + (f" and {one.wrong - 3:,} more" if one.wrong > 3 else "")
    share = right(percent(one.agreed, _seated(one)))
    return (
        who(name),
        one.agreed,
        one.wrong,
        one.missing,
        one.guest,
        share,
        line(wrong) if wrong else Raw("–"),
    )


# -- agreement


def agreement(found: Verdict, span: Span) -> str:
    """How many of the seats agreed, round by round, and which rounds stayed open."""
    rounds = found.rounds
    lead = (
        "A round is agreed when enough of those who can sign for the group reported the same root; one that stayed "
        "open hangs from above here, and nothing new is built until the next one is agreed."
    )
    if not rounds:
        return section("agreement", "Agreement", lead, note("No round has ended yet."))
    still = sum(one.is_open for one in rounds)
    cuts, slices = _columns(found, span)
    words = f"{len(rounds) - still:,} rounds agreed, {still:,} open."
    openness = _shares([_open(rounds, first, end) for first, end in slices], cuts)
    strip = svg("open", _TOP + _LANE, "Rounds agreed and open over time", words, openness, "strip")
    told = f"{percent(len(rounds) - still, len(rounds))} agreed"
    return section(
        "agreement",
        "Agreement",
        lead,
        f"<p>{plural(len(rounds), 'round')}: <b>{len(rounds) - still:,} agreed, {still:,} open</b>; the longest run of "
        f"open rounds was {_longest(rounds):,}.</p>",
        legend(("agreed", "agreed"), ("missing", "open")),
        lanes([lane("Rounds", strip, told)], span),
        "<h3>Voices and seats</h3>",
        legend(("agreed", "voices in agreed rounds, from the fewest to the most in a column"), ("line-a", "seats")),
        _voices(found, span, cuts, slices),
        _periods(rounds, found.round_length),
    )


def _open(rounds: list[RoundSeen], first: int, end: int) -> Column:
    still = sum(one.is_open for one in rounds[first:end])
    return Column(end - first, agreed=end - first - still, missing=still)


def _longest(rounds: list[RoundSeen]) -> int:
    longest = now = 0
    for one in rounds:
        now = now + 1 if one.is_open else 0
        longest = max(longest, now)
    return longest


def _voices(found: Verdict, span: Span, cuts: list[int], slices: list[tuple[int, int]]) -> str:
    marks = ticks(max(max(one.seats, one.agreed) for one in found.rounds))
    top = marks[-1]
    lows, highs, seats = [], [], []
    for first, end in slices:
        voices = [one.agreed for one in found.rounds[first:end] if not one.is_open] or [0]
        lows.append(_PLOT - min(voices) * _PLOT // top)
        highs.append(_PLOT - max(voices) * _PLOT // top)
        seats.append(_PLOT - found.rounds[end - 1].seats * _PLOT // top)
    lows = [
        max(low, min(high + 4, _PLOT)) for low, high in zip(lows, highs, strict=True)
    ]  # a line, where all are equal
    scale = [(_PLOT - mark * _PLOT // top, f"{mark:,}") for mark in marks]
    words = (
        f"Seats {_range([one.seats for one in found.rounds])}, voices {_range([one.agreed for one in found.rounds])}."
    )
    body = levels([y for y, _ in scale], _PLOT) + draw(
        ("agreed", band(cuts, lows, highs)), ("line-a", steps(zip(cuts, seats, strict=False), cuts[-1]))
    )
    return plot(svg("voices", _PLOT, "Voices and seats over time", words, body), _PLOT, scale, span)


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _periods(rounds: list[RoundSeen], length: int) -> str:
    rows: list[tuple[Cell, ...]] = []
    for first, end in buckets(len(rounds), _PERIODS):
        part = rounds[first:end]
        still = sum(one.is_open for one in part)
        voices = _range([one.agreed for one in part if not one.is_open] or [0])
        wrong = sum(one.wrong for one in part)
        blocks = f"{part[0].height:,} to {part[-1].height + length:,}"
        seats = _range([one.seats for one in part])
        rows.append((line(blocks), len(part), len(part) - still, still, right(voices), right(seats), wrong))
    heads = ("Blocks", "Rounds", "Agreed", "Open", "Voices if agreed", "Seats", "Wrong reports")
    return table("Agreement by period", heads, rows)
