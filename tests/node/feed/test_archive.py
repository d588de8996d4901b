"""The archive gives back what it was given, or says which file is damaged and what to do. It never gives anything else.

Real files, of real blocks of two chains: Hive's blocks 1,000,000 to 1,000,599, and those of a hived with amounts in
both packs. Segments are made short here, so that there are many.
"""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from node.feed import archive as archives
from node.feed import compact as compacting
from node.feed import segment
from node.feed.archive import Archive
from node.feed.blocktext import kept_text
from node.feed.compact import compact
from node.feed.segment import ArchiveError, frames_of, opened
from processors.hive.block import read_block
from processors.hive.chain import Chain

VECTORS = Path(__file__).parents[2] / "vectors"
HIVED = json.loads((VECTORS / "hived_blocks.json").read_text())
TESTNET = Chain(bytes.fromhex(HIVED["chain_id"]), HIVED["prefix"], tuple(HIVED["symbols"]))
SEGMENT = 20


def header_only(number, previous, **more):
    """A block without transactions, and its id."""
    block = {
        "previous": previous,
        "timestamp": "2026-01-01T00:00:00",
        "witness": "initminer",
        "transaction_merkle_root": "00" * 20,
        "extensions": [],
        "witness_signature": "1f" + "01" * 64,
        "transactions": [],
        **more,
    }
    return msgspec.json.encode(block), read_block(block, TESTNET).id.hex()


def chained(first, count, witness="initminer"):
    """Linked blocks from ``first`` on, as a server gives them."""
    found, previous = [], (first - 1).to_bytes(4, "big").hex() + "ab" * 16
    for number in range(first, first + count):
        raw, previous = header_only(number, previous, witness=witness)
        found.append(raw)
    return found


