"""Where two histories part: the block, its transactions, and the first entry that comes out otherwise."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.audit import bisect as module
from node.audit.bisect import bisect
from node.errors import FeedError
from tests.node.audit.play import Play, Told, altered
from tests.processors.blocks import custom_json, transfer


def parted(after, *operations):
    """Two histories of one group: after so many blocks the second one holds something more."""
    play, other = Play(), Play()
    for one in (play, other):
        one.run(after)
    play.block()
    other.block(*operations)
    for one in (play, other):
        one.run(30)
    return play, other


def find(play, other, **how):
    return bisect(Told(play.blocks), Told(how.get("blocks", other.blocks)), play.stage.genesis, lambda done: None)


def test_equal_histories_are_equal_as_far_as_both_go():
    play = Play()
    play.run(40)
    found = bisect(Told(play.blocks), Told(play.blocks[:30]), play.stage.genesis, lambda done: None)
    assert (found.kind, found.first, found.last) == ("equal", 100, 129)


def test_the_block_the_transaction_and_the_entry_are_named():
    play, other = parted(60, custom_json("runner03", "gov_down", '{"amount":7}'))
    found = find(play, other)
    assert (found.kind, found.block, found.height) == ("blocks", 161, 161)
    assert len(found.only_theirs) == 1 and found.only_ours == ()
    tables = {entry.table for entry in found.entries}
    assert "leaving" in tables and "collateral" in tables
    [entry] = [one for one in found.entries if one.table == "collateral"]
    assert entry.key == ["runner03"] and entry.theirs == {"locked": 1000, "leaving": 7}
    assert found.unproven == ()


def test_what_concerns_nobody_shows_in_the_header_that_is_asked_for():
    """A foreign transfer changes the block's id alone; the state differs where it notes an id of a later block."""
    play, other = parted(55, transfer("alice", "bobby"))
    found = find(play, other)
    assert found.block == 156 and found.height == 170
    assert {entry.table for entry in found.entries} == {"meta"}


def test_a_block_that_is_not_what_its_header_says_is_told_of():
    play, _ = parted(20, transfer("alice", "bobby"))

    _, other = parted(24, transfer("alice", "bobby"))
    foreign = msgspec.json.decode(msgspec.json.encode(other.blocks[25].transactions))
    false = altered(
        play.blocks[25], lambda shown: shown.update(witness_signature="1f" + "11" * 64, transactions=foreign)
    )
    found = find(play, play, blocks=[*play.blocks[:25], false])
    assert found.kind == "blocks" and found.block == 125
    assert len(found.unproven) == 1 and "the transactions hash to" in found.unproven[0]


def test_who_does_not_reach_back_to_the_genesis_is_told_to_fetch_the_rest():
    play = Play()
    play.run(10)
    with pytest.raises(FeedError, match="fetch the rest"):
        bisect(Told(play.blocks), Told(play.blocks[5:]), play.stage.genesis, lambda done: None)


@given(last=st.integers(0, 300), where=st.integers(1, 400))
def test_by_halves_finds_the_first_one(last, where):
    asked = []

    def is_same(number):
        asked.append(number)
        return number < where

    found = module._first_other(is_same, 0, last)
    assert found == (where if where <= last else None)
    assert len(asked) <= 12


def test_the_same_ids_over_other_transactions_are_not_called_equal():
    play = Play()
    play.run(20)
    play.block(transfer("alice", "bobby"))
    play.run(20)

    def change(shown):
        shown["transactions"][0]["operations"][0]["value"]["to"] = "mallory"

    blocks = [*play.blocks[:21], altered(play.blocks[21], change), *play.blocks[22:]]
    found = find(play, play, blocks=blocks)
    assert found.kind == "unproven" and "block 121" in found.unproven[0]


def test_one_other_block_between_the_same_ones_is_not_called_equal():
    play, other = parted(20, transfer("alice", "bobby"))
    blocks = [*play.blocks[:21], other.blocks[21], *play.blocks[22:]]
    found = find(play, play, blocks=blocks)
    assert found.kind == "unproven" and "does not follow" in found.unproven[0]
