"""What a comparison of two nodes finds, for people and for machines."""

from hashlib import sha256
from typing import Any

import msgspec

from node.sync.readable import shown_entry
from node.sync.walk import MOST_ENTRIES
from node.sync.wire import Changes
from state.canonical import locate
from state.errors import CodecError

#: What stands for the value of an entry that a block left as it was, where the value itself is not known.
UNCHANGED = "unchanged by this block"
_MOST_LETTERS = 300


class EntryDifference(msgspec.Struct, frozen=True):
    """An entry that differs; ``key`` are its fields, or None where only ``k`` = sha256 of the key is known (hex).

    A value is a map of its fields, None = absent, or words where it is not known.
    """

    table: str
    k: str
    key: list[Any] | None
    ours: Any
    theirs: Any


class Difference(msgspec.Struct, frozen=True):
    """How two nodes stand to each other.

    ``kind``: equal; blocks (their feeds differ: other block ids at ``height``); state (the same block changed other
    entries); older (they differ since before the traces that both keep; ``height`` is where they were compared).
    ``table``, ``key``, ``ours``, ``theirs`` are those of the first of ``entries``. ``oldest`` and ``newest`` are the
    blocks that were compared by their traces, -1 without any; ``again`` is where they agree again, if they do.
    """

    kind: str
    height: int
    words: str
    oldest: int = -1
    newest: int = -1
    again: int | None = None
    table: str | None = None
    key: list[Any] | None = None
    ours: Any = None
    theirs: Any = None
    block_ids: tuple[str, str] | None = None
    tables: list[str] = []
    entries: list[EntryDifference] = []


def changed_otherwise(one: Changes, other: Changes, prefix: str) -> list[EntryDifference]:
    """The entries that a block left otherwise, in the order of a trace."""
    lists = [{(change.table, change.key): change.value for change in side.changed} for side in (one, other)]
    differing = [
        at for at in lists[0].keys() | lists[1].keys() if lists[0].get(at, UNCHANGED) != lists[1].get(at, UNCHANGED)
    ]
    before: dict[tuple[str, bytes], bytes | None] = {}
    for side in (one, other):
        if side.old is not None:
            before.update(zip(((c.table, c.key) for c in side.changed), side.old, strict=True))
    found = []
    for table, packed in sorted(differing, key=_order)[:MOST_ENTRIES]:
        values: list[Any] = []
        for listed in lists:
            known = listed if (table, packed) in listed else before
            if (table, packed) in known:
                values.append(shown_entry(table, packed, known[table, packed], prefix)[1])
            else:
                values.append(UNCHANGED)
        key, _ = shown_entry(table, packed, None, prefix)
        found.append(EntryDifference(table, sha256(packed).hexdigest(), key, *values))
    return found


def _order(at: tuple[str, bytes]) -> tuple[str, bool, Any]:
    """By table name, then by the fields of the key; keys that are none come last."""
    table, packed = at
    try:
        return table, False, locate(table, packed)[1]
    except CodecError:
        return table, True, packed


def words_of(entry: EntryDifference) -> str:
    """An entry that differs, in one line."""
    key = "/".join(str(field) for field in entry.key) if entry.key is not None else f"(sha256 {entry.k})"
    return f"{entry.table}/{_short(key)}, here {_short(entry.ours)}, there {_short(entry.theirs)}"


def _short(value: Any) -> str:
    """A value that may be a stranger's, fit for a terminal."""
    text = "absent" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = ascii(text)[1:-1]
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 3]}..."
