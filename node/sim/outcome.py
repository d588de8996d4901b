"""What becomes of a seed: everything held, or an invariant did not."""

import msgspec


class Violation(Exception):
    """An invariant that does not hold."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
        self.detail = detail


def demand(holds: bool, invariant: str, detail: str) -> None:
    """Raise Violation unless ``holds``."""
    if not holds:
        raise Violation(invariant, detail)


class Outcome(msgspec.Struct, frozen=True):
    """What became of a seed. ``invariant`` is empty when everything held.

    ``faults``: how often each kind took effect; ``counts``: what the group went through; ``digest``: of the timeline
    and of every block that every node applied, equal for equal runs.
    """

    seed: int
    invariant: str
    detail: str
    slot: int
    blocks: int
    node_blocks: int
    nodes: int
    faults: dict[str, int]
    counts: dict[str, int]
    digest: str
    timeline: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything held."""
        return not self.invariant
