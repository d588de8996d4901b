"""One function for each entry of tests/deviations.toml: an honest history, and the one thing that is wrong in it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from node.devnet.founding import GROUP, MemberKeys, devnet_key, found, genesis_document
from processors import emergencies, engine, members, strict_json, upgrades
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction
from processors.hive.types import Asset
from state.schema import COLLATERAL, REJECTED, Collateral, encode_value
from state.snapshot import create
from state.store import MemoryStore
from tests.node.audit.play import Planted, Play, altered, signed
from tests.processors.blocks import account_update, custom_json, custom_json_with_id, strict_authority, transfer

PLANTS: dict[str, Callable[[Path], Planted]] = {}
STRANGER = devnet_key("stranger")


def plant(name: str) -> Callable[[Callable[[Path], Planted]], Callable[[Path], Planted]]:
    """Register the function of a deviation."""

    def register(function: Callable[[Path], Planted]) -> Callable[[Path], Planted]:
        PLANTS[name] = function
        return function

    return register


def planted(play: Play, **given: Any) -> Planted:
    return Planted(play.blocks, play.stage.genesis, document=play.stage.document, **given)


# -- 1: the feed


@plant("link-broken")
def _(folder: Path) -> Planted:
    play = Play()
    play.run(30)
    other = altered(play.blocks[20], lambda shown: shown.update(previous=shown["previous"][:8] + "00" * 16))
    return Planted([*play.blocks[:20], other, *play.blocks[21:]], play.stage.genesis)


@plant("block-missing")
def _(folder: Path) -> Planted:
    play = Play()
    play.run(30)
    return Planted(play.blocks[:20] + play.blocks[21:], play.stage.genesis)


def with_change(change: Callable[[dict[str, Any]], None]) -> Planted:
    """Block 20 has two foreign transfers, and is changed on its way to the auditor, who has the right header."""
    play = Play()
    play.run(19)
    play.block(transfer("alice", "bobby", 5), transfer("bobby", "alice", 7))
    play.run(10)
    blocks = play.blocks
    return Planted([*blocks[:20], altered(blocks[20], change), *blocks[21:]], play.stage.genesis)


@plant("transaction-left-out")
def _(folder: Path) -> Planted:
    return with_change(lambda shown: shown["transactions"].pop())


@plant("amount-changed")
def _(folder: Path) -> Planted:
    def change(shown: dict[str, Any]) -> None:
        shown["transactions"][0]["operations"][0]["value"]["amount"]["amount"] = "6"

    return with_change(change)


@plant("time-stands-still")
def _(folder: Path) -> Planted:
    play = Play()
    play.run(20)
    play.block(seconds=0)
    play.run(5)
    return planted(play)


@plant("witness-forged")
def _(folder: Path) -> Planted:
    play = Play()
    play.run(20)
    play.block(witness=b"\7" * 32)
    play.run(5)
    return planted(play)


# -- 2: the genesis


@plant("genesis-authority")
def _(folder: Path) -> Planted:
    """The document names the members' keys; on chain stood one that nobody told of."""
    hidden = devnet_key("hidden")
    play = Play()
    play.tamper = lambda play, op, tx: signed(tx, [hidden])
    while not play.sent:
        play.block()
    play.run(5)
    return planted(play)


@plant("genesis-collateral")
def _(folder: Path) -> Planted:
    play = Play()
    play.run(120)
    document = genesis_document(
        play.stage.members,
        start_block=100,
        parameters={"round_length": 50, "report_at": 20, "recast_every": 10, "ripe_rounds": 1},
        authority=strict_authority(play.keys),
        payouts=[],
        collateral={"runner01": 1_001},
    )
    return Planted(play.blocks, found(document))


# -- 3 and 4: operations, as replicas take them that are not by the rules


@plant("twenty-first-rejection")
def _(folder: Path) -> Planted:
    def write_all(ctx: Any, rejection: Any, rejected: int) -> None:
        engine.forget_block(ctx)
        ctx.view.put(REJECTED, rejection, ctx.height, ctx.op_index)

    with patch.object(engine, "_write_rejection", write_all):
        return with_operations(*[custom_json(f"nobody{number:02}", "node_delete", "{}") for number in range(21)])


def with_operations(*operations: Operation) -> Planted:
    """Operations in block 111, and the reports of the round after it."""
    play = Play()
    play.run(10)
    play.block(*operations)
    play.round_end()
    play.round_end()
    return planted(play)


