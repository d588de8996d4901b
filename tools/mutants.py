"""Breaks the rules of tests/mutants.toml one at a time and says which test or which simulated seed notices.

Each mutant gets a copy of the tree in a temporary folder. There the tests that it hints at run first, then the
simulation, then the whole suite, until one of them fails: the mutant is killed. What passes them all has survived,
and names a test that is missing. Before the first mutant the same stages must pass on the tree as it is.

Run as ``python -m tools.mutants``; exit 1 when a mutant survived, 2 when the list or the tree itself is wrong.

Example: python -m tools.mutants --section 8 --seeds 10 --results mutants.jsonl --resume
"""

import argparse
import ast
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "tests" / "mutants.toml"
STAGES = ("hints", "sim", "suite")
#: The test of the list itself: a mutated file no longer holds what the list looks for.
OWN_TEST = "tests/test_mutants.py"
PYTEST = ("-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider")
PASSED, FAILED, BROKEN = 0, 1, 2  # exit codes; BROKEN of pytest: a test file could not even be imported


class ToolError(Exception):
    """Nothing can be learned from this run; the message says why."""


class StoppedError(Exception):
    """The user wants an end."""


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One rule, broken: ``find`` stands exactly once in ``file``."""

    id: str
    section: str
    what: str
    file: str
    find: str
    replace: str
    hint: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """What an earlier result must agree with to speak of this mutant."""
        return hashlib.sha256(json.dumps([self.file, self.find, self.replace]).encode()).hexdigest()[:16]

    def mutated(self, root: pathlib.Path) -> str:
        """The text of the broken file. Raises ToolError."""
        text = (root / self.file).read_text()
        if text.count(self.find) != 1:
            raise ToolError(f"{self.id}: find stands {text.count(self.find)} times in {self.file}, not once")
        found = text.replace(self.find, self.replace)
        try:
            same = ast.dump(ast.parse(found)) == ast.dump(ast.parse(text))
        except SyntaxError as error:
            raise ToolError(f"{self.id}: {self.file} is no Python any more: {error}") from error
        if same:
            raise ToolError(f"{self.id}: the mutant changes no code in {self.file}")
        return found


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What one stage said: whether it failed, what failed in it, and the seconds that it took."""

    stage: str
    killed: bool
    by: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class Options:
    """How far to go: which stages in which order, how many seeds, and after how many seconds a stage hangs."""

    stages: tuple[str, ...]
    seeds: int
    timeouts: dict[str, float]


def load(path: pathlib.Path = LIST) -> list[Mutant]:
    """The list, in its order. Raises ToolError."""
    try:
        raw = tomllib.loads(path.read_text())["mutant"]
        return [Mutant(**{**entry, "hint": tuple(entry["hint"])}) for entry in raw]
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise ToolError(f"{path}: {error}") from error


# -- processes


class Processes:
    """Those that run now: killed with all their children at a timeout, and at the end."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self.stopped = False

    def run(self, arguments: list[str], cwd: pathlib.Path, timeout: float) -> tuple[int | None, str, str]:
        """(exit code, or None at a timeout; output; errors). Raises StoppedError."""
        with self._lock:
            if self.stopped:
                raise StoppedError
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=cwd,
                env={**os.environ, "PYTHONPATH": str(cwd), "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,  # so that its children can be killed with it
            )
            self._running.add(process)
        code: int | None = None
        try:
            out, errors = process.communicate(timeout=timeout)
            code = process.returncode
        except subprocess.TimeoutExpired:
            kill(process)
            out, errors = process.communicate()
        finally:
            kill(process)  # what a test left behind
            with self._lock:
                self._running.discard(process)
        if self.stopped:
            raise StoppedError
        return code, out, errors

    def stop(self) -> None:
        """Kill everything; nothing new starts."""
        with self._lock:
            self.stopped = True
            for process in self._running:
                kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """End a process and the children of its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


# -- the copy


