"""How far a long command has come, told on standard error: a bar to a person, a line now and then to a file."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

#: Seconds between two lines where nobody watches, and between two changes of the bar where somebody does.
EVERY, _SHOWN = 10.0, 0.1

#: Told how many of them are done, from 0 to the total.
Advance = Callable[[int], None]


class _Pace:
    """What is said of a number: the count, the rate, the time that remains."""

    def __init__(self, total: int, unit: str) -> None:
        self._total = total
        self._unit = unit
        self._begun = time.monotonic()

    def words(self, done: int) -> str:
        rate = done / max(0.001, time.monotonic() - self._begun)
        left = f", {_duration((self._total - done) / rate)} left" if 0 < done < self._total else ""
        return f"{done:,} of {self._total:,} {self._unit}, {rate:,.0f}/s{left}"


@contextmanager
def progress(words: str, total: int, *, quiet: bool = False, unit: str = "blocks") -> Iterator[Advance]:
    """Says how far ``words`` has come of ``total``; call what is yielded with how many are done.

    To a terminal a bar; else a line every 10 seconds and none for what is done before; nothing if ``quiet``.
    """
    console = Console(stderr=True)
    if quiet:
        yield lambda done: None
    elif console.is_terminal:
        with _bar(console, words, total, unit) as advance:
            yield advance
    else:
        yield _lines(words, _Pace(total, unit))


@contextmanager
def _bar(console: Console, words: str, total: int, unit: str) -> Iterator[Advance]:
    pace = _Pace(total, unit)
    columns = (TextColumn(escape(words)), BarColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=max(1, total))
        shown_at = 0.0

        def advance(done: int) -> None:
            nonlocal shown_at
            now = time.monotonic()
            if now - shown_at >= _SHOWN or done >= total:
                shown_at = now
                bar.update(task, completed=done, description=pace.words(done))

        yield advance


def _lines(words: str, pace: _Pace) -> Advance:
    told_at = time.monotonic()

    def advance(done: int) -> None:
        nonlocal told_at
        now = time.monotonic()
        if now - told_at >= EVERY:
            told_at = now
            click.echo(f"{words}: {pace.words(done)}", file=sys.stderr)

    return advance


def _duration(seconds: float) -> str:
    """A time as a person reads it: 12 s, 3 min 20 s, 5 h 10 min, 2 d 3 h."""
    whole = int(seconds + 0.5)
    for size, name, part, below in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // part} {below}"
    return f"{whole} s"
