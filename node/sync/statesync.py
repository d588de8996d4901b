"""State sync: a new node begins with a snapshot of its peers that the group's own signers vouch for on chain.

1. The group account's authority is read from two servers of different operators.
2. Peers say which snapshots they have: heights and roots, nothing of which is believed.
3. The blocks of the round after such a height are fetched and proven, and two operators have the last one alike: the
   reports in them say which root the signers have.
4. The chunks are fetched, and held against the manifest and the root while they are written aside.
5. The map from signing keys to accounts is read from what was fetched, each entry proven by its pop; only if the
   signers' weight behind the root is enough, the state takes its place.

A peer that serves garbage costs time, and nothing else; a slow one no more of it than patience.py says.
"""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from node.assembly import open_state
from node.core import Log
from node.errors import ApiError, FeedError, NodeError
from node.feed.feed import Feed
from node.feed.second import Second
from node.sending import authorities
from node.sync.patience import Patience
from node.sync.peer import Peer, PeerError
from node.sync.trust import Reported, Weighed, owners_of, reports_in, weigh
from processors.genesis import Genesis
from state.errors import StateError
from state.manifest import Manifest
from state.schema import Authority
from state.snapshot import Restoring
from state.store import LevelStore, settle_store

#: Snapshots of one peer that are looked into, the newest first: a liar's list leaves room for the others'.
_MOST_EACH = 4
#: Chunks that are fetched while others are written.
_AHEAD = 4
#: Bytes of a snapshot, decompressed, that a node is ready to write before it knows whether the root is right.
MOST_BYTES = 16 << 30
#: Entries likewise: 64 bytes of each of a table's are held in memory until its root is known.
MOST_ENTRIES = 20_000_000

T = TypeVar("T")


class SyncError(NodeError):
    """No snapshot could be believed; the message says what was tried."""


class Trusted(msgspec.Struct, frozen=True):
    """What the operator was told by somebody he trusts: the root after block ``height``."""

    height: int
    root: bytes


