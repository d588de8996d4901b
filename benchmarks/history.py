"""Histories for the benchmarks of replay: archives of made blocks, and the genesis that goes with them."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from benchmarks.archive import signed
from node.devnet.founding import CHAIN, WITNESS, found, genesis_document, member_keys
from node.feed.archive import Archive
from processors.genesis import Genesis
from processors.hive.block import Header, block_id, show_header, witness_digest
from processors.hive.block import merkle_root as root_of
from processors.hive.crypto import sign
from processors.hive.transaction import pack_signatures, pack_transaction, show_transaction, transaction_id
from processors.hive.types import Authority


def quiet_group() -> tuple[Genesis, dict[str, Any]]:
    """25 nodes that hold the account, and nothing that falls due; the genesis and its document."""
    people = [member_keys(number) for number in range(1, 26)]
    keys = sorted(one.signing_key.public for one in people)
    authority = Authority(len(keys) // 2 + 1, (), tuple((key, 1) for key in keys))
    document = genesis_document(people, start_block=100, parameters={}, authority=authority)
    return found(document), document


class Kit(msgspec.Struct, frozen=True):
    """Transactions of one block as JSON, their ids, and the root of them."""

    text: msgspec.Raw
    ids: list[str]
    root: bytes


def kits(count: int, transactions: int) -> list[Kit]:
    """Transactions of so many blocks, none like another."""
    made = []
    for number in range(count):
        txs = [signed(number, index) for index in range(transactions)]
        packed = [pack_transaction(tx, CHAIN) for tx in txs]
        leaves = [sha256(p + pack_signatures(tx.signatures)).digest() for p, tx in zip(packed, txs, strict=True)]
        text = msgspec.json.encode([show_transaction(tx, CHAIN, typed=True) for tx in txs])
        made.append(Kit(msgspec.Raw(text), [transaction_id(p).hex() for p in packed], root_of(leaves)))
    return made


def foreign_archive(folder: Path, count: int, transactions: int, *, first: int = 100, different: int = 500) -> int:
    """An archive of ``count`` blocks that do not concern any group; the bytes of their JSON.

    The transactions repeat after ``different`` blocks: far enough apart that no compression sees it.
    """
    made = kits(different, transactions)
    previous, size = (first - 1).to_bytes(4, "big") + bytes(16), 0
    with Archive.open(folder, write=True) as archive:
        for number in range(first, first + count):
            kit = made[number % different]
            header = Header(previous, 1_767_225_600 + 3 * number, "initminer", kit.root, (), b"")
            header = replace(header, signature=sign(WITNESS, witness_digest(header)))
            previous = block_id(header)
            raw = msgspec.json.encode(
                show_header(header, typed=True)
                | {"transactions": kit.text, "block_id": previous.hex(), "transaction_ids": kit.ids}
            )
            size += len(raw)
            archive.append(raw)
    return size
