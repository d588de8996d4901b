"""A block as the archive keeps it: what it takes to read and prove it, and nothing that follows from that.

The id and the signing key follow from the header, and the ids of transactions from their bytes. Only one thing does
not: in which of two packs a transaction with amounts was signed. Its id tells, so that the ids of these are kept.
"""

import re

import msgspec

from processors.hive.block import Block, read_block
from processors.hive.chain import Chain

_NO_CHAIN = Chain(b"")  # a header has the same bytes on every chain
#: Where an amount can be: a typed one, a legacy one, or anything hidden behind an escape.
_AMOUNT = re.compile(rb'nai|\\u|"-?[0-9]+\.[0-9]+ ')


class _Kept(msgspec.Struct, omit_defaults=True):
    previous: str
    timestamp: str
    witness: str
    transaction_merkle_root: str
    witness_signature: str
    extensions: msgspec.Raw = msgspec.Raw(b"[]")
    transactions: msgspec.Raw = msgspec.Raw(b"[]")
    transaction_ids: list[str | None] = []


_decode = msgspec.json.Decoder(_Kept).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def kept_text(raw: bytes) -> tuple[bytes, Block]:
    """(the text on one line that the archive keeps of a server's block, the block with its id).

    Raises HiveDataError for what is no block. Whether its transactions are those of its header was proven before.
    """
    block = read_block(raw, _NO_CHAIN)
    try:
        kept = _decode(raw)
        hints = _hints(kept)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # not UTF-8, or ids that are none: as it came
        return raw.replace(b"\n", b" ").replace(b"\r", b" "), block
    kept.transaction_ids = hints
    return _encode(kept).replace(b"\n", b" ").replace(b"\r", b" "), block


def _hints(kept: _Kept) -> list[str | None]:
    """The ids of the transactions that may hold an amount, null for the others; nothing if there are none."""
    if not any(kept.transaction_ids) or not _AMOUNT.search(kept.transactions):
        return []
    texts = _decode_list(kept.transactions)
    found = [
        identity if _AMOUNT.search(text) else None for identity, text in zip(kept.transaction_ids, texts, strict=False)
    ]
    return found if any(found) else []
