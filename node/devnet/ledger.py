"""The accounts of the devnet's Hive, and what each operation does to them (hived: hive_evaluator*.cpp).

A ledger is copied for the pool: accounts are immutable values, so a copy costs a dictionary.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from node.devnet.errors import HivedRefusalError, require
from processors.hive.chain import PRECISION, Chain
from processors.hive.keys import NULL_KEY
from processors.hive.operations import Operation
from processors.hive.types import Asset, Authority

OWNER_UPDATE_LIMIT = 3600  # seconds (HIVE_OWNER_UPDATE_LIMIT)
RECOVERY_PERIOD = 30 * 86400  # seconds (HIVE_OWNER_AUTH_RECOVERY_PERIOD)
CHANGE_RECOVERY_DELAY = 30 * 86400
REQUEST_LIFETIME = 86400
SAVINGS_DELAY = 3 * 86400
LONG_AGO = -(2**31)
VESTS_PER_HIVE = 1000


class Account(msgspec.Struct, frozen=True):
    """One account: authorities, balances (HIVE, HBD, VESTS in smallest units), owner history."""

    name: str
    owner: Authority
    active: Authority
    posting: Authority
    memo_key: bytes
    balances: tuple[int, int, int]
    recovery_account: str
    savings: tuple[int, int] = (0, 0)
    delegated: int = 0
    last_owner_update: int = LONG_AGO
    previous_owner_update: int = LONG_AGO
    owner_history: tuple[tuple[Authority, int], ...] = ()
    last_recovery: int = LONG_AGO
    json_metadata: str = ""


class Ledger:
    """All accounts, pending requests, and the ids of transactions that may not come again."""

    def __init__(self, chain: Chain, rules: int) -> None:
        self.chain = chain
        self.rules = rules
        self.accounts: dict[str, Account] = {}
        self.known: dict[bytes, int] = {}  # txid -> expiration
        self.recovery_requests: dict[str, tuple[Authority, int]] = {}
        self.recovery_changes: dict[str, tuple[str, int]] = {}
        self.withdrawals: dict[tuple[str, int], tuple[str, Asset, int]] = {}
        self.delegations: dict[tuple[str, str], int] = {}

    def copy(self) -> "Ledger":
        """An independent ledger with the same contents."""
        other = Ledger(self.chain, self.rules)
        for name in ("accounts", "known", "recovery_requests", "recovery_changes", "withdrawals", "delegations"):
            setattr(other, name, dict(getattr(self, name)))
        return other

    def account(self, name: str) -> Account:
        """The account, or hived's refusal."""
        found = self.accounts.get(name)
        if found is None:
            raise HivedRefusalError("assert_exception", f"_account: unknown account {name}")
        return found

    def authority(self, role: str, name: str) -> Authority:
        """Authority of ``name`` in a role."""
        found: Authority = getattr(self.account(name), role)
        return found

    def adjust(self, name: str, amount: Asset, sign: int) -> None:
        """Add ``sign`` x amount to a balance; refuse what would be negative."""
        account = self.account(name)
        balances = list(account.balances)
        balances[amount.kind] += sign * amount.amount
        require(
            balances[amount.kind] >= 0,
            "new_balance.amount.value >= 0",
            f"Account {name} does not have sufficient funds for balance adjustment. "
            f"Required: {_words(self.chain, amount)}, Available: "
            f"{_words(self.chain, Asset(account.balances[amount.kind], amount.kind))}",
        )
        self.accounts[name] = replace(account, balances=(balances[0], balances[1], balances[2]))

    def pass_time(self, now: int) -> None:
        """What falls due by itself: expired ids and requests, recovery changes, savings withdrawals."""
        self.known = {txid: expiration for txid, expiration in self.known.items() if expiration > now}
        self.recovery_requests = {n: r for n, r in self.recovery_requests.items() if r[1] > now}
        for name, (recovery, due) in list(self.recovery_changes.items()):
            if due <= now:
                self.accounts[name] = replace(self.accounts[name], recovery_account=recovery)
                del self.recovery_changes[name]
        for key, (receiver, amount, due) in list(self.withdrawals.items()):
            if due <= now:
                self.adjust(receiver, amount, 1)
                del self.withdrawals[key]

    def set_owner(self, account: Account, owner: Authority, now: int) -> None:
        """Replace the owner authority and remember the old one for recovery."""
        history = tuple(entry for entry in account.owner_history if entry[1] + RECOVERY_PERIOD > now)
        self.accounts[account.name] = replace(
            account,
            owner=owner,
            previous_owner_update=account.last_owner_update,
            last_owner_update=now,
            owner_history=(*history, (account.owner, now)),
        )

    def evaluate(self, operation: Operation, now: int) -> None:
        """Do what a validated operation does at head time ``now``, or refuse it."""
        _EVALUATORS[operation.name](self, operation.value, now)


