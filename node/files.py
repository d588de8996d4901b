"""The small files that a node writes itself (journal, outbox), behind an interface that a test can make fail anywhere.

What these functions return from is on disk: synced, with the folder that names it.
"""

import os
from pathlib import Path
from typing import Protocol

from node import birth
from state.store import sync_path


class Files(Protocol):
    """Whole small files. Every method raises OSError."""

    def read(self, path: Path) -> bytes | None:
        """All of a file, or None if there is none."""

    def append(self, path: Path, data: bytes) -> None:
        """Add to the end of a file, made with mode 0600 if there is none. A crash may leave a part of ``data``.

        With no data at all, the file is made or found, and its name is on disk: what a process does first.
        """

    def cut(self, path: Path, size: int) -> None:
        """Shorten a file to its first ``size`` bytes."""

    def replace(self, path: Path, data: bytes) -> None:
        """Put ``data`` in the place of a file, as one atom."""

    def remove(self, path: Path) -> None:
        """Take a file away, if there is one."""

    def identity(self, path: Path) -> int:
        """A number that a copy of the file does not share."""


class Disk:
    """The files of this machine."""

    def read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def append(self, path: Path, data: bytes) -> None:
        is_new = not path.exists()
        _make_folder(path.parent)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            _write(handle, data)
        finally:
            os.close(handle)
        if is_new or not data:  # of a file that is there already nobody knows whether its name was ever synced
            sync_path(path.parent)

    def cut(self, path: Path, size: int) -> None:
        handle = os.open(path, os.O_WRONLY)
        try:
            os.ftruncate(handle, size)
            os.fsync(handle)
        finally:
            os.close(handle)

    def replace(self, path: Path, data: bytes) -> None:
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)  # a leftover would keep its mode
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _write(handle, data)
        finally:
            os.close(handle)
        os.replace(fresh, path)
        sync_path(path.parent)

    def remove(self, path: Path) -> None:
        if path.exists():
            path.unlink()
            sync_path(path.parent)

    def identity(self, path: Path) -> int:
        return birth.identity(path)


DISK = Disk()


def _make_folder(folder: Path) -> None:
    """Make a folder with those above it; the name of each is synced."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_path(folder.parent)


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
    os.fsync(handle)