def snapshot(target: pathlib.Path) -> None:
    """Copy what git knows of the tree, changed and new files too, to ``target``. Raises ToolError."""
    listing = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError) as error:
        raise ToolError(f"{' '.join(listing)}: {error}") from error
    for name in sorted(set(filter(None, names))):
        if (ROOT / name).is_file():  # git names deleted files too
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def check_imports(copy: pathlib.Path, processes: Processes) -> None:
    """The project is installed too: make sure that it is the copy which is tested. Raises ToolError."""
    code = "import node.core, processors.engine, state.state as s; print(node.core.__file__)"
    code += "; print(processors.engine.__file__); print(s.__file__)"
    _, out, errors = processes.run(["-c", code], copy, 60)
    files = out.split()
    if len(files) != 3 or not all(pathlib.Path(file).is_relative_to(copy) for file in files):
        raise ToolError(f"not the copy in {copy} is imported, but {files or errors[-500:]}")


# -- stages


def run_stage(
    stage: str, copy: pathlib.Path, hints: tuple[str, ...], options: Options, processes: Processes
) -> Verdict | None:
    """One stage in a copy; None if there is no such stage in this tree. Raises ToolError, StoppedError."""
    if stage == "sim" and not (copy / "node" / "sim").is_dir():
        return None
    if stage == "sim":
        seeds = str(options.seeds)
        arguments = ["-m", "node.cli", "sim", "--seeds", seeds, "--first-seed", "1", "--jobs", "1", "--json"]
    else:
        arguments = [*PYTEST, *(hints if stage == "hints" else ("tests",)), f"--deselect={OWN_TEST}"]
    began = time.monotonic()
    code, out, errors = processes.run(arguments, copy, options.timeouts[stage])
    seconds = time.monotonic() - began
    if code == PASSED:
        return Verdict(stage, False, "", seconds)
    if code is None:
        return Verdict(stage, True, f"{stage}: timeout after {options.timeouts[stage]:.0f} s", seconds)
    if code < 0:
        return Verdict(stage, True, f"{stage}: ended by signal {-code}", seconds)
    by = what_failed_in_the_simulation(code, out, errors) if stage == "sim" else what_failed(code, out)
    if not by:
        raise ToolError(f"{' '.join(arguments)}: exit {code}, which says nothing:\n{(out + errors)[-2000:]}")
    return Verdict(stage, True, by, seconds)


def what_failed(code: int, out: str) -> str:
    """The test that failed, or the file that could not be imported; "" if pytest itself did not run."""
    if code not in (FAILED, BROKEN):
        return ""
    for line in out.splitlines():
        word, _, rest = line.partition(" ")
        if word in ("FAILED", "ERROR") and rest.startswith("tests"):
            return ("" if word == "FAILED" else "error in ") + rest.partition(" - ")[0]
    return "a test that pytest does not name" if code == FAILED else ""


def what_failed_in_the_simulation(code: int, out: str, errors: str) -> str:
    """Seed and invariant of the first failure; a crash of the simulation itself counts as one."""
    if code == BROKEN:  # the command line itself was not understood
        return ""
    try:
        failed = json.loads(out.splitlines()[-1])["failed"]
        more = f" (and {len(failed) - 1} more seeds)" if len(failed) > 1 else ""
        return f"seed {failed[0]['seed']}: {failed[0]['invariant']}{more}"
    except (ValueError, KeyError, IndexError, TypeError):
        last = errors.strip().splitlines()
        return f"the simulation broke: exit {code} {last[-1][:120] if last else ''}".rstrip()


def judge(mutant: Mutant, pristine: pathlib.Path, options: Options, processes: Processes) -> list[Verdict]:
    """Break one rule in a copy of its own; the stages that ran, the last one killed it or none did."""
    found: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True) as folder:
        copy = pathlib.Path(folder).resolve() / "tree"
        shutil.copytree(pristine, copy)
        (copy / mutant.file).write_text(mutant.mutated(copy))
        for stage in options.stages:
            verdict = run_stage(stage, copy, mutant.hint, options, processes)
            if verdict is not None:
                found.append(verdict)
                if verdict.killed:
                    break
    return found


