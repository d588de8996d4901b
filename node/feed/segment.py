"""One segment of the archive: a file of zstd frames, each behind a header that zstd itself skips (docs/archive.md).

The headers are the index: whoever walks from one to the next knows which blocks are where, and unpacks nothing.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec
import zstandard

from node.errors import FeedError

#: Blocks of one segment; its file begins at a multiple of this.
SEGMENT_BLOCKS = 10_000
#: A frame is written when it holds so many blocks, or so many bytes of JSON.
FRAME_BLOCKS = 128
FRAME_BYTES = 1 << 20
#: The longest text of a block that is taken: hived's largest block is 2 MiB in binary form.
MAX_BLOCK = 32 << 20
MAX_RAW = FRAME_BYTES + MAX_BLOCK + FRAME_BLOCKS  # bytes of JSON in one frame
MAX_PACKED = MAX_RAW + (MAX_RAW >> 7) + 1024  # zstd's own bound for what does not shrink
LEVEL = 3  # higher ones take several times as long for a few hundredths

_SUFFIX = ".seg"
_SKIPPABLE, _MARK = 0x184D2A57, b"WGL1"
#: skippable magic, its size, mark, first, count, bytes of JSON, bytes packed, previous, last id, sha256, crc32
_HEADER = struct.Struct("<II4sIIII20s20s32sI")
HEADER_BYTES = _HEADER.size


class ArchiveError(FeedError):
    """The archive cannot give or take a block. The message names the file and the remedy."""


class Frame(msgspec.Struct, frozen=True):
    """What a frame's header says; ``offset`` (bytes) is where its packed blocks begin in the file."""

    offset: int
    first: int
    count: int
    raw_size: int
    packed_size: int
    previous: bytes
    last_id: bytes
    digest: bytes

    @property
    def last(self) -> int:
        """The number of its last block."""
        return self.first + self.count - 1

    @property
    def end(self) -> int:
        """Where the next header begins."""
        return self.offset + self.packed_size


def segment_path(folder: Path, number: int) -> Path:
    """The file of the segment that block ``number`` is in."""
    return folder / f"{number - number % SEGMENT_BLOCKS:010}{_SUFFIX}"


def starts_of(folder: Path) -> list[int]:
    """The starts of all segments in a folder, also of those behind a gap. Raises ArchiveError."""
    try:
        names = [path.stem for path in folder.iterdir() if path.suffix == _SUFFIX]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ArchiveError(f"{folder}: {error.strerror}: see that this user may read it") from error
    return sorted(int(name) for name in names if name.isdigit())


def segments(folder: Path) -> list[int]:
    """The starts of the segments in a folder, from the first one to the first gap. Raises ArchiveError."""
    starts = starts_of(folder)
    return [start for index, start in enumerate(starts) if start == starts[0] + index * SEGMENT_BLOCKS]


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A file to read, by its descriptor. Raises ArchiveError if it cannot be opened."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise ArchiveError(f"{path}: {error.strerror}: see that this user may read it") from error
    try:
        yield handle
    finally:
        os.close(handle)


def pack_frame(first: int, texts: list[bytes], previous: bytes, last_id: bytes) -> bytes:
    """A header and the packed ``texts`` of the blocks from ``first`` on, one a line."""
    raw = b"".join(text + b"\n" for text in texts)
    packed = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(raw)
    told = (first, len(texts), len(raw), len(packed), previous, last_id, sha256(packed).digest())
    header = _HEADER.pack(_SKIPPABLE, HEADER_BYTES - 8, _MARK, *told, 0)[:-4]
    return header + zlib.crc32(header).to_bytes(4, "little") + packed


def frame_at(handle: int, offset: int) -> Frame | None:
    """The frame whose header stands at ``offset``, or None for anything but a whole header within its bounds."""
    text = os.pread(handle, HEADER_BYTES, offset)
    if len(text) != HEADER_BYTES or zlib.crc32(text[:-4]) != int.from_bytes(text[-4:], "little"):
        return None
    magic, size, mark, first, count, raw_size, packed_size, previous, last_id, digest, _ = _HEADER.unpack(text)
    if (magic, size, mark) != (_SKIPPABLE, HEADER_BYTES - 8, _MARK):
        return None
    within = 1 <= count <= FRAME_BLOCKS and raw_size <= MAX_RAW and packed_size <= MAX_PACKED
    one_segment = first // SEGMENT_BLOCKS == (first + count - 1) // SEGMENT_BLOCKS
    if not within or not one_segment:
        return None
    return Frame(offset + HEADER_BYTES, first, count, raw_size, packed_size, previous, last_id, digest)


def frames_of(handle: int) -> list[Frame]:
    """The frames of a file up to the first that is not whole or does not follow: what is behind is not told of."""
    size = os.fstat(handle).st_size
    found: list[Frame] = []
    offset = 0
    while (frame := frame_at(handle, offset)) is not None and frame.end <= size:
        before = found[-1] if found else None
        if before is not None and (before.last + 1, before.last_id) != (frame.first, frame.previous):
            break
        found.append(frame)
        offset = frame.end
    return found


def is_whole(handle: int, frame: Frame) -> bool:
    """Whether the packed bytes of a frame are those that its header was written for."""
    return sha256(os.pread(handle, frame.packed_size, frame.offset)).digest() == frame.digest


def texts_of(handle: int, frame: Frame, name: str) -> list[bytes]:
    """The texts of a frame's blocks. Raises ArchiveError if they are not those that were written."""
    packed = os.pread(handle, frame.packed_size, frame.offset)
    if sha256(packed).digest() != frame.digest:
        raise damaged(name, f"the blocks {frame.first} to {frame.last} do not have the digest they were written with")
    try:
        if zstandard.frame_content_size(packed) != frame.raw_size:  # before anything is unpacked: its size is known
            raise damaged(name, f"the frame of block {frame.first} says another size than its header")
        raw = zstandard.ZstdDecompressor().decompress(packed)
    except zstandard.ZstdError as error:
        raise damaged(name, f"the frame of block {frame.first} cannot be unpacked ({error})") from error
    texts = raw.split(b"\n")
    if texts.pop() != b"" or len(texts) != frame.count:
        raise damaged(name, f"the frame of block {frame.first} does not hold {frame.count} blocks")
    return texts


def damaged(name: str, words: str) -> ArchiveError:
    """What to say of a file that is not as it was written."""
    return ArchiveError(f"{name} is damaged: {words}. Stop the node and delete that file: its blocks are fetched anew")
