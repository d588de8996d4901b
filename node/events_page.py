"""docs/logs.md, made of the catalogue of events: ``python -m node.events_page > docs/logs.md``."""

import sys
from collections.abc import Iterable, Iterator

from node.event import Event
from node.events import GROUPS

_HEAD = """\
# The events of the log

A node logs one event a line to standard error: words for people with `log.format = "console"`, JSON for machines with
`"json"`. `log.level` is the lowest level that is told: debug (a line a block, and each request), info, warning.

In JSON every line has `time` (UTC), `level` and `event`, then the fields below. Lines about a group transaction carry
its id as `op`: `grep '"op": "ID"'` tells its story on one node, and on all nodes. Texts are cut at 4,000 characters,
lists at 64 entries; control characters are escaped; a private key or a password is never written.

This page is made of node/events.py and node/events_beside.py: `python -m node.events_page > docs/logs.md`.
"""


def page() -> str:
    """docs/logs.md."""
    return "\n".join([_HEAD, *_lines()]) + "\n"


def _lines() -> Iterator[str]:
    for heading, events in GROUPS.items():
        yield f"## {heading}\n"
        yield from _table(events.items())
        yield ""
    yield "A field that ends with ? is not always there."


def _table(events: Iterable[tuple[str, Event]]) -> Iterator[str]:
    yield "| event | level | fields | meaning | remedy |"
    yield "|---|---|---|---|---|"
    for name, event in events:
        fields = ", ".join(f"`{field}` {words}" for field, words in event.fields.items())
        yield f"| `{name}` | {event.level} | {fields} | {event.meaning} | {event.remedy or '-'} |"


if __name__ == "__main__":
    sys.stdout.write(page())
