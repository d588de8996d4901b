"""hived's own block_log as a history: one file, or the parts that hived 1.28 cuts it into (docs/block_log.md)."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from node.errors import FeedError
from node.history.log_file import LogFile
from node.history.log_packing import Unpacker
from processors.hive.block import Block
from processors.hive.chain import Chain

_SINGLE = "block_log"
_PART = re.compile(r"block_log_part\.[0-9]{4}", re.ASCII)


class BlockLog:
    """The blocks of the files, each of which follows the one before. A ``History``."""

    caveat = ""  # each block is held against its own header

    def __init__(self, path: Path, files: list[LogFile]) -> None:
        self.name = f"the block_log {path}"
        self._path = path
        self._files = files

    @classmethod
    def open(cls, path: Path, chain: Chain, dictionaries: Path | None = None) -> "BlockLog":
        """The log at ``path``: a file, or the folder in which hived keeps one file or its parts. The name of a part
        means that one and those behind it.

        It is read as far as it goes now, and up to the last whole block. ``dictionaries`` is the folder of
        hive_zstd_dictionary_NNNM.zst; left out, they lie beside the log. Raises FeedError.
        """
        try:
            folder = path if path.is_dir() else path.parent
            paths = _paths_of(path)
        except OSError as error:
            raise FeedError(f"{path}: {error.strerror}: name a folder that this user may read") from error
        unpacker = Unpacker(dictionaries or folder)
        files: list[LogFile] = []
        found = cls(path, files)
        try:
            for each in paths:
                files.append(LogFile(each, chain, unpacker))
            found._keep_newest_run()
        except FeedError:
            found.close()
            raise
        return found

    def span(self) -> tuple[int, int] | None:
        """The numbers of its first and last block; None while it is empty."""
        return (self._files[0].first, self._files[-1].last) if self._files else None

    def blocks(self, first: int, last: int) -> Iterator[Block]:
        """The blocks ``first`` to ``last``, each following the one before. Not proven. Raises FeedError."""
        span = self.span()
        if first <= last and (span is None or first < span[0] or last > span[1]):
            held = f"the blocks {span[0]} to {span[1]}" if span else "no whole block"
            raise FeedError(f"{self.name} holds {held}, not {first} to {last}: fetch these from a server")
        before: Block | None = None
        for file in self._files:
            for block in file.blocks(max(first, file.first), min(last, file.last)):
                if before is not None and block.header.previous != before.id:
                    raise FeedError(
                        f"{file.path}: block {block.number} follows {block.header.previous.hex()}, but the block "
                        f"before it here is {before.id.hex()}: name a block_log that hived itself can replay"
                    )
                yield block
                before = block

    def close(self) -> None:
        """Let go of what is open."""
        while self._files:
            self._files.pop().close()

    def __enter__(self) -> "BlockLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _keep_newest_run(self) -> None:
        """Let go of empty files, and of parts behind which one is missing: hived may have pruned old ones."""
        kept: list[LogFile] = []
        for file in self._files:
            if file.last < file.first:
                file.close()
                continue
            if kept and kept[-1].last + 1 != file.first:
                while kept:
                    kept.pop().close()
            kept.append(file)
        self._files[:] = kept


def _paths_of(path: Path) -> list[Path]:
    """The files that are meant, in their order. Raises FeedError, OSError."""
    if not path.is_dir():
        return [part for part in _parts(path.parent) if part >= path] if _PART.fullmatch(path.name) else [path]
    parts, single = _parts(path), path / _SINGLE
    if parts and single.exists():
        raise FeedError(f"{path} holds a {_SINGLE} and parts of one: name the file, or the first of the parts")
    if not parts and not single.exists():
        raise FeedError(f"{path} holds no {_SINGLE} and no {_SINGLE}_part.0001: name the folder that hived writes to")
    return parts or [single]


def _parts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _PART.fullmatch(path.name))
