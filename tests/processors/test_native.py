"""Native operations of the group account and of members that follow their active key (protocol section 4)."""

from typing import Any

import pytest

from node.devnet.founding import CHAIN, GROUP, devnet_key
from processors.hive.compounds import AUTHORITY as HIVE_AUTHORITY
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction, unpack_transaction
from processors.hive.types import Authority
from state import schema
from state.schema import (
    AUTHORITY,
    DONE,
    FEED,
    INCOME,
    MS,
    NODE,
    OWNER_CHANGES,
    QUEUE,
    REFUSAL,
    REPORT,
    SIG,
    FeedNote,
    Income,
)
from tests.processors.blocks import Stage, account_update, custom_json, member, strict_authority, transfer

KEYS = [devnet_key(f"runner{n:02} signing") for n in range(1, 5)]
PAYOUT = {"to": "receiver", "amount": 5, "asset": "HIVE", "every": 50, "memo": "m"}


def weighed(threshold: int, *keys: tuple[Any, int], accounts: tuple[tuple[str, int], ...] = ()) -> Authority:
    return Authority(threshold, accounts, tuple(sorted((key.public, weight) for key, weight in keys)))


def stored(authority: Authority) -> schema.Authority:
    return schema.Authority(authority.weight_threshold, authority.key_auths, authority.account_auths)


def with_record(**how: Any) -> tuple[Stage, str]:
    """A group of four (threshold 3) with one payout out."""
    stage = Stage(payouts=[PAYOUT], **how)
    stage.run_to(152)
    (op,) = stage.records()
    return stage, op


def recovery(name: str, account: str = GROUP, **more: Any) -> Operation:
    return Operation(name, {"account_to_recover": account, **more, "extensions": ()})


def recover_account(new: Authority, account: str = GROUP) -> Operation:
    return recovery("recover_account", account, new_owner_authority=new, recent_owner_authority=new)


# -- authorities as they stand on chain

FOOLISH = {
    "accounts only": Authority(1, (("alice", 1), ("bob", 1)), ()),
    "empty": Authority(0, (), ()),
    "threshold 0": weighed(0, (KEYS[0], 1)),
    "impossible": weighed(10, (KEYS[0], 1), (KEYS[1], 1)),
    "largest": weighed(2**32 - 1, (KEYS[0], 65_535)),
    "weight 0": weighed(1, (KEYS[0], 0), (KEYS[1], 1)),
    "40 keys": strict_authority([devnet_key(f"many {n}") for n in range(40)]),
    "mixed": weighed(2, (KEYS[0], 1), accounts=(("alice", 1), (GROUP, 1))),
    "the same": strict_authority(KEYS),
}


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("role", ["owner", "active", "posting"])
@pytest.mark.parametrize("words", FOOLISH)
def test_stored_as_it_is_and_only_what_is_carried(words: str, role: str, second: bool) -> None:
    stage, op = with_record()
    stage.block(stage.submit(op, KEYS[0]))
    others = {r: stage.state.need(AUTHORITY, r) for r in ("owner", "active", "posting") if r != role}
    stage.block(account_update(GROUP, **{role: FOOLISH[words]}, second=second))
    assert stage.state.need(AUTHORITY, role) == stored(FOOLISH[words])
    assert {r: stage.state.need(AUTHORITY, r) for r in others} == others
    assert stage.state.need(OWNER_CHANGES).times == ((stage.maker.timestamp,) if role == "owner" else ())
    assert stage.state.need(MS, op).status != "ready"
    stage.run_to(260)  # tallies and builders live with it
    assert stage.state.height == 260


def test_without_any_authority_nothing_changes() -> None:
    stage, op = with_record()
    stage.block(stage.submit(op, KEYS[0]))
    before = {table: dict(stage.state.walk(table)) for table in (AUTHORITY, MS, SIG)}
    stage.block(stage.group_update(), account_update(GROUP, second=True))
    assert {table: dict(stage.state.walk(table)) for table in before} == before


def test_of_another_account_nothing_changes() -> None:
    stage = Stage()
    before = dict(stage.state.walk(AUTHORITY))
    stage.block(account_update("stranger", active=FOOLISH["empty"]), recover_account(FOOLISH["empty"], "runner01"))
    assert dict(stage.state.walk(AUTHORITY)) == before and not list(stage.state.walk(FEED))


