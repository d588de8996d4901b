"""Attendance, seats and the safety limit (protocol section 5, steps 3 to 5)."""

from msgspec.structs import replace

from processors.context import Context
from state.schema import COLLATERAL, NODE, RUNNER, TALLY, Report, Seat
from state.view import Base

MARKS_THAT_COST_THE_SEAT = 3


def collateral(ctx: Context, account: str) -> int:
    """What an account has locked and not on its way out."""
    return collateral_in(ctx.view, account)


def collateral_in(view: Base, account: str) -> int:
    """The same where there is no block at hand."""
    found = view.get(COLLATERAL, account)
    return found.locked - found.leaving if found is not None else 0


def attendance(ctx: Context, agreeing: dict[str, Report]) -> None:
    """Step 3: runners that are absent, or without collateral, or that sign no rotation, lose their seats."""
    params = ctx.params
    for (name,), seat in ctx.view.walk(RUNNER):
        account = str(name)
        missed = 0 if account in agreeing else seat.missed + 1
        if missed >= params.absent_rounds or collateral(ctx, account) < params.min_collateral:
            ctx.view.delete(RUNNER, account)
        else:
            ctx.view.put(RUNNER, replace(seat, missed=missed), account)
    for (name,), seat in ctx.view.walk(RUNNER):
        left = sum(1 for _ in ctx.view.walk(RUNNER))
        if seat.marks >= MARKS_THAT_COST_THE_SEAT and left > params.min_signers:
            ctx.view.delete(RUNNER, name)


def give_seat(ctx: Context, agreeing: dict[str, Report], without_seat: list[str]) -> None:
    """Step 4: the richest of those who wait gets a seat, or the poorest runner's."""
    tally = ctx.view.need(TALLY)
    if ctx.height - tally.seat_given < ctx.params.seat_rounds * ctx.params.round_length:
        return
    candidates = [account for account in without_seat if _may_sit(ctx, account, agreeing)]
    if not candidates:
        return
    chosen = min(candidates, key=lambda account: (-collateral(ctx, account), account))
    runners = [str(account) for (account,), _ in ctx.view.walk(RUNNER)]
    if len(runners) >= ctx.params.max_runners:
        low = min(collateral(ctx, account) for account in runners)
        poorest = max(account for account in runners if collateral(ctx, account) == low)
        if collateral(ctx, chosen) * 100 <= low * ctx.params.outbid:
            return
        ctx.view.delete(RUNNER, poorest)
    ctx.view.put(RUNNER, Seat(ctx.height, 0, 0), chosen)
    ctx.view.put(TALLY, replace(tally, seat_given=ctx.height))


def _may_sit(ctx: Context, account: str, agreeing: dict[str, Report]) -> bool:
    member = ctx.view.need(NODE, account)
    return (
        not member.leaving
        and member.ripe_key is not None
        and account in agreeing
        and collateral(ctx, account) >= ctx.params.min_collateral
    )


def safety_limit(ctx: Context) -> None:
    """Step 5: what the cheapest coalition that can sign would forfeit."""
    ripe = sorted(
        collateral(ctx, str(account))
        for (account,), _ in ctx.view.walk(RUNNER)
        if ctx.view.need(NODE, account).ripe_key is not None
    )
    limit = sum(ripe[: len(ripe) // 2 + 1])
    ctx.view.put(TALLY, replace(ctx.view.need(TALLY), limit=limit))
