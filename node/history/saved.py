"""Blocks that somebody saved in files: answers of a server as JSON, plain or packed by gzip or zstd.

Of files with a document on each line one line is in memory at a time; a file that is one document is read whole, up to
a bound.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec
import zstandard

from node.errors import FeedError

#: Bytes of a document, or of a line, when it is unpacked.
MAX_DOCUMENT = 256 << 20
_DEEPEST = 3  # an answer, its result, the list in it
_WINDOW = 1 << 27  # bytes: what zstd may need to unpack, --long=27
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"  # behind 0x50 to 0x5f: how a segment of an archive begins
_UNPACKING = (zstandard.ZstdError, zlib.error, EOFError, gzip.BadGzipFile)
_NONE = msgspec.Raw(b"")


class _Document(msgspec.Struct):
    previous: msgspec.Raw = _NONE
    blocks: msgspec.Raw = _NONE
    block: msgspec.Raw = _NONE
    result: msgspec.Raw = _NONE
    error: msgspec.Raw = _NONE


_decode = msgspec.json.Decoder(_Document).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def texts_of(path: Path, advance: Callable[[int], None] = lambda place: None) -> Iterator[bytes]:
    """The blocks of a file: a document on each line, or one document. Raises FeedError.

    A document is a block, a list of blocks, or a server's answer with one or many. ``advance`` is told how many bytes
    of the file were read.
    """
    with _errors(path), open(path, "rb") as raw, _unpacked(raw) as lines:
        begin = _line(lines, path)
        while begin and not begin.strip():
            begin = _line(lines, path)
        if begin and not _is_json(begin):  # over several lines
            rest = lines.read(MAX_DOCUMENT - len(begin) + 1)
            yield from _blocks_of(_bounded(begin + rest, path), path)
            return
        while begin:
            if begin.strip():
                yield from _blocks_of(begin, path)
            begin = _line(lines, path)
            advance(raw.tell())


@contextmanager
def _unpacked(raw: BinaryIO) -> Iterator[BinaryIO]:
    begin = raw.read(4)
    raw.seek(0)
    if begin[:2] == _GZIP:
        with gzip.open(raw) as unzipped:
            yield io.BufferedReader(unzipped)
    elif begin == _ZSTD or (begin[1:] == _SKIPPABLE and begin[0] >> 4 == 5):
        unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        with unpacker.stream_reader(raw, read_across_frames=True) as reader:
            yield io.BufferedReader(reader, 1 << 20)
    else:
        yield raw


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except _UNPACKING as error:
        raise FeedError(f"{path} cannot be unpacked ({error}): it was cut off or damaged, save it again") from error
    except OSError as error:
        raise FeedError(f"{path}: {error.strerror or error}: name a file that this user may read") from error


def _line(lines: BinaryIO, path: Path) -> bytes:
    return _bounded(lines.readline(MAX_DOCUMENT + 1), path)


def _bounded(text: bytes, path: Path) -> bytes:
    if len(text) > MAX_DOCUMENT:
        raise FeedError(
            f"{path} has more than {MAX_DOCUMENT >> 20} MiB in one document: write one block on each line (jq -c "
            f"'.result.blocks[]'), or save fewer blocks in one file"
        )
    return text


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _blocks_of(document: bytes | msgspec.Raw, path: Path, depth: int = 1) -> Iterator[bytes]:
    """The blocks of one document. Raises FeedError."""
    wrong = f"{path}: neither blocks nor a server's answer with blocks"
    remedy = "name a file with the answer to block_api.get_block_range, or with a block on each line"
    begin = bytes(memoryview(document)[:64]).lstrip()
    try:
        if begin[:1] == b"[":
            for text in _decode_list(document):
                yield bytes(text)
            return
        found = _decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FeedError(f"{wrong} ({error}, at {begin[:40]!r}): {remedy}") from error
    inner = next((raw for raw in (found.result, found.blocks, found.block) if raw not in (_NONE, b"null")), None)
    if found.previous != _NONE:
        yield bytes(document)
    elif inner is not None and depth < _DEEPEST:
        yield from _blocks_of(inner, path, depth + 1)
    elif found.error not in (_NONE, b"null"):
        raise FeedError(f"{path}: the server's answer is an error ({bytes(found.error)[:200]!r}): ask it again")
    else:
        raise FeedError(f"{wrong} (at {begin[:40]!r}): {remedy}")