def test_doubles_and_order_are_read_as_sets() -> None:
    stage = Stage()
    one, two = sorted(KEYS[:2], key=lambda key: key.public)
    accounts = (("bob", 1), ("alice", 2), ("bob", 3))
    backwards = Authority(1, accounts, ((two.public, 4), (one.public, 5), (two.public, 6)))
    found = HIVE_AUTHORITY.parse(HIVE_AUTHORITY.show(backwards, CHAIN, False), CHAIN)
    stage.block(stage.group_update(active=found))
    read = schema.Authority(1, ((one.public, 5), (two.public, 4)), (("alice", 2), ("bob", 1)))
    assert stage.state.need(AUTHORITY, "active") == read


def test_the_newest_three_owner_changes_are_noted() -> None:
    stage = Stage()
    times = []
    for _ in range(5):
        stage.block(stage.group_update(owner=FOOLISH["the same"]), seconds=7)
        times.append(stage.maker.timestamp)
        assert stage.state.need(OWNER_CHANGES).times == tuple(times[-3:])
    stage.block(stage.group_update(owner=FOOLISH["the same"]), recover_account(FOOLISH["the same"]))
    assert stage.state.need(OWNER_CHANGES).times == (times[-1], stage.maker.timestamp, stage.maker.timestamp)


# -- records and their signatures


def test_signatures_by_removed_keys_are_dropped_and_do_not_come_back() -> None:
    stage, op = with_record()
    stage.block(*[stage.submit(op, key) for key in KEYS[:2]])
    stage.block(stage.group_update(active=strict_authority(KEYS[1:])))
    assert [key for (_, key), _ in stage.state.walk(SIG, op)] == [KEYS[1].public]
    stage.block(stage.group_update(active=strict_authority(KEYS)))
    assert len(list(stage.state.walk(SIG, op))) == 1
    stage.block(stage.submit(op, KEYS[0]), stage.submit(op, KEYS[2]))
    assert stage.state.need(MS, op).status == "ready"


@pytest.mark.parametrize("after", ["threshold 0", "accounts only", "impossible"])
def test_a_ready_record_collects_again_and_is_ready_anew(after: str) -> None:
    stage, op = with_record()
    stage.block(*[stage.submit(op, key) for key in KEYS[:3]])
    first = stage.state.need(MS, op)
    assert (first.status, first.ready_at) == ("ready", stage.height)
    stage.block(stage.group_update(active=FOOLISH[after]))
    now = stage.state.need(MS, op)
    assert (now.status, now.ready_at) == ("collecting", 0)
    stage.block(stage.group_update(active=weighed(1, (KEYS[0], 1), (KEYS[3], 1))))
    if stage.state.get(SIG, op, KEYS[0].public) is None:
        assert stage.state.need(MS, op).status == "collecting"
        stage.block(stage.submit(op, KEYS[3]))
    again = stage.state.need(MS, op)
    assert (again.status, again.ready_at, again.recasts) == ("ready", stage.height, 0)
    assert again.job[0] == stage.height + 10 and again.attempts == ((stage.height, again.order[0]),)
    jobs = [key for key, job in stage.state.walk(schema.CHRON) if job.what == op]
    assert jobs == [again.job]


def test_a_lower_threshold_makes_ready_without_a_new_signature() -> None:
    stage, op = with_record()
    stage.block(stage.submit(op, KEYS[0]))
    stage.block(stage.group_update(active=weighed(1, (KEYS[0], 1), (KEYS[1], 1))))
    assert stage.state.need(MS, op).status == "ready"


@pytest.mark.parametrize("role", ["owner", "posting"])
def test_an_authority_that_is_not_needed_leaves_a_payout_alone(role: str) -> None:
    stage, op = with_record()
    stage.block(*[stage.submit(op, key) for key in KEYS[:3]])
    before = stage.state.need(MS, op)
    stage.block(stage.group_update(**{role: FOOLISH["accounts only"]}))
    assert stage.state.need(MS, op) == before and len(list(stage.state.walk(SIG, op))) == 3


