"""The root computed anew from every entry: what the store holds is what its tree says (protocol section 9)."""

from hashlib import sha256
from typing import Any

from state import merkle
from state.codec import H
from state.schema import SINGLETONS, TABLES
from state.state import State
from state.table import Table, encode_value


def recomputed_root(state: State) -> bytes:
    """The root of all entries as they stand now, without the stored tree. O(entries) in time and memory."""
    tables: dict[str, list[merkle.Entry]] = {}
    for table in TABLES:
        tables.setdefault(table.name, []).extend(_entry(table, key, value) for key, value in state.walk(table))
    for table in SINGLETONS:
        value = state.get(table)
        if value is not None:
            tables.setdefault(table.name, []).append(_entry(table, table.fixed, value))
    tops = [(sha256(name.encode()).digest(), merkle.root_of(sorted(found))) for name, found in tables.items() if found]
    return H(["root", state.genesis_hash, merkle.root_of(sorted(tops))])


def _entry(table: Table[Any], key: Any, value: Any) -> merkle.Entry:
    return sha256(table.key(key)).digest(), sha256(encode_value(value)).digest()
