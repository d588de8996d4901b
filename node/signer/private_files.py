"""Files that only their owner may read: never through a link, mode 0600 whatever the umask, whole or not at all."""

import os
import secrets
import stat
from pathlib import Path

from node.errors import KeyFileError
from node.signer.secret import HiddenBytes
from state.store import sync_path

#: Mode bits by which others than the owner could get at a file.
OTHERS = 0o077


def read_private(path: Path, most: int, remedy: str, *, refused: int = OTHERS) -> HiddenBytes:
    """All of a file of at most ``most`` bytes.

    ``remedy`` ends the error of a file that cannot be opened; ``refused`` are the mode bits that it must not have.
    Raises KeyFileError for a link, for what is no file, for one that others can read, and for a larger one.
    """
    if path.is_symlink():
        raise KeyFileError(f"{path} is a symbolic link: name the file that it leads to")
    try:
        # Without O_NONBLOCK a pipe of that name would hold the node until somebody writes.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}: {remedy}") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise KeyFileError(f"{path} is no file: {remedy}")
        mode = stat.S_IMODE(found.st_mode)
        if mode & refused:
            raise KeyFileError(f"{path} has mode {mode:04o}: others could read it. Run: chmod 600 {path}")
        if found.st_size > most:
            raise KeyFileError(f"{path} has {found.st_size} bytes, at most {most} are taken: it is some other file")
        return _read(handle, most)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}: {remedy}") from None
    finally:
        os.close(handle)


def write_new(path: Path, data: bytes) -> None:
    """Put ``data`` into a new file. Raises KeyFileError if there is something of that name: it is left as it is."""
    _write(path, data, is_new=True)


def replace_private(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of a file, as one atom. Raises KeyFileError; the old file is then as it was."""
    _write(path, data, is_new=False)


def _write(path: Path, data: bytes, *, is_new: bool) -> None:
    fresh = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_synced(fresh, data)
            if is_new:
                os.link(fresh, path, follow_symlinks=False)  # unlike a rename it never takes the place of a file
            else:
                os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        sync_path(path.parent)
    except FileExistsError:
        raise KeyFileError(f"{path} exists, or a folder on its way is a file: a key is never overwritten") from None
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}: name a place where this user may write") from None


def write_synced(path: Path, data: bytes) -> None:
    """A new file of mode 0600, on disk when this returns. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(handle, 0o600)  # the umask may have taken the owner's bits too
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(handle: int, most: int) -> HiddenBytes:
    parts = []
    size = 0
    while size < most:
        part = HiddenBytes(os.read(handle, most - size))
        if not part:
            break
        parts.append(part)
        size += len(part)
    return HiddenBytes(b"".join(parts))
