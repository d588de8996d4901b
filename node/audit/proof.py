"""One entry of the state at the end of a round, proven to somebody who has the genesis document and nothing else.

A proof holds the entry, the way from it to the root (protocol section 9), the group account's authority under the same
root, the Hive transaction that set that authority, and the Hive transactions in which members reported the root, each
with its block's header. Whether those blocks are Hive's is looked up on chain, or in an archive of blocks.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

import msgspec

from node.audit.evidence import Included, Shown, check, evidence, unhex
from node.errors import NodeError
from node.sync.trust import Reported, Weighed, reports_in, reports_of, weigh
from processors.authority_form import as_stored
from processors.genesis import Genesis
from processors.hive.block import Block
from processors.hive.errors import HiveDataError
from state import merkle
from state.canonical import locate, value_of
from state.errors import CodecError, ProofError
from state.schema import AUTHORITY, Authority
from state.state import State
from state.table import Key, Table, encode_value

FORM = 1
#: A proof of 40 reports in blocks full of transactions is far smaller.
MOST_BYTES = 4 << 20
_UPDATES = (b"account_update",)


class Way(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A proof in hex (state/merkle.py): siblings from the top down, and [k, v] at the end, or nothing."""

    siblings: list[str]
    entry: list[str]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of the state, or its absence (``value`` empty), with the ways in its table and of its table."""

    table: str
    key: str
    value: str
    within: Way
    of_table: Way


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file. ``authority_set``: the last transaction before ``height`` that set it, none if it is the genesis'."""

    form: int
    genesis: str
    height: int
    root: str
    entry: Entry
    authority: Entry
    authority_set: list[Included]
    reports: list[Included]


class Proven(msgspec.Struct, frozen=True):
    """What a proof shows: the entry, who stands behind its root, and the blocks of Hive that must be as it says."""

    height: int
    root: bytes
    table: Table[Any]
    key: Key
    value: Any
    weighed: Weighed
    reports: tuple[tuple[Reported, Shown], ...]
    authority: Authority
    authority_set: Shown | None

    @property
    def blocks(self) -> dict[int, bytes]:
        """number -> id of every block that the proof leans on; no number has two (:func:`verify`)."""
        return {one.number: one.block_id for one in self.shown}

    @property
    def shown(self) -> list[Shown]:
        """All the evidence."""
        return [one for _, one in self.reports] + ([self.authority_set] if self.authority_set is not None else [])


# -- making


def entry_of(state: State, table: Table[Any], key: Key) -> Entry:
    """The entry with its proof, as the state is now."""
    within, of_table = state.proof(table, *key)
    value = state.get(table, *key)
    raw = encode_value(value).hex() if value is not None else ""
    return Entry(table.name, table.key(key or table.fixed).hex(), raw, _way(within), _way(of_table))


def reports_from(blocks: Iterable[Block], genesis: Genesis, height: int, root: bytes) -> list[Included]:
    """The transactions of proven blocks in which somebody reported this root for this height."""
    found: list[Included] = []
    for block in blocks:
        if not any((one.height, one.root) == (height, root) for one in reports_in(block, genesis)):
            continue
        for position in range(len(block.transactions)):
            said = reports_of(block.transaction(position)[0], genesis)
            if any((one.height, one.root) == (height, root) for one in said):
                found.append(evidence(block, position))
    return found


def authority_in(block: Block, genesis: Genesis) -> Included | None:
    """The last transaction of a proven block that sets the group account's active authority."""
    if not block.may_mention((), _UPDATES, lambda: (genesis.group,)):
        return None
    for position in reversed(range(len(block.transactions))):
        tx = block.transaction(position)[0]
        if _authority_of(Shown(block.number, block.id, b"", tx), genesis) is not None:
            return evidence(block, position)
    return None


def write(proof: Proof) -> bytes:
    """The bytes of the file: one form for one proof."""
    return msgspec.json.encode(proof) + b"\n"


# -- checking


def read(raw: bytes) -> Proof:
    """The proof of a file. Raises NodeError for anything that :func:`write` does not write."""
    if len(raw) > MOST_BYTES:
        raise NodeError(f"{len(raw)} bytes are no proof: it has at most {MOST_BYTES}")
    try:
        found = msgspec.json.decode(raw, type=Proof)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NodeError(f"that is no proof: {error}") from error
    if write(found) != raw:
        raise NodeError("that is no proof as `waggle prove` writes it: it was changed, or written anew")
    if found.form != FORM:
        raise NodeError(f"the proof has form {found.form}, this version knows {FORM}")
    return found


def verify(proof: Proof, genesis: Genesis) -> Proven:
    """What a proof shows by itself. Raises NodeError where it shows nothing."""
    if proof.genesis != genesis.hash.hex():
        raise NodeError(f"the proof is for the genesis {proof.genesis[:80]}, not for {genesis.hash.hex()}")
    try:
        return _verify(proof, genesis)
    except (ProofError, CodecError, HiveDataError, ValueError, RecursionError) as error:
        raise NodeError(f"the proof does not hold: {error}") from error