class StateSync:
    """One try of a node without a state to get one."""

    def __init__(
        self,
        genesis: Genesis,
        feed: Feed,
        second: Second,
        log: Log,
        *,
        trust: Trusted | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._genesis = genesis
        self._feed = feed
        self._second = second
        self._log = log
        self._trust = trust
        self._patience = patience or Patience()
        self._bad: set[str] = set()  # names of peers that failed at a chunk

    async def run(self, peers: Sequence[Peer], folder: Path) -> int:
        """Make the store ``folder`` from the newest snapshot that can be believed; returns its height.

        Raises SyncError if there is none, ApiError while the servers cannot be asked.
        """
        authority = await self._authority()
        _, view = await self._feed.view(0, 0)
        offers = await self._offers(peers, view.irreversible_number)
        refusals: list[str] = []
        # of what is said of one height first what most peers have: who slows a snapshot of his own down is asked late
        for manifest in sorted(offers, key=lambda m: (-m.height, -len(offers[m]))):
            self._patience.begin_anew()
            try:
                reports = await self._reports(manifest)
                self._might_be(manifest, reports, authority)
                weighed = await self._restore(manifest, offers[manifest], reports, authority, folder)
            except (SyncError, StateError, FeedError, ApiError) as error:
                refusals.append(f"block {manifest.height}: {error}")
                self._log("sync_refused", {"height": manifest.height, "why": str(error)})
                continue
            told = {"weight": weighed.weight, "of": weighed.total, "reported_by": list(weighed.accounts)}
            self._log("synced", {"height": manifest.height, "root": manifest.root.hex(), **told})
            return manifest.height
        tried = "; ".join(refusals) or "no peer offers one"
        raise SyncError(f"no snapshot can be believed: {tried}. Name other peers in sync.peers, or let the node replay")

    async def _authority(self) -> Authority:
        """The active authority as two operators have it at their heads."""
        found: dict[str, Authority] = {}
        for server in self._feed.servers.usable():
            if server.operator in found:
                continue
            chain, group = self._genesis.chain, self._genesis.group
            try:
                active = (await self._feed.ask(server, authorities(server.api, chain, group)))["active"]
            except ApiError:
                continue  # told and noted where it was asked
            if active in found.values():
                return active
            found[server.operator] = active
        raise ApiError(f"two servers of different operators must show {self._genesis.group} alike; they do not")

    async def _offers(self, peers: Sequence[Peer], irreversible: int) -> dict[Manifest, list[Peer]]:
        """The manifests that peers show, each with who has it; what cannot be ours is left out."""
        newest = irreversible - self._genesis.params.round_length
        found: dict[Manifest, list[Peer]] = {}
        answers = await asyncio.gather(*(peer.snapshots() for peer in peers), return_exceptions=True)
        for peer, answer in zip(peers, answers, strict=True):
            if isinstance(answer, PeerError):
                self._log("peer_error", {"peer": peer.name, "error": str(answer)})
                continue
            if isinstance(answer, BaseException):
                raise answer
            ours = {manifest for manifest in answer if manifest.height <= newest and self._is_ours(manifest)}
            for manifest in sorted(ours, key=lambda m: -m.height)[:_MOST_EACH]:
                found.setdefault(manifest, []).append(peer)
        return found

    def _is_ours(self, manifest: Manifest) -> bool:
        ends_a_round = manifest.height % self._genesis.params.round_length == 0
        is_ours = manifest.genesis_hash == self._genesis.hash and manifest.height >= self._genesis.start_block
        trusted = self._trust is None or (manifest.height, manifest.root) == (self._trust.height, self._trust.root)
        is_bearable = manifest.raw_bytes <= MOST_BYTES and manifest.entries <= MOST_ENTRIES
        return is_ours and ends_a_round and trusted and is_bearable

    async def _reports(self, manifest: Manifest) -> list[Reported]:
        """What was reported of a height, from the proven blocks of the round that it begins."""
        first, last = manifest.height + 1, manifest.height + self._genesis.params.round_length
        server, view = await self._feed.view(last, 0)
        if view.irreversible_number < last:
            raise SyncError("its reports are not irreversible yet: another snapshot will do")
        begins = await self._second.id_of(manifest.height, lambda number: manifest.block_id)
        if begins is None or begins[0] < 2 or begins[1] != manifest.block_id:  # no server is to blame for that
            raise SyncError(f"no two operators have the block {manifest.block_id.hex()} that it stands on")
        found: list[Reported] = []
        previous = manifest.block_id
        blocks = self._feed.blocks(first, last, previous, server)
        async with aclosing(blocks):
            async for given in blocks:
                reports = reports_in(given.block, self._genesis)
                found += [report for report in reports if report.height == manifest.height]
                previous = given.block.id
        alike = await self._second.id_of(last, lambda number: previous)
        if alike is None or alike[0] < 2 or alike[1] != previous:
            raise SyncError(f"no two operators have block {last} alike")
        return found

    def _might_be(self, manifest: Manifest, reports: list[Reported], authority: Authority) -> None:
        """Refuse, before anything is fetched, a root that the signers cannot have meant."""
        said = {report.root for report in reports if weigh(reports, report.root, authority, {}).is_enough}
        if said and manifest.root not in said:
            raise SyncError(f"the signers reported {', '.join(sorted(root.hex() for root in said))}")
        if not any(report.root == manifest.root for report in reports):
            raise SyncError("nobody reported its root")

    async def _restore(
        self, manifest: Manifest, peers: list[Peer], reports: list[Reported], authority: Authority, folder: Path
    ) -> Weighed:
        """Fetch, check, weigh; only then the state is where the node looks for it."""
        aside = folder.with_name(f"{folder.name}.synced")
        shutil.rmtree(aside, ignore_errors=True)
        round_length = self._genesis.params.round_length
        try:
            with Restoring(aside, manifest, self._genesis.hash, round_length=round_length) as restoring:
                await self._feed_chunks(restoring, manifest, peers)
                await _in_thread(restoring.finish)
            weighed = await _in_thread(self._weigh, aside, manifest, reports, authority)
            if not weighed.is_enough:
                raise SyncError(f"only {weighed.weight} of the {weighed.needed} that are needed stand behind its root")
            settle_store(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return weighed

    async def _feed_chunks(self, restoring: Restoring, manifest: Manifest, peers: list[Peer]) -> None:
        """Fetch some chunks ahead of the one that is written; each from the next peer that has it."""
        waiting: list[asyncio.Task[bytes]] = []
        count = len(manifest.chunks)
        try:
            for index in range(count + _AHEAD):
                if index < count:
                    waiting.append(asyncio.create_task(self._chunk(manifest, index, peers)))
                if index >= _AHEAD and waiting:
                    await _in_thread(restoring.feed, await waiting.pop(0))
                    self._log("sync", {"height": manifest.height, "chunk": index - _AHEAD + 1, "of": count})
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _chunk(self, manifest: Manifest, index: int, peers: list[Peer]) -> bytes:
        """A chunk with the right hash, from whichever peer gives it; those that failed before are asked last."""
        words, turn = "none that was not too slow before", index % len(peers)
        for peer in sorted([*peers[turn:], *peers[:turn]], key=lambda peer: peer.name in self._bad):
            told = manifest.chunks[index]
            seconds = self._patience.seconds(peer.name, told.size)
            if seconds <= 0:
                continue
            begun, size = self._patience.clock(), 0
            try:
                found = await peer.chunk(manifest.height, index, told, seconds)
                size = len(found)
                return found
            except PeerError as error:
                words = str(error)
                self._bad.add(peer.name)
                self._log("peer_error", {"peer": peer.name, "error": words})
            finally:
                self._patience.spent(peer.name, size, self._patience.clock() - begun)
        raise SyncError(f"no peer gives chunk {index}: {words}")

    def _weigh(self, folder: Path, manifest: Manifest, reports: list[Reported], authority: Authority) -> Weighed:
        """What stands behind the root, with the keys' owners as the restored state proves them."""
        store = LevelStore(folder, self._genesis.hash, create=False)
        try:
            owners = owners_of(open_state(self._genesis, store), self._genesis)
            return weigh(reports, manifest.root, authority, owners)
        finally:
            store.close()


async def _in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """What ``work`` returns; a thread cannot be called off, so that a cancellation waits for it."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise
