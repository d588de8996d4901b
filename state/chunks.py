"""The entries of a snapshot, in chunks: written by one, checked to the last byte by who takes them.

A chunk is the msgpack array of its entries [table name, canonical key, canonical value], compressed with zstd. All
entries of all chunks go by table name, then by the order of the store.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, Protocol

import msgspec
import zstandard

from state import merkle
from state.canonical import READERS, locate, value_of
from state.codec import H
from state.errors import CodecError, SnapshotError
from state.layout import ROOTS, TABLES, TREES, TREES_AT, of_height, of_tree
from state.manifest import CHUNK_BYTES, MAX_CHUNK_BYTES, Chunk, Manifest
from state.schema import HEAD, Head
from state.store import Reader
from state.tree import Tree

_LEVEL = 3
_ENTRY_BYTES = 8  # about what msgpack adds to an entry
_ANOTHER = "take the snapshot from another server"

_PARTS = 256  # of a table's tree while it is built: by the first byte
_SHARED = 2  # a letter and at most one nibble: pages and buckets above what a part has for itself
_SPILL_BYTES = 64 << 10  # of one part, above which it leaves the memory
#: Entries of one part, above which nothing is built: far more than chance puts there, who chose the keys chose them so.
MOST_IN_PART = 1 << 18

Entry = tuple[str, bytes, bytes]
Put = Callable[[bytes, bytes | None], None]


class Aside(Protocol):
    """Bytes that are kept beside a process's memory, and gone with it."""

    def write(self, data: bytes) -> int:
        """Keep it; returns where."""

    def read(self, place: int, size: int) -> bytes:
        """What was kept there."""

    def clear(self) -> None:
        """Nothing of it is needed any more."""


class Leaves:
    """The leaves of one table in parts; with ``aside``, little of them stays in memory."""

    def __init__(self, aside: Aside | None) -> None:
        self._aside = aside
        self._parts = [bytearray() for _ in range(_PARTS)]
        self._places: list[list[tuple[int, int]]] = [[] for _ in range(_PARTS)]
        self._counts = [0] * _PARTS

    def add(self, k: bytes, v: bytes) -> None:
        """Take a leaf. Raises SnapshotError."""
        part = self._parts[k[0]]
        part += k + v
        self._counts[k[0]] += 1
        if self._counts[k[0]] > MOST_IN_PART:
            raise SnapshotError(f"more than {MOST_IN_PART} keys whose hash begins alike: no table is so; {_ANOTHER}")
        if self._aside is not None and len(part) >= _SPILL_BYTES:
            self._places[k[0]].append((self._aside.write(bytes(part)), len(part)))
            part.clear()

    def parts(self) -> Iterator[list[tuple[bytes, bytes]]]:
        """The leaves of one part after the other; each is forgotten then."""
        for part, places in zip(self._parts, self._places, strict=True):
            spilled = [self._aside.read(*place) for place in places] if self._aside is not None else []
            found = b"".join([*spilled, part])
            part.clear()
            yield [(found[at : at + 32], found[at + 32 : at + 64]) for at in range(0, len(found), 64)]
        if self._aside is not None:
            self._aside.clear()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Entry]).decode


def chunks_of(reader: Reader) -> Iterator[tuple[bytes, Chunk, int]]:
    """(bytes of a chunk, what the manifest says of it, how many entries) of all tables of a store, one by one."""
    compress = zstandard.ZstdCompressor(level=_LEVEL).compress
    entries: list[Entry] = []
    size = 0
    for stored, value in reader.iterate(TABLES):
        entry = (*_canonical(stored[1:]), value)
        entries.append(entry)
        size += len(entry[0]) + len(entry[1]) + len(value) + _ENTRY_BYTES
        if size >= CHUNK_BYTES:
            yield _chunk(compress, entries)
            entries, size = [], 0
    if entries:
        yield _chunk(compress, entries)


def _canonical(stored: bytes) -> tuple[str, bytes]:
    """(table name, canonical key) of a key in the store."""
    name = stored[: stored.index(b"\0")].decode()
    table = READERS[name]
    return name, table.key(table.parse_key(stored))


def _chunk(compress: Callable[[bytes], bytes], entries: list[Entry]) -> tuple[bytes, Chunk, int]:
    raw = _encode(entries)
    packed = compress(raw)
    if max(len(raw), len(packed)) > MAX_CHUNK_BYTES:
        raise SnapshotError(
            f"the entry {entries[-1][1][:64].hex()} of {entries[-1][0]} makes a chunk of {len(raw)} bytes, more than "
            f"{MAX_CHUNK_BYTES}: nobody would take it. Report this, the rules should not allow such an entry"
        )
    return packed, Chunk(sha256(packed).digest(), len(packed), len(raw)), len(entries)


