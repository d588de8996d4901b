"""Snapshots of a liar: whatever differs is refused with a word on what to do, and no store is left behind."""

import random
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from state import schema
from state.errors import SnapshotError
from state.manifest import MAX_CHUNK_BYTES, Chunk, Manifest, parse_manifest, write_manifest
from state.snapshot import Restoring, create, read_chunks, read_manifest, restore, verify
from state.store import MemoryStore
from tests.state import model as m
from tests.state.model import state_over

REMEDY = r"another server|another snapshot|remove|begin again|install|feed|take one|ask"
HEIGHT = 10
Entry = list[Any]


def entries_of_a_state() -> tuple[list[Entry], Manifest]:
    """All entries of a small state in their order, and its manifest."""
    state = state_over(MemoryStore())
    m.apply(state, m.blocks(70, 1)[0])
    writes: list[m.Write] = [(schema.BALANCE, (f"account{n}",), schema.Balance(n)) for n in range(60)]
    m.apply(state, m.Block(schema.Head(HEIGHT, bytes(20), 7), writes))
    entries: list[Entry] = []
    for stored, raw in state.freeze().iterate(b"t"):
        name = stored[1 : stored.index(b"\0")].decode()
        table = next(one for one in (*schema.TABLES, *schema.SINGLETONS) if one.name == name)
        entries.append([name, table.key(table.parse_key(stored[1:])), raw])
    head = state.head
    root = state.root(HEIGHT)
    assert root is not None
    return entries, Manifest(m.GENESIS_HASH, HEIGHT, head.block_id, head.timestamp, root, len(entries), ())


ENTRIES, ABOUT = entries_of_a_state()
THIRDS = [ENTRIES[:30], ENTRIES[30:60], ENTRIES[60:]]


def packed(raw: bytes) -> tuple[bytes, Chunk]:
    """A chunk of these bytes, with what a manifest says of it."""
    content = zstandard.ZstdCompressor().compress(raw)
    return content, Chunk(sha256(content).digest(), len(content), len(raw))


def snapshot_of(parts: list[list[Entry]], **told: Any) -> tuple[Manifest, list[bytes]]:
    """A manifest and chunks of these entries, consistent as far as hashes go."""
    made = [packed(msgspec.msgpack.encode(part)) for part in parts]
    count = sum(len(part) for part in parts)
    manifest = msgspec.structs.replace(ABOUT, chunks=tuple(chunk for _, chunk in made), entries=count)
    return msgspec.structs.replace(manifest, **told), [content for content, _ in made]


def refused(tmp_path: Path, manifest: Manifest, chunks: list[bytes], match: str, **own: Any) -> None:
    """Neither taken as a state nor left behind in pieces."""
    target = tmp_path / "state"
    genesis_hash, length = own.get("genesis_hash", m.GENESIS_HASH), own.get("round_length", m.ROUND)
    with pytest.raises(SnapshotError, match=match) as caught:
        restore(target, manifest, chunks, genesis_hash, round_length=length)
    caught.match(REMEDY)
    assert list(tmp_path.iterdir()) == []


def test_the_honest_one_is_taken(tmp_path: Path) -> None:
    manifest, chunks = snapshot_of(THIRDS)
    restore(tmp_path / "state", parse_manifest(write_manifest(manifest)), chunks, m.GENESIS_HASH, round_length=m.ROUND)
    assert (tmp_path / "state/CURRENT").exists()


def with_entry(at: int, name: str | None = None, key: bytes | None = None, raw: bytes | None = None) -> list[Entry]:
    """The entries with another one in a place."""
    old = ENTRIES[at]
    return [
        *ENTRIES[:at],
        [name or old[0], old[1] if key is None else key, old[2] if raw is None else raw],
        *ENTRIES[at + 1 :],
    ]


BALANCE = next(at for at, entry in enumerate(ENTRIES) if entry[1] == schema.BALANCE.key(("account3",)))
HEAD = next(at for at, entry in enumerate(ENTRIES) if entry[1] == b"\x91\xa4head")
ROUND = next(at for at, entry in enumerate(ENTRIES) if entry[0] == "round")
_NUMBER = schema.ROUND.unpack_key(ENTRIES[ROUND][1])[0]

