"""What a signer of its own believes: the newest round whose root the group signed, as the round before it was signed.

Blocks that one node hands over prove nothing: a header can be made by anybody, and an operation in it is not signed for
the state machine. What cannot be made are the signatures of the other members under their reports (protocol section 5).
Each of them covers the whole state with the id of its last block. So there is a chain of rounds: the genesis names the
first keys; a round is believed when keys of the round believed before it, with the weight that an agreement takes,
signed its root; and only then its own keys and authority count.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from node.errors import SignerError
from node.files import Files
from node.signer.entries import Entry
from processors.genesis import Genesis
from state.errors import StateError
from state.schema import AUTHORITY, KEY, NODE, REPORT, RUNNER, Authority, Member
from state.state import State


class Trust(msgspec.Struct, frozen=True):
    """A root that the operator vouches for: what others reported of that height, seen elsewhere."""

    height: int
    root: bytes


class Round(msgspec.Struct, frozen=True):
    """A round's beginning: its root and who may vouch for the next one.

    ``time``: of the block at ``height``, seconds. ``weights``: of accounts in the active authority, ``everything``: all
    its weight. ``keys``: the key by which each member vouches. ``alone``: believed on the word of this signer's own
    account.
    """

    height: int
    root: bytes
    time: int
    threshold: int
    everything: int
    weights: dict[str, int]
    keys: dict[str, bytes]
    runners: tuple[str, ...]
    alone: bool = False


def of_genesis(genesis: Genesis) -> Round:
    """What the document says: nothing later is believed without these keys."""
    keys = {runner.account: runner.signing_key for runner in genesis.runners}
    owners = {key: account for account, key in keys.items()}
    return _round(genesis.start_block - 1, b"", 0, genesis.authorities["active"], owners, keys, tuple(keys))


def of_state(state: State) -> Round:
    """The round that begins with the block applied last."""
    root = state.root(state.height)
    if root is None:
        raise SignerError(f"block {state.height} begins no round")
    owners = {bytes(key): owner.account for (key,), owner in state.walk(KEY)}  # type: ignore[arg-type]
    runners = tuple(str(account) for (account,), _ in state.walk(RUNNER))
    active = state.need(AUTHORITY, "active")
    signers = {key for key, weight in active.keys if weight}
    found = {str(account): _vouching(member, signers) for (account,), member in state.walk(NODE)}
    keys = {account: key for account, key in found.items() if key is not None}
    return _round(state.height, root, state.head.timestamp, active, owners, keys, runners)


def _vouching(member: Member, signers: set[bytes]) -> bytes | None:
    """The key by which a member vouches: one that is in the authority, or that has ripened for it.

    A key that was registered a moment ago has a vote in the state at once. Here it has none: whoever took over the
    accounts of a majority, which lie with their nodes, would have their word within two rounds, and not in the day
    in which people can see it.
    """
    return member.signing_key if member.signing_key in signers else member.ripe_key


def _round(
    height: int,
    root: bytes,
    time: int,
    active: Authority,
    owners: dict[bytes, str],
    keys: dict[str, bytes],
    runners: tuple[str, ...],
) -> Round:
    weights: dict[str, int] = {}
    for key, weight in active.keys:
        if key in owners and weight:
            weights[owners[key]] = weights.get(owners[key], 0) + weight
    if not weights:  # no member's key is in it: the runners vote
        return Round(height, root, time, len(runners) // 2 + 1, len(runners), dict.fromkeys(runners, 1), keys, runners)
    everything = sum(weight for _, weight in active.keys) + sum(weight for _, weight in active.accounts)
    return Round(height, root, time, active.threshold, everything, weights, keys, runners)


def vouched(before: Round, begun: Round, state: State, own: str) -> Round | None:
    """``begun``, if the reports that the state holds now make it believed; None if they do not (yet).

    Where this signer's own account (``own``) could agree by itself, more than half of the runners must have reported
    the root too; if it is the only one of these, the round is believed on its own word.
    """
    who = {
        str(account)
        for (account,), report in state.walk(REPORT)
        if report.root == begun.root and before.keys.get(str(account)) == report.key
    }
    if not _suffices(before, who):
        return None
    alone = before.alone
    if _suffices(before, {own}):
        seated = who & set(before.runners)
        if 2 * len(seated) <= len(before.runners):
            return None
        alone = alone or seated <= {own}
    return replace(begun, alone=alone)


def _suffices(before: Round, who: Iterable[str]) -> bool:
    weight = sum(before.weights.get(account, 0) for account in who)
    return weight >= before.threshold and 2 * weight > before.everything


class _Kept(msgspec.Struct, frozen=True):
    """What the file holds. ``included``: ids of the journal's transactions that stood in a block."""

    genesis: bytes
    round: Round
    since: int
    included: frozenset[bytes]
    places: tuple[bytes, ...] = ()


