"""Blocks: id, link, Merkle root, witness signature and TaPoS triple (hived: block_header.hpp, full_block.cpp).

The envelope is read by a fast library; transactions are parsed only when somebody asks for them.
"""

import json
from hashlib import new, sha224, sha256
from typing import Any

import msgspec

from processors.hive.chain import Chain
from processors.hive.compounds import StaticVariant, Struct, VariantSet
from processors.hive.crypto import recover_any
from processors.hive.errors import HiveDataError, UnprovenBlockError
from processors.hive.times import time_from_text, time_to_text
from processors.hive.transaction import (
    Transaction,
    pack_signatures,
    pack_transaction,
    parse_transaction,
    transaction_id,
)
from processors.hive.types import Time, Version, varint

_HEADER_EXTENSIONS = VariantSet(
    StaticVariant(
        ("void_t", None),
        ("version", Version()),
        ("hardfork_version_vote", Struct(hf_version=Version(), hf_time=Time())),
    )
)
ZERO_ROOT = bytes(20)


class Header(msgspec.Struct, frozen=True):
    """A signed block header; ids and roots of 20 bytes, signature of 65."""

    previous: bytes
    timestamp: int
    witness: str
    merkle_root: bytes
    extensions: tuple[Any, ...]
    signature: bytes

    @property
    def number(self) -> int:
        """The number of the block: one more than its predecessor's."""
        return int.from_bytes(self.previous[:4], "big") + 1


def pack_header(header: Header) -> bytes:
    """The bytes that the witness signs (after hashing, no chain id)."""
    out = bytearray(header.previous + header.timestamp.to_bytes(4, "little"))
    witness = header.witness.encode()
    out += varint(len(witness)) + witness + header.merkle_root
    _HEADER_EXTENSIONS.pack(out, header.extensions, ())
    return bytes(out)


def witness_digest(header: Header) -> bytes:
    """32 bytes that the witness's signature signs."""
    return sha256(pack_header(header)).digest()


def witness_key(header: Header) -> bytes:
    """33 bytes of the key that signed the header. Raises SignatureError."""
    return recover_any(header.signature, witness_digest(header))


def block_id(header: Header) -> bytes:
    """20 bytes: sha224 of the signed header, its first 4 replaced by the number."""
    return header.number.to_bytes(4, "big") + sha224(pack_header(header) + header.signature).digest()[4:20]


def reference_prefix(identity: bytes) -> int:
    """ref_block_prefix of a block id: bytes 4..8 as a little-endian integer."""
    return int.from_bytes(identity[4:8], "little")


def merkle_root(leaves: list[bytes]) -> bytes:
    """20 bytes: the Merkle root of transaction leaves; an odd one is promoted unchanged."""
    if not leaves:
        return ZERO_ROOT
    while len(leaves) > 1:
        pairs = [sha256(leaves[i] + leaves[i + 1]).digest() for i in range(0, len(leaves) - 1, 2)]
        leaves = pairs + leaves[len(leaves) & ~1 :]
    return new("ripemd160", leaves[0]).digest()


class _Envelope(msgspec.Struct):
    previous: str
    timestamp: str
    witness: str
    transaction_merkle_root: str
    witness_signature: str
    extensions: list[Any] = []
    transactions: msgspec.Raw = msgspec.Raw(b"[]")
    transaction_ids: msgspec.Raw = msgspec.Raw(b"[]")
    block_id: str = ""


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class Block:
    """A block whose id was computed from its header; its transactions may still be raw."""

    __slots__ = ("_hints", "_packed", "_raw", "_text", "chain", "header", "id", "number", "timestamp")

    def __init__(self, header: Header, chain: Chain, transactions: Any, hints: Any) -> None:
        self.header = header
        self.chain = chain
        self.id = block_id(header)
        self.number = header.number
        self.timestamp = header.timestamp
        self._text: bytes | None = bytes(transactions) if isinstance(transactions, msgspec.Raw) else None
        self._raw: list[Any] | None = None if self._text is not None else transactions
        self._hints = hints
        self._packed: dict[int, tuple[Transaction, bytes, bytes]] = {}

    def may_mention(self, words: tuple[bytes, ...]) -> bool:
        """False only if no transaction's text contains any of ``words``; escapes count as a mention."""
        text = self._text
        if text is None or (b"\\" in text and b"\\u" in text):  # one byte is found much faster than two
            return True
        return any(word in text for word in words)

    @property
    def transactions(self) -> list[Any]:
        """The transactions as JSON of either form. Raises HiveDataError."""
        if self._raw is None:
            self._raw = _decode_json(self._text or b"[]")
        if type(self._raw) is not list:
            raise HiveDataError("the transactions of a block are a list")
        return self._raw

    def transaction(self, index: int) -> tuple[Transaction, bytes, bytes]:
        """(values, bytes without signatures as in the block, id) of the transaction at ``index``.

        A transaction with amounts stands in the block in the pack its sender signed; the server's id is a hint
        which one that was, and the Merkle root then proves it.
        """
        found = self._packed.get(index)
        if found is None:
            tx = parse_transaction(self.transactions[index], self.chain)
            packed = pack_transaction(tx, self.chain)
            txid = transaction_id(packed)
            if self._hint(index) not in (None, txid.hex()):
                typed = pack_transaction(tx, self.chain, typed=True)
                if transaction_id(typed).hex() == self._hint(index):
                    packed, txid = typed, transaction_id(typed)
            found = self._packed[index] = (tx, packed, txid)
        return found

    def _hint(self, index: int) -> Any:
        if isinstance(self._hints, msgspec.Raw):
            self._hints = _decode_json(bytes(self._hints))
        hints = self._hints
        return hints[index] if type(hints) is list and index < len(hints) else None

    def merkle_root(self) -> bytes:
        """The Merkle root of the transactions. Raises HiveDataError, UnknownOperationError."""
        leaves = []
        for index in range(len(self.transactions)):
            tx, packed, _ = self.transaction(index)
            leaves.append(sha256(packed + pack_signatures(tx.signatures)).digest())
        return merkle_root(leaves)

    def prove(self) -> None:
        """Check that the transactions are those of the header. Raises UnprovenBlockError, UnknownOperationError."""
        found = self.merkle_root()
        if found != self.header.merkle_root:
            raise UnprovenBlockError(
                f"block {self.number}: the transactions hash to {found.hex()}, "
                f"the header says {self.header.merkle_root.hex()}"
            )


