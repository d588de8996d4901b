"""A whole archive verified, by whoever believes nobody: every byte, id, link, Merkle root and witness's signature.

A witness's key is taken from its first block here, and changes by nothing but the witness's own operations. So nobody
can put a block of his own into the middle of a chain: he would have to sign all that follow, as 21 witnesses.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from node.errors import NodeError
from node.feed.segment import SEGMENT_BLOCKS, Frame, frames_of, opened, segment_path, starts_of
from node.history.checking import Bad, Seen, Stretch, Stretched, check
from node.history.workers import in_order
from processors.hive.chain import Chain

#: So many bad blocks are named; the others are counted.
KEPT = 20
#: A process is given so many blocks at once, or so many bytes of JSON.
_SHARE, _SHARE_BYTES = 1_024, 16 << 20
#: For fewer blocks than this no other process is begun.
_FEW = 2_000
_AGAIN = 0.3  # seconds: a frame that is being written is whole by then

#: Told how many blocks are done.
Progress = Callable[[int], None]


class Asked(msgspec.Struct, frozen=True):
    """What is to be verified: a chain's archive from ``first`` to ``last`` (None: all), by ``jobs`` processes."""

    folder: Path
    chain: Chain
    first: int | None = None
    last: int | None = None
    quick: bool = False
    jobs: int = 1


class Verified(msgspec.Struct, frozen=True):
    """What came out. ``last`` is as far as it came; ``keys``: each witness's key at the end and how many blocks it
    signed; ``bad`` the first of ``bad_count``.
    """

    folder: str
    first: int
    last: int
    quick: bool
    stopped: bool
    seconds: float
    bad_count: int
    bad: tuple[Bad, ...]
    keys: dict[str, tuple[bytes, int]]

    @property
    def good(self) -> bool:
        """Whether nothing is bad, as far as it came."""
        return not self.bad_count

    @property
    def blocks(self) -> int:
        """How many there are from the first to the last."""
        return self.last - self.first + 1


