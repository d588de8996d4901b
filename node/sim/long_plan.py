"""The plan of a long world: one group that goes through the faults of many seeds, one after another."""

from random import Random

from msgspec.structs import replace

from node.sim.outside import STRANGER
from node.sim.plan import (
    Fault,
    Plan,
    draw_faults,
    draw_govern,
    draw_lifetime,
    draw_parameters,
    draw_payouts,
    name_of,
)

_LENGTH = 20
#: Blocks within which a lost store is replayed from the genesis; later its operator takes a snapshot.
REPLAYED = 3_000
#: A member can prove 64 keys in its life.
_KEY_CHANGES = 50
#: Some slots are missed, and a few blocks at the end are not irreversible.
_MISSED = 1.04
_EPOCHS_BETWEEN_REFUSED = 8
_SAVINGS = 10_000_000
#: Rounds beside the lifetimes in which all that an epoch left is paid.
_CALM_ROUNDS = 5


def draw_long(seed: int, blocks: int, nodes: int = 9) -> Plan:
    """A plan for about so many blocks: in each *epoch* as many faults of as many kinds as an ordinary seed has.

    Parameters, members and those of them that cheat stay; cheats are as many as may be, too few to sign or to stop.
    """
    random = Random(f"waggle record {seed}")
    spares = max(0, min(2, nodes - 5))
    runners = nodes - spares
    lifetimes = [draw_lifetime(random, False), draw_lifetime(random, False)]
    epoch = max(30, 2 * max(lifetimes) + 1) * _LENGTH
    calm = (max(lifetimes) + _CALM_ROUNDS) * _LENGTH
    epochs = max(1, -(-int(blocks * _MISSED) // epoch))
    names = [name_of(n) for n in range(1, nodes + 1)]
    cheats = random.sample(names[1:runners], 1 if runners < 7 else 2)
    plan = Plan(
        seed=seed,
        runners=runners,
        spares=spares,
        parameters={**draw_parameters(random, _LENGTH, lifetimes, runners), "max_rejections": 200},
        payouts=(),
        collateral={name: random.randint(900, 3_000) + (3_000 if name in names[runners:] else 0) for name in names},
        lag=random.choice([1, 2, 3]),
        poll_ms=random.choice([3_000, 6_000]),
        on_disk=False,
        second_opinion=False,
        traitors=tuple(sorted(cheats)),
        quiet=epochs * epoch - calm,
        slots=epochs * epoch,
        faults=(),
        servers=4,
    )
    faults = _spread(seed, plan, epochs, epoch, calm)
    rare = replace(plan, quiet=_EPOCHS_BETWEEN_REFUSED * epoch)
    plan = replace(plan, faults=faults, payouts=draw_payouts(random, rare, faults))
    return _governed(seed, plan)


def _governed(seed: int, plan: Plan) -> Plan:
    """With the parameters of governance as half of the seeds have them, and a stranger who owns many tokens."""
    found, turn = plan, 0
    while not found.balances:  # half of what is drawn has none
        found, turn = draw_govern(Random(f"waggle record politics {seed} {turn}"), plan), turn + 1
    return replace(plan, parameters=found.parameters, balances={**found.balances, STRANGER: _SAVINGS})


def _spread(seed: int, plan: Plan, epochs: int, epoch: int, calm: int) -> tuple[Fault, ...]:
    """The faults of every epoch, each drawn as those of a seed, and moved to its place."""
    found: list[Fault] = []
    changes: dict[str, int] = {}
    one = replace(plan, quiet=epoch - calm, slots=epoch)
    for number in range(epochs):
        random = Random(f"waggle record {seed} epoch {number}")
        drawn = draw_govern(random, replace(one, faults=draw_faults(random, one))).faults
        for fault in drawn:
            here = _moved(fault, number * epoch, one.quiet)
            if here.kind == "key_change":
                changes[here.who] = changes.get(here.who, 0) + 1
                if changes[here.who] > _KEY_CHANGES:
                    continue
            found.append(here)
    return tuple(sorted(found, key=lambda f: (f.slot, f.kind, f.who)))


def _moved(fault: Fault, begin: int, quiet: int) -> Fault:
    """A fault in its epoch. What would replay the whole history does so only while that is short."""
    if begin + fault.slot > REPLAYED:
        if fault.kind == "store_lost":
            until = min(quiet - 1, fault.slot + 2 * _LENGTH)
            fault = replace(fault, kind="snapshot_restored", until=max(fault.slot, until))
        elif fault.kind == "twin":
            fault = replace(fault, n=fault.n | 1)  # it begins with a copy of the state
    return replace(fault, slot=begin + fault.slot, until=begin + fault.until)
