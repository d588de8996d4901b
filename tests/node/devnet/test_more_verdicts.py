"""More of what hived would be asked; each verdict is read from its source (1.28.3, the node of the table)."""

from itertools import pairwise
from typing import Any

import pytest

from node.devnet.founding import CHAIN
from processors.hive.operations import Operation
from processors.hive.transaction import pack_signatures, pack_transaction
from processors.hive.types import Asset, Authority
from tests.node.devnet.world import (
    HBD,
    VESTS,
    World,
    custom_json,
    key,
    keys_of,
    transfer,
    update,
    update2,
    verdict,
)

A = custom_json("alice")
P = custom_json(posting=("alice",))
ACTIVE, OWNER, POSTING = "alice active", "alice owner", "alice posting"
NOBODY = keys_of(accounts={"nobody": 1})
MANY = [key(f"many {number}") for number in range(41)]
ACCOUNTS_41 = keys_of(accounts={f"account{number:02}": 1 for number in range(41)})
NEW = keys_of(MANY[0])

#: What, operations, signers, words of the message or the error's name; "" = accepted.
CASES: list[tuple[str, list[Operation], list[str], str]] = [
    ("no operations", [], [ACTIVE], "operations.size() > 0: A transaction must have at least one operation"),
    ("memo 2047 bytes", [transfer(memo="x" * 2047)], [ACTIVE], ""),
    ("memo 2048 bytes", [transfer(memo="x" * 2048)], [ACTIVE], "memo.size() < HIVE_MAX_MEMO_SIZE"),
    ("memo 1024 é", [transfer(memo="é" * 1024)], [ACTIVE], "Transfer memo is too large"),
    ("memo not UTF-8", [transfer(memo="\udcff")], [ACTIVE], "Transfer memo is not UTF8"),
    ("zero transfer", [transfer(amount=0)], [ACTIVE], "amount.amount > 0"),
    ("negative transfer", [transfer(amount=-1)], [ACTIVE], "Cannot transfer a negative amount (aka: stealing)"),
    ("vests", [transfer(kind=VESTS)], [ACTIVE], "Transfer of vesting is not allowed."),
    ("all of it", [transfer(amount=1000)], [ACTIVE], ""),
    ("too much", [transfer(amount=1001)], [ACTIVE], "does not have sufficient funds for balance adjustment"),
    ("too much together", [transfer(amount=501)] * 2, [ACTIVE], "Required: -0.501 TESTS, Available: 0.499 TESTS"),
    ("all HBD", [transfer(amount=1000, kind=HBD)], [ACTIVE], ""),
    ("to oneself", [transfer(to="alice")], [ACTIVE], ""),
    ("to nobody", [transfer(to="nobody")], [ACTIVE], "Account nobody doesn't exist"),
    ("too much to nobody", [transfer(to="nobody", amount=2000)], [ACTIVE], "sufficient funds"),
    ("to a short name", [transfer(to="ab")], [ACTIVE], "Account name 'ab' is too short. Use at least 3 characters."),
    ("to an impossible name", [transfer(to="ali_ce")], [ACTIVE], "Please follow the RFC 1035 rules."),
    ("wrong amount, no signature", [transfer(amount=0)], [], "amount.amount > 0"),
    ("transfer by posting", [transfer()], [POSTING], "tx_missing_active_auth"),
    ("transfer by owner", [transfer()], [OWNER], "tx_missing_active_auth"),
    ("custom_json of nobody", [custom_json("nobody")], [ACTIVE], "unknown key: nobody"),
    ("posting by active", [P], [ACTIVE], "tx_missing_posting_auth"),
    ("posting by owner", [P], [OWNER], "tx_missing_posting_auth"),
    ("posting missing of two roles", [A, P], [ACTIVE], "tx_missing_posting_auth"),
    ("active missing of two roles", [A, P], [POSTING], "tx_missing_active_auth"),
    ("three roles", [A, P, update(owner=NEW)], [ACTIVE, POSTING, OWNER], ""),
    ("41 accounts", [custom_json(*[f"account{n:02}" for n in range(41)])], [ACTIVE], "unknown key: account00"),
    ("json too long, no signature", [custom_json("alice", json="1" * 9000)], [], "JSON is not valid JSON"),
    ("string too long, no signature", [custom_json("alice", json=f'"{"x" * 9000}"')], [], "tx_missing_active_auth"),
    ("6 custom_json, no signature", [A] * 6, [], "Account alice already submitted 5 custom json operation(s)"),
    ("3 active and 3 posting", [A, P] * 3, [ACTIVE, POSTING], "Account alice already submitted 5"),
    ("one operation of both roles, 5 times", [custom_json("alice", posting=("alice",))] * 5, [ACTIVE, POSTING], ""),
    ("5 of each of two accounts", [custom_json("alice", "bob")] * 5, [ACTIVE, "bob active"], ""),
    ("custom_json and transfers", [A] * 5 + [transfer()], [ACTIVE], ""),
    ("active: unknown account", [update(active=NOBODY)], [ACTIVE], "New active authority on account alice references"),
    ("owner: unknown account", [update(owner=NOBODY)], [OWNER], "non-existing account nobody"),
    ("posting: unknown account", [update(posting=NOBODY)], [ACTIVE], "New posting authority on account alice"),
    ("41 account_auths", [update(active=ACCOUNTS_41)], [ACTIVE], "Authority membership exceeded. Max: 40 Current: 41"),
    ("41 keys, no signature", [update(active=keys_of(*MANY))], [], "tx_missing_active_auth"),
    ("40 keys and an account", [update(active=keys_of(*MANY[:40], accounts={"bob": 1}))], [ACTIVE], "Current: 41"),
    ("41 keys in owner", [update(owner=keys_of(*MANY))], [OWNER], "Authority membership exceeded"),
    ("an impossible authority", [update(active=keys_of(MANY[0], threshold=9))], [ACTIVE], ""),
    ("an open authority", [update(active=Authority(0, (), ()))], [ACTIVE], ""),
    ("posting: impossible name", [update(posting=keys_of(accounts={"x": 1}))], [ACTIVE], "is_valid_account_name"),
    ("active: impossible name", [update(active=keys_of(accounts={"x": 1}))], [ACTIVE], "non-existing account x"),
    ("metadata", [update(json_metadata='{"a": 1}')], [ACTIVE], ""),
    ("metadata no JSON", [update(json_metadata="hello")], [ACTIVE], "JSON is not valid JSON"),
    ("only a memo key", [update(memo_key=MANY[0].public)], [ACTIVE], ""),
    ("owner and active by owner", [update(owner=NEW, active=NEW)], [OWNER], ""),
    ("owner and active by active", [update(owner=NEW, active=NEW)], [ACTIVE], "tx_missing_owner_auth"),
    ("nobody's account_update", [update("nobody")], [ACTIVE], "unknown key: nobody"),
    ("new key signs too early", [update(active=NEW), A], [ACTIVE], ""),
    ("new key signs alone", [update(active=NEW), A], ["many 0"], "tx_missing_active_auth"),
    ("account_update2 metadata by posting", [update2(posting_json_metadata="{}")], [POSTING], ""),
    ("account_update2 metadata by active", [update2(posting_json_metadata="{}")], [ACTIVE], "tx_missing_posting_auth"),
    ("account_update2 json by posting", [update2(json_metadata="{}")], [POSTING], "tx_missing_active_auth"),
    ("account_update2 active", [update2(active=NEW)], [ACTIVE], ""),
    ("account_update2 posting by posting", [update2(posting=NEW)], [POSTING], "tx_missing_active_auth"),
    ("account_update2 owner", [update2(owner=NEW)], [OWNER], ""),
    ("account_update2 41 keys", [update2(active=keys_of(*MANY))], [ACTIVE], "Authority membership exceeded"),
    ("account_update2 metadata no JSON", [update2(posting_json_metadata="x")], [POSTING], "JSON is not valid JSON"),
    ("no credits", [custom_json("poor")], ["poor active"], "not_enough_rc_exception"),
    ("no credits after the operation", [transfer("poor", amount=9999)], ["poor active"], "sufficient funds"),
    ("the first one pays", [custom_json("alice", "poor")], [ACTIVE, "poor active"], ""),
    ("the first operation pays", [custom_json("poor"), A], [ACTIVE, "poor active"], "Account: poor has 0 RC"),
    ("active pays before posting", [custom_json("poor", posting=("alice",))], ["poor active", POSTING], "poor has 0"),
]


