"""What must happen once the faults are over (checked from the slot ``quiet`` on)."""

from collections.abc import Callable

from node.devnet.founding import RECEIVER
from node.sim.machine import Machine
from node.sim.outcome import demand
from node.sim.politics import is_stopped
from node.sim.scene import Scene
from state.schema import DONE, QUEUE, Payload

_HUGE = 1_000_000_000
_ROUNDS_TO_AGREE = 3


class Liveness:
    """Agreement within three rounds, payloads within a lifetime and three rounds, everybody at the same root."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._quiet_at: int | None = None  # the height at which the faults were over
        self._agree_since: int | None = None  # since then enough nodes can report
        self._sign_since: int | None = None  # since then enough nodes can sign

    def begin(self) -> None:
        """The faults are over: what comes after the head of now counts."""
        self._quiet_at = self._scene.chain.head_number

    def at(self, height: int) -> None:
        """Check after a new irreversible block."""
        scene = self._scene
        if self._quiet_at is None or height < self._quiet_at:
            return
        params = scene.genesis.params
        self._agree_since = self._since(self._agree_since, height, can_report)
        self._sign_since = self._since(self._sign_since, height, self._can_sign)
        if not self._hold_the_threshold(lambda machine: True):
            return
        if self._agree_since is not None:
            quiet_rounds = (height - self._agree_since) // params.round_length
            if quiet_rounds >= _ROUNDS_TO_AGREE:
                demand(
                    height - scene.auditor.last_agreed <= params.round_length * (_ROUNDS_TO_AGREE + 1),
                    "no_agreement",
                    f"no round agreed since {scene.auditor.last_agreed}, at {height}; quiet since {self._agree_since}",
                )
        if is_stopped(scene, height):
            self._sign_since = None  # by the seats, who are entitled to
        if self._sign_since is not None:
            self._check_payouts(height, self._sign_since)

    def _since(self, before: int | None, height: int, is_able: Callable[[Machine], bool]) -> int | None:
        """Since when those who are able have held the threshold, without a break."""
        if not self._hold_the_threshold(is_able):
            return None
        return height if before is None else before

    def _can_sign(self, machine: Machine) -> bool:
        """Whether a node can do all of its part: its keys are not held back, two operators can be asked, and what it
        signed on a false state is dead."""
        is_free = machine.false_until <= self._scene.auditor.irreversible_time() and not machine.holds_back()
        return can_report(machine) and is_free and machine.good_operators() >= 2

    def _check_payouts(self, height: int, quiet_at: int) -> None:
        """A lifetime and three rounds, and a lifetime more for each payout beside it that Hive refuses: that one may
        have taken it down, and may stand in its way."""
        auditor, params = self._scene.auditor, self._scene.genesis.params
        lifetime = min(params.payload_lifetime, params.header_lifetime) // 3
        for (number,), payload in auditor.state.walk(QUEUE):
            if payload.kind == "payout" and can_be_accepted(payload):
                since = max(quiet_at, payload.queued)
                beside = sum(
                    1
                    for other, seen in auditor.last_seen.items()
                    if seen >= since and auditor.payloads[other].kind == "payout"
                    if not can_be_accepted(auditor.payloads[other])
                )
                most = lifetime * (1 + beside) + _ROUNDS_TO_AGREE * params.round_length
                age = height - since
                demand(age <= most, "not_paid", f"payload {number!s} waits {age} blocks at {height}, at most {most}")

    def check_end(self) -> None:
        """Everybody is at the same root; nothing was given up that Hive could have taken."""
        scene = self._scene
        auditor = scene.auditor
        for machine in scene.machines.values():
            if machine.is_gone:
                continue
            demand(machine.is_up and machine.core is not None, "not_up", f"{machine.name} does not run at the end")
            assert machine.core is not None
            state = machine.core.state
            is_near = state.height >= auditor.height - 5 or not machine.good_operators()
            demand(is_near, "behind", f"{machine.name} is at {state.height}, not at the end")
            demand(not machine.is_misled, "misled", f"{machine.name} is still on a fork that is dead")
            demand(machine.core.halted_at is None, "halted", f"{machine.name} is halted at the end")
            if state.height in auditor.traces:
                same = state.trace(state.height) == auditor.traces[state.height]
                unnoticed = machine.is_corrupted and self._agree_since is None  # without it nobody can agree
                demand(same or unnoticed, "drift", f"{machine.name} has another trace at the end")
        quiet_at = self._sign_since
        for (number,), done in auditor.state.walk(DONE):
            paid = auditor.payloads.get(int(number))
            if done.status == "failed" and paid is not None and quiet_at is not None and paid.queued > quiet_at:
                words = f"payload {number!r} failed although nothing stood in its way"
                is_free = not can_be_accepted(paid) or done.why == "cancelled"
                demand(is_free, "given_up", words)

    def _hold_the_threshold(self, is_able: Callable[[Machine], bool]) -> bool:
        """Whether the honest who are able to can sign, and agree."""
        scene = self._scene
        able = {machine.account for machine in scene.honest() if is_able(machine)}
        held, total, threshold = scene.auditor.weigh(able)
        return held >= threshold and 2 * held > total


def can_report(machine: Machine) -> bool:
    """Whether a node can report a true root: it has not halted, and a server can be asked.

    Where a state or a journal begins, or a dead fork must be left, two operators must be there.
    """
    core = machine.core
    begins = core is not None and (core.state.height < 0 or core.begins_journal or machine.is_misled)
    return not (machine.is_halted or machine.is_corrupted) and machine.good_operators() >= (2 if begins else 1)


def can_be_accepted(payload: Payload) -> bool:
    """Whether Hive takes such a payout once the faults are over."""
    return payload.to == RECEIVER and payload.amount < _HUGE
