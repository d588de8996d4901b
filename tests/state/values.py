"""Random keys and values of state.schema, and their fields as plain lists."""

import random
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from state.schema import Key, Table

INTEGERS = (0, 1, 9, 10, 99, 100, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1)
TEXTS = ("", "a", "aa", "ab", "b", "a\0", "a\0b", "a\x01", "z" * 31, "z" * 32, "é", "\uffff", "\U0001f41d", "10", "9")
BLOBS = (b"", b"\0", b"\0\0", b"\0\xff", b"\x01", b"\xff", b"\xff" * 33, bytes(32), b"ab", b"a", b"\0\1")


def some(chance: random.Random, kind: Any) -> Any:
    """A value of a field's type."""
    if kind is bool:
        return chance.random() < 0.5
    if kind is int:
        return chance.choice((chance.choice(INTEGERS), chance.randrange(2 ** chance.randrange(1, 63))))
    if kind is str:
        return chance.choice((chance.choice(TEXTS), f"name-{chance.randrange(1000)}"))
    if kind is bytes:
        return chance.choice((chance.choice(BLOBS), chance.randbytes(chance.randrange(70))))
    if kind is type(None):
        return None
    if get_origin(kind) in (Union, types.UnionType):
        return some(chance, chance.choice(get_args(kind)))
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if inner[-1] is Ellipsis:
            return tuple(some(chance, inner[0]) for _ in range(chance.choice((0, 1, 2, 17))))
        return tuple(some(chance, one) for one in inner)
    return value_of(chance, kind)


def value_of(chance: random.Random, kind: type) -> Any:
    """A value of a struct type."""
    return kind(*(some(chance, hint) for hint in get_type_hints(kind).values() if get_origin(hint) is not type))


def key_of(chance: random.Random, table: Table[Any]) -> Key:
    """A key of a table."""
    return table.fixed or tuple(some(chance, kind) for kind in table.fields)


def fields(value: Any) -> Any:
    """The fields of a value as lists, all the way down."""
    if isinstance(value, msgspec.Struct):
        return [fields(getattr(value, name)) for name in value.__struct_fields__]
    return [fields(item) for item in value] if isinstance(value, tuple) else value


def order(key: Key) -> tuple[Any, ...]:
    """Sorts by key fields: integers by size, text by its bytes."""
    return tuple(field.encode() if isinstance(field, str) else field for field in key)
