"""Snapshots: the whole state at the end of a round, in files that another node can check and begin with.

A snapshot is a folder HEIGHT/ with chunk files 00000.zst ... and manifest.json. It is written under another name and
renamed at the end, so whatever is listed is whole. It holds the tables; traces, undo records and older roots it does
not.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from state.chunks import Intake, chunks_of
from state.errors import SnapshotError, StateError
from state.layout import IDENTITY, ROOTS, TABLES, of_height
from state.manifest import MAX_MANIFEST_BYTES, Chunk, Manifest, expect, parse_manifest, write_manifest
from state.schema import HEAD
from state.store import Batch, LevelStore, Reader, clear_store, identify, settle_store, sync_path, write_synced

MANIFEST = "manifest.json"
_MAKING, _GOING = ".making-", ".going-"  # before the height, while a snapshot is being written or removed
_ASIDE = "set-aside-"
_MOST_ASIDE = 4  # what may be wrong is kept to be looked into, but not without end
_BATCH_BYTES = 4 << 20


def chunk_name(index: int) -> str:
    """The name of a chunk's file."""
    return f"{index:05}.zst"


def create(reader: Reader, folder: Path) -> Iterator[int]:
    """Write the snapshot of a frozen state into ``folder``; yields the entries written so far after each chunk.

    The caller closes ``reader``, and writes one at a time. A snapshot that is there already stays. Of one that is not
    written to its end nothing is listed, and the next one tidies up. Raises SnapshotError if the state is not at the
    end of a round, OSError.
    """
    raw, identity = reader.get(TABLES + HEAD.store_key(HEAD.fixed)), reader.get(IDENTITY)
    if raw is None or identity is None:
        raise SnapshotError("an empty state has no snapshot: wait for the end of a round")
    head = HEAD.decode(raw)
    root = reader.get(of_height(ROOTS, head.height))
    if root is None:
        raise SnapshotError(f"block {head.height} ends no round: freeze the state after one that does")
    target, making = folder.joinpath(str(head.height)), folder.joinpath(f"{_MAKING}{head.height}")
    folder.mkdir(parents=True, exist_ok=True)
    _tidy(folder)
    if target.exists():
        return
    making.mkdir()
    try:
        chunks: list[Chunk] = []
        entries = 0
        for content, chunk, count in chunks_of(reader):
            write_synced(making.joinpath(chunk_name(len(chunks))), content)
            chunks.append(chunk)
            entries += count
            yield entries
        manifest = Manifest(identity[1:], head.height, head.block_id, head.timestamp, root, entries, tuple(chunks))
        write_synced(making.joinpath(MANIFEST), write_manifest(manifest))
        sync_path(making)
        making.rename(target)
        sync_path(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def heights(folder: Path) -> list[int]:
    """The heights of the whole snapshots in ``folder``, the oldest first."""
    names = [path.name for path in folder.iterdir() if path.joinpath(MANIFEST).is_file()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isascii() and name.isdigit() and str(int(name)) == name)


def read_manifest(folder: Path, height: int) -> Manifest:
    """The manifest of a snapshot in ``folder``. Raises SnapshotError."""
    path = folder.joinpath(str(height), MANIFEST)
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise SnapshotError(f"{path} is larger than any manifest: remove that snapshot")
        manifest = parse_manifest(path.read_bytes())
    except OSError as error:
        raise SnapshotError(f"{path} cannot be read ({error}): take one of {heights(folder)}, or make one") from error
    expect(manifest, height=height)
    return manifest


def read_chunks(folder: Path, manifest: Manifest) -> Iterator[bytes]:
    """The bytes of the chunks of a snapshot in ``folder``, one by one, unchecked. Raises SnapshotError."""
    for index, chunk in enumerate(manifest.chunks):
        path = folder.joinpath(str(manifest.height), chunk_name(index))
        try:
            if path.stat().st_size != chunk.size:
                raise SnapshotError(f"{path} has not the size of the manifest: remove that snapshot and make another")
            content = path.read_bytes()
        except OSError as error:
            raise SnapshotError(f"{path} cannot be read ({error}): remove that snapshot and make another") from error
        yield content


def verify(folder: Path, height: int, genesis_hash: bytes) -> Manifest:
    """Check a snapshot in ``folder`` to the last byte, its root computed anew. Raises SnapshotError."""
    manifest = read_manifest(folder, height)
    expect(manifest, genesis_hash=genesis_hash)
    wanted = {MANIFEST, *(chunk_name(index) for index in range(len(manifest.chunks)))}
    place = folder.joinpath(str(height))
    others = sorted({path.name for path in place.iterdir()} - wanted)
    if others:
        raise SnapshotError(f"{place} holds {others[0]!r}, which the manifest does not name: remove it")
    intake = Intake(manifest)
    for content in read_chunks(folder, manifest):
        intake.feed(content)
    intake.finish()
    return manifest


def prune(folder: Path, keep: int) -> list[int]:
    """Remove all snapshots but the ``keep`` newest; returns the heights removed. Not while one is being written."""
    gone = heights(folder)[: -keep or None]
    for height in gone:
        folder.joinpath(str(height)).rename(
            folder.joinpath(f"{_GOING}{height}")
        )  # removed at once, or not listed any more
    if folder.is_dir():
        _tidy(folder)
    return gone


def set_aside(folder: Path, height: int) -> Path:
    """Take a snapshot out of those that are listed, without removing it; returns where it lies. Raises OSError.

    Of those set aside the newest few stay.
    """
    before = {int(n): path for path in folder.glob(f"{_ASIDE}*") if (n := path.name.split("-")[2]).isdecimal()}
    aside = folder.joinpath(f"{_ASIDE}{max(before, default=0) + 1}-{height}")
    folder.joinpath(str(height)).rename(aside)
    sync_path(folder)
    for number in sorted(before)[: -(_MOST_ASIDE - 1)]:
        shutil.rmtree(before[number])
    return aside


def _tidy(folder: Path) -> None:
    """Remove what a crash left half-written or half-removed."""
    for path in [*folder.glob(f"{_MAKING}*"), *folder.glob(f"{_GOING}*")]:
        shutil.rmtree(path)
    sync_path(folder)


class _Scratch:
    """A file without a name, of which nothing is left when the process is gone. Raises SnapshotError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handle: int | None = None
        self._end = 0

    def write(self, data: bytes) -> int:
        """Add to it; returns where."""
        try:
            if self._handle is None:
                handle, name = tempfile.mkstemp(dir=self._folder, prefix=_MAKING)
                self._handle = handle
                os.unlink(name)
            place, self._end = self._end, self._end + len(data)
            while data:
                data = data[os.pwrite(self._handle, data, self._end - len(data)) :]
        except OSError as error:
            raise SnapshotError(f"{self._folder}: {error.strerror}: make room, then begin again") from error
        return place

    def read(self, place: int, size: int) -> bytes:
        """What was written there."""
        return os.pread(self._handle, size, place) if self._handle is not None else b""

    def clear(self) -> None:
        """Give the room back."""
        if self._handle is not None:
            os.close(self._handle)
        self._handle, self._end = None, 0


class Restoring:
    """A store that is being made from a snapshot, chunk by chunk as they come.

    It is made beside ``folder`` and takes its name in ``finish``; after any error, or without ``finish``, nothing is
    left. ``folder`` must not exist or be empty. The root in ``manifest`` must be one that the caller trusts: here
    the entries are held against it. Raises SnapshotError, StoreLockedError.
    """

    def __init__(self, folder: Path, manifest: Manifest, genesis_hash: bytes, *, round_length: int) -> None:
        expect(manifest, genesis_hash=genesis_hash)
        if manifest.height % round_length:
            raise SnapshotError(f"block {manifest.height} ends no round of {round_length}: take another snapshot")
        if folder.exists() and any(folder.iterdir()):
            raise SnapshotError(f"{folder} is not empty: move it away first, or name another folder")
        self._folder = folder
        self._making = folder.with_name(f"{folder.name}.making")
        clear_store(self._making)
        self._store: LevelStore | None = LevelStore(self._making, genesis_hash)
        identify(self._store, genesis_hash)
        self._batch: Batch = []
        self._bytes = 0
        self._scratch = _Scratch(folder.parent)
        self._intake = Intake(manifest, self._put, self._scratch)

    def __enter__(self) -> "Restoring":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()

    def feed(self, chunk: bytes) -> None:
        """Check the next chunk and take its entries. Raises SnapshotError; then everything is gone."""
        self._must_be_open()
        try:
            self._intake.feed(chunk)
        except StateError:
            self.abandon()
            raise

    def finish(self) -> None:
        """Check the whole, and give the store its name. Raises SnapshotError; then everything is gone."""
        store = self._must_be_open()
        try:
            self._intake.finish()
            self._write(sync=True)
        except StateError:
            self.abandon()
            raise
        store.close()
        self._scratch.clear()
        self._store = None
        settle_store(self._making, self._folder)

    def abandon(self) -> None:
        """Let go of what was made so far; after ``finish`` this does nothing."""
        if self._store is not None:
            self._store.close()
            self._scratch.clear()
            self._store = None
            clear_store(self._making)

    def _put(self, key: bytes, value: bytes | None) -> None:
        self._batch.append((key, value))
        self._bytes += len(key) + len(value or b"")
        if self._bytes >= _BATCH_BYTES:
            self._write(sync=False)

    def _write(self, *, sync: bool) -> None:
        self._must_be_open().write(self._batch, sync=sync)
        self._batch, self._bytes = [], 0

    def _must_be_open(self) -> LevelStore:
        if self._store is None:
            raise SnapshotError("this snapshot was given up, or is in its place: begin again")
        return self._store


def restore(
    folder: Path, manifest: Manifest, chunks: Iterable[bytes], genesis_hash: bytes, *, round_length: int
) -> None:
    """Make the store ``folder`` from a snapshot. See Restoring."""
    with Restoring(folder, manifest, genesis_hash, round_length=round_length) as restoring:
        for chunk in chunks:
            restoring.feed(chunk)
        restoring.finish()
