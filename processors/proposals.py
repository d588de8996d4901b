"""Proposals: made, voted on, decided (protocol section 10)."""

from typing import Any

from msgspec.structs import replace

from processors import offered, spending, votes
from processors.context import Context, enqueue, forget_votes, schedule
from processors.errors import Rejected
from processors.hive.chain import ASSET_NAMES
from processors.hive.operations import Operation
from processors.params import BOUNDS, is_proposable
from processors.registry import custom_json, job
from processors.seats import collateral
from processors.shapes import FLAG, Field, integer, text
from processors.upgrades import RULES, rules_in_force
from state.schema import (
    ACTION,
    CHANGE,
    CHRON,
    DECIDED,
    NODE,
    PROPOSAL,
    PROPOSALS,
    QUEUE,
    RUNNER,
    Action,
    Decided,
    Numbered,
    Parameter,
    Payload,
    Proposal,
)

#: Blocks ahead that a proposal's end can lie.
LEAST_LIFE, LONGEST_LIFE = 100, 201_600
OPEN_OF_ONE, OPEN_OF_ALL = 3, 200
LONGEST_DELAY = 10_512_000

_HEIGHT = integer(0, 2**32 - 1)
_NUMBER = integer(1, 2**63 - 1)
_OPERATIONS = Field(list, lambda value: 1 <= len(value) <= offered.MAX_OPERATIONS)


