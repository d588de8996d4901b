"""A block's transactions as HAF keeps them: those that were asked for whole, of the others the number of operations."""

from typing import Any

import msgspec

from node.history.haf_sql import TransactionRow
from node.history.sifted import NOT_FETCHED
from processors.hive.body import Names, Packed
from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError, UnknownOperationError
from processors.hive.operations import Operation, show_operation, unpack_operation
from processors.hive.transaction import Transaction, pack_transaction, transaction_id
from processors.hive.types import Reader, varint

_SHOWN_NOT_FETCHED: dict[str, Any] = {"type": NOT_FETCHED, "value": {}}
_SIGNATURE_BYTES = 65


class Kept(msgspec.Struct, frozen=True):
    """A transaction that was fetched, its id checked. An operation that this version does not know is None."""

    names: tuple[str, ...]
    raw: tuple[bytes, ...]  # each operation as HAF has it
    operations: tuple[Operation | None, ...]
    values: Transaction  # with the operations that are known
    packed: bytes
    txid: bytes


def keep(row: TransactionRow, names: dict[int, str], chain: Chain) -> Kept:
    """A transaction of the database. Raises HiveDataError if it is not the one that its trx_hash names.

    HAF has the values of its operations, not the bytes that were signed: amounts can stand there in two packs.
    """
    if not row.operations or any(body is None or body[:1] != varint(kind)[:1] for kind, body in row.operations):
        raise HiveDataError("an operation lacks its bytes, or they are of another type")
    if any(len(signature) != _SIGNATURE_BYTES for signature in row.signatures):
        raise HiveDataError("a signature has 65 bytes")
    raw = tuple(body for _, body in row.operations if body is not None)
    operations = tuple(_unpack(body, chain) for body in raw)
    known = tuple(operation for operation in operations if operation is not None)
    try:
        values = Transaction(row.ref_block_num, row.ref_block_prefix, row.expiration, known, signatures=row.signatures)
        packs = [_joined(values, raw, chain)]
        if len(known) == len(raw):
            packs += [pack_transaction(values, chain, typed=typed) for typed in (False, True)]
    except OverflowError as error:
        raise HiveDataError("its reference block or expiration does not fit its field") from error
    packed = next((packed for packed in packs if transaction_id(packed) == row.hash), None)
    if packed is None:
        raise HiveDataError(
            f"its operations hash to {transaction_id(packs[0]).hex()}, its trx_hash is {row.hash.hex()}"
        )
    kinds = tuple(names[kind] for kind, _ in row.operations)
    return Kept(kinds, raw, operations, values, packed, row.hash)


def _unpack(body: bytes, chain: Chain) -> Operation | None:
    reader = Reader(body, chain)
    try:
        operation = unpack_operation(reader)
    except UnknownOperationError:
        return None
    if not reader.at_end():
        raise HiveDataError(f"bytes follow the operation {operation.name}")
    return operation


def _joined(values: Transaction, raw: tuple[bytes, ...], chain: Chain) -> bytes:
    """The transaction with its operations as HAF has them, also those that this version cannot read."""
    empty = pack_transaction(msgspec.structs.replace(values, operations=()), chain)
    return empty[:10] + varint(len(raw)) + b"".join(raw) + empty[11:]


class HafBody:
    """See processors/hive/body.py. ``counts`` are the operations of each transaction, ``kept`` those fetched.

    Whoever asks for words that the database was not asked for, asks in vain: it says no though they may stand there.
    """

    __slots__ = ("_chain", "_counts", "_kept", "_shown")

    is_whole = False

    def __init__(self, counts: list[int], kept: dict[int, Kept], chain: Chain) -> None:
        self._counts = counts
        self._kept = kept
        self._chain = chain
        self._shown: list[Any] | None = None

    def may_mention(self, words: tuple[bytes, ...], operations: tuple[bytes, ...], names: Names | None) -> bool:
        """As JsonBody answers, but of what was fetched alone."""
        for kept in self._kept.values():
            if any(word in raw for raw in kept.raw for word in words):
                return True
            for name, raw in zip(kept.names, kept.raw, strict=True):
                if not any(operation in name.encode() for operation in operations):
                    continue
                if names is None or any(_packed_name(account) in raw for account in names()):
                    return True
        return False

    def transactions(self) -> list[Any]:
        """A value for each; one that was not fetched holds as many operations that are none of Hive's."""
        if self._shown is None:
            self._shown = [
                {"operations": [_SHOWN_NOT_FETCHED] * count}
                if (kept := self._kept.get(position)) is None
                else self._show(kept)
                for position, count in enumerate(self._counts)
            ]
        return self._shown

    def transaction(self, index: int) -> Packed:
        """The one at ``index``; of one that was not fetched only the number of its operations is true."""
        kept = self._kept.get(index)
        if kept is None:
            return Transaction(0, 0, 0, (Operation(NOT_FETCHED, {}),) * self._counts[index]), b"", b""
        for name, operation in zip(kept.names, kept.operations, strict=True):
            if operation is None:
                raise UnknownOperationError(f"the operation {name!r} is not known to this version")
        return kept.values, kept.packed, kept.txid

    def leaf(self, index: int) -> bytes:
        """There is none: HAF keeps no order of a transaction's signatures. Raises HiveDataError."""
        raise HiveDataError(f"transaction {index}: HAF does not keep the bytes that stand in the block")

    def _show(self, kept: Kept) -> dict[str, Any]:
        pairs = zip(kept.names, kept.operations, strict=True)
        return {
            "operations": [
                {"type": name + "_operation", "value": {}}
                if operation is None
                else show_operation(operation, self._chain, typed=True)
                for name, operation in pairs
            ]
        }


def _packed_name(name: str) -> bytes:
    return varint(len(name.encode())) + name.encode()
