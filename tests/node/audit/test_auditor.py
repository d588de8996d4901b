"""What the auditor finds beside the planted deviations, and what it must not take for one."""

import re
from pathlib import Path
from unittest.mock import patch

from msgspec.structs import replace

from node.audit.findings import KEPT, KINDS, Findings
from node.audit.verdict import in_words
from node.devnet.founding import CHAIN, devnet_key
from node.errors import FeedError
from processors import signatures, tokens
from processors.errors import EngineError
from processors.hive.keys import public_key_to_text
from processors.hive.transaction import Transaction
from state.schema import SIG
from state.snapshot import create
from tests.node.audit.play import Play, Told, altered, audit
from tests.processors.blocks import custom_json, transfer

DOCS = Path(__file__).parents[3] / "docs"


def test_the_manual_lists_each_kind_with_its_section():
    table = (DOCS / "audit.md").read_text().partition("## The page")[0]
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| (\d+) \|", table, re.MULTILINE)
    told = {name: section for names, section in rows for name in re.findall(r"[a-z_]+", names)}
    assert told == {name: section for name, (section, _) in KINDS.items()}


def test_absence_rejections_and_expiries_are_no_deviations():
    play = Play()
    play.round_end()
    play.reporting = lambda who: [] if who.account == "runner04" else [play.stage.report(who)]
    play.signing = False
    for _ in range(3):
        play.round_end()
    play.block(*[custom_json("runner01", "vote", '{"id":9,"yes":true}')] * 3, custom_json("x", "send", "[" * 999))
    play.block(seconds=90_000)
    play.run(60)
    _, found = audit(play.blocks, play.stage.genesis)
    assert found.good, found.findings
    assert found.accounts["runner04"].missing == 4 and found.accounts["runner01"].missing == 0
    assert sum(found.rejected["vote"].values()) == 3 and sum(found.rejected["send"].values()) == 1
    assert any(one.end == "expired" for one in found.transactions)


def test_a_history_that_ends_in_the_middle_is_not_good():
    play = Play()
    play.run(40)

    class Broken(Told):
        def blocks(self, first, last):
            yield from self._blocks[:30]
            raise FeedError("the disk is gone")

    with patch("tests.node.audit.play.Told", Broken):
        _, found = audit(play.blocks, play.stage.genesis)
    assert found.deviations == {"damaged": 1} and found.height == 129 and found.wanted == 140
    assert any(line.startswith("NOT REACHED  block 140") for line in in_words(found))


def test_a_history_that_is_short_without_a_word_is_not_good_either():
    play = Play()
    play.run(40)

    class Short(Told):
        def blocks(self, first, last):
            yield from self._blocks[:30]

    with patch("tests.node.audit.play.Told", Short):
        _, found = audit(play.blocks, play.stage.genesis)
    assert not found.good and found.deviations == {}


def test_what_this_version_cannot_serialise_is_named_and_the_rest_followed(tmp_path):
    play = Play()
    play.run(10)
    play.block(transfer("alice", "bobby"))

    def newer(shown):
        shown["transactions"][0]["operations"][0]["type"] = "a_later_operation"

    blocks = [*play.blocks[:11], altered(play.blocks[11], newer)]
    _, found = audit(blocks, play.stage.genesis)
    assert found.deviations == {"not_serialised": 1} and found.height == found.wanted == 111


def test_a_block_that_the_rules_cannot_apply_ends_it():
    play = Play()
    play.run(10)
    with patch("node.audit.auditor.apply_block", side_effect=EngineError("a bug of ours")):
        _, found = audit(play.blocks, play.stage.genesis)
    assert found.deviations == {"rules_broken": 1}


def test_tokens_from_nowhere_are_counted():
    play = Play(collateral={"runner01": 1_000})
    play.run(5)
    play.block(custom_json("runner01", "gov_down", '{"amount":5}'))
    play.run(5)
    genuine = tokens._put_collateral
    with patch.object(tokens, "_put_collateral", lambda ctx, who, locked, *rest: genuine(ctx, who, locked + 1, *rest)):
        _, found = audit(play.blocks, play.stage.genesis)
    assert found.deviations["supply"] == 1


def test_a_state_that_keeps_a_signature_under_another_key_is_found():
    play = Play()
    while not play.sent:
        play.block()
    genuine = signatures.recover

    def other(sig, digest):
        key = genuine(sig, digest)
        keys = sorted(one.public for one in play.keys)
        return keys[(keys.index(key) + 1) % len(keys)] if key in keys else key

    with patch.object(signatures, "recover", other):
        _, found = audit(play.blocks, play.stage.genesis)
    assert found.deviations["state_signature"] >= 3
    assert next(play.stage.state.walk(SIG), None) is None  # the honest one confirmed it


def test_a_member_whose_transaction_nobody_signed_is_found():
    play = Play()
    play.run(5)
    tx: Transaction = play.acted([play.keys[0]], custom_json("runner01", "gov_down", '{"amount":5}'))
    play.block(replace(tx, signatures=(b"\x1f" + b"\xff" * 64,)))
    play.run(3)
    _, found = audit(play.blocks, play.stage.genesis)
    assert found.deviations == {"sender_signature": 1}
    _, quick = audit(play.blocks, play.stage.genesis, signatures=False)
    assert quick.good


def test_findings_are_bounded_and_counted():
    findings = Findings()
    for number in range(KEPT + 5):
        findings.add("root_wrong", number, "words")
    findings.add("recovery", 1, "words")
    assert findings.total == KEPT + 6 and len(findings.kept) == KEPT + 1


def test_marks_say_what_each_account_did_in_each_round():
    play = Play()
    play.round_end()
    play.reporting = lambda who: [] if who.account == "runner02" else [play.stage.report(who)]
    play.round_end()
    play.reporting = lambda who: [play.stage.report(who, root=b"\3" * 32 if who.account == "runner03" else None)]
    play.round_end()
    _, found = audit(play.blocks, play.stage.genesis)
    assert {name: one.marks for name, one in found.accounts.items()} == {
        "runner01": "aaa",
        "runner02": "ama",
        "runner03": "aaw",
        "runner04": "aaa",
    }


def test_a_root_or_a_snapshot_that_was_not_come_to_is_not_passed_over(tmp_path):
    play = Play()
    play.round_end()
    play.round_end()
    list(create(play.stage.state.freeze(), tmp_path))
    for height in (170, 250):
        _, found = audit(play.blocks, play.stage.genesis, trusted={height: bytes(32)})
        assert found.deviations == {"trusted_root": 1}
    good = {200: play.stage.state.root(200)}
    _, found = audit(play.blocks, play.stage.genesis, trusted=good, snapshots=tmp_path)
    assert found.good and (found.checks.trusted, found.checks.snapshots) == (1, 1)
    _, found = audit(play.blocks, play.stage.genesis, to=199, snapshots=tmp_path)
    assert found.deviations == {"snapshot": 1}


def test_who_changes_its_key_with_each_block_cannot_make_the_auditor_grow():
    play = Play(collateral={"runner01": 1_000})
    play.run(5)
    keys = [devnet_key(f"key {number}") for number in range(130)]
    for key in keys:
        play.block(play.acted([key], custom_json("runner01", "gov_down", '{"amount":1}')))
    play.block(play.acted([keys[0]], custom_json("runner01", "gov_down", '{"amount":1}')))
    _, found = audit(play.blocks, play.stage.genesis)
    seen = found.accounts["runner01"].senders
    assert len(seen) == 101 and seen["others"] >= 30
    assert seen[public_key_to_text(keys[0].public, CHAIN.address_prefix)] == 2