#: Later than any block.
NEVER = 1 << 62


class Trusted:
    """The round believed last, in a small file: it never goes back. Where it cannot be written, what it says stays as
    it was, and StateError ends the process: the next one reads what the disk has."""

    def __init__(self, path: Path, genesis: Genesis, files: Files) -> None:
        self._path = path
        self._files = files
        self._genesis = genesis.hash
        self.round = of_genesis(genesis)
        #: Block time from which on every block was seen here; None = before the first one.
        self.since: int | None = None
        self.included: frozenset[bytes] = frozenset()
        #: Ids of the blocks at which the store may stand that was written to here.
        self.places: tuple[bytes, ...] = ()
        try:
            raw = files.read(path)
            kept = msgspec.json.decode(raw, type=_Kept) if raw is not None else None
        except (OSError, msgspec.MsgspecError) as error:
            raise SignerError(f"{path}: {error}: restore it from a backup, or see docs/signer.md: trust") from error
        if kept is not None and kept.genesis != genesis.hash:
            raise SignerError(f"{path} belongs to another genesis: name another data folder")
        if kept is not None:
            self.round, self.since, self.included, self.places = kept.round, kept.since, kept.included, kept.places

    def begin(self, since: int, head: bytes) -> None:
        """A store begins at the block ``head``; ``since``: from which block time on all were seen here."""
        self._keep(self.round, since, self.included, (head,))

    def move(self, *heads: bytes) -> None:
        """The store goes from one of these blocks to the other; called before it does."""
        if self.places != heads:
            self._keep(self.round, self.since or 0, self.included, heads)

    def believe(self, found: Round) -> None:
        """A round is believed now: from its first block on every one was seen, if that was not so for longer."""
        since = found.time if self.since == NEVER else self.since or 0
        self._keep(found, since, self.included, self.places)

    def check(self, state: State) -> None:
        """The store is of the chain that is believed. Raises SignerError."""
        believed = self.round
        root = state.root(believed.height)
        if believed.root and root is not None and root != believed.root:
            raise SignerError(
                f"the state is not of the chain that the group signed for at block {believed.height}: move its folder "
                f"away and let the node stream it anew"
            )

    def is_over(self, txid: bytes, entry: Entry) -> bool:
        """Whether what was signed is dead before the round that is believed, and was in no block up to it: of blocks
        that were never seen here nothing is known."""
        if txid in self.included:
            return False
        return entry.expiration <= self.round.time and entry.time >= (self.since or 0)

    def include(self, txids: set[bytes]) -> None:
        """Transactions that the journal holds stood in a block."""
        if not txids <= self.included:
            self._keep(self.round, self.since or 0, self.included | txids, self.places)

    def _keep(self, believed: Round, since: int, included: frozenset[bytes], places: tuple[bytes, ...]) -> None:
        kept = _Kept(self._genesis, believed, since, included, places)
        try:
            self._files.replace(self._path, msgspec.json.encode(kept))
        except OSError as error:
            raise StateError(
                f"{self._path}: {error}: nothing is signed; start the signer once the disk is well"
            ) from error
        self.round, self.since, self.included, self.places = believed, since, included, places
