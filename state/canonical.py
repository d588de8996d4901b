"""Entries as canonical bytes, as roots, traces, undo records and snapshots speak of them, back to typed ones."""

from typing import Any

import msgspec

from state.errors import CodecError
from state.schema import SINGLETONS, TABLES
from state.table import Key, Table, Value, encode_value

_TABLES: dict[str, Table[Any]] = {table.name: table for table in TABLES}
_SINGLETONS: dict[str, dict[Key, Table[Any]]] = {}
for _table in SINGLETONS:
    _SINGLETONS.setdefault(_table.name, {})[_table.fixed] = _table
#: A table of each name, to read its keys with: of those of singletons any one serves.
READERS: dict[str, Table[Any]] = {**_TABLES, **{table.name: table for table in SINGLETONS}}


def locate(name: str, packed: bytes) -> tuple[Table[Any], Key]:
    """The table and the key fields of a canonical key. Raises CodecError if there is no such table, or no such key."""
    reader = READERS.get(name)
    if reader is None:
        raise CodecError(f"there is no table {name[:32]!r}: it is of a newer version, or made up")
    key = reader.unpack_key(packed)
    table = _TABLES.get(name) or _SINGLETONS[name].get(key)
    if table is None:
        raise CodecError(f"the table {name} has no entry {key!r}")
    return table, key


def value_of(table: Table[Any], raw: bytes) -> Value:
    """The value that ``raw`` is the canonical form of. Raises CodecError."""
    try:
        value: Value = table.decode(raw)
        again = encode_value(value)
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise CodecError(f"no value of the table {table.name}: {raw[:32].hex()}...") from error
    if again != raw:
        raise CodecError(f"not the canonical form of a value of the table {table.name}: {raw[:32].hex()}...")
    return value
