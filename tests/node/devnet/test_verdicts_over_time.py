"""Verdicts that depend on what came before: expirations, duplicates, the pool, TaPoS, limits by time."""

import re

import pytest
from msgspec.structs import replace

from node.devnet.chain import DevnetChain, Produced
from node.devnet.checks import TAPOS_SLOTS
from node.devnet.errors import HivedRefusalError
from node.devnet.founding import CHAIN, START_TIME, WITNESS
from processors.hive.block import reference_prefix
from tests.node.devnet.world import World, custom_json, key, keys_of, transfer, update, update2, verdict

A = custom_json("alice")
ACTIVE, OWNER = "alice active", "alice owner"
MANY = [key(f"many {number}") for number in range(3)]
NEW = keys_of(MANY[0])
EXPIRED = "transaction_expiration_exception"


@pytest.mark.parametrize(
    ("rules", "after", "name"),
    [
        (28, -1, EXPIRED),
        (28, 0, EXPIRED),
        (28, 1, ""),
        (28, 86_400, ""),
        (28, 86_401, EXPIRED),
        (27, 1, ""),
        (27, 3_600, ""),
        (27, 3_601, EXPIRED),
    ],
)
def test_expiration(rules: int, after: int, name: str) -> None:
    world = World(rules)
    found = verdict(world, [A], ACTIVE, expiration=world.chain.head_time + after)
    assert (found[0] if found else "") == name


def test_expiration_in_the_pool() -> None:
    """Taken as long as head < expiration; in a block if its time is not later; the pool forgets after an hour."""
    world = World()
    head = world.chain.head_time
    for after in (1, 2, 3):
        world.send([A], ACTIVE, expiration=head + after)
    assert [entry.tx.expiration for entry in world.chain.produce().transactions] == [head + 3]
    assert not world.chain.pool
    head = world.chain.head_time
    for after in (3_599, 3_600, 86_400):
        world.send([A], ACTIVE, expiration=head + after)
    assert [entry.drop_at - head for entry in world.chain.pool] == [3_599, 3_600, 3_600]
    assert len(world.chain.produce(head + 3_600).transactions) == 2
    world.send([A], ACTIVE, expiration=world.chain.head_time + 86_400)
    assert not world.chain.produce(world.chain.head_time + 3_601).transactions
    assert not world.chain.pool


def fill(world: World) -> None:
    """More than a block of transfers of bob, nearly 2 kB each."""
    for number in range(35):
        world.send([transfer("bob", to="alice", memo=f"{number:04}" + "x" * 2000)], "bob active")


def test_what_finds_no_place_waits_with_its_custom_operations() -> None:
    world = World()
    fill(world)
    world.send([A] * 5, ACTIVE, expiration=world.chain.head_time + 60)
    world.chain.pool[-1:-1] = [world.chain.pool.pop(0)]  # a transfer that finds no place before it
    large = replace(world.chain.pool[-1], size=10_000)
    world.chain.pool[-1] = large
    world.chain.produce()
    assert large.txid in [entry.txid for entry in world.chain.pool]
    assert "already submitted 5" in str(verdict(world, [A], ACTIVE))
    world.chain.produce()
    assert not world.chain.pool
    assert verdict(world, [A] * 5, ACTIVE) is None


def test_duplicates() -> None:
    world = World()
    tx = world.sign(world.tx([A], expiration=world.chain.head_time + 7), key(ACTIVE))

    def again(words: str = "Duplicate transaction check failed") -> None:
        with pytest.raises(HivedRefusalError, match=re.escape(words)):
            world.chain.submit(tx)

    world.chain.submit(tx)
    again()
    world.chain.submit(world.sign(replace(tx, expiration=tx.expiration + 1), key(ACTIVE)))  # another transaction
    for _ in range(2):
        world.chain.produce()
        again()
    with pytest.raises(HivedRefusalError, match="Duplicate"):  # other signatures do not make another transaction
        world.chain.submit(world.sign(tx, key(ACTIVE), key("stranger")))
    world.chain.produce()
    again("transaction expiration exception")
    assert tx.expiration not in world.chain.ledger.known.values()


def test_refused_ones_leave_nothing_behind() -> None:
    world = World()
    before = dict(world.chain.ledger.accounts)
    assert verdict(world, [A] * 4 + [transfer(), transfer(amount=5000)], ACTIVE) is not None
    assert world.chain.ledger.accounts == before and not world.chain.ledger.known and not world.chain.pool
    assert verdict(world, [A] * 5, ACTIVE) is None


def test_the_pool_sees_what_waits_in_it() -> None:
    world = World()
    world.send([transfer(amount=600)], ACTIVE)
    assert "Available: 0.400 TESTS" in str(verdict(world, [transfer(amount=600)], ACTIVE))
    world.send([update(active=NEW)], ACTIVE)
    assert verdict(world, [A], ACTIVE) == ("tx_missing_active_auth", *verdict(world, [A], ACTIVE)[1:])  # type: ignore[index]
    assert verdict(world, [A], MANY[0]) is None
    assert len(world.chain.produce().transactions) == 3


def long_chain(blocks: int) -> World:
    """A world of this many blocks; only their ids are real."""
    world = World()
    last: Produced = world.chain.blocks[-1]
    for number in range(world.chain.head_number + 1, blocks + 1):
        world.chain.blocks.append(replace(last, id=number.to_bytes(4, "big") * 5))
    return world


@pytest.mark.parametrize(
    ("back", "accepted"),
    [(0, True), (1, True), (TAPOS_SLOTS - 1, True), (TAPOS_SLOTS, False), (TAPOS_SLOTS + 1, False)],
)
def test_reach_of_tapos(back: int, accepted: bool) -> None:
    world = long_chain(70_000)
    number = world.chain.head_number - back
    found = world.chain.block(number)
    assert found is not None
    reference = {"ref_block_num": number & 0xFFFF, "ref_block_prefix": reference_prefix(found.id)}
    refused = verdict(world, [A], ACTIVE, **reference)
    assert (refused is None) == accepted
    assert accepted or (refused and refused[0]) == "transaction_tapos_exception"


def test_before_block_1_neither_expiration_nor_tapos() -> None:
    world = World()
    accounts = world.chain.ledger.accounts
    world.chain = DevnetChain(CHAIN, WITNESS, START_TIME)
    world.chain.ledger.accounts.update(accounts)
    assert verdict(world, [A], ACTIVE, ref_block_prefix=77, expiration=START_TIME - 5) is None


@pytest.mark.parametrize("wait", [3_599, 3_600, 3_601])
def test_owner_limit_to_the_second(wait: int) -> None:
    """Twice within 60 minutes: the third has to be more than 3,600 seconds after the first."""
    world = World()
    start = world.chain.head_time  # the time that the first change gets
    world.send([update(owner=NEW)], OWNER)
    world.chain.produce(start + 30)
    world.send([update(owner=keys_of(MANY[1]))], MANY[0])
    world.chain.produce(start + 60)
    world.chain.produce(start + wait)
    found = verdict(world, [update(owner=keys_of(MANY[2]))], MANY[1])
    assert (found is None) == (wait > 3_600)
    assert found is None or "Owner authority can only be updated twice an hour." in found[1]


def test_owner_twice_in_one_transaction() -> None:
    world = World()
    changes = [update(owner=keys_of(secret)) for secret in MANY[:3]]
    assert verdict(world, changes[:2], OWNER) is None
    assert "twice an hour" in str(verdict(World(), changes, OWNER))
    world.chain.produce()
    assert "twice an hour" in str(verdict(world, [update2(owner=NEW)], MANY[1]))
