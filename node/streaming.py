"""Blocks on their way to a remote signer: it is a replica of its own, and signs only where it is as far as the node."""

import asyncio
from contextlib import aclosing

from node.core import Log, NodeCore
from node.errors import ApiError, FeedError, SignerError
from node.feed.feed import Feed
from node.feed.source import Given
from node.signer.remote import RemoteSigner

#: Blocks that are handed over together.
_BATCH = 64
_RANGE = 200


class Stream:
    """Hands every block that the node applied to its signer; what the signer missed is fetched for it."""

    def __init__(self, remote: RemoteSigner, core: NodeCore, feed: Feed, log: Log) -> None:
        #: Whether the last request was answered.
        self.is_reached = True
        self._remote = remote
        self._core = core
        self._feed = feed
        self._log = log
        self._waiting: list[Given] = []
        self._is_aligned = False

    def take(self, given: Given) -> None:
        """A block that the node applied."""
        self._waiting.append(given)
        if len(self._waiting) >= _BATCH:
            try:
                self._hand_over()
            except SignerError:
                self._lost()

    async def bring(self) -> None:
        """Let the signer be where the node is; if that fails, the node signs nothing at this block."""
        try:
            if not self._is_aligned:
                self._align()
            self._hand_over()
            await self._fill()
            self.is_reached = True
        except (SignerError, ApiError, FeedError):
            self._lost()  # the core says so when it asks for a signature

    def realign(self) -> None:
        """The node went back to an earlier block: the signer must leave the same fork."""
        self._is_aligned = False
        self._waiting = []

    def _align(self) -> None:
        self._remote.catch_up(self._core.state, self._core.block_id, lambda first, last: iter(()))
        self._is_aligned = True

    def _hand_over(self) -> None:
        waiting, self._waiting = self._waiting, []
        fresh = [given.text for given in waiting if given.block.number > self._remote.height]
        follows = waiting and waiting[-1].block.number - len(fresh) == self._remote.height
        if fresh and follows and self._is_aligned:
            self._remote.feed(fresh)

    async def _fill(self) -> None:
        """Fetch what the signer lacks: it was away, or is new."""
        state, genesis = self._core.state, self._core.genesis
        while self._remote.height < state.height:
            first = self._remote.height + 1 if self._remote.height >= 0 else genesis.start_block
            last = min(first + _RANGE - 1, state.height)
            texts: list[bytes] = []
            blocks = self._feed.blocks(first, last, self._core.block_id(first - 1), self._feed.servers.best())
            async with aclosing(blocks):
                async for given in blocks:
                    texts.append(given.text)
            before = self._remote.height
            await asyncio.to_thread(self._remote.feed, texts)
            if self._remote.height <= before:
                raise SignerError(f"the signer does not go on from block {before}: see its own log")
            self._log("signer_catches_up", {"height": self._remote.height, "to": state.height})

    def _lost(self) -> None:
        self.is_reached = False
        self.realign()
