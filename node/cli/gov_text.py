"""Governance in lines for people."""

import json

from node.governance import Overview, PayloadView, ProposalView, Tokens, amount_text
from node.span import BLOCK_SECONDS, span


def overview_lines(found: Overview) -> list[str]:
    """The group: seats, emergencies, money, votes."""
    lines = [f"block {found.height}, {len(found.seats)} seats: {', '.join(found.seats)}"]
    if found.height < found.halted_until:
        lines.append(f"HALTED: no payout is built until block {found.halted_until} ({_in(found, found.halted_until)})")
    if found.height < found.held_until:
        lines.append(f"HELD: no rotation is built until block {found.held_until} ({_in(found, found.held_until)})")
    for what, votes in found.ballots.items():
        names = ", ".join(vote.account + ("" if vote.counts else " (no seat)") for vote in votes)
        lines.append(f"votes for {what}: {names}")
    for one in found.holdings:
        held = amount_text(max(0, one.income - one.spent), one.asset)
        limit = amount_text(one.limit, one.asset)
        lines.append(f"holds {held} as far as is known; built lately {amount_text(one.built, one.asset)} of {limit}")
    if found.over_value:
        lines.append(
            f"WARNING: that is worth more than the safety limit ({found.safety_limit} tokens, held to be worth "
            f"{found.worth}): a dishonest majority would gain by leaving. Lock more, or hold less"
        )
    for height, name, value in found.changes:
        lines.append(f"change: {name} = {value} from block {height} on ({_in(found, height)})")
    return [*lines, "", *pending_lines(found)]


def pending_lines(found: Overview) -> list[str]:
    """What waits for votes, and what waits to be built or signed."""
    lines = [f"open proposals: {len(found.proposals)}"]
    for one in found.proposals:
        lines += [
            f"  {one.id}  {line}" if index == 0 else f"     {line}" for index, line in enumerate(_proposal(found, one))
        ]
    out = len(found.queue) - sum(not one.out for one in found.queue)
    lines.append(f"payloads: {found.waiting} waiting, {out} out in group transactions")
    lines += [f"  {_payload(one)}" for one in found.queue]
    return lines


def tokens_lines(found: Tokens) -> list[str]:
    """An account's tokens."""
    lines = [f"{found.account}: {found.liquid} liquid, {found.locked} locked, of which {found.leaving} are leaving"]
    if found.parts_left:
        lines.append(f"  the next of {found.parts_left} parts at block {found.next_part}")
    for height, kind, other, amount, memo in found.moves[:10]:
        lines.append(f"  {height}  {kind} {amount}{f' {other}' if other else ''}{f' {memo!r}' if memo else ''}")
    return lines


def _proposal(found: Overview, one: ProposalView) -> list[str]:
    cast = ", ".join(f"{vote.account} {'yes' if vote.yes else 'no'}" for vote in one.votes if vote.counts)
    head = f"by {one.proposer}: {one.yes} yes, {one.no} no of {one.seats} seats, until block {one.expires} "
    what = [f"{one.name} = {one.value}, {one.delay} blocks after its approval"] if one.name else []
    what += [json.dumps(operation, ensure_ascii=False) for operation in one.ops]
    return [head + f"({_in(found, one.expires)}){f'; {cast}' if cast else ''}", *what]


def _payload(one: PayloadView) -> str:
    again = f", attempt {one.expiries + 1}" if one.expiries else ""
    where = f"out in {one.out}" if one.out else one.waits
    return f"p{one.id}  {one.what}{again}: {where}"


def _in(found: Overview, height: int) -> str:
    """How far a height is, at three seconds a block."""
    return f"in {span((height - found.height) * BLOCK_SECONDS)}"
