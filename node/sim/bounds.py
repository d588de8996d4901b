"""The state does not grow without end: how much of everything there may be (docs/schema.md)."""

from typing import Any

from node.sim.outcome import demand
from processors.genesis import Genesis
from state.schema import (
    CHRON,
    DECIDED,
    DONE,
    LEAVING,
    MS,
    PROPOSAL,
    QUEUE,
    REFUSAL,
    REJECTED,
    REPORT,
    ROUND,
    RUNNER,
    SIG,
    SPEND,
    TALLY,
)
from state.state import State
from state.table import Table


def check_bounds(state: State, genesis: Genesis, number: int) -> None:
    """Raise Violation if something is more, or older, than it may be after the tally at ``number``."""
    params = genesis.params
    records = [record for _, record in state.walk(MS)]
    payouts = sum(record.kind != "rotation" for record in records)
    ended = sum(1 for _ in state.walk(DONE))
    sizes = {
        "ms": (payouts, params.max_in_flight),
        "rotations": (len(records) - payouts, 1),
        # what expires goes back into a full queue
        "queue": (sum(1 for _ in state.walk(QUEUE)), params.max_queue + params.max_in_flight * params.max_merge + 1),
        "merged": (max((len(record.payloads) for record in records), default=0), params.max_merge),
        "runners": (sum(1 for _ in state.walk(RUNNER)), params.max_runners),
        "reports": (sum(1 for _ in state.walk(REPORT)), 0),
        "signatures": (sum(1 for _ in state.walk(SIG)), 80 * len(records)),
        "refusals": (sum(1 for _ in state.walk(REFUSAL)), params.max_members * len(records)),
        "rounds": (sum(1 for _ in state.walk(ROUND)), params.history // params.round_length + 2),
        "tally": (number - state.need(TALLY).height, 0),
        "chron": (
            sum(1 for _ in state.walk(CHRON)),
            len(records) + len(genesis.standing) + ended + params.history + _governing(state),
        ),
    }
    for name, (size, most) in sizes.items():
        demand(size <= most, "bounds", f"{name} at {number}: {size}, at most {most}")
    oldest = number - params.history - 1
    for (payload,), done in state.walk(DONE):
        demand(done.height > oldest, "bounds", f"the end of payload {payload!r} is not forgotten")
    for (height, _), _ in state.walk(REJECTED):
        demand(int(height) > oldest, "bounds", f"a rejection of block {height!r} is not forgotten")


def _governing(state: State) -> int:
    """Jobs of collateral on its way out, of proposals open and decided, of what was built lately."""
    tables: tuple[Table[Any], ...] = (LEAVING, PROPOSAL, DECIDED, SPEND)
    return sum(1 for table in tables for _ in state.walk(table))
