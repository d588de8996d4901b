"""The outbox: what was sent and has not been seen. Losing it is harmless, so nothing of it is ever in the way."""

import os

import pytest

from node.outbox import MAX_ENTRIES, Outbox


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.json"


def test_it_remembers_over_a_restart(path):
    box = Outbox(path)
    box.add("report:1000", 1_051)
    box.add("sign:1050:7:9:02ab", 1_052)
    assert Outbox(path).sent == box.sent == {"report:1000": 1_051, "sign:1050:7:9:02ab": 1_052}


def test_sent_again_counts_from_the_last_time(path):
    box = Outbox(path)
    box.add("report:1000", 1_051)
    box.add("report:1000", 1_072)
    assert Outbox(path).sent == {"report:1000": 1_072}


def test_what_is_gone_is_forgotten_on_disk_too(path):
    box = Outbox(path)
    box.add("report:1000", 1_051)
    box.add("broadcast:1050:7:9", 1_052)
    box.forget(lambda content, height: height < 1_052)
    assert Outbox(path).sent == {"broadcast:1050:7:9": 1_052}


def test_nothing_gone_nothing_written(path):
    box = Outbox(path)
    box.add("report:1000", 1_051)
    path.unlink()
    box.forget(lambda content, height: False)
    assert not path.exists()


def test_bounded_and_the_oldest_make_room(path):
    box = Outbox(path)
    for number in range(MAX_ENTRIES + 10):
        box.add(f"sign:{number}", number)
    box.add("sign:10", 10_000)  # sent again: now the newest
    box.add("one more", 10_001)
    assert len(box.sent) == MAX_ENTRIES
    assert "sign:10" in box.sent
    assert "sign:11" not in box.sent
    assert Outbox(path).sent == box.sent


def test_a_file_that_somebody_made_longer_is_cut(path):
    path.write_text("{" + ", ".join(f'"sign:{number}": {number}' for number in range(1_000)) + "}")
    assert list(Outbox(path).sent) == [f"sign:{number}" for number in range(1_000 - MAX_ENTRIES, 1_000)]


@pytest.mark.parametrize(
    "text", ["", "{", '{"report:1000": 10', "[]", "5", "null", '{"a": null}', '{"a": "b"}', '{"a": []}', "\0\0\0"]
)
def test_a_torn_file_is_an_empty_outbox(path, text):
    path.write_text(text)
    box = Outbox(path)
    assert box.sent == {}
    box.add("report:1000", 1_051)
    assert Outbox(path).sent == {"report:1000": 1_051}


def test_bytes_that_are_no_text_are_an_empty_outbox(path):
    path.write_bytes(b'{"\xff\xfe": 1}')
    assert Outbox(path).sent == {}


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_crash_while_writing_leaves_the_old_file_whole(path, monkeypatch, failing):
    box = Outbox(path)
    box.add("report:1000", 1_051)

    def crash(*args):
        raise OSError("the power is gone")

    monkeypatch.setattr(os, failing, crash)
    with pytest.raises(OSError, match="power"):
        box.add("report:1100", 1_151)
    monkeypatch.undo()
    assert Outbox(path).sent == {"report:1000": 1_051}


def test_what_it_hands_out_is_a_copy(path):
    box = Outbox(path)
    box.sent["report:1000"] = 1
    assert box.sent == {}


def test_without_a_path_it_stays_in_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    box = Outbox(None)
    box.add("report:1000", 1_051)
    box.forget(lambda content, height: True)
    assert box.sent == {}
    assert list(tmp_path.iterdir()) == []
