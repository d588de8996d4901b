"""Root of a set, table root, state root, trace: straight from docs/protocol.md section 9, from all entries each time.

An entry of a table is (key fields, value fields); a state is {table name: {key fields: value fields}}.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from tests.reference.packing import H, encode

ZERO = bytes(32)
Fields = tuple[Any, ...]
Entries = Mapping[Fields, Sequence[Any]]
Pair = tuple[bytes, bytes]


def digest(*parts: bytes) -> bytes:
    """sha256 of the parts, joined."""
    return sha256(b"".join(parts)).digest()


def bits(k: bytes) -> str:
    """The bits of ``k`` as text of 0 and 1, the highest first."""
    return "".join(f"{byte:08b}" for byte in k)


def set_root(pairs: Sequence[Pair], depth: int = 0) -> bytes:
    """The root of the entries (k, v) as seen from ``depth``; every k is 32 bytes and stands once."""
    if not pairs:
        return ZERO
    if len(pairs) == 1:
        return digest(b"\x00", *pairs[0])
    low = [pair for pair in pairs if bits(pair[0])[depth] == "0"]
    high = [pair for pair in pairs if bits(pair[0])[depth] == "1"]
    return digest(b"\x01", set_root(low, depth + 1), set_root(high, depth + 1))


def table_pairs(entries: Entries) -> list[Pair]:
    """The entries of a table as (k, v) of its root."""
    return [(digest(encode(list(key))), digest(encode(list(value)))) for key, value in entries.items()]


def state_pairs(state: Mapping[str, Entries]) -> list[Pair]:
    """The tables that hold anything, as (k, v) of the state's tree."""
    return [
        (digest(name.encode("utf-8")), set_root(table_pairs(entries))) for name, entries in state.items() if entries
    ]


def state_root(genesis_hash: bytes, state: Mapping[str, Entries]) -> bytes:
    """The state's root."""
    return H(["root", genesis_hash, set_root(state_pairs(state))])


def sort_key(table: str, fields: Fields) -> tuple[Any, ...]:
    """Orders by table name, then key fields: integers by size, text by its bytes."""
    return (table.encode(), tuple(field.encode() if isinstance(field, str) else field for field in fields))


def changes(before: Mapping[str, Entries], after: Mapping[str, Entries]) -> list[list[Any]]:
    """The list of a trace: [table, key, new value or nil] of every key whose value differs, in order."""
    found: list[tuple[str, Fields]] = []
    for table in set(before) | set(after):
        old, new = before.get(table, {}), after.get(table, {})
        found += [(table, key) for key in set(old) | set(new) if _value(old, key) != _value(new, key)]
    found.sort(key=lambda place: sort_key(*place))
    return [[table, encode(list(key)), _value(after.get(table, {}), key)] for table, key in found]


def _value(entries: Entries, key: Fields) -> bytes | None:
    return encode(list(entries[key])) if key in entries else None


def trace(before: bytes, block_id: bytes, listed: Sequence[Sequence[Any]]) -> bytes:
    """trace(h), from the trace or root that stands before it."""
    return H(["trace", before, block_id, [list(change) for change in listed]])


def genesis_trace(block_id: bytes, state: Mapping[str, Entries]) -> bytes:
    """The trace of the genesis state."""
    return trace(ZERO, block_id, changes({}, state))
