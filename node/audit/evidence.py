"""A transaction that stands in a block of Hive, with all it takes to see that: header, bytes, the way to its root."""

from hashlib import new, sha256
from typing import Any

import msgspec

from processors.hive.block import Block, Header, block_id, read_header, show_header
from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError
from processors.hive.transaction import Transaction, pack_signatures, transaction_id, unpack_transaction

#: A block of 2 MiB holds fewer transactions than 2 ** 17.
_MOST_LEVELS = 17


class Included(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transaction in a block. ``branch``: from the leaf up, "l" or "r" (on which side the other hash stands) and that
    hash, both in one text; levels on which the leaf's side had no neighbour are left out. All else is hex.
    """

    number: int
    block_id: str
    header: dict[str, Any]
    tx: str
    txid: str
    signatures: list[str]
    branch: list[str]


class Shown(msgspec.Struct, frozen=True):
    """What an evidence shows, once it is checked."""

    number: int
    block_id: bytes
    txid: bytes
    tx: Transaction


def evidence(block: Block, position: int) -> Included:
    """The evidence of the transaction at a position of a proven block. Raises HiveDataError."""
    leaves = [block.leaf(index) for index in range(len(block.transactions))]
    tx, packed, txid = block.transaction(position)
    return Included(
        number=block.number,
        block_id=block.id.hex(),
        header=show_header(block.header, typed=True),
        tx=packed.hex(),
        txid=txid.hex(),
        signatures=[signature.hex() for signature in tx.signatures],
        branch=_branch(leaves, position),
    )


def check(found: Included, chain: Chain) -> Shown:
    """What an evidence shows by itself: whether its block is Hive's is another question. Raises HiveDataError."""
    header = _header(found.header, chain)
    if (header.number, block_id(header).hex()) != (found.number, found.block_id):
        raise HiveDataError(f"the header is of block {header.number} ({block_id(header).hex()}), not of {found.number}")
    packed, signatures = unhex(found.tx), tuple(unhex(text) for text in found.signatures)
    if transaction_id(packed).hex() != found.txid:
        raise HiveDataError(f"the bytes are of the transaction {transaction_id(packed).hex()}, not of {found.txid}")
    root = _folded(sha256(packed + pack_signatures(signatures)).digest(), found.branch)
    if root != header.merkle_root:
        raise HiveDataError(f"the transaction {found.txid} does not stand in block {found.number}")
    return Shown(found.number, unhex(found.block_id), unhex(found.txid), unpack_transaction(packed, chain))


def unhex(text: str) -> bytes:
    """Bytes of their one form in hex. Raises HiveDataError."""
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise HiveDataError(f"not hex: {text[:40]!r}") from error
    if raw.hex() != text:
        raise HiveDataError(f"hex has one form, which {text[:40]!r} is not")
    return raw


def _header(shown: dict[str, Any], chain: Chain) -> Header:
    header = read_header(shown, chain)
    if show_header(header, typed=True) != shown:
        raise HiveDataError("a header has one form")
    return header


def _branch(leaves: list[bytes], position: int) -> list[str]:
    found = []
    while len(leaves) > 1:
        other = position ^ 1
        if other < len(leaves):
            found.append(("l" if other < position else "r") + leaves[other].hex())
        pairs = [sha256(leaves[i] + leaves[i + 1]).digest() for i in range(0, len(leaves) - 1, 2)]
        leaves = pairs + leaves[len(leaves) & ~1 :]
        position //= 2
    return found


def _folded(leaf: bytes, branch: list[str]) -> bytes:
    """The Merkle root to which a branch leads (hived: merkle.cpp through full_block's root). Raises HiveDataError."""
    if len(branch) > _MOST_LEVELS:
        raise HiveDataError(f"a branch of {len(branch)} levels is longer than any block's")
    for step in branch:
        side, other = step[:1], unhex(step[1:])
        if side not in ("l", "r") or len(other) != 32:
            raise HiveDataError("a step of a branch is a side and 32 bytes")
        leaf = sha256(other + leaf if side == "l" else leaf + other).digest()
    return new("ripemd160", leaf).digest()
