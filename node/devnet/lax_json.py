"""Which texts hived takes for JSON in a custom_json or in metadata (libraries/fc/src/io/json.cpp).

First a fast parser looks: it knows JSON, and ignores what follows a closed list or object. What it cannot read, a lax
one may: words for values, missing or superfluous commas, any character in strings, no \\u escapes - but nothing after.
"""

import json
import re
from typing import Any

_SPACE = " \t\r\n"
_BLANK = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(r"[A-Za-z0-9_\-.:/]*")
_KNOWN = re.compile(r"[nultrefas]*")  # the letters of null, true, false
_NUMBER = re.compile(r"-?[0-9]*(\.[0-9]*)?")
_MAX_DEPTH = 200
_INT64, _UINT64 = 1 << 63, 1 << 64


def is_json(text: str) -> bool:
    """Whether hived accepts ``text`` as the json of an operation."""
    return _fast(text) or _lax(text)


class _NotFastError(Exception):
    pass


def _no_constant(name: str) -> Any:
    raise _NotFastError(name)  # NaN, Infinity


def _whole(digits: str) -> int:
    number = int(digits) if len(digits) <= 20 else _UINT64
    if not -_INT64 <= number < _UINT64:
        raise _NotFastError(digits)
    return number


def _fast(text: str) -> bool:
    """The fast parser: strict JSON without null and lone surrogates; garbage only after lists and objects."""
    start = text.lstrip(_SPACE)
    decoder = json.JSONDecoder(parse_constant=_no_constant, parse_int=_whole)
    try:
        value, end = decoder.raw_decode(start)
        if _has_oddity(value):
            return False
    except RecursionError:
        return True  # it does not look at the depth
    except (ValueError, _NotFastError):
        return False
    rest = start[end:]
    if isinstance(value, dict | list):
        return re.sub(r"\\.", "", rest, flags=re.DOTALL).count('"') % 2 == 0
    return not rest.strip(_SPACE)


def _has_oddity(value: Any) -> bool:
    """What is JSON but too odd for the fast parser: null, lone surrogates."""
    if value is None:
        return True
    if isinstance(value, str):
        return re.search("[\ud800-\udfff]", value) is not None
    if isinstance(value, dict):
        return any(_has_oddity(key) or _has_oddity(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_has_oddity, value))


def _lax(text: str) -> bool:
    try:
        return _Lax(text).value(0) == len(text)
    except (IndexError, ValueError):  # the end came too early; something that cannot begin a value
        return False


class _Lax:
    """The lax parser. ``at`` stands before the next character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def value(self, depth: int) -> int:
        """Read one value; returns where it ended."""
        if depth >= _MAX_DEPTH:
            raise ValueError("too deep")
        self._skip()
        first = self._text[self._at]
        if first == '"':
            self._string()
        elif first in "{[":
            self._container(first, depth + 1)
        elif first in "-.0123456789":
            self._number()
        elif first in "ntf":
            if self._take(_KNOWN) not in ("null", "true", "false"):
                self._word()
        else:
            raise ValueError(first)
        return self._at

    def _take(self, pattern: re.Pattern[str]) -> str:
        """What matches here, maybe nothing."""
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return found[0] if found else ""

    def _skip(self) -> None:
        self._take(_BLANK)

    def _string(self) -> None:
        self._at += 1
        while (char := self._text[self._at]) != '"':
            if char == "\x04":
                raise ValueError("the end of the transmission")
            self._at += 2 if char == "\\" else 1
        self._at += 1

    def _container(self, opening: str, depth: int) -> None:
        if depth >= _MAX_DEPTH:
            raise ValueError("too deep")
        closing = "}" if opening == "{" else "]"
        self._at += 1
        while True:
            self._skip()
            char = self._text[self._at]
            if char == closing:
                self._at += 1
                return
            if char == ",":
                self._at += 1
                continue
            if opening == "{":
                self._key()
            self.value(depth)

    def _key(self) -> None:
        if self._text[self._at] != '"':
            raise ValueError("a name is expected")
        self._string()
        self._skip()
        if self._text[self._at] != ":":
            raise ValueError("a colon is expected")
        self._at += 1

    def _number(self) -> None:
        digits = self._take(_NUMBER)
        following = self._text[self._at : self._at + 1]
        if following == ".":
            raise ValueError("two points")
        if following.isalnum() and following.isascii():
            self._word()
        elif "." in digits:
            float(digits)
        elif not -_INT64 <= int(digits) < (_INT64 if digits[0] == "-" else _UINT64):
            raise ValueError("too large")

    def _word(self) -> None:
        self._take(_WORD)
        while self._text[self._at : self._at + 1] == "\\":
            self._at += 2
            self._take(_WORD)
        if self._text[self._at : self._at + 1] in ("\t", " ", "\n", "\0"):
            self._at += 1  # a word takes the space after it along
