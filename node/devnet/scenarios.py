"""What a devnet is put through. Each scenario passes only if the chain itself shows it."""

import json
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from node.devnet.cluster import Cluster
from node.devnet.founding import MemberKeys
from node.devnet.rpc import RpcError
from node.devnet.watching import ScenarioFailedError, chain_authority, holds_wanted, payments, until
from processors.genesis import pop_digest
from processors.hive.keys import public_key_to_text
from processors.hive.transaction import Transaction
from state.schema import MS, SIG


class Scenario(NamedTuple):
    """How a devnet is set up for it, what happens, and the facts it reports."""

    run: Callable[[Cluster], Awaitable[dict[str, Any]]]
    parameters: Mapping[str, Any] = MappingProxyType({})
    spares: tuple[int, ...] = ()  # collateral of each member that joins later
    apis: tuple[str, ...] = ("honest", "honest")  # how each API server answers (manners.py)


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
    observer = cluster.observer
    gate = _Gate(cluster)
    op, leader = await _payout_for_two(cluster, gate)
    leader_key = next(member.signing_key.public for member in cluster.members if member.account == leader)
    threshold = chain_authority(cluster, "active").threshold

    def one_short() -> bool:
        signed = sum(1 for _ in observer.state.walk(SIG, op))
        return observer.state.get(SIG, op, leader_key) is not None and signed == threshold - 1

    await until(cluster, "the leader's signature, one short of the threshold", one_short, 8)
    cluster.server.refused_clients.add(leader)
    await cluster.kill_node(leader)
    gate.closed.clear()
    await until(cluster, "its confirmation", lambda: any(e.op == op for e in observer.confirmed("payout")), 8)
    ended = next(e for e in observer.confirmed("payout") if e.op == op)
    if ended.done.height < ended.ready_at + cluster.genesis.params.recast_every:
        raise ScenarioFailedError(f"confirmed at {ended.done.height}, ready at {ended.ready_at}: that was no recast")
    txid = ended.done.txid or b""
    senders = [sent["client"] for sent in cluster.broadcasts() if sent["txid"] == txid.hex()]
    if not senders or leader in senders:
        raise ScenarioFailedError(f"broadcast by {senders}, the leader was {leader}")
    cluster.server.refused_clients.discard(leader)
    await cluster.start_node(leader)
    await until(cluster, "the leader's root after its restart", lambda: _caught_up(cluster, leader), 12)
    return {"leader": leader, "ready_at": ended.ready_at, "confirmed_at": ended.done.height, "sent_by": senders}


async def _payout_for_two(cluster: Cluster, gate: _Gate) -> tuple[str, str]:
    """(a payout that is out, its leader), at the very block that builds it: only the leader and as many others as keep
    it one short of the threshold may sign for now."""
    observer = cluster.observer
    chosen: list[tuple[str, str]] = []

    def choose() -> None:
        op = payout_out(cluster)
        if op is not None and not chosen:
            leader = observer.leader(op)
            chosen.append((op, leader))
            gate.closed.add(op)
            others = [account for account in observer.runners() if account != leader]
            gate.open_to |= {leader, *others[: chain_authority(cluster, "active").threshold - 2]}

    observer.listeners.append(choose)
    await until(cluster, "a payout that is out", lambda: bool(chosen), 8)
    return chosen[0]


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


async def servers_scenario(cluster: Cluster) -> dict[str, Any]:
    """The first of three servers lies and the second is slow: the group founds and pays, every node bans the liar."""
    liar = cluster.urls[0]
    facts = await found_scenario(cluster)

    def banned() -> dict[str, str]:
        found = {account: cluster.events(account, "server_banned") for account in cluster.running}
        return {account: lines[0]["why"] for account, lines in found.items() if lines}

    await until(cluster, "every node's ban of the liar", lambda: set(banned()) == set(cluster.running), 12)
    for account in cluster.running:
        wrongly = {line["server"] for line in cluster.events(account, "server_banned")} - {liar}
        if wrongly:
            raise ScenarioFailedError(f"{account} banned {', '.join(sorted(wrongly))}, which never lied")
    return {**facts, "liar": liar, "banned_for": banned()}


#: An answer takes a whole block at a devnet's usual speed, as one of 3 s does on Hive.
_SLOW = "slow:0.05"

SCENARIOS: dict[str, Scenario] = {
    "found": Scenario(found_scenario),
    "join": Scenario(join_scenario, spares=(200, 150)),
    "leader-dies": Scenario(leader_dies_scenario),
    "absent": Scenario(absent_scenario),
    "expire": Scenario(expire_scenario, parameters={"payload_lifetime": 75}),
    "servers": Scenario(servers_scenario, apis=("leaves-out", _SLOW, "honest")),
}
