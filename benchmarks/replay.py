"""The auditor: whole processes of `waggle replay` on archives of made blocks; beem's own replayer beside it."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.dense import dense_archive
from benchmarks.history import foreign_archive, quiet_group
from benchmarks.table import Row, of
from node.genesis_text import to_toml

RUNS = 5
#: Blocks of 60 transactions: replayed with links alone, and with everything proven.
QUICK, PROVEN = 60_000, 5_000
OPERATIONS = 500_000
#: Blocks of 5 transactions through which memory is watched: between the tenth part and the end it must not grow.
LONG = 1_000_000
_GROWTH = 1.15


def waggle(*words: str) -> list[str]:
    """The command line of a process."""
    return [sys.executable, "-c", "from node.cli.main import main; main()", *words]


def seconds_of(folder: Path, *words: str) -> tuple[float, dict[str, Any]]:
    """(seconds of a whole process, its verdict)."""
    command = waggle("replay", "--genesis", f"{folder}/genesis.toml", "--archive", f"{folder}/blocks", "--json", *words)
    begun = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True)
    taken = time.perf_counter() - begun
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["good"], (found["deviations"], done.stderr)
    return taken, found


def foreign_folder(folder: Path, count: int, transactions: int) -> None:
    """An archive of foreign blocks and the genesis of a group among them."""
    foreign_archive(folder / "blocks", count, transactions)
    (folder / "genesis.toml").write_text(to_toml(quiet_group()[1]))


def foreign_rows() -> list[Row]:
    """Foreign blocks of 60 transactions, with links alone and with all that is checked."""
    rows = []
    for name, count, words, wanted in (
        ("links verified", QUICK, ("--quick",), 10_000),
        ("Merkle roots verified too", PROVEN, ("--no-signatures",), 500),
        ("Merkle roots and signatures verified", PROVEN, (), 500),
    ):
        with tempfile.TemporaryDirectory() as place:
            foreign_folder(Path(place), count, 60)
            figures = [count / seconds_of(Path(place), *words)[0] for _ in range(RUNS)]
        rows.append(
            of(f"replay: {count:,} foreign blocks of 60 transactions, {name}", figures, "/s", wanted, higher=True)
        )
    return rows


def dense_rows() -> list[Row]:
    """A history dense with our operations, without the signatures of Hive's transactions and with them."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _, document, _, kinds = dense_archive(folder / "blocks", OPERATIONS)
        (folder / "genesis.toml").write_text(to_toml(document))
        count = sum(kinds.values())
        without = [seconds_of(folder, "--quick")[0] for _ in range(RUNS)]
        beside = [seconds_of(folder, "--no-merkle")[0] for _ in range(RUNS)]
    name = f"replay: {count:,} accepted operations, {kinds['sig_submit'] * 100 // count} % signatures"
    pairs = sorted(one / other * 100 for one, other in zip(sorted(without), sorted(beside), strict=True))
    return [
        of(name, without, " s", 60, higher=False),
        of(f"{name}, all signatures verified", beside, " s", 75, higher=False),
        of("replay: rate with all signatures verified, of that without", pairs, " %", 80, higher=True),
    ]


def memory_rows(count: int = LONG) -> list[Row]:
    """Whether memory grows over a long replay: resident size at the end, of that after a tenth."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        foreign_folder(folder, count, 5)
        words = ("--genesis", f"{folder}/genesis.toml", "--archive", f"{folder}/blocks", "--quick", "--json")
        begun = time.perf_counter()
        process = subprocess.Popen(waggle("replay", *words), stdout=subprocess.DEVNULL)
        sizes: list[tuple[float, int]] = []
        while process.poll() is None:
            sizes.append((time.perf_counter() - begun, resident(process.pid)))
            time.sleep(0.5)
    taken = sizes[-1][0]
    early = max(size for at, size in sizes if at <= taken / 10)
    late = max(size for _, size in sizes)
    ratio = late / early
    name = f"replay: memory over {count:,} blocks, {early >> 20} MiB after a tenth, {late >> 20} MiB at most"
    rate = of(
        f"replay: {count:,} foreign blocks of 5 transactions, links verified",
        [count / taken],
        "/s",
        10_000,
        higher=True,
    )
    return [of(name, [ratio], " x", _GROWTH, higher=False), rate]


def resident(pid: int) -> int:
    """Resident bytes of a process; 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def beside_beem(count: int = 400) -> list[Row]:
    """The same blocks from the devnet's API: read with beem's Blockchain and Block classes, and fetched, proven and
    replayed by us. beem proves nothing; it parses each operation and looks for the group's custom_json.
    """
    from benchmarks.beside import against_beem

    ours, theirs = against_beem(count, RUNS)
    pairs = [one / other for one, other in zip(sorted(ours), sorted(theirs), strict=True)]
    return [
        of(
            "replay: plain replayer with beem's Block classes, devnet's API, 60 transactions",
            theirs,
            "/s",
            0,
            higher=True,
        ),
        of("replay: the same blocks fetched, proven, replayed by us", ours, "/s", 0, higher=True),
        of("replay: ours to beem's", pairs, " x", 1, higher=True),
    ]


def all_rows() -> list[Row]:
    """Everything about the auditor's speed."""
    return [*foreign_rows(), *dense_rows(), *beside_beem(), *memory_rows()]
