"""Changes of parameters and rules that the seats decide (protocol section 10)."""

from typing import Any

import pytest

from processors import params, upgrades
from processors.params import BOUNDS
from state.schema import CHANGE, CHANGED, DECIDED, PARAM, PROPOSALS, QUEUE, REPORT, ROUND, Changed, Parameter
from tests.processors.blocks import Stage
from tests.processors.council import GENEROUS, Council
from tests.processors.hostile_decisions import say


@pytest.fixture
def council() -> Council:
    """Five seats, a to e."""
    return Council(**GENEROUS)


def change(council: Council, name: str, value: int, delay: int = 28_800, by: str = "a", lasts: int = 1_000) -> str:
    return council.say(by, "propose_change", name=name, value=value, delay=delay, expires=council.height + lasts)


# -- the proposal


@pytest.mark.parametrize(
    "name", ["round_length", "trace_keep", "", "unheard_of", "Outbid", "proposals", "__class__", "x" * 32]
)
def test_a_change_names_a_parameter_that_can_change(council, name):
    assert change(council, name, 100) == "unknown_parameter"


@pytest.mark.parametrize("name", ["x" * 33, "outbíd"])
def test_a_name_is_short_and_ascii(council, name):
    assert change(council, name, 100) == "out_of_bounds"


@pytest.mark.parametrize(("name", "value", "code"), [
    ("outbid", 99, "bad_value"), ("outbid", 100, "accepted"), ("outbid", 1_000, "accepted"),
    ("outbid", 1_001, "bad_value"), ("rotate_owner", 0, "accepted"), ("rotate_owner", 2, "bad_value"),
    ("spend_limit_hive", 2**53, "accepted"),
    ("spend_limit_hive", 2**53 + 1, "bad_value"), ("rules", 0, "bad_value"), ("rules", 1, "accepted"),
    ("rules", 2, "accepted"), ("rules", 3, "bad_value"), ("outbid", -1, "out_of_bounds"),
])  # fmt: skip
def test_its_value_is_within_the_bounds_of_the_parameter(council, name, value, code):
    assert change(council, name, value) == code


def test_a_flag_is_0_or_1_and_no_bool(council):
    body: dict[str, Any] = {"name": "rotate_owner", "value": True, "delay": 28_800, "expires": 2_000}
    assert council.say("a", "propose_change", body) == "bad_type"


@pytest.mark.parametrize(("delay", "code"), [
    (28_799, "too_soon"), (28_800, "accepted"), (10_512_000, "accepted"), (10_512_001, "out_of_bounds"),
])  # fmt: skip
def test_its_delay_is_change_delay_at_least(council, delay, code):
    assert change(council, "outbid", 120, delay) == code


@pytest.mark.parametrize(("approved", "delay", "height"), [
    (1_110, 0, 1_201), (1_110, 89, 1_201), (1_110, 90, 1_201), (1_110, 91, 1_301), (1_200, 0, 1_201),
    (1_200, 100, 1_301), (1_201, 0, 1_301),
])  # fmt: skip
def test_it_is_noted_for_the_first_block_after_a_round(approved, delay, height):
    council = Council(change_delay=0)
    council.height = approved
    assert change(council, "outbid", 120, delay) == "accepted"
    council.all_say("abc", "vote", id=1, yes=True)
    assert [found for found, _ in council.view.walk(CHANGE)] == [(height, "outbid")]
    assert height > approved + delay and council.view.need(DECIDED, 1).payload == 0 and council.names(QUEUE) == []


def test_of_two_for_one_block_the_one_approved_later_stands(council):
    change(council, "outbid", 120)
    change(council, "outbid", 130)
    council.all_say("abc", "vote", id=2, yes=True)
    council.all_say("abc", "vote", id=1, yes=True)
    assert [found.value for _, found in council.view.walk(CHANGE)] == [120]


# -- in force


