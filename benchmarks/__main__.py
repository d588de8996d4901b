"""`make bench`: measure, and print a table with medians. `make bench ARGS=engine` measures a part."""

import sys

from benchmarks import archive, block_log, engine, feed, group, lag, memory, replay, snapshot, sync
from benchmarks.table import show

PARTS = {
    "archive": archive.all_rows,
    "block_log": block_log.all_rows,
    "engine": engine.all_rows,
    "feed": feed.all_rows,
    "group": group.all_rows,
    "lag": lag.all_rows,
    "memory": memory.all_rows,
    "replay": replay.all_rows,
    "snapshot": snapshot.all_rows,
    "sync": sync.all_rows,
}


def main() -> None:
    """Measure the parts that were named, or all."""
    rows = []
    for part in sys.argv[1:] or PARTS:
        print(f"measuring {part} ...", file=sys.stderr)
        rows += PARTS[part]()
    show(rows)


main()
