"""Votes for witnesses, proxies and payments that recur: what hived takes and refuses (read from its source)."""

from typing import Any

import pytest

from processors.hive.compounds import Variant
from processors.hive.operations import Operation
from processors.hive.types import Asset
from tests.node.devnet.world import HBD, HIVE, VESTS, World, verdict

ACTIVE = "alice active"


def vote(witness: str = "initminer", approve: bool = True, account: str = "alice") -> Operation:
    return Operation("account_witness_vote", {"account": account, "witness": witness, "approve": approve})


def proxy(name: str = "bob", account: str = "alice") -> Operation:
    return Operation("account_witness_proxy", {"account": account, "proxy": name})


def support(*ids: int, voter: str = "alice") -> Operation:
    value = {"voter": voter, "proposal_ids": ids, "approve": True, "extensions": ()}
    return Operation("update_proposal_votes", value)


def recurring(
    amount: int = 1,
    kind: int = HIVE,
    *,
    to: str = "bob",
    every: int = 24,
    times: int = 2,
    pair: int = 0,
    memo: str = "",
) -> Operation:
    extensions = (Variant(1, {"pair_id": pair}),) if pair else ()
    value = {"from": "alice", "to": to, "amount": Asset(amount, kind), "memo": memo}
    more = {"recurrence": every, "executions": times, "extensions": extensions}
    return Operation("recurrent_transfer", {**value, **more})


#: What, operations in one transaction, words of the message; "" = accepted.
CASES: list[tuple[str, list[Operation], str]] = [
    ("a vote", [vote()], ""),
    ("given and taken back", [vote(), vote(approve=False)], ""),
    ("given twice", [vote(), vote()], "Vote currently exists, user must indicate a desire to reject witness."),
    ("taken back, never given", [vote(approve=False)], "Vote doesn't exist"),
    ("for who is no witness", [vote("bob")], "unknown key: bob"),
    ("for nobody", [vote("nobody")], "unknown key: nobody"),
    ("for a short name", [vote("ab")], "Account name 'ab' is too short."),
    ("for an empty name", [vote("")], "Account name '' is too short."),
    ("of two rounds of one mind", [vote(), vote(approve=False), vote()], ""),
    ("a proxy", [proxy()], ""),
    ("to oneself", [proxy("alice")], "Cannot proxy to self"),
    ("to nobody", [proxy("nobody")], "Account nobody doesn't exist"),
    ("to an impossible name", [proxy("B_b")], "Please follow the RFC 1035 rules."),
    ("the same again", [proxy(), proxy()], "Proxy must change."),
    ("cleared, never set", [proxy("")], "Proxy must change."),
    ("set and cleared", [proxy(), proxy("")], ""),
    ("another one", [proxy(), proxy("carol")], ""),
    ("a vote beside a proxy", [proxy(), vote()], "A proxy is currently set"),
    ("a vote after a proxy", [proxy(), proxy(""), vote()], ""),
    ("votes end with a proxy", [vote(), proxy(), proxy(""), vote()], ""),
    ("a proposal", [support(0)], ""),
    ("five, that there are not", [support(0, 1, 2, 3, 2**31)], ""),
    ("six", [support(*range(6))], "Too many ids"),
    ("none", [support()], "Proposal id must be provided"),
    ("a payment that recurs", [recurring()], ""),
    ("of HBD", [recurring(kind=HBD)], ""),
    ("of VESTS", [recurring(kind=VESTS)], "Recurrent transfer amount cannot be VESTS"),
    ("negative", [recurring(-1)], "Recurrent transfer amount cannot be negative"),
    ("of nothing", [recurring(0)], "Cannot create a recurrent transfer with 0 amount"),
    ("ended", [recurring(), recurring(0)], ""),
    ("ended twice", [recurring(), recurring(0), recurring(0)], "Cannot create a recurrent transfer with 0 amount"),
    ("more often than daily", [recurring(every=23)], "recurrence that is less than 24 hours"),
    ("once", [recurring(times=1)], "Executions must be at least 2"),
    ("to oneself, again and again", [recurring(to="alice")], "Cannot set a transfer to yourself"),
    ("to nobody, again and again", [recurring(to="nobody")], "Account nobody doesn't exist"),
    ("memo of 2047 bytes", [recurring(memo="x" * 2047)], ""),
    ("memo of 2048 bytes", [recurring(memo="x" * 2048)], "Recurrent transfer memo is too large"),
    ("memo not UTF-8", [recurring(memo="\udcff")], "Recurrent transfer memo is not UTF8"),
    ("all of it", [recurring(1_000)], ""),
    ("too much for the first time", [recurring(1_001)], "enough tokens for the first transfer, has 1.000 TESTS needs"),
    ("730 days", [recurring(every=8_760, times=3)], ""),
    ("longer", [recurring(every=8_760, times=4)], "would last for longer than 730 days"),
    ("changed, from now on, 730 days", [recurring(), recurring(every=8_760, times=2)], ""),
    ("changed, longer", [recurring(), recurring(every=8_760, times=3)], "would last for longer than 730 days"),
]