def _words(chain: Chain, amount: Asset) -> str:
    digits = str(amount.amount).rjust(PRECISION[amount.kind] + 1, "0")
    return f"{digits[: -PRECISION[amount.kind]]}.{digits[-PRECISION[amount.kind] :]} {chain.symbols[amount.kind]}"


Value = dict[str, Any]


def _transfer(ledger: Ledger, value: Value, now: int) -> None:
    ledger.account(value["to"])
    ledger.adjust(value["from"], value["amount"], -1)
    ledger.adjust(value["to"], value["amount"], 1)


def _vesting(ledger: Ledger, value: Value, now: int) -> None:
    ledger.adjust(value["from"], value["amount"], -1)
    ledger.adjust(value["to"] or value["from"], Asset(value["amount"].amount * VESTS_PER_HIVE, 2), 1)


def _custom_json(ledger: Ledger, value: Value, now: int) -> None:
    """Hive itself does nothing with it."""


def _accounts_exist(ledger: Ledger, authority: Authority, role: str, name: str) -> None:
    for other, _ in authority.account_auths:
        require(
            other in ledger.accounts,
            "a != nullptr",
            f"New {role} authority on account {name} references non-existing account {other}",
        )


def _account_update(ledger: Ledger, value: Value, now: int) -> None:
    name = value["account"]
    account = ledger.account(name)
    for role in ("owner", "active", "posting"):
        if value[role] is not None:
            _accounts_exist(ledger, value[role], role, name)
    if value["owner"] is not None:
        times = [account.last_owner_update, account.previous_owner_update]  # rules since hardfork 26
        require(
            any(now - time > OWNER_UPDATE_LIMIT for time in times),
            "util::owner_update_limit_mgr::check( _db.has_hardfork( HIVE_HARDFORK_1_26_AUTH_UPDATE ), "
            "_db.head_block_time(), account_auth.previous_owner_update, account_auth.last_owner_update )",
            "Owner authority can only be updated twice an hour.",
        )
        ledger.set_owner(account, value["owner"], now)
    account = ledger.account(name)
    key = value["memo_key"]
    ledger.accounts[name] = replace(
        account,
        active=value["active"] or account.active,
        posting=value["posting"] or account.posting,
        memo_key=key if key not in (None, NULL_KEY) else account.memo_key,
        json_metadata=value["json_metadata"] or account.json_metadata,
    )


def _account_create(ledger: Ledger, value: Value, now: int) -> None:
    name = value["new_account_name"]
    require(name not in ledger.accounts, "find_account( name ) == nullptr", f"Account {name} already exists")
    for role in ("owner", "active", "posting"):
        _accounts_exist(ledger, value[role], role, name)
    ledger.adjust(value["creator"], value["fee"], -1)
    ledger.accounts[name] = Account(
        name,
        value["owner"],
        value["active"],
        value["posting"],
        value["memo_key"],
        (0, 0, value["fee"].amount * VESTS_PER_HIVE),
        value["creator"],
    )


