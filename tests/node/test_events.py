"""The catalogue of events is whole: the code logs nothing that is not in it, and docs/logs.md is made of it."""

import ast
from pathlib import Path

import pytest

from node.events import EVENTS, fields_of
from node.events_page import page
from node.log import LEVELS

ROOT = Path(__file__).parents[2]
#: What is called to log: a function of node/log.py, or what a node or its API has of it.
NAMES = {"log", "_log", "on_event"}
#: Calls whose event is not a word of the source, and the events that they can be.
DYNAMIC = {
    ("node/core.py", "_tell"): {"hold", "refuse", "abstained"},
    ("node/signer/replica.py", "_tell"): {"hold", "refuse"},
}
#: Fields that are made elsewhere: each can be missing.
ELSEWHERE = {("node/sync/healing.py", "difference")}
#: Fields that node/alarms.py makes; tests/node/test_alarms.py holds them against the catalogue.
ALARMS = {("node/core.py", "alarm"), ("node/core.py", "upgrade_needed")}
#: Those that hand on what they were given.
FORWARDS = {"node/devnet", "node/sim", "node/metrics.py", "node/api/served.py", "node/daemon.py", "node/served.py"}


def calls():
    """(file, function around it, call) of every call that logs."""
    for path in sorted((ROOT / "node").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for node in _own(function):
                    if isinstance(node, ast.Call) and _is_told(node):
                        yield name, function, node


def _is_told(call):
    name = _called(call.func)
    is_word = bool(call.args) and isinstance(call.args[0], ast.Constant)
    return len(call.args) == 2 and (name in NAMES or (name == "told" and is_word))


def _own(function):
    """What stands in a function, without the functions in it."""
    left = list(ast.iter_child_nodes(function))
    while left:
        node = left.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            left += ast.iter_child_nodes(node)


def _called(function):
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def keys_of(node, function):
    """The keys of a dict that is written, built from others, or named; None where that cannot be seen."""
    if isinstance(node, ast.Dict):
        found = set()
        for key, value in zip(node.keys, node.values, strict=True):
            more = keys_of(value, function) if key is None else {key.value} if isinstance(key, ast.Constant) else None
            if more is None:
                return None
            found |= more
        return found
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        parts = [keys_of(node.left, function), keys_of(node.right, function)]
        return None if None in parts else parts[0] | parts[1]
    if isinstance(node, ast.IfExp):
        parts = [keys_of(node.body, function), keys_of(node.orelse, function)]
        return None if None in parts else parts[0] | parts[1]
    if isinstance(node, ast.Name):
        for line in _own(function):
            targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
            if isinstance(line, ast.Assign | ast.AnnAssign) and any(getattr(t, "id", "") == node.id for t in targets):
                return keys_of(line.value, function)
    return None


def known():
    """(place, events, fields) of every call that says both in the source."""
    for name, function, call in calls():
        event, place = call.args[0], f"{name}:{call.lineno}"
        if isinstance(event, ast.Constant):
            yield place, {event.value}, keys_of(call.args[1], function)
        elif (name, function.name) in DYNAMIC:
            yield place, DYNAMIC[name, function.name], keys_of(call.args[1], function)
        elif not any(name.startswith(place) for place in FORWARDS):
            yield place, {f"no word: {ast.unparse(event)}"}, set()


def test_there_are_calls_to_find():
    found = list(known())
    assert len(found) > 20
    assert {"node/core.py", "node/runtime.py", "node/api/app.py"} <= {place.partition(":")[0] for place, _, _ in found}


def test_whatever_the_code_logs_is_in_the_catalogue():
    missing = [f"{place}: {event}" for place, events, _ in known() for event in events if event not in EVENTS]
    assert missing == []


def test_every_field_that_the_code_logs_is_in_the_catalogue():
    wrong = []
    for place, events, fields in known():
        for event in events & EVENTS.keys():
            if (place.partition(":")[0], event) in ELSEWHERE:
                assert all(field.endswith("?") for field in EVENTS[event].fields)
                continue
            if (place.partition(":")[0], event) in ALARMS:
                continue
            if fields is None:
                wrong.append(f"{place}: {event}: the fields cannot be seen here: write them as one dict")
                continue
            wrong += [f"{place}: {event} has no field {field}" for field in sorted(fields - fields_of(EVENTS[event]))]
            must = {field for field in EVENTS[event].fields if not field.endswith("?")}
            wrong += [f"{place}: {event} lacks the field {field}" for field in sorted(must - fields)]
    assert wrong == []


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_is_explained(name):
    event = EVENTS[name]
    assert event.level in LEVELS
    assert event.meaning.endswith(".") and all(event.fields.values())
    assert event.remedy or event.level != "warning", "what is a warning says what to do"
    assert not event.remedy.endswith(".")
    assert "|" not in event.meaning + event.remedy + "".join(event.fields.values())


def test_the_page_is_made_of_the_catalogue():
    written = (ROOT / "docs" / "logs.md").read_text()
    assert written == page(), "run: python -m node.events_page > docs/logs.md"
