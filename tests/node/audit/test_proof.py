"""A proof of one entry: what it shows, and that nothing of it can be changed."""

import msgspec
import pytest

from node.audit import proof as proofs
from node.audit.proving import prove
from node.errors import NodeError
from state.schema import BALANCE, COLLATERAL, HEAD
from tests.node.audit.play import Play, Told
from tests.processors.blocks import devnet_key, strict_authority


@pytest.fixture(scope="module")
def play():
    """A group whose founder has handed the account over: the authority comes from a rotation."""
    play = Play(authority=strict_authority([devnet_key("runner01 signing")]))
    for _ in range(8):
        play.round_end()
    assert any(tx.operations[0].name == "account_update" for tx in play.sent)
    return play


def made(play, table=COLLATERAL, key=("runner02",), height=400):
    return prove(Told(play.blocks), play.stage.genesis, table, key, height, lambda done: None)


def test_it_shows_the_entry_the_root_and_who_reported_it_in_which_transactions(play):
    raw = proofs.write(made(play))
    shown = proofs.verify(proofs.read(raw), play.stage.genesis)
    assert shown.value == play.stage.state.get(COLLATERAL, "runner02")
    assert shown.root == play.stage.state.root(400)
    assert shown.weighed.is_enough and shown.weighed.weight == 4
    assert [said.account for said, _ in shown.reports] == [f"runner0{number}" for number in (1, 2, 3, 4)]
    ids = {block.number: block.id for block in play.blocks}
    assert proofs.chain_differs(shown, ((number, ids[number]) for number in shown.blocks)) == []
    assert shown.authority_set is not None and shown.authority_set.number in ids


def test_absence_is_proven_alike(play):
    shown = proofs.verify(made(play, BALANCE, ("nobody",)), play.stage.genesis)
    assert shown.value is None and shown.weighed.is_enough


def test_a_singleton_too(play):
    shown = proofs.verify(made(play, HEAD, ("head",)), play.stage.genesis)
    assert shown.value.height == 400


def test_before_the_first_rotation_the_authority_is_the_genesis(play):
    found = made(play, height=100)
    assert found.authority_set == []
    shown = proofs.verify(found, play.stage.genesis)
    assert shown.authority_set is None and shown.weighed.weight == 1


def test_a_height_that_ends_no_round_is_refused_with_the_next_ones(play):
    with pytest.raises(NodeError, match="take 400 or 450 instead of 401"):
        made(play, height=401)


def test_what_was_not_reported_by_enough_is_said_to_show_nothing(play):
    found = made(play)
    few = msgspec.structs.replace(found, reports=found.reports[:2])
    assert not proofs.verify(few, play.stage.genesis).weighed.is_enough


def test_of_the_same_report_twice_none_counts(play):
    found = made(play)
    with pytest.raises(NodeError, match="named twice"):
        proofs.verify(msgspec.structs.replace(found, reports=[*found.reports, found.reports[0]]), play.stage.genesis)


def test_reports_of_another_round_are_none_of_it(play):
    found, later = made(play), made(play, height=450)
    with pytest.raises(NodeError, match="reports no such root in its round"):
        proofs.verify(msgspec.structs.replace(found, reports=later.reports), play.stage.genesis)


def test_an_authority_that_nobody_set_is_refused(play):
    found = made(play)
    with pytest.raises(NodeError, match="does not hold the transaction that set"):
        proofs.verify(msgspec.structs.replace(found, authority_set=[]), play.stage.genesis)
    with pytest.raises(NodeError):
        proofs.verify(msgspec.structs.replace(found, authority_set=found.authority_set * 2), play.stage.genesis)


def holds(raw, genesis, ids):
    """Whether anybody would take it."""
    try:
        shown = proofs.verify(proofs.read(raw), genesis)
    except NodeError:
        return False
    return shown.weighed.is_enough and not proofs.chain_differs(shown, ((n, ids.get(n, b"")) for n in shown.blocks))


def test_no_byte_of_it_can_be_changed(play):
    """Also where the JSON still reads, and the numbers still are numbers: every byte, another letter and one bit."""
    raw = proofs.write(made(play))
    ids = {block.number: block.id for block in play.blocks}
    genesis = play.stage.genesis
    assert holds(raw, genesis, ids)
    for place, octet in enumerate(raw):
        other = {octet ^ 1, ord("0") if octet != ord("0") else ord("1"), octet ^ 0x20}
        for changed in other - {octet}:
            assert not holds(raw[:place] + bytes([changed]) + raw[place + 1 :], genesis, ids), (
                place,
                raw[place - 9 : place + 9],
            )


def test_nothing_can_be_added_or_left_out(play):
    raw = proofs.write(made(play))
    ids = {block.number: block.id for block in play.blocks}
    for other in (raw + b" ", b" " + raw, raw[:-1], raw + raw, b"", raw.replace(b'"form":1', b'"form":2'), raw[:1000]):
        assert not holds(other, play.stage.genesis, ids)


def test_without_the_chain_only_the_blocks_are_open(play):
    """What cannot be seen without the chain is whether Hive has these blocks: their ids are told."""
    shown = proofs.verify(made(play), play.stage.genesis)
    [words] = proofs.chain_differs(shown, iter([(min(shown.blocks), bytes(20))]))
    assert "the proof leans on" in words


def test_another_genesis_takes_no_proof_of_this_one(play):
    other = Play(runners=5)
    with pytest.raises(NodeError, match="is for the genesis"):
        proofs.verify(made(play), other.stage.genesis)