def _verify(proof: Proof, genesis: Genesis) -> Proven:
    root, length = _hex(proof.root, 32), genesis.params.round_length
    if proof.height % length or proof.height < genesis.start_block:
        raise ProofError(f"block {proof.height} ends no round: nobody reports its root")
    table, key, value = _entry(proof.entry, root, genesis)
    authority_table, authority_key, authority = _entry(proof.authority, root, genesis)
    if (authority_table.name, authority_key) != (AUTHORITY.name, ("active",)) or authority is None:
        raise ProofError("it does not hold the active authority")
    set_by = _set_by(proof, genesis, authority)
    reports: list[tuple[Reported, Shown]] = []
    for included in proof.reports:
        shown = check(included, genesis.chain)
        said = [one for one in reports_of(shown.tx, genesis) if (one.height, one.root) == (proof.height, root)]
        if not said or not proof.height < shown.number <= proof.height + length:
            raise ProofError(f"the transaction {shown.txid.hex()} reports no such root in its round")
        reports += [(one, shown) for one in said]
    if len({shown.txid for _, shown in reports}) != len(proof.reports):
        raise ProofError("a report is named twice")
    owners = {runner.signing_key: runner.account for runner in genesis.runners}
    weighed = weigh([one for one, _ in reports], root, authority, owners)
    proven = Proven(proof.height, root, table, key, value, weighed, tuple(reports), authority, set_by)
    if any(proven.blocks[one.number] != one.block_id for one in proven.shown):
        raise ProofError("it names two blocks of one number: one of them is made up")
    return proven


def _set_by(proof: Proof, genesis: Genesis, authority: Authority) -> Shown | None:
    """The transaction on chain that set this very authority; None where it is the genesis'."""
    if not proof.authority_set:
        if authority != genesis.authorities["active"]:
            raise ProofError("it does not hold the transaction that set the active authority")
        return None
    [included] = proof.authority_set
    shown = check(included, genesis.chain)
    if _authority_of(shown, genesis) != authority or not genesis.start_block < shown.number <= proof.height:
        raise ProofError(f"the transaction {shown.txid.hex()} does not set the active authority")
    return shown


def _authority_of(shown: Shown, genesis: Genesis) -> Authority | None:
    """The active authority that a transaction gives the group account, if it does."""
    for operation in reversed(shown.tx.operations):
        if operation.name in ("account_update", "account_update2") and operation.value["account"] == genesis.group:
            active = operation.value["active"]
            if active is not None:
                return as_stored(active)
    return None


def _entry(entry: Entry, root: bytes, genesis: Genesis) -> tuple[Table[Any], Key, Any]:
    """(table, key, value or None) of an entry that is proven under the root. Raises ProofError, CodecError."""
    packed, raw = unhex(entry.key), unhex(entry.value)
    table, key = locate(entry.table, packed)
    found = merkle.verify_in_state(
        root, genesis.hash, entry.table, packed, _proof(entry.within), _proof(entry.of_table)
    )
    if found != (sha256(raw).digest() if raw else None):
        raise ProofError(f"the entry of {entry.table} is not the one that is proven")
    return table, key, value_of(table, raw) if raw else None


def _way(proof: merkle.Proof) -> Way:
    return Way([one.hex() for one in proof.siblings], [one.hex() for one in proof.entry or ()])


def _proof(way: Way) -> merkle.Proof:
    if len(way.entry) not in (0, 2):
        raise ProofError("the end of a way is one entry, or none")
    end = (_hex(way.entry[0], 32), _hex(way.entry[1], 32)) if way.entry else None
    return merkle.Proof(tuple(_hex(one, 32) for one in way.siblings), end)


def _hex(text: str, size: int) -> bytes:
    raw = unhex(text)
    if len(raw) != size:
        raise ProofError(f"{size} bytes stand here, not {len(raw)}")
    return raw


def sets_authority(block: Block, genesis: Genesis) -> bool:
    """Whether a block, whole or sifted, sets the group account's active authority."""
    if not block.may_mention((), _UPDATES, lambda: (genesis.group,)):
        return False
    transactions = (block.transaction(position)[0] for position in range(len(block.transactions)))
    return any(_authority_of(Shown(block.number, block.id, b"", tx), genesis) is not None for tx in transactions)


def chain_differs(proven: Proven, ids: Iterator[tuple[int, bytes]]) -> list[str]:
    """Where a chain's ids are not those of the proof's blocks, in words."""
    wanted = proven.blocks
    return [
        f"block {number} is {found.hex()} there, the proof leans on {wanted[number].hex()}"
        for number, found in ids
        if found != wanted[number]
    ]
