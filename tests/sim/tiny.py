"""Plans of a few rounds and no faults but those of a test: a run takes a fraction of a second."""

from msgspec.structs import replace

from node.devnet.founding import RECEIVER
from node.sim.plan import SERVERS, Fault, draw, name_of

ROUND = 20


def payout(amount=10, every=ROUND, to=RECEIVER):
    """A standing payout."""
    return {"to": to, "amount": amount, "asset": "HIVE", "every": every, "memo": f"{amount} to {to}"}


def fault(kind, slot=1, until=None, *, who="", server=0, n=0):
    """A fault, of a moment if nothing else is said."""
    return Fault(kind, slot, slot if until is None else until, who, server, n)


def tiny(*faults, runners=3, rounds=6, quiet_round=3, payouts=None, lag=1, on_disk=False, traitors=(), **parameters):
    """A plan that depends on nothing that a seed draws."""
    plan = draw(0)
    given = {
        **plan.parameters,
        "round_length": ROUND,
        "report_at": 10,
        "recast_every": 5,
        "header_lifetime": 6 * 3 * ROUND,
        "header_min_left": 15,
        "rotation_lifetime": 2 * 3 * ROUND,
        "payload_lifetime": 6 * 3 * ROUND,
        "absent_rounds": 3,
        "seat_rounds": 1,
        "ripe_rounds": 1,
        "max_runners": 25,
        "min_signers": 3,
        "rotation_patience": 2,
        "rotate_owner": True,
        "rotate_posting": True,
        "max_in_flight": 4,
        "max_merge": 3,
        "max_attempts": 2,
        "max_queue": 1_000,
        "history": 600,
        "trace_keep": 200,
        "hive_rules": 28,
    }
    return replace(
        plan,
        runners=runners,
        spares=0,
        parameters={**given, **parameters},
        payouts=tuple([payout()] if payouts is None else payouts),
        collateral={name_of(n): 1_000 for n in range(1, runners + 1)},
        lag=lag,
        poll_ms=3_000,
        on_disk=on_disk,
        second_opinion=False,
        traitors=tuple(traitors),
        quiet=quiet_round * ROUND,
        slots=rounds * ROUND,
        faults=tuple(sorted(faults, key=lambda each: each.slot)),
        servers=SERVERS,
        balances={name_of(n): 10 for n in range(1, runners + 1)},
    )
