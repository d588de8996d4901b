"""The strict JSON of docs/protocol.md section 4, on top of the standard library's parser.

The limits are laid on it from outside: scans of the text before parsing, hooks while it parses, a walk afterwards.
"""

import json
from typing import Any, NoReturn

MAX_BYTES = 8192
MAX_DEPTH = 8
_SPACE = " \t\n\r"


class Refused(Exception):
    """The text is not accepted."""


def parse(text: bytes | str) -> dict[str, Any]:
    """The one object in ``text``. Raises Refused."""
    plain = _decoded(text)
    _scan(plain)
    try:
        value = json.loads(
            plain,
            object_pairs_hook=_pairs,
            parse_int=_integer,
            parse_float=_refuse,
            parse_constant=_refuse,
        )
    except ValueError as error:
        raise Refused("no JSON") from error
    if not isinstance(value, dict):
        raise Refused("no object")
    _walk(value)
    return value


def _decoded(text: bytes | str) -> str:
    try:
        raw = text.encode("utf-8") if isinstance(text, str) else text
        if len(raw) > MAX_BYTES:
            raise Refused("too long")
        return raw.decode("utf-8")
    except UnicodeError as error:
        raise Refused("no UTF-8") from error


def _scan(plain: str) -> None:
    """Depth, and that nothing but ASCII stands outside of strings."""
    depth = 0
    for outside in _outside_strings(plain):
        for char in outside:
            depth += (char in "[{") - (char in "]}")
            if depth > MAX_DEPTH:
                raise Refused("too deep")
            if not "!" <= char <= "~" and char not in _SPACE:
                raise Refused("a strange character outside of strings")


def _outside_strings(plain: str) -> list[str]:
    """The pieces between the quotes, with escaped quotes taken for part of the string."""
    hidden = plain.replace("\\\\", "__").replace('\\"', "__")
    return hidden.split('"')[::2]


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Refused("the same key twice")
    return made


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
        raise Refused("an integer too large")
    return int(digits)


def _refuse(what: str) -> NoReturn:
    raise Refused(f"{what} is no integer")


def _walk(value: Any) -> None:
    if isinstance(value, str):
        for char in value:
            code = ord(char)
            if code < 0x20 or 0x7F <= code <= 0x9F:
                raise Refused("a control character")
            if 0xD800 <= code <= 0xDFFF:
                raise Refused("a lone surrogate")
    elif isinstance(value, dict):
        for key, item in value.items():
            _walk(key)
            _walk(item)
    elif isinstance(value, list):
        for item in value:
            _walk(item)
