"""A running node as its own API sees it, and the evidence that it keeps."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from node.config import Config
from node.core import Log, NodeCore
from node.facts import Facts
from node.files import DISK
from node.metrics import Metrics
from node.status import Status, status
from node.sync.healing import NameDifference
from processors.genesis import Genesis
from state.state import State
from state.store import LevelStore

#: Pieces of evidence that are kept; the oldest make room.
_MOST_EVIDENCE = 100
_LARGEST = 4 << 20  # bytes of one piece


class Node:
    """A running node, as its own API and its log see it."""

    def __init__(self, config: Config, core: NodeCore, store: LevelStore, log: Log, metrics: Metrics) -> None:
        self.core = core
        self.metrics_of_it = metrics
        self.snapshots = config.data / "snapshots"
        self.facts: Callable[[], Facts] = Facts
        self.name_difference: NameDifference | None = None
        self._config = config
        self._store = store
        self._log = log
        self._started_at = int(time.time())

    @property
    def genesis(self) -> Genesis:
        """The group's genesis."""
        return self.core.genesis

    @property
    def state(self) -> State:
        """The state, to read."""
        return self.core.state

    def status(self) -> Status:
        """The node as it stands."""
        facts = msgspec.structs.replace(
            self.facts(),
            store_bytes=self._store.size(),
            free_bytes=self.free_bytes(),
            started_at=self._started_at,
        )
        return status(self.core, facts, int(time.time()))

    def free_bytes(self) -> int:
        """What is free on the disk of the data folder."""
        return shutil.disk_usage(self._config.data).free

    def metrics(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return self.metrics_of_it.render(self.status())

    def on_event(self, event: str, fields: dict[str, object]) -> None:
        """Log an event, and count it."""
        self._log(event, fields)


def keeper(folder: Path) -> Callable[[str, bytes], None]:
    """Keeps evidence in a folder, the newest pieces of it."""

    def keep(name: str, evidence: bytes) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            DISK.replace(folder / f"{name}.json", evidence[:_LARGEST])
            kept = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
            for old in kept[:-_MOST_EVIDENCE]:
                old.unlink(missing_ok=True)
        except OSError:
            return  # the log has the beginning of it: who lies must not choose when a node stops

    return keep
