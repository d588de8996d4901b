"""What the operator has confirmed by hand: `waggle approve`. One word a line in a small file, read when it matters.

A group transaction is approved by its id; a young journal by ``journal:`` and the height at which it began here.
"""

from pathlib import Path

from node.errors import JournalError
from node.files import DISK, Files

_MOST = 1 << 20  # bytes


class Approvals:
    """The confirmations in a file; ``path`` None: there are none."""

    def __init__(self, path: Path | None, files: Files = DISK) -> None:
        self._path = path
        self._files = files

    def has(self, word: str) -> bool:
        """Whether the operator confirmed ``word``. Raises JournalError if the file cannot be read."""
        if self._path is None:
            return False
        try:
            raw = self._files.read(self._path) or b""
        except OSError as error:
            raise JournalError(f"{self._path}: {error}") from error
        return word in raw[-_MOST:].decode("utf-8", "replace").splitlines()

    def add(self, word: str) -> None:
        """Confirm ``word``. Raises OSError."""
        if self._path is not None and not self.has(word):
            self._files.append(self._path, f"{word}\n".encode())
