"""The archive read by processes of their own, ahead of the state machine: unpacked, linked, proven, sifted there.

A worker holds no key and writes nothing. Frames go to the workers in turn and come back in order. Where nothing in a
frame can concern the group only ids and times come back: most of Hive is not about any one group.
"""

import contextlib
import fcntl
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from node.errors import FeedError
from node.feed.segment import SEGMENT_BLOCKS, Frame, frames_of, opened, segment_path, texts_of
from node.feed.witness import KEY_OPERATIONS
from node.history.sifted import Entry, Looked, SiftedBody, is_marked, proof_of, sift, signer_of, signers_of
from node.history.source import UNREADABLE
from processors.hive.block import Block, Header, block_id, read_block
from processors.hive.chain import Chain
from processors.hive.crypto import remember
from processors.hive.errors import HiveDataError
from processors.hive.times import time_from_text
from processors.hive.transaction import signing_digest

_SIZE = 4  # bytes before each message, big endian
_PIPE = 1 << 20  # bytes that may wait between a worker and us
_COMMAND = (sys.executable, "-P", "-c", "from node.history.reading import main; main()")
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of Linux
#: How the archive writes the header of a block whose header has no extensions (node/feed/blocktext.py).
_HEADER = re.compile(
    rb'\{"previous":"([0-9a-f]{40})","timestamp":"([0-9T:-]{19})","witness":"([a-z0-9.-]{1,16})",'
    rb'"transaction_merkle_root":"([0-9a-f]{40})","witness_signature":"([0-9a-f]{130})",'
    rb'(?:"extensions":\[\],)?"transactions":'
)


class Order(msgspec.Struct, frozen=True):
    """What a worker is to do: every ``workers``-th frame of the blocks ``first`` to ``last``, from number ``place``."""

    folder: str
    chain: Chain
    group: str
    prefix: str
    first: int
    last: int
    place: int
    workers: int
    prove: bool
    signatures: bool


class Message(msgspec.Struct, frozen=True):
    """One frame: number of its first block, id of the one before, ids, times; and what is more of some, by index.

    ``recovered``: (signature, digest, key) of those on the group's own transactions. The same signatures came one
    by one some blocks before, and the state machine, which has one processor, need not recover them.
    """

    first: int
    previous: bytes = b""
    ids: list[bytes] = []
    times: list[int] = []
    witnesses: list[str] = []
    keys: list[bytes | None] = []
    entries: dict[int, list[Entry]] = {}
    signers: dict[int, dict[int, list[bytes | None]]] = {}
    unproven: dict[int, str] = {}
    unknown: dict[int, str] = {}
    recovered: list[tuple[bytes, bytes, bytes]] = []
    failure: str = ""


def read_ahead(order: Order) -> Iterator[tuple[Block, Looked]]:
    """The blocks of an order, by ``order.workers`` processes. Raises FeedError."""
    with contextlib.ExitStack() as stack:
        pipes = [
            stack.enter_context(_worker(msgspec.structs.replace(order, place=place))) for place in range(order.workers)
        ]
        previous, number, turn = b"", order.first, 0
        while number <= order.last:
            message = _receive(pipes[turn], order)
            turn = (turn + 1) % len(pipes)
            if message.failure and not message.ids:
                raise FeedError(message.failure)
            if message.first != number or (previous and message.previous != previous):
                raise FeedError(f"the archive {order.folder}: block {message.first} does not follow block {number - 1}")
            for signature, digest, key in message.recovered:
                remember(signature, digest, key)
            yield from _blocks(message, order.chain)
            if message.failure:
                raise FeedError(message.failure)
            number, previous = number + len(message.ids), message.ids[-1]


def _blocks(message: Message, chain: Chain) -> Iterator[tuple[Block, Looked]]:
    previous = message.previous
    for index, (identity, timestamp) in enumerate(zip(message.ids, message.times, strict=True)):
        witness = message.witnesses[index] if message.witnesses else ""
        header = Header(previous, timestamp, witness, b"", (), b"")
        body = SiftedBody(message.entries.get(index, []))
        key = message.keys[index] if message.keys else None
        words = message.unproven.get(index, ""), message.unknown.get(index, "")
        looked = Looked(words[0], key, message.signers.get(index, {}), words[1])
        yield Block(header, chain, body, identity), looked
        previous = identity


@contextlib.contextmanager
def _worker(order: Order) -> Iterator[IO[bytes]]:
    """A process that reads; it ends with the pipe, however we end."""
    process = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    try:
        with contextlib.suppress(OSError):  # a smaller pipe is slower, and that is all
            fcntl.fcntl(process.stdout, _SET_PIPE_SIZE, _PIPE)
        with contextlib.suppress(BrokenPipeError):  # then nothing comes back, and that is said
            process.stdin.write(msgspec.msgpack.encode(order))
            process.stdin.close()
        yield process.stdout
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def _receive(pipe: IO[bytes], order: Order) -> Message:
    size = pipe.read(_SIZE)
    raw = pipe.read(int.from_bytes(size, "big")) if len(size) == _SIZE else b""
    if len(size) != _SIZE or len(raw) != int.from_bytes(size, "big"):
        raise FeedError(f"the archive {order.folder}: the process that reads it has ended; see whether memory is short")
    found: Message = pickle.loads(raw)  # our own process wrote it
    return found


