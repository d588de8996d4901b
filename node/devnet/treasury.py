"""Scenarios of governance: the group earns, decides, pays and stops, while its nodes die and come back."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

from node.devnet.cluster import Cluster
from node.devnet.founding import CHAIN, GROUP, RECEIVER, MemberKeys, devnet_key
from node.devnet.scenarios import Scenario, founded, payout_out, register
from node.devnet.watching import ScenarioFailedError, holds_wanted, until
from processors.hive.block import reference_prefix
from processors.hive.chain import HIVE
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction
from processors.hive.types import Asset
from state.schema import DECIDED, DONE, EMERGENCY, MS, PROPOSAL, QUEUE, REJECTED, SIG, TREASURY

#: Small limits, and no time locks: what is locked is seen in the tests of the rules.
_PARAMETERS: dict[str, Any] = {
    "rotation_lifetime": 120,
    "payload_lifetime": 240,
    "spend_limit_hive": 20_000,
    "large_hive": 2**53,
    "change_delay": 0,
    "halt_blocks": 120,
}
_NOBODY = "nobody-there"


def transfer(to: str, amount: int, memo: str) -> list[Any]:
    """A transfer of the group as a proposal has it; ``amount`` in smallest units."""
    text = f"{amount // 1000}.{amount % 1000:03} {CHAIN.symbols[HIVE]}"
    return ["transfer", {"from": GROUP, "to": to, "amount": text, "memo": memo}]


class _Council:
    """The members, speaking for themselves."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.observer = cluster.observer

    def member(self, account: str) -> MemberKeys:
        """A member's keys."""
        return next(one for one in self.cluster.members + self.cluster.spares if one.account == account)

    async def propose(self, account: str, *ops: list[Any]) -> int:
        """The number that the proposal has got."""
        body = {"ops": list(ops), "expires": self.observer.height + 2_000}
        return await self._made(account, "propose", body, lambda one: bool(one.ops))

    async def propose_change(self, account: str, name: str, value: int) -> int:
        """The number that the proposal has got."""
        body = {"name": name, "value": value, "delay": 0, "expires": self.observer.height + 2_000}
        return await self._made(account, "propose_change", body, lambda one: one.name == name)

    async def _made(self, account: str, name: str, body: dict[str, Any], fits: Callable[[Any], bool]) -> int:
        state = self.observer.state
        before = {number for (number,), _ in state.walk(PROPOSAL)}
        self.cluster.submit_as(self.member(account), name, body)
        found: list[int] = []

        def made() -> bool:
            found[:] = [
                int(number)
                for (number,), one in state.walk(PROPOSAL)
                if number not in before and one.proposer == account and fits(one)
            ]
            return bool(found)

        await until(self.cluster, f"the proposal of {account}", made, 3)
        return found[0]

    def vote(self, number: int, yes: bool, voters: list[str]) -> None:
        """Votes of some seats, at once."""
        for account in voters:
            self.cluster.submit_as(self.member(account), "vote", {"id": number, "yes": yes})

    async def decided(self, number: int, status: str) -> int:
        """The payload of a proposal that ended as it should."""
        state = self.observer.state
        await until(self.cluster, f"proposal {number}", lambda: state.get(DECIDED, number) is not None, 4)
        found = state.need(DECIDED, number)
        if found.status != status:
            raise ScenarioFailedError(f"proposal {number} ended as {found.status}, not {status}")
        return found.payload

    def say(self, accounts: list[str], name: str, body: dict[str, Any]) -> None:
        """The same word of several members."""
        for account in accounts:
            self.cluster.submit_as(self.member(account), name, body)


@contextlib.asynccontextmanager
async def dying_nodes(cluster: Cluster, seed: int) -> AsyncIterator[list[str]]:
    """Meanwhile one node after the other is killed, and started again some blocks later; yields who it was."""
    killed: list[str] = []
    choose = Random(seed)

    async def keep_killing() -> None:
        while True:
            await asyncio.sleep(choose.randrange(20, 60) * cluster.interval)
            account = choose.choice(sorted(cluster.running))
            await cluster.kill_node(account)
            killed.append(account)
            await asyncio.sleep(choose.randrange(2, 20) * cluster.interval)
            await cluster.start_node(account)

    task = asyncio.create_task(keep_killing())
    try:
        yield killed
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        for member in cluster.members:
            if member.account not in cluster.running:
                await cluster.start_node(member.account)


