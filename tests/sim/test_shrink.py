"""Cutting a failing schedule down, with a judge that says which faults it takes."""

import pytest
from msgspec.structs import replace

from node.sim.outcome import Outcome
from node.sim.plan import Fault, draw
from node.sim.shrink import only, shrink


def plan_of(count):
    """A plan of ``count`` faults, each to be known by its ``n``."""
    return replace(draw(1), faults=tuple(Fault("gap", slot, slot, "runner01", 0, slot) for slot in range(count)))


class Judge:
    """Says which invariant a plan breaks by the numbers of its faults, and counts how often it was asked."""

    def __init__(self, invariant_of):
        self._invariant_of = invariant_of
        self.asked = []

    def __call__(self, plan):
        numbers = [fault.n for fault in plan.faults]
        self.asked.append(numbers)
        return Outcome(plan.seed, self._invariant_of(set(numbers)), "", 0, 0, 0, 0, {}, {}, "")


def needs(*numbers, invariant="supply"):
    return Judge(lambda found: invariant if set(numbers) <= found else "")


def shrunk(count, judge):
    said = []
    return shrink(plan_of(count), said.append, judge), said


@pytest.mark.parametrize("needed", [(0,), (19,), (7,), (3, 4), (0, 19), (2, 9, 17), (0, 5, 10, 15)])
def test_what_is_left_is_what_it_takes(needed):
    left, _ = shrunk(20, needs(*needed))
    assert left == list(needed)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_what_needs_every_fault_keeps_every_fault(count):
    left, said = shrunk(count, needs(*range(count)))
    assert left == list(range(count))
    assert said == []


def test_what_fails_without_any_fault_keeps_none():
    assert shrunk(9, Judge(lambda found: "supply"))[0] == []


def test_a_plan_without_faults_that_fails_is_small_already():
    judge = Judge(lambda found: "supply")
    assert shrunk(0, judge)[0] == []
    assert judge.asked == [[]]


def test_no_fault_can_be_spared_at_the_end():
    """Several schedules fail; whichever is found, each of its faults is needed."""

    def fails(found):
        return "supply" if {1, 8} <= found or {3, 5, 11} <= found else ""

    left, _ = shrunk(12, Judge(fails))
    assert fails(set(left))
    assert not any(fails(set(left) - {one}) for one in left)


def test_another_invariant_does_not_count():
    def fails(found):
        return "drift" if {2, 6} <= found else "supply" if found else ""

    left, _ = shrunk(10, Judge(fails))
    assert left == [2, 6]


def test_what_interacts_is_found_though_halves_alone_do_not_fail():
    """Fault 4 heals what 1 breaks unless 6 is there."""
    left, _ = shrunk(8, Judge(lambda found: "supply" if 1 in found and (4 not in found or 6 in found) else ""))
    assert left == [1]


def test_a_plan_that_holds_cannot_be_shrunk():
    with pytest.raises(ValueError, match="does not fail"):
        shrunk(5, needs(99))


def test_it_takes_few_runs():
    for needed in ((37,), (5, 60)):
        judge = needs(*needed)
        assert shrunk(64, judge)[0] == list(needed)
        assert len(judge.asked) <= 64


def test_no_schedule_is_tried_with_faults_in_another_order():
    judge = needs(2, 9)
    shrunk(12, judge)
    assert all(numbers == sorted(numbers) for numbers in judge.asked)


def test_each_step_is_told():
    _, said = shrunk(8, needs(0))
    assert said[0] == "4 of 8 faults still fail with supply"
    assert said[-1] == "1 of 8 faults still fail with supply"


def test_only_keeps_the_named_faults_and_all_else():
    plan = plan_of(5)
    cut = only(plan, [1, 4])
    assert [fault.n for fault in cut.faults] == [1, 4]
    assert replace(cut, faults=plan.faults) == plan
