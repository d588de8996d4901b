"""One block as a signer of its own takes it: proven, linked to the one before, applied; and what of ours is in it."""

from collections.abc import Callable

from node.core import Log
from node.errors import SignerError
from processors.engine import apply_block
from processors.errors import EngineError
from processors.genesis import Genesis
from processors.hive.block import Block, read_block
from processors.hive.errors import HiveDataError, UnknownOperationError
from state.state import State


def read(text: bytes, genesis: Genesis, log: Log) -> Block:
    """A block as a server gave it. One with an operation that cannot be serialised is not proven: the root that the
    group signs for covers whatever it does. Raises SignerError."""
    try:
        block = read_block(text, genesis.chain)
        block.prove()
    except UnknownOperationError as error:
        log("unproven_block", {"height": block.number, "operators": [], "why": str(error)})
    except HiveDataError as error:
        raise SignerError(f"a block is refused: {error}") from error
    return block


def follow(state: State, genesis: Genesis, block: Block) -> None:
    """Apply the block that follows the one applied last; it is not flushed. Raises SignerError, StateError."""
    head = state.head
    if block.number != head.height + 1 or block.header.previous != head.block_id:
        raise SignerError(f"block {block.number} does not follow {head.height} ({head.block_id.hex()})")
    if block.timestamp <= head.timestamp:
        raise SignerError(f"block {block.number} is not later than the one before it")
    try:
        apply_block(state, genesis, block, flush=False)
    except (HiveDataError, EngineError, KeyError) as error:
        raise SignerError(f"block {block.number} cannot be applied: {error}") from error


def among(block: Block, genesis: Genesis, signed: Callable[[], set[bytes]]) -> set[bytes]:
    """Which of the transactions ``signed`` stand in a block. The state need not know them: what was signed on another
    fork may be included on this one."""
    if not block.may_mention((genesis.group.encode(),)):
        return set()
    found = set()
    for index in range(len(block.transactions)):
        try:
            found.add(block.transaction(index)[2])
        except HiveDataError:
            continue  # not of this version's operations, so none of ours
    return found & signed()