BLOCKS = chained(95, 120)  # 95 to 214


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Segments of 20 blocks, frames of 8."""
    for module in (segment, archives, compacting):
        monkeypatch.setattr(module, "SEGMENT_BLOCKS", SEGMENT)
    for module in (archives, compacting):
        monkeypatch.setattr(module, "FRAME_BLOCKS", 8)


def filled(folder, blocks=BLOCKS, every=0):
    """The folder of a closed archive of these blocks, flushed after each ``every``."""
    with Archive.open(folder, write=True) as archive:
        for index, raw in enumerate(blocks, 1):
            archive.append(raw)
            if every and index % every == 0:
                archive.flush()
    return folder


def numbers(texts):
    return [read_block(text, TESTNET).number for text in texts]


def files(folder):
    return sorted(path.name for path in folder.glob("*.seg"))


# -- what it gives back


def test_blocks_come_back_in_any_range(tmp_path):
    archive = Archive.open(filled(tmp_path))
    assert (archive.first, archive.last) == (95, 214)
    assert files(tmp_path)[:2] == ["0000000080.seg", "0000000100.seg"] and len(files(tmp_path)) == 7
    for first, last in ((95, 214), (100, 100), (99, 100), (119, 161), (214, 214), (96, 95)):
        assert numbers(archive.read(first, last)) == list(range(first, last + 1))


def test_each_block_proves_as_before_and_has_the_same_ids(tmp_path):
    """Amounts make two packs of a transaction: its id says which one was signed, and is kept."""
    raws = [msgspec.json.encode(block) for block in HIVED["block_api"]]
    found = list(Archive.open(filled(tmp_path, raws)).read(HIVED["first"], HIVED["last"]))
    assert len(found) == len(raws)
    for text, raw in zip(found, HIVED["block_api"], strict=True):
        block = read_block(text, TESTNET)
        block.prove()
        assert block.id.hex() == raw["block_id"]
        ids = [block.transaction(index)[2].hex() for index in range(len(block.transactions))]
        assert ids == raw["transaction_ids"]
    assert any(b'"transaction_ids":[null' in text or b'"transaction_ids":["' in text for text in found)


def test_the_legacy_form_proves_as_before(tmp_path):
    raws = [msgspec.json.encode(block) for block in HIVED["condenser_api"]]
    for text, raw in zip(Archive.open(filled(tmp_path, raws)).read(230, 246), HIVED["condenser_api"], strict=True):
        block = read_block(text, TESTNET)
        block.prove()
        assert block.id.hex() == raw["block_id"]


def test_what_follows_from_the_rest_is_not_kept():
    raw, identity = header_only(7, "00000006" + "00" * 16)
    told = {**json.loads(raw), "block_id": identity, "signing_key": "STM1", "transaction_ids": [], "chatter": 1}
    kept = json.loads(kept_text(msgspec.json.encode(told))[0])
    assert kept.keys() == json.loads(raw).keys()


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (lambda block: block.update(transaction_ids="none"), "as it came"),
        (lambda block: block.update(transaction_ids=[5]), "as it came"),
        (lambda block: block.update(transaction_ids=[]), "without"),
        (lambda block: block.pop("transaction_ids"), "without"),
    ],
)
def test_ids_that_are_none_do_no_harm(change, kept):
    block = {**json.loads(BLOCKS[0]), "transaction_ids": []}
    change(block)
    text, found = kept_text(msgspec.json.encode(block))
    assert found.id == read_block(BLOCKS[0], TESTNET).id
    assert ("transaction_ids" in json.loads(text)) == (kept == "as it came")


def test_a_block_of_several_lines_is_kept_on_one(tmp_path):
    raws = [json.dumps(json.loads(raw), indent=2).encode() for raw in BLOCKS[:3]]
    assert b"\n" in raws[0]
    found = list(Archive.open(filled(tmp_path, raws)).read(95, 97))
    assert numbers(found) == [95, 96, 97] and not any(b"\n" in text for text in found)


def test_a_transaction_that_is_not_utf8_keeps_its_bytes(tmp_path):
    memo = b'{"ref_block_num":1,"ref_block_prefix":2,"expiration":"2026-01-01T00:00:00","operations":[],'
    memo += b'"extensions":[],"signatures":[],"x":"\xff\xfe"}'
    raw = BLOCKS[0].replace(b'"transactions":[]', b'"transactions":[' + memo + b"]")
    (text,) = Archive.open(filled(tmp_path, [raw])).read(95, 95)
    assert memo in text
    assert read_block(text, TESTNET).transactions == read_block(raw, TESTNET).transactions


def test_any_zstd_tool_unpacks_a_segment_into_lines_of_json(tmp_path):
    """The headers stand in frames that zstd skips: whoever has no program of ours reads the blocks all the same."""
    filled(tmp_path)
    with open(tmp_path / "0000000100.seg", "rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        lines = reader.read().splitlines()
    assert numbers(lines) == list(range(100, 120))


def test_what_waits_for_its_frame_can_be_read_by_the_writer_only(tmp_path):
    with Archive.open(tmp_path, write=True) as archive:
        for raw in BLOCKS[:10]:
            archive.append(raw)
        reader = Archive.open(tmp_path)
        assert (archive.first, archive.last) == (95, 104)
        assert (reader.first, reader.last) == (95, 99)  # a segment ends with its last block
        assert numbers(archive.read(97, 104)) == list(range(97, 105))
        with pytest.raises(ArchiveError, match="holds the blocks 95 to 99, not 100 to 101"):
            list(reader.read(98, 101))
        archive.flush()
        assert reader.last == 104 and numbers(reader.read(103, 104)) == [103, 104]


def test_an_empty_archive_holds_nothing(tmp_path):
    for archive in (Archive.open(tmp_path / "none"), Archive.open(tmp_path, write=True)):
        assert archive.first is archive.last is None
        with pytest.raises(ArchiveError, match="holds no block"):
            next(archive.read(1, 1))
        assert not list(archive.read(2, 1))
        archive.close()


def test_what_is_asked_for_beyond_its_blocks_is_refused_after_what_there_is(tmp_path):
    archive = Archive.open(filled(tmp_path))
    found = []
    with pytest.raises(ArchiveError, match="fetch these from a server"):
        found.extend(archive.read(94, 100))
    with pytest.raises(ArchiveError, match="holds the blocks 95 to 214, not 215 to 220"):
        found.extend(archive.read(210, 220))
    assert numbers(found) == list(range(210, 215)), "what is there comes first"


# -- what is added


def test_it_goes_on_where_it_ended(tmp_path):
    for part in (BLOCKS[:3], BLOCKS[3:47], BLOCKS[47:48], BLOCKS[48:]):
        filled(tmp_path, part)
    assert numbers(Archive.open(tmp_path).read(95, 214)) == list(range(95, 215))


@pytest.mark.parametrize("index", [0, 2, 5], ids=["again", "the same", "a gap"])
def test_only_the_next_block_is_taken(tmp_path, index):
    with Archive.open(tmp_path, write=True) as archive:
        for raw in BLOCKS[:3]:
            archive.append(raw)
        with pytest.raises(ArchiveError, match=r"ends with block 97 .* does not follow"):
            archive.append(BLOCKS[index])
        archive.append(BLOCKS[3])
        assert archive.last == 98


def test_a_block_of_another_chain_does_not_follow(tmp_path):
    other = chained(95, 10, witness="another")
    filled(tmp_path, BLOCKS[:3])
    with Archive.open(tmp_path, write=True) as archive, pytest.raises(ArchiveError, match="does not follow"):
        archive.append(other[3])
    assert Archive.open(tmp_path).last == 97


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff", BLOCKS[0][:-1], BLOCKS[0].replace(b"1f01", b"zz01")])
def test_what_is_no_block_is_not_added(tmp_path, raw):
    with Archive.open(tmp_path, write=True) as archive:
        with pytest.raises(ArchiveError, match="none"):
            archive.append(raw)
        assert archive.last is None
    assert files(tmp_path) == []


def test_a_block_that_lies_about_its_id_is_not_added(tmp_path):
    raw = msgspec.json.encode({**json.loads(BLOCKS[0]), "block_id": "00" * 20})
    with Archive.open(tmp_path, write=True) as archive, pytest.raises(ArchiveError, match="the server says"):
        archive.append(raw)


def test_a_block_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BLOCK", 1_000)
    raw, _ = header_only(1, "00" * 20, transactions=["x" * 1_000])
    with Archive.open(tmp_path, write=True) as archive, pytest.raises(ArchiveError, match="the archive takes 1000"):
        archive.append(raw)


def test_a_large_block_makes_a_frame_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FRAME_BYTES", 400)
    filled(tmp_path, BLOCKS[:5])
    with opened(tmp_path / "0000000080.seg") as handle:
        assert [frame.count for frame in frames_of(handle)] == [2, 2, 1]


def test_one_writes_and_others_read(tmp_path):
    with Archive.open(filled(tmp_path, BLOCKS[:9]), write=True):
        with pytest.raises(ArchiveError, match="another process writes this archive"):
            Archive.open(tmp_path, write=True)
        assert numbers(Archive.open(tmp_path).read(95, 103)) == list(range(95, 104))
    Archive.open(tmp_path, write=True).close()
    with pytest.raises(ArchiveError, match="for reading only"):
        Archive.open(tmp_path).append(BLOCKS[9])


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match=r"file.*: name a folder"):
        Archive.open(tmp_path / "file", write=True)


def test_a_full_disk_adds_nothing_and_leaves_nothing_behind(tmp_path, monkeypatch):
    archive = Archive.open(filled(tmp_path, BLOCKS[:12]), write=True)
    size = sum(path.stat().st_size for path in tmp_path.glob("*.seg"))
    real = os.write

    def full(handle, data):
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return real(handle, data[:90])

    monkeypatch.setattr(archives.os, "write", full)
    for raw in BLOCKS[12:19]:
        archive.append(raw)
    with pytest.raises(ArchiveError, match="No space left on device: make room"):
        archive.append(BLOCKS[19])
    assert archive.last == 113 and sum(path.stat().st_size for path in tmp_path.glob("*.seg")) == size
    monkeypatch.setattr(archives.os, "write", real)
    archive.append(BLOCKS[19])
    archive.close()
    assert numbers(Archive.open(tmp_path).read(95, 114)) == list(range(95, 115))


# -- what a crash and a broken disk leave behind


@pytest.mark.parametrize("every", [1, 0])
def test_a_torn_end_is_cut_at_any_byte(tmp_path, every):
    """After a crash at any point there is a beginning of the blocks, and the next one follows."""
    whole = filled(tmp_path / "whole", BLOCKS[:23], every) / "0000000100.seg"
    raw = whole.read_bytes()
    for size in range(0, len(raw), 61 if every else 13):
        folder = tmp_path / str(size)
        shutil.copytree(whole.parent, folder)
        os.truncate(folder / "0000000100.seg", size)
        with Archive.open(folder, write=True) as archive:
            last = archive.last
            assert 99 <= last < 118 and archive.cut == size - sum(
                path.stat().st_size for path in folder.glob("0000000100.seg")
            )
            archive.append(BLOCKS[last - 94])
        assert numbers(Archive.open(folder).read(95, last + 1)) == list(range(95, last + 2))


def test_zeros_and_garbage_at_the_end_are_cut(tmp_path):
    for index, tail in enumerate((bytes(300), b"\xff" * 300, (b"WGL1" * 80))):
        folder = filled(tmp_path / str(index), BLOCKS[:9])
        with open(folder / "0000000100.seg", "ab") as file:
            file.write(tail)
        assert Archive.open(folder).last == 103, "a reader sees what is whole"
        with Archive.open(folder, write=True) as archive:
            assert (archive.last, archive.cut) == (103, len(tail))


def test_a_changed_byte_is_never_given_back(tmp_path):
    folder = filled(tmp_path, BLOCKS[:70])
    path = folder / "0000000120.seg"
    raw = path.read_bytes()
    truth = list(Archive.open(folder).read(95, 164))
    for offset in range(0, len(raw), 11):
        path.write_bytes(raw[:offset] + bytes([raw[offset] ^ 0x40]) + raw[offset + 1 :])
        found = []
        with pytest.raises(ArchiveError, match=r"0000000120\.seg is damaged.*delete that file"):
            found.extend(Archive.open(folder).read(95, 164))
        assert found == truth[: len(found)] and len(found) < 45
        assert list(Archive.open(folder).read(140, 164)) == truth[45:], "what is behind can be read"


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 2_000), noise=st.binary(max_size=300), flips=st.lists(st.integers(0, 3_000), max_size=3))
def test_whatever_happens_to_the_newest_file_a_beginning_is_left(tmp_path_factory, cut, noise, flips):
    folder = filled(tmp_path_factory.mktemp("archive"), BLOCKS[:20], 3)
    path = folder / "0000000100.seg"
    raw = bytearray(path.read_bytes()[:cut] + noise)
    for flip in flips:
        if flip < len(raw):
            raw[flip] ^= 1
    path.write_bytes(bytes(raw))
    with Archive.open(folder, write=True) as archive:
        truth = [kept_text(block)[0] for block in BLOCKS[: archive.last - 94]]
        assert list(archive.read(95, archive.last)) == truth


def test_a_deleted_segment_is_fetched_anew_and_what_follows_is_kept(tmp_path):
    folder = filled(tmp_path, BLOCKS)
    (folder / "0000000120.seg").unlink()
    assert Archive.open(folder).last == 119
    with Archive.open(folder, write=True) as archive:
        for number in range(120, 140):
            assert archive.last == number - 1
            archive.append(BLOCKS[number - 95])
        assert archive.last == 214
    assert numbers(Archive.open(folder).read(95, 214)) == list(range(95, 215))


def test_a_segment_that_does_not_follow_the_new_blocks_is_named(tmp_path):
    folder = filled(tmp_path, BLOCKS[:5])
    other = filled(tmp_path / "other", chained(95, 60, witness="another"))
    (other / "0000000120.seg").rename(folder / "0000000120.seg")
    with Archive.open(folder, write=True) as archive:
        for raw in BLOCKS[5:24]:
            archive.append(raw)
        with pytest.raises(ArchiveError, match=r"0000000120\.seg is damaged: it does not follow block 119"):
            archive.append(BLOCKS[24])
    with pytest.raises(ArchiveError, match=r"0000000120\.seg is damaged"):
        list(Archive.open(folder).read(95, 130))


def test_a_segment_under_another_name_is_not_believed(tmp_path):
    folder = filled(tmp_path, BLOCKS)
    (folder / "0000000120.seg").write_bytes((folder / "0000000140.seg").read_bytes())
    with pytest.raises(ArchiveError, match=r"0000000120\.seg is damaged"):
        list(Archive.open(folder).read(118, 125))


def test_a_frame_that_grows_without_end_is_not_unpacked(tmp_path):
    """A header may say little and the frame hold much: sizes are compared before anything is unpacked."""
    bomb = zstandard.ZstdCompressor().compress(bytes(50 << 20))
    header = segment.pack_frame(95, [b"x"], bytes(20), bytes(20))[: segment.HEADER_BYTES]
    fields = list(segment._HEADER.unpack(header))
    fields[6], fields[9] = len(bomb), segment.sha256(bomb).digest()
    head = segment._HEADER.pack(*fields)[:-4]
    path = tmp_path / "0000000080.seg"
    path.write_bytes(head + segment.zlib.crc32(head).to_bytes(4, "little") + bomb)
    with pytest.raises(ArchiveError, match="another size than its header"):
        list(Archive.open(tmp_path).read(95, 95))


_KILLED = """
import sys, os, json
from pathlib import Path
from node.feed.archive import Archive
archive = Archive.open(Path(sys.argv[1]), write=True)
for line in sys.stdin.buffer:
    archive.append(line)
