"""The small files that a node writes itself (journal, outbox), behind an interface that a test can make fail anywhere.

What these functions return from is on disk: synced, with the folder that names it.
"""

import os
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """Whole small files. Every method raises OSError."""

    def read(self, path: Path) -> bytes | None:
        """All of a file, or None if there is none."""

    def append(self, path: Path, data: bytes) -> None:
        """Add to the end of a file, made with mode 0600 if there is none. A crash may leave a part of ``data``."""

    def cut(self, path: Path, size: int) -> None:
        """Shorten a file to its first ``size`` bytes."""

    def replace(self, path: Path, data: bytes) -> None:
        """Put ``data`` in the place of a file, as one atom."""


class Disk:
    """The files of this machine."""

    def read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def append(self, path: Path, data: bytes) -> None:
        is_new = not path.exists()
        if is_new:
            path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            _write(handle, data)
        finally:
            os.close(handle)
        if is_new:
            _sync_folder(path.parent)

    def cut(self, path: Path, size: int) -> None:
        handle = os.open(path, os.O_WRONLY)
        try:
            os.ftruncate(handle, size)
            os.fsync(handle)
        finally:
            os.close(handle)

    def replace(self, path: Path, data: bytes) -> None:
        fresh = path.with_suffix(".new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _write(handle, data)
        finally:
            os.close(handle)
        os.replace(fresh, path)
        _sync_folder(path.parent)


DISK = Disk()


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
    os.fsync(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