@plant("two-active-auths")
def _(folder: Path) -> Planted:
    genuine_ours, genuine_apply = engine._ours, engine._apply

    def ours(ctx: Any, body: Any) -> Any:
        return genuine_ours(ctx, {**body, "required_auths": list(body["required_auths"])[:1]})

    def apply(ctx: Any, rule: Any, operation: Operation, *rest: Any) -> int:
        if rule.kind == "json":
            first = operation.value["required_auths"][:1]
            operation = Operation(operation.name, operation.value | {"required_auths": first})
        return genuine_apply(ctx, rule, operation, *rest)

    with patch.object(engine, "_ours", ours), patch.object(engine, "_apply", apply):
        return with_operations(custom_json("runner01", "gov_down", '{"amount":5}', active=("runner01", "runner02")))


@plant("loose-json")
def _(folder: Path) -> Planted:
    with patch.object(strict_json, "parse", json.loads):
        return with_operations(custom_json("runner01", "gov_down", '{"amount":5,"amount":6}'))


@plant("authority-from-outside")
def _(folder: Path) -> Planted:
    play = Play()
    play.run(10)
    wider = strict_authority([*play.keys, STRANGER])
    play.block(play.acted(play.keys[:3], account_update(GROUP, active=wider)))
    play.run(5)
    return planted(play)


@plant("pop-of-another")
def _(folder: Path) -> Planted:
    genuine = members.pop_digest
    with patch.object(members, "pop_digest", lambda hashed, account: genuine(hashed, "another")):
        play = Play()
        play.run(10)
        play.block(play.stage.node_add("stranger", devnet_key("new"), pop_account="another"))
        play.round_end()
        play.round_end()
    return planted(play)


# -- 5: reports


def reporting(change: Callable[[Play, MemberKeys], list[Operation]]) -> Planted:
    """One round in which what members report is changed."""
    play = Play()
    play.round_end()
    play.reporting = lambda who: change(play, who)
    play.round_end()
    play.reporting = lambda who: [play.stage.report(who)]
    play.round_end()
    return planted(play)


@plant("false-root")
def _(folder: Path) -> Planted:
    def one_lies(play: Play, who: MemberKeys) -> list[Operation]:
        return [play.stage.report(who, root=b"\3" * 32 if who.account == "runner03" else None)]

    return reporting(one_lies)


@plant("false-agreement")
def _(folder: Path) -> Planted:
    return reporting(lambda play, who: [play.stage.report(who, root=b"\1" * 32)])


@plant("two-reports")
def _(folder: Path) -> Planted:
    def twice(play: Play, who: MemberKeys) -> list[Operation]:
        second = [play.stage.report(who, root=b"\2" * 32)] if who.account == "runner02" else []
        return [play.stage.report(who), *second]

    return reporting(twice)


@plant("other-header")
def _(folder: Path) -> Planted:
    def other(play: Play, who: MemberKeys) -> list[Operation]:
        body = play.stage.report_body(who)
        if who.account == "runner04":
            body["hdr"]["pre"] ^= 1
        return [custom_json(who.account, "report", json.dumps(body))]

    return reporting(other)


# -- 6 and 7: what was built, and who signed it


def sending(tamper: Callable[[Play, Transaction], Transaction]) -> Planted:
    """What is broadcast first is changed; nothing is sent after it."""
    play = Play()
    play.tamper = lambda play, op, tx: None if play.sent else tamper(play, tx)
    while not play.sent:
        play.block()
    play.run(10)
    return planted(play)


def paying(tx: Transaction, **changed: Any) -> Transaction:
    """The transaction with another first operation."""
    first, *others = tx.operations
    return replace(tx, operations=(Operation(first.name, first.value | changed), *others))


@plant("payout-altered")
def _(folder: Path) -> Planted:
    return sending(lambda play, tx: signed(paying(tx, amount=Asset(9_000, 0)), play.keys))


@plant("receiver-altered")
def _(folder: Path) -> Planted:
    return sending(lambda play, tx: signed(paying(tx, to="stranger"), play.keys))


@plant("lifetime-altered")
def _(folder: Path) -> Planted:
    return sending(lambda play, tx: signed(replace(tx, expiration=tx.expiration + 1), play.keys))


@plant("too-few-signatures")
def _(folder: Path) -> Planted:
    return sending(lambda play, tx: replace(tx, signatures=tx.signatures[:2]))


@plant("signed-by-those-before")
def _(folder: Path) -> Planted:
    founder = devnet_key("runner01 signing")
    play = Play(authority=strict_authority([founder]))
    while not any(tx.operations[0].name == "account_update" for tx in play.sent):
        play.block()
    play.run(3)
    play.sent.clear()
    play.tamper = lambda play, op, tx: signed(tx, [founder])
    while not play.sent:
        play.block()
    play.run(3)
    return planted(play)


@plant("foreign-signature")
def _(folder: Path) -> Planted:
    return sending(lambda play, tx: signed(tx, [*play.keys[:3], STRANGER]))


@plant("signature-garbled")
def _(folder: Path) -> Planted:
    return sending(lambda play, tx: replace(tx, signatures=(*tx.signatures, b"\x1f" + b"\xff" * 64)))


