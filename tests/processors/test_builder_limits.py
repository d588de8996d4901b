"""The builder and what the seats decided (protocol sections 6 and 10): who is passed over, who rides with whom."""

import pytest

from node.devnet.founding import GROUP
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction, unpack_transaction
from state.schema import QUEUE
from tests.processors.council import GENEROUS, Council, transfer, witness_vote
from tests.processors.offers import GOOD


@pytest.fixture
def council() -> Council:
    return Council(**GENEROUS)


def carried(council: Council) -> list[Operation]:
    """The operations of what is built now, without the confirming one."""
    record = council.build(council.height)
    assert record is not None
    tx: Transaction = unpack_transaction(record.tx, council.genesis.chain)
    assert tx.operations[-1].value["id"] == "waggle_ms_signed"
    return list(tx.operations[:-1])


# -- who rides with whom


def test_transfers_of_proposals_and_of_the_genesis_ride_together_in_id_order(council):
    numbers = (council.approve(transfer("0.001 TESTS")), council.payout(2), council.approve(transfer("0.003 TBD")))
    assert council.built() == numbers


def test_what_is_no_single_transfer_rides_alone(council):
    first = council.approve(transfer())
    vote = council.approve(witness_vote())
    two = council.approve(transfer(), transfer())
    saved = council.approve(["transfer_to_savings", GOOD["transfer_to_savings"]])
    last = council.approve(transfer())
    assert council.build_all() == [(first, last), (vote,), (two,), (saved,)]


def test_the_first_of_the_queue_is_built_first_even_if_it_rides_alone(council):
    vote, first, second = council.approve(witness_vote()), council.payout(1), council.payout(2)
    assert council.build_all() == [(vote,), (first, second)]


def test_a_transaction_of_its_own_lasts_as_long_as_any_of_one_payload():
    council = Council(**GENEROUS, payload_lifetime=6_000, rotation_lifetime=300)
    council.approve(transfer(), transfer())
    record = council.build(council.height)
    assert record is not None and record.expiration == council.at(council.height).timestamp + 6_000


def test_its_operations_are_those_that_were_approved_in_their_order(council):
    names = sorted(GOOD)
    ops = [[name, GOOD[name]] for name in names if "TBD" not in str(GOOD[name]) and name != "account_witness_vote"]
    number = council.approve(*ops, ["transfer_from_savings", GOOD["transfer_from_savings"]])
    built = carried(council)
    assert [one.name for one in built] == [one[0] for one in ops] + ["transfer_from_savings"]
    assert built[-1].value["request_id"] == number
    assert {one.value.get("from", GROUP) for one in built} == {GROUP}


def test_a_retry_asks_for_the_same_savings_request():
    council = Council(**GENEROUS, payload_lifetime=60)
    number = council.approve(["transfer_from_savings", GOOD["transfer_from_savings"]])
    first = carried(council)
    council.wait(30)
    assert council.view.need(QUEUE, number).expiries == 1
    assert carried(council) == first


# -- within the limits


def test_merged_transfers_stay_within_the_limit_together():
    council = Council(**GENEROUS | {"spend_limit_hive": 5_000})
    three, four, two, one = (council.approve(transfer(f"{n}.000 TESTS")) for n in (3, 4, 2, 1))
    assert council.built() == (three, two), "4 and 1 are passed over, each on its own"
    assert council.built() == () and {council.view.need(QUEUE, n).out for n in (four, one)} == {""}


def test_max_merge_counts_those_that_ride_and_not_those_passed_over():
    council = Council(**GENEROUS | {"spend_limit_hive": 2_000, "max_merge": 2})
    council.approve(transfer("9.000 TESTS"))
    rest = [council.approve(transfer("1.000 TESTS")) for _ in range(3)]
    assert council.build_all() == [tuple(rest[:2])]


def test_one_that_rides_alone_and_does_not_fit_keeps_nobody_waiting():
    council = Council(**GENEROUS | {"spend_limit_hive": 1_000})
    council.approve(transfer(), transfer())
    assert council.build_all() == []
    vote, small = council.approve(witness_vote()), council.approve(transfer())
    assert council.build_all() == [(vote,), (small,)]


def test_an_expired_one_over_the_limit_keeps_no_fresh_one_waiting():
    council = Council(**GENEROUS | {"spend_limit_hive": 1_000, "payload_lifetime": 60})
    old = council.approve(transfer())
    assert council.built() == (old,)
    council.wait(30)
    new = council.approve(transfer())
    assert council.built() == (new,)
    votes = [council.approve(witness_vote()) for _ in range(2)]
    assert council.build_all(3) == [(vote,) for vote in votes], "the old one does not fit beside the new one"


# -- halted, held


def test_while_halted_only_a_rotation_is_built_and_held_not_even_that(council):
    payout = council.payout(1)
    council.strict("abcx")
    rotation = council.rotation()
    council.all_say("ab", "halt", on=True)
    council.all_say("abc", "hold", on=True)
    assert council.build_all() == []
    assert council.names(QUEUE) == [payout, rotation]


def test_a_rotation_with_nothing_to_rotate_is_dropped_though_the_group_is_halted(council):
    council.rotation()
    council.payout(1)
    council.all_say("ab", "halt", on=True)
    assert council.build_all() == [] and len(council.names(QUEUE)) == 1
