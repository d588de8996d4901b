"""At an agreed tally, once the seats are given, everything that is voted on is counted anew (protocol section 10)."""

from processors import emergencies, proposals, votes
from processors.context import Context
from state.schema import VOTE


def recount(ctx: Context) -> None:
    """Seats may have changed hands: a vote can count now that did not, or no more."""
    votes.forget_dead(ctx)
    for what in sorted({str(what) for (what, _), _ in ctx.view.walk(VOTE)}):
        kind, _, rest = what.partition(":")
        if kind == "proposal":
            proposals.decide(ctx, int(rest))
        elif kind == "payload":
            emergencies.decide_payload(ctx, int(rest))
        elif kind == "op":
            emergencies.decide_op(ctx, rest)
        elif kind == "halt":
            emergencies.decide_halt(ctx)
        elif kind == "resume":
            emergencies.decide_resume(ctx)
        else:
            emergencies.decide_hold(ctx)
