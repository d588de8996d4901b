"""The signing journal: what this node has signed, synced to disk before the signature leaves (protocol section 11).

One line of JSON for each (payload, transaction), appended; a line that was torn by a crash is the last one and was
never followed by a signature, so it is dropped. Keyed by genesis hash and payload id.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import msgspec

from node.errors import JournalError
from node.files import DISK, Files


class Entry(msgspec.Struct, frozen=True):
    """A payload was signed in transaction ``txid``, which can be included until ``expiration`` (seconds)."""

    payload: int
    txid: str
    expiration: int
    op: str


class Journal:
    """The journal of one genesis. Raises JournalError when the file cannot be read or written."""

    def __init__(self, path: Path, genesis_hash: bytes, files: Files = DISK) -> None:
        self._path = path
        self._files = files
        self._genesis = genesis_hash.hex()
        self._entries: dict[int, dict[str, Entry]] = {}
        self._broken = False
        try:
            self._load()
            self._files.append(path, b"")  # a node that could not write it learns so now
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
            self._files.append(self._path, lines.encode())
            self._broken = False
        except OSError as error:
            raise JournalError(f"{self._path}: {error}: nothing is signed") from error
        for entry in fresh:
            self._remember(entry)

    def _remember(self, entry: Entry) -> None:
        self._entries.setdefault(entry.payload, {})[entry.txid] = entry

    def _load(self) -> None:
        raw = self._files.read(self._path)
        if raw is None:
            return
        whole, newline, torn = raw.rpartition(b"\n")
        if torn:
            self._files.cut(self._path, len(whole) + len(newline))
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