class _Order:
    """The stretches in order: links at their seams, and the witnesses' keys from block to block."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[bytes, int]] = {}
        self.bad: list[Bad] = []
        self.count = 0
        self._end: tuple[int, bytes | None] = (-1, None)

    def add(self, bad: Bad) -> None:
        self.count += 1
        if len(self.bad) < KEPT:
            self.bad.append(bad)
        if bad.kind not in ("not_linked", "witness_key"):
            self.keys.clear()  # it could hold a change: nobody's key is sure any more

    def take(self, part: Stretched, file: Path) -> None:
        number, identity = self._end
        if number == part.first - 1 and None not in (identity, part.previous) and identity != part.previous:
            words = f"it does not follow the block before it ({(identity or b'').hex()})"
            self.add(Bad(part.first, "not_linked", words, str(file)))
        for found in part.found:
            if isinstance(found, Bad):
                self.add(found)
            else:
                self._sign(found, file)
        self._end = part.last, part.last_id

    def _sign(self, seen: Seen, file: Path) -> None:
        known, count = self.keys.get(seen.witness, (seen.key, 0))
        if not seen.key:
            words = f"its signature, as of {seen.witness}, recovers to no key"
            self.add(Bad(seen.number, "witness_key", words, str(file)))
        elif known != seen.key:
            words = f"{seen.witness} signed with {seen.key.hex()}, its key is {known.hex()}"
            self.add(Bad(seen.number, "witness_key", words, str(file)))
        if known:
            self.keys[seen.witness] = known, count + 1
        if seen.changes is None:
            self.keys.clear()
            return
        for name, key in seen.changes:
            if name in self.keys:
                self.keys[name] = key, self.keys[name][1]


def verify(asked: Asked, progress: Progress, is_stopped: Callable[[], bool] = lambda: False) -> Verified:
    """Verify an archive, or blocks of it. Raises NodeError if they are not there at all."""
    begun = time.monotonic()
    first, last = span_of(asked.folder)
    first, last = _within(asked, first, last)
    order, reached, stopped = _Order(), first - 1, False
    jobs = asked.jobs if last - first >= _FEW else 1
    before: list[list[Bad]] = []  # what is bad before each stretch that is on its way
    stretches = _stretches(asked, first, last, before)
    with closing(in_order(check, stretches, jobs)) as parts:
        for part in parts:
            for bad in before.pop(0):
                order.add(bad)
            order.take(part, segment_path(asked.folder, part.first))
            reached = part.last
            progress(reached - first + 1)
            if is_stopped():
                stopped = True
                break
    if not stopped:
        reached = last
        for bad in (bad for some in before for bad in some):
            order.add(bad)
    seconds = round(time.monotonic() - begun, 2)
    found = str(asked.folder), first, reached, asked.quick, stopped, seconds, order.count, tuple(order.bad), order.keys
    return Verified(*found)


def remedy(folder: Path, bad: Bad) -> str:
    """What to do about something bad."""
    again = f"`waggle archive fetch --archive {folder}`"
    if bad.kind == "missing":
        return f"{again} fetches what is missing"
    if bad.kind == "not_serialised":
        return "a newer version is needed to prove it"
    start = bad.number // SEGMENT_BLOCKS * SEGMENT_BLOCKS
    starts = starts_of(folder)
    if start + SEGMENT_BLOCKS not in starts and bad.kind == "damaged":
        return f"{again} cuts it off and fetches it anew (with --from, if nothing is left)"
    if starts and start <= starts[0]:
        return (
            f"fetch the blocks from the archive's first one to {start + SEGMENT_BLOCKS - 1} into another folder with "
            f"`waggle archive fetch`, and put the file from there in the place of {bad.file}"
        )
    return f"delete {bad.file}, then {again} fetches its blocks anew; ask other servers if the same comes"


def span_of(folder: Path) -> tuple[int, int]:
    """The first and the last block that the files of an archive hold. Raises NodeError if they hold none."""
    first: int | None = None
    last = -1
    for start in starts_of(folder):
        frames, _ = _walk(segment_path(folder, start))
        if first is None:
            first = frames[0].first if frames else start
        last = max([last, *(frame.last for frame in frames[-1:])])
    if first is None or last < first:
        raise NodeError(
            f"{folder} holds no whole block: fill it with `waggle archive fetch` or `waggle archive import`"
        )
    return first, last


def _within(asked: Asked, first: int, last: int) -> tuple[int, int]:
    """The span that is asked for. Raises NodeError if it is not here."""
    wanted = first if asked.first is None else asked.first, last if asked.last is None else asked.last
    if not first <= wanted[0] <= wanted[1] <= last:
        words = f"{asked.folder} holds the blocks {first} to {last}, not {wanted[0]} to {wanted[1]}"
        raise NodeError(f"{words}: name blocks that are there, or fetch these with `waggle archive fetch`")
    return wanted


def _stretches(asked: Asked, first: int, last: int, before: list[list[Bad]]) -> Iterator[Stretch]:
    """What there is to check from ``first`` to ``last``; ``before`` gets what is bad before each, and at the end."""
    bad: list[Bad] = []
    starts = starts_of(asked.folder)
    after: int | None = None  # the block after the file before
    for start in starts:
        if (start > last and asked.last is not None) or start + SEGMENT_BLOCKS <= first:
            continue
        path = segment_path(asked.folder, start)
        if after is not None and start != after:
            bad.append(Bad(after, "missing", f"the blocks {after} to {start - 1} are not in the archive", str(path)))
        after = start + SEGMENT_BLOCKS
        frames, wrong = _frames(path, start, is_first=start == starts[0], is_newest=start == starts[-1])
        for group in _groups([frame for frame in frames if frame.last >= first and frame.first <= last]):
            before.append(bad)
            bad = []
            begin, end = max(first, group[0].first), min(last, group[-1].last)
            yield Stretch(path, group, begin, end, asked.chain, asked.quick)
        if wrong is not None and (asked.last is None or wrong.number <= last):
            bad.append(wrong)
    before.append(bad)


def _frames(path: Path, start: int, *, is_first: bool, is_newest: bool) -> tuple[list[Frame], Bad | None]:
    """The frames of a file, and what is wrong behind them, or with all of them."""
    frames, rest = _walk(path)
    if rest and is_newest:
        time.sleep(_AGAIN)
        frames, rest = _walk(path)
    begin, end = (frames[0].first, frames[-1].last + 1) if frames else (start, start)
    if begin < start or (begin > start and not is_first) or end > start + SEGMENT_BLOCKS:
        return [], Bad(start, "damaged", f"it holds the blocks {begin} to {end - 1}, which belong elsewhere", str(path))
    if rest:
        words = f"the last {rest} bytes of the file, from block {end} on, are no whole frames"
        return frames, Bad(end, "damaged", words, str(path))
    if not frames or (not is_newest and end < start + SEGMENT_BLOCKS):
        words = f"the blocks {end} to {start + SEGMENT_BLOCKS - 1} are not in the file"
        return frames, Bad(end, "damaged", words, str(path))
    return frames, None


def _walk(path: Path) -> tuple[list[Frame], int]:
    """The frames of a file, and how many bytes stand behind them that are none."""
    with opened(path) as handle:
        frames = frames_of(handle)
        return frames, os.fstat(handle).st_size - (frames[-1].end if frames else 0)


def _groups(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """Neighbouring frames that one process checks at once."""
    group: list[Frame] = []
    blocks = size = 0
    for frame in frames:
        if group and (blocks + frame.count > _SHARE or size + frame.raw_size > _SHARE_BYTES):
            yield group
            group, blocks, size = [], 0, 0
        group.append(frame)
        blocks, size = blocks + frame.count, size + frame.raw_size
    if group:
        yield group
