"""The one door for JSON from the chain (protocol section 4, "Strict JSON").

Hive lets malformed JSON on chain, and parsers, even versions of one parser, disagree about it. So the text of a
custom_json is read by these few rules and by nothing else.
"""

import re
from typing import Any

from processors.errors import Rejected

MAX_BYTES = 8192
MAX_DEPTH = 8
INT_MIN, INT_MAX = -(2**63), 2**63 - 1

_SPACES = frozenset(" \t\n\r")
_PLAIN = r'[^"\\\x00-\x1f\x7f-\x9f]*'
_TEXT = rf'"({_PLAIN}(?:\\(?:["\\/]|u[0-9a-fA-F]{{4}}){_PLAIN})*)"'
_STRING = re.compile(_TEXT)
_KEY = re.compile(rf"[ \t\n\r]*{_TEXT}[ \t\n\r]*:[ \t\n\r]*")
_NEXT = re.compile(r"[ \t\n\r]*([,}])")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})(?![0-9.eE+-])")
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/]))')
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_WORDS = {"true": True, "false": False, "null": None}


class _Bad(Exception):
    """The text breaks a rule; which one never enters the state."""


def parse(text: str) -> dict[str, Any]:
    """The object of a custom_json's text. Raises Rejected("too_long" | "bad_json")."""
    if len(text) > MAX_BYTES:
        raise Rejected("too_long")
    try:
        raw = text.encode()
    except UnicodeEncodeError:  # bytes that were no UTF-8, or a lone surrogate
        raise Rejected("too_long" if _size(text) > MAX_BYTES else "bad_json") from None
    if len(raw) > MAX_BYTES:
        raise Rejected("too_long")
    try:
        value, at = _object(text, _skip(text, 0), 1)
        if _skip(text, at) != len(text):
            raise _Bad
    except _Bad:
        raise Rejected("bad_json") from None
    return value


def _size(text: str) -> int:
    """Bytes of a text that is no UTF-8: each escaped byte counts as the one byte it was on chain."""
    try:
        return len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return len(text.encode("utf-8", "surrogatepass"))


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] in _SPACES:
        at += 1
    return at


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    first = text[at : at + 1]
    if first == '"':
        return _string(text, at)
    if first == "{":
        return _object(text, at, depth + 1)
    if first == "[":
        return _array(text, at, depth + 1)
    match = _INTEGER.match(text, at)
    if match:
        number = int(match[0])
        if not INT_MIN <= number <= INT_MAX:
            raise _Bad
        return number, match.end()
    for word, value in _WORDS.items():
        if text.startswith(word, at):
            return value, at + len(word)
    raise _Bad


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    if text[at : at + 1] != "{" or depth > MAX_DEPTH:
        raise _Bad
    found: dict[str, Any] = {}
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        return found, at + 1
    while True:
        match = _KEY.match(text, at)
        if match is None:
            raise _Bad
        key = match[1]
        if "\\" in key:
            key = _unescape(key)
        if key in found:
            raise _Bad
        found[key], at = _value(text, match.end(), depth)
        match = _NEXT.match(text, at)
        if match is None:
            raise _Bad
        at = match.end()
        if match[1] == "}":
            return found, at


def _array(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    if depth > MAX_DEPTH:
        raise _Bad
    found: list[Any] = []
    at = _skip(text, at + 1)
    if text[at : at + 1] == "]":
        return found, at + 1
    while True:
        item, at = _value(text, at, depth)
        found.append(item)
        at = _skip(text, at)
        end = text[at : at + 1]
        if end == "]":
            return found, at + 1
        if end != ",":
            raise _Bad
        at = _skip(text, at + 1)


def _string(text: str, at: int) -> tuple[str, int]:
    match = _STRING.match(text, at)
    if match is None:
        raise _Bad
    inner = match[1]
    if "\\" in inner:
        inner = _unescape(inner)
    return inner, match.end()


def _unescape(inner: str) -> str:
    def character(match: re.Match[str]) -> str:
        return chr(int(match[1], 16)) if match[1] else match[2]

    # UTF-16 joins the two halves of a pair and refuses a lone one
    halves = _ESCAPE.sub(character, inner)
    try:
        joined = halves.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise _Bad from None
    if _CONTROL.search(joined):
        raise _Bad
    return joined
