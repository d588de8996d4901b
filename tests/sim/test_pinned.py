"""Each bug that the simulation found, as the small plan that showed it: it must hold now.

`what` in each file says what it was. A new one is made by `waggle sim --seed S --shrink --save FILE`.
"""

import json
from pathlib import Path

import msgspec
import pytest

from node.sim.plan import Plan
from node.sim.world import run

PINNED = sorted(Path(__file__).parent.joinpath("pinned").glob("*.json"))


@pytest.mark.parametrize("path", PINNED, ids=lambda path: path.stem)
def test_what_was_found_once_holds(path):
    document = json.loads(path.read_text())
    assert document["what"] and document["invariant"], "say in one line what it was, and what it broke"
    outcome = run(msgspec.convert(document["plan"], Plan))
    assert outcome.ok, f"{document['what']}\n{outcome.invariant}: {outcome.detail}"


def test_there_are_some():
    assert len(PINNED) >= 3