def paid(cluster: Cluster, memo: str) -> list[str]:
    """Ids of the transactions on chain that hold a transfer with this memo, oldest first."""
    return [
        entry.txid.hex()
        for block in cluster.chain.blocks
        for entry in block.transactions
        for operation in entry.tx.operations
        if operation.name == "transfer" and operation.value["memo"] == memo
    ]


def give(cluster: Cluster, amount: int) -> None:
    """A stranger pays the group."""
    head = cluster.chain.head_number
    value = {"from": "stranger", "to": GROUP, "amount": Asset(amount, HIVE), "memo": "dues"}
    expiration = cluster.chain.head_time + 300
    tx = Transaction(
        head & 0xFFFF, reference_prefix(cluster.chain.head_id), expiration, (Operation("transfer", value),)
    )
    cluster.chain.submit(devnet_key("stranger").sign_transaction(tx, CHAIN))


async def treasury_scenario(cluster: Cluster) -> dict[str, Any]:
    """Income; proposals approved, rejected, above the limit, refused by Hive; a merged payout; two rotations."""
    await founded(cluster)
    give(cluster, 5_000)
    state = cluster.observer.state
    await until(cluster, "the income", lambda: _income(cluster) == 5_000, 4)
    council = _Council(cluster)
    seats = cluster.observer.runners()
    async with dying_nodes(cluster, 7) as killed:
        facts = await _decide_and_pay(cluster, council, seats)
        for spare in cluster.spares:
            register(cluster, spare)
            await cluster.start_node(spare.account)
        await until(cluster, "the second rotation", lambda: len(cluster.observer.confirmed("rotation")) > 1, 40)
        await until(cluster, "the wanted authorities on chain", lambda: holds_wanted(cluster), 6)
        facts |= await _raise_the_limit(cluster, council, facts["waits"])
    _paid_once(cluster, ["A", "B", "D", "F", "G"], never=["C", "E"])
    held = state.need(TREASURY, "HIVE")
    return {**facts, "killed": killed, "income": held.income, "spent": held.spent}


