"""Blocks brought into an archive from what somebody saved: answers of a server in files, or hived's own block_log.

Nobody is believed: each block is proven, and follows the one before.
"""

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from node.errors import ApiError, FeedError, LieError, NotLinkedError, UnprovableError
from node.feed.archive import Archive
from node.feed.source import read_next, read_proven
from node.history.fetching import end_of
from node.history.saved import texts_of
from node.history.source import UNREADABLE
from node.history.workers import in_order
from processors.hive.block import read_block
from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError

if TYPE_CHECKING:
    from node.history.block_log import BlockLog

#: A process proves so many blocks at once, or so many bytes of JSON.
_SHARE, _SHARE_BYTES = 256, 4 << 20
_LOGGED = 200  # blocks of a block_log
#: For less than this no other process is begun.
FEW_BYTES = 2 << 20
_FETCH = "Fetch it with `waggle archive fetch`, which takes it where two operators give it alike; then import the rest"

#: Told how many are done.
Progress = Callable[[int], None]


class Source(msgspec.Struct, frozen=True):
    """Blocks by the ``name`` of what holds them, each as JSON. Reading them raises FeedError."""

    name: str
    texts: Iterator[bytes]


class Imported(msgspec.Struct, frozen=True):
    """What the archive holds now, how many blocks are ``new``, and how many were there, or not asked for."""

    first: int | None
    last: int | None
    new: int
    skipped: int
    stopped: bool


class Asked(msgspec.Struct, frozen=True):
    """Which blocks are wanted (None: all that come), and how many processes prove them."""

    chain: Chain
    first: int | None = None
    last: int | None = None
    jobs: int = 1


class _Share(msgspec.Struct, frozen=True):
    """Blocks of one source, to be proven by one process."""

    name: str
    texts: list[bytes]
    chain: Chain


class _Logged(msgspec.Struct, frozen=True):
    """Neighbouring blocks of a block_log, to be written as JSON by one process."""

    path: Path
    dictionaries: Path | None
    chain: Chain
    first: int
    last: int


def sources_of(paths: Iterable[Path], chain: Chain, advance: Progress = lambda done: None) -> list[Source]:
    """Files that somebody saved, in the order of their first blocks; ``advance`` is told how many bytes were read.

    Raises FeedError.
    """
    found = []
    for path in paths:
        first = next(texts_of(path), None)
        if first is None:
            raise FeedError(f"{path} holds no block: leave it out")
        found.append((_number(first, chain, str(path)), path))
    read, sources = 0, []
    for _, path in sorted(found):
        sources.append(Source(str(path), texts_of(path, _behind(read, advance))))
        read += path.stat().st_size
    return sources


def _behind(before: int, advance: Progress) -> Progress:
    return lambda done: advance(before + done)


@contextmanager
def block_log(path: Path, chain: Chain, dictionaries: Path | None, asked: Asked) -> Iterator[tuple[Source, int]]:
    """The blocks of a block_log that are asked for, and how many. Raises FeedError."""
    from node.history.block_log import BlockLog

    with BlockLog.open(path, chain, dictionaries) as log:
        span = log.span()
        if span is None:
            raise FeedError(f"{log.name} holds no whole block: name another")
        first, last = max(span[0], asked.first or 0), span[1] if asked.last is None else min(span[1], asked.last)
        starts = range(first, last + 1, _LOGGED)
        parts = (_Logged(path, dictionaries, chain, begin, min(last, begin + _LOGGED - 1)) for begin in starts)
        jobs = asked.jobs if last - first > _LOGGED else 1
        try:
            with closing(in_order(written, parts, jobs)) as found:
                yield Source(log.name, itertools.chain.from_iterable(found)), max(0, last - first + 1)
        finally:
            _opened.cache_clear()


def written(part: _Logged) -> list[bytes]:
    """The blocks of a part as JSON. Raises FeedError."""
    from processors.hive.packed import as_json

    log = _opened(part.path, part.dictionaries, part.chain)
    found = []
    for block in log.blocks(part.first, part.last):
        try:
            found.append(as_json(block))
        except (HiveDataError, *UNREADABLE) as error:
            raise FeedError(f"{log.name}: block {block.number} cannot be written as JSON: {error}. {_FETCH}") from error
    return found


@lru_cache(maxsize=1)
def _opened(path: Path, dictionaries: Path | None, chain: Chain) -> "BlockLog":
    """Once for each process: without its artifacts it is walked through from the end."""
    from node.history.block_log import BlockLog

    return BlockLog.open(path, chain, dictionaries)