def _decode_json(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:  # old blocks hold strings that are not UTF-8: keep their bytes
        return json.loads(text.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise HiveDataError("a block is JSON") from error


def read_block(raw: bytes | dict[str, Any], chain: Chain) -> Block:
    """The block of a server's answer in either form, as bytes or decoded.

    Raises HiveDataError, and UnprovenBlockError if the server's own block_id is not the hash of the header.
    """
    if not isinstance(raw, bytes):
        envelope = _envelope_of(raw)
    else:
        try:
            envelope = _decode_envelope(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            envelope = _envelope_of(_decode_json(raw))
    try:
        previous = bytes.fromhex(envelope.previous)
        root = bytes.fromhex(envelope.transaction_merkle_root)
        signature = bytes.fromhex(envelope.witness_signature)
    except ValueError as error:
        raise HiveDataError("ids, roots and signatures of a block are hex") from error
    if len(previous) != 20 or len(root) != 20 or len(signature) != 65 or not _is_witness(envelope.witness):
        raise HiveDataError("a block's id and root have 20 bytes, its signature 65, its witness is an account")
    if previous[:4] == b"\xff\xff\xff\xff":
        raise HiveDataError("a block's number has 32 bits, and none follows the last one")
    header = Header(
        previous,
        time_from_text(envelope.timestamp),
        envelope.witness,
        root,
        _HEADER_EXTENSIONS.parse(envelope.extensions, chain),
        signature,
    )
    block = Block(header, chain, envelope.transactions, envelope.transaction_ids)
    if envelope.block_id and envelope.block_id != block.id.hex():
        raise UnprovenBlockError(
            f"block {block.number}: the header hashes to {block.id.hex()}, the server says {envelope.block_id[:40]}"
        )
    return block


def _is_witness(name: str) -> bool:
    return name.isascii() and len(name) <= 16


def _envelope_of(raw: Any) -> _Envelope:
    if type(raw) is not dict:
        raise HiveDataError(f"not a block: {str(raw)[:60]}")
    try:
        envelope = _Envelope(
            previous=raw["previous"],
            timestamp=raw["timestamp"],
            witness=raw["witness"],
            transaction_merkle_root=raw["transaction_merkle_root"],
            witness_signature=raw["witness_signature"],
            extensions=raw.get("extensions", []),
            transactions=raw.get("transactions", []),
            transaction_ids=raw.get("transaction_ids", []),
            block_id=raw.get("block_id") or "",
        )
    except KeyError as error:
        raise HiveDataError(f"the block lacks {error}") from error
    texts = (envelope.previous, envelope.timestamp, envelope.witness, envelope.transaction_merkle_root)
    if not all(type(text) is str for text in (*texts, envelope.witness_signature, envelope.block_id)):
        raise HiveDataError("the header of a block consists of texts")
    return envelope


def show_header(header: Header, *, typed: bool) -> dict[str, Any]:
    """The header as JSON of an API."""
    return {
        "previous": header.previous.hex(),
        "timestamp": time_to_text(header.timestamp),
        "witness": header.witness,
        "transaction_merkle_root": header.merkle_root.hex(),
        "extensions": _HEADER_EXTENSIONS.show(header.extensions, Chain(b""), typed),
        "witness_signature": header.signature.hex(),
    }
