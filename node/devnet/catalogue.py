"""Every scenario of the devnet, by name."""

from node.devnet import scenarios, treasury
from node.devnet.scenarios import Scenario

SCENARIOS: dict[str, Scenario] = {**scenarios.SCENARIOS, **treasury.SCENARIOS}
