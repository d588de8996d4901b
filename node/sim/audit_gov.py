"""What must never be otherwise in governance, counted by the auditor's own lines (protocol section 10)."""

import msgspec

from node.sim.outcome import demand
from processors.genesis import Genesis
from processors.params import read
from state.schema import (
    ACTION,
    COLLATERAL,
    DECIDED,
    DONE,
    EMERGENCY,
    LEAVING,
    MS,
    PROPOSAL,
    QUEUE,
    SPEND,
    SPENDING,
    VOTE,
    Record,
)
from state.state import State


class _Built(msgspec.Struct):
    """A payload in its newest transaction."""

    height: int
    hive: int
    proposed: bool
    op: str


def _counts(state: State, payload: int, built: _Built, now: str) -> bool:
    """Whether what was built is not dead: in this very block an attempt may have ended."""
    entry, done = state.get(QUEUE, payload), state.get(DONE, payload)
    if entry is not None:
        return entry.out == built.op != now
    return done is None or done.status == "confirmed"


class Treasurer:
    """Remembers what was built, marked and decided."""

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self._built: dict[int, _Built] = {}
        self._marked: dict[str, tuple[int, ...]] = {}
        self._never_again: set[int] = set()
        self.counts = dict.fromkeys(("proposed", "approved", "vetoed", "marked", "halts", "proposals_paid"), 0)
        self._open: set[int] = set()
        self._halted_until = 0

    def record(self, state: State, op: str, record: Record, number: int) -> None:
        """A group transaction that was built in this block."""
        if record.kind == "rotation":
            held = state.get(EMERGENCY)
            demand(held is None or number >= held.held_until, "held", f"{op}: rotations are held")
            return
        emergency, params = state.get(EMERGENCY), read(state.view())
        demand(emergency is None or number >= emergency.halted_until, "halted_built", f"{op}: the group is halted")
        since = number - params.spend_window
        total = sum(b.hive for p, b in self._built.items() if b.height > since and _counts(state, p, b, op))
        for payload in record.payloads:
            demand(payload not in self._never_again, "rebuilt", f"payload {payload} of a marked one is in {op}")
            action, entry = state.get(ACTION, payload), state.need(QUEUE, payload)
            locked = action is not None and number < action.not_before
            demand(not locked, "locked_built", f"payload {payload} is locked and in {op}")
            hive = action.hive if action is not None else entry.amount * (entry.asset == "HIVE")
            total += hive
            fits = total <= params.spend_limit_hive or not hive or action is None
            demand(fits, "over_limit", f"{op}: {total} with payload {payload} within the window")
            self._built[payload] = _Built(number, hive, action is not None, op)

    def ended(self, payload: int, status: str, why: str) -> None:
        """A payload has come to its end."""
        built = self._built.get(payload)
        if status != "confirmed":
            self._built.pop(payload, None)
        elif built is not None:
            self.counts["proposals_paid"] += built.proposed
        self.counts["vetoed"] += why == "vetoed"
        if why == "cancelled":
            self._never_again.add(payload)

    def expired(self, payload: int) -> None:
        """Its transaction is dead: nothing left with it."""
        self._built.pop(payload, None)

    def block(self, state: State, number: int) -> None:
        """After each block: what is remembered of marks, votes and sums."""
        for (name,), record in state.walk(MS):
            op = str(name)
            if record.status == "cancelled" and op not in self._marked:
                self._marked[op] = record.payloads
                self.counts["marked"] += 1
            demand(op not in self._marked or record.status == "cancelled", "unmarked", f"{op} is {record.status} again")
        proposals = {int(one) for (one,), _ in state.walk(PROPOSAL)}
        self.counts["proposed"] += len(proposals - self._open)
        for one in self._open - proposals:
            decided = state.get(DECIDED, one)
            self.counts["approved"] += decided is not None and decided.status == "approved"
        self._open = proposals
        emergency = state.get(EMERGENCY)
        if emergency is not None and emergency.halted_until > max(number, self._halted_until):
            self.counts["halts"] += 1
        self._halted_until = emergency.halted_until if emergency is not None else 0

    def round(self, state: State, number: int) -> None:
        """After each tally: sums and bounds."""
        for (account,), one in state.walk(COLLATERAL):
            demand(0 <= one.leaving <= one.locked, "leaving", f"{account!s}: {one.leaving} of {one.locked} leaves")
            leaving = state.get(LEAVING, account)
            left = leaving.amount - leaving.moved if leaving is not None else 0
            demand(one.leaving == left, "leaving", f"{account!s}: {one.leaving} leaves, its parts say {left}")
        spent = sum(one.hive for _, one in state.walk(SPEND))
        total = state.get(SPENDING, "HIVE")
        demand(spent == (total.amount if total is not None else 0), "spending", f"{spent} and {total} at {number}")
        proposers = [one.proposer for _, one in state.walk(PROPOSAL)]
        demand(len(proposers) <= 200, "bounds", f"{len(proposers)} proposals are open")
        demand(all(proposers.count(one) <= 3 for one in proposers), "bounds", "one account has more than 3 open")
        alive = {f"proposal:{n}" for n in self._open} | {f"payload:{n[0]!s}" for n, _ in state.walk(QUEUE)}
        alive |= {f"op:{op[0]!s}" for op, _ in state.walk(MS)} | {"halt", "resume", "hold"}
        wrong = {str(what) for (what, _), _ in state.walk(VOTE)} - alive
        demand(not wrong, "votes", f"votes stand about {sorted(wrong)}, which are gone")
