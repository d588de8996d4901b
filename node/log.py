"""Structured logs: an event a line, for people on the console, as JSON for machines. node/events.py says what there is.

Values are bounded, control characters escaped, and what looks like a private key is not written. A log that cannot be
written never stops a node.
"""

import json
import math
import os
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from node.events import level_of
from node.signer.secret import HiddenBytes, HiddenText, SecretKey

LEVELS = {"debug": 10, "info": 20, "warning": 30}
#: Characters of one text, entries of one list, lists within lists.
MAX_TEXT, MAX_ITEMS, MAX_DEPTH = 4_000, 64, 4
HIDDEN = "<hidden>"
_RESERVED = ("time", "level", "event")
_BASE58 = "1-9A-HJ-NP-Za-km-z"
#: A private key in WIF form, plain or compressed, and a generated master password.
_SECRET = re.compile(
    rf"(?<![{_BASE58}])(?:5[{_BASE58}]{{50}}|[KL][{_BASE58}]{{51}}|P5[{_BASE58}]{{50}})(?![{_BASE58}])"
)
_COLOURS = {"debug": "\x1b[2m", "info": "", "warning": "\x1b[33m"}
_PLAIN = re.compile(r"[^\s\"'=]+")

Log = Callable[[str, dict[str, object]], None]


def make_log(form: str, level: str, out: TextIO | None = None) -> Log:
    """A log function of the given form (console, json) and lowest level."""
    stream = out or sys.stderr
    lowest = LEVELS[level]
    is_coloured = form == "console" and _is_terminal(stream)

    def log(event: str, fields: dict[str, object]) -> None:
        name = level_of(event)
        if LEVELS[name] < lowest:
            return
        clean = {str(_clean(key)): _clean(value) for key, value in _with_op(fields).items()}
        line = _for_machines(event, name, clean) if form == "json" else _for_people(event, name, clean, is_coloured)
        _write(stream, line + "\n")

    return log


def correlation(fields: Mapping[str, object]) -> str:
    """The id of the group transaction that an event is about; empty if it is about none."""
    kind, _, rest = str(fields.get("content", "")).partition(":")
    found = {"sign": rest.rpartition(":")[0], "broadcast": rest}.get(kind, "")
    return str(fields.get("op", found))


def _with_op(fields: dict[str, object]) -> dict[str, object]:
    op = correlation(fields)
    return {**fields, "op": op} if op else fields


def _clean(value: object, depth: int = 0) -> Any:
    """A value that JSON has, bounded, without secrets."""
    if isinstance(value, SecretKey | HiddenText | HiddenBytes):
        return HIDDEN
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 1 << 64:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _clean_many(value, depth + 1) if depth < MAX_DEPTH else f"<{len(value)} entries>"
    return _text(str(value))


def _clean_many(values: Any, depth: int) -> Any:
    if isinstance(values, Mapping):
        return {str(_clean(key)): _clean(value, depth) for key, value in list(values.items())[:MAX_ITEMS]}
    items = sorted(values, key=repr) if isinstance(values, set | frozenset) else list(values)
    more = [f"and {len(items) - MAX_ITEMS} more"] if len(items) > MAX_ITEMS else []
    return [_clean(item, depth) for item in items[:MAX_ITEMS]] + more


def _text(text: str) -> str:
    hidden = _SECRET.sub(HIDDEN, text)
    if len(hidden) <= MAX_TEXT:
        return hidden
    return f"{hidden[:MAX_TEXT]}... ({len(hidden)} characters)"


def _for_machines(event: str, level: str, fields: dict[str, Any]) -> str:
    head = {"time": _now(), "level": level, "event": event}
    return json.dumps({**head, **{f"{key}_" if key in _RESERVED else key: value for key, value in fields.items()}})


def _for_people(event: str, level: str, fields: dict[str, Any], is_coloured: bool) -> str:
    """Time, level, what happened in words, then the fields."""
    words = event.replace("_", " ")
    told = "  ".join(f"{one_line(key)}={_shown(value)}" for key, value in fields.items())
    line = f"{_now()} {level:<7} {one_line(words):<16} {told}".rstrip()
    colour = _COLOURS[level] if is_coloured else ""
    return f"{colour}{line}\x1b[0m" if colour else line


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(map(_shown, value)) or "-"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{one_line(key)}: {_shown(item)}" for key, item in value.items()) + "}"
    text = one_line(str(value))
    return text if _PLAIN.fullmatch(text) else '"' + text.replace('"', '\\"') + '"'


def one_line(text: str) -> str:
    """A text of others for a terminal: on one line, moving no cursor, turning no writing direction."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(_escape(letter) for letter in text)


def _escape(letter: str) -> str:
    if letter == "\\":
        return "\\\\"
    is_harmless = letter.isprintable() and unicodedata.category(letter) not in ("Cf", "Zl", "Zp")
    return letter if is_harmless else letter.encode("unicode_escape").decode("ascii")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _write(stream: TextIO, line: str) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (OSError, ValueError):
        pass  # a full disk, a closed pipe: the node goes on without its log
