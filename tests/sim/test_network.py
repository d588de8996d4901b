"""Servers as a machine sees them: each fault does what its name says, to the node's own reading of Hive's API."""

from contextlib import aclosing, suppress

import pytest

from node.devnet.founding import CHAIN, GROUP, RECEIVER, devnet_key, member_keys, new_chain
from node.errors import ApiError, BroadcastRefusedError, FeedError
from node.feed.rpc import Api
from node.feed.source import chain_view, fetch_blocks, transaction_status
from node.sim.clock import Clock
from node.sim.falsehood import falsified, tampered
from node.sim.network import BlockReader, Network, Wire, server_name, servers
from processors.hive.block import reference_prefix
from processors.hive.errors import HiveDataError
from processors.hive.operations import active_custom_json
from processors.hive.transaction import Transaction, pack_transaction, show_transaction, transaction_id
from tests.sim.tiny import fault

ME, OTHER = "runner01", "runner02"
KEYS = member_keys(1)


class Hive:
    """A chain of some blocks, each with a transaction in it, and machines before its servers."""

    def __init__(self):
        self.chain = new_chain([KEYS, member_keys(2)], KEYS, lag=2)
        self.clock = Clock()
        self.counted = []
        self.network = Network(self.chain, self.clock, 1, self.counted.append)
        self.network.group = GROUP
        self.network.submit = lambda name, tx: self.chain.submit(tx)
        self.wires = {name: Wire(self.network, name, 1) for name in (ME, OTHER)}
        for number in range(8):
            self.chain.submit(self.note(f"{number}"))
            self.chain.submit(self.note(f"{number} too"))
            self.chain.produce()

    def note(self, words):
        operation = active_custom_json(ME, "note", f'"{words}"')
        number, prefix = self.chain.head_number & 0xFFFF, reference_prefix(self.chain.head_id)
        return KEYS.account_key.sign_transaction(
            Transaction(number, prefix, self.chain.head_time + 60, (operation,)), CHAIN
        )

    def api(self, server=0, machine=ME):
        return Api(server_name(server), f"operator{server}", self.wires[machine], machine)

    def ask(self, coroutine):
        """What a call gives, over virtual time."""
        results = []

        async def run():
            results.append(await coroutine)

        ends = []
        self.clock.spawn(run(), ends.append)
        self.clock.run_until(self.clock.now + 100_000)
        (error,) = ends
        if error is not None:
            raise error
        return results[0]

    def blocks(self, first=3, last=6, *, server=0, machine=ME, previous=None):
        async def read():
            async with aclosing(fetch_blocks(self.api(server, machine), CHAIN, first, last, previous)) as found:
                return [given.block async for given in found]

        return self.ask(read())

    def view(self, server=0, machine=ME):
        return self.ask(chain_view(self.api(server, machine)))

    def broadcast(self, words="hello", server=0):
        """The id of what was sent; raises what the node hears."""
        tx = self.note(words)
        self.sent = transaction_id(pack_transaction(tx, CHAIN))
        self.ask(self.api(server).broadcast(show_transaction(tx, CHAIN, typed=False)))

    def is_in_the_pool(self):
        return self.chain.status(self.sent)[0] == "within_mempool"

    def breaks(self, kind, **how):
        self.network.windows.append(fault(kind, 1, 100, **{"who": ME, **how}))


@pytest.fixture
def hive():
    return Hive()


def ids(hive, first=3, last=6):
    return [hive.chain.block(number).id for number in range(first, last + 1)]


def test_every_way_to_lie_is_shown_by_the_block_itself(hive):
    full = hive.network.block(3)
    hive.chain.produce()
    hive.chain.produce()
    empty = hive.network.block(hive.chain.head_number)
    lies = {falsified(raw, n) for raw in (full, empty) for n in range(7)}
    assert len(lies) == 7 + 3
    for lie in lies:
        with pytest.raises(HiveDataError):
            BlockReader()(lie, CHAIN)


def test_a_liar_lies_about_one_block_and_it_is_remembered_who_heard_it(hive):
    hive.breaks("liar", who="", n=1)
    with pytest.raises(FeedError, match="block 4 is refused"):
        hive.blocks(3, 6)
    assert hive.network.lied == {(ME, 0)}
    assert [each.kind for each in hive.counted] == ["liar"]
    assert hive.blocks(3, 6, server=1)


