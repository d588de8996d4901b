"""Typed tables: how keys and values become bytes, for the store and for roots, traces and proofs.

A value is a frozen msgspec struct that encodes as an array of its fields; msgspec writes the same shortest forms as
:mod:`state.codec` (a test holds the two together). Nobody writes a key by hand.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Generic, TypeVar

import msgspec

from state.errors import CodecError

Key = tuple[int | str | bytes, ...]
V = TypeVar("V", bound="Value")


#: Keys of a table whose bytes are kept at hand.
_KEYS = 4096


class Value(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of all values: immutable, compared by content, encoded as an array."""


_encode = msgspec.msgpack.Encoder().encode


class Table(Generic[V]):
    """A named set of entries with typed key fields and one value type.

    ``resident`` tables are bounded and small: the state keeps them decoded in memory. ``fixed`` makes a table
    with exactly one entry, under that key of the table ``name`` (the singletons of ``meta``).
    """

    __slots__ = ("_decode_key", "decode", "fields", "fixed", "name", "prefix", "resident", "store_key", "value")

    def __init__(
        self, name: str, fields: tuple[type, ...], value: type[V], *, resident: bool = False, fixed: Key = ()
    ) -> None:
        self.name = name
        self.fields = fields
        self.value = value
        self.resident = resident
        self.fixed = fixed
        self.prefix = name.encode() + b"\0"
        self.decode = msgspec.msgpack.Decoder(value).decode
        #: The key inside the store: ordered as the fields are (integers by size, text by its bytes). The same few keys
        #: are asked for again and again within a block.
        self.store_key: Callable[[Key], bytes] = lru_cache(maxsize=_KEYS)(self._store_key)
        self._decode_key = msgspec.msgpack.Decoder(tuple.__class_getitem__(fields)).decode

    def key(self, fields: Key) -> bytes:
        """The canonical msgpack array of the key fields: what roots, traces and proofs speak of."""
        try:
            return _encode(fields)
        except (OverflowError, UnicodeEncodeError) as error:
            raise CodecError(f"{self.name}: the key {fields!r} has no canonical form") from error

    def unpack_key(self, packed: bytes) -> Key:
        """The fields of a key that :meth:`key` made. Raises CodecError for any other bytes."""
        try:
            fields: Key = self._decode_key(packed)
            again = _encode(fields)
        except (msgspec.MsgspecError, ValueError, OverflowError) as error:
            raise CodecError(f"no key of the table {self.name}: {packed[:32].hex()}...") from error
        if again != packed or any(type(field) is int and field < 0 for field in fields):
            raise CodecError(f"not the canonical form of a key of the table {self.name}: {packed[:32].hex()}...")
        return fields

    def _store_key(self, fields: Key) -> bytes:
        return self.prefix + b"".join(map(_ordered, fields))

    def parse_key(self, stored: bytes) -> Key:
        """The fields of a key that :meth:`store_key` made."""
        fields: list[int | str | bytes] = []
        at = len(self.prefix)
        for kind in self.fields:
            if kind is int:
                fields.append(int.from_bytes(stored[at : at + 8], "big"))
                at += 8
                continue
            end = _end_of_text(stored, at)
            raw = stored[at:end].replace(b"\0\xff", b"\0")
            fields.append(raw.decode() if kind is str else raw)
            at = end + 2
        return tuple(fields)


def encode_value(value: Value) -> bytes:
    """The canonical msgpack array of a value's fields."""
    return _encode(value)


def _ordered(field: int | str | bytes) -> bytes:
    if type(field) is int:
        return field.to_bytes(8, "big")
    raw = field.encode() if isinstance(field, str) else bytes(field)
    return raw.replace(b"\0", b"\0\xff") + b"\0\0"


def _end_of_text(stored: bytes, at: int) -> int:
    while True:
        at = stored.index(b"\0", at)
        if stored[at + 1] == 0:
            return at
        at += 2
