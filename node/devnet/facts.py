"""What clients ask a Hive node about its chain: configuration, version, properties."""

from typing import Any

from node.devnet.chain import BLOCK_INTERVAL, INITIAL_WITNESS, MAX_BLOCK_SIZE, DevnetChain
from processors.hive.compounds import ASSET
from processors.hive.times import time_to_text
from processors.hive.types import Asset

VERSION = "1.28.0"
ZERO_REVISION = "0" * 40


def properties(chain: DevnetChain, *, typed: bool) -> dict[str, Any]:
    """get_dynamic_global_properties."""
    supply = sum(account.balances[0] for account in chain.ledger.accounts.values())

    def show(amount: int, kind: int) -> Any:
        return ASSET.show(Asset(amount, kind), chain.chain, typed)

    return {
        "id": 0,
        "head_block_number": chain.head_number,
        "head_block_id": chain.head_id.hex(),
        "time": time_to_text(chain.head_time),
        "current_witness": INITIAL_WITNESS,
        "last_irreversible_block_num": chain.irreversible_number,
        "maximum_block_size": MAX_BLOCK_SIZE,
        "current_aslot": chain.head_number,
        "participation_count": 128,
        "recent_slots_filled": "340282366920938463463374607431768211455",
        "hbd_interest_rate": 0,
        "hbd_print_rate": 10000,
        "virtual_supply": show(supply, 0),
        "current_supply": show(supply, 0),
        "current_hbd_supply": show(sum(a.balances[1] for a in chain.ledger.accounts.values()), 1),
        "total_vesting_fund_hive": show(10**9, 0),
        "total_vesting_shares": show(10**12, 2),
        "total_reward_fund_hive": show(0, 0),
        "pending_rewarded_vesting_hive": show(0, 0),
        "pending_rewarded_vesting_shares": show(0, 2),
    }


def config(devnet: DevnetChain) -> dict[str, Any]:
    """get_config: what clients ask for."""
    chain = devnet.chain
    return {
        "IS_TEST_NET": chain.symbols[0] != "HIVE",
        "HIVE_CHAIN_ID": chain.chain_id.hex(),
        "HIVE_ADDRESS_PREFIX": chain.address_prefix,
        "HIVE_BLOCK_INTERVAL": BLOCK_INTERVAL,
        "HIVE_BLOCKCHAIN_VERSION": VERSION,
        "HIVE_MAX_TRANSACTION_SIZE": 65536,
        "HIVE_MAX_AUTHORITY_MEMBERSHIP": 40,
        "HIVE_CUSTOM_OP_DATA_MAX_LENGTH": 8192,
        "HIVE_SYMBOL": {"nai": "@@000000021", "decimals": 3},
        "HBD_SYMBOL": {"nai": "@@000000013", "decimals": 3},
        "VESTS_SYMBOL": {"nai": "@@000000037", "decimals": 6},
    }


def version(devnet: DevnetChain) -> dict[str, Any]:
    """get_version."""
    return {
        "blockchain_version": VERSION,
        "hive_revision": ZERO_REVISION,
        "fc_revision": ZERO_REVISION,
        "chain_id": devnet.chain.chain_id.hex(),
        "node_type": "testnet",
    }


def hardforks(devnet: DevnetChain) -> dict[str, Any]:
    """condenser_api.get_hardfork_properties."""
    return {
        "hf_version": f"1.{devnet.rules}.0",
        "live_time": time_to_text(devnet.head_time),
        "processed_hardforks": [],
        "last_hardfork": devnet.rules,
        "current_hardfork_version": f"1.{devnet.rules}.0",
    }


def chain_properties(devnet: DevnetChain) -> dict[str, Any]:
    """condenser_api.get_chain_properties."""
    fee = ASSET.show(Asset(0, 0), devnet.chain, False)
    return {"account_creation_fee": fee, "maximum_block_size": MAX_BLOCK_SIZE, "hbd_interest_rate": 0}
