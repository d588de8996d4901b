"""A block_log after a crash, with other artifacts, or of a liar: its last whole block counts, nothing is believed."""

import contextlib
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import FeedError, UnprovableError
from node.history.log_index import Artifacts, Walked
from processors.hive.errors import HiveDataError
from tests.node.history.logs import (
    ARTIFACTS,
    LAST,
    LOG,
    PLAIN,
    RAW,
    STARTS,
    WORDS,
    artifacts_of,
    compressed,
    genuine_raws,
    index_of,
    log_of,
    log_of_packed,
    numbers,
    opened,
    packed,
    whole,
    word,
)
from tests.processors.blocks import BlockMaker, transfer

# -- artifacts: cross-checked, never trusted


BAD = {
    "empty": b"",
    "header only": ARTIFACTS[:56],
    "half a header": ARTIFACTS[:30],
    "one entry": ARTIFACTS[:80],
    "another version": artifacts_of(WORDS, minor=0),
    "interrupted": artifacts_of(WORDS, interrupted=5),
    "no blocks": artifacts_of(WORDS, head=0),
    "all at the beginning": artifacts_of([WORDS[0]] * LAST),
    "backwards": artifacts_of(WORDS[::-1]),
    "out of the file": artifacts_of([*WORDS[:5], *(word((1 << 48) - 1 - n, 0) for n in range(LAST - 5))]),
    "moved by one": artifacts_of([*WORDS[:1], *WORDS[2:], WORDS[-1] + 1]),
    "moved by a byte": artifacts_of([*WORDS[:2], *(one + 1 for one in WORDS[2:-1]), WORDS[-1]]),
    "other flags": artifacts_of([*WORDS[:9], *(one & ~(1 << 63) for one in WORDS[9:-1]), WORDS[-1]]),
    "another dictionary": artifacts_of([*WORDS[:9], *(one | 7 << 48 for one in WORDS[9:-1]), WORDS[-1]]),
    "two in one": artifacts_of([*WORDS[:20], WORDS[19], *WORDS[21:]]),
    "noise": bytes(range(256)) * 30,
}


@pytest.mark.parametrize("name", BAD)
def test_artifacts_that_mislead_change_nothing(tmp_path, name):
    with opened(tmp_path, LOG, BAD[name]) as log:
        assert whole(log)
        assert index_of(log) is Walked
        assert numbers(log, 200, 210) == list(range(200, 211))


@pytest.mark.parametrize("known", [2, 3, 100, LAST - 1])
def test_artifacts_that_are_older_or_cut(tmp_path, known):
    for artifacts in (artifacts_of(WORDS[:known]), ARTIFACTS[: 56 + 24 * known + 5], artifacts_of(WORDS, head=known)):
        with opened(tmp_path, LOG, artifacts) as log:
            assert index_of(log) is Artifacts
            assert whole(log)
            assert numbers(log, known, known + 1) == [known, known + 1]


@pytest.mark.parametrize("count", [2, 3, 100, LAST - 1])
def test_artifacts_that_are_newer_than_the_log(tmp_path, count):
    with opened(tmp_path, LOG[: STARTS[count]], ARTIFACTS) as log:
        assert index_of(log) is Artifacts
        assert whole(log, count)


def test_artifacts_of_another_log(tmp_path):
    maker = BlockMaker(1)
    other, words = log_of([packed(maker.next_block(transfer("alice", "bobby", n + 1))) for n in range(LAST)])
    assert other != LOG
    with opened(tmp_path, LOG, artifacts_of(words)) as log:
        assert whole(log)


@given(st.integers(56, len(ARTIFACTS) - 1), st.binary(min_size=1, max_size=60))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_artifacts_with_other_bytes(tmp_path_factory, at, instead):
    folder = tmp_path_factory.mktemp("artifacts")
    with opened(folder, LOG, ARTIFACTS[:at] + instead + ARTIFACTS[at + len(instead) :]) as log:
        assert numbers(log) == list(range(1, LAST + 1))


# -- torn ends


@pytest.mark.parametrize("artifacts", [None, ARTIFACTS], ids=["walked", "artifacts"])
def test_torn_at_every_byte_of_the_last_entries(tmp_path, artifacts):
    for count in (LAST, LAST - 1, 240):
        end = STARTS[count] if count < LAST else len(LOG)
        for size in range(STARTS[count - 1], end):
            with opened(tmp_path, LOG[:size], artifacts) as log:
                assert log.span() == (1, count - 1)
                assert numbers(log, count - 2) == [count - 2, count - 1]


def test_torn_in_the_first_entries(tmp_path):
    for size in range(STARTS[3]):
        with opened(tmp_path, LOG[:size]) as log:
            count = sum(start <= size for start in STARTS[1:])
            assert log.span() == ((1, count) if count else None)
            assert numbers(log) == list(range(1, count + 1))


def test_other_bytes_behind_the_end(tmp_path):
    for after in (
        b"\1",
        bytes(9),
        bytes(3000),
        bytes(1 << 20),
        os.urandom(5000),
        LOG[:999],
        WORDS[-1].to_bytes(8, "little"),
    ):
        with opened(tmp_path, LOG + after) as log:
            assert whole(log)


