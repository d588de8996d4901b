"""Canonical msgpack and H, written by hand from docs/protocol.md section 9. Slow and plain on purpose.

It knows nil, bool, int, str, bytes, lists and maps with text keys. The shortest form of every value; an integer
that is not negative takes an unsigned form; the keys of a map stand in the order of their UTF-8 bytes.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any


class PackingError(Exception):
    """A value without canonical form, or bytes that are no msgpack of such a value."""


def encode(value: Any) -> bytes:
    """The canonical msgpack of ``value``. Raises PackingError."""
    if value is None:
        return b"\xc0"
    if value is False:
        return b"\xc2"
    if value is True:
        return b"\xc3"
    if isinstance(value, int):
        return _encode_int(value)
    if isinstance(value, str):
        try:
            raw = value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise PackingError("text with a lone surrogate") from error
        return _sized(len(raw), 31, 0xA0, (0xD9, 0xDA, 0xDB)) + raw
    if isinstance(value, bytes):
        return _sized(len(value), -1, 0, (0xC4, 0xC5, 0xC6)) + value
    if isinstance(value, list | tuple):
        return _sized(len(value), 15, 0x90, (None, 0xDC, 0xDD)) + b"".join(encode(item) for item in value)
    if isinstance(value, dict):
        return _encode_map(value)
    raise PackingError(f"{type(value).__name__} has no canonical form")


def _encode_map(value: dict[Any, Any]) -> bytes:
    if not all(isinstance(key, str) for key in value):
        raise PackingError("a map's keys are text")
    out = _sized(len(value), 15, 0x80, (None, 0xDE, 0xDF))
    for key in sorted(value, key=lambda text: text.encode("utf-8")):
        out += encode(key) + encode(value[key])
    return out


def _encode_int(value: int) -> bytes:
    if 0 <= value <= 0x7F:
        return bytes([value])
    if -32 <= value < 0:
        return bytes([256 + value])
    for power, (plus, minus) in enumerate(((0xCC, 0xD0), (0xCD, 0xD1), (0xCE, 0xD2), (0xCF, 0xD3))):
        size = 2**power
        if 0 <= value < 2 ** (8 * size):
            return bytes([plus]) + value.to_bytes(size, "big")
        if -(2 ** (8 * size - 1)) <= value < 0:
            return bytes([minus]) + value.to_bytes(size, "big", signed=True)
    raise PackingError(f"{value} needs more than 64 bits")


def _sized(length: int, short_max: int, short_tag: int, tags: Sequence[int | None]) -> bytes:
    """The head of a value of ``length``: short form, or the first of the 8, 16, 32 bit forms that holds it."""
    if length <= short_max:
        return bytes([short_tag | length])
    for tag, size in zip(tags, (1, 2, 4), strict=True):
        if tag is not None and length < 256**size:
            return bytes([tag]) + length.to_bytes(size, "big")
    raise PackingError("too long")


_INTS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_SIGNED = {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_TEXT = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_LIST = {0xDC: 2, 0xDD: 4}
_MAP = {0xDE: 2, 0xDF: 4}


def decode(data: bytes) -> Any:
    """The value that ``data`` holds in any form of msgpack, canonical or not. Raises PackingError."""
    value, rest = _decode(data)
    if rest:
        raise PackingError("something follows the value")
    return value


def is_canonical(data: bytes) -> bool:
    """Whether ``data`` is the canonical msgpack of something."""
    try:
        return encode(decode(data)) == data
    except PackingError:
        return False


def _take(data: bytes, count: int) -> tuple[bytes, bytes]:
    if len(data) < count:
        raise PackingError("ends too early")
    return data[:count], data[count:]


def _decode(data: bytes) -> tuple[Any, bytes]:
    head, data = _take(data, 1)
    tag = head[0]
    if tag <= 0x7F:
        return tag, data
    if tag >= 0xE0:
        return tag - 256, data
    if tag in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[tag], data
    if tag in _INTS or tag in _SIGNED:
        raw, data = _take(data, _INTS.get(tag) or _SIGNED[tag])
        return int.from_bytes(raw, "big", signed=tag in _SIGNED), data
    for first, last, sizes, build in (
        (0x80, 0x8F, _MAP, _decode_map),
        (0x90, 0x9F, _LIST, _decode_list),
        (0xA0, 0xBF, _TEXT, _decode_text),
        (1, 0, _BYTES, _take),
    ):
        if first <= tag <= last:
            return build(data, tag - first)
        if tag in sizes:
            raw, data = _take(data, sizes[tag])
            return build(data, int.from_bytes(raw, "big"))
    raise PackingError(f"tag {tag:#x} is no part of the canonical form")


def _decode_text(data: bytes, length: int) -> tuple[Any, bytes]:
    raw, data = _take(data, length)
    try:
        return raw.decode("utf-8"), data
    except UnicodeDecodeError as error:
        raise PackingError("text that is no UTF-8") from error


def _decode_list(data: bytes, length: int) -> tuple[Any, bytes]:
    items = []
    for _ in range(length):
        item, data = _decode(data)
        items.append(item)
    return items, data


def _decode_map(data: bytes, length: int) -> tuple[Any, bytes]:
    pairs: dict[str, Any] = {}
    for _ in range(length):
        key, data = _decode(data)
        if not isinstance(key, str) or key in pairs:
            raise PackingError("a map's keys are distinct texts")
        pairs[key], data = _decode(data)
    return pairs, data


def H(items: Sequence[Any]) -> bytes:
    """H of section 9: sha256 of the canonical msgpack of an array."""
    return sha256(encode(list(items))).digest()
