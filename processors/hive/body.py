"""What a block carries: its transactions, as JSON of either API form. processors/hive/packed.py has the other body.

They are parsed only when somebody asks for them: most blocks hold nothing that concerns a group.
"""

import json
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, Protocol

import msgspec

from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError
from processors.hive.transaction import (
    Transaction,
    pack_signatures,
    pack_transaction,
    parse_transaction,
    transaction_id,
)

#: (values, bytes without signatures as they stand in the block, id)
Packed = tuple[Transaction, bytes, bytes]
Names = Callable[[], Iterable[str]]


class Body(Protocol):
    """The transactions of one block."""

    #: Whether it holds all of them, so that they can be held against the header's Merkle root.
    is_whole: bool

    def may_mention(self, words: tuple[bytes, ...], operations: tuple[bytes, ...], names: Names | None) -> bool:
        """See :meth:`processors.hive.block.Block.may_mention`."""

    def transactions(self) -> list[Any]:
        """A value for each, with its ``operations`` in an API's form. Raises HiveDataError."""

    def transaction(self, index: int) -> Packed:
        """The one at ``index``. Raises HiveDataError, UnknownOperationError."""

    def leaf(self, index: int) -> bytes:
        """32 bytes: the Merkle leaf of the one at ``index``. Raises HiveDataError, UnknownOperationError."""


class JsonBody:
    """Transactions as a server gives them; ``hints`` are the ids that it names beside them."""

    __slots__ = ("_chain", "_hints", "_packed", "_raw", "_text")

    is_whole = True

    def __init__(self, transactions: Any, hints: Any, chain: Chain) -> None:
        self._chain = chain
        self._text: bytes | None = bytes(transactions) if isinstance(transactions, msgspec.Raw) else None
        self._raw: list[Any] | None = None if self._text is not None else transactions
        self._hints = hints
        self._packed: dict[int, Packed] = {}

    def may_mention(self, words: tuple[bytes, ...], operations: tuple[bytes, ...], names: Names | None) -> bool:
        """Whether the text contains any of the words, or the name of an operation; an escape may be any of them."""
        text = self._text
        if text is None or (b"\\" in text and b"\\u" in text):  # one byte is found much faster than two
            return True
        return any(word in text for word in words + operations)

    def transactions(self) -> list[Any]:
        """As the server gave them. Raises HiveDataError."""
        if self._raw is None:
            self._raw = decode_json(self._text or b"[]")
        if type(self._raw) is not list:
            raise HiveDataError("the transactions of a block are a list")
        return self._raw

    def transaction(self, index: int) -> Packed:
        """A transaction with amounts stands in the block in the pack its sender signed; the server's id is a hint which
        one that was, and the Merkle root then proves it.
        """
        found = self._packed.get(index)
        if found is None:
            tx = parse_transaction(self.transactions()[index], self._chain)
            packed = pack_transaction(tx, self._chain)
            txid = transaction_id(packed)
            if self._hint(index) not in (None, txid.hex()):
                typed = pack_transaction(tx, self._chain, typed=True)
                if transaction_id(typed).hex() == self._hint(index):
                    packed, txid = typed, transaction_id(typed)
            found = self._packed[index] = (tx, packed, txid)
        return found

    def leaf(self, index: int) -> bytes:
        """The hash of what the transaction's bytes in the block must be."""
        tx, packed, _ = self.transaction(index)
        return sha256(packed + pack_signatures(tx.signatures)).digest()

    def _hint(self, index: int) -> Any:
        if isinstance(self._hints, msgspec.Raw):
            self._hints = decode_json(bytes(self._hints))
        hints = self._hints
        return hints[index] if type(hints) is list and index < len(hints) else None


def decode_json(text: bytes) -> Any:
    """JSON of a server; strings that are not UTF-8 keep their bytes. Raises HiveDataError."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:  # old blocks hold such strings
        return json.loads(text.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise HiveDataError("a block is JSON") from error
