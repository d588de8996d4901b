"""What seats can stop: payloads behind a time lock, group transactions, payouts, rotations (protocol section 10)."""

from typing import Any

from msgspec.structs import replace

from processors import spending, votes
from processors.context import Context, finish, forget_votes
from processors.errors import Rejected
from processors.registry import custom_json
from processors.shapes import FLAG, OP_ID, integer
from processors.signatures import CANCELLED
from state.schema import ACTION, EMERGENCY, MS, QUEUE, Done, Emergency
from state.view import Base

_ON = {"on": FLAG}


@custom_json("veto", {"payload": integer(1, 2**63 - 1)})
def veto(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """Cancels a payload that waits: a third of the seats while it is locked, else more than half."""
    number = body["payload"]
    votes.need_seat(ctx, account)
    payload = ctx.view.get(QUEUE, number)
    if payload is None:
        raise Rejected("unknown_payload")
    if not _can_be_vetoed(ctx, number):
        raise Rejected("not_waiting")
    votes.need_change(ctx, f"payload:{number}", account, True)
    votes.cast(ctx, f"payload:{number}", account, True)
    decide_payload(ctx, number)


@custom_json("ms_cancel", {"op": OP_ID})
def ms_cancel(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """More than half of the seats mark a group transaction: no node signs or broadcasts it any more."""
    op = body["op"]
    votes.need_seat(ctx, account)
    record = ctx.view.get(MS, op)
    if record is None:
        raise Rejected("unknown_op")
    if record.status == CANCELLED:
        raise Rejected("op_cancelled")
    votes.need_change(ctx, f"op:{op}", account, True)
    votes.cast(ctx, f"op:{op}", account, True)
    decide_op(ctx, op)


@custom_json("halt", _ON)
def halt(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """A third of the seats stops the building of payouts for a while."""
    votes.need_seat(ctx, account)
    now = emergency(ctx.view)
    if ctx.height < now.halted_until:
        raise Rejected("halted_already")
    if ctx.height < now.halt_again:
        raise Rejected("too_soon")
    _cast(ctx, "halt", account, body)
    decide_halt(ctx)


@custom_json("resume", _ON)
def resume(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """More than half of the seats ends a halt, and lets rotations go on."""
    votes.need_seat(ctx, account)
    if not (is_halted(ctx) or is_held(ctx)):
        raise Rejected("not_halted")
    _cast(ctx, "resume", account, body)
    decide_resume(ctx)


@custom_json("hold", _ON)
def hold(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """More than half of the seats holds rotations back."""
    votes.need_seat(ctx, account)
    if ctx.height < emergency(ctx.view).held_until:
        raise Rejected("held_already")
    _cast(ctx, "hold", account, body)
    decide_hold(ctx)


def emergency(view: Base) -> Emergency:
    """What is stopped in a state or a view of one, and until when."""
    return view.get(EMERGENCY) or Emergency(0, 0, 0)


def is_halted(ctx: Context) -> bool:
    """Whether nothing but rotations is built."""
    return ctx.height < emergency(ctx.view).halted_until


def is_held(ctx: Context) -> bool:
    """Whether no rotation is queued or built."""
    return ctx.height < emergency(ctx.view).held_until


def decide_payload(ctx: Context, number: int) -> None:
    """Count the votes against a payload."""
    what = f"payload:{number}"
    if not _can_be_vetoed(ctx, number):
        forget_votes(ctx, what)
    elif votes.is_majority(ctx, what) or (spending.is_locked(ctx, number) and votes.is_third(ctx, what)):
        finish(ctx, number, Done("failed", None, ctx.height, (), "vetoed"))


def _can_be_vetoed(ctx: Context, number: int) -> bool:
    """Whether a payload came from a proposal and is in no group transaction: one above a limit may wait for ever."""
    payload = ctx.view.get(QUEUE, number)
    return payload is not None and not payload.out and ctx.view.get(ACTION, number) is not None


def decide_op(ctx: Context, op: str) -> None:
    """Count the votes against a group transaction."""
    record = ctx.view.need(MS, op)
    if record.status != CANCELLED and votes.is_majority(ctx, f"op:{op}"):
        ctx.view.put(MS, replace(record, status=CANCELLED, ready_at=0, order=(), attempts=()), op)


def decide_halt(ctx: Context) -> None:
    """Count the votes to halt; a halt ends, and none begins again at once."""
    now = emergency(ctx.view)
    if ctx.height >= now.halt_again and votes.is_third(ctx, "halt"):
        until = ctx.height + ctx.params.halt_blocks
        _move_halt(ctx, replace(now, halted_until=until, halt_again=until + ctx.params.halt_blocks))


def decide_resume(ctx: Context) -> None:
    """Count the votes to resume; after what ended by itself they are gone."""
    if not (is_halted(ctx) or is_held(ctx)):
        forget_votes(ctx, "resume")
    elif votes.is_majority(ctx, "resume"):
        now = emergency(ctx.view)
        if is_halted(ctx):
            now = replace(now, halted_until=ctx.height, halt_again=ctx.height + ctx.params.halt_blocks)
        _move_halt(ctx, replace(now, held_until=min(now.held_until, ctx.height)))


def decide_hold(ctx: Context) -> None:
    """Count the votes to hold rotations back."""
    if not is_held(ctx) and votes.is_majority(ctx, "hold"):
        until = ctx.height + ctx.params.ripe_rounds * ctx.params.round_length
        ctx.view.put(EMERGENCY, replace(emergency(ctx.view), held_until=until))
        forget_votes(ctx, "hold")


def _cast(ctx: Context, what: str, account: str, body: dict[str, Any]) -> None:
    yes = True if body["on"] else None
    votes.need_change(ctx, what, account, yes)
    votes.cast(ctx, what, account, yes)


def _move_halt(ctx: Context, found: Emergency) -> None:
    ctx.view.put(EMERGENCY, found)
    forget_votes(ctx, "halt")
    forget_votes(ctx, "resume")
