"""Saved blocks brought into an archive: in any form and order, each proven; what is false or missing is named."""

import gzip
import json
import tracemalloc

import pytest
import zstandard

from node.errors import FeedError, NodeError
from node.feed.archive import Archive
from node.history import importing, saved
from node.history.importing import Asked, Importer, block_log, sources_of
from node.history.saved import texts_of
from node.history.verifying import Asked as Question
from node.history.verifying import verify
from processors.hive.block import read_block
from processors.hive.keys import public_key_to_text
from tests.node.history.logs import ARTIFACTS, LOG, VECTORS
from tests.node.history.logs import LAST as LOG_LAST
from tests.node.history.logs import opened as log_opened
from tests.vectors import MAINNET_2016, hived_blocks, hived_chain, mainnet_blocks

FIRST = 1_000_000
BLOCKS = mainnet_blocks()
LAST = FIRST + len(BLOCKS) - 1


def jsonl(blocks):
    return b"".join(json.dumps(block).encode() + b"\n" for block in blocks)


def result(blocks):
    return json.dumps({"jsonrpc": "2.0", "result": {"blocks": blocks}, "id": 1}).encode()


FORMS = {
    "answer": result,
    "pretty": lambda blocks: json.dumps({"result": {"blocks": blocks}}, indent=2).encode(),
    "blocks": lambda blocks: json.dumps({"blocks": blocks}).encode(),
    "list": lambda blocks: json.dumps(blocks).encode(),
    "list of lines": lambda blocks: b"[\n" + b",\n".join(json.dumps(block).encode() for block in blocks) + b"\n]\n",
    "jsonl": jsonl,
    "windows": lambda blocks: jsonl(blocks).replace(b"\n", b"\r\n") + b"\r\n\r\n",
    "answers on lines": lambda blocks: b"\n\n" + result(blocks[:3]) + b"\n" + result(blocks[3:]),
    "get_block": lambda blocks: b"\n".join(json.dumps({"result": {"block": block}}).encode() for block in blocks),
    "condenser": lambda blocks: b"\n".join(json.dumps({"id": 1, "result": block}).encode() for block in blocks),
    "gzip": lambda blocks: gzip.compress(jsonl(blocks)),
    "zstd": lambda blocks: zstandard.compress(jsonl(blocks)),
    "zstd in frames": lambda blocks: zstandard.compress(jsonl(blocks[:2])) + zstandard.compress(jsonl(blocks[2:])),
}


def imported(folder, *paths, chain=MAINNET_2016, jobs=1, stop=lambda: False, **asked):
    with Archive.open(folder, write=True) as archive:
        found = Asked(chain, jobs=jobs, **asked)
        return Importer(archive, found, lambda done: None, stop).take(sources_of(paths, chain))


def ids(folder):
    archive = Archive.open(folder)
    return [read_block(text, MAINNET_2016).id.hex() for text in archive.read(archive.first, archive.last)]


