"""How an auditor could be cheated, and is not: forged proofs, cut archives, lies that the rules do not count."""

import json

import msgspec
import pytest
from msgspec.structs import replace

from node.audit import proof as proofs
from node.audit.evidence import evidence
from node.audit.page import page
from node.audit.proving import prove
from node.devnet.founding import CHAIN, GROUP, devnet_key
from node.errors import NodeError
from node.feed.archive import Archive
from node.feed.segment import pack_frame, segment_path
from node.history.haf_body import HafBody, Kept
from processors.hive.block import Block, show_header
from processors.hive.packed import as_json
from processors.hive.transaction import Transaction
from processors.hive.types import Authority
from processors.report import report_digest
from state.schema import COLLATERAL, MS
from tests.node.audit.play import Play, Told, altered, audit
from tests.node.history.test_reading import from_archive
from tests.processors.blocks import BlockMaker, custom_json, strict_authority, transfer


def report_of(play, who, key, root, height):
    """A report of any root for any height, by any key."""
    body = play.stage.report_body(who)
    sig = key.sign(report_digest(play.stage.genesis.hash, height, root, who.account)).hex()
    return custom_json(who.account, "report", json.dumps(body | {"height": height, "root": root.hex(), "sig": sig}))


def test_a_proof_with_two_blocks_of_one_number_is_refused():
    """One that Hive has, and one made up: whoever looks one number up would see only one of them."""
    play = Play()
    for _ in range(4):
        play.round_end()
    genesis, root = play.stage.genesis, play.stage.state.root(200)
    found = prove(Told(play.blocks), genesis, COLLATERAL, ("runner01",), 200, lambda done: None)
    number = found.reports[0].number
    maker = BlockMaker(number, previous=play.blocks[number - 101].id)
    made_up = maker.next_block(*[report_of(play, who, devnet_key("thief"), root, 200) for who in play.stage.members])
    forged = [evidence(made_up, place) for place in range(4)]
    with pytest.raises(NodeError, match="two blocks of one number"):
        proofs.verify(msgspec.structs.replace(found, reports=[*forged, *found.reports]), genesis)


def test_a_deviation_cannot_be_cut_out_at_the_end_of_a_frame(tmp_path, monkeypatch):
    """A header with two predecessors: one for who links by the first, one for who hashes the last."""
    play = Play()
    play.run(30)
    play.block(play.acted(play.keys, transfer(GROUP, "stranger", 77)))
    play.run(20)
    blocks, at = play.blocks, 31
    other = BlockMaker(blocks[at].number, blocks[at].timestamp, previous=blocks[at - 1].id).next_block()
    real = {**show_header(blocks[at + 1].header, typed=True), "transactions": []}
    text = b'{"previous":"%s",%s' % (other.id.hex().encode(), msgspec.json.encode(real)[1:])
    first = [as_json(block) for block in [*blocks[:at], other]]
    rest = [text, *(as_json(block) for block in blocks[at + 2 :])]
    path = segment_path(tmp_path, 100)
    frames = pack_frame(100, first, blocks[0].header.previous, other.id)
    path.write_bytes(frames + pack_frame(100 + at + 1, rest, other.id, blocks[-1].id))
    _, found = from_archive(tmp_path, play.stage.genesis, monkeypatch)
    assert not found.good and "damaged" in found.deviations


@pytest.mark.parametrize("liars", [1, 4])
def test_a_false_report_is_judged_also_where_the_history_ends_before_the_tally(liars):
    play = Play()
    play.round_end()
    lie = [f"runner0{number}" for number in range(1, liars + 1)]
    play.reporting = lambda who: [play.stage.report(who, root=b"\3" * 32 if who.account in lie else None)]
    play.run(30)
    _, found = audit(play.blocks, play.stage.genesis)
    assert found.deviations == {"root_wrong": liars}


def test_a_false_root_that_the_rules_do_not_count_is_a_lie_all_the_same():
    """Too early, of an earlier round, and from an account that is no member: the key is a signer's."""
    play = Play()
    play.round_end()
    play.round_end()
    who, false = play.stage.members[0], b"\4" * 32
    play.run(5)
    play.block(report_of(play, who, who.signing_key, false, 200))
    play.block(report_of(play, who, who.signing_key, false, 150))
    stranger = replace(who, account="stranger")
    play.block(report_of(play, stranger, who.signing_key, false, 200))
    play.block(report_of(play, stranger, devnet_key("nobody"), false, 200))
    play.block(report_of(play, who, who.signing_key, play.stage.state.root(200), 200))
    play.round_end()
    _, found = audit(play.blocks, play.stage.genesis)
    assert found.deviations == {"root_wrong": 3}
    assert "stranger" not in found.accounts


