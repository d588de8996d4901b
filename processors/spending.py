"""What leaves the group: limits of a window, time locks, and what it is known to hold (protocol section 10)."""

from msgspec.structs import replace

from processors.contents import Content, contents
from processors.context import Context, schedule
from processors.registry import job
from state.schema import ACTION, CHRON, QUEUE, SPEND, SPENDING, TREASURY, Holding, Payload, Spend, Total

HIVE, HBD = "HIVE", "HBD"
#: Where the sums for people stop: an integer that does not fit would stop every node.
MOST = 2**63 - 1


def is_large(ctx: Context, hive: int, hbd: int) -> bool:
    """Whether a payload waits for the time lock."""
    return hive > ctx.params.large_hive or hbd > ctx.params.large_hbd


def is_locked(ctx: Context, number: int) -> bool:
    """Whether a payload waits for the end of its time lock."""
    action = ctx.view.get(ACTION, number)
    return action is not None and ctx.height < action.not_before


def within_limits(ctx: Context, waiting: list[tuple[int, Payload]]) -> list[tuple[int, Payload]]:
    """Those of some payloads, in their order, that may be built together now.

    Standing payouts count, and do not wait; nor does what takes nothing away.
    """
    total = {HIVE: _total(ctx, HIVE), HBD: _total(ctx, HBD)}
    found = []
    for number, payload in waiting:
        hive, hbd = Content(number, payload, ctx.view.get(ACTION, number)).leaves
        fits = total[HIVE] + hive <= ctx.params.spend_limit_hive or not hive
        fits = fits and (total[HBD] + hbd <= ctx.params.spend_limit_hbd or not hbd)
        if fits or ctx.view.get(ACTION, number) is None:
            found.append((number, payload))
            total = {HIVE: total[HIVE] + hive, HBD: total[HBD] + hbd}
    return found


def built(ctx: Context, number: int) -> None:
    """A payload stands in a group transaction: what it takes away counts for a window."""
    hive, hbd = _leaves(ctx, number)
    if hive or hbd:
        key = schedule(ctx, ctx.height + ctx.params.spend_window, "forget_spend", str(number))
        ctx.view.put(SPEND, Spend(ctx.height, hive, hbd, key), number)
        _add(ctx, hive, hbd)


def take_out(ctx: Context, number: int) -> None:
    """An attempt is dead: nothing left with it."""
    spend = ctx.view.get(SPEND, number)
    if spend is not None:
        ctx.view.delete(CHRON, *spend.job)
        ctx.view.delete(SPEND, number)
        _add(ctx, -spend.hive, -spend.hbd)


@job("forget_spend")
def forget_spend(ctx: Context, what: str) -> None:
    """What was built has left the window."""
    number = int(what)
    spend, payload = ctx.view.need(SPEND, number), ctx.view.get(QUEUE, number)
    if payload is not None and payload.out:  # it can still be included
        again = schedule(ctx, ctx.height + ctx.params.recast_every, "forget_spend", what)
        ctx.view.put(SPEND, replace(spend, job=again), number)
        return
    ctx.view.delete(SPEND, number)
    _add(ctx, -spend.hive, -spend.hbd)


def book_income(ctx: Context, asset: str, amount: int) -> None:
    """A transfer to the group."""
    found = ctx.view.get(TREASURY, asset) or Holding(0, 0)
    ctx.view.put(TREASURY, replace(found, income=min(found.income + amount, MOST)), asset)


def book_spent(ctx: Context, number: int) -> None:
    """A payload was confirmed."""
    for asset, amount in zip((HIVE, HBD), _leaves(ctx, number), strict=True):
        if amount:
            found = ctx.view.get(TREASURY, asset) or Holding(0, 0)
            ctx.view.put(TREASURY, replace(found, spent=min(found.spent + amount, MOST)), asset)


def _leaves(ctx: Context, number: int) -> tuple[int, int]:
    """What a payload takes away; a rotation takes nothing, nor does what is done already."""
    found = contents(ctx.view, [number])
    return found[0].leaves if found else (0, 0)


def _total(ctx: Context, asset: str) -> int:
    found = ctx.view.get(SPENDING, asset)
    return found.amount if found is not None else 0


def _add(ctx: Context, hive: int, hbd: int) -> None:
    for asset, amount in ((HIVE, hive), (HBD, hbd)):
        total = _total(ctx, asset) + amount
        if not amount:
            continue
        if total:
            ctx.view.put(SPENDING, Total(total), asset)
        else:
            ctx.view.delete(SPENDING, asset)