class Changing(Stage):
    """Three runners, rounds of 50 blocks, no least delay; each change is decided in one block."""

    def __init__(self) -> None:
        super().__init__(3, parameters={"change_delay": 0, "history": 100})
        self.run_to(110)

    def decide(self, *changes: tuple[str, int], delay: int = 0) -> None:
        """Proposed by the first runner and approved by two."""
        made_before = self.state.get(PROPOSALS)
        last = made_before.last if made_before is not None else 0
        made = [
            say("runner01", "propose_change", name=name, value=value, delay=delay, expires=self.height + 101)
            for name, value in changes
        ]
        numbers = range(last + 1, last + 1 + len(changes))
        cast = [say(who, "vote", id=n, yes=True) for n in numbers for who in ("runner01", "runner02")]
        self.block(*made, *cast)

    def value(self, name: str) -> int:
        """Of a parameter in force."""
        found: int = getattr(params.read(self.state.view()), name)
        return found

    def changed(self) -> dict[tuple[int, str], Changed]:
        return {(int(height), str(name)): found for (height, name), found in self.state.walk(CHANGED)}


def test_it_comes_into_force_with_the_first_block_of_a_round_and_is_kept_for_ever():
    stage = Changing()
    stage.decide(("outbid", 150))
    assert dict(stage.state.walk(CHANGE)) == {(151, "outbid"): Parameter(150)}
    stage.run_to(150)
    assert stage.value("outbid") == 110
    stage.block()
    assert stage.value("outbid") == 150 and not list(stage.state.walk(CHANGE))
    stage.run_to(400)
    assert stage.changed() == {(151, "outbid"): Changed(110, 150, True)}
    assert not list(stage.state.walk(DECIDED)), "what was decided is forgotten, what changed is not"


def test_a_later_parameter_joins_the_table_when_a_change_names_it():
    stage = Changing()
    assert stage.state.get(PARAM, "large_hive") is None
    stage.decide(("large_hive", 7))
    stage.run_to(151)
    assert stage.state.need(PARAM, "large_hive") == Parameter(7) and stage.value("large_hive") == 7
    assert stage.changed()[151, "large_hive"] == Changed(0, 7, True)


@pytest.mark.parametrize(("name", "value"), [
    ("report_at", 50), ("report_at", 9_999), ("min_signers", 26), ("hive_rules", 27),
    ("header_lifetime", 60), ("outbid", 110), ("rotate_owner", 1), ("large_hive", 0),
])  # fmt: skip
def test_what_would_not_fit_or_is_so_already_is_dropped(name, value):
    stage = Changing()
    before = stage.value(name)
    stage.decide((name, value))
    stage.run_to(160)
    assert stage.value(name) == before and not list(stage.state.walk(CHANGE))
    assert stage.changed() == {(151, name): Changed(int(before), value, False)}


def test_whether_they_fit_is_seen_when_they_come_into_force_each_on_those_before_it():
    stage = Changing()
    stage.decide(("max_runners", 41 - 1), ("min_signers", 26))
    stage.run_to(151)
    assert (stage.value("max_runners"), stage.value("min_signers")) == (40, 26)
    stage.decide(("max_runners", 3), ("min_signers", 3))
    stage.run_to(201)
    assert (stage.value("max_runners"), stage.value("min_signers")) == (40, 3), "by name: max_runners came first"


def test_a_longer_history_that_becomes_shorter_leaves_no_rounds_behind():
    stage = Changing()
    stage.decide(("history", 600))
    stage.run_to(800)
    stage.decide(("history", 100))
    stage.run_to(1_000)
    assert len(list(stage.state.walk(ROUND))) <= 3


def test_a_change_of_report_at_moves_the_header_that_is_asked_for():
    stage = Changing()
    stage.decide(("report_at", 30))
    stage.run_to(150)
    for height, code in ((171, False), (181, True)):
        stage.run_to(height, reporting=())
        stage.block(stage.report(stage.members[0]))
        assert (stage.state.get(REPORT, "runner01") is not None) == code


def test_a_payload_of_a_change_there_is_none(council):
    change(council, "outbid", 120)
    council.all_say("abc", "vote", id=1, yes=True)
    assert council.view.need(DECIDED, 1).payload == 0 and council.names(QUEUE) == []


def test_every_parameter_but_two_can_change():
    assert {name for name in BOUNDS if not params.is_proposable(name)} == {"round_length", "trace_keep"}
    assert not params.is_proposable(upgrades.RULES), "its bounds are its own"
