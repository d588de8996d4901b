"""The state as it was after any block of the past: the nearest snapshot, then the blocks after it."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from node.assembly import open_state
from node.errors import FeedError
from node.history.archived import Archived
from node.history.sifted import Looked
from node.history.source import History, held
from processors.engine import apply_block, begin
from processors.genesis import Genesis
from processors.hive.block import Block
from processors.hive.errors import HiveDataError, UnprovenBlockError
from state.snapshot import heights, read_chunks, read_manifest, restore
from state.state import State
from state.store import LevelStore

_SHARE = 256  # blocks of one batch
_MANY = 2_000  # fewer blocks are read in this process

#: Told how many blocks after the genesis it has come.
Progress = Callable[[int], None]


@contextmanager
def scratch_store(genesis: Genesis, fill: Callable[[Path], None] = lambda place: None) -> Iterator[LevelStore]:
    """A new store, in a folder that is thrown away; ``fill`` may put one there before it is opened."""
    with tempfile.TemporaryDirectory(prefix="waggle-past-") as folder:
        place = Path(folder) / "state"
        fill(place)
        store = LevelStore(place, genesis.hash)
        try:
            yield store
        finally:
            store.close()


@contextmanager
def state_at(
    history: History, genesis: Genesis, height: int, progress: Progress, snapshots: Path | None = None
) -> Iterator[State]:
    """The state after block ``height``, in a folder that is thrown away.

    It begins with the newest whole snapshot of ``snapshots`` that is not later, else with the genesis; each block after
    that is proven where the history holds it whole. Raises FeedError, StateError, EngineError.
    """
    if height < genesis.start_block:
        raise FeedError(f"the group begins with block {genesis.start_block}: there is no state of {height}")
    with scratch_store(genesis, lambda place: _begin(place, genesis, height, snapshots)) as store:
        state = open_state(genesis, store)
        advance(state, history, genesis, height, progress)
        yield state


def advance(
    state: State, history: History, genesis: Genesis, height: int, progress: Progress, *, prove: bool = True
) -> None:
    """Apply the blocks of a history up to ``height``, each proven unless ``prove`` is False.

    Raises FeedError, EngineError.
    """
    first = state.height + 1 if state.height >= 0 else genesis.start_block
    if first > height:
        return
    span = history.span()
    if span is None or span[0] > first or span[1] < height:
        raise FeedError(f"{history.name} holds {held(history)}, needed are {first} to {height}: fetch what is missing")
    for block, looked in looked_at(history, genesis, first, height, prove=prove):
        try:
            if looked is None and prove and block.is_whole:
                block.prove()
            elif looked is not None and (looked.unproven or looked.unknown):
                raise UnprovenBlockError(looked.unproven or looked.unknown)
            if state.height < 0:
                begin(state, genesis, block)
            else:
                apply_block(state, genesis, block, flush=block.number % _SHARE == 0)
        except HiveDataError as error:
            raise FeedError(f"{history.name}: block {block.number} is refused: {error}") from error
        if block.number % _SHARE == 0 or block.number == height:
            progress(block.number - genesis.start_block + 1)
    state.flush()


def looked_at(
    history: History, genesis: Genesis, first: int, last: int, *, prove: bool, signatures: bool = False
) -> Iterator[tuple[Block, Looked | None]]:
    """The blocks of a history. Many of an archive are looked at by processes of their own, which say what they saw."""
    if isinstance(history, Archived) and last - first >= _MANY:
        yield from history.looked_at(first, last, genesis.group, genesis.prefix, prove=prove, signatures=signatures)
    else:
        yield from ((block, None) for block in history.blocks(first, last))


def _begin(place: Path, genesis: Genesis, height: int, snapshots: Path | None) -> None:
    """The store of the newest snapshot that serves, if there is one."""
    usable = [found for found in heights(snapshots) if found <= height] if snapshots is not None else []
    if not usable or snapshots is None:
        return
    manifest = read_manifest(snapshots, usable[-1])
    chunks = read_chunks(snapshots, manifest)
    restore(place, manifest, chunks, genesis.hash, round_length=genesis.params.round_length)