def test_refused_lasts_only_while_the_weight_holds() -> None:
    stage, op = with_record()
    stage.block(stage.refuse(op, "runner01"), stage.refuse(op, "runner02"))
    assert stage.state.need(MS, op).status == "refused"
    stage.block(stage.group_update(active=strict_authority(KEYS[1:])))  # threshold 2 of 3, one of them refuses
    assert stage.state.need(MS, op).status == "collecting"
    assert len(list(stage.state.walk(REFUSAL, op))) == 2
    stage.block(stage.group_update(active=strict_authority(KEYS[:2])))
    assert stage.state.need(MS, op).status == "refused"


def test_what_a_confirming_transaction_changes_does_not_touch_its_own_record() -> None:
    stage = Stage(payouts=[PAYOUT])
    stage.run_to(160)
    stage.block(stage.group_update(owner=strict_authority(KEYS[:3]), active=strict_authority(KEYS[:3])))
    stage.run_to(203)
    (rotation,), (payout, *_) = stage.records("rotation"), stage.records()
    stage.block(*[stage.submit(op, key) for op in (rotation, payout) for key in KEYS[:2]])
    record, other = stage.state.need(MS, rotation), stage.state.need(MS, payout)
    assert (record.status, other.status) == ("ready", "ready")
    assert record.payloads[0] in [key for (key,), _ in stage.state.walk(QUEUE)]
    tx: Transaction = unpack_transaction(record.tx, stage.genesis.chain)
    stage.block(tx)
    done = stage.state.need(DONE, record.payloads[0])
    assert (done.status, done.txid, done.signers) == (
        "confirmed",
        record.txid,
        tuple(sorted(k.public for k in KEYS[:2])),
    )
    assert stage.state.need(AUTHORITY, "active") == stored(strict_authority(KEYS))
    assert stage.state.need(AUTHORITY, "owner") == stored(strict_authority(KEYS))
    assert stage.state.need(MS, payout).status == "collecting"  # 2 of 4 do not reach 3: the new signers sign it
    assert len(list(stage.state.walk(SIG, payout))) == 2
    stage.block(stage.submit(payout, KEYS[3]))
    assert stage.state.need(MS, payout).status == "ready"


# -- alarms and income


@pytest.mark.parametrize("account", [GROUP, "runner01"])
def test_recovery_is_noted_for_the_group_alone(account: str) -> None:
    stage = Stage(parameters={"history": 100})
    new = strict_authority([devnet_key("thief")])
    stage.block(
        recovery("request_account_recovery", account, recovery_account="initminer", new_owner_authority=new),
        recovery("change_recovery_account", account, new_recovery_account="null"),
        recover_account(new, account),
    )
    names = ("request_account_recovery", "initminer"), ("change_recovery_account", "null"), ("recover_account", GROUP)
    notes = {(101, index): FeedNote(*note) for index, note in enumerate(names)}
    assert dict(stage.state.walk(FEED)) == (notes if account == GROUP else {})
    assert (stage.state.need(AUTHORITY, "owner") == stored(new)) == (account == GROUP)
    assert stage.state.need(AUTHORITY, "active") == stored(strict_authority(KEYS))
    stage.run_to(200, reporting=())
    assert len(list(stage.state.walk(FEED))) == (3 if account == GROUP else 0)
    stage.run_to(201)
    assert not list(stage.state.walk(FEED))


def test_recover_account_drops_the_owner_signatures_of_a_rotation() -> None:
    stage = Stage()
    stage.run_to(160)
    stage.block(stage.group_update(active=strict_authority(KEYS[:3])))
    stage.run_to(202)
    (op,) = stage.records("rotation")
    stage.block(*[stage.submit(op, key) for key in KEYS])
    assert stage.state.need(MS, op).status == "ready"
    stage.block(recover_account(strict_authority([devnet_key("thief")])))
    found = stage.state.need(MS, op)
    assert found.status == "collecting" and len(list(stage.state.walk(SIG, op))) == 3  # by active alone
    assert set(found.needed) == {key.public for key in KEYS[:3]}


def test_income() -> None:
    stage = Stage(parameters={"history": 100})
    stage.block(
        transfer("alice", GROUP, 7), transfer(GROUP, "alice"), transfer("bob", GROUP, 8, 1), transfer(GROUP, GROUP)
    )
    assert dict(stage.state.walk(INCOME)) == {
        (101, 0): Income("alice", 7, "HIVE"),
        (101, 2): Income("bob", 8, "HBD"),
        (101, 3): Income(GROUP, 1_000, "HIVE"),
    }
    assert sum(job.kind == "forget_block" for _, job in stage.state.walk(schema.CHRON)) == 1
    stage.run_to(201, reporting=())
    assert not list(stage.state.walk(INCOME))


