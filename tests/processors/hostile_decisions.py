"""The part of the hostile corpus that is about tokens, proposals, votes and emergencies (protocol section 10)."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from node.devnet.founding import GROUP
from processors.hive.operations import Operation
from state.schema import MS, PROPOSALS
from tests.processors.blocks import Stage, custom_json
from tests.processors.offers import BROKEN, GOOD

#: who sends each operation, and would be listened to
ACTORS = {
    "send": "crowd30",
    "gov_up": "crowd30",
    "gov_down": "crowd30",
    "propose": "crowd31",
    "propose_change": "crowd31",
    "unpropose": "crowd31",
    "vote": "runner04",
    "veto": "runner04",
    "ms_cancel": "runner04",
    "halt": "runner04",
    "resume": "runner04",
    "hold": "runner04",
}
COLLATERAL = {"crowd30": 1_000, "crowd31": 1_000, "crowd32": 1_000}
#: what no body can get on the scene: it is not halted, and has too few members for 200 proposals
ELSEWHERE = {"halted_already", "not_halted", "too_many_proposals"}
Body = dict[str, Any]
Cases = Iterator[tuple[str, str, Callable[[Any], Operation]]]


def say(account: str, name: str, /, **fields: Any) -> Operation:
    return custom_json(account, name, json.dumps(fields, ensure_ascii=False))


def liquid() -> Operation:
    """crowd30 has 400 liquid tokens, some blocks later."""
    return say("crowd30", "gov_down", amount=400)


def proposals(stage: Stage) -> list[Operation]:
    """1 stays open, 2 will be approved, three more are all that crowd32 can have."""
    ops, expires = [["transfer", GOOD["transfer"]]], stage.height + 1_000
    return [say(by, "propose", ops=ops, expires=expires) for by in ("crowd31", "crowd31", *["crowd32"] * 3)]


def votes(begun: str, marked: str) -> list[Operation]:
    """Two of three seats: 2 is approved and locked, a record marked, rotations held; and one vote on three things."""
    both = [
        say(account, name, **fields)
        for name, fields in (("vote", {"id": 2, "yes": True}), ("ms_cancel", {"op": marked}), ("hold", {"on": True}))
        for account in ("runner01", "runner02")
    ]
    return [*both, say("runner01", "vote", id=1, yes=True), say("runner01", "ms_cancel", op=begun)]


def bodies(scene: Any) -> dict[str, Body]:
    """A body of each operation that is in order."""
    height = scene.stage.height + 1
    return {
        "send": {"to": "receiver", "amount": 5, "memo": "thanks"},
        "gov_up": {"amount": 5},
        "gov_down": {"amount": 5},
        "propose": {"ops": [["transfer", GOOD["transfer"]]], "expires": height + 200},
        "propose_change": {"name": "outbid", "value": 120, "delay": 28_800, "expires": height + 200},
        "unpropose": {"id": 1},
        "vote": {"id": 1, "yes": False},
        "veto": {"payload": scene.locked},
        "ms_cancel": {"op": scene.clean},
        **{name: {"on": True} for name in ("halt", "resume", "hold")},
    }


def _with(name: str, account: str = "", /, **changed: Any) -> Callable[[Any], Operation]:
    """The good body of ``name`` with other values; callables are given the scene."""

    def make(scene: Any) -> Operation:
        given = {key: value(scene) if callable(value) else value for key, value in changed.items()}
        return say(account or ACTORS[name], name, **bodies(scene)[name] | given)

    return make


def cases() -> Cases:
    """(what, code, how to make it); what is accepted takes nothing from what comes after it."""
    yield from _tokens()
    yield from _proposals()
    yield from _votes()
    for name in ("send", "gov_up", "gov_down", "propose", "propose_change", "vote", "ms_cancel"):
        yield f"{name}: in order", "accepted", _with(name)
    yield "send: without memo", "accepted", lambda s: say("crowd30", "send", to="nobody-yet", amount=1)
    yield "unpropose: in order", "accepted", _with("unpropose")
    yield "veto: a third at once", "accepted", _with("veto")
    yield "halt: a third at once", "accepted", _with("halt")


def _tokens() -> Cases:
    for name in ("send", "gov_up", "gov_down"):
        yield f"{name}: all there is", "too_little", _with(name, amount=2**63 - 1)
        yield f"{name}: by a stranger", "too_little", _with(name, "stranger")
        yield f"{name}: by the group", "too_little", _with(name, GROUP)
    yield "send: to oneself", "to_self", _with("send", to="crowd30")
    yield "send: to oneself, too much", "to_self", _with("send", to="crowd30", amount=2**63 - 1)
    yield "send: what is locked", "too_little", _with("send", "crowd31")
    yield "gov_down: nothing of nothing", "nothing_leaves", _with("gov_down", "stranger", amount=0)
    yield "gov_down: nothing of something", "nothing_leaves", _with("gov_down", "crowd31", amount=0)


def _proposals() -> Cases:
    for name in ("propose", "propose_change"):
        yield f"{name}: by a stranger", "not_member", _with(name, "stranger")
        yield f"{name}: by the group", "not_member", _with(name, GROUP)
        yield f"{name}: by a leaving member", "not_member", _with(name, "runner03")
        yield f"{name}: by a poor member", "no_collateral", _with(name, "crowd01")
        yield f"{name}: a fourth", "too_many_open", _with(name, "crowd32")
        for words, expires in (("0", 0), ("2^32-1", 2**32 - 1)):
            yield f"{name}: expires {words}", "bad_end", _with(name, expires=expires)
        for ahead in (-1, 0, 99, 201_601):
            made = _with(name, expires=lambda s, ahead=ahead: s.stage.height + 1 + ahead)
            yield f"{name}: expires {ahead} ahead", "bad_end", made
    for name in ("account_update", "account_update2", "withdraw_vesting", "vote", "", "Transfer", "transfеr"):
        made = _with("propose", ops=[["transfer", GOOD["transfer"]], [name, {"account": GROUP}]])
        yield f"propose: {name!r}", "not_offered", made
    for words, ops in (("nothing", [[]]), ("null", [None]), ("a name alone", [["transfer"]]), ("text", ["transfer"])):
        yield f"propose: an operation of {words}", "bad_operation", _with("propose", ops=ops)
    for name, fields in BROKEN.items():
        for field, values in fields.items():
            for words, value in {repr(value)[:40]: value for value in values}.items():
                made = _with("propose", ops=[[name, GOOD[name] | {field: value}]])
                yield f"propose: {name}.{field}: {words}", "bad_operation", made
    for name in ("round_length", "unheard_of", "", "__class__", "Outbid", "x" * 32):
        yield f"propose_change: {name!r}", "unknown_parameter", _with("propose_change", name=name)
    for name, value in (("outbid", 99), ("outbid", 2**63 - 1), ("rotate_owner", 2), ("rules", 0), ("rules", 2**31 + 1)):
        yield f"propose_change: {name} {value}", "bad_value", _with("propose_change", name=name, value=value)
    for delay in (0, 28_799):
        yield f"propose_change: delay {delay}", "too_soon", _with("propose_change", delay=delay)
    for account in ("crowd32", "stranger", GROUP, "runner01"):
        yield f"unpropose: by {account}", "not_proposer", _with("unpropose", account)
    for number in (2, 6, 2**63 - 1):
        yield f"unpropose: {number}", "unknown_proposal", _with("unpropose", id=number)
        yield f"vote: {number}", "unknown_proposal", _with("vote", id=number)


def _votes() -> Cases:
    for name in ("vote", "veto", "ms_cancel", "halt", "resume", "hold"):
        for account in ("stranger", GROUP, "runner03", "crowd31"):
            yield f"{name}: by {account}", "no_seat", _with(name, account)
    yield "vote: the same again", "voted_already", _with("vote", "runner01", yes=True)
    yield "veto: nothing", "unknown_payload", _with("veto", payload=2**63 - 1)
    yield "veto: a standing payout", "not_waiting", _with("veto", payload=lambda s: s.record(s.clean).payloads[0])
    yield "ms_cancel: the same again", "voted_already", _with("ms_cancel", "runner01", op=lambda s: s.begun)
    yield "ms_cancel: marked already", "op_cancelled", _with("ms_cancel", op=lambda s: s.marked)
    for op in ("0:0:0", "227:1:1"):
        yield f"ms_cancel: unknown {op}", "unknown_op", _with("ms_cancel", op=op)
    yield "halt: none to take back", "voted_already", _with("halt", on=False)
    yield "resume: none to take back", "voted_already", _with("resume", on=False)
    for on in (True, False):
        yield f"hold: {on}", "held_already", _with("hold", on=on)
    yield "sig_submit: marked", "op_cancelled", _submit
    yield "sig_refuse: marked", "op_cancelled", lambda s: say("runner02", "sig_refuse", op=s.marked, why="policy")


def _submit(scene: Any) -> Operation:
    sig = scene.one.signing_key.sign(scene.record(scene.marked).digest)
    return say("stranger", "sig_submit", op=scene.marked, sig=sig.hex())


def check(scene: Any) -> None:
    """The scene is what the cases say of it."""
    state = scene.stage.state
    assert state.need(PROPOSALS).last == 5
    assert state.need(MS, scene.marked).status == "cancelled"
