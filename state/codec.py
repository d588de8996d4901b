"""Canonical msgpack and H (protocol section 9).

One value has one encoding: shortest forms, text as str, bytes as bin, no float, no extension type. A map is
allowed in one place only, the genesis document, with its keys sorted by bytes.
"""

from hashlib import sha256
from typing import Any

import msgpack

from state.errors import CodecError

INT_MIN, INT_MAX = -(2**63), 2**64 - 1
_CONTAINER_LIMIT = 1 << 20


def _checked(value: Any, depth: int) -> Any:
    """``value`` with tuples as lists and map keys sorted; CodecError for what has no canonical form."""
    if depth > 32:
        raise CodecError("nested deeper than 32: flatten the value")
    kind = type(value)
    if kind is int:
        if not INT_MIN <= value <= INT_MAX:
            raise CodecError(f"integer {value} does not fit 64 bits")
        return value
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise CodecError("text with a lone surrogate has no UTF-8 form") from error
        return value
    if kind is bytes or kind is bool or value is None:
        return value
    if kind is list or kind is tuple:
        return [_checked(item, depth + 1) for item in value]
    if kind is dict:
        if not all(type(key) is str for key in value):
            raise CodecError("a map has text keys only")
        return {_checked(key, depth): _checked(value[key], depth + 1) for key in sorted(value)}
    raise CodecError(f"{kind.__name__} has no canonical form: use int, str, bytes, bool, None, list or map")


def pack(value: Any) -> bytes:
    """The canonical msgpack of ``value`` (int, str, bytes, bool, None, lists and str-keyed maps of these)."""
    packed: bytes = msgpack.packb(_checked(value, 0), use_bin_type=True)
    return packed


def unpack(data: bytes) -> Any:
    """The value that ``data`` is the canonical form of; CodecError if it is not canonical."""
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_array_len=_CONTAINER_LIMIT,
            max_map_len=_CONTAINER_LIMIT,
            max_ext_len=0,
        )
        again = pack(value)
    except (ValueError, TypeError, CodecError, msgpack.UnpackException) as error:
        raise CodecError(f"not canonical msgpack: {data[:32].hex()}...") from error
    if again != data:
        raise CodecError(f"not the canonical form of its value: {data[:32].hex()}...")
    return value


def H(value: list[Any]) -> bytes:
    """32 bytes: sha256 of the canonical msgpack of the array ``value`` (protocol section 9)."""
    return sha256(pack(value)).digest()
