"""Every metric and label that the alerts and the dashboard name is one that a node shows."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from node.metrics import Metrics
from node.status import status
from node.transactions import RoleStatus
from tests.node.test_core import new_group, run_to_founded, run_to_record
from tests.node.test_status import live

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
RULES = YAML(typ="safe").load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((DEPLOY / "grafana.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
_VARIABLES = [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]

#: Words of Prometheus' language, and labels that Prometheus itself adds.
FUNCTIONS = {"absent", "changes", "count", "histogram_quantile", "increase", "label_values", "rate", "sum"}
WORDS = {"and", "by", "on", "or", "unless"}
ADDED = {"instance", "job"}
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<range>\[[0-9]+[smhdw]\])|(?P<number>[0-9.]+)|(?P<name>[a-zA-Z_][\w:]*)"""
    r"""|(?P<sign>[=!<>]=|=~|!~|[-+*/<>=(){},]))"""
)


def tokens(expression: str) -> list[tuple[str, str]]:
    """(kind, text) of each token; anything else is an error."""
    found, at = [], 0
    expression = expression.strip()
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        assert match is not None, f"cannot be read from here: {expression[at:]!r}"
        found.append((str(match.lastgroup), match.group(match.lastgroup)))
        at = match.end()
    return found


def named(expression: str) -> tuple[set[str], set[str]]:
    """(metrics, labels) that an expression names."""
    metrics, labels = set(), set()
    found = tokens(expression)
    listing, in_braces = False, False
    for index, (kind, text) in enumerate(found):
        before = found[index - 1][1] if index else ""
        if text == "{":
            in_braces = True
        elif text == "}":
            in_braces = False
        elif text == "(":
            listing = before in ("by", "on")
        elif text == ")":
            listing = False
        elif kind == "name" and (in_braces or listing):
            labels.add(text)
        elif kind == "name" and text not in FUNCTIONS | WORDS:
            metrics.add(text)
    return metrics, labels


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> tuple[set[str], set[str]]:
    """(metrics, labels) that a node shows which has everything to show."""
    folder = tmp_path_factory.mktemp("group")
    group = new_group(folder)
    run_to_founded(group)
    run_to_record(group, "payout")
    found = status(group.nodes["runner02"], live(group))
    assert found.transactions and isinstance(found.transactions[0].roles[0], RoleStatus)
    metrics = Metrics()
    metrics.on_event("hold", {"why": "manual"})
    metrics.on_event("http", {"route": "/health", "status": 200, "seconds": 0.1})
    metrics.to_confirmed.labels("payout").observe(3)
    samples = [
        sample for family in text_string_to_metric_families(metrics.render(found).decode()) for sample in family.samples
    ]
    return {sample.name for sample in samples} | {"up"}, {label for s in samples for label in s.labels} | ADDED


def test_the_reader_of_expressions_knows_metrics_from_labels():
    expression = 'sum by (le, a) (rate(waggle_x_bucket{b="c", d!~"e"}[5m])) > 1.5 and on(f) waggle_y == 0'
    assert named(expression) == ({"waggle_x_bucket", "waggle_y"}, {"le", "a", "b", "d", "f"})
    with pytest.raises(AssertionError):
        tokens("waggle_x ~ 3")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_names_what_there_is_and_says_what_to_do(shown, rule):
    metrics, labels = named(rule["expr"])
    assert metrics <= shown[0] and labels <= shown[1]
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Waggle[A-Z][A-Za-z]+", rule["alert"]) and re.fullmatch(r"[0-9]+[mh]", rule["for"])
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description", "remedy", "runbook"}
    assert re.fullmatch(r"docs/operating\.md#[a-z-]+", rule["annotations"]["runbook"])
    spoken = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    assert spoken <= shown[1]


def test_every_alert_has_a_name_of_its_own():
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names)) >= 20


@pytest.mark.parametrize("expression", [*QUERIES, *_VARIABLES])
def test_a_panel_names_what_there_is(shown, expression):
    metrics, labels = named(expression)
    assert metrics - ADDED <= shown[0] and metrics & shown[0] and labels <= shown[1]


def test_legends_name_labels_that_there_are(shown):
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= shown[1]


def test_panels_have_numbers_and_places_of_their_own():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(places) == len(set(places)) and max(x for x, _ in places) < 24


def test_a_section_for_each_runbook():
    """Each anchor is a heading of docs/operating.md."""
    manual = DEPLOY.parent / "docs" / "operating.md"
    if not manual.exists():
        pytest.skip("docs/operating.md is not there")
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).strip().replace(" ", "-")
        for line in manual.read_text().splitlines()
        if line.startswith("#")
    }
    missing = {rule["annotations"]["runbook"].partition("#")[2] for rule in RULES} - anchors
    assert not missing