@custom_json("propose", {"ops": _OPERATIONS, "expires": _HEIGHT})
def propose(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """Operations of the group account to be decided on."""
    _check_proposer(ctx, account)
    _check_end(ctx, body["expires"])
    operations = offered.read_operations(ctx, body["ops"])
    _check_places(ctx, account)
    _put(ctx, account, body["expires"], ops=offered.pack_operations(operations, ctx.genesis.chain))


@custom_json(
    "propose_change",
    {
        "name": text(lambda value: len(value) <= 32 and value.isascii()),
        "value": integer(0, 2**63 - 1),
        "delay": integer(0, LONGEST_DELAY),
        "expires": _HEIGHT,
    },
)
def propose_change(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """Another value of a parameter, or the number of the rules, from a height on."""
    name, value = body["name"], body["value"]
    _check_proposer(ctx, account)
    _check_end(ctx, body["expires"])
    if name != RULES and not is_proposable(name):
        raise Rejected("unknown_parameter")
    in_force = rules_in_force(ctx.view)
    low, high = (in_force, in_force + 1) if name == RULES else BOUNDS[name][:2]
    if not low <= value <= high:
        raise Rejected("bad_value")
    if body["delay"] < ctx.params.change_delay:
        raise Rejected("too_soon")
    _check_places(ctx, account)
    _put(ctx, account, body["expires"], name=name, value=value, delay=body["delay"])


@custom_json("unpropose", {"id": _NUMBER})
def unpropose(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """Its proposer takes a proposal back that is not decided."""
    proposal = _open(ctx, body["id"])
    if proposal.proposer != account:
        raise Rejected("not_proposer")
    _end(ctx, body["id"], proposal, "cancelled")


@custom_json("vote", {"id": _NUMBER, "yes": FLAG})
def vote(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """A seat's vote, which it may change until the proposal is decided."""
    number = body["id"]
    votes.need_seat(ctx, account)
    _open(ctx, number)
    votes.need_change(ctx, subject(number), account, body["yes"])
    votes.cast(ctx, subject(number), account, body["yes"])
    decide(ctx, number)


@job("proposal_ends")
def proposal_ends(ctx: Context, what: str) -> None:
    """A proposal that was not decided ends."""
    number = int(what)
    _end(ctx, number, ctx.view.need(PROPOSAL, number), "expired")


@job("forget_proposal")
def forget_proposal(ctx: Context, what: str) -> None:
    """The end of a proposal is ``history`` blocks old."""
    ctx.view.delete(DECIDED, int(what))


def subject(number: int) -> str:
    """What votes on a proposal are about."""
    return f"proposal:{number}"


def decide(ctx: Context, number: int) -> None:
    """Count; more than half of the seats decide."""
    proposal = ctx.view.need(PROPOSAL, number)
    yes, no, seats = votes.count(ctx, subject(number))
    if yes * 2 > seats:
        _approve(ctx, number, proposal)
    elif no * 2 > seats:
        _end(ctx, number, proposal, "rejected")


def _check_proposer(ctx: Context, account: str) -> None:
    member = ctx.view.get(NODE, account)
    if member is None or member.leaving:
        raise Rejected("not_member")
    if collateral(ctx, account) < max(1, ctx.params.min_collateral):
        raise Rejected("no_collateral")


def _check_end(ctx: Context, expires: int) -> None:
    if not LEAST_LIFE <= expires - ctx.height <= LONGEST_LIFE:
        raise Rejected("bad_end")


def _check_places(ctx: Context, account: str) -> None:
    proposers = [proposal.proposer for _, proposal in ctx.view.walk(PROPOSAL)]
    if proposers.count(account) >= OPEN_OF_ONE:
        raise Rejected("too_many_open")
    if len(proposers) >= OPEN_OF_ALL and ctx.view.get(RUNNER, account) is None:  # strangers must not silence seats
        raise Rejected("too_many_proposals")


def _open(ctx: Context, number: int) -> Proposal:
    proposal = ctx.view.get(PROPOSAL, number)
    if proposal is None:
        raise Rejected("unknown_proposal")
    return proposal


def _put(
    ctx: Context, account: str, expires: int, *, ops: bytes = b"", name: str = "", value: int = 0, delay: int = 0
) -> None:
    last = ctx.view.get(PROPOSALS)
    number = last.last + 1 if last is not None else 1
    ctx.view.put(PROPOSALS, Numbered(number))
    job_key = schedule(ctx, expires, "proposal_ends", str(number))
    ctx.view.put(PROPOSAL, Proposal(account, ctx.height, expires, ops, name, value, delay, job_key), number)


def _approve(ctx: Context, number: int, proposal: Proposal) -> None:
    payload = 0
    if proposal.name:
        length = ctx.params.round_length
        # the first block after the end of the round: whole rounds have one set of parameters
        height = -(-(ctx.height + proposal.delay) // length) * length + 1
        for (at, name), _ in ctx.view.walk(CHANGE):  # what was approved before gives way: so it can be taken back
            if name == proposal.name:
                ctx.view.delete(CHANGE, at, name)
        ctx.view.put(CHANGE, Parameter(proposal.value), height, proposal.name)
    else:
        payload = _enqueue(ctx, number, offered.unpack_operations(proposal.ops, ctx.genesis.chain))
    _end(ctx, number, proposal, "approved", payload)


def _enqueue(ctx: Context, number: int, operations: list[Operation]) -> int:
    """The payload of an approved proposal joins the queue, with what its fields do not say beside it."""
    hive, hbd = offered.leaves(ctx.group, operations)
    not_before = ctx.height + ctx.params.large_delay if spending.is_large(ctx, hive, hbd) else 0
    first = operations[0]
    if [operation.name for operation in operations] == ["transfer"]:
        amount, memo = first.value["amount"], first.value["memo"]
        to, asset, packed = first.value["to"], ASSET_NAMES[amount.kind], b""
        payload = Payload("payout", 0, ctx.height, to, amount.amount, asset, memo, "", ())
    else:
        packed = offered.pack_operations(operations, ctx.genesis.chain)
        payload = Payload("payout", 0, ctx.height, "", 0, "", "", "", ())
    found = enqueue(ctx, payload)
    if ctx.view.get(QUEUE, found) is not None:  # a full queue has failed it
        ctx.view.put(ACTION, Action(number, not_before, hive, hbd, packed), found)
    return found


def _end(ctx: Context, number: int, proposal: Proposal, status: str, payload: int = 0) -> None:
    """A proposal is decided, or over; its entry stays for ``history`` blocks."""
    yes, no, seats = votes.count(ctx, subject(number))
    ctx.view.delete(PROPOSAL, number)
    ctx.view.delete(CHRON, *proposal.job)
    forget_votes(ctx, subject(number))
    if status == "cancelled":  # nobody decided anything, and making and taking back must not fill the state
        return
    if status != "approved":
        proposal = replace(proposal, ops=b"")
    ctx.view.put(DECIDED, Decided(proposal, status, ctx.height, yes, no, seats, payload), number)
    schedule(ctx, ctx.height + ctx.params.history, "forget_proposal", str(number))
