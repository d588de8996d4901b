"""Running one scenario on a cluster, and the summary of what it showed."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from node.devnet.catalogue import SCENARIOS
from node.devnet.cluster import Cluster
from node.devnet.founding import GROUP
from node.devnet.manners import Manner, manner
from node.devnet.observer import Ended
from node.devnet.watching import PARAMETERS, PAYOUT, ScenarioFailedError, chain_authority, until
from processors.genesis import ROLES
from processors.hive.keys import public_key_to_text
from state.schema import NODE

#: Something that goes on beside a devnet.
Watch = Callable[[Cluster], Coroutine[Any, Any, None]]


async def run_scenario(
    name: str,
    folder: Path,
    *,
    nodes: int,
    interval: float,
    lag: int,
    rounds: int,
    watch: Watch,
    apis: Sequence[Manner] = (),
    stay: Watch | None = None,
) -> dict[str, Any]:
    """Run one scenario in ``folder`` and return its summary (ok, facts, and what the chain shows).

    ``apis``: how each API server answers, if not as the scenario wants it. ``stay``: awaited at the end, while
    everything still runs; then there is an account for a newcomer too.
    """
    scenario = SCENARIOS[name]
    manners = tuple(apis) or tuple(map(manner, scenario.apis))
    spares = len(scenario.spares)
    cluster = Cluster(folder, nodes, interval=interval, lag=lag, spares=spares, apis=manners, guest=stay is not None)
    collateral = {member.account: amount for member, amount in zip(cluster.spares, scenario.spares, strict=True)}
    begun = time.monotonic()
    failure = ""
    facts: dict[str, Any] = {}
    watching = asyncio.create_task(watch(cluster))
    try:
        await cluster.start({**PARAMETERS, **scenario.parameters}, payouts=[PAYOUT], collateral=collateral)
        facts = await scenario.run(cluster)
        done = cluster.observer.rounds_agreed + cluster.observer.rounds_open
        await until(cluster, f"{rounds} rounds", lambda: _rounds(cluster) >= rounds, max(1, rounds - done + 2))
        await _same_roots(cluster)
        if stay is not None:
            await stay(cluster)
    except ScenarioFailedError as error:
        failure = str(error)
    finally:
        watching.cancel()
        await cluster.stop()
    return summary(name, cluster, facts, failure, time.monotonic() - begun)


def _rounds(cluster: Cluster) -> int:
    return cluster.observer.rounds_agreed + cluster.observer.rounds_open


async def _same_roots(cluster: Cluster) -> None:
    """Every live node must log the replica's root at a round that begins after now."""
    length = cluster.genesis.params.round_length
    height = (cluster.observer.height // length + 1) * length

    def equal() -> bool:
        own = cluster.observer.state.root(height)
        roots = cluster.roots()
        return own is not None and all(roots[account].get(height) == own.hex() for account in cluster.running)

    await until(cluster, f"equal roots of all live nodes at {height}", equal, 4)


def summary(name: str, cluster: Cluster, facts: dict[str, Any], failure: str, seconds: float) -> dict[str, Any]:
    """What happened, as the chain and the replica show it."""
    observer = cluster.observer
    roots = cluster.roots()
    return {
        "scenario": name,
        "ok": not failure,
        "failure": failure,
        "seconds": round(seconds, 1),
        "height": observer.height,
        "rounds_agreed": observer.rounds_agreed,
        "rounds_open": observer.rounds_open,
        "rotations": [_shown_end(ended) for ended in observer.confirmed("rotation")],
        "payouts": [_shown_end(ended) for ended in observer.confirmed("payout")],
        "facts": facts,
        "group": GROUP,
        "authority": {role: _shown_authority(cluster, role) for role in ROLES},
        "members": [str(account) for (account,), _ in observer.state.walk(NODE)] if observer.height else [],
        "roots": {
            account: {"height": max(found), "root": found[max(found)]} for account, found in roots.items() if found
        },
        "data": str(cluster.folder),
    }


def _shown_end(ended: Ended) -> dict[str, Any]:
    """A confirmed payload for machines."""
    return {
        "payload": ended.payload,
        "op": ended.op,
        "txid": ended.done.txid.hex() if ended.done.txid else None,
        "queued": ended.queued,
        "confirmed": ended.done.height,
        "blocks": ended.done.height - ended.queued,
    }


def _shown_authority(cluster: Cluster, role: str) -> dict[str, Any]:
    """An authority of the group account as the chain has it, in Hive's form."""
    authority = chain_authority(cluster, role)
    prefix = cluster.genesis.chain.address_prefix
    return {
        "weight_threshold": authority.threshold,
        "key_auths": [[public_key_to_text(key, prefix), weight] for key, weight in authority.keys],
        "account_auths": [list(pair) for pair in authority.accounts],
    }