def check_baseline(mutants: list[Mutant], pristine: pathlib.Path, options: Options, processes: Processes) -> None:
    """What fails without any mutant would kill every one. Raises ToolError."""
    hints = tuple(sorted({hint for mutant in mutants for hint in mutant.hint}))
    for stage in options.stages:
        patient = Options(options.stages, options.seeds, {name: 10 * limit for name, limit in options.timeouts.items()})
        verdict = run_stage(stage, pristine, hints, patient, processes)
        if verdict is None:
            print("sim: there is no node/sim in this tree, the stage is skipped", flush=True)
        elif verdict.killed:
            raise ToolError(f"the tree fails without any mutant: {verdict.by}")
        else:
            print(f"baseline: {stage} pass in {verdict.seconds:.0f} s", flush=True)


# -- results


def record_of(mutant: Mutant, verdicts: list[Verdict], options: Options) -> dict[str, Any]:
    """One line of the results."""
    killer = next((verdict for verdict in verdicts if verdict.killed), None)
    return {
        "id": mutant.id,
        "section": mutant.section,
        "fingerprint": mutant.fingerprint,
        "outcome": "killed" if killer else "survived",
        "stage": killer.stage if killer else "",
        "by": killer.by if killer else "",
        "stages": [verdict.stage for verdict in verdicts],
        "hint": list(mutant.hint),
        "seeds": options.seeds,
        "seconds": round(sum(verdict.seconds for verdict in verdicts), 1),
    }


def earlier_results(path: pathlib.Path, mutants: list[Mutant], options: Options) -> dict[str, dict[str, Any]]:
    """Results that still hold: the mutant is the same, and a survivor survived no less than is asked for now."""
    known = {mutant.id: mutant for mutant in mutants}
    found: dict[str, dict[str, Any]] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a line torn by a crash
            entry = json.loads(line)
            mutant = known[entry["id"]]
            as_far = set(options.stages) <= set(entry["stages"]) and options.seeds <= entry["seeds"]
            done = entry["outcome"] == "killed" or (as_far and entry["hint"] == list(mutant.hint))
            if mutant.fingerprint == entry["fingerprint"] and done:
                found[entry["id"]] = entry
    return found


def show(entry: dict[str, Any]) -> str:
    """One result as a line."""
    by = entry["by"] or f"SURVIVED {', '.join(entry['stages']) or 'nothing: no stage ran'}"
    return f"{entry['section']:>4}  {entry['id']:<36} {entry['seconds']:>7.1f} s  {by}"


def results_of(
    mutants: list[Mutant], pristine: pathlib.Path, options: Options, jobs: int, processes: Processes
) -> Iterator[dict[str, Any]]:
    """Results as they come. Raises ToolError, StoppedError, KeyboardInterrupt; nothing runs any more then."""
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        waiting: dict[Future[list[Verdict]], Mutant] = {
            pool.submit(judge, mutant, pristine, options, processes): mutant for mutant in mutants
        }
        try:
            while waiting:
                done, _ = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
                for future in done:
                    yield record_of(waiting.pop(future), future.result(), options)
        finally:
            processes.stop()
            pool.shutdown(wait=True, cancel_futures=True)