@pytest.mark.parametrize(("operations", "signers", "words"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
@pytest.mark.parametrize("typed", [False, True], ids=["legacy", "typed"])
def test_since_hardfork_28(operations: list[Operation], signers: list[str], words: str, typed: bool) -> None:
    world = World()
    found = verdict(world, operations, *signers, typed=typed)
    assert (found is None) == (words == ""), found
    if found is None:
        world.chain.produce()
        assert not world.chain.pool
    else:
        assert words in found[1] or words == found[0], found


@pytest.mark.parametrize(
    ("operations", "signers", "name"),
    [
        ([A], [ACTIVE], ""),
        ([A], [OWNER], ""),
        ([A], [POSTING], "tx_missing_active_auth"),
        ([P], [POSTING], ""),
        ([P], [ACTIVE], ""),
        ([P], [OWNER], ""),
        ([A], [ACTIVE, "stranger"], "tx_irrelevant_sig"),
        ([A], [ACTIVE, OWNER], "tx_irrelevant_sig"),
        ([A, P], [ACTIVE, POSTING], "tx_combined_auths_with_posting"),
        ([P, update(owner=NEW)], [OWNER, POSTING], "tx_combined_auths_with_posting"),
        ([A, update(owner=NEW)], [OWNER], ""),
        ([A, update(owner=NEW)], [ACTIVE, OWNER], ""),
        ([A], [], "tx_missing_active_auth"),
        ([transfer()], [ACTIVE, "bob active"], "tx_irrelevant_sig"),
    ],
)
def test_before_hardfork_28(operations: list[Operation], signers: list[str], name: str) -> None:
    found = verdict(World(rules=27), operations, *signers)
    assert (found[0] if found else "") == name


@pytest.mark.parametrize("of_three", [1, 2, 3])
def test_superfluous_signature_of_a_multisig(of_three: int) -> None:
    for rules, wanted in ((27, [None, "tx_irrelevant_sig"]), (28, [None, None])):
        world = World(rules)
        world.active(*MANY[:3], threshold=of_three)
        results = [verdict(world, [A], *MANY[:count]) for count in (of_three, of_three + 1)]
        if of_three < 3:
            assert [found and found[0] for found in results] == wanted
        assert results[0] is None


@pytest.mark.parametrize(("depth", "accepted"), [(1, True), (2, True), (3, False)])
def test_depth_of_accounts(depth: int, accepted: bool) -> None:
    """alice <- bob <- carol <- dave: accounts of accounts count to the second level."""
    world = World()
    names = ["alice", "bob", "carol", "dave"]
    for name, other in pairwise(names[: depth + 1]):
        world.add(name, active=keys_of(accounts={other: 1}))
    found = verdict(world, [A], f"{names[depth]} active")
    assert (found and found[0]) == (None if accepted else "tx_missing_active_auth")


def test_accounts_in_a_circle_and_shared() -> None:
    world = World()
    world.add("alice", active=keys_of(accounts={"bob": 1}))
    world.add("bob", active=keys_of(key("bob active"), accounts={"alice": 1}))
    assert verdict(world, [A, custom_json("bob")], "bob active") is None
    assert verdict(world, [A], "stranger") is not None


def test_posting_of_an_account_is_that_of_its_accounts() -> None:
    world = World()
    world.add("alice", posting=keys_of(accounts={"bob": 1}))
    assert verdict(world, [P], "bob posting") is None
    assert verdict(world, [P], "bob active") is not None
    world.add("alice", owner=keys_of(accounts={"bob": 1}))
    assert verdict(world, [update(owner=NEW)], "bob owner") is not None
    assert verdict(world, [update(owner=NEW)], "bob active") is None  # of accounts in owner, their active counts


def test_the_40th_key_is_looked_at() -> None:
    world = World()
    order = sorted(MANY[:40], key=lambda secret: secret.public)
    world.active(*order, threshold=1)
    assert verdict(world, [A], order[-1]) is None


@pytest.mark.parametrize("typed", [False, True])
def test_size_of_a_transaction(typed: bool) -> None:
    """At most 65,280 bytes with its signatures: in the typed pack first, which is smaller."""
    world = World()
    memos = ["x" * 1970] * 32

    def tx(last: int) -> Any:
        operations = [transfer(memo=memo) for memo in [*memos, "y" * last]]
        return world.tx(operations, expiration=world.chain.head_time + 60)

    def size(of: Any, pack: bool) -> int:
        return len(pack_transaction(of, CHAIN, typed=pack)) + len(pack_signatures((bytes(65),)))

    last = next(n for n in range(300, 2048) if size(tx(n), typed) == 65_280)
    assert verdict(world, tx(last).operations, ACTIVE, typed=typed, expiration=tx(last).expiration) is None
    world.chain.produce()
    found = verdict(world, tx(last + 1).operations, ACTIVE, typed=typed)
    assert found and "Transaction too large - size = 65281, limit 65280" in found[1]


def test_a_key_that_two_packs_sign() -> None:
    """The id is that of the pack that was signed; a transaction in the other pack is another one."""
    world = World()
    operations, expiration = [transfer()], world.chain.head_time + 60
    first = world.send(operations, ACTIVE, typed=False, expiration=expiration)
    second = world.send(operations, ACTIVE, typed=True, expiration=expiration)
    assert first != second
    assert len(world.chain.produce().transactions) == 2


def fee(amount: int) -> Operation:
    roles = dict.fromkeys(("owner", "active", "posting"), NEW)
    value = {"fee": Asset(amount, 0), "creator": "alice", "new_account_name": "newcomer", "memo_key": MANY[0].public}
    return Operation("account_create", {**value, **roles, "json_metadata": ""})


def test_a_fresh_account_sends_nothing() -> None:
    world = World()
    assert "Must pay the exact account creation fee." in str(verdict(world, [fee(1)], ACTIVE))
    assert verdict(world, [fee(0)], ACTIVE) is None
    assert "Account newcomer already exists." in str(verdict(world, [fee(0)], ACTIVE))
    assert "newcomer has 0 RC" in str(verdict(world, [custom_json("newcomer")], MANY[0]))
    shares = {"delegator": "alice", "delegatee": "newcomer", "vesting_shares": Asset(10**9, VESTS)}
    assert verdict(world, [Operation("delegate_vesting_shares", shares)], ACTIVE) is None
    assert verdict(world, [custom_json("newcomer")], MANY[0]) is None


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("1", True),
        ("null", True),
        ('"text"', True),
        ('{"a":1,"a":2}', True),
        ('{"a":1} garbage', True),
        ('{"a":1}{"b":2}', True),
        ("[" * 4000 + "]" * 4000, True),
        (r'"\ud800"', True),
        ('{"a":"line\nbreak"}', True),
        ("[1 2,,]", True),
        ("[nope]", True),
        ("nothing", True),
        ("hello", False),
        ("{'a':1}", False),
        ('{"a":1', False),
        ("[1", False),
        ('"open', False),
        ("1 2", False),
        (" ", False),
        ("{a:1}", False),
        ('{"a":}', False),
        ("99999999999999999999", False),
    ],
)
def test_lax_json(text: str, accepted: bool) -> None:
    found = verdict(World(), [custom_json("alice", json=text)], ACTIVE)
    assert (found is None) == accepted
    assert found is None or "JSON is not valid JSON" in found[1]
