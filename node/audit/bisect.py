"""Where two histories of one group part: the first block that is another, the first entry that comes out otherwise.

Blocks are searched by halves: each names the one before it, so two chains that have parted do not meet again. From
there both are applied side by side, and what each block changed is compared.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from node.assembly import open_state
from node.errors import FeedError
from node.history.past import Progress, advance, looked_at
from node.history.sifted import proof_of
from node.history.source import History, held
from node.sync.difference import EntryDifference, changed_otherwise, words_of
from node.sync.wire import Changes
from processors.errors import EngineError
from processors.genesis import Genesis
from processors.hive.block import Block
from processors.hive.errors import HiveDataError
from state.schema import HEAD
from state.state import State
from state.store import LevelStore
from state.undo import Changed

#: Transactions that are named of each side.
_NAMED = 20
#: What differs with every block that is another: its id, and nothing that anybody wanted.
_TRIVIAL = (HEAD.name, HEAD.key(HEAD.fixed))


class Parted(msgspec.Struct, frozen=True):
    """What was found. ``kind``: equal; blocks; or unproven: all ids are the same, but what one of the two holds is not
    what its headers say. ``block``: the first that differs; ``height``: the first block after
    which another entry of the state differs than the block's id, -1 if none does as far as both go; ``entries`` are
    those, the first one being ``table``, ``key``, ``ours``, ``theirs``. Transaction ids are hex.
    """

    kind: str
    words: str
    first: int
    last: int
    block: int = -1
    block_ids: tuple[str, str] = ("", "")
    only_ours: tuple[str, ...] = ()
    only_theirs: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    height: int = -1
    entries: tuple[EntryDifference, ...] = ()


def bisect(ours: History, theirs: History, genesis: Genesis, progress: Progress) -> Parted:
    """Where two histories part. Raises FeedError, StateError, EngineError."""
    first, last = _common(ours, theirs, genesis)
    if _id(ours, first) != _id(theirs, first):
        number: int | None = first
    else:
        number = _first_other(lambda n: _id(ours, n) == _id(theirs, n), first, last)
    if number is None:
        return _same_ids(ours, theirs, genesis, (first, last), progress)
    mine, yours = _one(ours, number), _one(theirs, number)
    unproven = tuple(words for words in (_unproven(ours, mine), _unproven(theirs, yours)) if words)
    height, entries = _states(ours, theirs, genesis, (number, last), progress) if number > first else (-1, [])
    only_ours, only_theirs = _only(mine, yours)
    words = f"block {number} is {mine.id.hex()} here, {yours.id.hex()} there"
    if entries:
        words += f"; after block {height} the states differ: {words_of(entries[0])}"
    return Parted(
        kind="blocks",
        words=words,
        first=first,
        last=last,
        block=number,
        block_ids=(mine.id.hex(), yours.id.hex()),
        only_ours=only_ours,
        only_theirs=only_theirs,
        unproven=unproven,
        height=height,
        entries=tuple(entries),
    )


def _same_ids(ours: History, theirs: History, genesis: Genesis, span: tuple[int, int], progress: Progress) -> Parted:
    """Both end with the same block: so they are equal, if each is linked and holds what its headers say."""
    first, last = span
    found = [(history.name, _unsound(history, genesis, span, progress)) for history in (ours, theirs)]
    wrong = tuple(f"{name}: {words}" for name, words in found if words)
    if wrong:
        return Parted("unproven", f"the last blocks are the same, but {'; '.join(wrong)}", first, last, unproven=wrong)
    return Parted("equal", f"equal: the blocks {first} to {last} are the same in both", first, last)


def _unsound(history: History, genesis: Genesis, span: tuple[int, int], progress: Progress) -> str:
    """Why the blocks of a history are not what they say, from the first that is not; "" if they are."""
    previous = b""
    try:
        for block, looked in looked_at(history, genesis, *span, prove=True):
            words = (looked.unproven or looked.unknown) if looked is not None else _unproven(history, block)
            if words or previous not in (b"", block.header.previous):
                return words or f"block {block.number} does not follow the one before it"
            previous = block.id
            if block.number % 1_000 == 0:
                progress(block.number - span[0])
    except (FeedError, HiveDataError) as error:
        return str(error)
    return ""


def _first_other(is_same: Callable[[int], bool], first: int, last: int) -> int | None:
    """The first number that is not the same, where all before it are and all after it are not."""
    if is_same(last):
        return None
    low, high = first, last  # low is the same, high is not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_same(middle) else (low, middle)
    return high


def _common(ours: History, theirs: History, genesis: Genesis) -> tuple[int, int]:
    spans = [history.span() for history in (ours, theirs)]
    for history, span in zip((ours, theirs), spans, strict=True):
        if span is None or span[0] > genesis.start_block or span[1] < genesis.start_block:
            raise FeedError(
                f"{history.name} holds {held(history)}, the group begins with {genesis.start_block}: fetch the rest"
            )
    return genesis.start_block, min(span[1] for span in spans if span is not None)


def _one(history: History, number: int) -> Block:
    return next(iter(history.blocks(number, number)))


def _id(history: History, number: int) -> bytes:
    return _one(history, number).id


def _unproven(history: History, block: Block) -> str:
    unproven, unknown = proof_of(block) if block.is_whole else ("", "")
    return f"{history.name}: {unproven or unknown}" if unproven or unknown else ""


def _only(mine: Block, yours: Block) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The transactions that only one of two blocks holds."""
    sides = []
    for block in (mine, yours):
        found = []
        for position in range(len(block.transactions)):
            try:
                found.append(block.transaction(position)[2].hex())
            except HiveDataError:
                found.append(f"transaction {position}, which this version does not know")
        sides.append(found)
    one, other = sides
    return tuple([t for t in one if t not in other][:_NAMED]), tuple([t for t in other if t not in one][:_NAMED])