class Importer:
    """Adds sources to one archive, in order."""

    def __init__(self, archive: Archive, asked: Asked, progress: Progress, is_stopped: Callable[[], bool]) -> None:
        self._archive = archive
        self._asked = asked
        self._progress = progress
        self._is_stopped = is_stopped
        self._end = end_of(archive, asked.chain)
        self._new = self._skipped = 0
        self._failure: FeedError | None = None

    def take(self, sources: Iterable[Source]) -> Imported:
        """Add what the sources hold. What came before an error is kept. Raises FeedError."""
        stopped = False
        with closing(self._proven(self._shares(sources))) as proven:
            for share, verdicts in proven:
                for text, is_good in zip(share.texts, verdicts, strict=True):
                    self._add(share.name, text, is_good)
                self._progress(self._new)
                stopped = self._is_stopped()
                if stopped:
                    break
        self._archive.flush()
        if self._failure is not None and not stopped:
            raise self._failure
        return Imported(self._archive.first, self._archive.last, self._new, self._skipped, stopped)

    def _shares(self, sources: Iterable[Source]) -> Iterator[_Share]:
        """What is to be added, in parts. A source that fails ends it: what came before is added first."""
        for source in sources:
            texts: list[bytes] = []
            try:
                for text in source.texts:
                    if self._is_wanted(_number(text, self._asked.chain, source.name)):
                        texts.append(text)
                    if len(texts) >= _SHARE or sum(map(len, texts)) >= _SHARE_BYTES:
                        yield _Share(source.name, texts, self._asked.chain)
                        texts = []
            except FeedError as error:
                self._failure = error
            if texts:
                yield _Share(source.name, texts, self._asked.chain)
            if self._failure is not None:
                return

    def _is_wanted(self, number: int) -> bool:
        asked = self._asked
        is_early = number <= self._end[0] if self._end is not None else number < (asked.first or 0)
        is_wanted = not is_early and (asked.last is None or number <= asked.last)
        self._skipped += not is_wanted
        return is_wanted

    def _proven(self, shares: Iterator[_Share]) -> Generator[tuple[_Share, list[bool]], None, None]:
        """Each part with which of its blocks were proven, by other processes."""
        asked: deque[_Share] = deque()

        def noted() -> Iterator[_Share]:
            for share in shares:
                asked.append(share)
                yield share

        with closing(in_order(prove_all, noted(), self._asked.jobs)) as answers:
            for verdicts in answers:
                yield asked.popleft(), verdicts

    def _add(self, name: str, text: bytes, is_good: bool) -> None:
        number = _number(text, self._asked.chain, name)
        if self._end is not None and number <= self._end[0]:
            self._skipped += 1
            return
        if self._end is not None and number > self._end[0] + 1:
            raise FeedError(
                f"the blocks {self._end[0] + 1} to {number - 1} are missing before {name}: name a file that holds them "
                f"too, or fetch them with `waggle archive fetch`; what came before is kept"
            )
        previous = self._end[1] if self._end is not None else None
        read = read_block if is_good else read_proven
        try:
            block = read_next(name, read, self._asked.chain, text, number, previous)
        except UnprovableError as error:
            raise FeedError(f"{error}. {_FETCH}") from error
        except NotLinkedError as error:
            words = "one of the two is of another chain, or of a fork that died: take another copy, or another folder"
            raise FeedError(f"{error}, which the archive ends with: {words}") from error
        except (LieError, ApiError) as error:
            raise FeedError(f"{error}. Take another copy of it; what came before is kept") from error
        self._archive.append(text)
        self._new += 1
        is_closed = self._archive.last != number  # what follows was there already
        self._end = end_of(self._archive, self._asked.chain) if is_closed else (number, block.id)


def prove_all(share: _Share) -> list[bool]:
    """Which of these blocks hold what their headers say; of the others it is told later why not."""
    return [_is_proven(text, share.chain) for text in share.texts]


def _is_proven(text: bytes, chain: Chain) -> bool:
    try:
        read_proven(text, chain)
    except (HiveDataError, *UNREADABLE):
        return False
    return True


def _number(text: bytes, chain: Chain, name: str) -> int:
    try:
        return read_block(text, chain).number
    except (HiveDataError, *UNREADABLE) as error:
        raise FeedError(f"{name}: {text[:60]!r} is no block ({error}): take another copy of it") from error
