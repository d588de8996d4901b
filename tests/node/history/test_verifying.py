"""An archive verified: whatever byte is changed, whatever block is made up, it is not good, and it is named which."""

import json
import shutil
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import NodeError
from node.feed import archive as archives
from node.feed import compact as compacting
from node.feed import cutting, segment
from node.feed.archive import Archive
from node.feed.segment import HEADER_BYTES, frames_of, opened, pack_frame, texts_of
from node.history import verifying
from node.history.verifying import Asked, remedy, verify
from processors.hive.block import read_block, witness_digest
from processors.hive.chain import MAINNET
from processors.hive.crypto import public_key, sign
from processors.hive.keys import public_key_to_text
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction, show_transaction
from processors.hive.types import Asset

SEGMENT = 20
WITNESSES = ("anna", "bert", "cleo", "dora")
FIRST = 95


def secret(words):
    return sha256(b"witness " + words.encode()).digest()


def public(words):
    return public_key(secret(words))


def updating(name, words):
    """A witness takes another key, named by ``words``."""
    value = {
        "owner": name,
        "url": "x",
        "block_signing_key": public(words),
        "props": {"account_creation_fee": Asset(3000, 0), "maximum_block_size": 65536, "hbd_interest_rate": 0},
        "fee": Asset(0, 0),
    }
    return Transaction(1, 2, 1_767_229_200, (Operation("witness_update", value),), signatures=(b"\x1f" + bytes(64),))


def made(count=120, *, signers=None, transactions=None):
    """Linked, signed blocks from FIRST on; ``signers``: number -> whose key signs (None: none does), and likewise
    ``transactions``.
    """
    found, previous = [], (FIRST - 1).to_bytes(4, "big") + b"\xab" * 16
    for number in range(FIRST, FIRST + count):
        witness = WITNESSES[number % len(WITNESSES)]
        raw = {
            "previous": previous.hex(),
            "timestamp": "2026-01-01T00:00:00",
            "witness": witness,
            "transaction_merkle_root": "00" * 20,
            "extensions": [],
            "witness_signature": "1f" + "01" * 64,
            "transactions": [show_transaction(tx, MAINNET, typed=True) for tx in (transactions or {}).get(number, ())],
        }
        raw["transaction_merkle_root"] = read_block(msgspec.json.encode(raw), MAINNET).merkle_root().hex()
        header = read_block(msgspec.json.encode(raw), MAINNET).header
        signer = (signers or {}).get(number, witness)
        signature = sign(secret(signer), witness_digest(header)) if signer else b"\x1f" + b"\xff" * 64
        raw["witness_signature"] = signature.hex()
        text = msgspec.json.encode(raw)
        previous = read_block(text, MAINNET).id
        found.append(text)
    return found


