"""What the builder builds, to the byte (protocol section 6): id, expiration, operations, record."""

import json
from hashlib import sha256

import pytest

from node.devnet.founding import CHAIN, GROUP
from node.signer.opinion import second_opinion
from processors.hive.keys import NULL_KEY
from processors.hive.transaction import Transaction, unpack_transaction
from processors.hive.types import Asset, Authority
from state.schema import CHRON, MS, QUEUE, Job, Record
from tests.processors.test_builder import AT, ready
from tests.processors.world import World, key, time_of

PRE = 4_000_000_000  # what World.asked() says


def opened(record: Record | None) -> Transaction:
    """The transaction of a record; its bytes, id and digest agree with a library that is not ours."""
    assert record is not None
    tx = unpack_transaction(record.tx, CHAIN)
    opinion = second_opinion(tx, CHAIN)
    assert opinion.packed == record.tx
    assert record.txid == sha256(record.tx).digest()[:20]
    assert record.digest == sha256(CHAIN.chain_id + record.tx).digest()
    return tx


def rotation(world: World) -> Record:
    world.rotation()
    record = world.build(AT)
    assert record is not None and record.kind == "rotation"
    return record


def test_the_id():
    world = ready()
    world.payout()
    world.build(AT)
    assert world.names(MS) == [f"1100:1050:{PRE}"]


def test_the_number_of_the_header_is_that_of_hive_in_16_bits():
    world = ready()
    world.asked(65_536 + 50, elect=True)
    world.payout()
    record = world.build(65_536 + 100)
    assert world.names(MS) == [f"65636:50:{PRE}"]
    tx = opened(record)
    assert (tx.ref_block_num, tx.ref_block_prefix) == (50, PRE)


@pytest.mark.parametrize("payloads", [1, 2])
@pytest.mark.parametrize("left", [1_200, 7_199, 7_201, 80_000, 90_000])
def test_expiration_is_the_earlier_of_the_header_and_the_lifetime(payloads, left):
    world = ready(payload_lifetime=80_000)
    for _ in range(payloads):
        world.payout()
    world.asked(1_050, exp=time_of(AT) + left, elect=True)
    record = world.build(AT)
    lifetime = 80_000 if payloads == 1 else 7_200
    assert record is not None
    assert record.expiration == opened(record).expiration == time_of(AT) + min(left, lifetime)


def test_a_rotation_lives_as_long_as_rotation_lifetime():
    world = ready(rotation_lifetime=5_000, payload_lifetime=4_000)
    world.strict("abx")
    assert rotation(world).expiration == time_of(AT) + 5_000


def test_the_time_is_that_of_the_block_and_not_its_number():
    world = ready()
    world.payout()
    world.payout()
    record = world.build(AT, time=time_of(AT) + 17)
    assert record is not None and record.expiration == time_of(AT) + 17 + 7_200


def test_payouts_are_transfers_with_the_confirming_operation_behind_them():
    world = ready()
    world.payout(5)
    world.payout(1_234_567, asset="HBD", to="bob", memo="für Bob 🐝")
    tx = opened(world.build(AT))
    names = [operation.name for operation in tx.operations]
    assert names == ["transfer", "transfer", "custom_json"]
    first, second = (operation.value for operation in tx.operations[:2])
    assert first == {"from": GROUP, "to": "receiver", "amount": Asset(5, 0), "memo": "for 5"}
    assert second == {"from": GROUP, "to": "bob", "amount": Asset(1_234_567, 1), "memo": "für Bob 🐝"}
    assert (tx.extensions, tx.signatures) == ((), ())


def test_amounts_stand_in_the_legacy_pack_by_symbol():
    world = ready()
    world.payout()
    record = world.build(AT)
    assert record is not None and b"TESTS\0" in record.tx


def test_the_confirming_operation_to_the_letter():
    world = ready()
    world.payout()
    value = opened(world.build(AT)).operations[-1].value
    assert value["json"] == '{"op":"1100:1050:4000000000"}'
    assert json.loads(value["json"]) == {"op": world.names(MS)[0]}
    assert value["id"] == "waggle_ms_signed"
    assert (tuple(value["required_auths"]), tuple(value["required_posting_auths"])) == ((GROUP,), ())


@pytest.mark.parametrize("owner", [True, False])
@pytest.mark.parametrize("posting", [True, False])
def test_a_rotation_is_one_account_update(owner, posting):
    world = ready(rotate_owner=owner, rotate_posting=posting)
    world.member("unripe", ripe=False)
    world.strict("abx")
    record = rotation(world)
    tx = opened(record)
    update, confirming = tx.operations
    wanted = Authority(2, (), tuple((one, 1) for one in sorted(map(key, "abc"))))
    assert update.name == "account_update" and confirming.name == "custom_json"
    assert update.value == {
        "account": GROUP,
        "owner": wanted if owner else None,
        "active": wanted,
        "posting": wanted if posting else None,
        "memo_key": NULL_KEY,
        "json_metadata": "",
    }
    assert record.roles == (("owner", "active") if owner else ("active",))


def test_an_owner_that_cannot_be_met_is_left_out():
    world = ready()
    world.strict("abx", roles=("active",))
    world.authority(1, ["y"], roles=("owner",))
    record = rotation(world)
    update = opened(record).operations[0].value
    assert update["owner"] is None
    assert update["posting"] is not None
    assert record.roles == ("active",)


def test_the_record_of_a_payout():
    world = ready()
    world.set_tally(limit=77)
    numbers = (world.payout(), world.payout())
    record = world.build(AT)
    assert record is not None
    assert (record.payloads, record.kind, record.roles, record.built) == (numbers, "payout", ("active",), AT)
    assert (record.status, record.ready_at, record.order, record.recasts, record.attempts) == (
        "collecting",
        0,
        (),
        0,
        (),
    )
    assert (record.limit, record.needed) == (0, ())
    assert [world.view.need(QUEUE, number).out for number in numbers] == world.names(MS) * 2


def test_the_record_of_a_rotation_holds_the_limit_of_the_last_tally_and_the_keys_it_needs():
    world = ready()
    world.set_tally(limit=77, last=5)
    world.authority(2, {"a": 1, "b": 2, "u": 1, "v": 1, "w": 1, "cold": 0}, roles=("active",))
    world.authority(1, {"c": 1, "a": 1, "x": 1, "y": 1, "z": 1, "frozen": 0}, roles=("owner",))
    record = rotation(world)
    assert record.limit == 77
    assert record.needed == tuple(sorted(map(key, "abcuvwxyz")))


def test_what_only_active_signs_needs_only_its_keys():
    world = ready(rotate_owner=False)
    world.authority(2, ["a", "b"], roles=("active",))
    world.authority(1, ["c"], roles=("owner",))
    assert rotation(world).needed == tuple(sorted(map(key, "ab")))


def test_the_first_recast_is_due_after_30_blocks():
    world = ready()
    world.payout()
    record = world.build(AT)
    assert record is not None and record.job == (AT + 30, 1)
    assert world.view.need(CHRON, *record.job) == Job("recast", world.names(MS)[0])
    world.payout()
    second = world.build(AT + 1)
    assert second is not None and second.job == (AT + 31, 3)
