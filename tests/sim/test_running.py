"""Many seeds: in processes, kept as they come, gone on with, summed up; and `waggle sim` around it."""

import json
import shlex
from concurrent.futures import Future

import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from node.cli import sim as cli
from node.sim import running
from node.sim.outcome import Outcome
from node.sim.plan import draw
from node.sim.running import Done, Summary, code_name, keep, kept_file, load_kept, run_seed, run_seeds, write_report

CODE = "c0de"
TORN = b'{"outcome":{"seed":7,"inva'


def outcome(seed, invariant="", **how):
    given = {"slot": 9, "blocks": 100, "node_blocks": 500, "nodes": 5, "faults": {}, "counts": {}, "digest": "d"}
    return Outcome(seed=seed, invariant=invariant, detail="so" if invariant else "", **{**given, **how})


def done(seed, invariant="", code=CODE, **how):
    return Done(outcome(seed, invariant, **how), 1.5, code)


# -- processes


class Pool:
    """A pool that runs what it is given when it is waited for; ``begun`` are the seeds in the order of submission."""

    begun = ()

    def __init__(self, jobs, mp_context):
        Pool.begun = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def submit(self, call, seed):
        Pool.begun.append(seed)
        future = Future()
        future.set_result((outcome(seed), 0.5))
        return future

    def shutdown(self, wait, cancel_futures):
        assert cancel_futures


def one_of(futures, return_when):
    first = min(futures, key=id)
    return {first}, futures - {first}


