"""What came into the group account and what went out of it, as the blocks showed it."""

from node.audit.charts import COLUMNS, WIDTH, Span, draw, legend, levels, plot, steps, svg, ticks
from node.audit.page_html import Cell, Raw, esc, left_out, note, right, section, table, units
from node.audit.payloads import Held
from node.audit.verdict import Verdict

#: So many assets have a chart, and so many periods a line.
_ASSETS, _PERIODS = 6, 48
_HEIGHT = 160


def treasury(found: Verdict, span: Span) -> str:
    """Income and spending of each asset over time."""
    lead = (
        "All that was ever transferred to the group account (income) and all that its confirmed payments took out "
        "again (spent), added up since the beginning; what it held before is not in it."
    )
    assets = sorted({asset for one in found.treasury for asset in one.amounts})
    if not assets:
        return section("treasury", "The treasury", lead, note("Nothing came in, and nothing went out."))
    charts = [
        f"<h3>{esc(asset, 20)}</h3>" + _chart(f"asset-{number}", asset, found, span)
        for number, asset in enumerate(assets[:_ASSETS])
    ]
    return section(
        "treasury",
        "The treasury",
        lead,
        legend(("line-a", "income"), ("line-b", "spent")),
        *charts,
        note(left_out(len(charts), len(assets), "assets' charts")),
        _totals(found.treasury, assets),
        _periods(found, span, assets[:_ASSETS]),
    )


def _chart(ident: str, asset: str, found: Verdict, span: Span) -> str:
    last: dict[int, tuple[int, int]] = {}
    for one in found.treasury:
        last[span.column(one.height)] = one.amounts.get(asset, (0, 0))
    marks = ticks(max(max(pair) for pair in last.values()))
    scale = [(_HEIGHT - mark * _HEIGHT // marks[-1], _axis(mark)) for mark in marks]

    def line(which: int) -> str:
        points = [(0, _HEIGHT)]
        points += [(at * WIDTH // COLUMNS, _HEIGHT - pair[which] * _HEIGHT // marks[-1]) for at, pair in last.items()]
        return steps(points, span.x(found.height))

    income, spent = found.treasury[-1].amounts.get(asset, (0, 0))
    words = f"At the end {units(income)} had come in and {units(spent)} had gone out."
    body = levels([y for y, _ in scale], _HEIGHT) + draw(("line-a", line(0)), ("line-b", line(1)))
    drawing = svg(ident, _HEIGHT, f"Income and spending of {esc(asset, 20)}", words, body)
    return plot(drawing, _HEIGHT, scale, span)


def _axis(amount: int) -> str:
    """A round number, as short as it gets."""
    for size, letter in ((10**18, "P"), (10**15, "T"), (10**12, "G"), (10**9, "M")):
        if amount >= 10 * size and not amount % size:
            return f"{amount // size:,} {letter}"
    return units(amount).rstrip("0").rstrip(".")


def _totals(held: list[Held], assets: list[str]) -> str:
    rows = []
    for asset in assets[:100]:
        income, spent = held[-1].amounts.get(asset, (0, 0))
        rows.append((Raw(esc(asset, 20)), right(units(income)), right(units(spent)), right(units(income - spent))))
    heads = ("Asset", "Income", "Spent", "Difference")
    return table("At the end", heads, rows, note=left_out(len(rows), len(assets), "assets"))


def _periods(found: Verdict, span: Span, assets: list[str]) -> str:
    """The state at the end of each period in which something moved."""
    last: dict[int, Held] = {}
    for one in found.treasury:
        if one.amounts:
            last[(one.height - span.first) * _PERIODS // (span.length + 1)] = one
    rows: list[tuple[Cell, ...]] = []
    for one in last.values():
        for asset in assets:
            if asset in one.amounts:
                income, spent = one.amounts[asset]
                rows.append((f"{one.height:,}", Raw(esc(asset, 20)), right(units(income)), right(units(spent))))
    told = left_out(len(last), sum(bool(one.amounts) for one in found.treasury), "movements")
    return table("Added up until a block", ("Block", "Asset", "Income", "Spent"), rows, note=told)
