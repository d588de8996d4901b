"""Keys of the state by their hash, for a node whose store is held by itself: its snapshots on disk hold them."""

from hashlib import sha256
from pathlib import Path

from state.chunks import open_chunk
from state.errors import SnapshotError
from state.snapshot import heights, read_chunks, read_manifest


def keys_in_snapshots(folder: Path, wanted: set[bytes]) -> dict[bytes, bytes]:
    """The canonical keys whose sha256 is among ``wanted``, from the newest snapshot in ``folder``, if it has them."""
    found: dict[bytes, bytes] = {}
    for height in heights(folder)[-1:]:
        try:
            manifest = read_manifest(folder, height)
            for index, packed in enumerate(read_chunks(folder, manifest)):
                for _, key, _ in open_chunk(packed, manifest.chunks[index], index):
                    k = sha256(key).digest()
                    if k in wanted:
                        found[k] = key
        except SnapshotError:
            break  # a damaged snapshot names no more keys: the difference is told by hashes
    return found
