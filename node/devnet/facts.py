"""What clients ask a Hive node about its chain: configuration, version, properties."""

from typing import Any

from node.devnet.behind import ShownChain
from node.devnet.chain import BLOCK_INTERVAL, INITIAL_WITNESS, MAX_BLOCK_SIZE
from node.devnet.ledger import Account
from processors.hive.compounds import ASSET
from processors.hive.keys import public_key_to_text
from processors.hive.times import time_to_text
from processors.hive.types import Asset

VERSION = "1.28.0"
ZERO_REVISION = "0" * 40


def properties(chain: ShownChain, *, typed: bool) -> dict[str, Any]:
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


def config(devnet: ShownChain) -> dict[str, Any]:
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


def version(devnet: ShownChain) -> dict[str, Any]:
    """get_version."""
    return {
        "blockchain_version": VERSION,
        "hive_revision": ZERO_REVISION,
        "fc_revision": ZERO_REVISION,
        "chain_id": devnet.chain.chain_id.hex(),
        "node_type": "testnet",
    }


def hardforks(devnet: ShownChain) -> dict[str, Any]:
    """condenser_api.get_hardfork_properties."""
    return {
        "hf_version": f"1.{devnet.rules}.0",
        "live_time": time_to_text(devnet.head_time),
        "processed_hardforks": [],
        "last_hardfork": devnet.rules,
        "current_hardfork_version": f"1.{devnet.rules}.0",
    }


def chain_properties(devnet: ShownChain) -> dict[str, Any]:
    """condenser_api.get_chain_properties."""
    fee = ASSET.show(Asset(0, 0), devnet.chain, False)
    return {"account_creation_fee": fee, "maximum_block_size": MAX_BLOCK_SIZE, "hbd_interest_rate": 0}


def witness(devnet: ShownChain, *, typed: bool) -> dict[str, Any]:
    """The one witness, as find_witnesses and get_witness_by_account show it; it never changes its key."""
    chain = devnet.chain

    def show(amount: int, kind: int) -> Any:
        return ASSET.show(Asset(amount, kind), chain, typed)

    return {
        "id": 0,
        "owner": INITIAL_WITNESS,
        "created": time_to_text(0),
        "url": "",
        "total_missed": 0,
        "last_aslot": devnet.head_number,
        "last_confirmed_block_num": devnet.head_number,
        "pow_worker": 0,
        "signing_key": public_key_to_text(devnet.witness_key, chain.address_prefix),
        "props": {
            "account_creation_fee": show(0, 0),
            "maximum_block_size": MAX_BLOCK_SIZE,
            "hbd_interest_rate": 0,
            "account_subsidy_budget": 797,
            "account_subsidy_decay": 347321,
        },
        "hbd_exchange_rate": {"base": show(0, 1), "quote": show(0, 0)},
        "last_hbd_exchange_update": time_to_text(0),
        "votes": 0,
        "virtual_last_update": "0",
        "virtual_position": "0",
        "virtual_scheduled_time": "0",
        "last_work": "0" * 64,
        "running_version": VERSION,
        "hardfork_version_vote": f"1.{devnet.rules}.0",
        "hardfork_time_vote": time_to_text(0),
        "available_witness_account_subsidies": 0,
    }


def resource_credits(devnet: ShownChain, account: Account) -> dict[str, Any]:
    """One of rc_api.find_rc_accounts. Transactions cost nothing here: what an account has is what it can have."""
    credits = large(account.credits)
    return {
        "account": account.name,
        "rc_manabar": {"current_mana": credits, "last_update_time": devnet.head_time},
        "max_rc_creation_adjustment": ASSET.show(Asset(0, 2), devnet.chain, True),
        "max_rc": credits,
        "delegated_rc": 0,
        "received_delegated_rc": 0,
    }


def large(number: int) -> int | str:
    """An integer as fc writes it into JSON: of more than 32 bits as text."""
    return number if number <= 0xFFFFFFFF else str(number)
