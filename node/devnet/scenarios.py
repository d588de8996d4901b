"""What a devnet is put through. Each scenario passes only if the chain itself shows it."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from node.devnet.cluster import Cluster
from node.devnet.founding import GROUP, RECEIVER, MemberKeys
from node.devnet.rpc import RpcError
from processors.genesis import ROLES, pop_digest
from processors.hive.keys import public_key_to_text
from processors.hive.transaction import Transaction
from state.schema import MS, NODE, SIG, Authority

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


class Scenario(NamedTuple):
    """How a devnet is set up for it, what happens, and the facts it reports."""

    run: Callable[[Cluster], Awaitable[dict[str, Any]]]
    parameters: Mapping[str, Any] = MappingProxyType({})
    spares: tuple[int, ...] = ()  # collateral of each member that joins later


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
    found = getattr(cluster.chain.ledger.accounts[GROUP], role)
    return Authority(found.weight_threshold, found.key_auths, found.account_auths)


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


async def founded(cluster: Cluster, rounds: int = 12) -> None:
    """Until the group holds its account."""
    await until(cluster, "the founding rotation", lambda: bool(cluster.observer.confirmed("rotation")), rounds)
    await until(cluster, "the wanted authorities on chain", lambda: holds_wanted(cluster), 3)


async def found_scenario(cluster: Cluster) -> dict[str, Any]:
    """The account goes from its giver's key to the group, and a standing payout is paid once."""
    await founded(cluster)
    await until(cluster, "a standing payout", lambda: bool(cluster.observer.confirmed("payout")), 8)
    paid = payments(cluster)
    known = [ended.done.txid.hex() for ended in cluster.observer.confirmed("payout") if ended.done.txid]
    if paid[:1] != known[:1]:
        raise ScenarioFailedError(f"the chain shows the payments {paid}, the group confirmed {known}")
    return {"payments": paid}


async def join_scenario(cluster: Cluster) -> dict[str, Any]:
    """Two more members register, their keys ripen, they win a seat each, the keys rotate in."""
    await founded(cluster)
    for spare in cluster.spares:
        register(cluster, spare)
        await cluster.start_node(spare.account)
    names = {spare.account for spare in cluster.spares}
    observer = cluster.observer
    await until(cluster, "both seated", lambda: names <= set(observer.runners()), 16)
    keys = {spare.signing_key.public for spare in cluster.spares}

    def rotated_in() -> bool:
        return holds_wanted(cluster) and keys <= {key for key, _ in chain_authority(cluster, "active").keys}

    await until(cluster, "both keys in the authority", rotated_in, 12)
    return {"joined": sorted(names), "threshold": chain_authority(cluster, "active").threshold}


def register(cluster: Cluster, member: MemberKeys) -> None:
    """node_add of a member, with its proof of possession."""
    proof = member.signing_key.sign(pop_digest(cluster.genesis.hash, member.account)).hex()
    key = public_key_to_text(member.signing_key.public, cluster.genesis.chain.address_prefix)
    cluster.submit_as(
        member, "node_add", {"domain": f"https://{member.account}.example", "signing_key": key, "pop": proof}
    )


async def absent_scenario(cluster: Cluster) -> dict[str, Any]:
    """Two of five stop for good, lose their seats, and their keys rotate out."""
    await founded(cluster)
    leaving = cluster.members[-2:]
    gone = [member.account for member in leaving]
    for account in gone:
        await cluster.kill_node(account)
    observer = cluster.observer
    await until(cluster, "both seats lost", lambda: not set(gone) & set(observer.runners()), 10)
    keys = {member.signing_key.public for member in leaving}

    def rotated_out() -> bool:
        return holds_wanted(cluster) and not keys & {key for key, _ in chain_authority(cluster, "active").keys}

    await until(cluster, "both keys out of the authority", rotated_out, 12)
    return {"gone": gone, "signers": len(chain_authority(cluster, "active").keys)}


