"""The text of a manifest: read as it was written, or not at all. It may come from a liar."""

import json
from typing import Any

import msgspec
import pytest

from state.errors import SnapshotError
from state.manifest import MAX_CHUNK_BYTES, MAX_MANIFEST_BYTES, Chunk, Manifest, expect, parse_manifest, write_manifest

CHUNKS = tuple(Chunk(bytes([n]) * 32, 100 + n, 200 + n) for n in range(3))
HONEST = Manifest(bytes(range(32)), 10, b"\1" * 20, 7, b"\2" * 32, 30, CHUNKS)
TEXT = write_manifest(HONEST)
REMEDY = r"another server|another snapshot|install"


def test_every_changed_byte_of_a_manifest_is_noticed() -> None:
    assert parse_manifest(TEXT) == HONEST
    for at in range(len(TEXT)):
        for mask in (1, 0x10, 0x80):
            with pytest.raises(SnapshotError):
                parse_manifest(TEXT[:at] + bytes([TEXT[at] ^ mask]) + TEXT[at + 1 :])


FIELDS: list[tuple[str, Any]] = [
    ("format", 2),
    ("format", -1),
    ("format", "1"),
    ("genesis_hash", "00" * 31),
    ("genesis_hash", "AB" * 32),
    ("genesis_hash", "0x" + "00" * 31),
    ("genesis_hash", "00" * 32 + "\n"),
    ("height", -10),
    ("height", 2**32),
    ("height", "10"),
    ("height", 10.5),
    ("block_id", ""),
    ("timestamp", -1),
    ("timestamp", None),
    ("root", "g" * 64),
    ("entries", 0),
    ("entries", 2**41),
    ("entries", True),
    ("chunks", []),
    ("chunks", {}),
    ("chunks", [{"sha256": "00" * 32, "size": 1}]),
    ("chunks", [{"sha256": "00" * 32, "size": 0, "raw_size": 1}]),
    ("chunks", [{"sha256": "00" * 32, "size": 1, "raw_size": MAX_CHUNK_BYTES + 1}]),
    ("chunks", [{"sha256": "00" * 32, "size": 10**30, "raw_size": 1}]),
    ("chunks", [{"sha256": "../../etc/passwd", "size": 1, "raw_size": 1}]),
    ("chunks", [{"sha256": "00" * 32, "size": 1, "raw_size": 1, "more": 1}]),
    ("chunks", [{"sha256": "00" * 32, "size": 1, "raw_size": 1}] * 65_537),
    ("hash", "00" * 32),
    ("more", 1),
]


@pytest.mark.parametrize(("field", "value"), FIELDS, ids=lambda value: str(value)[:40])
def test_fields_of_a_manifest_that_are_none(field: str, value: Any) -> None:
    with pytest.raises(SnapshotError, match=REMEDY):
        parse_manifest(json.dumps(json.loads(TEXT) | {field: value}, separators=(",", ":")).encode())


@pytest.mark.parametrize("field", [*json.loads(TEXT)])
def test_a_field_that_is_missing(field: str) -> None:
    left = {name: value for name, value in json.loads(TEXT).items() if name != field}
    with pytest.raises(SnapshotError, match=f"{field}.*{REMEDY}"):
        parse_manifest(json.dumps(left, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        TEXT[:-1],
        TEXT + b"\n",
        b" " + TEXT,
        TEXT.replace(b",", b", ", 1),
        TEXT.replace(b'{"format":1,', b'{"format":1,"format":1,'),
        TEXT.replace(b'"height":10', b'"height":10.0'),
        b" " * (MAX_MANIFEST_BYTES + 1),
    ],
    ids=range(12),
)
def test_texts_that_are_no_manifest(text: bytes) -> None:
    with pytest.raises(SnapshotError, match=REMEDY):
        parse_manifest(text)


def test_the_hash_names_every_field() -> None:
    others = [
        msgspec.structs.replace(HONEST, **{name: value})
        for name, value in (
            ("genesis_hash", bytes(32)),
            ("height", 11),
            ("block_id", bytes(20)),
            ("timestamp", 8),
            ("root", bytes(32)),
            ("entries", 31),
            ("chunks", CHUNKS[:2]),
            ("chunks", CHUNKS[::-1]),
        )
    ]
    assert len({HONEST.hash, *(other.hash for other in others)}) == len(others) + 1


def test_what_is_wanted_of_it() -> None:
    assert HONEST.raw_bytes == 603
    expect(HONEST, height=10, root=b"\2" * 32)
    with pytest.raises(SnapshotError, match=f"root is {'02' * 32}, wanted is {'00' * 32}.*another server"):
        expect(HONEST, height=10, root=bytes(32))
