"""What the json of an operation looks like: keys first, then types, then bounds (protocol sections 3 and 4)."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from processors.errors import Rejected


class Field(msgspec.Struct, frozen=True):
    """One key: its Python type, whether it lies within bounds, and whether it may be missing."""

    kind: type
    within: Callable[[Any], bool] = lambda value: True
    inner: "Mapping[str, Field] | None" = None
    optional: bool = False


Shape = Mapping[str, Field]

_VER = re.compile(r"[\x21-\x7e]{1,32}", re.ASCII)
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"https?://{_LABEL}(?:\.{_LABEL})*(?::[1-9][0-9]{{0,4}})?", re.ASCII)
_OP_ID = re.compile(r"(?:0|[1-9][0-9]{0,18}):(?:0|[1-9][0-9]{0,4}):(?:0|[1-9][0-9]{0,9})", re.ASCII)
_WHY = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)


def _port_fits(url: str) -> bool:
    _, colon, port = url.partition(":")
    return not colon or int(port) < 65536


def integer(low: int, high: int) -> Field:
    """An integer within low..high."""
    return Field(int, lambda value: low <= value <= high)


def hexadecimal(size: int) -> Field:
    """Lower-case hex of exactly ``size`` bytes."""
    pattern = re.compile(rf"[0-9a-f]{{{2 * size}}}", re.ASCII)
    return Field(str, lambda value: pattern.fullmatch(value) is not None)


def text(within: Callable[[str], bool]) -> Field:
    """A string of a form."""
    return Field(str, within)


def optional(field: Field) -> Field:
    """The same field, but it may be missing."""
    return msgspec.structs.replace(field, optional=True)


def nested(shape: Shape) -> Field:
    """An object of its own shape."""
    return Field(dict, inner=shape)


FLAG = Field(bool)
OP_ID = text(lambda value: _OP_ID.fullmatch(value) is not None)
VER = text(lambda value: _VER.fullmatch(value) is not None)
WHY = text(lambda value: _WHY.fullmatch(value) is not None)
DOMAIN = text(
    lambda value: len(value) <= 253 and _DOMAIN.fullmatch(value) is not None and _port_fits(value.partition("//")[2])
)
KEY_TEXT = text(lambda value: len(value) <= 64 and value.isascii())


def check(body: dict[str, Any], shape: Shape) -> None:
    """Raise Rejected("bad_keys" | "bad_type" | "out_of_bounds") unless ``body`` has ``shape``."""
    _keys(body, shape)
    _types(body, shape)
    _bounds(body, shape)


def _keys(body: dict[str, Any], shape: Shape) -> None:
    if body.keys() != shape.keys():
        needed = {name for name, field in shape.items() if not field.optional}
        if not needed <= body.keys() <= shape.keys():
            raise Rejected("bad_keys")
    for name, field in shape.items():
        if field.inner is not None and type(body.get(name)) is dict:
            _keys(body[name], field.inner)


def _types(body: dict[str, Any], shape: Shape) -> None:
    for name, field in shape.items():
        if name in body:
            if type(body[name]) is not field.kind:
                raise Rejected("bad_type")
            if field.inner is not None:
                _types(body[name], field.inner)


def _bounds(body: dict[str, Any], shape: Shape) -> None:
    for name, field in shape.items():
        if name in body:
            if not field.within(body[name]):
                raise Rejected("out_of_bounds")
            if field.inner is not None:
                _bounds(body[name], field.inner)
