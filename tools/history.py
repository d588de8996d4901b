"""Records a long history of one group, replays it with ``waggle replay``, and holds the verdict against what is so.

Run as ``python -m tools.history``; exit 1 names each difference, 2 means that one of the two commands did not end.

Example: python -m tools.history --blocks 10000 --seed 7
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import time
from collections import Counter

import msgspec

from node.assembly import load_genesis, open_state
from node.audit.verdict import Verdict
from node.sim.comparing import differences
from node.sim.recording import ARCHIVE, GENESIS, load_told
from node.sim.told import Told
from state.store import LevelStore

ROOT = pathlib.Path(__file__).resolve().parent.parent
WAGGLE = pathlib.Path(sys.executable).parent / "waggle"
#: The seed whose world is known to live so long.
SEED, BLOCKS = 3, 100_000
DIFFERENT, BROKEN = 1, 2


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.history", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--nodes", type=int, default=9)
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "recorded", help="made anew by each run")
    given = parser.parse_args()
    folder: pathlib.Path = given.folder
    if folder.exists() and not (folder / GENESIS).is_file() and any(folder.iterdir()):
        parser.error(f"{folder} holds something else: name another folder")
    shutil.rmtree(folder, ignore_errors=True)
    world = ["--seed", str(given.seed), "--blocks", str(given.blocks), "--nodes", str(given.nodes)]
    begun = time.monotonic()
    code = waggle("sim", *world, "--record", str(folder))
    made = time.monotonic() - begun
    if code != 0:
        print("the world did not hold what it must: nothing is replayed")
        return BROKEN
    verdict = folder / "verdict.json"
    where = ["--genesis", str(folder / GENESIS), "--archive", str(folder / ARCHIVE)]
    begun = time.monotonic()
    code = waggle("replay", *where, "--keep", str(folder / "state"), "--report", str(verdict))
    replayed = time.monotonic() - begun
    if code not in (0, 1) or not verdict.is_file():
        print(f"waggle replay ended with {code}")
        return BROKEN
    return judge(folder, load_told(folder), msgspec.json.decode(verdict.read_bytes(), type=Verdict), made, replayed)


def waggle(*words: str) -> int:
    """Run a command as an operator would; its exit code."""
    print("waggle", *words, flush=True)
    return subprocess.run([WAGGLE, *words], check=False).returncode


def judge(folder: pathlib.Path, told: Told, found: Verdict, made: float, replayed: float) -> int:
    """Say what came out, and what differs."""
    genesis = load_genesis(folder / GENESIS)
    store = LevelStore(folder / "state", genesis.hash)
    trace = open_state(genesis, store).trace(found.height)
    store.close()
    count = told.height - told.first + 1
    size = sum(path.stat().st_size for path in (folder / ARCHIVE).iterdir())
    kinds = Counter(one.kind for one in told.findings)
    print(f"blocks      {count:,} ({told.first} to {told.height}), {size / 1e6:.1f} MB in the archive")
    print(f"recorded    in {made:.0f} s, replayed in {replayed:.0f} s ({count / replayed:,.0f} blocks/s)")
    print(f"rounds      {told.rounds:,}, of which {told.open_rounds:,} agreed on nothing")
    print(f"group tx    {told.counts['rotations']:,} rotations, {told.counts['confirmed']:,} payloads paid")
    print(f"faults      {sum(told.faults.values()):,} of {len(told.faults)} kinds took effect")
    print(f"to be found {dict(sorted(kinds.items()))}")
    print(f"found       {found.deviations}")
    lines = differences(told, found, trace)
    for line in lines:
        print(f"DIFFERENT   {line}")
    print("what was found is what is so" if not lines else f"{len(lines)} differences")
    return DIFFERENT if lines else 0


if __name__ == "__main__":
    sys.exit(main())
