"""Scheduled recasts, and the end of what was not confirmed (protocol section 8)."""

from msgspec.structs import replace

from processors import spending
from processors.context import Context, drop_record, finish, key_owner, schedule
from processors.registry import job
from processors.signatures import CANCELLED
from state.schema import MS, QUEUE, REFUSAL, RUNNER, SIG, Done, Record

#: From this recast on every member may broadcast.
EVERYBODY_FROM = 3


def due_accounts(record: Record) -> tuple[str, ...] | None:
    """The accounts that may broadcast a ready record now; None = every member."""
    return None if record.recasts >= EVERYBODY_FROM else record.order[: record.recasts + 1]


@job("recast")
def recast(ctx: Context, op: str) -> None:
    """What a recast finds: dead, collecting (or refused), or ready and still not confirmed."""
    record = ctx.view.need(MS, op)
    if ctx.timestamp >= record.expiration:
        _expire(ctx, op, record)
        return
    record = replace(record, job=schedule(ctx, ctx.height + ctx.params.recast_every, "recast", op))
    if record.status == "ready" and record.recasts < EVERYBODY_FROM:
        count = record.recasts + 1
        who = "*" if count >= EVERYBODY_FROM else "".join(record.order[count : count + 1])
        attempts = (*record.attempts, (ctx.height, who)) if who else record.attempts
        record = replace(record, recasts=count, attempts=attempts)
    ctx.view.put(MS, record, op)


def _expire(ctx: Context, op: str, record: Record) -> None:
    """Dead for good: no block that could still include it will come."""
    if record.kind == "rotation" and record.status != CANCELLED:
        _mark_silent_runners(ctx, op, record)
    why = _refusal(ctx, op) if record.status == "refused" else ""
    drop_record(ctx, op, record)
    alone = len(record.payloads) == 1  # none is given up for what another in it may have caused
    for number in record.payloads:
        payload = ctx.view.need(QUEUE, number)
        expiries = payload.expiries + 1
        spending.take_out(ctx, number)
        if record.status == CANCELLED:  # what the seats marked is never rebuilt
            finish(ctx, number, Done("failed", record.txid, ctx.height, (), CANCELLED))
        elif why and alone:
            finish(ctx, number, Done("failed", record.txid, ctx.height, (), why))
        elif record.kind == "rotation":
            finish(ctx, number, Done("expired", record.txid, ctx.height, (), ""))
        elif expiries >= ctx.params.max_attempts and alone:
            finish(ctx, number, Done("failed", record.txid, ctx.height, (), "expired"))
        else:
            ctx.view.put(QUEUE, replace(payload, expiries=expiries, out="", past=(*payload.past, record.txid)), number)


def _mark_silent_runners(ctx: Context, op: str, record: Record) -> None:
    """A runner one of whose keys was needed from building to now, and that never signed, gets a mark."""
    needed = {key_owner(ctx, key) for key in record.needed}
    signed = {key_owner(ctx, bytes(key)) for (_, key), _ in ctx.view.walk(SIG, op)}  # type: ignore[arg-type]
    for (account,), seat in ctx.view.walk(RUNNER):
        if account in needed and account not in signed:
            ctx.view.put(RUNNER, replace(seat, marks=seat.marks + 1), account)


def _refusal(ctx: Context, op: str) -> str:
    """The code of the first refusal, by account: the reason that the payloads keep."""
    return "refused:" + next(refusal.why for _, refusal in ctx.view.walk(REFUSAL, op))