#: behind all balances, where an entry of this account has its place
AFTER = next(at for at, entry in enumerate(ENTRIES) if entry[0] > "balance")
SURPLUS: Entry = ["balance", schema.BALANCE.key(("z" * 16,)), b"\x91\1"]

LIES: dict[str, tuple[list[Entry], str]] = {
    "an entry twice": ([*ENTRIES[:5], ENTRIES[4], *ENTRIES[5:]], "twice there"),
    "two in the wrong order": ([*ENTRIES[:4], ENTRIES[5], ENTRIES[4], *ENTRIES[6:]], "not in its place"),
    "two tables in the wrong order": (ENTRIES[ROUND:] + ENTRIES[:ROUND], "not in its place"),
    "one left out": (ENTRIES[:BALANCE] + ENTRIES[BALANCE + 1 :], "the entries have the root"),
    "one more": ([*ENTRIES[:AFTER], SURPLUS, *ENTRIES[AFTER:]], "have the root"),
    "another value": (with_entry(BALANCE, raw=b"\x91\x07"), "have the root"),
    "no such table": (with_entry(BALANCE, name="balanca"), "no table 'balanca'"),
    "another table": (with_entry(BALANCE, name="authority"), "no value of the table authority"),
    "no such singleton": (with_entry(HEAD, key=b"\x91\xa4heae"), "no entry"),
    "no head": (ENTRIES[:HEAD] + ENTRIES[HEAD + 1 :], "have the root"),
    "a key in a longer form": (with_entry(BALANCE, key=b"\x91\xd9\x08account3"), "not the canonical form of a key"),
    "a key as an array16": (with_entry(BALANCE, key=b"\xdc\0\1\xa8account3"), "not the canonical form of a key"),
    "an integer in a longer form": (
        with_entry(ROUND, key=b"\x91\xd3" + (int(_NUMBER) % 2**63).to_bytes(8, "big")),
        "canonical form",
    ),
    "a negative integer": (with_entry(ROUND, key=b"\x91\xff"), "canonical form"),
    "a float": (with_entry(ROUND, key=b"\x91\xcb\x40\x24\0\0\0\0\0\0"), "key"),
    "bytes for text": (with_entry(BALANCE, key=b"\x91\xc4\x08account3"), "no key"),
    "no UTF-8": (with_entry(BALANCE, key=b"\x91\xa1\xff"), "key"),
    "a surrogate": (with_entry(BALANCE, key=b"\x91\xa3\xed\xa0\x80"), "key"),
    "an empty key": (with_entry(BALANCE, key=b""), "no key"),
    "more after a key": (with_entry(BALANCE, key=ENTRIES[BALANCE][1] + b"\0"), "no key"),
    "a field too many in a key": (with_entry(BALANCE, key=b"\x92\xa1a\xa1b"), "no key"),
    "a value of nothing": (with_entry(BALANCE, raw=b""), "no value"),
    "a value of another shape": (with_entry(BALANCE, raw=b"\x92\1\2"), "no value"),
    "a value in a longer form": (with_entry(BALANCE, raw=b"\x91\xcc\x03"), "not the canonical form of a value"),
    "a value as an array32": (with_entry(BALANCE, raw=b"\xdd\0\0\0\1\x03"), "canonical form of a value"),
    "a value of a huge array": (with_entry(BALANCE, raw=b"\xdd\xff\xff\xff\xff"), "no value"),
    "more after a value": (with_entry(BALANCE, raw=ENTRIES[BALANCE][2] + b"\xc0"), "no value"),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("parts", [1, 3])
def test_entries_that_are_not_those_of_a_state(tmp_path: Path, lie: str, parts: int) -> None:
    entries, match = LIES[lie]
    step = len(entries) // parts + 1
    refused(tmp_path, *snapshot_of([entries[at : at + step] for at in range(0, len(entries), step)]), match)


TOLD: dict[str, tuple[dict[str, Any], str]] = {
    "another root": ({"root": bytes(32)}, "have the root"),
    "another genesis": ({"genesis_hash": bytes(32)}, "genesis_hash"),
    "another height": ({"height": 20}, "not after block 20"),
    "a height in the middle of a round": ({"height": 13}, "ends no round"),
    "another block": ({"block_id": b"\1" * 20}, "after"),
    "another time": ({"timestamp": 8}, "after"),
    "fewer entries": ({"entries": len(ENTRIES) - 1}, "entries, not the"),
    "more entries": ({"entries": len(ENTRIES) + 1}, "entries, not the"),
}


@pytest.mark.parametrize("lie", TOLD)
def test_a_manifest_that_does_not_fit_its_entries(tmp_path: Path, lie: str) -> None:
    told, match = TOLD[lie]
    refused(tmp_path, *snapshot_of(THIRDS, **told), match)


def test_a_snapshot_of_another_group(tmp_path: Path) -> None:
    refused(tmp_path, *snapshot_of(THIRDS), "genesis_hash", genesis_hash=bytes(32))
    refused(tmp_path, *snapshot_of(THIRDS), "ends no round of 7", round_length=7)


@pytest.mark.parametrize("index", range(3))
def test_a_changed_byte_in_a_chunk(tmp_path: Path, index: int) -> None:
    manifest, chunks = snapshot_of(THIRDS)
    chance = random.Random(index)
    for _ in range(10):
        at = chance.randrange(len(chunks[index]))
        changed = chunks[index][:at] + bytes([chunks[index][at] ^ (1 << chance.randrange(8))]) + chunks[index][at + 1 :]
        lying = [*chunks[:index], changed, *chunks[index + 1 :]]
        refused(tmp_path, manifest, lying, f"chunk {index} is not the one of the manifest")


CHUNKS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "swapped": (lambda c: [c[0], c[2], c[1]], "chunk 1 is not"),
    "missing in the middle": (lambda c: [c[0], c[2]], "chunk 1 is not"),
    "missing at the end": (lambda c: c[:2], "2 of 3 chunks"),
    "none": (lambda c: [], "0 of 3 chunks"),
    "twice": (lambda c: [c[0], c[0], c[1], c[2]], "chunk 1 is not"),
    "one more": (lambda c: [*c, c[2]], "more than the 3 chunks"),
    "truncated": (lambda c: [c[0], c[1][:-1], c[2]], "chunk 1 is not"),
    "longer": (lambda c: [c[0], c[1] + b"\0", c[2]], "chunk 1 is not"),
    "empty": (lambda c: [b"", c[1], c[2]], "chunk 0 is not"),
}