@pytest.mark.parametrize("how", [RAW, PLAIN, 0])
def test_torn_at_every_byte_however_it_is_packed(tmp_path, how):
    log, words = log_of(genuine_raws()[:12], how)
    starts = [one & (1 << 48) - 1 for one in words]
    for size in range(starts[9], len(log)):
        torn = log[:size] + bytes(size % 3 * 200)  # zeros may be just what was missing
        with opened(tmp_path, torn) as found:
            assert found.span() == (1, sum(torn.startswith(log[:end]) for end in [*starts[1:], len(log)]))


def test_a_last_block_that_is_not_what_it_was(tmp_path):
    for at in range(STARTS[-1], len(LOG)):
        with opened(tmp_path, LOG[:at] + bytes([LOG[at] ^ 0x40]) + LOG[at + 1 :]) as log:
            first, last = log.span()
            assert (first, last) == (1, LAST - 1) or last == LAST  # a signature's bit breaks no link of this log
            assert numbers(log)[-1] == last


def test_it_is_read_as_it_was_when_it_was_opened(tmp_path):
    with opened(tmp_path, LOG[: STARTS[100]]) as log:
        with (tmp_path / "block_log").open("ab") as file:
            file.write(LOG[STARTS[100] :])
        assert whole(log, 100)
    with opened(tmp_path) as log:
        assert whole(log)
        os.truncate(tmp_path / "block_log", 1000)
        with pytest.raises(FeedError, match="damaged"):
            numbers(log)


# -- damage and lies


def test_damage_in_the_middle_names_the_block(tmp_path):
    at = STARTS[120] - 3  # a word
    with pytest.raises(FeedError, match=r"block_log is damaged: .* block_log_util"):
        opened(tmp_path, LOG[:at] + b"\xff" + LOG[at + 1 :])
    at = STARTS[120] + 30
    with opened(tmp_path, LOG[:at] + bytes([LOG[at] ^ 0xFF]) + LOG[at + 1 :]) as log:
        with pytest.raises(FeedError, match="block"):
            [block.prove() for block in log.blocks(1, LAST)]
        assert numbers(log, 130, 140) == list(range(130, 141))


def test_blocks_that_do_not_follow(tmp_path):
    raws = genuine_raws()[:20]
    maker = BlockMaker(11)
    log, _ = log_of([*raws[:10], *(packed(maker.next_block()) for _ in range(5))])
    with opened(tmp_path, log) as found:
        assert numbers(found, 1, 10) and numbers(found, 11, 15)
        with pytest.raises(FeedError, match=r"block 11 follows .*: name a block_log"):
            numbers(found)


def test_numbers_with_a_gap(tmp_path):
    raws = genuine_raws()
    log, words = log_of([*raws[:5], *raws[7:20]])
    for artifacts in (b"", artifacts_of(words), artifacts_of(words, head=20)):
        with opened(tmp_path, log, artifacts) as found, pytest.raises(FeedError, match="damaged"):
            numbers(found)


def test_offsets_in_a_circle_end(tmp_path):
    """A word that names its own place, a later one, or an earlier one than its block: refused, nothing is repeated."""
    begun = time.perf_counter()
    for position in (STARTS[100] + 1, STARTS[101], STARTS[102], len(LOG), STARTS[90], (1 << 48) - 1):
        at = STARTS[101] - 8
        bent = LOG[:at] + word(position, 0).to_bytes(8, "little") + LOG[at + 8 :]
        for artifacts in (b"", ARTIFACTS):
            with pytest.raises(FeedError, match="damaged"), opened(tmp_path, bent, artifacts) as log:
                numbers(log)
    assert time.perf_counter() - begun < 10


def test_a_header_of_a_later_hived(tmp_path):
    raws = genuine_raws()[:20]
    at = 24 + 10 + 20  # the extensions of initminer's header
    assert raws[9][at] == 0
    log, _ = log_of([*raws[:9], raws[9][:at] + b"\x01\x07" + raws[9][at + 1 :], *raws[10:]])
    with opened(tmp_path, log) as found:
        assert numbers(found, 1, 9)
        with pytest.raises(UnprovableError, match=r"block 10: no such alternative: 7: a newer version is needed"):
            numbers(found)


def test_more_words_than_the_head_has_blocks(tmp_path):
    """The memory of a walk is bounded by the number of the last block."""
    junk = [(b"x" * 9, RAW)] * 5000
    log, _ = log_of_packed(junk + [(compressed(raw, 0), 0) for raw in genuine_raws()[:3]])
    with pytest.raises(FeedError, match="damaged"), opened(tmp_path, log) as found:
        numbers(found)


def test_a_file_of_something_else(tmp_path):
    for data in (bytes(3 << 20), os.urandom(1 << 20) * 3, b"\x00\x81" * (2 << 20)):
        begun = time.perf_counter()
        with pytest.raises(FeedError, match="no whole block ends in its last"):
            opened(tmp_path, data)
        assert time.perf_counter() - begun < 60
    with opened(tmp_path, ARTIFACTS) as log:
        assert log.span() is None
        with pytest.raises(FeedError, match="no whole block"):
            list(log.blocks(1, 1))


@given(st.integers(0, len(LOG) - 1), st.binary(min_size=1, max_size=60), st.integers(0, 60), st.booleans())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_other_bytes_at_any_place(tmp_path_factory, at, instead, gone, indexed):
    folder = tmp_path_factory.mktemp("log")
    with (
        contextlib.suppress(FeedError, HiveDataError),
        opened(folder, LOG[:at] + instead + LOG[at + gone :], ARTIFACTS if indexed else None) as log,
    ):
        for block in log.blocks(*(log.span() or (1, 1))):
            block.prove()
