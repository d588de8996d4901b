"""Forks of the devnet's chain: what a switch undoes, what waits on, and where it may not go."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from node.devnet.errors import HivedRefusalError
from node.devnet.founding import CHAIN
from node.devnet.ledger import Account
from processors.hive.block import read_block, reference_prefix
from processors.hive.types import Asset
from tests.node.devnet.world import HIVE, World, custom_json, key, keys_of, transfer, update

ACTIVE, BOB = "alice active", "bob active"


@pytest.fixture
def world() -> World:
    """A chain of which the newest ten blocks can be undone."""
    found = World()
    found.chain.lag = 10
    return found


def hive(world: World, name: str) -> int:
    return world.chain.ledger.account(name).balances[HIVE]


def tables(world: World) -> tuple[object, ...]:
    """All that the ledger holds, with what waits in the pool."""
    return world.chain.ledger.snapshot()


def ids(world: World) -> list[bytes]:
    return [entry.txid for entry in world.chain.pool]


def on(world: World, number: int) -> dict[str, int]:
    """TaPoS of an older block than the head: what rests on it outlives a switch to it."""
    return {"ref_block_num": number, "ref_block_prefix": reference_prefix(world.chain.blocks[number - 1].id)}


# -- where irreversibility stands


def test_held_irreversibility_stands_still_and_catches_up_when_it_is_let_go(world: World) -> None:
    chain = world.chain
    chain.lag = 2
    chain.held_at = chain.irreversible_number
    assert chain.held_at == 1
    txid = world.send([custom_json("alice")], ACTIVE)
    for _ in range(9):
        chain.produce()
    assert chain.irreversible_number == 1
    assert chain.status(txid) == ("within_reversible_block", 4)
    chain.held_at = None
    assert chain.irreversible_number == chain.head_number - 2 == 10
    assert chain.status(txid) == ("within_irreversible_block", 4)


def test_to_be_held_above_what_is_reached_makes_nothing_irreversible(world: World) -> None:
    world.chain.lag, world.chain.held_at = 2, 100
    assert world.chain.irreversible_number == 1


# -- a switch


def test_a_switch_leaves_the_chain_as_it_was_with_the_orphans_in_the_pool(world: World) -> None:
    chain = world.chain
    before = world.send([transfer(amount=5)], ACTIVE)
    chain.produce()
    point = chain.fork_point()
    was = (chain.head_id, chain.head_time, chain.ledger.snapshot(), dict(chain.included))
    orphaned = [world.send([transfer(amount=7)], ACTIVE)]
    chain.produce()
    orphaned += [world.send([transfer(amount=amount)], ACTIVE, **on(world, 4)) for amount in (11, 13)]
    blocks = [chain.block(5), chain.produce()]
    assert hive(world, "bob") == 1_036
    assert chain.switch_fork(point) == blocks
    assert (chain.head_number, chain.head_id, chain.head_time) == (4, *was[:2])
    assert chain.included == was[3] == {before: 4}
    assert ids(world) == orphaned
    assert [chain.status(txid) for txid in (before, *orphaned)] == [
        ("within_reversible_block", 4), *[("within_mempool", 0)] * 3
    ]  # fmt: skip
    chain.ledger.undo()
    assert chain.ledger.snapshot() == was[2]
    assert hive(world, "bob") == 1_005


def test_what_a_switch_undid_is_included_again_once_and_by_new_blocks(world: World) -> None:
    chain = world.chain
    point = chain.fork_point()
    txid = world.send([transfer(amount=5)], ACTIVE)
    old = chain.produce()
    chain.switch_fork(point)
    new = chain.produce(chain.head_time + 6)
    assert [entry.txid for entry in new.transactions] == [txid]
    assert chain.included == {txid: 4}
    assert (hive(world, "alice"), hive(world, "bob")) == (995, 1_005)
    assert new.id != old.id
    assert chain.block(4) == new
    chain.produce()
    assert chain.block(5).header.previous == new.id
    assert chain.block(5).transactions == ()
    for number in (4, 5):
        read_block(chain.show_block(number, typed=True), CHAIN).prove()


def test_what_is_orphaned_comes_before_what_waited(world: World) -> None:
    chain = world.chain
    point = chain.fork_point()
    first = world.send([custom_json("alice")], ACTIVE)
    chain.produce()
    second = world.send([custom_json("bob")], BOB, **on(world, 3))
    chain.switch_fork(point)
    assert ids(world) == [first, second]
    assert [entry.txid for entry in chain.produce().transactions] == [first, second]


def test_what_waited_beside_the_orphans_is_done_once(world: World) -> None:
    """Their doing on the orphaned fork is undone with it, and not again afterwards."""
    chain = world.chain
    point = chain.fork_point()
    world.send([transfer(amount=5)], ACTIVE)
    chain.produce()
    world.send([transfer(amount=7)], ACTIVE, **on(world, 3))
    chain.switch_fork(point)
    assert (hive(world, "alice"), hive(world, "bob")) == (988, 1_012)
    chain.produce()
    assert (hive(world, "alice"), hive(world, "bob")) == (988, 1_012)


def test_a_fork_point_takes_nothing_from_the_pool(world: World) -> None:
    chain = world.chain
    txid = world.send([transfer(amount=5)], ACTIVE)
    waiting = tables(world)
    point = chain.fork_point()
    assert tables(world) == waiting, "the ledger shows what waits as done"
    assert (ids(world), hive(world, "bob")) == ([txid], 1_005)
    assert point.number == 3
    chain.produce()
    chain.switch_fork(point)
    chain.produce()
    assert (hive(world, "bob"), chain.included) == (1_005, {txid: 4})


def test_what_waited_at_the_fork_point_is_no_part_of_it(world: World) -> None:
    chain = world.chain
    world.send([transfer(amount=5)], ACTIVE, expiration=chain.head_time + 3)
    point = chain.fork_point()
    chain.produce(chain.head_time + 60)
    chain.switch_fork(point)
    assert (chain.pool, hive(world, "bob")) == ([], 1_000), "the pool had dropped it before"


def test_a_point_can_be_switched_back_to_twice(world: World) -> None:
    chain = world.chain
    point = chain.fork_point()
    txid = world.send([transfer(amount=5)], ACTIVE)
    for seconds in (3, 6, 9):
        chain.produce(chain.head_time + seconds)
        assert chain.included == {txid: 4}
        chain.switch_fork(point)
        assert ids(world) == [txid]
    assert hive(world, "bob") == 1_005


def test_a_switch_at_the_head_changes_nothing(world: World) -> None:
    chain = world.chain
    txid = world.send([transfer(amount=5)], ACTIVE)
    before, head = tables(world), chain.head_id
    assert chain.switch_fork(chain.fork_point()) == []
    assert (tables(world), chain.head_id, ids(world)) == (before, head, [txid])


# -- what the other fork does not take


def test_what_rested_on_an_orphaned_block_is_gone(world: World) -> None:
    """TaPoS: the block that it names is no more."""
    chain = world.chain
    point = chain.fork_point()
    chain.produce()
    on_the_orphan = world.send([custom_json("alice")], ACTIVE)
    chain.produce()
    chain.switch_fork(point)
    assert (chain.pool, chain.status(on_the_orphan)) == ([], ("unknown", 0))
    chain.produce(chain.head_time + 6)
    chain.produce()
    assert on_the_orphan not in chain.included


def test_an_authority_that_was_changed_on_the_orphaned_fork_is_the_old_one_until_it_is_included_again(
    world: World,
) -> None:
    chain = world.chain
    point = chain.fork_point()
    old = chain.ledger.account("alice").active
    world.send([update("alice", active=keys_of(key("new")))], ACTIVE)
    chain.produce()
    new = chain.ledger.account("alice").active
    chain.switch_fork(point)
    chain.ledger.undo()
    assert chain.ledger.account("alice").active == old != new
    chain.produce()
    assert chain.ledger.account("alice").active == new


# -- duplicates


@pytest.mark.parametrize("again", ["while it waits", "when it is included again"])
def test_a_duplicate_is_one_after_a_switch_too(world: World, again: str) -> None:
    chain = world.chain
    tx = world.sign(world.tx([transfer(amount=5)]), key(ACTIVE))
    point = chain.fork_point()
    chain.submit(tx)
    chain.produce()
    chain.switch_fork(point)
    if again == "when it is included again":
        chain.produce()
    with pytest.raises(HivedRefusalError, match="Duplicate transaction check failed"):
        chain.submit(tx)
    chain.produce()
    chain.produce()
    assert hive(world, "bob") == 1_005


def test_what_a_switch_let_go_may_be_sent_again(world: World) -> None:
    """What rested on an orphaned block is no duplicate when it comes anew, by a block that stands."""
    chain = world.chain
    point = chain.fork_point()
    block = chain.produce()
    tx = world.sign(world.tx([transfer(amount=5)]), key(ACTIVE))
    chain.submit(tx)
    chain.produce()
    chain.switch_fork(point)
    with pytest.raises(HivedRefusalError, match="tapos"):
        chain.submit(tx)
    assert chain.produce() == block, "the same block as before: it held nothing of the other fork"
    txid = chain.submit(tx)
    assert chain.status(txid) == ("within_mempool", 0)
    chain.produce()
    assert (chain.included, hive(world, "bob")) == ({txid: 5}, 1_005)


def test_an_id_is_forgotten_after_its_expiration_though_it_was_orphaned_between(world: World) -> None:
    chain = world.chain
    point = chain.fork_point()
    txid = world.send([custom_json("alice")], ACTIVE, expiration=chain.head_time + 30)
    chain.produce()
    chain.switch_fork(point)
    chain.produce()
    assert txid in chain.ledger.known
    chain.produce(chain.head_time + 27)
    assert txid in chain.ledger.known, "its expiration is reached, not passed"
    chain.produce()
    assert txid not in chain.ledger.known
    assert chain.included == {txid: 4}


def test_an_id_that_the_orphaned_fork_forgot_is_known_again_and_forgotten_in_time(world: World) -> None:
    chain = world.chain
    txid = world.send([custom_json("alice")], ACTIVE, expiration=chain.head_time + 30)
    chain.produce()
    point = chain.fork_point()
    chain.produce(chain.head_time + 60)
    assert txid not in chain.ledger.known
    chain.switch_fork(point)
    chain.produce()
    assert txid in chain.ledger.known
    chain.produce(chain.head_time + 60)
    assert txid not in chain.ledger.known


# -- how far back


@pytest.mark.parametrize(("more", "allowed"), [(10, True), (11, False), (30, False)])
def test_no_switch_goes_below_the_irreversible_block(world: World, more: int, allowed: bool) -> None:
    chain = world.chain
    point = chain.fork_point()
    txid = world.send([transfer(amount=5)], ACTIVE)
    for _ in range(more):
        chain.produce()
    blocks, before = list(chain.blocks), tables(world)
    if allowed:
        assert len(chain.switch_fork(point)) == more
        return
    with pytest.raises(ValueError, match=f"block 3 is below the irreversible {3 + more - 10}"):
        chain.switch_fork(point)
    assert (chain.blocks, tables(world), chain.included) == (blocks, before, {txid: 4})


def test_held_irreversibility_lets_a_switch_go_as_far_back(world: World) -> None:
    chain = world.chain
    chain.lag = 1
    chain.produce()
    chain.held_at = chain.irreversible_number
    point = chain.fork_point()
    for _ in range(20):
        chain.produce()
    assert len(chain.switch_fork(point)) == 20
    assert chain.irreversible_number == 3


# -- amended accounts


def richer(account: Account) -> Account:
    return replace(account, balances=(account.balances[0] + 100, *account.balances[1:]))


def frozen(account: Account) -> Account:
    return replace(account, active=keys_of(key("court order")))


def test_what_waits_is_tried_anew_on_an_amended_account(world: World) -> None:
    chain = world.chain
    txid = world.send([transfer(amount=5)], ACTIVE)
    other = world.send([transfer("bob", to="carol", amount=1)], BOB)
    chain.amend("alice", frozen)
    assert ids(world) == [other]
    assert chain.status(txid) == ("unknown", 0)
    assert [entry.txid for entry in chain.produce().transactions] == [other]
    assert (hive(world, "alice"), hive(world, "bob")) == (1_000, 999)


@pytest.mark.parametrize("change", [richer, frozen])
def test_an_amended_account_stays_amended(world: World, change: Callable[[Account], Account]) -> None:
    chain = world.chain
    amended = change(chain.ledger.account("alice"))
    chain.amend("alice", change)
    chain.ledger.undo()
    chain.produce()
    assert chain.ledger.account("alice") == amended


def test_what_waits_is_done_once_on_an_amended_account(world: World) -> None:
    """The change is made to the account of the newest block, not to what waits."""
    chain = world.chain
    txid = world.send([transfer(amount=5)], ACTIVE)
    seen = []
    chain.amend("alice", lambda account: seen.append(account.balances[HIVE]) or richer(account))
    assert seen == [1_000]
    assert (ids(world), hive(world, "alice"), hive(world, "bob")) == ([txid], 1_095, 1_005)
    chain.produce()
    assert (hive(world, "alice"), hive(world, "bob")) == (1_095, 1_005)


def test_what_an_account_cannot_pay_any_more_is_gone(world: World) -> None:
    chain = world.chain
    for amount in (600, 300):
        world.send([transfer(amount=amount)], ACTIVE)
    chain.amend("alice", lambda account: replace(account, balances=(500, *account.balances[1:])))
    assert [entry.tx.operations[0].value["amount"] for entry in chain.pool] == [Asset(300, HIVE)]
    assert len(chain.produce().transactions) == 1
    assert (hive(world, "alice"), hive(world, "bob")) == (200, 1_300)


def test_nobody_is_amended_who_is_not_there(world: World) -> None:
    with pytest.raises(HivedRefusalError, match="nobody"):
        world.chain.amend("nobody", richer)


def test_a_switch_undoes_what_was_amended_after_its_point(world: World) -> None:
    chain = world.chain
    account = chain.ledger.account("alice")
    point = chain.fork_point()
    chain.amend("alice", richer)
    chain.produce()
    chain.switch_fork(point)
    assert chain.ledger.account("alice") == account
