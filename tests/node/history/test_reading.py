"""The archive read by processes of its own: what they hand on gives the very same state and verdict as whole blocks."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.audit.replay import Asked, replay
from node.devnet.founding import CHAIN, GROUP
from node.errors import FeedError
from node.feed.archive import Archive
from node.history import past
from node.history.archived import Archived
from node.history.sifted import _ALWAYS, NOT_HERE, SiftedBody, sift
from processors.engine import RULES
from processors.hive import crypto
from processors.hive.block import show_header
from processors.hive.errors import HiveDataError, UnprovenBlockError
from processors.hive.packed import as_json
from state.store import MemoryStore
from tests.node.audit.play import Play, Told, altered, audit
from tests.processors.blocks import account_update, custom_json, devnet_key, member, strict_authority, transfer


@pytest.fixture(scope="module")
def play():
    """A group among strangers: foreign transfers around its own operations, rejections by place, a member's new key."""
    play = Play(authority=strict_authority([devnet_key("runner01 signing")]))
    for number in range(400):
        noise = [transfer("alice", "bobby", 1 + number), custom_json("alice", "nonsense", "{}")]
        own = [custom_json("nobody", "node_delete", "{}"), transfer("alice", "the-group", 5)] if number % 7 == 0 else []
        key = [account_update("runner02", active=strict_authority([member(f"new{number}").signing_key]))]
        play.block(*noise, *own, *(key if number % 90 == 0 else []))
    return play


@pytest.fixture
def archive(play, tmp_path):
    fill(tmp_path, play.blocks)
    return tmp_path


def fill(folder, blocks):
    with Archive.open(folder, write=True) as archive:
        for block in blocks:
            archive.append(as_json(block))


def from_archive(folder, genesis, monkeypatch, **asked):
    """As the command replays: by processes of their own."""
    monkeypatch.setattr(past, "_MANY", 0)
    return replay(Archived(folder, CHAIN), genesis, MemoryStore(), Asked(**asked), lambda done: None)


def plain(found):
    """A verdict without what differs between two runs."""
    return {name: getattr(found, name) for name in found.__struct_fields__ if name not in ("seconds", "source")}


@pytest.mark.parametrize("quick", [False, True])
def test_what_comes_out_is_the_same(play, archive, monkeypatch, quick):
    how = {"merkle": not quick, "signatures": not quick}
    here, whole = audit(play.blocks, play.stage.genesis, **how)
    there, sifted = from_archive(archive, play.stage.genesis, monkeypatch, **how)
    assert whole.good and plain(whole) == plain(sifted)
    assert there.state.trace(whole.height) == here.state.trace(whole.height) == play.stage.state.trace(whole.height)
    assert whole.rejected["node_delete"]["not_member"] > 50  # their places among foreign operations are in the state


@pytest.mark.parametrize("quick", [False, True])
def test_the_signatures_of_the_group_are_recovered_where_they_are_read(play, archive, monkeypatch, quick):
    """The state machine has one processor: what another one can do ahead of it, it need not do."""
    monkeypatch.setattr(crypto, "_recovered", crypto._Recovered())
    here = []
    genuine = crypto._recover_anew
    monkeypatch.setattr(crypto, "_recover_anew", lambda compact, digest: here.append(1) or genuine(compact, digest))
    _, found = from_archive(archive, play.stage.genesis, monkeypatch, merkle=False, signatures=not quick)
    assert found.good and found.accepted["sig_submit"] > 20
    waiting = sum(one.end != "confirmed" for one in found.transactions)
    assert len(here) <= found.accepted["report"] + 4 * waiting, "only of reports, and of what was never broadcast"


