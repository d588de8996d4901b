"""Charts as inline SVG: the shapes stretch to any width, all words around them are HTML, so a phone can read them.

A chart is ``WIDTH`` units wide; every number in it is an integer.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

import msgspec

from node.span import BLOCK_SECONDS

WIDTH = 800
#: A chart has no more columns than this; what lies within one is summed up.
COLUMNS = 400
_TICKS = 4
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Span(msgspec.Struct, frozen=True):
    """The blocks that a chart goes over, and the UNIX time of the last one (0 = not known)."""

    first: int
    last: int
    timestamp: int

    @property
    def length(self) -> int:
        """At least one block."""
        return max(1, self.last - self.first)

    def x(self, height: int) -> int:
        """Where a block stands."""
        return min(max(height - self.first, 0), self.length) * WIDTH // self.length

    def column(self, height: int) -> int:
        """In which of the columns a block is."""
        return min(max(height - self.first, 0) * COLUMNS // self.length, COLUMNS - 1)

    def date(self, height: int) -> str:
        """About when a block was made, counted back from the last one; empty if nobody can tell."""
        at = self.timestamp - (self.last - height) * BLOCK_SECONDS
        if not self.timestamp or not 0 <= at < 1 << 36:
            return ""
        found = datetime.fromtimestamp(at, UTC)
        day = f"{found.day} {_MONTHS[found.month - 1]}"
        if self.length * BLOCK_SECONDS > 4 * 86_400:
            return f"{day} {found.year}"
        return f"{day} {found.hour:02}:{found.minute:02}"


def buckets(count: int, most: int = COLUMNS) -> list[tuple[int, int]]:
    """So many things in at most so many columns: (first, end) of each."""
    columns = min(count, most)
    return [(index * count // columns, (index + 1) * count // columns) for index in range(columns)]


# -- paths


def area(cuts: Sequence[int], base: int, values: Sequence[int], *, down: bool = False) -> str:
    """A path filled from a base line: column i reaches from cuts[i] to cuts[i + 1] and is values[i] high."""
    if not any(values):
        return ""
    path, at, level = [f"M{cuts[0]} {base}"], cuts[0], 0
    for left, value in zip(cuts, values, strict=False):
        if value != level:
            step = value - level if down else level - value
            path.append((f"h{left - at}" if left > at else "") + f"v{step}")
            at, level = left, value
    return "".join(path) + f"H{cuts[-1]}V{base}z"


def band(cuts: Sequence[int], lows: Sequence[int], highs: Sequence[int]) -> str:
    """A path filled between two lines; both are y coordinates, one a column."""
    if not lows:
        return ""
    path = [f"M{cuts[0]} {lows[0]}"]
    path += [f"V{high}H{right}" for high, right in zip(highs, cuts[1:], strict=True)]
    path += [f"V{low}H{left}" for low, left in zip(reversed(lows), reversed(cuts[:-1]), strict=True)]
    return "".join(path) + "z"


def steps(points: Iterable[tuple[int, int]], end: int) -> str:
    """A line that stays level until the next point."""
    path, last = "", -1
    for x, y in points:
        if not path:
            path = f"M{x} {y}"
        elif y != last:
            path += f"H{x}V{y}"
        last = y
    return f"{path}H{end}" if path else ""


def dots(points: Iterable[tuple[int, int]]) -> str:
    """A path of points; the pen's width is their size. Not quite of no length: some printers draw no square then."""
    return "".join(f"M{x} {y}h1" for x, y in sorted(set(points)))


def bars(runs: Iterable[tuple[int, int]], top: int, height: int) -> str:
    """Rectangles over (left, right)."""
    return "".join(f"M{left} {top}h{right - left}v{height}h{left - right}z" for left, right in runs)


def draw(*shapes: tuple[str, str]) -> str:
    """Paths by (class, path); those that are empty are left out."""
    return "".join(f'<path class="{kind}" d="{path}"/>' for kind, path in shapes if path)


def svg(name: str, height: int, title: str, words: str, body: str, kind: str = "chart") -> str:
    """One drawing with its name and what it shows in words. ``title`` and ``words`` are escaped already."""
    return (
        f'<svg class="{kind}" viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none" role="img" '
        f'aria-labelledby="{name}-t {name}-d"><title id="{name}-t">{title}</title>'
        f'<desc id="{name}-d">{words}</desc>{body}</svg>'
    )


# -- what stands around them


def ticks(top: int, most: int = 4) -> list[int]:
    """Round numbers from 0 on, at most ``most`` steps, of which the last is at least ``top``."""
    size = 1
    while True:
        for step in (size, 2 * size, 5 * size):
            if step * most >= top:
                return list(range(0, max(-(-top // step), 1) * step + 1, step))
        size *= 10


def levels(marks: Sequence[int], height: int) -> str:
    """Faint lines at y coordinates."""
    return draw(("grid", "".join(f"M0 {y}H{WIDTH}" for y in marks if 0 < y < height)))


def x_axis(span: Span) -> str:
    """Heights, and about when that was, below a chart."""
    marks = []
    for index in range(_TICKS + 1):
        height = span.first + (span.last - span.first) * index // _TICKS
        kind = ("left", "few", "mid", "few", "right")[index]
        date = span.date(height)
        told = f"<br><i>{escape(date)}</i>" if date else ""
        marks.append(f'<span class="{kind}" style="left:{index * 100 // _TICKS}%">{height:,}{told}</span>')
    return f'<div class="xs" aria-hidden="true">{"".join(marks)}</div>'


def plot(drawing: str, height: int, marks: Iterable[tuple[int, str]], span: Span) -> str:
    """A drawing with a scale on its left, (y, text) each, and the blocks below it."""
    scale = "".join(f'<span style="top:{y * 100 // height}%">{escape(text)}</span>' for y, text in marks)
    return f'<div class="plot"><div class="ys" aria-hidden="true">{scale}</div>{drawing}{x_axis(span)}</div>'


def lane(name: str, drawing: str, told: str) -> str:
    """One strip among several: whose it is, the strip, what to say about it. ``name``, ``told`` are HTML."""
    return f'<div class="lane"><div class="who">{name}</div>{drawing}<div class="told">{told}</div></div>'


def lanes(rows: Iterable[str], span: Span) -> str:
    """Strips one below the other, over the same blocks."""
    return f'<div class="lanes">{"".join(rows)}<div class="lane axis">{x_axis(span)}</div></div>'


def legend(*entries: tuple[str, str]) -> str:
    """(class, what it stands for) of each sign."""
    return '<ul class="legend">' + "".join(f"<li>{_sign(kind)}{escape(text)}</li>" for kind, text in entries) + "</ul>"


def _sign(kind: str) -> str:
    body = _SIGNS.get(kind) or draw((f"{kind} framed", "M1 1h20v10h-20z"))
    return f'<svg class="sign" viewBox="0 0 22 12" aria-hidden="true">{body}</svg>'


_SIGNS = {
    "pin": draw(("wrong", "M8 8h6v4h-6z"), ("stem", "M11 3v9"), ("head", "M11 3h0")),
    "line-a": draw(("line-a", "M1 6h20")),
    "line-b": draw(("line-b", "M1 6h20")),
    "dot": draw(("dot", "M11 6h0")),
    "square": draw(("square", "M11 6h1")),
    "cross": draw(("cross", "M11 1v10")),
}
