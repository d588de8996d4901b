"""Structured logs: one event a line, with fields; for people on the console, as JSON for machines. No secrets."""

import json
import sys
import time
from collections.abc import Callable
from typing import TextIO

LEVELS = {"debug": 10, "info": 20, "warning": 30}
#: Events that are more or less than information.
_LEVEL_OF = {
    "block": "debug",
    "sent": "debug",
    "hold": "warning",
    "refuse": "warning",
    "refused": "warning",
    "diverged": "warning",
    "api_error": "warning",
    "stopped": "warning",
    "alarm": "warning",
    "abstained": "warning",
    "feed_stalled": "warning",
    "authority_differs": "warning",
    "not_member": "warning",
    "key_missing": "warning",
    "founder_only": "warning",
    "servers_differ": "warning",
    "signed_elsewhere": "warning",
}

Log = Callable[[str, dict[str, object]], None]


def make_log(form: str, level: str, out: TextIO | None = None) -> Log:
    """A log function of the given form (console, json) and lowest level."""
    stream = out or sys.stderr
    lowest = LEVELS[level]

    def log(event: str, fields: dict[str, object]) -> None:
        name = _LEVEL_OF.get(event, "info")
        if LEVELS[name] < lowest:
            return
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if form == "json":
            line = json.dumps({"time": now, "level": name, "event": event, **fields}, default=str)
        else:
            line = f"{now} {event:<12} " + " ".join(f"{key}={value}" for key, value in fields.items())
        stream.write(line + "\n")
        stream.flush()

    return log
