"""A machine's disk on which a process can die at any write: before it, in the middle, after it.

What is written is synced or not there: the files of a machine that lost power hold a part of the last write at most.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from node.errors import NodeError
from state.errors import StateError
from state.snapshot import read_chunks, read_manifest, restore
from state.store import Batch, LevelStore, MemoryStore, Store

BEFORE, MIDDLE, AFTER = "before", "middle", "after"


class Killed(BaseException):
    """The process is dead at this very place; nothing may catch it."""


class Doom(msgspec.Struct):
    """Die at the ``count``-th write from now whose place (journal, outbox, store) begins with ``place``."""

    place: str
    when: str
    count: int
    then: Callable[[], None]


class Backup(msgspec.Struct, frozen=True):
    """A copy of everything a machine had."""

    files: dict[str, bytes]
    entries: dict[bytes, bytes]
    folder: Path | None


class Disk:
    """Journal and outbox as bytes by name, and the store: in memory, or a LevelDB in ``folder``."""

    def __init__(self, folder: Path | None, home: int = 0) -> None:
        self.files: dict[str, bytes] = {}
        self.doom: Doom | None = None
        self._copy = 0  # another one after everything was restored
        self._home = home  # no two machines' disks are the same
        self._folder = folder
        self._memory = UndoableStore(self)
        self._torn_tail = 0

    # -- the files of the node (node.files.Files)

    def read(self, path: Path) -> bytes | None:
        return self.files.get(path.name)

    def append(self, path: Path, data: bytes) -> None:
        before = self.files.get(path.name, b"")
        when = self._doomed(path.name) if data else None
        if when != BEFORE:
            self.files[path.name] = before + (data[: len(data) // 2] if when == MIDDLE else data)
        self._die(when)

    def cut(self, path: Path, size: int) -> None:
        self.files[path.name] = self.files[path.name][:size]

    def replace(self, path: Path, data: bytes) -> None:
        when = self._doomed(path.name)
        if when not in (BEFORE, MIDDLE):  # in the middle, the new file lies beside the old one
            self.files[path.name] = data
        self._die(when)

    def remove(self, path: Path) -> None:
        self.files.pop(path.name, None)

    def identity(self, path: Path) -> int:
        return self._home + self._copy

    # -- the store

    def open_store(self, genesis_hash: bytes) -> Store:
        """The store as the last process left it. Raises StateError for one that is damaged."""
        if self._folder is None:
            return self._memory
        self._tear_log()
        return GatedLevel(self, self._folder, genesis_hash)

    def written(self, write: Callable[[], None]) -> None:
        """A store's whole batch, or none of it."""
        when = self._doomed("store")
        if when in (None, AFTER) or (when == MIDDLE and self._folder is not None):
            write()
        if when == MIDDLE:
            self._torn_tail = 5  # bytes of the last record that never reached the disk
        self._die(when)

    def lose_store(self) -> None:
        """The folder is gone; keys and journal lie elsewhere."""
        self._memory = UndoableStore(self)
        self._torn_tail = 0
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def tear_store(self, batches: int) -> bool:
        """The newest batches never reached the disk (in LevelDB: the end of its newest log). False: nothing to tear."""
        if self._folder is None:
            return self._memory.take_back(batches)
        self._torn_tail = 40 * batches
        return self._folder.exists()

    # -- backups

    def back_up(self, to: Path | None) -> Backup:
        """A copy of everything."""
        if self._folder is not None and to is not None and self._folder.exists():
            shutil.copytree(self._folder, to, dirs_exist_ok=True)
        return Backup(dict(self.files), self._memory.entries(), to)

    def restore(self, backup: Backup) -> None:
        """Everything is as it was, the journal too: the worst that an operator can do."""
        self.lose_store()
        self.files = dict(backup.files)
        self._copy += 1
        self._memory.load(backup.entries)
        if self._folder is not None and backup.folder is not None and backup.folder.exists():
            shutil.copytree(backup.folder, self._folder)

    def move(self) -> None:
        """Everything lies on another machine now, as it was here."""
        self._copy += 1

    # -- snapshots, and what nobody meant to write

    def begin_with(self, folder: Path, height: int, genesis_hash: bytes, round_length: int) -> None:
        """The store is lost, and a snapshot in ``folder`` takes its place. Raises SnapshotError."""
        self.lose_store()
        target = self._folder if self._folder is not None else folder / ".restored"
        manifest = read_manifest(folder, height)
        chunks = read_chunks(folder, manifest)
        restore(target, manifest, chunks, genesis_hash, round_length=round_length)
        if self._folder is None:
            made = LevelStore(target, genesis_hash)
            self._memory.load(dict(made.iterate(b"")))
            made.close()
            shutil.rmtree(target)

    def flip(self, genesis_hash: bytes, key: bytes, value: bytes) -> None:
        """Bits of the store change, and nothing but they."""
        store = LevelStore(self._folder, genesis_hash) if self._folder is not None else MemoryStore()
        if self._folder is None:
            self._memory.load(self._memory.entries() | {key: value})
        store.write([(key, value)], sync=True)
        store.close()

    # -- inside

    def _doomed(self, place: str) -> str | None:
        doom = self.doom
        if doom is None or not place.startswith(doom.place):
            return None
        doom.count -= 1
        return doom.when if doom.count <= 0 else None

    def _die(self, when: str | None) -> None:
        if when is not None and self.doom is not None:
            doom, self.doom = self.doom, None
            doom.then()
            raise Killed

    def _tear_log(self) -> None:
        cut, self._torn_tail = self._torn_tail, 0
        if not cut or self._folder is None or not self._folder.exists():
            return
        logs = sorted(self._folder.glob("*.log"))
        if logs:
            with open(logs[-1], "r+b") as file:
                size = file.seek(0, 2)
                file.truncate(max(0, size - cut))


class UndoableStore(MemoryStore):
    """A store in memory whose newest batches can be taken back; it outlives the process that wrote it."""

    _KEPT = 40

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self._disk = disk
        self._undo: list[Batch] = []

    def write(self, batch: Batch, *, sync: bool) -> None:
        self._disk.written(lambda: self._take(batch))

    def take_back(self, batches: int) -> bool:
        """Forget the newest batches, as far as they are kept; False if there are none."""
        found = bool(self._undo)
        for _ in range(min(batches, len(self._undo))):
            super().write(self._undo.pop(), sync=True)
        return found

    def entries(self) -> dict[bytes, bytes]:
        """A copy of everything."""
        return dict(self._entries)

    def load(self, entries: dict[bytes, bytes]) -> None:
        """Hold exactly this."""
        self._entries.clear()
        self._entries.update(entries)
        self._undo.clear()

    def _take(self, batch: Batch) -> None:
        self._undo.append([(key, self.get(key)) for key, _ in reversed(batch)])
        del self._undo[: -self._KEPT]
        super().write(batch, sync=True)


class GatedLevel(LevelStore):
    """A LevelDB at whose writes a process can die."""

    def __init__(self, disk: Disk, folder: Path, genesis_hash: bytes) -> None:
        super().__init__(folder, genesis_hash)
        self._disk = disk

    def write(self, batch: Batch, *, sync: bool) -> None:
        self._disk.written(lambda: super(GatedLevel, self).write(batch, sync=sync))


#: What a process may die of that its operator knows how to mend.
KNOWN_ENDS = (NodeError, StateError)
