"""Many seeds: in processes beside each other, each result kept as it comes, and a summary at the end."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec

import node
import processors
import state
from node.sim.outcome import Outcome
from node.sim.plan import draw
from node.sim.world import run

_IN_LINE = 3  # seeds that wait beside each process


class Done(msgspec.Struct, frozen=True):
    """The result of a seed as it is kept: one line of JSON. ``code`` names the code that ran it."""

    outcome: Outcome
    seconds: float
    code: str


def code_name() -> str:
    """A name of the code: two runs of a seed are alike if it is the same."""
    digest = sha256()
    for package in (node, processors, state):
        folder = Path(next(iter(package.__path__)))
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def run_seed(seed: int) -> tuple[Outcome, float]:
    """(what became of a seed, without its timeline; the processor's seconds)."""
    begun = time.process_time()
    outcome = msgspec.structs.replace(run(draw(seed)), timeline=())
    return outcome, time.process_time() - begun


def run_seeds(
    seeds: Iterator[int], jobs: int, code: str, *, go_on: Callable[[int], bool] = lambda started: True
) -> Iterator[Done]:
    """Run seeds in ``jobs`` processes, in whatever order they end; no new one once ``go_on(started)`` is false."""
    started = 0
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running: set[Future[tuple[Outcome, float]]] = set()
        try:
            while True:
                while len(running) < jobs * _IN_LINE and go_on(started):
                    seed = next(seeds, None)
                    if seed is None:
                        break
                    started += 1
                    running.add(pool.submit(run_seed, seed))
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    outcome, seconds = future.result()
                    yield Done(outcome, round(seconds, 3), code)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


# -- keeping


def kept_file(report: Path) -> Path:
    """Where the results of single seeds lie, beside a report."""
    return report.with_suffix(".seeds.jsonl")


def load_kept(report: Path, code: str) -> dict[int, Done]:
    """Results of this very code; a line that was torn is left out."""
    path = kept_file(report)
    found: dict[int, Done] = {}
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            done = msgspec.json.decode(line, type=Done)
        except msgspec.MsgspecError:
            continue
        if done.code == code:
            found[done.outcome.seed] = done
    return found


def keep(report: Path, done: Done) -> None:
    """Add a result; what a crash left of a line before it ends there."""
    with open(kept_file(report), "a+b") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 1))
        torn = file.read(1) not in (b"", b"\n")
        file.write(b"\n" * torn + msgspec.json.encode(done) + b"\n")


# -- summing up


class Summary:
    """Sums over seeds."""

    def __init__(self) -> None:
        self.seeds = 0
        self.blocks = 0
        self.node_blocks = 0
        self.seconds = 0.0
        self.injected: dict[str, int] = {}
        self.survived: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self.failed: list[Outcome] = []

    def add(self, done: Done) -> None:
        """One more seed."""
        outcome = done.outcome
        self.seeds += 1
        self.blocks += outcome.blocks
        self.node_blocks += outcome.node_blocks
        self.seconds += done.seconds
        for total, part, counted in (
            (self.injected, outcome.faults, True),
            (self.survived, outcome.faults, outcome.ok),
            (self.counts, outcome.counts, True),
        ):
            for name, number in part.items():
                total[name] = total.get(name, 0) + number * counted
        if not outcome.ok:
            self.failed.append(outcome)

    def document(self, code: str, wall: float) -> dict[str, Any]:
        """For machines."""
        return {
            "ok": not self.failed,
            "code": code,
            "seeds": self.seeds,
            "blocks": self.blocks,
            "node_blocks": self.node_blocks,
            "seconds": round(wall, 1),
            "seeds_per_second": round(self.seeds / wall, 2) if wall else 0,
            "processor_seconds": round(self.seconds, 1),
            "faults": dict(sorted(self.injected.items())),
            "survived": dict(sorted(self.survived.items())),
            "counts": self.counts,
            "failed": [
                {"seed": outcome.seed, "invariant": outcome.invariant, "detail": outcome.detail}
                for outcome in sorted(self.failed, key=lambda outcome: outcome.seed)
            ],
        }


def write_report(report: Path, document: dict[str, Any]) -> None:
    """The summary as a file."""
    report.write_text(json.dumps(document, indent=1) + "\n")