def group_op_of(tx: Transaction, name: str) -> tuple[str, str] | None:
    """(account, id of the group transaction) if a transaction carries our custom_json ``name``."""
    operation = tx.operations[0]
    if operation.name != "custom_json" or operation.value["id"] != f"waggle_{name}":
        return None
    return operation.value["required_auths"][0], json.loads(operation.value["json"])["op"]


class _Gate:
    """Lets the signatures for the group transactions ``closed`` through only for the accounts ``open_to``."""

    def __init__(self, cluster: Cluster) -> None:
        self.closed: set[str] = set()
        self.open_to: set[str] = set()
        self.turned_away = 0
        cluster.server.swallow = self.check

    def check(self, client: str, tx: Transaction) -> bool:
        found = group_op_of(tx, "sig_submit")
        if found is not None and found[1] in self.closed and found[0] not in self.open_to:
            self.turned_away += 1
            raise RpcError(-32003, "the server is busy")  # the node tries again at the next block
        return False


def payout_out(cluster: Cluster) -> str | None:
    """The id of a payout that is out, if there is one."""
    return next((op for op, record, _, _ in cluster.observer.records() if record.kind == "payout"), None)


async def leader_dies_scenario(cluster: Cluster) -> dict[str, Any]:
    """The leader dies with the threshold one short; the recast brings the transaction through."""
    await founded(cluster)
    gate = _Gate(cluster)
    observer = cluster.observer
    chosen: dict[str, Any] = {}

    def choose() -> None:
        """At the very block that builds a payout: only its leader and one more may sign for now."""
        op = payout_out(cluster)
        if op is not None and not chosen:
            chosen.update(op=op, leader=observer.leader(op))
            gate.closed.add(op)
            others = [account for account in observer.runners() if account != chosen["leader"]]
            gate.open_to |= {chosen["leader"], *others[: chain_authority(cluster, "active").threshold - 2]}

    observer.listeners.append(choose)
    await until(cluster, "a payout that is out", lambda: bool(chosen), 8)
    op, leader = chosen["op"], chosen["leader"]
    leader_key = next(member.signing_key.public for member in cluster.members if member.account == leader)
    threshold = chain_authority(cluster, "active").threshold

    def one_short() -> bool:
        signed = sum(1 for _ in observer.state.walk(SIG, op))
        return observer.state.get(SIG, op, leader_key) is not None and signed == threshold - 1

    await until(cluster, "the leader's signature, one short of the threshold", one_short, 8)
    cluster.server.refused_clients.add(leader)
    await cluster.kill_node(leader)
    gate.closed.clear()
    ready = [0]

    def note_ready() -> None:
        record = observer.state.get(MS, op)
        ready[0] = record.ready_at if record is not None and record.ready_at else ready[0]

    observer.listeners.append(note_ready)
    await until(cluster, "its confirmation", lambda: any(e.op == op for e in observer.confirmed("payout")), 8)
    confirmed = next(e.done.height for e in observer.confirmed("payout") if e.op == op)
    every = cluster.genesis.params.recast_every
    if confirmed < ready[0] + every:
        raise ScenarioFailedError(f"confirmed at {confirmed}, ready at {ready[0]}: that was no recast")
    txid = next(e.done.txid for e in observer.confirmed("payout") if e.op == op) or b""
    senders = [b["client"] for b in cluster.broadcasts() if b["txid"] == txid.hex()]
    if not senders or leader in senders:
        raise ScenarioFailedError(f"broadcast by {senders}, the leader was {leader}")
    cluster.server.refused_clients.discard(leader)
    await cluster.start_node(leader)
    await until(cluster, "the leader's root after its restart", lambda: _caught_up(cluster, leader), 12)
    return {"leader": leader, "ready_at": ready[0], "confirmed_at": confirmed, "sent_by": senders}


def _caught_up(cluster: Cluster, account: str) -> bool:
    roots = cluster.roots()[account]
    newest = max(roots, default=0)
    own = cluster.observer.state.root(newest)
    return newest > cluster.observer.height - 40 and own is not None and roots[newest] == own.hex()