async def _decide_and_pay(cluster: Cluster, council: _Council, seats: list[str]) -> dict[str, Any]:
    one, two, three = seats[:3]
    majority = seats[: len(seats) // 2 + 1]
    merged = [
        await council.propose(one, transfer(RECEIVER, 1_000, "F")),
        await council.propose(two, transfer("stranger", 2_000, "G")),
    ]
    rejected = await council.propose(three, transfer(RECEIVER, 900, "C"))
    for number in merged:
        council.vote(number, True, majority)
    council.vote(rejected, False, majority)
    together = [await council.decided(number, "approved") for number in merged]
    await council.decided(rejected, "rejected")
    txid = await _confirmed(cluster, together)
    if len(set(txid)) != 1:
        raise ScenarioFailedError(f"the payloads {together} were approved in one block and paid by {txid}")

    over = await council.propose(three, transfer(RECEIVER, 50_000, "D"))
    bad = [
        await council.propose(one, transfer(RECEIVER, 1_100, "A")),
        await council.propose(two, transfer(_NOBODY, 1_200, "E")),
        await council.propose(three, transfer("stranger", 1_300, "B")),
    ]
    for number in (over, *bad):
        council.vote(number, True, majority)
    waits = await council.decided(over, "approved")
    good_a, hopeless, good_b = [await council.decided(number, "approved") for number in bad]
    await _confirmed(cluster, [good_a, good_b])
    state = cluster.observer.state
    await until(cluster, "the end of what Hive must refuse", lambda: state.get(DONE, hopeless) is not None, 24)
    end = state.need(DONE, hopeless)
    if (end.status, end.why) != ("failed", "refused:no_account"):
        raise ScenarioFailedError(f"what goes to nobody ended as {end.status} {end.why}")
    if state.get(QUEUE, waits) is None or state.need(QUEUE, waits).out:
        raise ScenarioFailedError("what is above the limit did not wait")
    return {"merged": txid[0], "refused": hopeless, "waits": waits}


async def _raise_the_limit(cluster: Cluster, council: _Council, waiting: int) -> dict[str, Any]:
    seats = cluster.observer.runners()
    number = await council.propose_change(seats[0], "spend_limit_hive", 200_000)
    council.vote(number, True, seats[: len(seats) // 2 + 1])
    await council.decided(number, "approved")
    [txid] = await _confirmed(cluster, [waiting])
    return {"after_the_change": txid}


async def _confirmed(cluster: Cluster, payloads: list[int]) -> list[str]:
    """The Hive ids by which payloads were confirmed."""
    state = cluster.observer.state

    def ended() -> bool:
        return all(state.get(DONE, number) is not None for number in payloads)

    await until(cluster, f"the payloads {payloads}", ended, 30)
    found = [state.need(DONE, number) for number in payloads]
    wrong = [f"p{number} {done.status} {done.why}" for number, done in zip(payloads, found, strict=True) if done.why]
    if wrong:
        raise ScenarioFailedError(", ".join(wrong))
    return [(done.txid or b"").hex() for done in found]


def _income(cluster: Cluster) -> int:
    found = cluster.observer.state.get(TREASURY, "HIVE")
    return found.income if found is not None else 0


def _paid_once(cluster: Cluster, memos: list[str], never: list[str]) -> None:
    wrong = {memo: len(paid(cluster, memo)) for memo in memos if len(paid(cluster, memo)) != 1}
    wrong |= {memo: len(paid(cluster, memo)) for memo in never if paid(cluster, memo)}
    if wrong:
        raise ScenarioFailedError(f"times that the chain shows a payment: {json.dumps(wrong)}")


async def halt_scenario(cluster: Cluster) -> dict[str, Any]:
    """A third halts the payouts, more than half resumes; a transaction is marked, and dies unpaid."""
    await founded(cluster)
    council, observer = _Council(cluster), cluster.observer
    seats = observer.runners()
    third, majority = seats[: -(-len(seats) // 3)], seats[: len(seats) // 2 + 1]
    async with dying_nodes(cluster, 11) as killed:
        council.say(third, "halt", {"on": True})
        await until(cluster, "the halt", lambda: _halted_until(cluster) > observer.height, 4)
        begun, until_height = observer.height, _halted_until(cluster)
        await until(cluster, "a payout that waits", lambda: _waits(cluster), 8)
        _nothing_built(cluster, begun)
        council.say(majority, "resume", {"on": True})
        await until(cluster, "the end of the halt", lambda: _halted_until(cluster) <= observer.height, 4)
        resumed = observer.height
        if resumed >= until_height:
            raise ScenarioFailedError("the halt ended by itself before the seats ended it")
        council.say(third[:1], "halt", {"on": True})
        await until(cluster, "the rejection of another halt", lambda: _rejected(cluster, "too_soon"), 4)
        marked = await _mark(cluster, council, majority)
    return {"halted_at": begun, "resumed_at": resumed, "marked": marked, "killed": killed}


async def _mark(cluster: Cluster, council: _Council, majority: list[str]) -> str:
    """More than half mark a payout that lacks signatures; it is never signed on, and its payload fails."""
    state = cluster.observer.state
    chosen: list[str] = []

    def choose() -> None:
        op = payout_out(cluster)
        if op is not None and not chosen and state.need(MS, op).status == "collecting":
            chosen.append(op)
            cluster.server.refused_clients.update(cluster.observer.runners())  # nobody's signature gets through

    cluster.observer.listeners.append(choose)
    await until(cluster, "a payout that is out", lambda: bool(chosen), 8)
    op = chosen[0]
    payload = state.need(MS, op).payloads[0]
    council.say(majority, "ms_cancel", {"op": op})

    def is_marked() -> bool:
        record = state.get(MS, op)
        return record is not None and record.status == "cancelled"

    await until(cluster, "the mark", is_marked, 3)
    cluster.server.refused_clients.clear()
    signed = sum(1 for _ in state.walk(SIG, op))
    await until(cluster, "its end", lambda: state.get(MS, op) is None, 16)
    end = state.need(DONE, payload)
    if (end.status, end.why) != ("failed", "cancelled"):
        raise ScenarioFailedError(f"the marked one ended as {end.status} {end.why}, with {signed} signatures")
    return op


def _halted_until(cluster: Cluster) -> int:
    found = cluster.observer.state.get(EMERGENCY)
    return found.halted_until if found is not None else 0


def _waits(cluster: Cluster) -> bool:
    return any(not one.out and one.kind == "payout" for _, one in cluster.observer.state.walk(QUEUE))


def _nothing_built(cluster: Cluster, since: int) -> None:
    built = [op for op, one, _, _ in cluster.observer.records() if one.kind == "payout" and one.built > since]
    if built:
        raise ScenarioFailedError(f"built while the group is halted: {', '.join(built)}")


def _rejected(cluster: Cluster, code: str) -> bool:
    return any(one.code == code for _, one in cluster.observer.state.walk(REJECTED))


SCENARIOS: dict[str, Scenario] = {
    "treasury": Scenario(treasury_scenario, parameters=_PARAMETERS, spares=(1_500,)),
    "halt": Scenario(halt_scenario, parameters=_PARAMETERS),
}