def test_a_server_that_is_behind_shows_the_chain_of_some_blocks_ago(hive):
    hive.breaks("behind", who="", n=2)
    view = hive.view()
    assert (view.head_number, view.irreversible_number) == (5, 3)
    assert view.head_time == hive.chain.block(5).header.timestamp
    assert [block.number for block in hive.blocks(3, 5)] == [3, 4, 5]
    with pytest.raises(ApiError, match="0 blocks"):
        hive.blocks(6, 6)
    late, late_time = hive.chain.block(7).transactions[0].txid, hive.chain.head_time + 4_000
    assert hive.ask(transaction_status(hive.api(), late, late_time)) == "unknown"
    assert hive.ask(transaction_status(hive.api(1), late, late_time)) == "within_reversible_block"
    assert hive.view(1).head_number == 8


# -- without faults


def test_an_honest_server_gives_the_chain(hive):
    assert [block.id for block in hive.blocks()] == ids(hive)
    view = hive.view()
    assert (view.head_number, view.irreversible_number, view.head_time) == (8, 6, hive.chain.head_time)
    hive.broadcast()
    assert hive.is_in_the_pool()
    assert hive.counted == []


def test_there_are_as_many_servers_as_a_plan_names():
    assert [server_name(number) for number in servers()] == ["http://server0", "http://server1", "http://server2"]


def test_a_refusal_of_hive_reaches_the_node_in_its_words(hive):
    hive.broadcast("once")
    tx = hive.chain.pool[-1].tx
    with pytest.raises(BroadcastRefusedError, match="Duplicate transaction"):
        hive.ask(hive.api().broadcast(show_transaction(tx, CHAIN, typed=False)))


def test_a_method_that_is_not_there_is_an_error(hive):
    with pytest.raises(ApiError, match="Could not find method"):
        hive.ask(hive.api().call("block_api.no_such", {}))


def test_an_answer_takes_time_and_the_same_time_in_every_run(hive):
    def moments():
        found, machine = [], Hive()

        async def calls():
            for _ in range(5):
                await chain_view(machine.api())
                found.append(machine.clock.now)

        machine.ask(calls())
        return found

    first = moments()
    assert first == moments()
    gaps = [after - before for before, after in zip([0, *first], first, strict=False)]
    assert all(5 <= gap <= 300 for gap in gaps)
    assert len(set(gaps)) > 1


def test_asking_for_the_accounts_is_remembered_with_its_time(hive):
    call = ("database_api.find_accounts", {"accounts": [GROUP]})
    hive.ask(hive.api().call(*call))
    assert list(hive.network.authority_shown) == [ME]
    account, asked = hive.network.authority_shown[ME]
    assert account == hive.chain.ledger.accounts[GROUP]
    hive.ask(hive.api().call(*call))
    assert hive.network.authority_shown[ME][1] > asked


# -- whom a fault strikes


def test_a_fault_strikes_its_machine_at_its_server_only(hive):
    hive.breaks("api_error", server=1)
    for server, machine in ((0, ME), (2, ME), (1, OTHER)):
        assert len(hive.blocks(server=server, machine=machine)) == 4
    with pytest.raises(ApiError):
        hive.blocks(server=1)


def test_a_fault_without_a_member_strikes_every_machine(hive):
    hive.breaks("api_error", who="")
    for machine in (ME, OTHER):
        with pytest.raises(ApiError):
            hive.view(machine=machine)


def test_a_fault_that_is_over_strikes_nobody(hive):
    hive.breaks("api_error")
    hive.network.windows.clear()
    assert hive.view().head_number == 8


@pytest.mark.parametrize(
    "kind",
    [
        "api_timeout",
        "api_error",
        "api_late",
        "old_head",
        "gap",
        "other_fork",
        "truncated_json",
        "huge_json",
        "clock_skew",
    ],
)
def test_a_fault_is_told_as_often_as_it_strikes_and_names_itself(hive, kind):
    hive.breaks(kind)
    for _ in range(2):
        for call in (hive.view, hive.blocks):
            try:
                call()
            except (ApiError, FeedError):
                continue
    assert len(hive.counted) >= 2
    assert set(hive.counted) == set(hive.network.windows)


# -- silence and noise


def test_a_silent_server_is_given_up_after_the_timeout(hive):
    hive.breaks("api_timeout")
    with pytest.raises(ApiError, match="TimeoutError"):
        hive.view()
    moments = []

    async def watch():
        with pytest.raises(ApiError):
            await chain_view(hive.api())
        moments.append(hive.clock.now)

    begun = hive.clock.now
    hive.ask(watch())
    assert 3_005 <= moments[0] - begun <= 3_300