@pytest.fixture
def pool(monkeypatch):
    monkeypatch.setattr(running, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(running, "wait", one_of)
    return Pool


def test_seeds_run_in_processes_beside_each_other_as_they_run_alone():
    seeds = [seed for seed in range(1, 200) if draw(seed).members == 5 and draw(seed).slots == 600][:2]
    found = {each.outcome.seed: each for each in run_seeds(iter(seeds), 2, CODE)}
    assert sorted(found) == seeds
    for seed in seeds:
        assert found[seed].code == CODE
        assert found[seed].seconds > 0
        assert found[seed].outcome.timeline == ()
    alone, seconds = run_seed(seeds[0])
    assert alone == found[seeds[0]].outcome
    assert seconds > 0


def test_every_seed_is_run_once(pool):
    found = [each.outcome.seed for each in run_seeds(iter(range(50)), 3, CODE)]
    assert sorted(found) == list(range(50))
    assert pool.begun == list(range(50))


def test_no_seeds_give_no_results(pool):
    assert list(run_seeds(iter([]), 2, CODE)) == []


def test_few_seeds_wait_in_line(pool):
    results = run_seeds(iter(range(100)), 2, CODE)
    next(results)
    assert len(pool.begun) == 6


def test_no_seed_begins_after_the_word_to_stop_and_those_begun_end(pool):
    asked = []

    def go_on(started):
        asked.append(started)
        return started < 10

    found = list(run_seeds(iter(range(100)), 2, CODE, go_on=go_on))
    assert sorted(each.outcome.seed for each in found) == list(range(10))
    assert max(asked) == 10


# -- keeping


def test_what_is_kept_is_loaded_again(tmp_path):
    report = tmp_path / "report.json"
    results = [done(3, faults={"gap": 2}, counts={"agreed": 7}), done(5, "supply")]
    for each in results:
        keep(report, each)
    assert kept_file(report) == tmp_path / "report.seeds.jsonl"
    assert load_kept(report, CODE) == {3: results[0], 5: results[1]}


def test_nothing_is_kept_of_other_code(tmp_path):
    keep(tmp_path / "r", done(1, code="old"))
    keep(tmp_path / "r", done(2))
    assert list(load_kept(tmp_path / "r", CODE)) == [2]


def test_the_newest_result_of_a_seed_counts(tmp_path):
    keep(tmp_path / "r", done(1, "drift"))
    keep(tmp_path / "r", done(1))
    assert load_kept(tmp_path / "r", CODE)[1].outcome.ok


@pytest.mark.parametrize(
    "torn", [b'{"outcome":{"seed":7,"inva', b"", b"\xff\xfe", b"[]", b"null", b'{"code":"c0de"}', b'"\xc3']
)
def test_a_torn_line_is_skipped(tmp_path, torn):
    report = tmp_path / "r"
    keep(report, done(1))
    with open(kept_file(report), "ab") as file:
        file.write(torn)
    assert list(load_kept(report, CODE)) == [1]


def test_what_is_kept_after_a_torn_line_is_not_lost(tmp_path):
    report = tmp_path / "r"
    keep(report, done(1))
    with open(kept_file(report), "ab") as file:
        file.write(TORN)
    keep(report, done(2))
    assert list(load_kept(report, CODE)) == [1, 2]


def test_nothing_is_kept_where_nothing_was_run(tmp_path):
    assert load_kept(tmp_path / "none", CODE) == {}


def test_the_name_of_the_code_changes_with_a_byte_of_it(tmp_path, monkeypatch):
    assert code_name() == code_name()
    packages = []
    for name in ("node", "processors", "state"):
        folder = tmp_path / name
        folder.mkdir()
        folder.joinpath("a.py").write_bytes(b"x = 1\n")
        packages.append(type("Package", (), {"__path__": [str(folder)]}))
    for name, package in zip(("node", "processors", "state"), packages, strict=True):
        monkeypatch.setattr(running, name, package)
    names = [code_name()]
    tmp_path.joinpath("state", "notes.txt").write_bytes(b"no code")
    assert code_name() == names[0]
    for change in (
        lambda: tmp_path.joinpath("state", "a.py").write_bytes(b"x = 2\n"),
        lambda: tmp_path.joinpath("state", "a.py").rename(tmp_path / "state" / "b.py"),
        lambda: tmp_path.joinpath("node", "new.py").write_bytes(b""),
    ):
        change()
        names.append(code_name())
    assert len(set(names)) == 4


# -- summing up


def test_a_summary_adds_up_and_names_who_failed():
    summary = Summary()
    summary.add(done(9, "supply", faults={"gap": 1, "pause": 2}, counts={"agreed": 3}))
    summary.add(done(4, faults={"gap": 4}, counts={"agreed": 5, "open": 1}))
    found = summary.document(CODE, 4.0)
    assert found == {
        "ok": False,
        "code": CODE,
        "seeds": 2,
        "blocks": 200,
        "node_blocks": 1_000,
        "seconds": 4.0,
        "seeds_per_second": 0.5,
        "processor_seconds": 3.0,
        "faults": {"gap": 5, "pause": 2},
        "survived": {"gap": 4, "pause": 0},
        "counts": {"agreed": 8, "open": 1},
        "failed": [{"seed": 9, "invariant": "supply", "detail": "so"}],
    }


def test_failures_are_told_by_seed():
    summary = Summary()
    for seed in (7, 2, 5):
        summary.add(done(seed, "drift"))
    assert [each["seed"] for each in summary.document(CODE, 1.0)["failed"]] == [2, 5, 7]


def test_a_summary_of_nothing_holds():
    assert Summary().document(CODE, 0.0)["ok"] is True


def test_a_report_is_json(tmp_path):
    document = Summary().document(CODE, 1.0)
    write_report(tmp_path / "r.json", document)
    assert json.loads(tmp_path.joinpath("r.json").read_text()) == document


# -- waggle sim


class Command:
    """`waggle sim` with runs that take no time: ``bad`` seeds fail, ``ran`` are those that were run."""

    def __init__(self):
        self.ran, self.plans, self.bad, self.needs = [], [], set(), None

    def many(self, seeds, jobs, code, *, go_on=lambda started: True):
        while go_on(len(self.ran)):
            seed = next(seeds, None)
            if seed is None:
                return
            self.ran.append(seed)
            yield done(seed, "supply" if seed in self.bad else "", code, faults={"gap": 1})

    def one(self, plan):
        """Fails if all faults of ``needs`` are in the plan (by n of the drawn ones)."""
        self.plans.append(plan)
        fails = self.needs is not None and self.needs <= set(plan.faults)
        return replace(outcome(plan.seed, "supply" if fails else ""), timeline=("a line", "[red]another[/red]"))

    def __call__(self, *options):
        return CliRunner().invoke(cli.sim, [str(option) for option in options])


@pytest.fixture
def sim(monkeypatch):
    command = Command()
    monkeypatch.setattr(cli, "run_seeds", command.many)
    monkeypatch.setattr(cli, "run", command.one)
    genuine = cli.shrink
    monkeypatch.setattr(cli, "shrink", lambda plan, say: genuine(plan, say, command.one))
    monkeypatch.setattr(cli, "code_name", lambda: CODE)
    return command


SEED = next(seed for seed in range(1, 500) if 8 <= len(draw(seed).faults) <= 12)


def last_line(result):
    return json.loads(result.stdout.splitlines()[-1])


def test_thirty_seeds_are_run_if_nothing_is_said(sim):
    result = sim()
    assert result.exit_code == 0
    assert sim.ran == list(range(1, 31))
    assert "every invariant held in every seed" in result.output


def test_seeds_are_run_from_the_first_one_on(sim):
    assert sim("--seeds", 3, "--first-seed", 40).exit_code == 0
    assert sim.ran == [40, 41, 42]


def test_a_seed_that_fails_exits_1_and_says_how_to_go_on(sim):
    sim.bad = {2}
    result = sim("--seeds", 3)
    assert result.exit_code == 1
    assert sim.ran == [1, 2, 3]  # the others are run all the same
    assert "seed 2 failed: supply" in result.output
    assert "waggle sim --seed 2 --shrink" in result.output
    assert "every invariant held" not in result.output


def test_the_last_line_is_for_machines(sim):
    sim.bad = {3}
    result = sim("--seeds", 3, "--json")
    found = last_line(result)
    assert (result.exit_code, found["ok"], found["seeds"], found["code"]) == (1, False, 3, CODE)
    assert found["failed"] == [{"seed": 3, "invariant": "supply", "detail": "so"}]
    assert len(result.stdout.splitlines()) == 1


def test_a_report_is_written_with_every_seed_beside_it(sim, tmp_path):
    report = tmp_path / "report.json"
    sim("--seeds", 3, "--report", report)
    assert json.loads(report.read_text())["seeds"] == 3
    lines = kept_file(report).read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=Done).outcome.seed for line in lines] == [1, 2, 3]