def file(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return path


# -- forms


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_blocks(tmp_path, form):
    path = file(tmp_path, "saved", FORMS[form](BLOCKS[:40]))
    found = imported(tmp_path / "archive", path)
    assert (found.first, found.last, found.new, found.skipped) == (FIRST, FIRST + 39, 40, 0)
    assert ids(tmp_path / "archive") == [block["block_id"] for block in BLOCKS[:40]]


def test_a_segment_of_an_archive_is_such_a_file_itself(tmp_path):
    imported(tmp_path / "one", file(tmp_path, "saved", jsonl(BLOCKS[:300])))
    [segment] = (tmp_path / "one").glob("*.seg")
    imported(tmp_path / "two", segment)
    assert ids(tmp_path / "two") == ids(tmp_path / "one")


def test_all_genuine_blocks_are_imported_and_verified_with_the_keys_that_the_server_named(tmp_path):
    path = file(tmp_path, "saved.json", json.dumps({"blocks": BLOCKS}).encode())
    assert imported(tmp_path / "archive", path).new == len(BLOCKS)
    found = verify(Question(tmp_path / "archive", MAINNET_2016), lambda done: None)
    assert found.good and (found.first, found.last) == (FIRST, LAST)
    named = {block["witness"]: block["signing_key"] for block in BLOCKS}
    assert {name: public_key_to_text(key, "STM") for name, (key, _) in found.keys.items()} == named
    assert sum(count for _, count in found.keys.values()) == len(BLOCKS)


def test_files_in_any_order_that_overlap(tmp_path):
    pieces = [BLOCKS[200:300], BLOCKS[:120], BLOCKS[100:210]]
    paths = [file(tmp_path, f"{index}.jsonl", jsonl(piece)) for index, piece in enumerate(pieces)]
    found = imported(tmp_path / "archive", *paths)
    assert (found.first, found.last, found.new, found.skipped) == (FIRST, FIRST + 299, 300, 30)


def test_more_is_added_later_and_what_is_there_is_skipped(tmp_path):
    path = file(tmp_path, "saved", jsonl(BLOCKS[:300]))
    imported(tmp_path / "archive", file(tmp_path, "begin", jsonl(BLOCKS[:100])))
    found = imported(tmp_path / "archive", path)
    assert (found.new, found.skipped) == (200, 100)
    assert imported(tmp_path / "archive", path).new == 0


def test_only_what_is_asked_for(tmp_path):
    path = file(tmp_path, "saved", jsonl(BLOCKS[:300]))
    found = imported(tmp_path / "archive", path, first=FIRST + 10, last=FIRST + 19)
    assert (found.first, found.last, found.new, found.skipped) == (FIRST + 10, FIRST + 19, 10, 290)


def test_other_processes_prove_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(importing, "_SHARE", 64)
    bad = json.loads(json.dumps(BLOCKS[:600]))
    path = file(tmp_path, "saved", jsonl(bad))
    assert imported(tmp_path / "archive", path, jobs=2).new == 600
    index = with_transactions(bad, 500)
    changed(bad[index])
    with pytest.raises(FeedError, match=f"block {FIRST + index} is refused"):
        imported(tmp_path / "other", file(tmp_path, "bad", jsonl(bad)), jobs=2)
    assert Archive.open(tmp_path / "other").last == FIRST + index - 1


def test_ctrl_c_keeps_what_came(tmp_path, monkeypatch):
    monkeypatch.setattr(importing, "_SHARE", 10)
    turns = iter([False, False, True])
    path = file(tmp_path, "saved", jsonl(BLOCKS[:300]))
    found = imported(tmp_path / "archive", path, stop=lambda: next(turns))
    assert found.stopped and found.last == FIRST + 29
    assert imported(tmp_path / "archive", path).new == 270


# -- what is not taken


def changed(block):
    """A vote for somebody else."""
    block["transactions"] = []
    block["transaction_ids"] = []
    return block


def with_transactions(blocks, after=3):
    return next(index for index, block in enumerate(blocks) if index > after and block["transactions"])


def test_a_block_with_other_transactions_is_named_and_those_before_are_kept(tmp_path):
    bad = json.loads(json.dumps(BLOCKS[:100]))
    index = with_transactions(bad)
    changed(bad[index])
    with pytest.raises(FeedError, match=f"block {FIRST + index} is refused: .*transactions hash to.* another copy"):
        imported(tmp_path / "archive", file(tmp_path, "bad", jsonl(bad)))
    assert ids(tmp_path / "archive") == [block["block_id"] for block in BLOCKS[:index]]


@pytest.mark.parametrize("field", ["timestamp", "witness_signature", "transaction_merkle_root", "previous"])
def test_a_block_with_another_header_is_not_taken(tmp_path, field):
    bad = json.loads(json.dumps(BLOCKS[:20]))
    letter = {"timestamp": -1, "previous": -1}.get(field, 9)
    text = list(bad[10][field])
    text[letter] = "1" if text[letter] != "1" else "2"
    bad[10][field] = "".join(text)
    for block in bad:
        del block["block_id"]
    with pytest.raises(FeedError, match=f"block {FIRST + 10}|block {FIRST + 11}"):
        imported(tmp_path / "archive", file(tmp_path, "bad", jsonl(bad)))
    assert Archive.open(tmp_path / "archive").last in (FIRST + 9, FIRST + 10)


def test_a_gap_between_files_is_named(tmp_path):
    one, two = (file(tmp_path, name, jsonl(piece)) for name, piece in (("a", BLOCKS[:10]), ("b", BLOCKS[15:20])))
    with pytest.raises(FeedError, match=f"blocks {FIRST + 10} to {FIRST + 14} are missing before .*/b: name a file"):
        imported(tmp_path / "archive", two, one)
    assert Archive.open(tmp_path / "archive").last == FIRST + 9


def test_blocks_of_another_chain_do_not_follow(tmp_path):
    imported(tmp_path / "archive", file(tmp_path, "saved", jsonl(BLOCKS[:10])))
    other = json.loads(json.dumps(BLOCKS[10:12]))
    other[0]["previous"] = other[0]["previous"][:8] + "77" * 16
    del other[0]["block_id"]
    with pytest.raises(FeedError, match=r"does not follow ours .*which the archive ends with: one of the two"):
        imported(tmp_path / "archive", file(tmp_path, "other", jsonl(other[:1])))


def test_an_operation_that_cannot_be_proven_is_left_to_fetch(tmp_path):
    bad = json.loads(json.dumps(BLOCKS[:20]))
    index = with_transactions(bad)
    bad[index]["transactions"][0]["operations"][0] = ["colonize_mars", {"ship": "x"}]
    with pytest.raises(FeedError, match=r"newer version is needed.*waggle archive fetch"):
        imported(tmp_path / "archive", file(tmp_path, "bad", jsonl(bad)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "holds no block: leave it out"),
        (b"\n \n", "holds no block"),
        (b"[]", "holds no block"),
        (b'{"result": {"blocks": []}}', "holds no block"),
        (b"hello", "neither blocks nor"),
        (b"{}", "neither blocks nor"),
        (b"5\n", "neither blocks nor"),
        (b'{"result": null}', "neither blocks nor"),
        (b'{"error": {"code": -32000, "message": "no such method"}}', "answer is an error .*no such method"),
        (b'{"result":' * 10 + b"{}" + b"}" * 10, "neither blocks nor"),
        (b"[" * 100_000, "neither blocks nor"),
        (b'[{"previous": "00"}]', "is no block"),
        (b"[5]", "is no block"),
        (b"\xff\xfe\x00", "neither blocks nor"),
        (b"\x1f\x8b\x08\x00damaged", "cannot be unpacked"),
        (gzip.compress(jsonl(BLOCKS[:50]))[:-600], "cannot be unpacked"),
        (b"\x28\xb5\x2f\xfd damaged", "cannot be unpacked"),
    ],
)
def test_what_holds_no_blocks_says_so(tmp_path, data, words):
    with pytest.raises(FeedError, match=words):
        imported(tmp_path / "archive", file(tmp_path, "odd", data))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FeedError, match=r"name a file that this user may read"):
        imported(tmp_path / "archive", tmp_path / "nothing")
    with pytest.raises(NodeError):
        imported(tmp_path / "archive", tmp_path)


