"""`waggle sim`."""

import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from node.cli.progress import progress
from node.sim.long_plan import draw_long
from node.sim.plan import KINDS, OBSERVED, Plan, draw
from node.sim.recording import record
from node.sim.running import Done, Summary, code_name, keep, kept_file, load_kept, run_seeds, write_report
from node.sim.shrink import only, shrink
from node.sim.world import run

#: Of the timeline of a long world that failed.
_LAST_LINES = 60


@click.command()
@click.option("--seeds", default=30, show_default=True, type=click.IntRange(1), help="How many seeds.")
@click.option("--first-seed", default=1, show_default=True, type=click.IntRange(0), help="The first of them.")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1, 256), help="Processes beside each other.")
@click.option("--seconds", type=click.IntRange(1), help="Begin no new seed after so many seconds ...")
@click.option("--at-least", default=0, type=click.IntRange(0), help="... unless fewer than this were begun.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the summary here, and each seed's result beside it (NAME.seeds.jsonl).",
)
@click.option("--resume", is_flag=True, help="Take what is kept beside the report, if the same code made it.")
@click.option("--seed", type=click.IntRange(0), help="Replay one seed and print its timeline.")
@click.option("--only", "kept", help="With --seed: only these of its faults, by number (3,17), or none.")
@click.option("--shrink", "shrinks", is_flag=True, help="With --seed: cut its faults down to few that still fail.")
@click.option(
    "--save",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --seed: write the plan that was run, for --plan or a test.",
)
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Replay a plan that --save wrote: it stays the same when what seeds draw changes.",
)
@click.option(
    "--record",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --seed: one long history into this new folder, an archive for waggle replay, and what is true of it.",
)
@click.option("--blocks", type=click.IntRange(100), help="With --record: so many at least; 100,000 if left out.")
@click.option("--nodes", type=click.IntRange(5, 20), help="With --record: so many members; 9 if left out.")
@click.option("--json", "as_json", is_flag=True, help="The last line on standard output is a summary for machines.")
def sim(
    seeds: int,
    first_seed: int,
    jobs: int,
    seconds: int | None,
    at_least: int,
    report: Path | None,
    resume: bool,
    seed: int | None,
    kept: str | None,
    shrinks: bool,
    save: Path | None,
    plan_file: Path | None,
    folder: Path | None,
    blocks: int | None,
    nodes: int | None,
    as_json: bool,
) -> None:
    """Run whole groups under injected faults, each from a seed, and check at every block that nothing is lost.

    A seed draws a group, its parameters and a schedule of faults; the same seed gives the same run to the byte. Exit 1
    if an invariant does not hold; the seed that shows it can be replayed and cut down.

    \b
    Example:  waggle sim --seeds 100
              waggle sim --seed 17
              waggle sim --seed 17 --shrink
              waggle sim --seed 17 --record history
    """
    if seed is None and plan_file is None and (kept or shrinks or save):
        raise click.UsageError("--only, --shrink and --save need --seed: which seed is it?")
    if folder is None and (blocks or nodes):
        raise click.UsageError("--blocks and --nodes need --record: the folder of a history")
    if resume and report is None:
        raise click.UsageError("--resume needs --report: beside it lie the results to go on from")
    console = Console(stderr=as_json)
    if folder is not None:
        if seed is None or plan_file or kept or shrinks or save or report:
            raise click.UsageError("--record needs --seed, and beside it only --blocks and --nodes")
        sys.exit(_record(console, draw_long(seed, blocks or 100_000, nodes or 9), folder, as_json))
    if seed is not None or plan_file is not None:
        plan = draw(seed) if seed is not None else _load(plan_file)
        sys.exit(_one(console, plan, _places(plan, kept), shrinks, save, as_json))
    if report is not None:
        _must_be_writable(report)
    limit = _limit(seconds, at_least)
    sys.exit(_many(console, range(first_seed, first_seed + seeds), jobs, limit, report, resume, as_json))


# -- one seed