async def expire_scenario(cluster: Cluster) -> dict[str, Any]:
    """Signatures are withheld until a payout expires; it is rebuilt, and paid exactly once."""
    await founded(cluster)
    gate = _Gate(cluster)
    observer = cluster.observer
    first: list[tuple[str, int, str]] = []

    def close() -> None:
        op = payout_out(cluster)
        if op is not None and not first:
            record = observer.state.need(MS, op)
            first.append((op, record.payloads[0], record.txid.hex()))
            gate.closed.add(op)

    observer.listeners.append(close)
    await until(cluster, "a payout that is out", lambda: bool(first), 8)
    op, payload, txid = first[0]
    await until(cluster, "its expiry", lambda: observer.state.get(MS, op) is None, 12)
    await until(
        cluster,
        "its second attempt confirmed",
        lambda: any(e.payload == payload for e in observer.confirmed("payout")),
        12,
    )
    ended = next(e for e in observer.confirmed("payout") if e.payload == payload)
    paid = payments(cluster)
    second = ended.done.txid.hex() if ended.done.txid else ""
    if txid in paid or paid.count(second) != 1 or second == txid:
        raise ScenarioFailedError(f"first attempt {txid}, second {second}, the chain shows {paid}")
    if len(paid) != len(observer.confirmed("payout")):
        raise ScenarioFailedError(f"{len(paid)} payments on chain, {len(observer.confirmed('payout'))} confirmed")
    return {"payload": payload, "expired": txid, "paid_by": second, "turned_away": gate.turned_away}


SCENARIOS: dict[str, Scenario] = {
    "found": Scenario(found_scenario),
    "join": Scenario(join_scenario, spares=(200, 150)),
    "leader-dies": Scenario(leader_dies_scenario),
    "absent": Scenario(absent_scenario),
    "expire": Scenario(expire_scenario, parameters={"payload_lifetime": 75}),
}


async def run_scenario(
    name: str,
    folder: Path,
    *,
    nodes: int,
    interval: float,
    lag: int,
    rounds: int,
    watch: Callable[[Cluster], Coroutine[Any, Any, None]],
) -> dict[str, Any]:
    """Run one scenario in ``folder`` and return its summary (ok, facts, and what the chain shows)."""
    scenario = SCENARIOS[name]
    cluster = Cluster(folder, nodes, interval=interval, lag=lag, spares=len(scenario.spares))
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
    prefix = cluster.genesis.chain.address_prefix

    def ends(kind: str) -> list[dict[str, Any]]:
        return [
            {
                "payload": e.payload,
                "op": e.op,
                "txid": e.done.txid.hex() if e.done.txid else None,
                "queued": e.queued,
                "confirmed": e.done.height,
                "blocks": e.done.height - e.queued,
            }
            for e in observer.confirmed(kind)
        ]

    def shown(role: str) -> dict[str, Any]:
        authority = chain_authority(cluster, role)
        return {
            "weight_threshold": authority.threshold,
            "key_auths": [[public_key_to_text(key, prefix), weight] for key, weight in authority.keys],
            "account_auths": [list(pair) for pair in authority.accounts],
        }

    roots = cluster.roots()
    return {
        "scenario": name,
        "ok": not failure,
        "failure": failure,
        "seconds": round(seconds, 1),
        "height": observer.height,
        "rounds_agreed": observer.rounds_agreed,
        "rounds_open": observer.rounds_open,
        "rotations": ends("rotation"),
        "payouts": ends("payout"),
        "facts": facts,
        "group": GROUP,
        "authority": {role: shown(role) for role in ROLES},
        "members": [str(account) for (account,), _ in observer.state.walk(NODE)] if observer.height else [],
        "roots": {
            account: {"height": max(found), "root": found[max(found)]} for account, found in roots.items() if found
        },
        "data": str(cluster.folder),
    }