# -- the worker


def main() -> None:
    """The process: an order on standard input, messages on standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for who asked: it ends this process itself
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Order)
    out = sys.stdout.buffer
    try:
        for message in _messages(order):
            raw = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
            out.write(len(raw).to_bytes(_SIZE, "big") + raw)
            out.flush()
    except BrokenPipeError:
        sys.exit(0)


def _messages(order: Order) -> Iterator[Message]:
    """A message for each frame of ours; the last one says what went wrong, if anything did."""
    work = _Work(order)
    turn = 0
    try:
        for handle, frame, name in _frames(order):
            if turn % order.workers == order.place:
                yield work.frame(handle, frame, name)
            turn += 1
    except (FeedError, HiveDataError) as error:
        yield Message(0, failure=str(error))


def _frames(order: Order) -> Iterator[tuple[int, Frame, str]]:
    """Every frame with a block that is wanted, in order."""
    number = order.first
    while number <= order.last:
        path = segment_path(Path(order.folder), number)
        with opened(path) as handle:
            for frame in frames_of(handle):
                if frame.last >= number and frame.first <= order.last:
                    if frame.first > number:
                        break
                    yield handle, frame, str(path)
                    number = frame.last + 1
        if number <= order.last and (number % SEGMENT_BLOCKS or not segment_path(Path(order.folder), number).exists()):
            raise FeedError(f"{path}: block {number} is missing in it, or does not follow")


class _Work:
    """What one worker knows while it reads."""

    def __init__(self, order: Order) -> None:
        self._order = order
        keys = KEY_OPERATIONS if order.signatures else ()
        self._words: tuple[bytes, ...] = (order.group.encode(), order.prefix.encode(), b"account_update", *keys)

    def frame(self, handle: int, frame: Frame, name: str) -> Message:
        """Read one frame; a block that does not follow the one before ends all."""
        order = self._order
        skipped, beyond = max(0, order.first - frame.first), max(0, frame.last - order.last)
        texts = texts_of(handle, frame, name)
        texts = texts[skipped : len(texts) - beyond]
        before = b""
        message = Message(frame.first + skipped)
        previous = b""
        for index, text in enumerate(texts):
            number = message.first + index
            try:
                header, identity = self._look(message, index, text)
            except (HiveDataError, *UNREADABLE) as error:
                words = f"{name}: block {number} cannot be read ({type(error).__name__} {error})"
                return msgspec.structs.replace(message, previous=before, failure=words)
            if (header.number, header.previous) != (number, previous or header.previous):
                words = f"{name}: block {header.number} stands where block {number} must follow"
                return msgspec.structs.replace(message, previous=before, failure=words)
            before = before or header.previous
            message.ids.append(identity)
            message.times.append(header.timestamp)
            if order.signatures:
                message.witnesses.append(header.witness)
                message.keys.append(signer_of(header))
            previous = identity
        return msgspec.structs.replace(message, previous=before)

    def _look(self, message: Message, index: int, text: bytes) -> tuple[Header, bytes]:
        order = self._order
        is_escaped = b"\\" in text and b"\\u" in text  # one byte is found much faster than two
        may_concern = is_escaped or any(word in text for word in self._words)
        if not order.prove and not may_concern:
            header = _header(text, order.chain)
            return header, block_id(header)
        block = read_block(text, order.chain)
        if order.prove:
            unproven, unknown = proof_of(block)
            if unproven:
                message.unproven[index] = unproven
            if unknown:
                message.unknown[index] = unknown
        if may_concern:
            found = sift(block, order.group, order.prefix)
            if found:
                message.entries[index] = found
                self._recover(message, index, found)
        return block.header, block.id

    def _recover(self, message: Message, index: int, entries: list[Entry]) -> None:
        """The keys of the transactions of a block: of all that are handed on if that is asked for, else the group's."""
        order = self._order
        signers: dict[int, list[bytes | None]] = {}
        for position, entry in enumerate(entries):
            if isinstance(entry, int):
                continue
            tx, packed, _ = entry
            is_ours = is_marked(order.group, tx)
            if not order.signatures and not is_ours:
                continue
            digest = signing_digest(packed, order.chain)
            signers[position] = keys = signers_of(tx, digest)
            if is_ours:
                message.recovered.extend(
                    (signature, digest, key)
                    for signature, key in zip(tx.signatures, keys, strict=True)
                    if key is not None
                )
        if order.signatures:
            message.signers[index] = signers


def _header(text: bytes, chain: Chain) -> Header:
    """The header of a block's text; quickly where it stands there as the archive writes it."""
    found = _HEADER.match(text)
    if found is None:
        return read_block(text, chain).header
    previous, timestamp, witness, root, signature = found.groups()
    return Header(
        bytes.fromhex(previous.decode()),
        time_from_text(timestamp.decode()),
        witness.decode(),
        bytes.fromhex(root.decode()),
        (),
        bytes.fromhex(signature.decode()),
    )
