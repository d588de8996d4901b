"""LevelDB behind a small interface, and its in-memory twin. The only room here that touches files.

A write is a list of (key, value or None = delete), applied as one atom.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import plyvel
from sortedcontainers import SortedDict

from state.errors import StateError, StoreDamagedError, StoreLockedError, StoreMismatchError

#: Format of what stands in a store; a newer one is refused, an older one is migrated.
FORMAT = 1
_IDENTITY = b"!identity"
_LABEL = "WAGGLE"

Batch = list[tuple[bytes, bytes | None]]


class Store(Protocol):
    """What the state needs of a store."""

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``, or None."""

    def iterate(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All entries whose key begins with ``prefix``, by key."""

    def write(self, batch: Batch, *, sync: bool) -> None:
        """Apply the whole batch or nothing; with ``sync`` it is on disk before this returns."""

    def close(self) -> None:
        """Let go of the store."""


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
        if genesis_hash is not None and not folder.joinpath(_LABEL).exists():
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

    def close(self) -> None:
        self._db.close()
        os.close(self._lock)


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
                f"anew over it. Check the disk, then move the folder away and let the node replay"
            )


def _write_label(folder: Path, genesis_hash: bytes) -> None:
    """Which genesis and format the folder holds, readable without opening LevelDB."""
    handle = os.open(folder.joinpath(_LABEL), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(handle, bytes([FORMAT]) + genesis_hash)
        os.fsync(handle)
    finally:
        os.close(handle)


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
        f"replay; its keys and journal lie elsewhere"
    )


def identify(store: Store, genesis_hash: bytes) -> bool:
    """Check that ``store`` belongs to this genesis and format; True when it is new and was marked now.

    Raises StoreMismatchError, having changed nothing.
    """
    found = store.get(_IDENTITY)
    if found is None:
        if next(store.iterate(b""), None) is not None:
            raise StoreMismatchError("the store holds something that is no Waggle state: name another folder")
        store.write([(_IDENTITY, bytes([FORMAT]) + genesis_hash)], sync=True)
        return True
    _compare(found, genesis_hash)
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
