"""Blocks: id, link, Merkle root, witness signature and TaPoS triple (hived: block_header.hpp, full_block.cpp).

The envelope is read by a fast library; transactions are parsed only when somebody asks for them.
"""

from hashlib import new, sha224, sha256
from typing import Any

import msgspec

from processors.hive.body import Body, JsonBody, Names, Packed, decode_json
from processors.hive.chain import Chain
from processors.hive.compounds import StaticVariant, Struct, VariantSet
from processors.hive.crypto import recover_any
from processors.hive.errors import HiveDataError, UnprovenBlockError
from processors.hive.times import time_from_text, time_to_text
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
    """A block whose id was computed from its header; its transactions may still be packed."""

    __slots__ = ("_body", "chain", "header", "id", "number", "timestamp")

    def __init__(self, header: Header, chain: Chain, body: Body, identity: bytes = b"") -> None:
        """``identity``: its id, where it has been computed from the whole header already."""
        self.header = header
        self.chain = chain
        self.id = identity or block_id(header)
        self.number = header.number
        self.timestamp = header.timestamp
        self._body = body

    def may_mention(
        self, words: tuple[bytes, ...], operations: tuple[bytes, ...] = (), names: Names | None = None
    ) -> bool:
        """False only if no transaction contains any of ``words``, or an operation called one of ``operations``.

        With ``names`` only operations count in which one of these names stands; it is called only if that helps.
        """
        return self._body.may_mention(words, operations, names)

    @property
    def is_whole(self) -> bool:
        """Whether all its transactions are here, so that it can be proven."""
        return self._body.is_whole

    @property
    def transactions(self) -> list[Any]:
        """The transactions, each with its ``operations`` in an API's form. Raises HiveDataError."""
        return self._body.transactions()

    def transaction(self, index: int) -> Packed:
        """(values, bytes without signatures as in the block, id) of the transaction at ``index``."""
        return self._body.transaction(index)

    def leaf(self, index: int) -> bytes:
        """32 bytes: the Merkle leaf of the transaction at ``index``. Raises HiveDataError, UnknownOperationError."""
        return self._body.leaf(index)

    def merkle_root(self) -> bytes:
        """The Merkle root of the transactions. Raises HiveDataError, UnknownOperationError."""
        return merkle_root([self._body.leaf(index) for index in range(len(self.transactions))])

    def prove(self) -> None:
        """Check that the transactions are those of the header. Raises UnprovenBlockError, UnknownOperationError."""
        if not self._body.is_whole:
            raise UnprovenBlockError(f"block {self.number}: not all of its transactions are here")
        found = self.merkle_root()
        if found != self.header.merkle_root:
            raise UnprovenBlockError(
                f"block {self.number}: the transactions hash to {found.hex()}, "
                f"the header says {self.header.merkle_root.hex()}"
            )


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
            envelope = _envelope_of(decode_json(raw))
    header = _header_of(envelope, chain)
    block = Block(header, chain, JsonBody(envelope.transactions, envelope.transaction_ids, chain))
    if envelope.block_id and envelope.block_id != block.id.hex():
        raise UnprovenBlockError(
            f"block {block.number}: the header hashes to {block.id.hex()}, the server says {envelope.block_id[:40]}"
        )
    return block


def read_header(raw: dict[str, Any], chain: Chain) -> Header:
    """The header in the JSON of a server. Raises HiveDataError."""
    return _header_of(_envelope_of(raw), chain)


def _header_of(envelope: _Envelope, chain: Chain) -> Header:
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
    return Header(
        previous,
        time_from_text(envelope.timestamp),
        envelope.witness,
        root,
        _HEADER_EXTENSIONS.parse(envelope.extensions, chain),
        signature,
    )


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
