"""The signing journal: what this node has signed, synced to disk before the signature leaves (protocol section 11).

One line of JSON for each fact, appended; a line that was torn by a crash is the last one and was never followed by a
signature, so it is dropped. Every line begins with the genesis hash. The facts:

- ``[genesis, payload, txid, expiration, op, time, asset, amount]``: a payload was signed in a transaction (the last
  three are missing in journals of the first release);
- ``[genesis, "born", height, time, until, home, nonce]``: from this block on the journal stands in this place; a key
  that is older than that is held back while the block time is below ``until``;
- ``[genesis, "key", public key, is new]``: a key as it was when it was seen here first.

Beside it stands ``mark.journal``, a new file after each line: the size that the journal had, and the identity of the
mark itself. A journal that is shorter is an old copy, even one that was written over the file in its place; so is one
whose mark was written over by an older one.
"""

import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from node.errors import JournalError
from node.files import DISK, Files
from node.signer.entries import FIRST_RELEASE, Born, Entry, born_of, both, entry_of, size_of

__all__ = ["MARK", "RESTORED", "Born", "Entry", "Journal"]

#: Beside a journal that came out of a backup: what it signed since nobody knows.
RESTORED = "journal.restored"
#: Before the journal's name: the file that tells how long it was.
MARK = "mark."


