"""Blocks as hived packs them, in its block_log and between nodes: signed_block in the bytes of fc::raw.

Each transaction stands there in the pack in which it was signed, legacy or typed: its id and its Merkle leaf are
hashes of those very bytes (hived: full_block.cpp, decode_block), so that nothing is packed anew to prove a block.
"""

import json
from hashlib import sha256
from typing import Any

import msgspec

from processors.hive.block import _HEADER_EXTENSIONS, Block, Header, pack_header, show_header
from processors.hive.body import Names, Packed
from processors.hive.chain import Chain
from processors.hive.compounds import FUTURE_EXTENSIONS
from processors.hive.errors import HiveDataError
from processors.hive.operations import unpack_operation
from processors.hive.transaction import (
    Transaction,
    pack_transaction,
    parse_transaction,
    show_transaction,
    transaction_id,
)
from processors.hive.types import Reader

_MAX_OPERATIONS = 4096  # of one transaction, as in JSON


class _Reader(Reader):
    """A reader that begins somewhere and tells where it is."""

    __slots__ = ()

    def __init__(self, data: bytes, chain: Chain, begin: int = 0) -> None:
        super().__init__(data, chain)
        self._at = begin

    @property
    def at(self) -> int:
        """Where the next byte is read."""
        return self._at


class _Place(msgspec.Struct, frozen=True):
    """A transaction as its bytes have it, and where these are: signatures stand from ``signatures`` to ``end``."""

    tx: Transaction
    begin: int
    signatures: int
    end: int


class PackedBody:
    """Transactions as they stand packed in ``data`` from ``begin`` on; unpacked only when somebody asks."""

    __slots__ = ("_begin", "_chain", "_data", "_known", "_shown", "_unpacked")

    is_whole = True

    def __init__(self, data: bytes, begin: int, chain: Chain) -> None:
        self._data = data
        self._begin = begin
        self._chain = chain
        self._shown: list[Any] | None = None
        self._unpacked: list[_Place] | None = None
        self._known: dict[int, Packed] = {}

    def may_mention(self, words: tuple[bytes, ...], operations: tuple[bytes, ...], names: Names | None) -> bool:
        """Whether a word stands in the bytes; of an operation only its number does, so that a name in it decides."""
        data, begin = self._data, self._begin
        if len(data) <= begin + 1:  # no transaction
            return False
        if any(data.find(word, begin) >= 0 for word in words):
            return True
        if not operations or names is None:
            return bool(operations)
        return any(data.find(name.encode(), begin) >= 0 for name in names())

    def transactions(self) -> list[Any]:
        """The operations of each, with the values of their bytes. Raises HiveDataError, UnknownOperationError."""
        if self._shown is None:
            self._shown = [
                {"operations": [[op.name, op.value] for op in place.tx.operations]} for place in self._places()
            ]
        return self._shown

    def transaction(self, index: int) -> Packed:
        """Its values are those that an API would show: sets sorted and without doubles, however they were packed."""
        found = self._known.get(index)
        if found is None:
            place = self._places()[index]
            tx = parse_transaction(show_transaction(place.tx, self._chain, typed=True), self._chain)
            packed = self._data[place.begin : place.signatures]
            found = self._known[index] = (tx, packed, transaction_id(packed))
        return found

    def leaf(self, index: int) -> bytes:
        """The hash of the transaction's bytes, signatures included."""
        place = self._places()[index]
        return sha256(self._data[place.begin : place.end]).digest()

    def _places(self) -> list[_Place]:
        if self._unpacked is None:
            reader = _Reader(self._data, self._chain, self._begin)
            # each takes 13 bytes at least: a count that promises more ends with the bytes
            found = [_next_transaction(reader) for _ in range(reader.varint())]
            if not reader.at_end():
                raise HiveDataError("bytes follow the last transaction of the block")
            self._unpacked = found
        return self._unpacked


def _next_transaction(reader: _Reader) -> _Place:
    begin = reader.at
    num, prefix, expiration, count = reader.number(2), reader.number(4), reader.number(4), reader.varint()
    if count > _MAX_OPERATIONS:
        raise HiveDataError(f"{count} operations in one transaction are too many")
    operations = tuple([unpack_operation(reader) for _ in range(count)])
    extensions = FUTURE_EXTENSIONS.unpack(reader)
    middle = reader.at
    signatures = tuple([reader.take(65) for _ in range(reader.varint())])
    return _Place(Transaction(num, prefix, expiration, operations, extensions, signatures), begin, middle, reader.at)


def read_packed_block(data: bytes, chain: Chain) -> Block:
    """The block of the bytes that hived stores, uncompressed; its transactions are looked at when asked for.

    Raises HiveDataError, and UnknownOperationError for an extension of the header that this version does not know.
    """
    reader = _Reader(data, chain)
    previous, timestamp = reader.take(20), reader.number(4)
    size = reader.varint()
    witness = reader.take(size) if size <= 16 else b"\xff"
    if not witness.isascii():
        raise HiveDataError("the witness of a block is an account")
    if previous[:4] == b"\xff\xff\xff\xff":
        raise HiveDataError("a block's number has 32 bits, and none follows the last one")
    root, extensions = reader.take(20), _HEADER_EXTENSIONS.unpack(reader)
    end = reader.at
    header = Header(previous, timestamp, witness.decode(), root, extensions, reader.take(65))
    if pack_header(header) != data[:end]:  # the id is the hash of these bytes
        raise HiveDataError("the header of a block is not packed as hived packs it")
    return Block(header, chain, PackedBody(data, reader.at, chain))


def as_json(block: Block) -> bytes:
    """The block as block_api gives it (but for its signing_key), such that ``read_block`` reads and proves the same.

    Raises HiveDataError, UnknownOperationError, and HiveDataError too for a transaction whose bytes are neither the
    legacy nor the typed pack of its values: JSON cannot tell such bytes.
    """
    transactions, ids = [], []
    for index in range(len(block.transactions)):
        tx, packed, txid = block.transaction(index)
        if packed != pack_transaction(tx, block.chain) and packed != pack_transaction(tx, block.chain, typed=True):
            raise HiveDataError(f"block {block.number}: transaction {index} is in neither of the two packs")
        transactions.append(show_transaction(tx, block.chain, typed=True))
        ids.append(txid.hex())
    answer = {
        **show_header(block.header, typed=True),
        "transactions": transactions,
        "block_id": block.id.hex(),
        "transaction_ids": ids,
    }
    try:
        return msgspec.json.encode(answer)
    except UnicodeEncodeError:  # old blocks hold strings that are not UTF-8
        return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")