def _load(path: Path | None) -> Plan:
    """A plan that was saved."""
    assert path is not None
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Saved).plan
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{path} holds no plan ({error}): write one with --seed S --save {path}") from error


class _Saved(msgspec.Struct):
    """A plan with what it shows."""

    what: str
    invariant: str
    plan: Plan


def _places(plan: Plan, kept: str | None) -> list[int]:
    """The faults to keep, by number in the list below the timeline."""
    count = len(plan.faults)
    if kept is None:
        return list(range(count))
    try:
        places = [int(word) for word in kept.split(",")] if kept != "none" else []
    except ValueError:
        raise click.UsageError(f"--only {kept!r}: numbers with commas between them, as in 3,17") from None
    wrong = [place for place in places if not 0 <= place < count]
    if wrong:
        known = f"faults 0 to {count - 1}" if count else "no faults"
        raise click.UsageError(f"--only: seed {plan.seed} has {known}, not {wrong[0]}")
    return sorted(set(places))


def _one(console: Console, plan: Plan, places: list[int], shrinks: bool, save: Path | None, as_json: bool) -> int:
    if shrinks:
        try:
            places = [
                places[n] for n in shrink(only(plan, places), lambda words: console.print(words, highlight=False))
            ]
        except ValueError as error:
            raise click.ClickException(f"seed {plan.seed}: {error}") from error
    kept = only(plan, places)
    outcome = run(kept)
    for line in outcome.timeline:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    _describe(console, plan, places)
    if outcome.ok:
        console.print(f"[green]every invariant held[/green] over {outcome.blocks} blocks")
    else:
        console.print(f"[red]{outcome.invariant}[/red] in slot {outcome.slot}:", soft_wrap=True)
        console.print(outcome.detail, markup=False, highlight=False, soft_wrap=True)
        some = len(places) < len(plan.faults)
        numbers = ",".join(map(str, places)) or "none"
        again = f"waggle sim --seed {plan.seed}" + (f" --only {numbers}" if some else "")
        console.print(f"again:    {again}" + ("" if shrinks else f"\nsmaller:  {again} --shrink"), soft_wrap=True)
    if save is not None:
        saved = _Saved("say here in one line what it was", outcome.invariant, kept)
        save.write_bytes(msgspec.json.format(msgspec.json.encode(saved), indent=1) + b"\n")
    if as_json:
        found = {"seed": plan.seed, "ok": outcome.ok, "invariant": outcome.invariant, "detail": outcome.detail}
        click.echo(json.dumps({**found, "faults": places, "digest": outcome.digest}))
    return 0 if outcome.ok else 1


def _describe(console: Console, plan: Plan, places: list[int]) -> None:
    head = f"\nseed {plan.seed}: {plan.runners} runners, {plan.spares} more members, traitors {list(plan.traitors)}"
    console.print(f"{head}, quiet from slot {plan.quiet} of {plan.slots}", markup=False, highlight=False)
    settings = " ".join(f"{name}={value}" for name, value in plan.parameters.items())
    console.print(settings, markup=False, highlight=False)
    for place in places:
        fault = plan.faults[place]
        when = f"slots {fault.slot} to {fault.until}"
        words = f"  {place:3} {fault.kind}: {KINDS[fault.kind].what} ({when}) {fault.who}"
        console.print(words, markup=False, highlight=False, soft_wrap=True)


# -- a long history


def _record(console: Console, plan: Plan, folder: Path, as_json: bool) -> int:
    begun = time.monotonic()
    with progress("recording", plan.slots, quiet=as_json, unit="slots") as advance:
        outcome, told = record(plan, folder, advance)
    kinds = Counter(one.kind for one in told.findings)
    words = f"blocks {told.first} to {told.height} in {time.monotonic() - begun:.0f} s, {len(plan.faults)} faults drawn"
    console.print(f"{folder}: {words}", highlight=False, soft_wrap=True)
    console.print(f"an auditor must find: {dict(sorted(kinds.items()))}", highlight=False, soft_wrap=True)
    if not outcome.ok:
        for line in (*outcome.timeline[-_LAST_LINES:], f"{outcome.invariant} in slot {outcome.slot}:", outcome.detail):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if as_json:
        found = {"seed": plan.seed, "ok": outcome.ok, "invariant": outcome.invariant, "detail": outcome.detail}
        click.echo(json.dumps({**found, "blocks": told.height - told.first + 1, "digest": outcome.digest}))
    return 0 if outcome.ok else 1


