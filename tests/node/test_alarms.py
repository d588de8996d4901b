"""What people must hear of a block: the protocol's alarms, and rules that this version does not know."""

import pytest

from node.alarms import alarms, rules_to_come
from node.events import EVENTS
from processors.upgrades import KNOWN_RULES, RULES
from state.schema import CHANGE, FEED, MS, FeedNote, Parameter
from tests.node.test_core import new_group, run_to_record


@pytest.fixture
def group(tmp_path):
    found = new_group(tmp_path)
    run_to_record(found, "rotation")
    return found


class Shown:
    """A state as it was changed."""

    def __init__(self, state, table, value, *key):
        view = state.view()
        view.put(table, value, *key)
        self.walk, self.height, self.view = view.walk, state.height, lambda: view


def names(event):
    return {field.removesuffix("?") for field in EVENTS[event].fields}


def must(event):
    return {field for field in EVENTS[event].fields if not field.endswith("?")}


def test_a_quiet_block_brings_none(group):
    state = group.nodes["runner02"].state
    assert list(alarms(state, group.genesis)) == []
    assert list(rules_to_come(state, group.genesis)) == []


def test_steps_towards_taking_the_account_back(group):
    state = group.nodes["runner02"].state
    note = FeedNote("recover_account", "mallory")
    (found,) = alarms(Shown(state, FEED, note, state.height, 0), group.genesis)
    assert found == {"height": state.height, "what": "recover_account", "account": "mallory"}
    assert must("alarm") <= found.keys() <= names("alarm")


def test_of_an_older_block_it_was_said_already(group):
    state = group.nodes["runner02"].state
    assert list(alarms(Shown(state, FEED, FeedNote("recover_account", "x"), state.height - 1, 0), group.genesis)) == []


def test_a_rotation_without_owner(group):
    state = group.nodes["runner02"].state
    (((op,), record),) = list(state.walk(MS))
    without = type(record)(**{**{f: getattr(record, f) for f in record.__struct_fields__}, "roles": ("active",)})
    shown = Shown(state, MS, without, op)
    shown.height = record.built
    (found,) = alarms(shown, group.genesis)
    assert found["what"] == "rotation_without_owner" and found["op"] == op
    assert must("alarm") <= found.keys() <= names("alarm")


def test_rules_to_come_are_told_at_the_end_of_a_round_alone(group):
    state = group.nodes["runner02"].state
    shown = Shown(state, CHANGE, Parameter(KNOWN_RULES + 1), state.height + 10_000, RULES)
    length = group.genesis.params.round_length
    shown.height = state.height // length * length
    (found,) = rules_to_come(shown, group.genesis)
    assert must("upgrade_needed") <= found.keys() <= names("upgrade_needed")
    shown.height += 1
    assert list(rules_to_come(shown, group.genesis)) == []
