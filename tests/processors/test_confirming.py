"""Confirming what was included (protocol sections 4 and 7), and which signatures a broadcast carries."""

import pytest

from node.agent import chosen_signatures
from processors.signatures import authority_changed, ms_signed, sig_refuse
from state.schema import CHRON, DONE, MS, QUEUE, REFUSAL, SIG, TALLY
from tests.processors.test_signatures import submit
from tests.processors.world import OP, World, key

AT = 1_060


@pytest.fixture
def world() -> World:
    """Five signers, threshold 3; a payout is out."""
    return World.paying()


def confirm(world: World, op: str = OP, height: int = 1_080) -> None:
    ms_signed(world.at(height, txid=world.view.need(MS, op).txid), world.genesis.group, {"op": op})


@pytest.mark.parametrize("found", ["collecting", "ready", "refused"])
def test_a_confirmation_counts_in_any_status(world, found):
    if found == "ready":
        submit(world, "a", "b", "c")
    elif found == "refused":
        submit(world, "a")
        for name in "bcd":
            sig_refuse(world.at(AT), name, {"op": OP, "why": "no"})
    record = world.view.need(MS, OP)
    assert record.status == found
    confirm(world)
    done = world.view.need(DONE, 1)
    assert (done.status, done.txid, done.height, done.why) == ("confirmed", record.txid, 1_080, "")
    assert len(done.signers) == {"collecting": 0, "ready": 3, "refused": 1}[found]


def test_nothing_is_left_of_it(world):
    submit(world, "a", "b")
    sig_refuse(world.at(AT), "c", {"op": OP, "why": "no"})
    confirm(world)
    assert [world.names(table) for table in (MS, SIG, REFUSAL, QUEUE)] == [[], [], [], []]
    assert [job.kind for _, job in world.view.walk(CHRON)] == ["forget_payload"]


def test_all_its_payloads_are_confirmed_and_those_of_others_are_not(world):
    numbers = (world.payout(), world.payout())
    world.record("1051:7:9", payloads=numbers)
    submit(world, "a", op="1051:7:9")
    submit(world, "b")
    confirm(world, "1051:7:9")
    assert [world.view.need(DONE, number).status for number in numbers] == ["confirmed"] * 2
    assert world.names(QUEUE) == [1]
    assert world.names(MS) == [OP]
    assert world.names(SIG) == [key("b")]


def test_signers_are_the_keys_that_had_signed_before_by_bytes(world):
    submit(world, "e", "c", "a", "b")
    confirm(world)
    assert world.view.need(DONE, 1).signers == tuple(sorted(map(key, "abce")))


def test_what_the_carrying_transaction_changes_does_not_touch_its_own_record(world):
    """A rotation: its account_update is an operation before the confirming one."""
    number = world.rotation()
    rotation = world.record("1051:7:9", payloads=(number,), kind="rotation", roles=("owner", "active"))
    submit(world, "a", "b", "c", op="1051:7:9")
    submit(world, "a", "b", "c")
    world.strict("vwx")
    authority_changed(world.at(1_080, txid=rotation.txid))
    assert set(world.names(SIG, "1051:7:9")) == set(map(key, "abc"))
    assert world.names(SIG, OP) == []
    confirm(world, "1051:7:9")
    assert world.view.need(DONE, number).signers == tuple(sorted(map(key, "abc")))


@pytest.mark.parametrize(("kind", "last"), [("rotation", 44), ("payout", 5)])
def test_the_limit_of_a_confirmed_rotation_becomes_last(world, kind, last):
    world.set_tally(limit=77, last=5)
    world.record("1051:7:9", payloads=(world.rotation(),), kind=kind, limit=44)
    confirm(world, "1051:7:9")
    assert world.view.need(TALLY).last == last
    assert world.view.need(TALLY).limit == 77


def test_who_and_what_confirms(world):
    txid = world.view.need(MS, OP).txid
    world.rejects("not_group", ms_signed, world.at(AT, txid=txid), "a", {"op": OP})
    world.rejects("not_group", ms_signed, world.at(AT, txid=txid), "a", {"op": "1:1:1"})
    world.rejects("unknown_op", ms_signed, world.at(AT, txid=txid), world.genesis.group, {"op": "1:1:1"})
    for other in (b"", txid[:19] + bytes([txid[19] ^ 1])):
        world.rejects("wrong_transaction", ms_signed, world.at(AT, txid=other), world.genesis.group, {"op": OP})


# -- what a broadcast carries


def test_the_signers_in_byte_order_until_the_threshold_is_met(world):
    record = submit(world, *"abcde")
    have = {one: signature.sig for (_, one), signature in world.view.walk(SIG, OP)}
    assert chosen_signatures(world.view, OP, record) == [have[one] for one in sorted(have)[:3]]


def test_the_union_over_the_authorities_needed_each_signature_once(world):
    world.record("1051:7:9", kind="rotation", roles=("owner", "active"))
    world.authority(2, {"a": 1, "b": 1, "c": 1, "frozen": 0}, roles=("active",))
    world.authority(3, {"c": 3, "d": 1, "e": 1}, roles=("owner",))
    record = submit(world, *"abcde", op="1051:7:9")
    by = {signature.sig: one for (_, one), signature in world.view.walk(SIG, "1051:7:9")}
    owner = []
    for one in sorted(map(key, "cde")):
        owner.append(one)
        if one == key("c"):
            break
    expected = sorted({*sorted(map(key, "abc"))[:2], *owner})
    assert [by[sig] for sig in chosen_signatures(world.view, "1051:7:9", record)] == expected
