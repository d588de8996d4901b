"""Standing payouts of the genesis, and forgetting what is old (protocol sections 2, 5 and 8)."""

from typing import Any

from processors.context import Context, enqueue, schedule
from processors.registry import job
from state.schema import DONE, FEED, INCOME, MOVE, MOVED, MOVES, REJECTED, REJECTED_MORE, STANDING, Payload, Table


@job("standing")
def standing(ctx: Context, what: str) -> None:
    """A standing payout falls due: it joins the queue, and the next one is scheduled."""
    payout = ctx.view.need(STANDING, int(what))
    enqueue(ctx, Payload("payout", 0, ctx.height, payout.to, payout.amount, payout.asset, payout.memo, "", ()))
    schedule(ctx, ctx.height + payout.every, "standing", what)


@job("forget_payload")
def forget_payload(ctx: Context, what: str) -> None:
    """The end of a payload is ``history`` blocks old."""
    ctx.view.delete(DONE, int(what))


@job("forget_block")
def forget_block(ctx: Context, what: str) -> None:
    """What a block noted under its height is ``history`` blocks old."""
    height = int(what)
    tables: tuple[Table[Any], ...] = (REJECTED, FEED, INCOME)
    for table in tables:
        for (_, index), _ in ctx.view.walk(table, height):
            ctx.view.delete(table, height, index)
    ctx.view.delete(REJECTED_MORE, height)
    for (_, account), moved in ctx.view.walk(MOVED, height):
        _forget_moves(ctx, str(account), moved.count)
        ctx.view.delete(MOVED, height, account)


def _forget_moves(ctx: Context, account: str, upto: int) -> None:
    """An account's movements before number ``upto`` are old; with the last one its count goes too.

    They are numbered without a gap: from the newest old one down to the oldest that is left, however many there are.
    """
    number = upto - 1
    while number >= 0 and ctx.view.get(MOVE, account, number) is not None:
        ctx.view.delete(MOVE, account, number)
        number -= 1
    found = ctx.view.get(MOVES, account)
    if found is not None and found.count == upto:
        ctx.view.delete(MOVES, account)
