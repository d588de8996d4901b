"""Histories for the benchmarks of replay: archives of made blocks, and the genesis that goes with them."""

from pathlib import Path

import msgspec

from benchmarks.archive import signed
from benchmarks.world import SIGNATURE
from node.devnet.founding import CHAIN
from node.feed.archive import Archive
from node.genesis_text import to_toml
from processors.hive.block import Header, block_id, show_header
from processors.hive.block import merkle_root as root_of
from hashlib import sha256
from processors.hive.transaction import pack_signatures, pack_transaction, show_transaction, transaction_id


class Kit(msgspec.Struct, frozen=True):
    """Transactions of one block as JSON, their ids, and the root of them."""

    text: msgspec.Raw
    ids: list[str]
    root: bytes


def kits(count: int, transactions: int) -> list[Kit]:
    """Transactions of so many blocks, none like another."""
    found = []
    for number in range(count):
        txs = [signed(number, index) for index in range(transactions)]
        packed = [pack_transaction(tx, CHAIN) for tx in txs]
        leaves = [sha256(p + pack_signatures(tx.signatures)).digest() for p, tx in zip(packed, txs, strict=True)]
        text = msgspec.json.encode([show_transaction(tx, CHAIN, typed=True) for tx in txs])
        found.append(Kit(msgspec.Raw(text), [transaction_id(p).hex() for p in packed], root_of(leaves)))
    return found


def foreign_archive(folder: Path, count: int, transactions: int, *, first: int = 100, different: int = 500) -> int:
    """An archive of ``count`` blocks that do not concern any group; the bytes of their JSON.

    The transactions repeat after ``different`` blocks: far enough apart that no compression sees it.
    """
    made = kits(different, transactions)
    previous, size = (first - 1).to_bytes(4, "big") + bytes(16), 0
    with Archive.open(folder, write=True) as archive:
        for number in range(first, first + count):
            kit = made[number % different]
            signature = SIGNATURE[:1] + sha256(number.to_bytes(8, "big")).digest() * 2
            header = Header(previous, 1_767_225_600 + 3 * number, "initminer", kit.root, (), signature)
            previous = block_id(header)
            raw = msgspec.json.encode(
                show_header(header, typed=True)
                | {"transactions": kit.text, "block_id": previous.hex(), "transaction_ids": kit.ids}
            )
            size += len(raw)
            archive.append(raw)
    return size
