"""A node's past from sources of its own: hived's block_log, or a HAF database, before servers are asked for the rest.

Blocks of a block_log are proven like a server's. What a HAF database filtered cannot be: it is believed as the
operator's own node, because the configuration says so (feed.trust).
"""

import asyncio
from collections.abc import Iterator

from node.config import FeedConfig
from node.core import Log, NodeCore
from node.errors import FeedError
from node.history.source import History
from processors.genesis import Genesis
from processors.hive.block import Block
from processors.hive.errors import HiveDataError

_PROGRESS = 10_000  # blocks between two words
_BATCH = 64
#: How a configuration says that its HAF database is believed.
OWN_NODE = "own-node"


def past_of(config: FeedConfig, genesis: Genesis) -> Iterator[History]:
    """The sources that a configuration names, opened one after the other. Raises FeedError."""
    if config.block_log is not None:
        from node.history.block_log import BlockLog

        yield BlockLog.open(config.block_log, genesis.chain, config.dictionaries)
    if config.haf:
        from node.history.haf import Haf

        yield Haf.open(config.haf, genesis.chain, genesis.group, genesis.prefix)


async def replay_past(config: FeedConfig, core: NodeCore, log: Log, stop: asyncio.Event) -> None:
    """Apply what these sources have beyond the state. A source that fails is told of, and servers go on from there."""
    try:
        for history in past_of(config, core.genesis):
            with history:
                await _replay(history, core, log, stop)
    except (FeedError, HiveDataError) as error:
        log("past_failed", {"height": core.state.height, "error": str(error), "remedy": "servers are asked instead"})
    core.state.flush()


async def _replay(history: History, core: NodeCore, log: Log, stop: asyncio.Event) -> None:
    state, span = core.state, history.span()
    if span is None or not span[0] <= state.height + 1 <= span[1]:
        return
    log("past_replay", {"source": history.name, "height": state.height, "last": span[1], "caveat": history.caveat})
    for block in history.blocks(state.height + 1, span[1]):
        _apply(core, block)
        if block.number % _PROGRESS == 0:
            fields = {"source": history.name, "height": block.number, "last": span[1], "caveat": history.caveat}
            log("past_replay", fields)
        if block.number % _BATCH == 0:
            await asyncio.sleep(0)
        if stop.is_set():
            return


def _apply(core: NodeCore, block: Block) -> None:
    """One block, proven where that can be, and later than the one before. Raises FeedError."""
    head = core.state.head
    if block.is_whole:
        block.prove()
    if block.header.previous != head.block_id or block.timestamp <= head.timestamp:
        raise FeedError(f"block {block.number} does not follow ours ({head.block_id.hex()})")
    core.apply(block, flush=block.number % _BATCH == 0)
