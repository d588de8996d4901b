"""What the operator has confirmed by hand: `waggle approve`. One word a line in a small file, read when it matters.

A group transaction is approved by its id; a young journal by ``journal:`` and the height at which it began here.
"""

from pathlib import Path

from node.errors import JournalError
from node.files import DISK, Files

_MOST = 1 << 20  # bytes


def confirmation(height: int) -> str:
    """The word by which the journal that began at ``height`` is confirmed."""
    return f"journal:{height}"


class Approvals:
    """The confirmations in a file; ``path`` None: there are none."""

    def __init__(self, path: Path | None, files: Files = DISK) -> None:
        self._path = path
        self._files = files

    def has(self, word: str) -> bool:
        """Whether the operator confirmed ``word``. Raises JournalError if the file cannot be read."""
        return word in self.words()

    def words(self) -> list[str]:
        """Everything that was confirmed, oldest first. Raises JournalError if the file cannot be read."""
        raw = self._read()
        if len(raw) > _MOST:
            raw = raw[-_MOST:].partition(b"\n")[2]  # the end of a longer word would be another word
        return [line for line in raw.decode("utf-8", "replace").splitlines() if line]

    def add(self, word: str) -> None:
        """Confirm ``word``. Raises OSError, JournalError."""
        if self._path is not None and not self.has(word):
            before = b"\n" if self._read()[-1:] not in (b"", b"\n") else b""  # somebody edited it, or a crash tore it
            self._files.append(self._path, before + f"{word}\n".encode())

    def _read(self) -> bytes:
        if self._path is None:
            return b""
        try:
            return self._files.read(self._path) or b""
        except OSError as error:
            raise JournalError(f"{self._path}: {error}") from error