# -- many seeds


def _must_be_writable(report: Path) -> None:
    """Before hours of work, not after."""
    try:
        report.parent.mkdir(parents=True, exist_ok=True)
        with open(kept_file(report), "ab"), open(report, "a"):
            pass
    except OSError as error:
        raise click.ClickException(f"{report}: {error.strerror}: name a file that can be written") from error


def _limit(seconds: int | None, at_least: int) -> Callable[[int], bool]:
    until = time.monotonic() + seconds if seconds is not None else None
    return lambda started: until is None or started < at_least or time.monotonic() < until


def _many(
    console: Console,
    seeds: range,
    jobs: int,
    go_on: Callable[[int], bool],
    report: Path | None,
    resume: bool,
    as_json: bool,
) -> int:
    code = code_name()
    summary = Summary()
    known = load_kept(report, code) if report is not None and resume else {}
    for seed in seeds:
        if seed in known:
            summary.add(known[seed])
    begun = time.monotonic()
    left: Iterator[int] = (seed for seed in seeds if seed not in known)
    with _progress(console, seeds, summary.seeds) as tick:
        for done in run_seeds(left, jobs, code, go_on=go_on):
            summary.add(done)
            if report is not None:
                keep(report, done)
            tick(done, summary)
    document = summary.document(code, time.monotonic() - begun)
    if known:
        # a rate of seeds that this run did not make would be none
        document["seeds_per_second"] = round((summary.seeds - len(known)) / max(document["seconds"], 0.1), 2)
    if report is not None:
        write_report(report, document)
    _tell(console, document)
    if as_json:
        click.echo(json.dumps(document))
    return 0 if document["ok"] else 1


class _Ticker:
    """The progress bar, and each failure as it comes."""

    def __init__(self, progress: Progress, total: int, before: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total, completed=before)
        self._begun = time.monotonic()
        self._here = itertools.count(1)

    def __call__(self, done: Done, summary: Summary) -> None:
        rate = next(self._here) / max(0.001, time.monotonic() - self._begun)
        faults = sum(summary.injected.values())
        words = f"{rate:.2f} seeds/s, {faults} faults, {len(summary.failed)} seeds failed"
        self._progress.update(self._task, advance=1, description=words)
        if not done.outcome.ok:
            line = f"seed {done.outcome.seed} failed: {done.outcome.invariant}: {done.outcome.detail[:300]}"
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _progress(console: Console, seeds: range, before: int) -> Iterator[_Ticker]:
    """The bar while the block runs."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        yield _Ticker(progress, len(seeds), before)


def _tell(console: Console, document: dict[str, Any]) -> None:
    table = Table(box=None, header_style="bold")
    for column in ("fault", "injected", "survived", ""):
        table.add_column(column, justify="right" if column in ("injected", "survived") else "left")
    words = {kind: how.what for kind, how in KINDS.items()} | OBSERVED
    for kind, count in document["faults"].items():
        table.add_row(kind, str(count), str(document["survived"].get(kind, 0)), words.get(kind, ""))
    console.print(table)
    counts = ", ".join(f"{number} {name}" for name, number in document["counts"].items())
    console.print(
        f"{document['seeds']} seeds, {document['blocks']} blocks, {document['node_blocks']} applied by nodes; "
        f"{counts}; {document['seeds_per_second']} seeds/s",
        soft_wrap=True,
        highlight=False,
    )
    for failed in document["failed"]:
        words_of = f"seed {failed['seed']} failed: {failed['invariant']}   waggle sim --seed {failed['seed']} --shrink"
        console.print(words_of, style="red", markup=False, soft_wrap=True)
    if document["ok"]:
        console.print("[green]every invariant held in every seed[/green]")
