"""What is kept of the last blocks, outside the tables: traces, roots, and what each block changed (protocol section 9).

An undo record is the msgpack array [what the trace is the hash of, [old value or nil, ...]]: with the old values a
block is taken back, with the new ones two replicas compare what a block did and hold it against its trace.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import NamedTuple

import msgspec

from state.errors import StoreDamagedError
from state.layout import ROOTS, TRACES, UNDO, of_height
from state.merkle import ZERO
from state.schema import Head

_encode = msgspec.msgpack.Encoder().encode
_PAIR = b"\x92"  # msgpack: an array of two
#: Rounds begun at or before the oldest height that can be gone back to, whose roots stay: a tally speaks of the round
#: before its own.
_EARLIER_ROUNDS = 2
_REPLAY = "move the folder of the state away and let the node replay"

Values = dict[tuple[str, bytes], bytes | None]  # (table, canonical key) -> canonical value, None = absent


class Changed(NamedTuple):
    """An entry that a block changed: table name, canonical key, canonical value (None = deleted)."""

    table: str
    key: bytes
    value: bytes | None


class Undo(NamedTuple):
    """What block ``block_id`` changed. ``before`` is what its trace stands on; ``old`` are the values it replaced."""

    before: bytes  # 32
    block_id: bytes  # 20
    changed: list[Changed]  # in the order of the trace
    old: list[bytes | None]


class _Preimage(msgspec.Struct, frozen=True, array_like=True):
    kind: str
    before: bytes
    block_id: bytes
    changed: list[Changed]


_decode = msgspec.msgpack.Decoder(tuple[_Preimage, list[bytes | None]]).decode


def trace_of(before: bytes, block_id: bytes, changed: list[Changed]) -> bytes:
    """The trace (32 bytes) of a block that changed ``changed``: what somebody says it changed is held against it."""
    return sha256(_preimage(before, block_id, [list(one) for one in changed])).digest()


def _preimage(before: bytes, block_id: bytes, changed: list[list[str | bytes | None]]) -> bytes:
    """What H hashes; msgspec writes texts, bytes and None in the canonical form (tests hold it to state.codec)."""
    return _encode(["trace", before, block_id, changed])


class History:
    """Traces and undo records of the last ``keep`` blocks, and the roots of their rounds, in a store.

    ``read`` and ``write`` reach the store as it will be after the next flush; ``oldest_record`` is the first undo
    record in it, and ``height`` the block applied last (-1 = none).
    """

    def __init__(
        self,
        read: Callable[[bytes], bytes | None],
        write: Callable[[bytes, bytes | None], None],
        keep: int,
        round_length: int,
    ) -> None:
        self._read = read
        self._write = write
        self._keep = keep
        self._round_length = round_length
        #: the oldest height that can be gone back to
        self.oldest = -1

    def open(self, height: int, records: Iterator[tuple[bytes, bytes]]) -> None:
        """Find out how far back the records reach, which end at ``height`` (-1 = before the genesis state)."""
        self.oldest = height
        for key, _ in records:
            first = int.from_bytes(key[1:], "big")
            # nothing stands before the genesis state
            self.oldest = first if self.need(first).before == ZERO else first - 1
            return

    def root(self, height: int) -> bytes | None:
        """The root after block ``height``, if it is kept."""
        return self._read(of_height(ROOTS, height))

    def trace(self, height: int) -> bytes | None:
        """The trace of block ``height``, if it is kept."""
        return self._read(of_height(TRACES, height))

    def undo(self, height: int) -> Undo | None:
        """What block ``height`` changed, if it is kept."""
        raw = self._read(of_height(UNDO, height))
        if raw is None:
            return None
        head, old = _decode(raw)
        return Undo(head.before, head.block_id, head.changed, old)

    def need(self, height: int) -> Undo:
        """What block ``height`` changed, which must be kept. Raises StoreDamagedError."""
        found = self.undo(height)
        if found is None:
            raise StoreDamagedError(f"what block {height} changed is missing: {_REPLAY}")
        return found

    def append(self, head: Head, changed: list[list[str | bytes | None]], old: list[bytes | None]) -> None:
        """Note what the block ``head`` changed, and forget the block that is ``keep`` before it."""
        height, gone, write = head.height, head.height - self._keep, self._write
        at, gone_at = height.to_bytes(8, "big"), max(0, gone).to_bytes(8, "big")
        # the genesis state has no block before it: its trace begins the chain of traces
        before = self._last_before(height) or ZERO
        preimage = _preimage(before, head.block_id, changed)
        write(TRACES + at, sha256(preimage).digest())
        write(UNDO + at, _PAIR + preimage + _encode(old))
        write(TRACES + gone_at, None)
        write(UNDO + gone_at, None)
        if self.oldest < 0:
            self.oldest = height
        elif self.oldest < gone:
            self.oldest = gone

    def _last_before(self, height: int) -> bytes | None:
        """What the trace of a block stands on: the root or the trace of the block before it."""
        prefix = ROOTS if (height - 1) % self._round_length == 0 else TRACES
        return self._read(of_height(prefix, height - 1))

    def note_root(self, height: int, root: bytes) -> None:
        """Keep the root of a round, and forget one that nobody can go back to."""
        self._write(of_height(ROOTS, height), root)
        length = self._round_length
        gone = (height - self._keep) // length * length - _EARLIER_ROUNDS * length
        self._write(of_height(ROOTS, max(0, gone)), None)

    def before(self, height: int, head: int) -> Values:
        """The values after block ``height`` of all that the blocks after it, up to ``head``, changed."""
        values: Values = {}
        for number in range(head, height, -1):
            record = self.need(number)
            for one, old in zip(record.changed, record.old, strict=True):
                values[one.table, one.key] = old
        return values

    def after(self, height: int, upto: int) -> Values:
        """What the blocks after ``height`` changed, with the values after block ``upto``."""
        return {(one.table, one.key): one.value for n in range(height + 1, upto + 1) for one in self.need(n).changed}

    def cut(self, height: int, head: int) -> None:
        """Forget the blocks after ``height``, up to ``head``; what the next trace stands on is there again."""
        before = self.need(height + 1).before
        kept = self._last_before(height + 1)
        if kept is not None and kept != before:
            raise StoreDamagedError(f"what is kept of block {height + 1} does not follow block {height}: {_REPLAY}")
        self._write(of_height(ROOTS if height % self._round_length == 0 else TRACES, height), before)
        for number in range(height + 1, head + 1):
            for prefix in (TRACES, UNDO, *([ROOTS] if number % self._round_length == 0 else [])):
                self._write(of_height(prefix, number), None)