class Journal:
    """The journal of one genesis. Raises JournalError when the file cannot be read or written."""

    def __init__(self, path: Path, genesis_hash: bytes, files: Files = DISK) -> None:
        self._path = path
        self._mark = path.with_name(MARK + path.name)
        self._files = files
        self._genesis = genesis_hash.hex()
        self._entries: dict[int, dict[str, Entry]] = {}
        self._keys: dict[str, bool] = {}
        self._broken = False
        self._size = 0
        self._is_first_release = True
        self.born: Born | None = None
        try:
            self._load()
            self._files.append(path, b"")  # a node that could not write it learns so now
            self._home = self._files.identity(path)
            restored = self._files.read(path.with_name(RESTORED)) is not None
            mark = self._files.read(self._mark)
            is_short = mark is not None and self._size < size_of(mark, self._files.identity(self._mark))
        except OSError as error:
            raise JournalError(f"{path}: {error}: without its journal a node signs nothing") from error
        #: Whether the file is a copy of the one that was written to: what that one signed since, nobody knows.
        self.is_moved = restored or is_short or (self.born is not None and self.born.home != self._home)

    # -- what was signed

    @property
    def is_of_first_release(self) -> bool:
        """Whether a node of the first release wrote it, alone: it holds signatures, and none tells its time."""
        return bool(self._entries) and self.born is None and self._is_first_release

    def ids(self) -> set[bytes]:
        """The ids of all transactions that were signed."""
        return {bytes.fromhex(entry.txid) for entry in self.all_entries()}

    def entries(self, payload: int) -> list[Entry]:
        """What was signed for a payload, oldest first."""
        return list(self._entries.get(payload, {}).values())

    def all_entries(self) -> list[Entry]:
        """Everything that was signed."""
        return [entry for found in self._entries.values() for entry in found.values()]

    def has(self, payloads: Iterable[int], txid: bytes) -> bool:
        """Whether a transaction of these payloads was signed."""
        return all(txid.hex() in self._entries.get(payload, {}) for payload in payloads)

    def conflicts(self, payloads: Iterable[int], txid: bytes, now: int) -> list[Entry]:
        """Entries of these payloads for *another* transaction that is not dead at block time ``now``."""
        return [
            entry
            for payload in payloads
            for entry in self.entries(payload)
            if entry.txid != txid.hex() and now < entry.expiration
        ]

    def spent(self, asset: str, since: int, without: Iterable[int]) -> int:
        """What was signed away of ``asset`` later than ``since`` (block time), each payload once."""
        left_out = set(without)
        latest = [max(found.values(), key=lambda entry: entry.time) for found in self._entries.values()]
        return sum(e.amount for e in latest if e.asset == asset and e.time > since and e.payload not in left_out)

    def write(
        self,
        payloads: Iterable[int],
        txid: bytes,
        expiration: int,
        op: str,
        *,
        time: int = 0,
        spends: Mapping[int, tuple[str, int]] | None = None,
    ) -> None:
        """Note the intent to sign; when this returns it is on disk. ``spends``: (asset, amount) of each payload."""
        fresh = [
            Entry(payload, txid.hex(), expiration, op, time, *(spends or {}).get(payload, ("", 0)))
            for payload in payloads
            if txid.hex() not in self._entries.get(payload, {})
        ]
        self._append([[e.payload, e.txid, e.expiration, e.op, e.time, e.asset, e.amount] for e in fresh])
        for entry in fresh:
            self._remember(entry)

    # -- since when it can be believed

    def begin(self, height: int, time: int, until: int) -> None:
        """The journal stands here from this block on; keys older than that are held back ``until``."""
        born = Born(height, time, until, self._home, secrets.token_hex(16))
        self._append([["born", height, time, until, self._home, born.nonce]], begins=True)
        try:
            self._files.remove(self._path.with_name(RESTORED))
        except OSError as error:
            raise JournalError(f"{self._path.with_name(RESTORED)}: {error}: remove it by hand") from error
        self.born = born
        self.is_moved = False
        self._keys = {}

    def knows_key(self, key: bytes) -> bool:
        """Whether a key was seen here."""
        return key.hex() in self._keys

    @property
    def known_keys(self) -> tuple[bytes, ...]:
        """The keys that were seen here since it began."""
        return tuple(map(bytes.fromhex, self._keys))

    def note_key(self, key: bytes, *, is_new: bool) -> None:
        """A key is seen here for the first time; ``is_new``: the chain does not know it yet."""
        self._append([["key", key.hex(), is_new]])
        self._keys[key.hex()] = is_new

    def held_until(self, key: bytes) -> int:
        """The block time until which a key signs no transaction: another journal may have signed with it."""
        if self.born is None or self._keys.get(key.hex(), False):
            return 0
        return self.born.until

    # -- moving

    def lines(self) -> list[str]:
        """Every signature of this genesis, a line each, for another machine's journal."""
        return [
            json.dumps([self._genesis, e.payload, e.txid, e.expiration, e.op, e.time, e.asset, e.amount])
            for e in self.all_entries()
        ]

    def merge(self, lines: Iterable[str]) -> int:
        """Take over signatures of another machine's journal; returns how many were new. Nothing is ever forgotten.

        Of a transaction that both have, the later times and the larger amount count. Raises JournalError, having taken
        nothing, for what is no journal or another genesis'.
        """
        found: dict[tuple[int, str], Entry] = {}
        for number, line in enumerate(lines, 1):
            try:
                genesis, *fact = json.loads(line)
                entry = entry_of(fact)
            except (ValueError, TypeError, OverflowError, RecursionError) as error:
                raise JournalError(f"line {number} is no line of a journal") from error
            if genesis != self._genesis:
                raise JournalError(f"line {number} belongs to another genesis: {str(genesis)[:64]}")
            if entry is not None:
                known = self._entries.get(entry.payload, {}).get(entry.txid)
                before = found.get((entry.payload, entry.txid), known)
                after = both(before, entry)
                if after != before:
                    found[entry.payload, entry.txid] = after
        new = sum(1 for payload, txid in found if txid not in self._entries.get(payload, {}))
        self._append([[e.payload, e.txid, e.expiration, e.op, e.time, e.asset, e.amount] for e in found.values()])
        for entry in found.values():
            self._remember(entry)
        return new

    # -- inside

    def _append(self, facts: list[list[Any]], *, begins: bool = False) -> None:
        if not facts:
            return
        if self._broken:
            raise JournalError(f"{self._path}: an earlier write failed: restart the node once the disk is well")
        lines = "".join(json.dumps([self._genesis, *fact]) + "\n" for fact in facts).encode()
        try:
            self._broken = True  # a line may be half written
            if self.is_moved and not begins:  # it may grow past its mark, and stays an old copy all the same
                self._files.replace(self._path.with_name(RESTORED), b"")
            self._files.append(self._path, lines)
            self._size += len(lines)
            if begins or not self.is_moved:  # until it begins anew, the mark is what tells that it is an old copy
                self._files.replace(self._mark, b"%d\n" % self._size)
                self._files.append(self._mark, b"%d\n" % self._files.identity(self._mark))
            self._broken = False
        except OSError as error:
            raise JournalError(f"{self._path}: {error}: nothing is signed") from error
        self._is_first_release = False

    def _remember(self, entry: Entry) -> None:
        entries = self._entries.setdefault(entry.payload, {})
        entries[entry.txid] = both(entries.get(entry.txid), entry)

    def _load(self) -> None:
        raw = self._files.read(self._path)
        if raw is None:
            return
        whole, newline, torn = raw.rpartition(b"\n")
        self._size = len(whole) + len(newline)
        if torn:
            self._files.cut(self._path, self._size)
        for number, line in enumerate(whole.split(b"\n") if whole else [], 1):
            try:
                genesis, *fact = json.loads(line)
                self._take(fact, genesis == self._genesis)
            except (ValueError, TypeError, OverflowError, RecursionError) as error:
                raise JournalError(
                    f"{self._path}, line {number} is damaged: restore the journal from a backup that is not older, or "
                    f"wait one header_lifetime and start a new one"
                ) from error

    def _take(self, fact: list[Any], is_ours: bool) -> None:
        """Read a fact whoever's it is: what cannot be read may have been ours."""
        if fact[:1] == ["born"]:
            born = born_of(fact)
            if is_ours:
                self.born, self._keys = born, {}
        elif fact[:1] == ["key"]:
            _, key, is_new = fact
            if is_ours:
                self._keys[str(key)] = bool(is_new)
        else:
            entry = entry_of(fact)
            if entry is not None and is_ours:
                self._is_first_release &= len(fact) == FIRST_RELEASE
                self._remember(entry)
