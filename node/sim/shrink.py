"""Cuts a failing schedule of faults down to a small one that still fails in the same way."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from node.sim.outcome import Outcome
from node.sim.plan import Plan
from node.sim.world import run


def only(plan: Plan, kept: Sequence[int]) -> Plan:
    """The plan with these of its faults (by place) and no others."""
    return replace(plan, faults=tuple(plan.faults[place] for place in kept))


def shrink(plan: Plan, say: Callable[[str], None], judge: Callable[[Plan], Outcome] = run) -> list[int]:
    """The places of faults without any of which it no longer fails with the same invariant.

    Delta debugging: halves are left out first, then smaller parts, at last single ones. Raises ValueError if the plan
    does not fail.
    """
    invariant = judge(plan).invariant
    if not invariant:
        raise ValueError("this seed does not fail: there is nothing to shrink")
    kept = list(range(len(plan.faults)))
    size = max(1, len(kept) // 2)
    while kept:
        cut = False
        for start in range(0, len(kept), size):
            tried = kept[:start] + kept[start + size :]
            if judge(only(plan, tried)).invariant == invariant:
                kept, cut = tried, True
                say(f"{len(kept)} of {len(plan.faults)} faults still fail with {invariant}")
                break
        if not cut:
            if size == 1:
                break
            size = max(1, size // 2)
        else:
            size = min(size, max(1, len(kept)))
    return kept
