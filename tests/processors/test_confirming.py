"""Confirming what was included (protocol sections 4 and 7), and which signatures a broadcast carries."""

import pytest

from node.agent import chosen_signatures
from node.devnet.founding import member_keys
from processors.hive.transaction import unpack_transaction
from processors.signatures import authority_changed, ms_signed, sig_refuse
from state.schema import CHRON, DONE, MS, QUEUE, REFUSAL, SIG, TALLY
from tests.processors.blocks import Stage, strict_authority
from tests.processors.test_signatures import submit
from tests.processors.world import OP, World, key

AT = 1_060
MEMBERS = [member_keys(number) for number in range(1, 5)]


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


# -- at the last moment


@pytest.mark.parametrize("kind", ["payout", "rotation"])
@pytest.mark.parametrize(("late", "status"), [(0, "confirmed"), (1, "expired")])
def test_what_is_included_in_the_block_that_would_expire_it_is_confirmed(kind, late, status):
    """Hive includes while the block *before* is earlier than the expiration: operations run before jobs."""
    lifetimes = {"header_min_left": 60, "payload_lifetime": 120, "rotation_lifetime": 120}
    payout = {"to": "receiver", "amount": 5, "asset": "HIVE", "every": 75, "memo": "m"}
    if kind == "payout":
        stage = Stage(payouts=[payout], parameters=lifetimes)
    else:  # one runner more than signers: the group wants to rotate
        stage = Stage(parameters=lifetimes, authority=strict_authority([m.signing_key for m in MEMBERS[:3]]))
    while not stage.records(kind):
        stage.run_to(stage.height + 1)
    [op] = stage.records(kind)
    record = stage.state.need(MS, op)
    [number] = record.payloads
    dies_at = stage.height + 40
    assert record.expiration == stage.blocks[-1].timestamp + 40 * 3
    stage.run_to(dies_at - 1 + late)
    assert (stage.state.get(MS, op) is None) == bool(late)
    block = stage.block(unpack_transaction(record.tx, stage.genesis.chain))
    assert block.transaction(0)[2] == record.txid
    assert block.timestamp == record.expiration + 3 * late, "the recast of this block finds it expired"
    assert stage.state.get(MS, op) is None
    if kind == "rotation" or not late:
        done = stage.state.need(DONE, number)
        assert (done.status, done.txid, done.height) == (status, record.txid, dies_at)
        assert stage.state.get(QUEUE, number) is None
    else:
        assert stage.state.get(DONE, number) is None
        assert stage.state.need(QUEUE, number).past == (record.txid,)


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
