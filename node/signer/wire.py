"""What a node and its remote signer say to each other: one request, one answer, each a frame.

A frame is its length (4 bytes, big endian, of what follows), one byte for its kind (0 = blocks, 1 = anything else), and
msgpack. Blocks may have 64 MiB, everything else 64 KiB; a frame that says more is not read.
"""

import msgspec

from node.errors import SignerError

VERSION = 1
BLOCKS, TALK = 0, 1
HEAD = 5  # bytes: length and kind
MAX_BYTES = {BLOCKS: 64 << 20, TALK: 64 << 10}
#: A batch of blocks is closed by its count or its bytes, whatever comes first; one block may have more.
MAX_BATCH, BATCH_BYTES = 64, 1 << 20
_MOST_PAYLOADS = 1000


class Hello(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """The first request. ``account``: whose node asks."""

    version: int
    genesis: bytes
    account: str


class Begin(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """The block start_block, as a server gave it."""

    text: bytes


class Apply(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """The next blocks, as servers gave them."""

    texts: list[bytes]


class Rewind(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Go back to what was after block ``height``."""

    height: int


class BlockId(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Which block was applied at ``height``?"""

    height: int


class Look(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """The node is live: bring the journal's age up to the chain."""


class SignedFor(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """What was signed for these payloads and is over at block time ``now``?"""

    payloads: list[int]
    now: int


class Report(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Sign a report; ``root`` is the node's own, and the signer refuses another one than its own."""

    account: str
    height: int
    root: bytes
    key: bytes


class Sign(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Judge the group transaction ``op`` and sign it. ``txid``: the node means this one."""

    op: str
    key: bytes
    txid: bytes


class Welcome(msgspec.Struct, frozen=True, tag=True):
    """Where the signer stands. ``born``: height at which its journal began here, -1 before."""

    public_keys: list[bytes]
    height: int
    head_id: bytes
    vouched: int
    born: int


class At(msgspec.Struct, frozen=True, tag=True):
    """The block applied last, or the one asked for; an empty id: not known."""

    height: int
    block_id: bytes


class Ids(msgspec.Struct, frozen=True, tag=True):
    """Ids of transactions."""

    txids: list[bytes]


class Ops(msgspec.Struct, frozen=True, tag=True):
    """Ids of group transactions. ``held_until``: as Signing.held_until; a signer of an older version does not say."""

    ops: list[str]
    held_until: int | None = None


class Signed(msgspec.Struct, frozen=True, tag=True):
    """A judgement, and the signature if it was good."""

    kind: str
    why: str
    detail: str
    sig: bytes


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The request was not carried out. ``why``: in words."""

    why: str


Request = Hello | Begin | Apply | Rewind | BlockId | Look | SignedFor | Report | Sign
Answer = Welcome | At | Ids | Ops | Signed | Refused

_encode = msgspec.msgpack.Encoder().encode
_decode_request = msgspec.msgpack.Decoder(Request).decode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode


def frame(message: Request | Answer) -> bytes:
    """A message as it is sent. Raises SignerError if it is too long."""
    kind = BLOCKS if isinstance(message, Begin | Apply) else TALK
    body = _encode(message)
    if len(body) >= MAX_BYTES[kind]:
        raise SignerError(f"a message of {len(body)} bytes: at most {MAX_BYTES[kind]} are sent")
    return (len(body) + 1).to_bytes(4, "big") + bytes([kind]) + body


def body_size(head: bytes) -> tuple[int, int]:
    """(kind, bytes of the body) of a frame whose first HEAD bytes are ``head``. Raises SignerError."""
    size, kind = int.from_bytes(head[:4], "big"), head[4]
    if kind not in MAX_BYTES or not 2 <= size <= MAX_BYTES[kind]:
        raise SignerError(f"a frame of kind {kind} with {size} bytes: there is none")
    return kind, size - 1


def read_request(kind: int, body: bytes) -> Request:
    """A request. Raises SignerError."""
    try:
        found: Request = _decode_request(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SignerError("that is no request of this version") from error
    if (kind == BLOCKS) != isinstance(found, Begin | Apply):
        raise SignerError("a request in a frame of another kind")
    if isinstance(found, Apply) and not 1 <= len(found.texts) <= MAX_BATCH:
        raise SignerError(f"{len(found.texts)} blocks at once: 1 to {MAX_BATCH} are taken")
    if isinstance(found, SignedFor) and len(found.payloads) > _MOST_PAYLOADS:
        raise SignerError(f"{len(found.payloads)} payloads: at most {_MOST_PAYLOADS} are looked up")
    return found


def read_answer(body: bytes) -> Answer:
    """An answer. Raises SignerError."""
    try:
        found: Answer = _decode_answer(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SignerError("the signer answered what this version does not know: install the same one") from error
    return found
