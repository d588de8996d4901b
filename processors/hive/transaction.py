"""Transactions: one value from both API forms, its bytes in both packs, digest and id."""

from hashlib import sha256
from typing import Any

import msgspec

from processors.hive.chain import TYPED_SYMBOLS, Chain
from processors.hive.compounds import FUTURE_EXTENSIONS, SIGNATURE
from processors.hive.errors import HiveDataError
from processors.hive.operations import Operation, pack_operation, parse_operation, show_operation, unpack_operation
from processors.hive.times import time_from_text, time_to_text
from processors.hive.types import Reader, varint

_MAX_OPERATIONS = 4096


class Transaction(msgspec.Struct, frozen=True):
    """A transaction as values; ``signatures`` of 65 bytes each, in their order."""

    ref_block_num: int
    ref_block_prefix: int
    expiration: int
    operations: tuple[Operation, ...]
    extensions: tuple[Any, ...] = ()
    signatures: tuple[bytes, ...] = ()


def parse_transaction(raw: Any, chain: Chain) -> Transaction:
    """The transaction of JSON in either form; ids and positions that servers add are not looked at.

    Raises HiveDataError, UnknownOperationError.
    """
    if type(raw) is not dict:
        raise HiveDataError(f"not a transaction: {str(raw)[:60]}")
    try:
        num, prefix, operations = raw["ref_block_num"], raw["ref_block_prefix"], raw["operations"]
        expiration = time_from_text(raw["expiration"])
        extensions = raw["extensions"]
        signatures = raw.get("signatures", [])
    except KeyError as error:
        raise HiveDataError(f"the transaction lacks {error}") from error
    if type(num) is not int or not 0 <= num < 1 << 16 or type(prefix) is not int or not 0 <= prefix < 1 << 32:
        raise HiveDataError(f"not a reference block: {num}, {prefix}")
    if type(operations) is not list or len(operations) > _MAX_OPERATIONS or type(signatures) is not list:
        raise HiveDataError("operations and signatures are lists")
    return Transaction(
        num,
        prefix,
        expiration,
        tuple([parse_operation(operation, chain) for operation in operations]),
        FUTURE_EXTENSIONS.parse(extensions, chain) if extensions else (),
        tuple([SIGNATURE.parse(signature, chain) for signature in signatures]),
    )


def pack_transaction(tx: Transaction, chain: Chain, *, typed: bool = False) -> bytes:
    """The bytes without signatures: what is hashed for the id and, after the chain id, signed."""
    symbols = TYPED_SYMBOLS if typed else chain.legacy_symbols
    out = bytearray(
        tx.ref_block_num.to_bytes(2, "little")
        + tx.ref_block_prefix.to_bytes(4, "little")
        + tx.expiration.to_bytes(4, "little")
    )
    out += varint(len(tx.operations))
    for operation in tx.operations:
        pack_operation(out, operation, symbols)
    FUTURE_EXTENSIONS.pack(out, tx.extensions, symbols)
    return bytes(out)


def unpack_transaction(packed: bytes, chain: Chain) -> Transaction:
    """The transaction, without signatures, of bytes in either pack. Raises HiveDataError."""
    reader = Reader(packed, chain)
    num, prefix, expiration = reader.number(2), reader.number(4), reader.number(4)
    count = reader.varint()
    if count > _MAX_OPERATIONS:
        raise HiveDataError(f"{count} operations are too many")
    operations = tuple([unpack_operation(reader) for _ in range(count)])
    tx = Transaction(num, prefix, expiration, operations, FUTURE_EXTENSIONS.unpack(reader))
    if not reader.at_end():
        raise HiveDataError("bytes follow the transaction")
    return tx


def pack_signatures(signatures: tuple[bytes, ...]) -> bytes:
    """What follows the bytes of a transaction in a block, and so in its Merkle leaf."""
    return varint(len(signatures)) + b"".join(signatures)


def transaction_id(packed: bytes) -> bytes:
    """20 bytes: the id of a transaction whose bytes without signatures are ``packed``."""
    return sha256(packed).digest()[:20]


def signing_digest(packed: bytes, chain: Chain) -> bytes:
    """32 bytes that a signature of the transaction signs."""
    return sha256(chain.chain_id + packed).digest()


def show_transaction(tx: Transaction, chain: Chain, *, typed: bool) -> dict[str, Any]:
    """The transaction as JSON of condenser_api or, ``typed``, of block_api."""
    return {
        "ref_block_num": tx.ref_block_num,
        "ref_block_prefix": tx.ref_block_prefix,
        "expiration": time_to_text(tx.expiration),
        "operations": [show_operation(operation, chain, typed=typed) for operation in tx.operations],
        "extensions": FUTURE_EXTENSIONS.show(tx.extensions, chain, typed),
        "signatures": [signature.hex() for signature in tx.signatures],
    }