archive.flush()
print(archive.last, flush=True)
for line in open(sys.argv[2], "rb"):
    archive.append(line)
os.kill(os.getpid(), 9)
"""


def test_what_was_flushed_is_there_after_a_kill(tmp_path, monkeypatch):
    monkeypatch.undo()  # the other process has segments of the usual length
    rest = tmp_path / "rest"
    rest.write_bytes(b"\n".join(BLOCKS[40:50]))
    folder = tmp_path / "archive"
    command = [sys.executable, "-c", _KILLED, str(folder), str(rest)]
    found = subprocess.run(command, input=b"\n".join(BLOCKS[:40]), capture_output=True, timeout=60)
    assert found.returncode == -9 and found.stdout == b"134\n", found.stderr.decode()
    with Archive.open(folder, write=True) as archive:
        assert archive.last == 134
        archive.append(BLOCKS[40])


# -- compacting


def test_small_frames_of_closed_segments_are_merged(tmp_path):
    folder = filled(tmp_path, BLOCKS, every=1)
    truth = list(Archive.open(folder).read(95, 214))
    before = sum(path.stat().st_size for path in folder.glob("*.seg"))
    with Archive.open(folder, write=True) as archive:
        assert compact(folder) == 6, "all but the newest"
        assert compact(folder) == 0, "once"
        archive.append(chained(95, 121)[-1])
    assert sum(path.stat().st_size for path in folder.glob("*.seg")) < before
    assert list(Archive.open(folder).read(95, 214)) == truth
    with opened(folder / "0000000120.seg") as handle:
        assert [frame.count for frame in frames_of(handle)] == [8, 8, 4]


def test_a_reader_in_the_middle_of_a_segment_goes_on(tmp_path):
    folder = filled(tmp_path, BLOCKS, every=1)
    reading = Archive.open(folder).read(95, 214)
    found = list(itertools.islice(reading, 30))
    compact(folder)
    assert numbers([*found, *reading]) == list(range(95, 215))


def test_a_damaged_segment_is_not_compacted_away(tmp_path):
    folder = filled(tmp_path, BLOCKS, every=1)
    path = folder / "0000000120.seg"
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(ArchiveError, match="does not hold all its blocks"):
        compact(folder)
    assert path.exists()


def test_what_an_interrupted_compaction_left_is_removed(tmp_path):
    folder = filled(tmp_path, BLOCKS[:9])
    (folder / "0000000080.new").write_bytes(b"half")
    Archive.open(folder, write=True).close()
    assert not list(folder.glob("*.new"))
