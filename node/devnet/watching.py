"""What scenarios wait for, and what the chain itself shows of the group."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from node.devnet.cluster import Cluster
from node.devnet.founding import GROUP, RECEIVER
from processors.authority_form import as_stored
from processors.genesis import ROLES
from state.schema import Authority

MEMO = "standing payout of the devnet"
PAYOUT = {"to": RECEIVER, "amount": 1_234, "asset": "HIVE", "every": 40, "memo": MEMO}

#: Small parameters, so that a round is 20 blocks. Protocol defaults stay as they are.
PARAMETERS: dict[str, Any] = {
    "round_length": 20,
    "report_at": 10,
    "recast_every": 10,
    "header_lifetime": 900,
    "header_min_left": 60,
    "rotation_lifetime": 600,
    "payload_lifetime": 600,
    "absent_rounds": 3,
    "seat_rounds": 1,
    "ripe_rounds": 3,
    "rotation_patience": 6,
    "history": 4_000,
}
_DEADLINE = 180  # seconds of wall time for one wait, so that nothing hangs


class ScenarioFailedError(Exception):
    """The chain does not show what the scenario promises; the message says what it shows."""


async def until(cluster: Cluster, what: str, condition: Callable[[], bool], rounds: int) -> None:
    """Wait for ``condition`` after some block, at most ``rounds`` rounds."""
    limit = cluster.observer.height + rounds * PARAMETERS["round_length"]
    deadline = time.monotonic() + _DEADLINE
    while not condition():
        if cluster.died():
            raise ScenarioFailedError(
                f"these nodes ended by themselves: {', '.join(cluster.died())}; see their node.log"
            )
        if cluster.observer.height > limit or time.monotonic() > deadline:
            raise ScenarioFailedError(f"not within {rounds} rounds, at height {cluster.observer.height}: {what}")
        await asyncio.sleep(cluster.interval / 2)


def chain_authority(cluster: Cluster, role: str) -> Authority:
    """An authority of the group account as the chain has it."""
    return as_stored(getattr(cluster.chain.ledger.accounts[GROUP], role))


def holds_wanted(cluster: Cluster) -> bool:
    """Whether owner, active and posting on the chain are what the runners' ripe keys make."""
    wanted = cluster.observer.wanted()
    return bool(wanted.keys) and all(chain_authority(cluster, role) == wanted for role in ROLES)


def payments(cluster: Cluster) -> list[str]:
    """Ids of the transactions on chain that paid the receiver, oldest first."""
    return [
        entry.txid.hex()
        for block in cluster.chain.blocks
        for entry in block.transactions
        for operation in entry.tx.operations
        if operation.name == "transfer" and operation.value["to"] == RECEIVER and operation.value["memo"] == MEMO
    ]