def test_a_silent_server_has_not_taken_a_broadcast(hive):
    hive.breaks("api_timeout")
    with pytest.raises(ApiError):
        hive.broadcast()
    assert not hive.is_in_the_pool()


def test_a_server_with_errors_has_not_taken_a_broadcast(hive):
    hive.breaks("api_error")
    with pytest.raises(ApiError, match="HTTP 503"):
        hive.broadcast()
    assert not hive.is_in_the_pool()


def test_a_late_answer_comes_or_is_given_up_but_was_heard(hive):
    hive.breaks("api_late")
    heard = {True: 0, False: 0}
    for number in range(30):
        try:
            hive.broadcast(f"late {number}")
            heard[True] += 1
        except ApiError as error:
            assert "TimeoutError" in str(error)
            heard[False] += 1
        assert hive.is_in_the_pool()
        hive.chain.produce()
    assert min(heard.values()) > 3


def test_a_late_answer_is_late(hive):
    hive.breaks("api_late")
    moments = []

    async def call():
        begun = hive.clock.now
        await hive.api().raw("block_api.get_block_range", {"starting_block_num": 1, "count": 1}, 20.0)
        moments.append(hive.clock.now - begun)

    for _ in range(10):
        hive.ask(call())
    assert min(moments) >= 505
    assert max(moments) <= 6_300
    assert max(moments) > 3_000


def test_an_answer_that_is_cut_short_is_no_answer(hive):
    hive.breaks("truncated_json")
    for call in (hive.view, hive.blocks):
        with pytest.raises(ApiError, match="not a JSON-RPC answer"):
            call()
    with pytest.raises(ApiError):
        hive.broadcast()
    assert hive.is_in_the_pool()  # only the answer was cut


def test_an_answer_that_never_ends_is_given_up(hive):
    hive.breaks("huge_json")
    with pytest.raises(ApiError, match="more than"):
        hive.view()


# -- lies about blocks


def test_a_server_that_stands_still_shows_the_head_of_then(hive):
    hive.breaks("old_head")
    before = hive.view()
    for _ in range(3):
        hive.chain.produce()
    assert hive.view() == before
    assert hive.view(server=1).head_number == 11
    hive.network.windows.clear()
    assert hive.view().head_number == 11


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_block_that_is_left_out_is_missed(hive, n):
    hive.breaks("gap", n=n)
    with pytest.raises(ApiError, match=f"block {n + 4} where {n + 3} was asked for"):
        hive.blocks()


def test_the_last_block_left_out_leaves_nothing_to_go_on_from(hive):
    hive.breaks("gap", n=3)
    with pytest.raises(ApiError, match="0 blocks instead of 1 from 6 on"):
        hive.blocks()


def test_a_block_of_another_fork_links_and_proves_and_is_not_ours(hive):
    hive.breaks("other_fork", n=0)
    found = hive.blocks()
    assert [block.id for block in found[:-1]] == ids(hive)[:-1]
    assert found[-1].number == 6
    assert found[-1].id != ids(hive)[-1]
    assert found[-1].transactions == []
    hive.network.windows.clear()
    with pytest.raises(FeedError, match="does not follow ours"):
        hive.blocks(7, 8, previous=found[-1].id)


def test_a_block_of_the_fork_that_died_is_given_if_there_was_one(hive):
    point = hive.chain.fork_point()
    hive.chain.produce()
    (orphan,) = [hive.chain.block(9)]
    read = Network(hive.chain, hive.clock, 1, print).block(9)
    hive.chain.switch_fork(point)
    hive.chain.produce(hive.chain.head_time + 6)
    hive.network.orphans[9] = read
    hive.breaks("other_fork", n=1)
    assert hive.blocks(9, 9)[0].id == orphan.id
    hive.network.windows.clear()
    hive.breaks("other_fork", n=2)
    assert hive.blocks(9, 9)[0].id not in (orphan.id, hive.chain.block(9).id)


@pytest.mark.parametrize("kind", ["tx_left_out", "tx_changed"])
def test_a_block_whose_transactions_are_not_its_own_does_not_prove(hive, kind):
    hive.breaks(kind)
    with pytest.raises(FeedError, match="block 3 is refused"):
        hive.blocks()
    assert {each.kind for each in hive.counted} == {kind}


