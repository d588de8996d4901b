"""Each deviation of tests/deviations.toml, planted into an honest history, is found and named, and nothing else is."""

import tomllib
from pathlib import Path

import pytest

from node.audit.findings import KINDS
from node.audit.verdict import in_words
from tests.node.audit.plants import PLANTS
from tests.node.audit.play import Play, audit

LISTED = tomllib.loads((Path(__file__).parents[2] / "deviations.toml").read_text())["deviation"]
SECTIONS = [str(number) for number in range(1, 13)]


def test_the_list_is_long_enough_and_each_section_of_the_protocol_has_one():
    assert len(LISTED) >= 25
    assert {entry["section"] for entry in LISTED} == set(SECTIONS)
    assert {entry["id"] for entry in LISTED} == set(PLANTS)
    assert {entry["found"] for entry in LISTED} <= set(KINDS)


def test_an_honest_history_has_none():
    play = Play()
    for _ in range(5):
        play.round_end()
    auditor, found = audit(play.blocks, play.stage.genesis)
    assert found.good and not found.findings, found.findings
    assert found.height == play.stage.height and found.root == play.stage.state.root(play.stage.height).hex()
    assert sum(one.end == "confirmed" for one in found.transactions) >= 5
    assert auditor.state.trace(found.height) == play.stage.state.trace(found.height)
    assert in_words(found)[-1] == "VERDICT      good: nothing deviates"


@pytest.mark.parametrize("entry", LISTED, ids=lambda entry: entry["id"])
def test_it_is_found_and_named(entry, tmp_path):
    planted = PLANTS[entry["id"]](tmp_path)
    _, found = audit(planted.blocks, planted.genesis, snapshots=planted.snapshots, trusted=planted.trusted)
    assert not found.good
    assert found.deviations.get(entry["found"]), found.deviations
    assert set(found.deviations) <= {entry["found"], *entry.get("beside", [])}, found.findings
    assert any(f"x {entry['found']}: " in line for line in in_words(found))
