"""The signing journal: what this node has signed, synced to disk before the signature leaves (protocol section 11).

One line of JSON for each (payload, transaction), appended; a line that was torn by a crash is the last one and was
never followed by a signature, so it is dropped. Keyed by genesis hash and payload id.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from node.errors import JournalError


class Entry(msgspec.Struct, frozen=True):
    """A payload was signed in transaction ``txid``, which can be included until ``expiration`` (seconds)."""

    payload: int
    txid: str
    expiration: int
    op: str


class Journal:
    """The journal of one genesis. Raises JournalError when the file cannot be read or written."""

    def __init__(self, path: Path, genesis_hash: bytes) -> None:
        self._path = path
        self._genesis = genesis_hash.hex()
        self._entries: dict[int, dict[str, Entry]] = {}
        self._broken = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._load()
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            _sync_folder(path.parent)
        except OSError as error:
            raise JournalError(f"{path}: {error}: without its journal a node signs nothing") from error

    def entries(self, payload: int) -> list[Entry]:
        """What was signed for a payload, oldest first."""
        return list(self._entries.get(payload, {}).values())

    def conflicts(self, payloads: Iterable[int], txid: bytes, now: int) -> list[Entry]:
        """Entries of these payloads for *another* transaction that is not dead at block time ``now``."""
        return [
            entry
            for payload in payloads
            for entry in self.entries(payload)
            if entry.txid != txid.hex() and now < entry.expiration
        ]

    def write(self, payloads: Iterable[int], txid: bytes, expiration: int, op: str) -> None:
        """Note the intent to sign; when this returns it is on disk."""
        fresh = [
            Entry(payload, txid.hex(), expiration, op)
            for payload in payloads
            if txid.hex() not in self._entries.get(payload, {})
        ]
        if not fresh:
            return
        lines = "".join(json.dumps([self._genesis, e.payload, e.txid, e.expiration, e.op]) + "\n" for e in fresh)
        if self._broken:
            raise JournalError(f"{self._path}: an earlier write failed: restart the node once the disk is well")
        try:
            self._broken = True  # a line may be half written
            self._append(lines.encode())
            self._broken = False
        except OSError as error:
            raise JournalError(f"{self._path}: {error}: nothing is signed") from error
        for entry in fresh:
            self._remember(entry)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _append(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._file, data) :]
        os.fsync(self._file)

    def _remember(self, entry: Entry) -> None:
        self._entries.setdefault(entry.payload, {})[entry.txid] = entry

    def _load(self) -> None:
        if not self._path.exists():
            return
        raw = self._path.read_bytes()
        whole, newline, torn = raw.rpartition(b"\n")
        if torn:
            os.truncate(self._path, len(whole) + len(newline))
        for number, line in enumerate(whole.split(b"\n") if whole else [], 1):
            try:
                genesis, payload, txid, expiration, op = json.loads(line)
                entry = Entry(int(payload), str(txid), int(expiration), str(op))
            except (ValueError, TypeError, OverflowError, RecursionError) as error:
                raise JournalError(
                    f"{self._path}, line {number} is damaged: restore the journal from a backup that is not older, or "
                    f"wait one header_lifetime and start a new one"
                ) from error
            if genesis == self._genesis:
                self._remember(entry)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