def test_a_false_transaction_is_seen_by_the_process_that_reads(play, tmp_path, monkeypatch):
    def change(shown):
        shown["transactions"][-1]["operations"][0]["value"]["id"] = "other"

    blocks = list(play.blocks)
    blocks[77] = altered(blocks[77], change)
    with Archive.open(tmp_path, write=True) as archive:
        for block in blocks:
            archive.append(play_json(block))
    _, found = from_archive(tmp_path, play.stage.genesis, monkeypatch)
    assert found.deviations == {"unproven": 1} and found.findings[0].height == blocks[77].number


def play_json(block):
    """JSON of a block that need not be proven."""
    return msgspec.json.encode({**show_header(block.header, typed=True), "transactions": block.transactions})


def test_a_witness_that_signs_with_another_key_is_seen(tmp_path, monkeypatch):
    play = Play()
    play.run(30)
    play.block(witness=b"\7" * 32)
    play.run(3)
    fill(tmp_path, play.blocks)
    _, found = from_archive(tmp_path, play.stage.genesis, monkeypatch)
    assert found.deviations == {"witness_key": 1} and found.findings[0].height == 131


def test_only_what_may_concern_the_group_is_handed_on(play):
    entries = sift(play.blocks[71], GROUP, "waggle_")
    kept = [entry for entry in entries if not isinstance(entry, int)]
    names = {operation.name for tx, _, _ in kept for operation in tx.operations}
    assert "transfer" in names and any(isinstance(entry, int) for entry in entries)
    body = SiftedBody(entries)
    shown = [pair for transaction in body.transactions() for pair in transaction["operations"]]
    assert len(shown) == sum(len(tx["operations"]) for tx in play.blocks[71].transactions)
    assert not body.is_whole
    with pytest.raises(HiveDataError):
        body.leaf(0)
    assert sift(Play().stage.block(transfer("alice", "bobby")), GROUP, "waggle_") == []


def test_every_rule_that_listens_to_members_listens_to_what_is_always_handed_on():
    members = {name for name, rule in RULES.natives(0).items() if rule.members}
    assert members and all(name.startswith(_ALWAYS) for name in members)
    assert not any(name.startswith(NOT_HERE) for name in RULES.natives(0))


@settings(max_examples=30, deadline=None)
@given(at=st.floats(0, 0.999), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_archive_is_never_good(play, tmp_path_factory, at, bit):
    folder = tmp_path_factory.mktemp("flipped")
    fill(folder, play.blocks[:120])
    [segment] = folder.glob("*.seg")
    raw = bytearray(segment.read_bytes())
    raw[int(at * len(raw))] ^= 1 << bit
    segment.write_bytes(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(past, "_MANY", 0)
        try:
            _, found = replay(
                Archived(folder, CHAIN), play.stage.genesis, MemoryStore(), Asked(to=219), lambda done: None
            )
        except FeedError:
            return
    assert not found.good


def test_the_state_at_a_height_is_proven_too(play, archive, monkeypatch):
    monkeypatch.setattr(past, "_MANY", 0)
    genesis = play.stage.genesis
    with (
        past.state_at(Archived(archive, CHAIN), genesis, 333, lambda done: None) as state,
        past.state_at(Told(play.blocks), genesis, 333, lambda done: None) as other,
    ):
        assert state.height == other.height == 333 and state.trace(333) == other.trace(333)


def test_before_the_genesis_and_after_the_end_there_is_no_state(play, archive):
    genesis = play.stage.genesis
    for height, words in ((99, "begins with block 100"), (501, "fetch what is missing")):
        with (
            pytest.raises(FeedError, match=words),
            past.state_at(Archived(archive, CHAIN), genesis, height, lambda done: None),
        ):
            pass


def test_a_block_that_is_not_proven_ends_it_with_its_number(play):
    blocks = list(play.blocks)
    blocks[30] = altered(blocks[30], lambda shown: shown["transactions"].pop())
    with pytest.raises(UnprovenBlockError):
        blocks[30].prove()
    with (
        pytest.raises(FeedError, match="block 130 is refused"),
        past.state_at(Told(blocks), play.stage.genesis, 200, lambda done: None),
    ):
        pass