def test_resume_runs_only_what_is_not_kept(sim, tmp_path):
    report = tmp_path / "report.json"
    keep(report, done(2))
    keep(report, done(3, code="old"))
    keep(report, done(99))
    result = sim("--seeds", 4, "--report", report, "--resume", "--json")
    assert sim.ran == [1, 3, 4]
    assert last_line(result)["seeds"] == 4
    assert sim("--seeds", 4, "--report", report, "--resume").exit_code == 0
    assert sim.ran == [1, 3, 4]  # nothing is left to run


def test_a_failure_that_is_kept_fails_again(sim, tmp_path):
    keep(tmp_path / "r", done(2, "drift"))
    result = sim("--seeds", 3, "--report", tmp_path / "r", "--resume")
    assert result.exit_code == 1
    assert "seed 2 failed: drift" in result.output


def test_without_resume_everything_is_run_anew(sim, tmp_path):
    keep(tmp_path / "r", done(2))
    sim("--seeds", 3, "--report", tmp_path / "r")
    assert sim.ran == [1, 2, 3]


def test_no_seed_begins_after_so_many_seconds_but_at_least_so_many(sim, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(cli.time, "monotonic", lambda: now[0])
    go_on = cli._limit(10, 5)
    assert go_on(0) and go_on(100)
    now[0] = 9.9
    assert go_on(100)
    now[0] = 10.0
    assert not go_on(100)
    assert not go_on(5)
    assert go_on(4)
    assert cli._limit(None, 0)(10**9)


def test_the_limits_reach_the_runs(sim, monkeypatch):
    seen = []

    def limit(seconds, at_least):
        seen.append((seconds, at_least))
        return lambda started: started < 2

    monkeypatch.setattr(cli, "_limit", limit)
    assert sim("--seconds", 7, "--at-least", 2).exit_code == 0
    assert seen == [(7, 2)]
    assert sim.ran == [1, 2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--only", "3"], "need --seed"),
        (["--shrink"], "need --seed"),
        (["--resume"], "--resume needs --report"),
        (["--seed", SEED, "--only", "a"], "numbers with commas"),
        (["--seed", SEED, "--only", "1,x"], "numbers with commas"),
        (["--seed", SEED, "--only", "99"], "not 99"),
        (["--seed", SEED, "--only", "0,-1"], "not -1"),
        (["--seeds", 0], "--seeds"),
        (["--jobs", 0], "--jobs"),
        (["--seconds", 0], "--seconds"),
        (["--seed", -1], "--seed"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(sim, options, words):
    result = sim(*options)
    assert result.exit_code == 2
    assert words in result.output
    assert (sim.ran, sim.plans) == ([], [])


def test_one_seed_is_replayed_with_its_timeline(sim):
    result = sim("--seed", SEED)
    assert result.exit_code == 0
    assert "a line\n[red]another[/red]\n" in result.output  # as it is, no markup
    assert sim.plans == [draw(SEED)]
    for place, fault in enumerate(draw(SEED).faults):
        assert f"{place:3} {fault.kind}: " in result.output


def test_one_seed_that_fails_exits_1_and_says_how_to_see_it_again(sim):
    sim.needs = set(draw(SEED).faults[2:3])
    result = sim("--seed", SEED)
    assert result.exit_code == 1
    assert f"smaller:  waggle sim --seed {SEED} --shrink" in result.output
    result = sim("--seed", SEED, "--only", "4,2,2")
    assert result.exit_code == 1
    assert f"again:    waggle sim --seed {SEED} --only 2,4\n" in result.output
    assert sim.plans[-1].faults == tuple(draw(SEED).faults[place] for place in (2, 4))


def test_the_last_line_of_one_seed_is_for_machines(sim):
    sim.needs = set(draw(SEED).faults[2:3])
    result = sim("--seed", SEED, "--json", "--only", "2,4")
    expected = {"seed": SEED, "ok": False, "invariant": "supply", "detail": "so", "faults": [2, 4], "digest": "d"}
    assert last_line(result) == expected
    assert len(result.stdout.splitlines()) == 1
    assert sim("--seed", SEED, "--json", "--only", "4").exit_code == 0


def test_shrinking_ends_with_the_faults_that_it_takes(sim):
    plan = draw(SEED)
    sim.needs = {plan.faults[1], plan.faults[6]}
    result = sim("--seed", SEED, "--shrink", "--json")
    assert result.exit_code == 1
    assert last_line(result)["faults"] == [1, 6]
    assert f"waggle sim --seed {SEED} --only 1,6" in result.output


def test_shrinking_goes_on_from_the_faults_that_are_named(sim):
    """As `waggle sim --seed N --only ... ` itself proposes; the numbers stay those of the seed."""
    plan = draw(SEED)
    sim.needs = {plan.faults[5]}
    result = sim("--seed", SEED, "--only", "2,5,6", "--shrink", "--json")
    assert last_line(result)["faults"] == [5]
    assert result.exit_code == 1


def test_what_fails_without_any_fault_can_be_seen_again(sim):
    sim.needs = set()
    result = sim("--seed", SEED, "--shrink", "--json")
    assert last_line(result)["faults"] == []
    again = next(line for line in result.output.splitlines() if line.startswith("again:"))
    words = shlex.split(again)
    options = words[words.index("sim") + 1 :]
    assert sim(*options).exit_code == 1
    assert sim.plans[-1].faults == ()


def test_a_seed_that_holds_cannot_be_shrunk(sim):
    result = sim("--seed", SEED, "--shrink")
    assert result.exit_code == 1
    assert "nothing to shrink" in result.output


def test_a_real_seed_is_replayed():
    seed = next(seed for seed in range(1, 200) if draw(seed).members == 5 and draw(seed).slots == 600)
    result = CliRunner().invoke(cli.sim, ["--seed", str(seed), "--only", "0", "--json"])
    found = last_line(result)
    assert (result.exit_code, found["ok"], found["faults"]) == (0, True, [0])
    assert "every invariant held" in result.stderr
