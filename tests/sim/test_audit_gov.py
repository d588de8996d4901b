"""The treasurer finds what it is there to find: for each of its invariants something is broken."""

import pytest
from msgspec.structs import replace

from node.devnet.founding import GROUP
from node.sim import audit_gov
from node.sim.outcome import demand
from processors.context import queue
from processors.genesis import Genesis
from state.schema import (
    ACTION,
    COLLATERAL,
    EMERGENCY,
    LEAVING,
    MS,
    PROPOSAL,
    PROPOSALS,
    QUEUE,
    SPENDING,
    VOTE,
    Action,
    Emergency,
    Leaving,
    Payload,
    Proposal,
    Total,
    Vote,
)
from tests.sim.test_audit import at_height, blind, once, rule, told_by  # noqa: F401 - fixtures
from tests.sim.tiny import payout, tiny