# -- follow_active


def follower(active: Authority, **how: Any) -> tuple[Stage, Any]:
    """A stage with the follower ``extra`` that updated its active authority."""
    stage, extra = Stage(), member("extra")
    stage.block(stage.node_add("extra", extra.signing_key, follow=how.pop("follow", True)))
    stage.block(account_update("extra", active=active, **how))
    return stage, extra


@pytest.mark.parametrize("second", [False, True])
def test_the_first_free_key_becomes_the_next_key(second: bool) -> None:
    fresh = sorted((devnet_key(f"fresh {n}") for n in range(3)), key=lambda key: key.public)
    stage, extra = follower(strict_authority([KEYS[0], *fresh[::-1], KEYS[3]]), second=second)
    found = stage.state.need(NODE, "extra")
    assert (found.next_key, found.signing_key) == (fresh[0].public, extra.signing_key.public)
    assert stage.state.get(schema.KEY, fresh[0].public) is None  # not had
    stage.block(account_update("extra", owner=strict_authority(fresh[1:]), posting=strict_authority(fresh[2:])))
    assert stage.state.need(NODE, "extra").next_key == fresh[0].public  # carries no active
    stage.block(account_update("extra", active=strict_authority([fresh[1]])))
    assert stage.state.need(NODE, "extra").next_key == fresh[1].public


@pytest.mark.parametrize(
    "keys", [KEYS, [member("extra").signing_key, devnet_key("fresh")], []], ids=["of others", "its own", "none"]
)
def test_no_next_key(keys: list[Any]) -> None:
    stage, _ = follower(strict_authority([devnet_key("before")]))
    assert stage.state.need(NODE, "extra").next_key == devnet_key("before").public
    stage.block(account_update("extra", active=strict_authority(keys)))
    assert stage.state.need(NODE, "extra").next_key is None


def test_who_does_not_follow_has_no_next_key() -> None:
    stage, _ = follower(strict_authority([devnet_key("fresh")]), follow=False)
    stage.block(account_update("runner01", active=strict_authority([devnet_key("fresh")])))
    assert not [member for _, member in stage.state.walk(NODE) if member.next_key]


def test_node_add_clears_the_next_key_and_a_leaving_member_follows_nothing() -> None:
    stage, extra = follower(strict_authority([devnet_key("fresh")]))
    stage.block(stage.node_add("extra", extra.signing_key, follow=True))
    assert stage.state.need(NODE, "extra").next_key is None
    stage.block(account_update("extra", active=strict_authority([devnet_key("fresh")])))
    stage.block(custom_json("extra", "node_delete", "{}"))
    assert stage.state.need(NODE, "extra").next_key is None
    stage.block(account_update("extra", active=strict_authority([devnet_key("fresh")])))
    assert stage.state.need(NODE, "extra").next_key is None


def test_a_report_by_the_next_key_makes_it_the_signing_key() -> None:
    fresh = devnet_key("fresh")
    stage, extra = follower(strict_authority([fresh]))
    stage.run_to(121)
    stage.block(stage.report(extra, key=fresh))
    found = stage.state.need(NODE, "extra")
    assert (found.signing_key, found.next_key, found.count) == (fresh.public, None, 0)
    assert stage.state.need(schema.KEY, fresh.public).account == "extra"
    assert stage.state.need(schema.KEY, extra.signing_key.public).account == "extra"  # had, for ever
    assert stage.state.need(REPORT, "extra").key == fresh.public


def test_a_next_key_that_another_member_has_by_then_does_not_count() -> None:
    fresh = devnet_key("fresh")
    stage, extra = follower(strict_authority([fresh]))
    stage.run_to(121)
    stage.block(stage.node_add("runner02", fresh))
    stage.block(stage.report(extra, key=fresh))
    assert [entry.code for _, entry in stage.state.walk(schema.REJECTED)] == ["bad_signature"]
    stage.block(stage.report(extra))
    assert stage.state.need(REPORT, "extra").key == extra.signing_key.public
    assert stage.state.need(NODE, "runner02").signing_key == fresh.public
