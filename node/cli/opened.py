"""What commands that look at a node's state share: opening it without changing it, saying that they work."""

import fcntl
import heapq
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from sortedcontainers import SortedDict

from node.assembly import open_state
from node.config import Config
from node.errors import NodeError
from processors.genesis import Genesis
from state.errors import StoreLockedError
from state.state import State
from state.store import Batch, LevelStore, Reader, Store

F = TypeVar("F", bound=Callable[..., Any])
Tell = Callable[[str], None]


def config_option(function: F) -> F:
    """--config"""
    path = click.Path(path_type=Path)
    return click.option("--config", "config_path", required=True, type=path, help="The node's configuration.")(function)


def yes_option(function: F) -> F:
    """--yes"""
    return click.option("--yes", is_flag=True, help="Do not ask.")(function)


class Overlay:
    """A store over another one that stays as it is: what is written stands in memory, and is gone with the process."""

    def __init__(self, below: Reader) -> None:
        self._below = below
        self._written: SortedDict = SortedDict()

    def get(self, key: bytes) -> bytes | None:
        if key in self._written:
            value: bytes | None = self._written[key]
            return value
        return self._below.get(key)

    def iterate(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        written = [(key, 0, self._written[key]) for key in self._written.irange(prefix, prefix + b"\xff" * 64)]
        below = ((key, 1, value) for key, value in self._below.iterate(prefix))
        last: bytes | None = None
        for key, _, value in heapq.merge(written, below):
            if key != last and value is not None:
                yield key, value
            last = key

    def write(self, batch: Batch, *, sync: bool) -> None:
        self._written.update(batch)

    def freeze(self) -> Reader:
        frozen = Overlay(self._below)
        frozen._written.update(self._written)
        return frozen

    def close(self) -> None:
        """The store below is closed by who opened it."""


@contextmanager
def opened(config: Config, genesis: Genesis, *, for_writing: bool = False) -> Iterator[State]:
    """The state of a stopped node. Unless it is opened for writing, nothing that is done to it lasts.

    Raises StoreLockedError while the node runs, other StateErrors.
    """
    folder = config.data / "state"
    level = LevelStore(folder, genesis.hash if for_writing else None, create=False)
    try:
        store: Store = level if for_writing else Overlay(level)
        yield open_state(genesis, store)
    finally:
        level.close()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """No node opens the store ``folder`` meanwhile; nothing happens if there is none. Raises StoreLockedError."""
    if not folder.is_dir():
        yield
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreLockedError(f"{folder} is held by another process: stop that node first") from error
        yield
    finally:
        os.close(handle)


@contextmanager
def working(words: str) -> Iterator[Tell]:
    """Says on standard error what is being done, to a person; what is yielded takes new words."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda words: None
        return
    with console.status(escape(words)) as status:
        yield lambda words: status.update(escape(words))


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """What the disk refuses is an error that says what to do. Raises NodeError."""
    try:
        yield
    except OSError as error:
        raise NodeError(f"{folder}: {error}: see whether the disk is full or read-only, then do it again") from error


def ask(question: str, *, yes: bool, as_json: bool) -> None:
    """Ask before something is done; Abort if the answer is no."""
    if yes:
        return
    if as_json:
        raise click.UsageError("with --json nobody can be asked: add --yes")
    click.confirm(question, abort=True, err=True)
