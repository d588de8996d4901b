"""What another node answers, read strictly: types, lengths, and that it speaks of what was asked.

Nothing here is believed: who reads it holds it against traces, roots and hashes.
"""

from typing import Annotated, Any, NamedTuple

import msgspec

from state.merkle import Entry
from state.undo import Changed

#: Traces in one answer of /v1/trace, entries of a bucket, manifests of a list: more than these nobody sends.
MOST_TRACES, MOST_ENTRIES, MOST_MANIFESTS = 100, 32, 32
_SLOTS = 15  # of the 31 nodes of a page the last 16 are its slots
_MOST_CHANGES = 1 << 18

_U32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_Kind = Annotated[int, msgspec.Meta(ge=0, le=7)]
_Hex = Annotated[str, msgspec.Meta(pattern=r"\A(?:[0-9a-f]{2})*\Z")]
_Hex20 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{40}\Z")]
_Hex32 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
_Name = Annotated[str, msgspec.Meta(pattern=r"\A[a-z_]{1,32}\Z")]
_Path = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{0,64}\Z")]


class TraceAt(NamedTuple):
    """The trace (32 bytes) of a block; ``block_id`` (20 bytes) is None where nothing else is kept of it."""

    height: int
    block_id: bytes | None
    trace: bytes


class Changes(NamedTuple):
    """What a block changed, in the order of its trace, and what that stands on.

    ``old`` are the values that were replaced, where somebody knows them.
    """

    height: int
    before: bytes  # 32
    block_id: bytes  # 20
    trace: bytes  # 32
    changed: list[Changed]
    old: list[bytes | None] | None = None


class Page(NamedTuple):
    """The 16 slots of a page of a tree: what lies below each (state/tree.py), and its hash."""

    kinds: tuple[int, ...]
    hashes: tuple[bytes, ...]


Branch = Page | list[Entry]


class Wrong(msgspec.Struct):
    """An error that a node tells of; ``height`` names one that is there."""

    error: Annotated[str, msgspec.Meta(max_length=64)] = ""
    message: Annotated[str, msgspec.Meta(max_length=1_024)] = ""
    height: _U32 | None = None


class Snapshots(msgspec.Struct):
    """Manifests as they were written."""

    snapshots: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MOST_MANIFESTS)]


class Root(msgspec.Struct):
    """A root after a block that ended a round."""

    height: _U32
    root: _Hex32


class Tops(msgspec.Struct):
    """The roots of the tables."""

    height: _U32
    tables: Annotated[list[tuple[_Name, _Hex32]], msgspec.Meta(max_length=256)]


class BranchText(msgspec.Struct):
    """A page or a bucket."""

    height: _U32
    table: _Name
    path: _Path
    kinds: Annotated[list[_Kind], msgspec.Meta(min_length=31, max_length=31)] | None = None
    hashes: Annotated[list[_Hex32], msgspec.Meta(min_length=31, max_length=31)] | None = None
    entries: Annotated[list[tuple[_Hex32, _Hex32]], msgspec.Meta(min_length=1, max_length=MOST_ENTRIES)] | None = None

    def branch(self) -> Branch | None:
        """What it is, None if it is neither, or both."""
        if (self.kinds is None) != (self.hashes is None) or (self.kinds is None) == (self.entries is None):
            return None
        if self.entries is not None:
            return [(bytes.fromhex(k), bytes.fromhex(v)) for k, v in self.entries]
        hashes = tuple(bytes.fromhex(one) for one in (self.hashes or [])[_SLOTS:])
        return Page(tuple((self.kinds or [])[_SLOTS:]), hashes)


class Traces(msgspec.Struct):
    """Traces one after the other."""

    height: _U32
    traces: Annotated[list[tuple[_U32, _Hex20 | None, _Hex32]], msgspec.Meta(min_length=1, max_length=MOST_TRACES)]

    def found(self) -> list[TraceAt]:
        """As bytes."""
        return [
            TraceAt(height, None if block_id is None else bytes.fromhex(block_id), bytes.fromhex(trace))
            for height, block_id, trace in self.traces
        ]


class ChangesText(msgspec.Struct):
    """What a block changed."""

    height: _U32
    block_id: _Hex20
    before: _Hex32
    trace: _Hex32
    changes: Annotated[list[tuple[_Name, _Hex, _Hex | None]], msgspec.Meta(max_length=_MOST_CHANGES)]

    def found(self) -> Changes:
        """As bytes."""
        changed = [
            Changed(table, bytes.fromhex(key), None if value is None else bytes.fromhex(value))
            for table, key, value in self.changes
        ]
        before, block_id, trace = (bytes.fromhex(text) for text in (self.before, self.block_id, self.trace))
        return Changes(self.height, before, block_id, trace, changed)


class ValueText(msgspec.Struct):
    """The value under a key."""

    height: _U32
    table: _Name
    key: _Hex
    value: _Hex | None


def decode(raw: bytes, kind: Any) -> Any:
    """Raises ValueError for anything but a ``kind``."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error