def test_a_signature_of_who_was_a_signer_when_he_gave_it_is_not_foreign():
    """A payout crosses a rotation: it carries the leaver's signature beside enough of the new signers'."""
    play = Play()
    kept = []
    play.tamper = lambda play, op, tx: None
    while not any(record.status == "ready" for _, record in play.stage.state.walk(MS)):
        play.block()
    play.tamper = lambda play, op, tx: kept.append(tx)
    play.block()
    play.tamper = lambda play, op, tx: tx if tx.operations[0].name == "account_update" else None
    play.block(custom_json("runner04", "node_delete", "{}"))
    while not play.sent:
        play.block()
    play.block(kept[0])
    play.run(5)
    _, found = audit(play.blocks, play.stage.genesis)
    assert found.good, found.findings
    assert any(one.end == "confirmed" and "runner04" in one.carried_by for one in found.transactions)


def test_what_an_account_in_the_authority_cannot_give_must_be_signed():
    keys = [devnet_key(f"runner0{number} signing") for number in (1, 2, 3, 4)]
    strict = strict_authority(keys)
    play = Play(authority=Authority(3, (("alice", 1),), strict.key_auths))
    play.tamper = lambda play, op, tx: replace(tx, signatures=tx.signatures[:1])
    while not play.sent:
        play.block()
    _, found = audit(play.blocks, play.stage.genesis)
    assert found.deviations.get("authority_not_met")


def test_one_replaced_key_does_not_make_it_another_genesis():
    play = Play()
    play.round_end()
    play.round_end()
    play.reporting = lambda who: [play.stage.report(who, key=devnet_key("old"))] if who.account == "runner01" else []
    play.round_end()
    _, found = audit(play.blocks, play.stage.genesis)
    assert found.good


def test_what_a_database_has_of_the_group_and_we_do_not_know_is_named():
    play = Play()
    play.run(10)
    tx = Transaction(0, 0, 0, ())
    unknown = Kept(("later_operation",), (b"\xff",), (None,), tx, b"", bytes(20))
    play.block()
    last = play.blocks[-1]
    block = Block(last.header, CHAIN, HafBody([1], {0: unknown}, CHAIN))
    _, found = audit([*play.blocks[:-1], Asking(block)], play.stage.genesis)
    assert found.deviations == {"not_serialised": 1}


class Asking:
    """A block of which the database says that it may concern the group."""

    def __init__(self, block):
        self._block = block

    def __getattr__(self, name):
        return getattr(self._block, name)

    def may_mention(self, *words):
        return True


@pytest.mark.parametrize(
    "transactions",
    [
        [{"x": GROUP}],
        [GROUP],
        [{"operations": [5, GROUP]}],
        [{"operations": [["a", "b", GROUP]]}],
        [{"operations": [["transfer", [GROUP]]]}],
        [{"operations": [["custom_json", {"id": "waggle_report", "required_auths": [{}], "json": "{}"}]]}],
        [{"operations": 7, "x": GROUP}],
    ],
)
@pytest.mark.parametrize("quick", [False, True])
def test_no_content_of_an_archive_crashes_a_replay(tmp_path, monkeypatch, transactions, quick):
    play = Play()
    play.run(30)
    false = altered(play.blocks[20], lambda shown: shown.update(transactions=transactions))
    blocks = [*play.blocks[:20], false, *play.blocks[21:]]
    how = {"merkle": not quick, "signatures": not quick}
    _, whole = audit(blocks, play.stage.genesis, **how)
    assert not whole.good or quick
    with Archive.open(tmp_path, write=True) as archive:
        for block in blocks:
            shown = {**show_header(block.header, typed=True), "transactions": block.transactions}
            archive.append(msgspec.json.encode(shown))
    _, sifted = from_archive(tmp_path, play.stage.genesis, monkeypatch, **how)
    assert sifted.good <= whole.good  # what is sifted is read more strictly
    assert sifted.height >= 119


def test_strangers_cannot_make_the_auditor_grow():
    play = Play()
    play.run(5)
    for number in range(20):
        who = replace(play.stage.members[0], account=f"stranger{number}")
        play.block(report_of(play, who, devnet_key("x"), b"\1" * 32, 100), transfer("alice", GROUP, 1))
    play.round_end()
    auditor, found = audit(play.blocks, play.stage.genesis)
    assert found.good and auditor.reports.strangers == 20
    assert set(found.accounts) == {f"runner0{number}" for number in (1, 2, 3, 4)}
    assert len(found.treasury) <= 2


def test_the_page_of_a_young_group_is_made():
    play = Play()
    play.run(42)
    _, found = audit(play.blocks, play.stage.genesis)
    assert any(one.status == "waiting" for one in found.payloads) and "<!DOCTYPE html>" in page(found)
