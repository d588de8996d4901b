"""How the benchmarks measure and print: several runs, the median, what is wanted."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Row(NamedTuple):
    """One figure: its median and spread over the runs, and what the project wants."""

    name: str
    median: float
    low: float
    high: float
    unit: str
    wanted: str
    met: bool


def rate(name: str, count: int, work: Callable[[], object], wanted: float, *, runs: int = 5) -> Row:
    """``count`` pieces of work a call of ``work``: pieces a second."""
    figures = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        figures.append(count / (time.perf_counter() - begun))
    return of(name, figures, "/s", wanted, higher=True)


def of(name: str, figures: list[float], unit: str, wanted: float, *, higher: bool) -> Row:
    """A row of figures measured elsewhere."""
    median = statistics.median(figures)
    met = median >= wanted if higher else median <= wanted
    sign = ">=" if higher else "<="
    return Row(name, median, min(figures), max(figures), unit, f"{sign} {wanted:,g}{unit}", met)


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(title="Waggle benchmarks (medians)")
    for column in ("what", "median", "min", "max", "wanted", ""):
        table.add_column(column, justify="left" if column in ("what", "") else "right")
    for row in rows:
        figures = [f"{figure:,.1f}{row.unit}" for figure in (row.median, row.low, row.high)]
        table.add_row(row.name, *figures, row.wanted, "met" if row.met else "MISSED")
    Console(width=150).print(table)