BLOCKS = made()
LAST = FIRST + len(BLOCKS) - 1


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Segments of 20 blocks, frames of 8."""
    for module in (segment, archives, compacting, cutting, verifying):
        monkeypatch.setattr(module, "SEGMENT_BLOCKS", SEGMENT)
    for module in (archives, compacting):
        monkeypatch.setattr(module, "FRAME_BLOCKS", 8)
    monkeypatch.setattr(verifying, "_AGAIN", 0.0)


def filled(folder, blocks=BLOCKS):
    with Archive.open(folder, write=True) as archive:
        for text in blocks:
            archive.append(text)
    return folder


def verified(folder, **asked):
    return verify(Asked(folder, MAINNET, **asked), lambda done: None)


def kinds(found):
    return [(bad.number, bad.kind) for bad in found.bad]


def files(folder):
    return sorted(folder.glob("*.seg"))


# -- what is good


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_good_archive_is_good(tmp_path, monkeypatch, quick, jobs):
    monkeypatch.setattr(verifying, "_FEW", 0)
    told = []
    found = verify(Asked(filled(tmp_path), MAINNET, quick=quick, jobs=jobs), told.append)
    assert found.good and (found.first, found.last, found.blocks) == (FIRST, LAST, len(BLOCKS))
    assert told == sorted(told) and told[-1] == len(BLOCKS)
    assert found.keys == ({} if quick else {name: (public(name), 30) for name in WITNESSES})


@pytest.mark.parametrize(("first", "last"), [(None, None), (100, None), (None, 150), (103, 103), (99, 161), (120, 139)])
def test_a_part_of_it(tmp_path, first, last):
    found = verified(filled(tmp_path), first=first, last=last)
    assert found.good and (found.first, found.last) == (first or FIRST, last or LAST)
    assert sum(count for _, count in found.keys.values()) == found.blocks


@pytest.mark.parametrize(("first", "last"), [(94, None), (None, 215), (120, 119), (300, 301)])
def test_what_is_not_there_cannot_be_verified(tmp_path, first, last):
    with pytest.raises(NodeError, match=f"holds the blocks {FIRST} to {LAST}, not"):
        verified(filled(tmp_path), first=first, last=last)


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.mkdir()])
def test_nothing_is_not_good(tmp_path, make):
    make(tmp_path / "archive")
    with pytest.raises(NodeError, match="holds no whole block: fill it with"):
        verified(tmp_path / "archive")


def test_ctrl_c_ends_it_with_how_far_it_came(tmp_path, monkeypatch):
    monkeypatch.setattr(verifying, "_SHARE", 8)
    turns = iter([False, True])
    found = verify(Asked(filled(tmp_path), MAINNET), lambda done: None, lambda: next(turns))
    assert found.stopped and found.good and found.last < LAST


def test_the_end_that_a_node_is_writing_is_looked_at_again(tmp_path, monkeypatch):
    """A frame is seen half written; a moment later it is whole."""
    [*_, newest] = files(filled(tmp_path))
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-5])
    monkeypatch.setattr(verifying.time, "sleep", lambda seconds: newest.write_bytes(whole))
    assert verified(tmp_path).good


# -- damage


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_whatever_byte_is_changed_it_is_not_good(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    filled(folder)
    path = data.draw(st.sampled_from(files(folder)))
    raw = bytearray(path.read_bytes())
    place = data.draw(st.one_of(st.integers(0, len(raw) - 1), st.integers(0, HEADER_BYTES - 1)))
    raw[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    found = verified(folder, quick=data.draw(st.booleans()))
    start = int(path.stem)
    assert not found.good
    assert start <= found.bad[0].number < start + SEGMENT and str(path) in found.bad[0].file
    shutil.rmtree(folder)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_wherever_a_file_is_cut_or_grows_it_is_not_good(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cut")
    filled(folder)
    path = data.draw(st.sampled_from(files(folder)[:-1]))
    raw = path.read_bytes()
    cut = data.draw(st.one_of(st.integers(0, len(raw) - 1), st.binary(min_size=1, max_size=40)))
    path.write_bytes(raw[:cut] if isinstance(cut, int) else raw + cut)
    assert not verified(folder).good
    shutil.rmtree(folder)


def test_what_was_found_damaged_is_mended_as_it_is_said(tmp_path):
    folder = filled(tmp_path / "archive")
    first, second, *_, newest = files(folder)
    for path in (second, newest):
        raw = bytearray(path.read_bytes())
        raw[HEADER_BYTES + 40] ^= 1
        path.write_bytes(raw)
    found = verified(folder)
    assert kinds(found) == [(100, "damaged"), (200, "damaged")]
    assert f"delete {second}, then `waggle archive fetch --archive {folder}`" in remedy(folder, found.bad[0])
    assert "cuts it off and fetches it anew" in remedy(folder, found.bad[1])
    kept = first.read_bytes()
    first.write_bytes(kept[:-1])
    assert "into another folder" in remedy(folder, verified(folder).bad[0])
    first.write_bytes(kept)
    second.unlink()
    found = verified(folder)
    assert kinds(found) == [(100, "missing"), (200, "damaged")] and "100 to 119 are not" in found.bad[0].words
    assert "fetches what is missing" in remedy(folder, found.bad[0])


def test_the_first_file_without_a_whole_frame_is_not_passed_over(tmp_path):
    filled(tmp_path)
    raw = bytearray(files(tmp_path)[0].read_bytes())
    raw[9] ^= 1
    files(tmp_path)[0].write_bytes(raw)
    assert kinds(verified(tmp_path))[0] == (80, "damaged")


def test_a_file_under_another_name(tmp_path):
    filled(tmp_path)
    second, third = files(tmp_path)[1:3]
    third.write_bytes(second.read_bytes())
    found = verified(tmp_path)
    assert kinds(found)[0] == (120, "damaged") and "belong elsewhere" in found.bad[0].words


# -- blocks that are made up, in frames that are whole


def rewritten(folder, number, change):
    """The archive after somebody changed the text of a block, and made frame and digests anew."""
    path = segment.segment_path(folder, number)
    with opened(path) as handle:
        frames = [(frame, texts_of(handle, frame, "")) for frame in frames_of(handle)]
    out = b""
    for frame, texts in frames:
        if frame.first <= number <= frame.last:
            block = json.loads(texts[number - frame.first])
            change(block)
            texts[number - frame.first] = msgspec.json.encode(block)
        out += pack_frame(frame.first, texts, frame.previous, frame.last_id)
    path.write_bytes(out)


def emptied(block):
    block["transactions"] = []


WITH_UPDATES = {107: (updating("bert", "second"),)}


@pytest.mark.parametrize("number", [107, 106, 119, 120])
def test_other_transactions_are_found_unless_it_is_quick(tmp_path, number):
    folder = filled(tmp_path, made(transactions={number: (updating("nobody", "x"),)}))
    rewritten(folder, number, emptied)
    found = verified(folder)
    assert kinds(found) == [(number, "unproven")] and "hash to" in found.bad[0].words
    assert verified(folder, quick=True).good


@pytest.mark.parametrize("number", [95, 101, 107, 119, 120, 214])
def test_another_header_breaks_the_chain(tmp_path, number):
    folder = filled(tmp_path)
    rewritten(folder, number, lambda block: block.update(timestamp="2026-01-01T00:00:03"))
    for quick in (False, True):
        found = verified(folder, quick=quick)
        assert found.bad[0].number in (number, number + 1)
        assert found.bad[0].kind in ("not_linked", "damaged", "witness_key")


@pytest.mark.parametrize("text", [{"x": 1}, {"previous": "00" * 20, "timestamp": 5}])
def test_what_is_no_block_is_named(tmp_path, text):
    folder = filled(tmp_path)

    def change(block):
        block.clear()
        block.update(text)

    rewritten(folder, 110, change)
    assert kinds(verified(folder))[0] == (110, "unproven")


def test_an_unknown_operation_is_not_called_good(tmp_path):
    folder = filled(tmp_path, made(transactions=WITH_UPDATES))

    def change(block):
        block["transactions"][0]["operations"][0] = {"type": "colonize_mars_operation", "value": {}}

    rewritten(folder, 107, change)
    found = verified(folder)
    assert kinds(found) == [(107, "not_serialised")] and "newer version" in remedy(folder, found.bad[0])


@pytest.mark.parametrize("what", ["no expiration", "operations no list", "negative", "a field less"])
def test_what_no_version_could_read_is_to_be_fetched_again(tmp_path, what):
    def change(block):
        first = block["transactions"][0]
        if what == "no expiration":
            del first["expiration"]
        elif what == "operations no list":
            first["operations"] = {}
        elif what == "negative":
            first["ref_block_num"] = -1
        else:
            [operation] = first["operations"]
            del operation["value"][next(iter(operation["value"]))]

    folder = filled(tmp_path, made(transactions=WITH_UPDATES))
    rewritten(folder, 107, change)
    found = verified(folder)
    assert kinds(found)[0] == (107, "unproven") and "newer version" not in remedy(folder, found.bad[0])


# -- witnesses


@pytest.mark.parametrize("number", [99, 107, 119, 120, 150, LAST])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_forged_signature_is_found_though_everything_follows_from_it(tmp_path, monkeypatch, number, jobs):
    """Ids, links and Merkle roots fit together: only the witness's key tells."""
    monkeypatch.setattr(verifying, "_FEW", 0)
    folder = filled(tmp_path, made(signers={number: "a forger"}))
    found = verified(folder, jobs=jobs)
    assert kinds(found) == [(number, "witness_key")]
    assert f"{WITNESSES[number % 4]} signed with {public('a forger').hex()}" in found.bad[0].words
    assert verified(folder, quick=True).good


