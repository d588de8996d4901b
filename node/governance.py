"""What the state shows of governance and treasury, as one value: commands, the API and the screens read this.

Pure functions of a state; every list is bounded by the protocol or here.
"""

from typing import Any

import msgspec

from processors.contents import Content, contents
from processors.emergencies import emergency
from processors.genesis import Genesis
from processors.hive.operations import show_operation
from processors.offered import unpack_operations
from processors.params import BOUNDS, Params
from processors.upgrades import RULES
from state.schema import (
    BALANCE,
    CHANGE,
    CHANGED,
    COLLATERAL,
    DECIDED,
    LEAVING,
    MOVE,
    PARAM,
    PROPOSAL,
    QUEUE,
    RUNNER,
    SPENDING,
    TALLY,
    TREASURY,
    VOTE,
    Proposal,
)
from state.state import State

#: Payloads, ended proposals and movements that are shown, the newest; the counts beside them are whole.
MAX_SHOWN = 100
DECIMALS = {"HIVE": 3, "HBD": 3}


class VoteView(msgspec.Struct, frozen=True):
    """``counts``: whether the account has a seat now."""

    account: str
    yes: bool
    counts: bool


class ProposalView(msgspec.Struct, frozen=True):
    """A proposal; ``ops`` as Hive's API shows them, or the change of ``name`` to ``value`` after ``delay`` blocks.

    ``status`` is open, approved, rejected, expired or cancelled; ``yes``, ``no``: of the ``seats`` then.
    """

    id: int
    status: str
    proposer: str
    made: int
    expires: int
    ops: list[Any]
    name: str
    value: int
    delay: int
    yes: int
    no: int
    seats: int
    ended: int
    payload: int
    votes: tuple[VoteView, ...] = ()


class PayloadView(msgspec.Struct, frozen=True):
    """A payload of the queue: ``out`` = the group transaction that carries it; ``waits`` = why it waits, in words."""

    id: int
    what: str
    proposal: int
    expiries: int
    out: str
    locked_until: int
    waits: str


class HoldingView(msgspec.Struct, frozen=True):
    """Of one asset, smallest units: known to be held; built within the window; the limit."""

    asset: str
    income: int
    spent: int
    built: int
    limit: int
    large: int


class Overview(msgspec.Struct, frozen=True):
    """Governance at ``height``.

    ``worth``: what the safety limit is held to be worth; ``over_value``: the group is known to hold more.
    """

    height: int
    seats: tuple[str, ...]
    halted_until: int
    halt_again: int
    held_until: int
    ballots: dict[str, list[VoteView]]
    proposals: tuple[ProposalView, ...]
    decided: tuple[ProposalView, ...]
    queue: tuple[PayloadView, ...]
    waiting: int
    holdings: tuple[HoldingView, ...]
    safety_limit: int
    worth: int
    over_value: bool
    changes: tuple[tuple[int, str, int], ...]


class Tokens(msgspec.Struct, frozen=True):
    """An account's tokens, smallest units, and its newest movements, the newest first."""

    height: int
    account: str
    liquid: int
    locked: int
    leaving: int
    parts_left: int
    next_part: int
    moves: tuple[tuple[int, str, str, int, str], ...]


def known_value(state: State, params: Params) -> tuple[int, int, bool]:
    """(what the group is known to hold of HIVE and HBD, what the safety limit is held to be worth, held > worth)."""
    held = sum(max(0, found.income - found.spent) for _, found in state.walk(TREASURY))
    worth = state.need(TALLY).limit * params.value_limit // 1_000
    return held, worth, held > worth


def overview(state: State, genesis: Genesis, params: Params) -> Overview:
    """All of it."""
    stopped = emergency(state)
    seats = tuple(str(account) for (account,), _ in state.walk(RUNNER))
    ballots: dict[str, list[VoteView]] = {}
    for (what, account), vote in state.walk(VOTE):
        if not str(what).startswith("proposal:"):
            ballots.setdefault(str(what), []).append(VoteView(str(account), vote.yes, account in seats))
    queue = [int(number) for (number,), _ in state.walk(QUEUE)]
    decided = [int(number) for (number,), _ in state.walk(DECIDED)]
    _, worth, is_over = known_value(state, params)
    return Overview(
        height=state.height,
        seats=seats,
        halted_until=stopped.halted_until,
        halt_again=stopped.halt_again,
        held_until=stopped.held_until,
        ballots=ballots,
        proposals=tuple(_open(state, genesis, int(number), one) for (number,), one in state.walk(PROPOSAL)),
        decided=tuple(_ended(state, genesis, number) for number in reversed(decided[-MAX_SHOWN:])),
        queue=tuple(_payload(state, params, content) for content in contents(state, queue[:MAX_SHOWN])),
        waiting=sum(not payload.out for _, payload in state.walk(QUEUE)),
        holdings=tuple(_holding(state, params, asset) for asset in DECIMALS),
        safety_limit=state.need(TALLY).limit,
        worth=worth,
        over_value=is_over,
        changes=tuple((int(height), str(name), one.value) for (height, name), one in state.walk(CHANGE)),
    )


