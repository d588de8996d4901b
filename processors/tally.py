"""The tally at the end of a round (protocol section 5, steps 1 and 2; the others are in seats and rotation)."""

from msgspec.structs import replace

from processors import recount, rotation, seats
from processors.authority import signers
from processors.context import Context, key_owner
from state.schema import AUTHORITY, HEADERS, NODE, REPORT, ROUND, RUNNER, TALLY, Report, Round


def tally(ctx: Context) -> None:
    """Tally the round that ends with this block. Each step sees what the steps before it changed."""
    start = ctx.height - ctx.params.round_length
    reports = {str(account): report for (account,), report in ctx.view.walk(REPORT)}
    for account in reports:
        ctx.view.delete(REPORT, account)
    for (of,), _ in ctx.view.walk(ROUND):
        if int(of) <= start - ctx.params.history:  # all of them: ``history`` can have been longer
            ctx.view.delete(ROUND, of)
    agreed = agreed_root(ctx, reports)
    last = ctx.view.need(TALLY)
    if agreed is None:
        ctx.view.put(ROUND, Round(None, None, ()), start)
        ctx.view.put(TALLY, replace(last, height=ctx.height, is_open=True, open_rounds=last.open_rounds + 1))
        return
    headers = ctx.view.need(HEADERS)
    # every accepted report carries exactly the header of the block asked for, so that one is theirs
    ctx.view.put(HEADERS, replace(headers, elected=headers.asked))
    who = tuple(account for account, report in sorted(reports.items()) if report.root == agreed)
    ctx.view.put(ROUND, Round(agreed, headers.asked, who), start)
    ctx.view.put(TALLY, replace(last, height=ctx.height, is_open=False, open_rounds=0))
    agreeing = {account: reports[account] for account in who}
    without_seat = [str(name) for (name,), _ in ctx.view.walk(NODE) if ctx.view.get(RUNNER, name) is None]
    seats.attendance(ctx, agreeing)
    seats.give_seat(ctx, agreeing, without_seat)
    recount.recount(ctx)
    seats.safety_limit(ctx)
    rotation.ripen(ctx, agreeing)
    rotation.decide(ctx, agreeing)
    rotation.end_registrations(ctx)


def agreed_root(ctx: Context, reports: dict[str, Report]) -> bytes | None:
    """The root whose voters weigh the threshold of the active authority and more than half of all its weight."""
    weights, threshold, everything = _votes(ctx)
    totals: dict[bytes, int] = {}
    for account, report in reports.items():
        totals[report.root] = totals.get(report.root, 0) + weights.get(account, 0)
    for root in sorted(totals):
        if totals[root] >= threshold and 2 * totals[root] > everything:
            return root
    return None


def _votes(ctx: Context) -> tuple[dict[str, int], int, int]:
    """(weight of each voter, threshold, all weight). Without any member's key on chain the runners vote."""
    weights: dict[str, int] = {}
    for key, weight in signers(ctx).items():
        account = key_owner(ctx, key)
        if account is not None:
            weights[account] = weights.get(account, 0) + weight
    if not weights:
        runners = {str(account): 1 for (account,), _ in ctx.view.walk(RUNNER)}
        return runners, len(runners) // 2 + 1, len(runners)
    active = ctx.view.need(AUTHORITY, "active")
    return weights, active.threshold, sum(w for _, w in active.keys) + sum(w for _, w in active.accounts)
