"""Hive's API methods over the devnet's chain: what each answers, without HTTP around it (hived: plugins/apis)."""

from collections.abc import Callable
from typing import Any

from node.devnet.chain import BLOCK_INTERVAL, INITIAL_WITNESS, MAX_BLOCK_SIZE, DevnetChain
from node.devnet.errors import HivedRefusalError
from node.devnet.ledger import Account
from processors.hive.authority import required_authorities, verify_authority
from processors.hive.compounds import ASSET, AUTHORITY
from processors.hive.crypto import recover_as_hived
from processors.hive.errors import AuthorityError, HiveDataError, SignatureError
from processors.hive.keys import public_key_from_text, public_key_to_text
from processors.hive.operations import show_operation
from processors.hive.times import time_to_text
from processors.hive.transaction import (
    Transaction,
    pack_transaction,
    parse_transaction,
    show_transaction,
    signing_digest,
)
from processors.hive.types import Asset

MAX_RANGE = 1000
VERSION = "1.28.0"
ZERO_REVISION = "0" * 40


class RpcError(Exception):
    """A JSON-RPC error of the server itself: bad parameters, unknown methods."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Methods:
    """The methods by full name. ``broadcast`` takes a transaction and returns its id, or raises HivedRefusalError."""

    def __init__(self, chain: DevnetChain, broadcast: Callable[[Transaction], bytes]) -> None:
        self.chain = chain
        self.broadcast = broadcast
        self._table: dict[str, Callable[[Any], Any]] = {
            "condenser_api.get_dynamic_global_properties": lambda p: self.properties(typed=False),
            "condenser_api.get_block": lambda p: self.block(_first(p), typed=False),
            "condenser_api.get_accounts": lambda p: self.accounts(_first(p), typed=False),
            "condenser_api.get_config": lambda p: self.config(),
            "condenser_api.get_version": lambda p: self.version(),
            "condenser_api.get_hardfork_properties": lambda p: self.hardforks(),
            "condenser_api.get_ops_in_block": lambda p: self.operations_in(_first(p)),
            "condenser_api.broadcast_transaction": lambda p: self.broadcast_one(_first(p), {}),
            "condenser_api.get_transaction": lambda p: self.transaction(_first(p)),
            "condenser_api.verify_authority": lambda p: self.verify(_first(p)),
            "condenser_api.get_key_references": lambda p: self.key_references(_first(p)),
            "condenser_api.get_chain_properties": lambda p: self.chain_properties(),
            "block_api.get_block": lambda p: _wrapped("block", self.block(_named(p, "block_num"), typed=True)),
            "block_api.get_block_header": lambda p: self.header(_named(p, "block_num")),
            "block_api.get_block_range": lambda p: self.range(_named(p, "starting_block_num"), _named(p, "count")),
            "database_api.get_config": lambda p: self.config(),
            "database_api.get_version": lambda p: self.version(),
            "database_api.get_dynamic_global_properties": lambda p: self.properties(typed=True),
            "database_api.find_accounts": lambda p: {"accounts": self.accounts(_named(p, "accounts"), typed=True)},
            "database_api.verify_authority": lambda p: {"valid": self.verify(_named(p, "trx"))},
            "network_broadcast_api.broadcast_transaction": lambda p: self.broadcast_one(_named(p, "trx"), {}),
            "account_by_key_api.get_key_references": lambda p: {"accounts": self.key_references(_named(p, "keys"))},
            "transaction_status_api.find_transaction": lambda p: self.find(_named(p, "transaction_id")),
        }

    def call(self, method: str, params: Any) -> Any:
        """The result of a method. Raises RpcError, HivedRefusalError."""
        found = self._table.get(method)
        if found is None:
            raise RpcError(-32601, f"Could not find method {method}")
        try:
            return found(params)
        except (HiveDataError, TypeError, KeyError, IndexError, ValueError) as error:
            raise RpcError(-32602, f"Invalid parameters: {error}") from error

    # -- blocks and the chain

    def properties(self, *, typed: bool) -> dict[str, Any]:
        """get_dynamic_global_properties."""
        chain = self.chain
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

    def block(self, number: Any, *, typed: bool) -> dict[str, Any] | None:
        """get_block."""
        return self.chain.show_block(_number(number), typed=typed)

    def header(self, number: Any) -> dict[str, Any]:
        """block_api.get_block_header."""
        block = self.block(number, typed=True)
        if block is None:
            return {}
        kept = ("previous", "timestamp", "witness", "transaction_merkle_root", "extensions")
        return {"header": {name: block[name] for name in kept}}

    def range(self, start: Any, count: Any) -> dict[str, Any]:
        """block_api.get_block_range: at most 1,000 blocks, fewer at the head."""
        if not 1 <= _number(count) <= MAX_RANGE:
            raise RpcError(-32003, f"Assert Exception:count <= {MAX_RANGE}: You can only ask for {MAX_RANGE} blocks")
        numbers = range(_number(start), min(_number(start) + _number(count), self.chain.head_number + 1))
        return {"blocks": [self.chain.show_block(number, typed=True) for number in numbers]}

    def operations_in(self, number: Any) -> list[dict[str, Any]]:
        """condenser_api.get_ops_in_block: there are no virtual operations here."""
        block = self.chain.block(_number(number))
        if block is None:
            return []
        return [
            {
                "trx_id": entry.txid.hex(),
                "block": number,
                "trx_in_block": index,
                "op_in_trx": place,
                "virtual_op": 0,
                "timestamp": time_to_text(block.header.timestamp),
                "op": show_operation(operation, self.chain.chain, typed=False),
            }
            for index, entry in enumerate(block.transactions)
            for place, operation in enumerate(entry.tx.operations)
        ]

    def config(self) -> dict[str, Any]:
        """get_config: what clients ask for."""
        chain = self.chain.chain
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

    def version(self) -> dict[str, Any]:
        """get_version."""
        return {
            "blockchain_version": VERSION,
            "hive_revision": ZERO_REVISION,
            "fc_revision": ZERO_REVISION,
            "chain_id": self.chain.chain.chain_id.hex(),
            "node_type": "testnet",
        }

    def hardforks(self) -> dict[str, Any]:
        """condenser_api.get_hardfork_properties."""
        return {
            "hf_version": f"1.{self.chain.rules}.0",
            "live_time": time_to_text(self.chain.head_time),
            "processed_hardforks": [],
            "last_hardfork": self.chain.rules,
            "current_hardfork_version": f"1.{self.chain.rules}.0",
        }

    def chain_properties(self) -> dict[str, Any]:
        """condenser_api.get_chain_properties."""
        fee = ASSET.show(Asset(0, 0), self.chain.chain, False)
        return {"account_creation_fee": fee, "maximum_block_size": MAX_BLOCK_SIZE, "hbd_interest_rate": 0}

    # -- accounts

    def accounts(self, names: Any, *, typed: bool) -> list[dict[str, Any]]:
        """get_accounts, find_accounts."""
        found = self.chain.ledger.accounts
        return [self._account(found[name], typed=typed) for name in names if name in found]

    def _account(self, account: Account, *, typed: bool) -> dict[str, Any]:
        chain = self.chain.chain

        def show(amount: int, kind: int) -> Any:
            return ASSET.show(Asset(amount, kind), chain, typed)

        return {
            "id": sorted(self.chain.ledger.accounts).index(account.name),
            "name": account.name,
            **{role: AUTHORITY.show(getattr(account, role), chain, typed) for role in ("owner", "active", "posting")},
            "memo_key": public_key_to_text(account.memo_key, chain.address_prefix),
            "json_metadata": account.json_metadata,
            "posting_json_metadata": "",
            "recovery_account": account.recovery_account,
            "balance": show(account.balances[0], 0),
            "hbd_balance": show(account.balances[1], 1),
            "savings_balance": show(account.savings[0], 0),
            "savings_hbd_balance": show(account.savings[1], 1),
            "vesting_shares": show(account.balances[2], 2),
            "delegated_vesting_shares": show(account.delegated, 2),
            "received_vesting_shares": show(0, 2),
            "last_owner_update": time_to_text(max(0, account.last_owner_update)),
        }

    def key_references(self, keys: Any) -> list[list[str]]:
        """The accounts in whose authorities each key stands."""
        wanted = [public_key_from_text(key, self.chain.chain.address_prefix) for key in keys]
        accounts = sorted(self.chain.ledger.accounts.items())
        return [
            [
                name
                for name, a in accounts
                if any(key in dict(auth.key_auths) for auth in (a.owner, a.active, a.posting))
            ]
            for key in wanted
        ]

    # -- transactions

    def parse(self, raw: Any) -> Transaction:
        """A transaction of a client; what cannot be read is refused as hived refuses it."""
        _check_custom_ids(raw)
        return parse_transaction(raw, self.chain.chain)

    def broadcast_one(self, raw: Any, answer: dict[str, Any]) -> dict[str, Any]:
        """broadcast_transaction: into the pool, or refused."""
        self.broadcast(self.parse(raw))
        return answer

    def transaction(self, txid: Any) -> dict[str, Any]:
        """condenser_api.get_transaction, of included ones."""
        number = self.chain.included.get(bytes.fromhex(txid))
        block = self.chain.block(number) if number is not None else None
        if block is None:
            raise RpcError(-32003, f"Assert Exception:false: Unknown Transaction {txid}")
        for index, entry in enumerate(block.transactions):
            if entry.txid.hex() == txid:
                shown = show_transaction(entry.tx, self.chain.chain, typed=False)
                return {**shown, "transaction_id": txid, "block_num": number, "transaction_num": index}
        raise RpcError(-32003, f"Assert Exception:false: Unknown Transaction {txid}")

    def find(self, txid: Any) -> dict[str, Any]:
        """transaction_status_api.find_transaction."""
        status, number = self.chain.status(bytes.fromhex(txid))
        return {"status": status, "block_num": number} if number else {"status": status}

    def verify(self, raw: Any) -> bool:
        """verify_authority: true, or refused with the reason."""
        tx = self.parse(raw)
        for typed in (False, True):
            digest = signing_digest(pack_transaction(tx, self.chain.chain, typed=typed), self.chain.chain)
            try:
                keys = {recover_as_hived(signature, digest) for signature in tx.signatures}
                required = required_authorities(tx.operations)
                verify_authority(required, keys, self.chain.ledger.authority, rules=self.chain.rules)
                return True
            except SignatureError as error:
                refusal = HivedRefusalError("assert_exception", str(error))
            except AuthorityError as error:
                refusal = HivedRefusalError(error.name, str(error))
        raise refusal


def _check_custom_ids(raw: Any) -> None:
    """fixed_string<32> refuses what is too long while hived reads the transaction."""
    for operation in raw.get("operations", []):
        body = operation.get("value") if isinstance(operation, dict) else operation[1]
        name = body.get("id") if isinstance(body, dict) else None
        if isinstance(name, str) and len(name.encode()) > 32:
            detail = (
                f"in_len <= sizeof(data): Input too large: `{name}` ({len(name.encode())}) for fixed size string: (32)"
            )
            raise HivedRefusalError("assert_exception", detail)


def _first(params: Any) -> Any:
    """The first positional parameter."""
    if type(params) is not list or not params:
        raise RpcError(-32602, "Invalid parameters: a list is expected")
    return params[0]


def _named(params: Any, name: str) -> Any:
    """A named parameter, or the first positional one."""
    if type(params) is dict and name in params:
        return params[name]
    raise RpcError(-32602, f"Invalid parameters: {name} is missing")


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**32:
        raise RpcError(-32602, f"Invalid parameters: {str(value)[:40]} is no block number")
    return value


def _wrapped(name: str, value: Any) -> dict[str, Any]:
    return {name: value} if value is not None else {}