def tokens(state: State, account: str) -> Tokens:
    """What an account has."""
    balance, collateral = state.get(BALANCE, account), state.get(COLLATERAL, account)
    leaving = state.get(LEAVING, account)
    moves = [move for _, move in state.walk(MOVE, account)]
    return Tokens(
        height=state.height,
        account=account,
        liquid=balance.liquid if balance is not None else 0,
        locked=collateral.locked if collateral is not None else 0,
        leaving=collateral.leaving if collateral is not None else 0,
        parts_left=4 - leaving.parts if leaving is not None else 0,
        next_part=leaving.job[0] if leaving is not None else 0,
        moves=tuple((one.height, one.kind, one.other, one.amount, one.memo) for one in reversed(moves)),
    )


def parameters(state: State, params: Params, height: int) -> dict[str, int]:
    """Every parameter, and the rules, as they were in force at ``height``: now less what changed since."""
    found = {name: int(getattr(params, name)) for name in BOUNDS}
    rules = state.get(PARAM, RULES)
    found[RULES] = rules.value if rules is not None else 1
    changed = [(int(at), str(name), one) for (at, name), one in state.walk(CHANGED) if int(at) > height]
    for _, name, one in sorted(changed, key=lambda entry: entry[:2], reverse=True):
        if one.is_in_force:
            found[name] = one.before
    return found


def words_of(content: Content) -> str:
    """A payload for people, in one line."""
    payload = content.payload
    if payload.kind == "rotation":
        return "rotation of the group's keys"
    if content.is_transfer:
        return f"transfer {amount_text(payload.amount, payload.asset)} to {payload.to}"
    asset, amount = content.spends
    return f"operations of proposal {content.action.proposal if content.action else 0}" + (
        f", {amount_text(amount, asset)} leave" if amount else ""
    )


def amount_text(amount: int, asset: str) -> str:
    """Smallest units of HIVE or HBD as people write them: 1.000 HIVE."""
    return f"{amount // 1000}.{amount % 1000:03} {asset}"


def _shown(genesis: Genesis, number: int, one: Proposal, **fields: Any) -> ProposalView:
    ops = unpack_operations(one.ops, genesis.chain) if one.ops else []
    shown = [show_operation(operation, genesis.chain, typed=False) for operation in ops]
    return ProposalView(
        number,
        proposer=one.proposer,
        made=one.made,
        expires=one.expires,
        ops=shown,
        name=one.name,
        value=one.value,
        delay=one.delay,
        **fields,
    )


def _open(state: State, genesis: Genesis, number: int, one: Proposal) -> ProposalView:
    seats = {str(account) for (account,), _ in state.walk(RUNNER)}
    cast = [(str(who), vote.yes) for (_, who), vote in state.walk(VOTE, f"proposal:{number}")]
    counted = [yes for who, yes in cast if who in seats]
    return _shown(
        genesis,
        number,
        one,
        status="open",
        yes=counted.count(True),
        no=counted.count(False),
        seats=len(seats),
        ended=0,
        payload=0,
        votes=tuple(VoteView(who, yes, who in seats) for who, yes in cast),
    )


def _ended(state: State, genesis: Genesis, number: int) -> ProposalView:
    found = state.need(DECIDED, number)
    return _shown(
        genesis,
        number,
        found.proposal,
        status=found.status,
        yes=found.yes,
        no=found.no,
        seats=found.seats,
        ended=found.height,
        payload=found.payload,
    )


def _payload(state: State, params: Params, content: Content) -> PayloadView:
    action, payload = content.action, content.payload
    locked = action.not_before if action is not None and state.height < action.not_before else 0
    return PayloadView(
        content.number,
        words_of(content),
        action.proposal if action is not None else 0,
        payload.expiries,
        payload.out,
        locked,
        "" if payload.out else _why_it_waits(state, params, content, locked),
    )


def why_it_waits(state: State, params: Params, number: int) -> str:
    """What holds a waiting payload up, as far as the state shows it."""
    [content] = contents(state, [number])
    action = content.action
    locked = action.not_before if action is not None and state.height < action.not_before else 0
    return _why_it_waits(state, params, content, locked)


def _why_it_waits(state: State, params: Params, content: Content, locked: int) -> str:
    """What holds a payload up, as far as the state shows it."""
    stopped = emergency(state)
    if content.payload.kind == "rotation":
        is_held = state.height < stopped.held_until
        return f"rotations are held until block {stopped.held_until}" if is_held else "its turn"
    if state.height < stopped.halted_until:
        return f"the group is halted until block {stopped.halted_until}"
    if locked:
        return f"its time lock ends at block {locked}; a third of the seats can veto it"
    asset, amount = content.spends
    if amount and content.action is not None:
        found = _holding(state, params, asset)
        if found.built + amount > found.limit:
            held = f"{amount_text(found.built, asset)} of {amount_text(found.limit, asset)}"
            return f"the limit: {held} were built within {params.spend_window} blocks"
    if state.need(TALLY).is_open:
        return "the last round was open: nothing is built until a tally agrees"
    return "its turn"


def _holding(state: State, params: Params, asset: str) -> HoldingView:
    held, built = state.get(TREASURY, asset), state.get(SPENDING, asset)
    return HoldingView(
        asset,
        held.income if held is not None else 0,
        held.spent if held is not None else 0,
        built.amount if built is not None else 0,
        int(getattr(params, f"spend_limit_{asset.lower()}")),
        int(getattr(params, f"large_{asset.lower()}")),
    )
