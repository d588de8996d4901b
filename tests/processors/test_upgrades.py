"""Changes at a height (protocol sections 3 and 9): in force from that block on, or the node stops before it."""

import pytest

from processors.errors import TooOldError
from processors.params import BOUNDS
from processors.upgrades import KNOWN_RULES, RULES, unknown
from state.schema import CHANGE, PARAM, Parameter
from tests.node.test_core import new_group


@pytest.fixture
def node(tmp_path):
    """A group of one node that follows, and its height."""
    group = new_group(tmp_path)
    group.run(25)
    group.nodes = {"runner02": group.nodes["runner02"]}
    return group


def decided(group, height, name, value):
    """Write a change into the state as a decision of the group would."""
    state = group.nodes["runner02"].state
    view = state.view()
    view.put(CHANGE, Parameter(value), height, name)
    for table, key, value_of, _, raw in state.differences(view):
        state._take(table, key, value_of, raw)


def values(group, name):
    state = group.nodes["runner02"].state
    found = state.get(PARAM, name)
    return found.value if found is not None else None


def test_a_parameter_is_in_force_from_its_height_on(node):
    state = node.nodes["runner02"].state
    at = state.height + 4
    decided(node, at, "max_queue", 77)
    while state.height < at - 1:
        node.step()
        assert values(node, "max_queue") != 77
    node.step()
    assert state.height == at and values(node, "max_queue") == 77
    assert next(state.walk(CHANGE), None) is None, "what is in force is no change to come"


def test_known_rules_are_noted(node):
    state = node.nodes["runner02"].state
    decided(node, state.height + 2, RULES, KNOWN_RULES)
    for _ in range(4):
        node.step()
    assert values(node, RULES) == KNOWN_RULES


@pytest.mark.parametrize(
    ("name", "value"),
    [(RULES, KNOWN_RULES + 1), ("a_parameter_of_later", 1), ("max_queue", BOUNDS["max_queue"][1] + 1)],
)
def test_what_this_version_does_not_know_stops_it_before_the_block(node, name, value):
    state = node.nodes["runner02"].state
    at = state.height + 3
    decided(node, at, name, value)
    assert unknown(state) == [(at, name, value)]
    node.step(), node.step()
    before = state.current_root()
    with pytest.raises(TooOldError, match=f"from block {at} on the group follows {name} = {value}.*newer"):
        node.step()
    assert state.height == at - 1 and state.current_root() == before
    with pytest.raises(TooOldError):
        node.step()


def test_it_says_so_at_the_end_of_each_round_before(node):
    state = node.nodes["runner02"].state
    decided(node, state.height + 28_800, RULES, KNOWN_RULES + 1)
    node.run(45)
    told = [fields for _, _, event, fields in node.events if event == "upgrade_needed"]
    assert len(told) == 2 and 0.9 <= told[-1]["days"] <= 1.0
    assert told[-1]["what"] == f"rules = {KNOWN_RULES + 1}"
