"""An archive that is taken back to a height holds nothing of what came after, and goes on: whenever the power went."""

import itertools
import os
import shutil

import msgspec
import pytest

from node.feed import archive as archives
from node.feed import compact as compacting
from node.feed import cutting, segment
from node.feed.archive import Archive
from node.feed.blocktext import kept_text
from node.feed.compact import compact
from node.feed.segment import ArchiveError
from node.files import DISK, Disk
from processors.hive.block import read_block
from tests.node.feed.test_archive import BLOCKS, SEGMENT, TESTNET, files, filled, header_only, numbers

FIRST, LAST = 95, 214
TRUTH = [kept_text(block)[0] for block in BLOCKS]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Segments of 20 blocks, frames of 8."""
    for module in (segment, archives, compacting, cutting):
        monkeypatch.setattr(module, "SEGMENT_BLOCKS", SEGMENT)
    for module in (archives, compacting):
        monkeypatch.setattr(module, "FRAME_BLOCKS", 8)


def others(height, count):
    """Blocks after ``height`` that are not those which the archive had there."""
    found, previous = [], read_block(BLOCKS[height - FIRST], TESTNET).id.hex()
    for number in range(height + 1, height + 1 + count):
        raw, previous = header_only(number, previous, witness="another")
        found.append(raw)
    return found


def goes_on(folder, height, count=50):
    """Fill the archive up to ``height`` with what it had, then with others; all of it links and is given back."""
    new = others(height, count)
    with Archive.open(folder, write=True) as archive:
        begin = FIRST if archive.last is None else archive.last + 1
        for raw in BLOCKS[begin - FIRST : height + 1 - FIRST]:
            if archive.last is None or archive.last < read_block(raw, TESTNET).number:
                archive.append(raw)
        assert archive.last == height
        for raw in new:
            archive.append(raw)
        assert archive.last == height + count
    assert_holds(folder, [*TRUTH[: height - FIRST + 1], *(kept_text(raw)[0] for raw in new)])


def assert_holds(folder, texts):
    """To a reader: these blocks and no others, one after the other."""
    reader = Archive.open(folder)
    assert (reader.first, reader.last) == ((FIRST, FIRST + len(texts) - 1) if texts else (None, None))
    if texts:
        assert list(reader.read(FIRST, reader.last)) == texts
        with pytest.raises(ArchiveError, match="fetch these from a server"):
            list(reader.read(reader.last + 1, reader.last + 1))
        blocks = [read_block(text, TESTNET) for text in texts]
        assert all(after.header.previous == before.id for before, after in itertools.pairwise(blocks))


@pytest.mark.parametrize("every", [0, 1, 3])
def test_at_every_height_it_ends_there_and_goes_on_with_other_blocks(tmp_path, every):
    whole = filled(tmp_path / "whole", every=every)
    for height in range(FIRST, LAST + 1):
        folder = tmp_path / str(height)
        shutil.copytree(whole, folder)
        with Archive.open(folder, write=True) as archive:
            assert archive.cut_after(height) is (height < LAST)
            assert archive.last == height
        assert_holds(folder, TRUTH[: height - FIRST + 1])
        assert max(int(name[:10]) for name in files(folder)) <= height
        goes_on(folder, height)
        shutil.rmtree(folder)


def test_what_was_not_written_yet_is_cut_too(tmp_path):
    for height in (98, 99, 100, 101, 102):
        with Archive.open(tmp_path / str(height), write=True) as archive:
            for raw in BLOCKS[:8]:
                archive.append(raw)
            archive.cut_after(height)
            assert numbers(archive.read(FIRST, height)) == list(range(FIRST, height + 1))
            for raw in others(height, 30):
                archive.append(raw)
        assert Archive.open(tmp_path / str(height)).last == height + 30


def test_the_same_archive_goes_on_without_being_opened_anew(tmp_path):
    with Archive.open(tmp_path, write=True) as archive:
        for raw in BLOCKS:
            archive.append(raw)
        for height in (200, 161, 160, 159, 121, 96):
            archive.cut_after(height)
            with pytest.raises(ArchiveError, match="does not follow"):
                archive.append(BLOCKS[height + 2 - FIRST])
            for raw in others(height, 10):
                archive.append(raw)
            archive.cut_after(height)
    assert_holds(tmp_path, TRUTH[:2])


def test_a_height_before_all_that_it_holds_leaves_an_empty_archive(tmp_path):
    for height in (0, 79, 80, 94):
        folder = filled(tmp_path / str(height))
        with Archive.open(folder, write=True) as archive:
            assert archive.cut_after(height)
            assert (archive.first, archive.last, files(folder)) == (None, None, [])
            archive.append(BLOCKS[20])
        assert Archive.open(folder).first == 115


def test_a_height_after_all_that_it_holds_changes_nothing(tmp_path):
    folder = filled(tmp_path)
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    with Archive.open(folder, write=True) as archive:
        assert not archive.cut_after(LAST) and not archive.cut_after(LAST + 1) and not archive.cut_after(10**9)
        assert archive.last == LAST
    assert {name: (folder / name).read_bytes() for name in files(folder)} == before


def test_an_empty_archive_can_be_cut(tmp_path):
    with Archive.open(tmp_path, write=True) as archive:
        assert not archive.cut_after(100)
        archive.append(BLOCKS[0])


@pytest.mark.parametrize("height", [130, 139, 140, 145, 159, 160])
def test_dead_blocks_behind_a_gap_never_come_back(tmp_path, height):
    folder = filled(tmp_path)
    (folder / "0000000120.seg").unlink()
    with Archive.open(folder, write=True) as archive:
        assert archive.cut_after(height) and archive.last == 119
    assert max(int(name[:10]) for name in files(folder)) <= height
    goes_on(folder, height)


def test_a_compacted_segment_can_be_cut(tmp_path):
    folder = filled(tmp_path, every=1)
    compact(folder)
    with Archive.open(folder, write=True) as archive:
        archive.cut_after(126)
    goes_on(folder, 126)


def test_a_reader_cannot_cut(tmp_path):
    folder = filled(tmp_path)
    with pytest.raises(ArchiveError, match="for reading only"):
        Archive.open(folder).cut_after(100)
    assert Archive.open(folder).last == LAST


def test_damage_before_the_cut_is_named_and_not_sealed_in(tmp_path):
    """The bytes that stay are held against their digests first; a file that is damaged is left as it is."""
    for at in (150, 700, 1_200):
        folder = filled(tmp_path / str(at))
        path = folder / "0000000120.seg"
        raw = bytearray(path.read_bytes())
        raw[at] ^= 1
        path.write_bytes(bytes(raw))
        archive = Archive.open(folder, write=True)
        try:
            archive.cut_after(131)
        except ArchiveError as error:
            assert "0000000120.seg is damaged" in str(error) and path.read_bytes() == bytes(raw)
        archive.close()
        with Archive.open(folder, write=True) as again:
            found = list(again.read(FIRST, again.last))
        assert found == TRUTH[: len(found)] and len(found) <= 131 - FIRST + 1


# -- the power goes


class Killed(BaseException):
    """The process is gone."""


class Dying(Disk):
    """Dies at the ``count``-th write: before it, in the middle, or after it."""

    def __init__(self, count, when):
        self.count, self.when = count, when

    def _at(self, act, half=lambda: None):
        self.count -= 1
        if self.count:
            return act()
        {"before": lambda: None, "middle": half, "after": act}[self.when]()
        raise Killed

    def append(self, path, data):
        self._at(lambda: DISK.append(path, data), lambda: DISK.append(path, data[: len(data) // 2]))

    def cut(self, path, size):
        self._at(lambda: DISK.cut(path, size))

    def remove(self, path):
        self._at(lambda: DISK.remove(path))


def killed(folder, height, count, when):
    """Whether the process died in the middle of a cut."""
    archive = Archive.open(folder, write=True)
    try:
        archive.cut_after(height, Dying(count, when))
    except Killed:
        return True
    finally:
        if archive._handle is not None:
            os.close(archive._handle)
        os.close(archive._lock)
    return False


@pytest.mark.parametrize("when", ["before", "middle", "after"])
@pytest.mark.parametrize("height", [96, 99, 100, 119, 121, 131, 140, 203, 213])
def test_wherever_the_power_goes_an_archive_is_left_that_can_be_cut_again_and_filled(tmp_path, when, height):
    whole = filled(tmp_path / "whole")
    for count in range(1, 20):
        folder = tmp_path / f"{count}"
        shutil.copytree(whole, folder)
        if not killed(folder, height, count, when):
            break
        found = Archive.open(folder)
        if found.last is not None:
            texts = list(found.read(FIRST, found.last))
            assert texts == TRUTH[: len(texts)], "a reader sees a whole beginning"
        with Archive.open(folder, write=True) as archive:
            assert archive.last is None or archive.last >= min(height, height // SEGMENT * SEGMENT - 1)
            texts = list(archive.read(FIRST, archive.last)) if archive.last is not None else []
            assert texts == TRUTH[: len(texts)]
            archive.cut_after(height)
            assert archive.last is None or archive.last <= height
        goes_on(folder, height)
    else:
        pytest.fail("it never came to an end")
    assert count > 1


@pytest.mark.parametrize("how", ["append", "cut", "remove"])
def test_a_disk_that_fails_is_told_of_and_leaves_an_archive(tmp_path, how):
    class Full(Disk):
        pass

    def fail(self, *arguments):
        raise OSError(28, "No space left on device")

    setattr(Full, how, fail)
    folder = filled(tmp_path)
    archive = Archive.open(folder, write=True)
    with pytest.raises(ArchiveError, match="No space left on device: see to the disk"):
        archive.cut_after(131, Full())
    archive.close()
    with Archive.open(folder, write=True) as again:
        found = list(again.read(FIRST, again.last))
        assert found == TRUTH[: len(found)] and len(found) >= 127 - FIRST + 1
        again.cut_after(131)
    goes_on(folder, 131)


def test_blocks_with_transactions_can_be_cut_through(tmp_path):
    from tests.node.feed.test_archive import HIVED

    raws = [msgspec.json.encode(block) for block in HIVED["block_api"]]
    folder = filled(tmp_path, raws)
    truth = list(Archive.open(folder).read(HIVED["first"], HIVED["last"]))
    with Archive.open(folder, write=True) as archive:
        archive.cut_after(HIVED["last"] - 3)
        for raw in raws[-3:]:
            archive.append(raw)
    assert list(Archive.open(folder).read(HIVED["first"], HIVED["last"])) == truth
