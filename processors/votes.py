"""Votes of the seats (protocol section 10): one for each seat, counted over the seats of the moment."""

from processors.context import Context
from processors.errors import Rejected
from state.schema import RUNNER, VOTE, Vote
from state.view import View

#: Blocks for which votes count that are not about proposals: a day, whatever the parameters say.
VOTE_LIFE = 28_800


def need_seat(ctx: Context, account: str) -> None:
    """Raise Rejected("no_seat") for an account that holds none."""
    if ctx.view.get(RUNNER, account) is None:
        raise Rejected("no_seat")


def need_change(ctx: Context, what: str, account: str, yes: bool | None) -> None:
    """Raise Rejected("voted_already") if the account has voted so about ``what``; None = takes its vote back."""
    found = ctx.view.get(VOTE, what, account)
    if found is not None and not _is_alive(ctx, what, found):
        found = None
    if (found.yes if found is not None else None) == yes:
        raise Rejected("voted_already")


def cast(ctx: Context, what: str, account: str, yes: bool | None) -> None:
    """Note a vote, or take it back."""
    if yes is None:
        ctx.view.delete(VOTE, what, account)
    else:
        ctx.view.put(VOTE, Vote(yes, ctx.height), what, account)


def count(ctx: Context, what: str) -> tuple[int, int, int]:
    """(votes for, votes against, seats)."""
    seats = ctx.view.derive(RUNNER, _seats)
    found = [
        vote.yes for (_, account), vote in ctx.view.walk(VOTE, what) if account in seats and _is_alive(ctx, what, vote)
    ]
    return found.count(True), found.count(False), len(seats)


def _seats(view: View) -> frozenset[str]:
    return frozenset(str(account) for (account,), _ in view.walk(RUNNER))


def is_third(ctx: Context, what: str) -> bool:
    """Whether a third of the seats is for it, and one at least."""
    yes, _, seats = count(ctx, what)
    return yes > 0 and yes * 3 >= seats


def is_majority(ctx: Context, what: str) -> bool:
    """Whether more than half of the seats is for it."""
    yes, _, seats = count(ctx, what)
    return yes * 2 > seats


def _is_alive(ctx: Context, what: str, vote: Vote) -> bool:
    """Votes about proposals last as long as these; all others grow old."""
    return what.startswith("proposal:") or ctx.height - vote.height <= VOTE_LIFE


def forget_dead(ctx: Context) -> None:
    """Votes that have grown old are gone for good."""
    for (what, account), vote in ctx.view.walk(VOTE):
        if not _is_alive(ctx, str(what), vote):
            ctx.view.delete(VOTE, what, account)