@pytest.mark.parametrize("lie", CHUNKS)
def test_other_chunks_than_those_of_the_manifest(tmp_path: Path, lie: str) -> None:
    change, match = CHUNKS[lie]
    manifest, chunks = snapshot_of(THIRDS)
    refused(tmp_path, manifest, change(chunks), match)


def one_chunk(content: bytes, raw_size: int) -> tuple[Manifest, list[bytes]]:
    """A manifest whose one chunk is ``content``, with the right hash."""
    chunk = Chunk(sha256(content).digest(), len(content), raw_size)
    return msgspec.structs.replace(ABOUT, chunks=(chunk,)), [content]


HONEST = msgspec.msgpack.encode(ENTRIES)
BOMB = zstandard.ZstdCompressor().compress(bytes(100 << 20))
PLAIN = zstandard.ZstdCompressor().compress(HONEST)
NO_SIZE = zstandard.ZstdCompressor(write_content_size=False).compress(HONEST)
NO_SIZE_BOMB = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(100 << 20))


@pytest.mark.parametrize(
    ("content", "raw_size"),
    [
        (BOMB, 1_000),
        (BOMB, MAX_CHUNK_BYTES),
        (NO_SIZE_BOMB, 1_000),
        (NO_SIZE, len(HONEST)),
        (PLAIN, len(HONEST) - 1),
        (PLAIN, len(HONEST) + 1),
        (PLAIN + PLAIN, len(HONEST)),
        (PLAIN + b"\0", len(HONEST)),
        (PLAIN[:-3], len(HONEST)),
        (b"no zstd at all", 14),
        (b"\x50\x2a\x4d\x18\x04\0\0\0abcd", 4),  # a frame that zstd skips
        (zstandard.ZstdCompressor().compress(b""), 1),
    ],
)
def test_bytes_that_are_no_honest_zstd(tmp_path: Path, content: bytes, raw_size: int) -> None:
    refused(tmp_path, *one_chunk(content, raw_size), "chunk 0")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x90",
        b"",
        b"\xc0",
        b"\xdd\xff\xff\xff\xff",
        b"\x91\x92\xa1a\xc4\0",
        b"\x91\x93\xa7balance\xa1a\xc4\0",
        HONEST + b"\x90",
        HONEST[:-1],
        b"\x91" * 100_000,
    ],
)
def test_chunks_that_hold_no_entries(tmp_path: Path, raw: bytes) -> None:
    content = zstandard.ZstdCompressor().compress(raw)
    refused(tmp_path, *one_chunk(content, len(raw) or 1), "chunk 0")


