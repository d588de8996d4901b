"""Making a proof out of a history: the entry at its height, the reports after it, the authority before it."""

from pathlib import Path

from node.audit.evidence import Included
from node.audit.proof import FORM, Proof, authority_in, entry_of, reports_from
from node.errors import FeedError, NodeError
from node.history.past import Progress, state_at
from node.history.source import History
from processors.genesis import Genesis
from processors.hive.block import Block
from processors.hive.errors import HiveDataError
from state.schema import AUTHORITY
from state.table import Key, Table, Value

#: Blocks that are looked through together, going back.
_STEP = 10_000


def prove(
    history: History,
    genesis: Genesis,
    table: Table[Value],
    key: Key,
    height: int,
    progress: Progress,
    snapshots: Path | None = None,
) -> Proof:
    """The proof of an entry, or of its absence, after block ``height``, which ends a round.

    Raises NodeError, FeedError, StateError, EngineError.
    """
    length = genesis.params.round_length
    if height % length:
        near = height // length * length
        raise NodeError(f"roots are reported of the ends of rounds: take {near} or {near + length} instead of {height}")
    with state_at(history, genesis, height, progress, snapshots) as state:
        root = state.root(height)
        if root is None:
            raise NodeError(f"no root is kept of {height}: leave --snapshots out")
        entry, authority = entry_of(state, table, key), entry_of(state, AUTHORITY, ("active",))
        is_genesis = state.need(AUTHORITY, "active") == genesis.authorities["active"]
    reports = reports_from(_proven(history, height + 1, height + length), genesis, height, root)
    set_by = [] if is_genesis else [_authority_set(history, genesis, height)]
    return Proof(FORM, genesis.hash.hex(), height, root.hex(), entry, authority, set_by, reports)


def _proven(history: History, first: int, last: int) -> list[Block]:
    span = history.span()
    if span is None or span[1] < last:
        raise FeedError(f"{history.name} must hold the blocks up to {last}, in which the root was reported: fetch them")
    blocks = list(history.blocks(first, last))
    for block in blocks:
        _prove(history, block)
    return blocks


def _authority_set(history: History, genesis: Genesis, height: int) -> Included:
    """The last transaction up to ``height`` that set the active authority, looked for from there backwards."""
    last = height
    while last > genesis.start_block:
        first = max(genesis.start_block + 1, last - _STEP + 1)
        found: Included | None = None
        for block in history.blocks(first, last):
            if block.may_mention((genesis.group.encode(),)):
                here = authority_in(block, genesis)
                if here is not None:
                    _prove(history, block)
                    found = here
        if found is not None:
            return found
        last = first - 1
    raise NodeError(f"{history.name} holds no transaction that set the group account's authority")


def _prove(history: History, block: Block) -> None:
    try:
        block.prove()
    except HiveDataError as error:
        raise FeedError(f"{history.name}: block {block.number} cannot be proven: {error}") from error