# -- memory


def test_a_document_is_bounded_and_lines_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(saved, "MAX_DOCUMENT", 20_000)
    path = file(tmp_path, "large.json", result(BLOCKS[:100]))
    for data in (path.read_bytes(), FORMS["pretty"](BLOCKS[:100]), zstandard.compress(path.read_bytes())):
        with pytest.raises(FeedError, match=r"one document: write one block on each line \(jq -c"):
            imported(tmp_path / "archive", file(tmp_path, "large", data))
    assert imported(tmp_path / "archive", file(tmp_path, "lines", jsonl(BLOCKS[:100]))).new == 100


def test_a_bomb_takes_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(saved, "MAX_DOCUMENT", 1 << 20)
    bombs = [zstandard.compress(bytes(1 << 28)), gzip.compress(bytes(1 << 26))]
    tracemalloc.start()
    try:
        for bomb in bombs:
            with pytest.raises(FeedError, match="MiB in one document"):
                list(texts_of(file(tmp_path, "bomb", bomb)))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_long_file_of_lines_is_not_held_whole(tmp_path):
    data = jsonl(BLOCKS)
    path = file(tmp_path, "long.zst", zstandard.compress(data * 60))
    tracemalloc.start()
    try:
        count = sum(1 for _ in texts_of(path))
        assert count == 60 * len(BLOCKS) and tracemalloc.get_traced_memory()[1] < 8 << 20 < len(data) * 60
    finally:
        tracemalloc.stop()


# -- hived's block_log


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_genuine_block_log(tmp_path, jobs):
    chain = hived_chain()
    (tmp_path / "log").mkdir()
    log_opened(tmp_path / "log", LOG, ARTIFACTS).close()
    asked = Asked(chain, last=LOG_LAST - 1, jobs=jobs)
    for begin, end in ((1, LOG_LAST - 1), (LOG_LAST, LOG_LAST)):
        with Archive.open(tmp_path / "archive", write=True) as archive:
            with block_log(tmp_path / "log", chain, VECTORS, asked) as (source, total):
                found = Importer(archive, asked, lambda done: None, lambda: False).take([source])
            assert (total, found.new, found.last) == (end - begin + 1, end - begin + 1, end)
        asked = Asked(chain, first=LOG_LAST, jobs=jobs)
    checked = verify(Question(tmp_path / "archive", chain), lambda done: None)
    assert checked.good and (checked.first, checked.last) == (1, LOG_LAST)
    first, last = hived_blocks()["first"], hived_blocks()["last"]
    texts = Archive.open(tmp_path / "archive").read(first, last)
    assert [read_block(text, chain).id.hex() for text in texts] == [
        block["block_id"] for block in hived_blocks()["block_api"]
    ]
