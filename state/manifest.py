"""What a snapshot says of itself: height, root, and the hash of each chunk. Read strictly: it may come from a liar.

The text is json with one form: what reads a manifest writes it again and compares.
"""

from typing import Annotated, Any

import msgspec

from state.codec import H
from state.errors import SnapshotError

#: Format of manifest and chunks.
SNAPSHOT_FORMAT = 1
#: Bytes of a chunk before compression, above which it is closed; an entry may still go over it.
CHUNK_BYTES = 1 << 20
MAX_CHUNK_BYTES = 4 << 20  # of one chunk, before compression or after
MAX_CHUNKS = 65_536
MAX_MANIFEST_BYTES = 16 << 20
_OTHER = "ask another server for it, or take another snapshot"

_U32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_Hex32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
_Hex20 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{40}$", max_length=40)]
_Bytes = Annotated[int, msgspec.Meta(ge=1, le=MAX_CHUNK_BYTES)]


class Chunk(msgspec.Struct, frozen=True):
    """One file of a snapshot: sha256 and size of its bytes, and their size when decompressed."""

    sha256: bytes
    size: int
    raw_size: int


class Manifest(msgspec.Struct, frozen=True):
    """A snapshot of the state after block ``height``. ``entries`` counts those of all tables."""

    genesis_hash: bytes  # 32
    height: int
    block_id: bytes  # 20
    timestamp: int  # of the block, seconds since 1970
    root: bytes  # 32
    entries: int
    chunks: tuple[Chunk, ...]

    @property
    def raw_bytes(self) -> int:
        """Bytes of all chunks when decompressed: about what the tables will need on disk, or what a liar claims."""
        return sum(chunk.raw_size for chunk in self.chunks)

    @property
    def hash(self) -> bytes:
        """32 bytes that name this manifest: two servers with the same one have the same chunks."""
        chunks = [[chunk.sha256, chunk.size, chunk.raw_size] for chunk in self.chunks]
        about = [self.genesis_hash, self.height, self.block_id, self.timestamp, self.root, self.entries]
        return H(["snapshot", SNAPSHOT_FORMAT, *about, chunks])


class _ChunkText(msgspec.Struct, forbid_unknown_fields=True):
    sha256: _Hex32
    size: _Bytes
    raw_size: _Bytes


class _Text(msgspec.Struct, forbid_unknown_fields=True):
    format: Annotated[int, msgspec.Meta(ge=0, le=2**32)]
    genesis_hash: _Hex32
    height: _U32
    block_id: _Hex20
    timestamp: _U32
    root: _Hex32
    entries: Annotated[int, msgspec.Meta(ge=1, le=2**40)]
    chunks: Annotated[list[_ChunkText], msgspec.Meta(min_length=1, max_length=MAX_CHUNKS)]
    hash: _Hex32


_decode = msgspec.json.Decoder(_Text).decode


def write_manifest(manifest: Manifest) -> bytes:
    """The text of a manifest."""
    return msgspec.json.encode(
        _Text(
            SNAPSHOT_FORMAT,
            manifest.genesis_hash.hex(),
            manifest.height,
            manifest.block_id.hex(),
            manifest.timestamp,
            manifest.root.hex(),
            manifest.entries,
            [_ChunkText(chunk.sha256.hex(), chunk.size, chunk.raw_size) for chunk in manifest.chunks],
            manifest.hash.hex(),
        )
    )


def parse_manifest(text: bytes) -> Manifest:
    """The manifest of a text. Raises SnapshotError for anything but what ``write_manifest`` makes."""
    if len(text) > MAX_MANIFEST_BYTES:
        raise SnapshotError(f"a manifest of {len(text)} bytes, more than {MAX_MANIFEST_BYTES}: {_OTHER}")
    try:
        found = _decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SnapshotError(f"no manifest ({error}): {text[:60]!r}...; {_OTHER}") from error
    if found.format != SNAPSHOT_FORMAT:
        raise SnapshotError(
            f"a snapshot of format {found.format}, this version knows {SNAPSHOT_FORMAT}: install the version that "
            f"made it, or take another snapshot"
        )
    manifest = Manifest(
        bytes.fromhex(found.genesis_hash),
        found.height,
        bytes.fromhex(found.block_id),
        found.timestamp,
        bytes.fromhex(found.root),
        found.entries,
        tuple(Chunk(bytes.fromhex(chunk.sha256), chunk.size, chunk.raw_size) for chunk in found.chunks),
    )
    if write_manifest(manifest) != text:
        raise SnapshotError(f"the manifest's hash is not that of its content, or it has another form: {_OTHER}")
    return manifest


def expect(manifest: Manifest, **wanted: Any) -> None:
    """Raises SnapshotError unless the manifest's fields are those wanted."""
    for name, value in wanted.items():
        found = getattr(manifest, name)
        if found != value:
            raise SnapshotError(f"the snapshot's {name} is {_show(found)}, wanted is {_show(value)}: {_OTHER}")


def _show(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
