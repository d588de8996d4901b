"""Hive's API methods over the devnet's chain: what each answers, without HTTP around it (hived: plugins/apis)."""

from collections.abc import Callable
from typing import Any

from node.devnet import facts
from node.devnet.behind import ShownChain
from node.devnet.chain import INITIAL_WITNESS
from node.devnet.errors import HivedRefusalError
from node.devnet.ledger import Account
from node.devnet.tracking import find_transaction
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


class RpcError(Exception):
    """A JSON-RPC error of the server itself: bad parameters, unknown methods; ``data`` as hived adds it."""

    def __init__(self, code: int, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


def _asserted(code: int, expression: str, words: str) -> RpcError:
    refusal = HivedRefusalError("assert_exception", f"{expression}: {words}")
    return RpcError(code, refusal.message, refusal.data())


def bad_cast(words: str) -> RpcError:
    """What hived answers to parameters of the wrong type."""
    data = {"code": 7, "name": "bad_cast_exception", "message": "Bad Cast", "stack": []}
    return RpcError(-32000, f"Bad Cast:{words}", data)


class Methods:
    """The methods by full name. ``broadcast`` takes a transaction and returns its id, or raises HivedRefusalError.

    ``tracks_all``: transactions are called too old to be known by no server that was there before the chain began.
    """

    def __init__(
        self, chain: ShownChain, broadcast: Callable[[Transaction], bytes], *, tracks_all: bool = False
    ) -> None:
        self.chain = chain
        self.broadcast = broadcast
        self._table: dict[str, Callable[[Any], Any]] = {
            "condenser_api.get_dynamic_global_properties": lambda p: facts.properties(chain, typed=False),
            "condenser_api.get_block": lambda p: self.block(_first(p), typed=False),
            "condenser_api.get_accounts": lambda p: self.accounts(_first(p), typed=False),
            "condenser_api.get_config": lambda p: facts.config(chain),
            "condenser_api.get_version": lambda p: facts.version(chain),
            "condenser_api.get_hardfork_properties": lambda p: facts.hardforks(chain),
            "condenser_api.get_ops_in_block": lambda p: self.operations_in(_first(p)),
            "condenser_api.broadcast_transaction": lambda p: self.broadcast_one(_first(p), {}),
            "condenser_api.broadcast_transaction_synchronous": lambda p: self.broadcast_one(_first(p), {}),
            "condenser_api.get_transaction": lambda p: self.transaction(_first(p)),
            "condenser_api.verify_authority": lambda p: self.verify(_first(p)),
            "condenser_api.get_key_references": lambda p: self.key_references(_first(p)),
            "condenser_api.get_chain_properties": lambda p: facts.chain_properties(chain),
            "condenser_api.get_witness_by_account": lambda p: self.witness_of(_first(p)),
            "block_api.get_block": lambda p: _wrapped("block", self.block(_named(p, "block_num"), typed=True)),
            "block_api.get_block_header": lambda p: self.header(_named(p, "block_num")),
            "block_api.get_block_range": lambda p: self.range(_named(p, "starting_block_num"), _named(p, "count")),
            "database_api.get_config": lambda p: facts.config(chain),
            "database_api.get_version": lambda p: facts.version(chain),
            "database_api.get_dynamic_global_properties": lambda p: facts.properties(chain, typed=True),
            "database_api.find_accounts": lambda p: {"accounts": self.accounts(_named(p, "accounts"), typed=True)},
            "database_api.find_witnesses": lambda p: {"witnesses": self.witnesses(_named(p, "owners"), typed=True)},
            "database_api.get_active_witnesses": self.active_witnesses,
            "database_api.verify_authority": lambda p: {"valid": self.verify(_named(p, "trx"))},
            "network_broadcast_api.broadcast_transaction": lambda p: self.broadcast_one(_named(p, "trx"), {}),
            "account_by_key_api.get_key_references": lambda p: {"accounts": self.key_references(_named(p, "keys"))},
            "rc_api.find_rc_accounts": lambda p: {"rc_accounts": self.credits(_named(p, "accounts"))},
            "transaction_status_api.find_transaction": lambda p: find_transaction(
                chain, _named(p, "transaction_id"), p.get("expiration"), tracks_all=tracks_all
            ),
        }

    def call(self, method: str, params: Any) -> Any:
        """The result of a method. Raises RpcError, HivedRefusalError."""
        self.check_method(method)
        try:
            return self._table[method](params)
        except (HiveDataError, TypeError, KeyError, IndexError, ValueError, AttributeError) as error:
            raise bad_cast(str(error)) from error

    def check_method(self, method: str) -> None:
        """Whether there is such a method. Raises RpcError."""
        api, point, name = method.partition(".")
        if not point or "." in name:
            raise _asserted(-32002, "v.size() == 2", "method specification invalid. Should be api.method")
        if not any(known.startswith(f"{api}.") for known in self._table):
            raise _asserted(-32002, "api_itr != data._registered_apis.end()", f"Could not find API {api}")
        if method not in self._table:
            raise _asserted(-32002, "method_itr != api_itr->second.end()", f"Could not find method {name}")

    # -- blocks and the chain

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
            raise _asserted(-32003, f"count <= {MAX_RANGE}", f"You can only ask for {MAX_RANGE} blocks")
        numbers = range(max(1, _number(start)), min(_number(start) + _number(count), self.chain.head_number + 1))
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
            "posting_json_metadata": account.posting_json_metadata,
            "recovery_account": account.recovery_account,
            "balance": show(account.balances[0], 0),
            "hbd_balance": show(account.balances[1], 1),
            "savings_balance": show(account.savings[0], 0),
            "savings_hbd_balance": show(account.savings[1], 1),
            "vesting_shares": show(account.balances[2], 2),
            "delegated_vesting_shares": show(account.delegated, 2),
            "received_vesting_shares": show(account.received, 2),
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

    def credits(self, names: Any) -> list[dict[str, Any]]:
        """find_rc_accounts."""
        found = self.chain.ledger.accounts
        return [facts.resource_credits(self.chain, found[name]) for name in _names(names) if name in found]

    # -- witnesses

    def witnesses(self, owners: Any, *, typed: bool) -> list[dict[str, Any]]:
        """find_witnesses."""
        if not 0 < len(_names(owners)) <= MAX_RANGE:
            expression = "0 < args.owners.size() && args.owners.size() <= DATABASE_API_SINGLE_QUERY_LIMIT"
            raise _asserted(-32003, expression, "list of witnesses to find not filled or too big")
        return [facts.witness(self.chain, typed=typed) for owner in owners if owner == INITIAL_WITNESS]

    def witness_of(self, account: Any) -> dict[str, Any] | None:
        """condenser_api.get_witness_by_account."""
        return next(iter(self.witnesses([account], typed=False)), None)

    def active_witnesses(self, params: Any) -> dict[str, Any]:
        """database_api.get_active_witnesses."""
        future = {"future_witnesses": [INITIAL_WITNESS]} if dict(params).get("include_future") is True else {}
        return {"witnesses": [INITIAL_WITNESS], **future}

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
        unknown = _asserted(-32003, "false", f"Unknown Transaction {txid}")
        if block is None:
            raise unknown
        for index, entry in enumerate(block.transactions):
            if entry.txid.hex() == txid:
                shown = show_transaction(entry.tx, self.chain.chain, typed=False)
                return {**shown, "transaction_id": txid, "block_num": number, "transaction_num": index}
        raise unknown

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
                refusal = HivedRefusalError(error.name, str(error).partition(": ")[2])
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
    if type(params) is not list:
        raise bad_cast("a list of parameters is expected")
    if not params:
        raise _asserted(-32003, "args.size() == 1", "Expected 1 argument(s), was 0")
    return params[0]


def _named(params: Any, name: str) -> Any:
    """A named parameter."""
    if type(params) is dict and name in params:
        return params[name]
    raise bad_cast(f"{name} is missing")


def _names(value: Any) -> list[str]:
    if type(value) is not list or not all(type(name) is str for name in value):
        raise bad_cast("a list of names is expected")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**32:
        raise bad_cast(f"{str(value)[:40]} is no block number")
    return value


def _wrapped(name: str, value: Any) -> dict[str, Any]:
    return {name: value} if value is not None else {}
