"""What the operator has confirmed by hand: `waggle approve`. One word a line in a small file, read when it matters.

A group transaction is approved by its id and that of its bytes: another one in its place is not meant. A young journal
is confirmed by ``journal:``, the height at which it began here and a hash of all that its beginning says.
"""

from hashlib import sha256
from pathlib import Path

import msgspec

from node.errors import JournalError
from node.files import DISK, Files
from node.signer.entries import Born

_MOST = 1 << 20  # bytes


#: What the word begins with that confirms a journal.
CONFIRMATION = "journal:"


def confirmation(born: Born) -> str:
    """The word by which a journal is confirmed: of this one beginning, since it has a number that nobody can guess."""
    return f"{CONFIRMATION}{born.height}:{sha256(msgspec.json.encode(born)).hexdigest()[:32]}"


def approval(op: str, txid: bytes) -> str:
    """The word by which the transaction ``txid`` is approved that is out as ``op``."""
    return f"{op} {txid.hex()}"


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
