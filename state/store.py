"""LevelDB behind a small interface, and its in-memory twin. The only room here that touches files.

A write is a list of (key, value or None = delete), applied as one atom.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import plyvel
from sortedcontainers import SortedDict

from state.errors import StateError, StoreDamagedError, StoreLockedError, StoreMismatchError
from state.layout import IDENTITY

#: Format of what stands in a store; a newer one is refused, an older one is migrated.
#: 1: tables, trees, traces, roots; 2: undo records beside the traces.
FORMAT = 2
_LABEL = "WAGGLE"

Batch = list[tuple[bytes, bytes | None]]


class Reader(Protocol):
    """Entries to be read: of a store, or as they were when it was frozen."""

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``, or None."""

    def iterate(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All entries whose key begins with ``prefix``, by key."""

    def close(self) -> None:
        """Let go of it."""


class Store(Reader, Protocol):
    """What the state needs of a store."""

    def write(self, batch: Batch, *, sync: bool) -> None:
        """Apply the whole batch or nothing; with ``sync`` it is on disk before this returns."""

    def freeze(self) -> Reader:
        """The entries as they are now, whatever is written later."""


class MemoryStore:
    """A store in memory: same order, same atomicity, nothing kept."""

    def __init__(self) -> None:
        self._entries: SortedDict = SortedDict()

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._entries.get(key)
        return value

    def iterate(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in list(self._entries.irange(prefix, prefix + b"\xff" * 64)):
            yield key, self._entries[key]

    def write(self, batch: Batch, *, sync: bool) -> None:
        for key, value in batch:
            if value is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = value

    def freeze(self) -> Reader:
        frozen = MemoryStore()
        frozen._entries.update(self._entries)
        return frozen

    def close(self) -> None:
        """Nothing to let go of."""


class LevelStore:
    """A LevelDB in a folder, held by one process.

    Raises StoreLockedError, StoreDamagedError, and with a ``genesis_hash`` StoreMismatchError before LevelDB has
    looked at the folder; nothing but LevelDB's diary (LOG) is changed then.
    """

    def __init__(self, folder: Path, genesis_hash: bytes | None = None, *, create: bool = True) -> None:
        if not create and not folder.joinpath("CURRENT").exists():
            raise StoreDamagedError(f"{folder} holds no store: name another folder, or let the node make one")
        self._lock = _hold(folder, create=create)
        try:
            _check_before_opening(folder, genesis_hash)
        except StateError:
            os.close(self._lock)
            raise
        try:
            self._db = plyvel.DB(
                str(folder),
                create_if_missing=create,
                paranoid_checks=True,  # without it LevelDB drops what it cannot read of its log, and says nothing
                bloom_filter_bits=10,
                lru_cache_size=16 << 20,
                write_buffer_size=4 << 20,
                max_open_files=500,
            )
        except plyvel.IOError as error:
            os.close(self._lock)
            if "/LOCK: " in str(error):  # the path itself may hold the word
                raise StoreLockedError(
                    f"{folder} is held by another process: stop that node first, or name another folder"
                ) from error
            raise _damaged(folder, error) from error
        except plyvel.Error as error:
            os.close(self._lock)
            raise _damaged(folder, error) from error
        self._folder = folder
        if genesis_hash is not None:
            _write_label(folder, genesis_hash)

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key, verify_checksums=True)
        except plyvel.Error as error:
            raise _damaged(self._folder, error) from error
        return value

    def iterate(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        try:
            with self._db.iterator(prefix=prefix, verify_checksums=True) as entries:
                yield from entries
        except plyvel.Error as error:
            raise _damaged(self._folder, error) from error

    def write(self, batch: Batch, *, sync: bool) -> None:
        try:
            with self._db.write_batch(transaction=True, sync=sync) as atom:
                for key, value in batch:
                    if value is None:
                        atom.delete(key)
                    else:
                        atom.put(key, value)
        except plyvel.Error as error:
            raise _damaged(self._folder, error) from error

    def freeze(self) -> Reader:
        return _Frozen(self._db.snapshot(), self._folder)

    def size(self) -> int:
        """Bytes of all files of the folder."""
        found = 0
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # LevelDB tidies up at any time
                found += path.stat().st_size
        return found

    def close(self) -> None:
        self._db.close()
        os.close(self._lock)


class _Frozen:
    """A LevelDB as it was at one moment."""

    def __init__(self, snapshot: Any, folder: Path) -> None:
        self._snapshot = snapshot
        self._folder = folder

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._snapshot.get(key, verify_checksums=True)
        except plyvel.Error as error:
            raise _damaged(self._folder, error) from error
        return value

    def iterate(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        try:
            with self._snapshot.iterator(prefix=prefix, verify_checksums=True, fill_cache=False) as entries:
                yield from entries
        except plyvel.Error as error:
            raise _damaged(self._folder, error) from error

    def close(self) -> None:
        self._snapshot.close()


def _check_before_opening(folder: Path, genesis_hash: bytes | None) -> None:
    """What LevelDB would change or wipe by opening it: another group's store, a newer one, one without CURRENT."""
    label = folder.joinpath(_LABEL)
    if label.exists() and genesis_hash is not None:
        _compare(label.read_bytes(), genesis_hash)
    if not folder.joinpath("CURRENT").exists():
        left = [path.name for path in folder.iterdir() if path.suffix in (".ldb", ".log") or "MANIFEST" in path.name]
        if left:
            raise StoreDamagedError(
                f"{folder} has lost its file CURRENT, but holds {', '.join(sorted(left)[:3])}: LevelDB would begin "
                f"anew over it. Check the disk, then move the folder away and let the node replay",
                is_corrupt=True,
            )


def _write_label(folder: Path, genesis_hash: bytes) -> None:
    """Which genesis and format the folder holds, readable without opening LevelDB. One of an older format is replaced:
    from now on an older version would not understand what is written.
    """
    label, content = folder.joinpath(_LABEL), bytes([FORMAT]) + genesis_hash
    if not label.exists() or label.read_bytes() != content:
        fresh = folder.joinpath(f"{_LABEL}.new")
        write_synced(fresh, content)
        fresh.replace(label)
        sync_path(folder)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file that is on disk before this returns; readable by its owner alone."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(handle)


def sync_path(path: Path) -> None:
    """A file's bytes, or what was made, renamed or removed in a folder, are on disk before this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear_store(folder: Path) -> None:
    """Remove a store that nobody holds, if there is one. Raises StoreLockedError."""
    if folder.exists():
        held = _hold(folder, create=False)
        try:
            shutil.rmtree(folder)
        finally:
            os.close(held)


def settle_store(made: Path, folder: Path) -> None:
    """Give a closed store the name of a folder that is empty or not there; it is on disk before that, and after."""
    for path in made.iterdir():
        sync_path(path)
    sync_path(made)
    made.rename(folder)
    sync_path(folder.parent)


def _hold(folder: Path, *, create: bool) -> int:
    """Lock the folder for this process before LevelDB looks at it, so that a refused opening changes nothing."""
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _damaged(folder, error) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(held)
        raise StoreLockedError(
            f"{folder} is held by another process: stop that node first, or name another folder"
        ) from error
    return held


def _damaged(folder: Path, error: Exception) -> StoreDamagedError:
    return StoreDamagedError(
        f"{folder} cannot be read or written ({error}): check the disk, then move the folder away and let the node "
        f"replay; its keys and journal lie elsewhere",
        is_corrupt=isinstance(error, plyvel.CorruptionError),
    )


def identify(store: Store, genesis_hash: bytes) -> bool:
    """Check that ``store`` belongs to this genesis and format; True when it is new and was marked now.

    A store of format 1 becomes one of format 2 by its mark alone: its undo records begin with the next block.
    Raises StoreMismatchError, having changed nothing.
    """
    found = store.get(IDENTITY)
    ours = bytes([FORMAT]) + genesis_hash
    if found is None:
        if next(store.iterate(b""), None) is not None:
            raise StoreMismatchError("the store holds something that is no Waggle state: name another folder")
        store.write([(IDENTITY, ours)], sync=True)
        return True
    _compare(found, genesis_hash)
    if found != ours:
        store.write([(IDENTITY, ours)], sync=True)
    return False


def _compare(found: bytes, genesis_hash: bytes) -> None:
    if len(found) != 33 or not found[0] >= 1:
        raise StoreDamagedError(f"the store's identity {found.hex()!r} is none: restore a copy, or let the node replay")
    if found[0] > FORMAT:
        raise StoreMismatchError(
            f"the store has format {found[0]}, this version knows up to {FORMAT}: install the newer version"
        )
    if found[1:] != genesis_hash:
        raise StoreMismatchError(
            f"the store belongs to genesis {found[1:].hex()}, the configured one is {genesis_hash.hex()}: "
            f"name another data folder or the right genesis file"
        )