def _states(
    ours: History, theirs: History, genesis: Genesis, span: tuple[int, int], progress: Progress
) -> tuple[int, list[EntryDifference]]:
    """(the first height at which another entry than the head differs, the entries), from block ``span[0]`` on."""
    number, last = span
    with tempfile.TemporaryDirectory(prefix="waggle-bisect-") as folder:
        place, copy = Path(folder) / "ours", Path(folder) / "theirs"
        store = LevelStore(place, genesis.hash)
        try:
            advance(open_state(genesis, store), ours, genesis, number - 1, progress, prove=False)
        finally:
            store.close()
        shutil.copytree(place, copy)
        stores = [LevelStore(one, genesis.hash) for one in (place, copy)]
        try:
            one, other = (open_state(genesis, store) for store in stores)
            for height in range(number, last + 1):
                for state, history in ((one, ours), (other, theirs)):
                    try:
                        advance(state, history, genesis, height, progress, prove=False)
                    except EngineError as error:
                        raise FeedError(f"{history.name}: {error}") from error
                found = _differ(one, other, height, genesis)
                if found:
                    return height, found
        finally:
            for store in stores:
                store.close()
    return -1, []


def _differ(one: State, other: State, height: int, genesis: Genesis) -> list[EntryDifference]:
    changes = [_changes(state, height) for state in (one, other)]
    return changed_otherwise(changes[0], changes[1], genesis.chain.address_prefix)


def _changes(state: State, height: int) -> Changes:
    found = state.undo(height)
    if found is None:
        raise FeedError(f"what block {height} changed is not kept: begin again")
    kept = [(change, old) for change, old in zip(found.changed, found.old, strict=True) if not _is_trivial(change)]
    trace = state.trace(height) or b""
    changed, replaced = [change for change, _ in kept], [old for _, old in kept]
    return Changes(height, found.before, found.block_id, trace, changed, replaced)


def _is_trivial(change: Changed) -> bool:
    return (change.table, change.key) == _TRIVIAL