# -- 8: in time, and once


@plant("included-late")
def _(folder: Path) -> Planted:
    play = Play()
    play.tamper = lambda play, op, tx: None
    while not play.stage.records():
        play.block()
    play.run(3)
    play.block(seconds=4_000)
    play.tamper = lambda play, op, tx: tx
    play.block()
    play.run(2)
    return planted(play)


@plant("included-twice")
def _(folder: Path) -> Planted:
    play = Play()
    while not play.sent:
        play.block()
    play.block(play.sent[0])
    play.run(2)
    return planted(play)


# -- 9: state, root, rules


@plant("snapshot-differs")
def _(folder: Path) -> Planted:
    """Somebody's state has another collateral since the middle of the round."""
    play = Play(stores=(MemoryStore(), MemoryStore()))
    play.run(10)
    other, key, poor = play.stage.states[1], ("runner01",), Collateral(999, 0)
    other._take(COLLATERAL, key, poor, encode_value(poor))
    other._forest.change(COLLATERAL.name, COLLATERAL.key(key), encode_value(poor))
    play.round_end()
    list(create(other.freeze(), folder))
    play.run(3)
    return planted(play, snapshots=folder)


@plant("trusted-root-differs")
def _(folder: Path) -> Planted:
    play = Play()
    play.round_end()
    play.round_end()
    return planted(play, trusted={150: b"\5" * 32})


@plant("rules-to-come")
def _(folder: Path) -> Planted:
    with patch.object(upgrades, "KNOWN_RULES", 2):
        play = Play(parameters={"change_delay": 0})
        play.run(5)
        body = {"name": "rules", "value": 2, "delay": 0, "expires": play.stage.height + 150}
        play.block(custom_json("runner01", "propose_change", json.dumps(body)))
        play.block(*[says(who, "vote", id=1, yes=True) for who in play.stage.members])
        play.round_end()
        play.round_end()
        play.round_end()
    return planted(play)


def says(who: MemberKeys, name: str, **body: Any) -> Operation:
    """What a member says."""
    return custom_json(who.account, name, json.dumps(body))


# -- 10: what the seats decide


@plant("never-approved")
def _(folder: Path) -> Planted:
    return acting(transfer(GROUP, "stranger", 77))


def acting(*operations: Operation, **fields: Any) -> Planted:
    """All members' keys let the group account do something."""
    play = Play()
    play.run(10)
    play.block(play.acted(play.keys, *operations, **fields))
    play.run(3)
    return planted(play)


@plant("marked-and-sent")
def _(folder: Path) -> Planted:
    play = Play()
    kept: list[Transaction] = []
    play.tamper = lambda play, op, tx: kept.append(tx)
    while not kept:
        play.block()
    [op] = play.stage.records()
    play.block(*[says(who, "ms_cancel", op=op) for who in play.stage.members[:3]])
    play.block(kept[0])
    play.run(3)
    return planted(play)


@plant("halted-and-paid")
def _(folder: Path) -> Planted:
    with patch.object(emergencies, "is_halted", lambda ctx: False):
        play = Play()
        play.run(5)
        play.block(*[says(who, "halt", on=True) for who in play.stage.members])
        while not play.sent:
            play.block()
        play.round_end()
        play.round_end()
    return planted(play)


# -- 11 and 12: what a node would not sign, what Hive would not take


@plant("signs-what-is-not")
def _(folder: Path) -> Planted:
    return acting(transfer(GROUP, "stranger", 77), custom_json(GROUP, "ms_signed", '{"op":"105:105:1"}'))


@plant("role-not-its-own")
def _(folder: Path) -> Planted:
    return acting(custom_json_with_id("follow", "[]", posting=(GROUP,)))


@plant("reference-block")
def _(folder: Path) -> Planted:
    return acting(transfer(GROUP, "stranger", 77), ref_block_prefix=12_345)


@plant("recovery-asked")
def _(folder: Path) -> Planted:
    play = Play()
    play.run(10)
    value = {"recovery_account": "stranger", "account_to_recover": GROUP}
    value |= {"new_owner_authority": strict_authority([STRANGER]), "extensions": ()}
    play.block(play.acted([STRANGER], Operation("request_account_recovery", value)))
    play.run(3)
    return planted(play)


@plant("recovery-account-changed")
def _(folder: Path) -> Planted:
    value = {"account_to_recover": GROUP, "new_recovery_account": "stranger", "extensions": ()}
    return acting(Operation("change_recovery_account", value))


@plant("three-owner-changes")
def _(folder: Path) -> Planted:
    play = Play()
    play.run(5)
    for number in range(3):
        wider = strict_authority([*play.keys, devnet_key(f"other {number}")])
        play.block(play.acted(play.keys, account_update(GROUP, owner=wider)))
    play.run(3)
    return planted(play)