def bert_since(first, words):
    return {number: words for number in range(first, FIRST + 120) if WITNESSES[number % 4] == "bert"}


def test_a_witness_may_change_its_key_by_its_own_operation_alone(tmp_path):
    signers = bert_since(108, "second")
    assert verified(filled(tmp_path / "good", made(transactions=WITH_UPDATES, signers=signers))).good
    found = verified(filled(tmp_path / "none", made(signers=signers)))
    assert kinds(found)[0] == (109, "witness_key") and found.bad_count == 27 and len(found.bad) == verifying.KEPT
    other = {107: (updating("cleo", "second"),)}
    assert (109, "witness_key") in kinds(
        verified(filled(tmp_path / "other", made(transactions=other, signers=signers)))
    )


def test_the_old_key_does_not_count_any_more(tmp_path):
    signers = {**bert_since(108, "second"), 133: "bert"}
    found = verified(filled(tmp_path, made(transactions=WITH_UPDATES, signers=signers)))
    assert kinds(found) == [(133, "witness_key")]


def test_keys_are_told(tmp_path):
    found = verified(filled(tmp_path, made(transactions=WITH_UPDATES, signers=bert_since(108, "second"))))
    assert found.keys["bert"] == (public("second"), 30)
    assert public_key_to_text(found.keys["anna"][0], "STM").startswith("STM")


def test_a_signature_that_recovers_to_no_key_is_bad_and_what_its_block_changes_still_counts(tmp_path):
    """The first block of a witness too, who has no key yet."""
    signers = {**bert_since(108, "second"), 96: None, 107: None}
    found = verified(filled(tmp_path, made(transactions=WITH_UPDATES, signers=signers)))
    assert kinds(found) == [(96, "witness_key"), (107, "witness_key")]
    assert "recovers to no key" in found.bad[0].words and found.keys["bert"][0] == public("second")