def _request_recovery(ledger: Ledger, value: Value, now: int) -> None:
    account = ledger.account(value["account_to_recover"])
    require(
        account.recovery_account == value["recovery_account"],
        "account_to_recover.get_recovery_account() == o.recovery_account",
        "Cannot recover an account that does not have you as their recovery partner.",
    )
    _accounts_exist(ledger, value["new_owner_authority"], "owner", account.name)
    ledger.recovery_requests[account.name] = (value["new_owner_authority"], now + REQUEST_LIFETIME)


def _recover(ledger: Ledger, value: Value, now: int) -> None:
    account = ledger.account(value["account_to_recover"])
    require(now - account.last_recovery > OWNER_UPDATE_LIMIT, "check", "Owner authority can only be updated once.")
    request = ledger.recovery_requests.get(account.name)
    require(request is not None, "request != end()", "There are no active recovery requests for this account.")
    require(
        request is not None and request[0] == value["new_owner_authority"],
        "request->get_new_owner_authority() == o.new_owner_authority",
        "New owner authority does not match recovery request.",
    )
    recent = value["recent_owner_authority"]
    require(
        any(old == recent and changed + RECOVERY_PERIOD > now for old, changed in account.owner_history),
        "found",
        "Recent authority not found in authority history.",
    )
    del ledger.recovery_requests[account.name]
    ledger.set_owner(account, value["new_owner_authority"], now)
    ledger.accounts[account.name] = replace(ledger.account(account.name), last_recovery=now)


def _change_recovery(ledger: Ledger, value: Value, now: int) -> None:
    ledger.account(value["new_recovery_account"])
    account = ledger.account(value["account_to_recover"])
    if account.recovery_account == value["new_recovery_account"]:
        ledger.recovery_changes.pop(account.name, None)
    else:
        ledger.recovery_changes[account.name] = (value["new_recovery_account"], now + CHANGE_RECOVERY_DELAY)


def _to_savings(ledger: Ledger, value: Value, now: int) -> None:
    ledger.account(value["to"])
    ledger.adjust(value["from"], value["amount"], -1)
    receiver = ledger.account(value["to"])
    savings = list(receiver.savings)
    savings[value["amount"].kind] += value["amount"].amount
    ledger.accounts[receiver.name] = replace(receiver, savings=(savings[0], savings[1]))


def _from_savings(ledger: Ledger, value: Value, now: int) -> None:
    ledger.account(value["to"])
    account = ledger.account(value["from"])
    amount, key = value["amount"], (value["from"], value["request_id"])
    savings = list(account.savings)
    savings[amount.kind] -= amount.amount
    require(savings[amount.kind] >= 0, "savings >= amount", "Insufficient funds in savings.")
    require(key not in ledger.withdrawals, "uniqueness constraint", "could not insert object")
    ledger.accounts[account.name] = replace(account, savings=(savings[0], savings[1]))
    ledger.withdrawals[key] = (value["to"], amount, now + SAVINGS_DELAY)


def _delegate(ledger: Ledger, value: Value, now: int) -> None:
    ledger.account(value["delegatee"])
    account = ledger.account(value["delegator"])
    key, wanted = (value["delegator"], value["delegatee"]), value["vesting_shares"].amount
    more = wanted - ledger.delegations.get(key, 0)
    require(
        account.balances[2] - account.delegated >= more,
        "available_shares >= o.vesting_shares",
        "Account does not have enough vesting shares to delegate.",
    )
    ledger.accounts[account.name] = replace(account, delegated=account.delegated + more)
    ledger.delegations[key] = wanted


_EVALUATORS: dict[str, Callable[[Ledger, Value, int], None]] = {
    "transfer": _transfer,
    "transfer_to_vesting": _vesting,
    "custom_json": _custom_json,
    "account_update": _account_update,
    "account_update2": _account_update,
    "account_create": _account_create,
    "request_account_recovery": _request_recovery,
    "recover_account": _recover,
    "change_recovery_account": _change_recovery,
    "transfer_to_savings": _to_savings,
    "transfer_from_savings": _from_savings,
    "delegate_vesting_shares": _delegate,
}
