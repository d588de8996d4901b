"""The small parts of the page: texts of strangers made harmless, numbers for people, tables, sections."""

from collections.abc import Iterable, Sequence
from html import escape

from node.span import BLOCK_SECONDS, plural

#: A text of somebody is cut after so many letters.
_LONGEST = 400
#: Longer tables are folded; a reader opens them.
_FOLDED = 12
_SHORT = 24
#: Letters of an account's name (Hive: 16), of a short word, of a key or a hash, and of a list in a cell.
NAME, WORD, HASH, LIST = 20, 40, 64, 160
_RIGHT = '<span class="right">'


class Raw(str):
    """HTML that stands as it is; every other text is escaped."""

    __slots__ = ()


#: What a cell of a table can hold: a number stands on the right, a text is escaped.
Cell = int | str | Raw


def esc(text: str, longest: int = _LONGEST) -> str:
    """A text of a stranger: cut, what nobody can see made visible, and nothing in it is HTML.

    No more than ``longest`` letters are shown, nor what takes more than twice as many bytes.
    """
    html = _harmless(text[:longest])
    if len(text) <= longest and len(html) <= longest and html.isascii():
        return html
    pieces, size = [], 0
    for letter in text[:longest]:
        piece = _harmless(letter)
        size += len(piece.encode())
        if size > 2 * longest:
            break
        pieces.append(piece)
    more = len(text) - len(pieces)
    return "".join(pieces) + (f" … ({more:,} letters more)" if more else "")


def _harmless(text: str) -> str:
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else f"\\u{{{ord(letter):x}}}" for letter in text)
    return escape(text, quote=True)


def said(text: str, longest: int = _LONGEST) -> Raw:
    """A stranger's text within a sentence: its direction of writing does not spread."""
    return Raw(f"<bdi>{esc(text, longest)}</bdi>")


def code(text: str, longest: int = _LONGEST) -> Raw:
    """A hash, a key, an id: in letters of one width. A short one stays on its line."""
    kind = ' class="short"' if len(text) <= _SHORT else ""
    return Raw(f"<code{kind}>{esc(text, longest)}</code>")


def who(account: str) -> Raw:
    """An account, or a dash."""
    return Raw(esc(account, NAME) or "–")


def word(text: str) -> Raw:
    """A kind, a status, a code; or a dash."""
    return Raw(esc(text, WORD) or "–")


def right(text: str) -> Raw:
    """A number that is a text already (or one with its unit), on the right like other numbers."""
    return Raw(f"{_RIGHT}{esc(text, 60)}</span>")


def line(text: str) -> Raw:
    """A short text that stays on its line."""
    return Raw(f'<span class="line">{esc(text, 60)}</span>')


def wide(text: str) -> Raw:
    """A long text that takes its room in a table."""
    return Raw(f'<span class="words">{esc(text)}</span>')


def some(texts: Sequence[str], most: int) -> Raw:
    """The first of several texts, and how many more there are."""
    if not texts:
        return Raw("–")
    more = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return Raw(esc(", ".join(texts[:most]), LIST) + more)


def minutes(blocks: int) -> str:
    """So many blocks, in minutes with one decimal."""
    tenths = (blocks * BLOCK_SECONDS * 10 + 30) // 60
    return f"{tenths // 10:,}.{tenths % 10}"


def lasting(blocks: int) -> str:
    """So many blocks, in the unit that suits."""
    seconds = blocks * BLOCK_SECONDS
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            tenths = seconds * 10 // size
            return f"{tenths // 10:,}" + (f".{tenths % 10}" if tenths % 10 else "") + f" {unit}"
    return f"{seconds:,} s"


def percent(part: int, whole: int) -> str:
    """A share, never rounded up: 100 % is all of it."""
    if not whole:
        return "–"
    tenths = part * 1_000 // whole
    return f"{tenths // 10}.{tenths % 10} %"


def units(amount: int) -> str:
    """Smallest units as an amount with three decimals."""
    sign, size = ("-", -amount) if amount < 0 else ("", amount)
    return f"{sign}{size // 1_000:,}.{size % 1_000:03}"


def left_out(shown: int, count: int, what: str, but: str = "the verdict as JSON has them") -> str:
    """A sentence where a table does not hold everything, else nothing."""
    if shown >= count:
        return ""
    return f"{count - shown:,} of {count:,} {what} are left out here; {but}."


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    note: str = "",
    empty: str = "none.",
    fold: bool = True,
) -> str:
    """A table, folded if it is long. The first cell of a row is its name."""
    lines = list(rows)
    if not lines:
        return f'<p class="none"><b>{escape(caption)}:</b> {escape(empty)}</p>'
    body = [_row(row) for row in lines]
    head = "".join(_head(text, cell) for text, cell in zip(heads, lines[0], strict=True))
    told = f'<p class="note">{escape(note)}</p>' if note else ""
    inner = (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>"
        + "\n".join(body)
        + f"</tbody></table></div>{told}"
    )
    if not fold or len(body) <= _FOLDED:
        return inner
    return f"<details><summary>{escape(caption)} ({plural(len(body), 'row')})</summary>{inner}</details>"


def _head(text: str, below: Cell) -> str:
    numbers = isinstance(below, int) or below.startswith(_RIGHT)
    kind = ' class="num"' if numbers else ""
    return f'<th scope="col"{kind}>{escape(text)}</th>'


def _row(cells: Sequence[Cell]) -> str:
    name, *others = cells
    return f'<tr><th scope="row">{_cell(name)}</th>' + "".join(_data(cell) for cell in others) + "</tr>"


def _data(cell: Cell) -> str:
    return f'<td class="num">{cell:,}</td>' if isinstance(cell, int) else f"<td>{_cell(cell)}</td>"


def _cell(cell: Cell) -> str:
    if isinstance(cell, int):
        return f"{cell:,}"
    return cell if isinstance(cell, Raw) else esc(cell)


def facts(pairs: Iterable[tuple[str, Cell]]) -> str:
    """Names and values, one below the other."""
    return '<dl class="facts">' + "".join(f"<dt>{escape(k)}</dt><dd>{_cell(v)}</dd>" for k, v in pairs) + "</dl>"


def section(name: str, title: str, lead: str, *parts: str) -> str:
    """A part of the page: a heading, one sentence that says what one sees, and that."""
    inner = "\n".join(part for part in parts if part)
    return (
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{escape(title)}</h2>'
        f'<p class="lead">{escape(lead)}</p>\n{inner}\n</section>\n'
    )


def note(text: str) -> str:
    """A remark in small letters, or nothing."""
    return f'<p class="note">{escape(text)}</p>' if text else ""