@pytest.mark.parametrize("kind", ["tx_left_out", "tx_changed"])
def test_a_block_without_transactions_cannot_be_tampered_with(hive, kind):
    hive.chain.produce()
    hive.chain.produce()
    hive.breaks(kind)
    number = hive.chain.head_number
    assert [block.id for block in hive.blocks(number, number)] == ids(hive, number, number)
    assert hive.counted == []


def test_what_a_liar_gave_is_not_what_the_others_give(hive):
    """Blocks are made to text once for all machines: a lie must not stay in there."""
    for kind in ("tx_left_out", "tx_changed", "other_fork", "gap"):
        hive.breaks(kind)
        with suppress(ApiError, FeedError):
            hive.blocks()
        assert hive.counted.pop().kind == kind
        hive.network.windows.clear()
        assert [block.id for block in hive.blocks()] == ids(hive)


# -- broadcasts


def test_a_broadcast_that_is_not_heard_of_again_was_included(hive):
    hive.breaks("broadcast_unheard")
    with pytest.raises(ApiError, match="ServerDisconnected"):
        hive.broadcast()
    hive.chain.produce()
    assert hive.sent in hive.chain.included


def test_a_broadcast_that_is_dropped_is_called_taken_and_is_nowhere(hive):
    hive.breaks("broadcast_dropped")
    hive.broadcast()
    hive.chain.produce()
    assert hive.sent not in hive.chain.included
    assert not hive.is_in_the_pool()
    assert len(hive.counted) == 1
    assert hive.ask(transaction_status(hive.api(1), hive.sent, hive.chain.head_time + 60)) == "unknown"


@pytest.mark.parametrize("kind", ["broadcast_unheard", "broadcast_dropped"])
def test_faults_of_broadcasts_touch_nothing_else(hive, kind):
    hive.breaks(kind)
    assert hive.view().head_number == 8
    assert len(hive.blocks()) == 4
    assert hive.counted == []


def test_a_machine_dies_before_a_broadcast_or_after_it(hive):
    class DeadError(Exception):
        pass

    moments = []

    def on_broadcast(when):
        moments.append((when, hive.is_in_the_pool()))
        if when == hive.dies:
            raise DeadError

    hive.wires[ME].on_broadcast = on_broadcast
    hive.dies = "before"
    with pytest.raises(DeadError):
        hive.broadcast("one")
    hive.dies = "after"
    with pytest.raises(DeadError):
        hive.broadcast("two")
    assert moments == [("before", False), ("before", False), ("after", True)]


# -- clocks, irreversibility, pauses


def test_one_server_calls_its_head_irreversible_and_the_others_do_not(hive):
    hive.network.reads_ahead[ME] = 1
    assert [hive.view(server).irreversible_number for server in servers()] == [6, 8, 6]
    assert hive.view(1, OTHER).irreversible_number == 6
    hive.chain.held_at = 4
    assert hive.view(1).irreversible_number == 8


def test_a_wrong_clock_is_wrong_at_the_machine_and_at_the_server(hive):
    hive.clock.run_until(10_000)
    hive.breaks("clock_skew", n=5_000)
    assert hive.network.now_of(ME) == 10 + 5_000
    assert hive.network.now_of(OTHER) == 10
    assert hive.view().head_time == hive.chain.head_time + 5_000 - 7_200
    assert hive.view(1).head_time == hive.chain.head_time
    assert hive.view().head_number == 8


def test_a_paused_machine_hears_nothing_before_the_end_of_its_pause(hive):
    until = 50_000
    hive.wires[ME].paused = lambda: max(0, until - hive.clock.now)
    moments = []

    async def call():
        await chain_view(hive.api())
        moments.append(hive.clock.now)

    hive.ask(call())
    assert moments == [until]


# -- reading blocks once


def test_blocks_are_read_once_and_proven_each(hive):
    reader = BlockReader()
    raw = hive.network.block(3)
    assert reader(raw, CHAIN) is reader(bytes(raw), CHAIN)
    broken = tampered("tx_changed", raw)
    for _ in range(2):
        with pytest.raises(HiveDataError):
            reader(broken, CHAIN)


def test_the_receiver_of_payouts_is_on_the_chain(hive):
    assert hive.chain.ledger.accounts[RECEIVER].active.key_auths[0][0] == devnet_key(RECEIVER).public
