"""The group's own tokens: sending, locking, unlocking (protocol section 10)."""

from typing import Any

from processors.context import Context, forget_block, schedule
from processors.errors import Rejected
from processors.hive.names import is_account_name
from processors.registry import custom_json, job
from processors.shapes import integer, optional, text
from state.schema import (
    BALANCE,
    CHRON,
    COLLATERAL,
    LEAVING,
    MOVE,
    MOVED,
    MOVES,
    Balance,
    Collateral,
    Leaving,
    Move,
    Moves,
)

MAX_AMOUNT = 2**63 - 1
MAX_MEMO = 512  # bytes
#: Movements that are kept of each account.
KEPT_MOVES = 100
PARTS = 4

ACCOUNT = text(is_account_name)
AMOUNT = integer(1, MAX_AMOUNT)
MEMO = text(lambda value: len(value.encode()) <= MAX_MEMO)


@custom_json("send", {"to": ACCOUNT, "amount": AMOUNT, "memo": optional(MEMO)})
def send(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """Moves liquid tokens to another account."""
    to, amount, memo = body["to"], body["amount"], body.get("memo", "")
    if to == account:
        raise Rejected("to_self")
    if liquid(ctx, account) < amount:
        raise Rejected("too_little")
    _put_liquid(ctx, account, liquid(ctx, account) - amount)
    _put_liquid(ctx, to, liquid(ctx, to) + amount)
    _note(ctx, account, "sent", amount, to, memo)
    _note(ctx, to, "received", amount, account, memo)


@custom_json("gov_up", {"amount": AMOUNT})
def gov_up(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """Locks liquid tokens as collateral."""
    amount = body["amount"]
    if liquid(ctx, account) < amount:
        raise Rejected("too_little")
    found = _collateral(ctx, account)
    _put_liquid(ctx, account, liquid(ctx, account) - amount)
    _put_collateral(ctx, account, found.locked + amount, found.leaving)
    _note(ctx, account, "locked", amount)


@custom_json("gov_down", {"amount": integer(0, MAX_AMOUNT)})
def gov_down(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """So much of the collateral begins to leave, in place of what was leaving; 0 keeps it all."""
    amount = body["amount"]
    found, before = _collateral(ctx, account), ctx.view.get(LEAVING, account)
    if found.locked < amount:
        raise Rejected("too_little")
    if not amount and before is None:
        raise Rejected("nothing_leaves")
    if before is not None:
        ctx.view.delete(CHRON, *before.job)
        ctx.view.delete(LEAVING, account)
        _note(ctx, account, "kept", before.amount - before.moved)
    if amount:
        ctx.view.put(LEAVING, Leaving(amount, 0, 0, _next_part(ctx, account)), account)
        _note(ctx, account, "leaving", amount)
    _put_collateral(ctx, account, found.locked, amount)


@job("unlock")
def unlock(ctx: Context, account: str) -> None:
    """The next of four parts becomes liquid."""
    leaving, found = ctx.view.need(LEAVING, account), _collateral(ctx, account)
    is_last = leaving.parts == PARTS - 1
    part = leaving.amount - leaving.moved if is_last else leaving.amount // PARTS
    part = min(part, found.locked)
    if is_last:
        ctx.view.delete(LEAVING, account)
    else:
        moved = leaving.moved + part
        ctx.view.put(LEAVING, Leaving(leaving.amount, moved, leaving.parts + 1, _next_part(ctx, account)), account)
    if part:
        _put_collateral(ctx, account, found.locked - part, found.leaving - part)
        _put_liquid(ctx, account, liquid(ctx, account) + part)
        _note(ctx, account, "unlocked", part)


def liquid(ctx: Context, account: str) -> int:
    """What an account can send or lock."""
    found = ctx.view.get(BALANCE, account)
    return found.liquid if found is not None else 0


def _collateral(ctx: Context, account: str) -> Collateral:
    return ctx.view.get(COLLATERAL, account) or Collateral(0, 0)


def _put_liquid(ctx: Context, account: str, amount: int) -> None:
    if amount:
        ctx.view.put(BALANCE, Balance(amount), account)
    else:
        ctx.view.delete(BALANCE, account)


def _put_collateral(ctx: Context, account: str, locked: int, leaving: int) -> None:
    if locked:
        ctx.view.put(COLLATERAL, Collateral(locked, leaving), account)
    else:
        ctx.view.delete(COLLATERAL, account)


def _next_part(ctx: Context, account: str) -> tuple[int, int]:
    return schedule(ctx, ctx.height + ctx.params.unlock_part, "unlock", account)


def _note(ctx: Context, account: str, kind: str, amount: int, other: str = "", memo: str = "") -> None:
    """One line in the account's history; the oldest makes room."""
    found = ctx.view.get(MOVES, account)
    number = found.count if found is not None else 0
    ctx.view.put(MOVES, Moves(number + 1), account)
    ctx.view.put(MOVE, Move(ctx.height, kind, other, amount, memo), account, number)
    if number >= KEPT_MOVES:
        ctx.view.delete(MOVE, account, number - KEPT_MOVES)
    ctx.view.put(MOVED, Moves(number + 1), ctx.height, account)
    forget_block(ctx)