def test_a_frame_that_says_less_than_it_holds(tmp_path: Path) -> None:
    """The size in the frame and in the manifest are small, the content is not."""
    content = bytearray(zstandard.ZstdCompressor().compress(bytes(60_000)))
    at = content.index((60_000 - 256).to_bytes(2, "little"), 4)
    content[at : at + 2] = (1_000 - 256).to_bytes(2, "little")
    assert zstandard.get_frame_parameters(bytes(content)).content_size == 1_000
    refused(tmp_path, *one_chunk(bytes(content), 1_000), "chunk 0")


# -- a folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a snapshot of several chunks."""
    manifest, chunks = snapshot_of(THIRDS)
    place = tmp_path / str(HEIGHT)
    place.mkdir()
    for index, chunk in enumerate(chunks):
        (place / f"{index:05}.zst").write_bytes(chunk)
    (place / "manifest.json").write_bytes(write_manifest(manifest))
    assert verify(tmp_path, HEIGHT, m.GENESIS_HASH) == manifest
    return tmp_path


FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a chunk is missing": (lambda place: (place / "00001.zst").unlink(), "cannot be read"),
    "a chunk is short": (lambda place: (place / "00001.zst").write_bytes(b"x"), "not the size"),
    "a chunk differs": (lambda place: _flip(place / "00002.zst"), "chunk 2 is not"),
    "a chunk too many": (lambda place: (place / "00003.zst").touch(), "does not name"),
    "a file too many": (lambda place: (place / "x").touch(), "does not name"),
    "the manifest differs": (lambda place: _flip(place / "manifest.json"), "manifest"),
    "the manifest is missing": (lambda place: (place / "manifest.json").unlink(), "cannot be read"),
    "the folder has another name": (lambda place: place.rename(place.with_name("20")), "height is 10, wanted is 20"),
}


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("harm", FOLDERS)
def test_a_folder_that_was_changed(folder: Path, harm: str) -> None:
    change, match = FOLDERS[harm]
    change(folder / str(HEIGHT))
    with pytest.raises(SnapshotError, match=match) as caught:
        verify(folder, 20 if "another name" in harm else HEIGHT, m.GENESIS_HASH)
    caught.match(REMEDY)


def test_a_folder_of_another_group(folder: Path) -> None:
    with pytest.raises(SnapshotError, match="genesis_hash"):
        verify(folder, HEIGHT, bytes(32))


def test_what_the_writer_makes_is_what_is_checked_here(tmp_path: Path) -> None:
    """The snapshots above are made by hand, in the format that the writer writes."""
    state = state_over(MemoryStore())
    m.apply(state, m.blocks(71, 1)[0])
    list(create(state.freeze(), tmp_path))
    manifest = read_manifest(tmp_path, HEIGHT)
    (content,) = read_chunks(tmp_path, manifest)
    raw = zstandard.ZstdDecompressor().decompress(content)
    entries = msgspec.msgpack.decode(raw)
    assert packed(raw)[1].raw_size == manifest.chunks[0].raw_size
    assert len(entries) == manifest.entries
    assert all([type(part) for part in entry] == [str, bytes, bytes] for entry in entries)


def test_after_a_lie_nothing_can_be_fed_any_more(tmp_path: Path) -> None:
    manifest, chunks = snapshot_of(THIRDS)
    restoring = Restoring(tmp_path / "state", manifest, m.GENESIS_HASH, round_length=m.ROUND)
    restoring.feed(chunks[0])
    with pytest.raises(SnapshotError, match="chunk 1"):
        restoring.feed(chunks[2])
    assert list(tmp_path.iterdir()) == []
    for _ in range(2):
        with pytest.raises(SnapshotError, match="begin again"):
            restoring.feed(chunks[1])
    with pytest.raises(SnapshotError, match="begin again"):
        restoring.finish()
    assert list(tmp_path.iterdir()) == []