def arguments_of(given: list[str] | None) -> argparse.Namespace:
    """The command line."""
    about, _, example = (__doc__ or "").partition("Example: ")
    parser = argparse.ArgumentParser(
        prog="python -m tools.mutants",
        description=about,
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", metavar="ID[,ID]", help="these mutants")
    parser.add_argument("--section", default="", metavar="S", help="the mutants of one section of the protocol")
    parser.add_argument("--stages", default=",".join(STAGES), help="which stages, in order (default: %(default)s)")
    parser.add_argument("--sim-first", action="store_true", help="the simulation before the hints")
    parser.add_argument("--seeds", type=int, default=30, metavar="N", help="seeds to simulate (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="mutants at a time (default: %(default)s)")
    for stage, seconds in zip(STAGES, (300, 1200, 1800), strict=True):
        text = f"seconds after which {stage} hang: the mutant counts as killed (default: %(default)s)"
        parser.add_argument(f"--{stage}-timeout", type=float, default=seconds, metavar="SECONDS", help=text)
    parser.add_argument("--results", type=pathlib.Path, metavar="FILE", help="append each result as a line of JSON")
    parser.add_argument("--resume", action="store_true", help="skip mutants whose result stands in FILE already")
    parser.add_argument("--no-baseline", action="store_true", help="do not run the stages without a mutant first")
    parser.add_argument("--list", action="store_true", help="show the mutants and run nothing")
    parser.add_argument("--json", action="store_true", help="a last line of JSON that sums up")
    return parser.parse_args(given)


def chosen(args: argparse.Namespace) -> tuple[list[Mutant], Options]:
    """The mutants that the command line names, each fit to run, and the options. Raises ToolError."""
    only = set(filter(None, args.only.split(",")))
    mutants = load()
    if unknown := only - {mutant.id for mutant in mutants}:
        raise ToolError(f"no such mutant: {', '.join(sorted(unknown))}; --list names them all")
    mutants = [m for m in mutants if (not only or m.id in only) and args.section in ("", m.section)]
    stages = tuple(filter(None, args.stages.split(",")))
    if not stages or not set(stages) <= set(STAGES):
        raise ToolError(f"--stages {args.stages}: some of {','.join(STAGES)}")
    if args.sim_first and "sim" in stages:
        stages = ("sim", *(stage for stage in stages if stage != "sim"))
    if args.resume and args.results is None:
        raise ToolError("--resume needs --results FILE")
    if args.jobs < 1 or args.seeds < 1 or not mutants:
        raise ToolError("there is nothing to do: --jobs and --seeds are at least 1, and some mutant must be named")
    return mutants, Options(stages, args.seeds, {stage: getattr(args, f"{stage}_timeout") for stage in STAGES})


def run(args: argparse.Namespace, processes: Processes) -> list[dict[str, Any]]:
    """Judge the chosen mutants; results in the order of the list. Raises ToolError."""
    mutants, options = chosen(args)
    found = earlier_results(args.results, mutants, options) if args.resume else {}
    left = [mutant for mutant in mutants if mutant.id not in found]
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        pristine = pathlib.Path(folder).resolve() / "tree"
        pristine.mkdir()
        snapshot(pristine)  # once: every mutant is one of the same tree, even if somebody goes on editing
        for mutant in left:
            mutant.mutated(pristine)
        check_imports(pristine, processes)
        if left and not args.no_baseline:
            check_baseline(left, pristine, options, processes)
        print(f"{len(left)} mutants to run, {len(found)} known from before; stages {', '.join(options.stages)}")
        for number, entry in enumerate(results_of(left, pristine, options, args.jobs, processes), 1):
            found[entry["id"]] = entry
            print(f"[{number}/{len(left)}] {show(entry)}", flush=True)
            if args.results is not None:
                with args.results.open("a") as file:
                    file.write(json.dumps(entry) + "\n")
    return [found[mutant.id] for mutant in mutants]


def report(results: list[dict[str, Any]], as_json: bool) -> int:
    """The table at the end; 1 if a mutant survived."""
    survivors = [entry["id"] for entry in results if entry["outcome"] == "survived"]
    print()
    for entry in results:
        print(show(entry))
    by_stage = {stage: sum(entry["stage"] == stage for entry in results) for stage in STAGES}
    counts = ", ".join(f"{count} by {stage}" for stage, count in by_stage.items())
    print(f"\n{len(results)} mutants: {len(results) - len(survivors)} killed ({counts}), {len(survivors)} survived")
    if as_json:
        summary = {"mutants": len(results), "killed": len(results) - len(survivors), "survived": survivors}
        print(json.dumps({**summary, "by_stage": by_stage}))
    return 1 if survivors else 0


def interrupt(number: int, frame: object) -> None:
    """Both signals end the run by the same way, over every ``finally``."""
    raise KeyboardInterrupt


def main(given: list[str] | None = None) -> int:
    """The command."""
    args = arguments_of(given)
    processes = Processes()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)  # in the background a shell has SIGINT ignored: the end is tidy all the same
    try:
        if args.list:
            for mutant in chosen(args)[0]:
                print(f"{mutant.section:>4}  {mutant.id:<36} {mutant.what}")
            return 0
        return report(run(args, processes), args.json)
    except ToolError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, StoppedError):
        print("mutants: stopped", file=sys.stderr)
        return 130
    finally:
        processes.stop()


if __name__ == "__main__":
    sys.exit(main())
