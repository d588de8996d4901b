"""How hived packs a block into its block_log: zstd without magic, most often with a dictionary (docs/block_log.md)."""

from pathlib import Path

import msgspec
import zstandard

from node.errors import FeedError
from processors.hive.errors import HiveDataError

#: hived's own bound, of a block and of its packed form (HIVE_MAX_BLOCK_SIZE).
MAX_BLOCK = 2 << 20
WORD = 8  # bytes of what stands behind each block: its position and flags
POSITION = (1 << 48) - 1

_MAX_DICTIONARY = 1 << 20  # hived's own bound
_DICTIONARY_MAGIC = b"\x37\xa4\x30\xec"
_ZSTD, _WITH_DICTIONARY, _RESERVED = 1 << 63, 1 << 56, 0x7E << 56
_MAGIC = zstandard.MAGIC_NUMBER.to_bytes(4, "little")
_MAGICLESS = zstandard.FORMAT_ZSTD1_MAGICLESS


class Entry(msgspec.Struct, frozen=True):
    """Where a block stands in its file: from ``start`` up to ``end``, where its word begins."""

    start: int
    end: int
    zstd: bool
    dictionary: int | None


def entry_of(word: int, end: int) -> Entry | None:
    """What the word at ``end`` says of the block before it, or None if no block has such a one."""
    start, number = word & POSITION, word >> 48 & 0xFF
    zstd, custom = bool(word & _ZSTD), bool(word & _WITH_DICTIONARY)
    if word & _RESERVED or (custom and not zstd) or (number and not custom):
        return None
    if not 0 < end - start <= MAX_BLOCK:
        return None
    return Entry(start, end, zstd, number if custom else None)


class Unpacker:
    """Unpacks entries; the dictionaries of ``folder`` are read when the first block asks for them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[int | None, zstandard.ZstdDecompressor] = {}

    def unpack(self, entry: Entry, data: bytes) -> bytes:
        """The bytes of a block. Raises HiveDataError for what is none, FeedError if its dictionary is not here."""
        if not entry.zstd:
            return data
        decompressor = self._known.get(entry.dictionary)
        if decompressor is None:
            decompressor = self._known[entry.dictionary] = self._decompressor(entry.dictionary)
        try:
            frame = zstandard.get_frame_parameters(data, format=_MAGICLESS)
            told = frame.content_size  # hived leaves it out; zstd would take that much memory at once
            if told != zstandard.CONTENTSIZE_UNKNOWN and told > MAX_BLOCK:
                raise HiveDataError(f"a block of {told} bytes: hived's have {MAX_BLOCK} at most")
            if _frame_end(data) + 4 * frame.has_checksum != len(data):
                raise HiveDataError("its zstd frame does not end where the block does")
            return decompressor.decompress(data, max_output_size=MAX_BLOCK)
        except zstandard.ZstdError as error:
            raise HiveDataError(f"it cannot be unpacked ({error})") from error

    def _decompressor(self, number: int | None) -> zstandard.ZstdDecompressor:
        if number is None:
            return zstandard.ZstdDecompressor(format=_MAGICLESS)
        path = self._folder / f"hive_zstd_dictionary_{number:03}M.zst"
        remedy = "take it from the repository compression_dictionaries beside hived's"
        try:
            with path.open("rb") as file:
                data = file.read(2 * _MAX_DICTIONARY)
            dictionary = zstandard.ZstdCompressionDict(_dictionary_in(data), dict_type=zstandard.DICT_TYPE_FULLDICT)
            return zstandard.ZstdDecompressor(dict_data=dictionary, format=_MAGICLESS)
        except OSError as error:
            raise FeedError(f"{path}: {error.strerror}: blocks of the block_log need this file, {remedy}") from error
        except (zstandard.ZstdError, HiveDataError) as error:
            raise FeedError(f"{path} is not a dictionary of hived's ({error}): {remedy}") from error


def _dictionary_in(data: bytes) -> bytes:
    """The dictionary of a file: hived keeps them packed with zstd themselves. Raises HiveDataError, ZstdError."""
    if not data.startswith(_DICTIONARY_MAGIC):
        told = zstandard.frame_content_size(data)
        if told > _MAX_DICTIONARY:
            raise HiveDataError(f"it unpacks to {told} bytes, the longest has {_MAX_DICTIONARY}")
        data = zstandard.ZstdDecompressor().decompress(data, max_output_size=_MAX_DICTIONARY)
    if not data.startswith(_DICTIONARY_MAGIC):
        raise HiveDataError("it does not begin as one")
    return data


def _frame_end(data: bytes) -> int:
    """Where the last block of the zstd frame ends: zstd itself does not look at what follows (RFC 8878, 3.1.1)."""
    at = zstandard.frame_header_size(_MAGIC + data[:32]) - len(_MAGIC)
    last = False
    while not last and at < len(data):
        header = int.from_bytes(data[at : at + 3], "little")
        last, run = bool(header & 1), header & 6 == 2
        at += 3 + (1 if run else header >> 3)
    return at
