"""Which keys could sign for the group as time went on, and how many of them it took."""

import msgspec

from node.audit.charts import Span, bars, draw, lane, lanes, legend, levels, plot, steps, svg, ticks
from node.audit.page_html import (
    HASH,
    NAME,
    Cell,
    Raw,
    code,
    esc,
    left_out,
    note,
    said,
    section,
    table,
    who,
)
from node.audit.payloads import SignersFrom
from node.audit.verdict import Verdict
from node.span import plural

#: So many keys have a strip, and a line in the table; so many changes are told.
_STRIPS, _LINES, _CHANGES = 60, 300, 100
_HEIGHT, _THIN = 100, 12
_NAMES = 6  # in one cell
_NOBODY = "nobody's key"


class Presence(msgspec.Struct):
    """A key's time in the authority: whose it is, its newest weight, from which block to which, and whether still."""

    key: str
    account: str
    weight: int
    runs: list[tuple[int, int]]
    is_in: bool = False

    def blocks(self) -> int:
        """How long in all."""
        return sum(end - start for start, end in self.runs)


def signers(found: Verdict, span: Span) -> str:
    """Threshold and weight, a strip for each key, the present keys, the changes."""
    lead = (
        "A transaction of the group needs signatures of so many of these keys (the threshold); a bar shows from when "
        "to when a key counted."
    )
    if not found.signers:
        return section("signers", "Who could sign", lead, note("No authority was seen."))
    keys = _presences(found)
    ordered = sorted(keys, key=lambda one: (not one.is_in, -one.blocks(), one.key))
    drawn = sorted(ordered[:_STRIPS], key=lambda one: (one.runs[0][0], one.account, one.key))
    strips = [_strip(f"key-{number}", one, span) for number, one in enumerate(drawn)]
    last = found.signers[-1]
    told = left_out(len(drawn), len(keys), "keys' strips", "the signers of now, and those of longest, are here")
    return section(
        "signers",
        "Who could sign",
        lead,
        f"<p>Now: <b>{last.threshold:,} of {sum(weight for _, weight, _ in last.keys):,}</b> (weight asked for, and "
        f"weight of all {plural(len(last.keys), 'key')}), since block {last.height:,}; "
        f"{plural(len(found.signers) - 1, 'change')} before.</p>",
        legend(("line-a", "weight of all keys"), ("line-b", "threshold")),
        _weights(found, span),
        lanes(strips, span),
        note(told),
        _keys(ordered),
        _changes(found.signers),
    )


def _presences(found: Verdict) -> list[Presence]:
    """Each key that ever was in, by its runs."""
    keys: dict[str, Presence] = {}
    for number, one in enumerate(found.signers):
        end = found.signers[number + 1].height if number + 1 < len(found.signers) else found.height
        for key, weight, account in one.keys:
            known = keys.get(key)
            if known is None:
                known = keys[key] = Presence(key, account, weight, [])
            known.weight, known.account = weight, account or known.account
            known.is_in = one is found.signers[-1]
            if known.runs and known.runs[-1][1] == one.height:
                known.runs[-1] = (known.runs[-1][0], end)
            else:
                known.runs.append((one.height, end))
    return list(keys.values())


def _strip(ident: str, one: Presence, span: Span) -> str:
    columns: list[tuple[int, int]] = []
    for start, end in one.runs:
        left, right = span.x(start), max(span.x(end), span.x(start) + 2)
        if columns and left <= columns[-1][1]:
            columns[-1] = (columns[-1][0], max(columns[-1][1], right))
        else:
            columns.append((left, right))
    title = f"Presence of {esc(_short(one.key))}, {esc(one.account or _NOBODY, NAME)}"
    words = (
        f"In from block {one.runs[0][0]:,}, {plural(len(one.runs), 'time')}, {plural(one.blocks(), 'block')} in all."
    )
    drawing = svg(ident, _THIN, title, words, draw(("agreed", bars(columns, 1, _THIN - 2))), "thin")
    told = f"weight {one.weight:,}" if one.weight != 1 else ""
    return lane(f"{said(one.account or _NOBODY, NAME)} {code(_short(one.key))}", drawing, told)


def _short(key: str) -> str:
    return key if len(key) <= 14 or key.startswith("@") else f"{key[:7]}…{key[-4:]}"


def _weights(found: Verdict, span: Span) -> str:
    in_all = [sum(weight for _, weight, _ in one.keys) for one in found.signers]
    marks = ticks(max(*in_all, *(one.threshold for one in found.signers)), 3)
    scale = [(_HEIGHT - mark * _HEIGHT // marks[-1], f"{mark:,}") for mark in marks]

    def line(values: list[int]) -> str:
        last: dict[int, int] = {}
        for one, value in zip(found.signers, values, strict=True):
            last[span.column(one.height)] = _HEIGHT - value * _HEIGHT // marks[-1]
        return steps(((column * 2, y) for column, y in last.items()), span.x(found.height))

    words = f"Weight of all keys {min(in_all):,} to {max(in_all):,}, threshold at last {found.signers[-1].threshold:,}."
    body = levels([y for y, _ in scale], _HEIGHT)
    body += draw(("line-a", line(in_all)), ("line-b", line([one.threshold for one in found.signers])))
    return plot(svg("weights", _HEIGHT, "Threshold and weight over time", words, body, "low"), _HEIGHT, scale, span)


def _keys(ordered: list[Presence]) -> str:
    rows: list[tuple[Cell, ...]] = []
    for one in ordered[:_LINES]:
        until = "still in" if one.is_in else f"{one.runs[-1][1]:,}"
        whose = who(one.account) if one.account else _NOBODY
        rows.append((code(one.key, HASH), whose, one.weight, f"{one.runs[0][0]:,}", until, len(one.runs), one.blocks()))
    heads = ("Key", "Whose", "Weight", "First in block", "Out in block", "Times", "Blocks in all")
    return table("Keys of the active authority", heads, rows, note=left_out(len(rows), len(ordered), "keys"))


def _changes(all_signers: list[SignersFrom]) -> str:
    rows: list[tuple[Cell, ...]] = []
    shown = all_signers[-_CHANGES:]
    for number, one in enumerate(shown, len(all_signers) - len(shown)):
        before = {key: account for key, _, account in all_signers[number - 1].keys} if number else {}
        now = {key: account for key, _, account in one.keys}
        came, went = (_names(a, b) for a, b in ((now, before), (before, now)))
        rows.append((f"{one.height:,}", one.threshold, len(one.keys), Raw(came), Raw(went)))
    heads = ("From block", "Threshold", "Keys", "Came", "Went")
    told = left_out(len(shown), len(all_signers), "older changes")
    return table("Changes of the signers", heads, rows, note=told)


def _names(those: dict[str, str], without: dict[str, str]) -> str:
    new = [those[key] or _short(key) for key in sorted(those.keys() - without.keys())]
    more = f" and {len(new) - _NAMES:,} more" if len(new) > _NAMES else ""
    return ", ".join(said(name, NAME) for name in new[:_NAMES]) + more or "–"
