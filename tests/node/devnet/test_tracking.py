"""find_transaction as hived answers it (libraries/plugins/apis/transaction_status_api)."""

import pytest

from node.devnet import tracking
from node.devnet.checks import POOL_LIFETIME
from node.devnet.founding import member_keys, new_chain
from node.devnet.tracking import find_transaction
from processors.hive.times import time_to_text

NOWHERE = "00" * 20


@pytest.fixture(scope="module")
def chain():
    members = [member_keys(number) for number in range(1, 4)]
    made = new_chain(members, members[0])
    for _ in range(40):
        made.produce()
    return made


def status(chain, time, **more):
    return find_transaction(chain, NOWHERE, None if time is None else time_to_text(time), **more)["status"]


def test_without_an_expiration_it_is_unknown(chain):
    assert status(chain, None) == "unknown"


def test_a_young_chain_calls_everything_too_old_that_could_have_been_before_it(chain):
    earliest = chain.block(1).header.timestamp
    assert status(chain, earliest + POOL_LIFETIME - 1) == "too_old"
    assert status(chain, earliest + POOL_LIFETIME) == "unknown"


def test_who_tracked_before_tells_what_has_expired_and_whether_for_good(chain):
    irreversible = chain.block(chain.irreversible_number).header.timestamp
    assert status(chain, irreversible, tracks_all=True) == "expired_irreversible"
    assert status(chain, irreversible + 1, tracks_all=True) == "expired_reversible"
    assert status(chain, chain.head_time, tracks_all=True) == "unknown"


def test_only_so_many_blocks_are_tracked(chain, monkeypatch):
    monkeypatch.setattr(tracking, "TRACKED_BLOCKS", 10)
    monkeypatch.setattr(tracking, "POOL_LIFETIME", 3)
    earliest = chain.block(chain.head_number - 10).header.timestamp
    assert status(chain, earliest + 2) == "too_old"
    assert status(chain, earliest + 3) == "expired_irreversible"
    assert status(chain, earliest + 2, tracks_all=True) == "expired_irreversible"


def test_what_stands_in_a_block_is_found_whatever_expiration_is_told(chain):
    txid = bytes(range(20))
    chain.included[txid] = 7
    answer = find_transaction(chain, txid.hex(), time_to_text(0))
    assert answer == {"status": "within_irreversible_block", "block_num": 7}