@pytest.mark.parametrize(("operations", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.parametrize("typed", [False, True], ids=["legacy", "typed"])
def test_verdicts(operations: list[Operation], words: str, typed: bool) -> None:
    world = World()
    found = verdict(world, operations, ACTIVE, typed=typed)
    assert (found is None) == (words == ""), found
    if found is None:
        assert len(world.chain.produce().transactions) == 1
    else:
        assert words in found[1]


@pytest.mark.parametrize("operation", [vote(), proxy(), support(1), recurring()], ids=lambda op: op.name)
def test_by_active_and_by_nobody_else(operation: Operation) -> None:
    world = World()
    for signers in (["alice posting"], ["alice owner"], ["bob active"], []):
        found = verdict(world, [operation], *signers)
        assert found and found[0] == "tx_missing_active_auth"
    assert verdict(world, [operation], ACTIVE) is None


def test_unsorted_proposals_are_no_set() -> None:
    for ids in [(2, 1), (1, 1)]:
        assert "each once" in str(verdict(World(), [support(*ids)], ACTIVE))


def balances(world: World, name: str) -> tuple[int, ...]:
    return world.chain.ledger.accounts[name].balances[:2]


def test_a_payment_that_recurs_pays_once_when_it_is_made() -> None:
    world = World()
    world.send([recurring(100, times=5)], ACTIVE)
    world.chain.produce()
    assert (balances(world, "alice"), balances(world, "bob")) == ((900, 1_000), (1_100, 1_000))
    world.send([recurring(300, times=5)], ACTIVE)
    world.chain.produce()
    assert balances(world, "alice") == (900, 1_000), "a change waits for its next time"
    world.send([recurring(50, times=2, pair=1)], ACTIVE)
    world.send([recurring(0)], ACTIVE)
    world.chain.produce()
    assert balances(world, "alice") == (850, 1_000)
    assert list(world.chain.ledger.recurrent) == [("alice", "bob", 1)]


def test_what_is_refused_leaves_nothing_behind() -> None:
    world = World()
    ledger: Any = world.chain.ledger
    for operations in ([vote(), vote()], [proxy(), vote()], [recurring(600), recurring(600, to="carol")]):
        assert verdict(world, operations, ACTIVE) is not None
        assert not (ledger.witness_votes or ledger.proxies or ledger.recurrent)
    assert balances(world, "alice") == (1_000, 1_000)


def test_thirty_votes_and_no_more() -> None:
    world = World()
    names = [f"witness{number:02}" for number in range(31)]
    world.chain.ledger.witnesses = frozenset(names)
    assert verdict(world, [vote(name) for name in names[:30]], ACTIVE) is None
    assert "too many witnesses" in str(verdict(world, [vote(names[30])], ACTIVE))


def test_proxies_in_a_circle_and_too_long() -> None:
    world = World()
    for name, other in [("alice", "bob"), ("bob", "carol"), ("carol", "dave")]:
        world.send([proxy(other, account=name)], f"{name} active")
    assert "proxy loop" in str(verdict(world, [proxy("alice", account="dave")], "dave active"))
    assert "too long" in str(verdict(world, [proxy("alice", account="frank")], "frank active"))
    assert verdict(world, [proxy("bob", account="frank")], "frank active") is None
