"""Blocks from nowhere: what no pool of Hive would let through, but what a block may hold all the same.

``BlockMaker`` signs headers one after the other; every block goes through ``read_block`` as a server's answer would
and is proven. Who signed a transaction is Hive's affair, so nobody signs these.
"""

import json
from hashlib import sha256

import msgspec

from node.devnet.founding import CHAIN, START_TIME, WITNESS
from processors.hive.block import (
    Block,
    Header,
    block_id,
    merkle_root,
    read_block,
    reference_prefix,
    show_header,
    witness_digest,
)
from processors.hive.chain import Chain
from processors.hive.crypto import sign
from processors.hive.operations import Operation
from processors.hive.transaction import (
    Transaction,
    pack_signatures,
    pack_transaction,
    show_transaction,
    transaction_id,
)

INTERVAL = 3  # seconds between two blocks


def custom_json(account: str, name: str, text: str, *, active: tuple[str, ...] | None = None) -> Operation:
    """A custom_json with the id ``waggle_`` + ``name`` and ``text`` verbatim, acted by ``account``.

    ``active`` names other required_auths than the one account.
    """
    return custom_json_with_id("waggle_" + name, text, active=(account,) if active is None else active)


def custom_json_with_id(
    kind: str, text: str, *, active: tuple[str, ...] = (), posting: tuple[str, ...] = ()
) -> Operation:
    """A custom_json with any id and authorities."""
    return Operation(
        "custom_json", {"required_auths": active, "required_posting_auths": posting, "id": kind, "json": text}
    )


class BlockMaker:
    """Makes consecutive blocks: ``next_block(operations...)``.

    The first one has ``number`` and ``timestamp``; ``previous`` is the id of the block before it (made up if left
    out). ``number``, ``id`` and ``timestamp`` are those of the newest block. ``fork()`` goes on separately from here.
    """

    def __init__(
        self, number: int = 100, timestamp: int = START_TIME, *, previous: bytes = b"", chain: Chain = CHAIN
    ) -> None:
        self.chain = chain
        self.number = number - 1
        self.id = previous or (number - 1).to_bytes(4, "big") + bytes(16)
        self.timestamp = timestamp - INTERVAL
        self._serial = 0

    def fork(self) -> "BlockMaker":
        """A second maker that stands at the same block: for twins that differ by an operation."""
        twin = BlockMaker(self.number + 1, self.timestamp + INTERVAL, previous=self.id, chain=self.chain)
        twin._serial = self._serial
        return twin

    def transaction(self, *operations: Operation) -> Transaction:
        """The operations in one transaction, on the newest block; no two of a maker have the same id."""
        self._serial += 1
        expiration = self.timestamp + 60 + self._serial % 3_000
        return Transaction(self._serial & 0xFFFF, reference_prefix(self.id), expiration, operations)

    def next_block(
        self, *operations: Operation | Transaction, seconds: int = INTERVAL, typed: bool = True, hints: bool = True
    ) -> Block:
        """The next block, proven: each Operation in a transaction of its own, a Transaction as it is.

        ``seconds`` after the block before; in block_api's form or (``typed`` False) condenser_api's; with the
        transactions' ids as the server's hints or without.
        """
        txs = [op if isinstance(op, Transaction) else self.transaction(op) for op in operations]
        packed = [pack_transaction(tx, self.chain) for tx in txs]
        pairs = zip(txs, packed, strict=True)
        leaves = [sha256(raw + pack_signatures(tx.signatures)).digest() for tx, raw in pairs]
        header = Header(self.id, self.timestamp + seconds, "initminer", merkle_root(leaves), (), b"")
        header = msgspec.structs.replace(header, signature=sign(WITNESS, witness_digest(header)))
        answer = {
            **show_header(header, typed=typed),
            "transactions": [show_transaction(tx, self.chain, typed=typed) for tx in txs],
            "transaction_ids": [transaction_id(raw).hex() for raw in packed] if hints else [],
            "block_id": block_id(header).hex(),
        }
        text = json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogateescape")
        block = read_block(text, self.chain)
        block.prove()
        self.number, self.id, self.timestamp = block.number, block.id, block.timestamp
        return block

    def empty_blocks(self, count: int) -> list[Block]:
        """``count`` blocks without transactions."""
        return [self.next_block() for _ in range(count)]