def open_chunk(packed: bytes, chunk: Chunk, index: int) -> list[Entry]:
    """The entries of a chunk whose bytes are those of the manifest. Raises SnapshotError."""
    if len(packed) != chunk.size or sha256(packed).digest() != chunk.sha256:
        raise SnapshotError(f"chunk {index} is not the one of the manifest: ask for it again, or another server")
    try:
        if zstandard.get_frame_parameters(packed).content_size != chunk.raw_size:
            raise SnapshotError(f"chunk {index} would not become {chunk.raw_size} bytes: {_ANOTHER}")
        # the size in the frame is checked above, and more than it says is not written
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_CHUNK_BYTES)
        raw = decompressor.decompress(packed, max_output_size=chunk.raw_size, allow_extra_data=False)
        entries = _decode(raw)
    except (zstandard.ZstdError, msgspec.MsgspecError, ValueError) as error:
        raise SnapshotError(f"chunk {index} cannot be read ({error}): {_ANOTHER}") from error
    if len(raw) != chunk.raw_size or not entries:
        raise SnapshotError(f"chunk {index} does not hold what the manifest says: {_ANOTHER}")
    return entries


class Intake:
    """Takes the chunks of a snapshot in their order, checks them, and hands what belongs in a store to ``put``.

    What was put is worth something only after ``finish``: until then no root has been compared. Without ``put`` it only
    checks. Without ``aside`` 64 bytes of each entry stay in memory until its table is at its end. Nothing may be fed
    after an error.
    """

    def __init__(self, manifest: Manifest, put: Put | None = None, aside: Aside | None = None) -> None:
        self._manifest = manifest
        self._put = put or _nowhere
        self._chunk = 0
        self._entries = 0
        self._last = b""
        self._name = ""
        self._aside = aside
        self._leaves = Leaves(aside)
        self._tops: list[merkle.Entry] = []
        self._head: Any = None

    def feed(self, packed: bytes) -> None:
        """Take the next chunk. Raises SnapshotError."""
        if self._chunk >= len(self._manifest.chunks):
            raise SnapshotError(f"more than the {self._chunk} chunks of the manifest: {_ANOTHER}")
        entries = open_chunk(packed, self._manifest.chunks[self._chunk], self._chunk)
        try:
            for name, key, raw in entries:
                self._take(name, key, raw)
        except CodecError as error:
            raise SnapshotError(f"chunk {self._chunk}: {error}; {_ANOTHER}") from error
        self._chunk += 1
        self._entries += len(entries)

    def finish(self) -> None:
        """All chunks were fed: they are the state that the manifest speaks of. Raises SnapshotError."""
        told = self._manifest
        if self._chunk != len(told.chunks):
            raise SnapshotError(f"{self._chunk} of {len(told.chunks)} chunks: feed the others too")
        self._close_table()
        root = H(["root", told.genesis_hash, merkle.root_of(sorted(self._tops))])
        if root != told.root:
            raise SnapshotError(f"the entries have the root {root.hex()}, not {told.root.hex()}: {_ANOTHER}")
        if self._head != Head(told.height, told.block_id, told.timestamp):
            raise SnapshotError(f"the entries are those after {self._head}, not after block {told.height}: {_ANOTHER}")
        if self._entries != told.entries:
            raise SnapshotError(f"{self._entries} entries, not the {told.entries} of the manifest: {_ANOTHER}")
        self._put(of_height(ROOTS, told.height), root)
        self._put(TREES_AT, told.height.to_bytes(8, "big"))

    def _take(self, name: str, packed: bytes, raw: bytes) -> None:
        table, key = locate(name, packed)
        value = value_of(table, raw)
        if table is HEAD:
            self._head = value
        stored = table.store_key(key)
        if stored <= self._last:
            raise SnapshotError(f"the entry {key!r} of {name} is twice there, or not in its place: {_ANOTHER}")
        if name != self._name:
            self._close_table()
            self._name = name
        self._last = stored
        k = sha256(packed).digest()
        self._leaves.add(k, sha256(raw).digest())
        self._put(TABLES + stored, raw)

    def _close_table(self) -> None:
        """Build the tree of the table that was read to its end, a part at a time: sorted, from nothing."""
        if self._name:
            prefix, put, top = of_tree(TREES, self._name), self._put, {}

            def write(path: bytes, value: bytes | None) -> None:
                put(prefix + path, value)
                if len(path) <= _SHARED:  # what several parts have in common
                    top[path] = value

            tree = Tree(top.get, write)
            for leaves in self._leaves.parts():
                tree.update(leaves)
            self._tops.append((sha256(self._name.encode()).digest(), tree.root()))
        self._leaves = Leaves(self._aside)


def _nowhere(key: bytes, value: bytes | None) -> None:
    """Where entries go that are only checked."""
