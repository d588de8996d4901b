"""What each operation does to the ledger, and what of it hived refuses then (hive_evaluator*.cpp, do_apply())."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from node.devnet import lasting
from node.devnet.errors import require
from node.devnet.ledger import RECOVERY_PERIOD, Account, Ledger, words
from processors.hive.keys import NULL_KEY
from processors.hive.names import is_account_name
from processors.hive.operations import Operation
from processors.hive.types import Asset, Authority

Value = dict[str, Any]

MAX_MEMBERSHIP = 40
MAX_JSON = 8192
OWNER_UPDATE_LIMIT = 3600  # seconds (HIVE_OWNER_UPDATE_LIMIT)
CHANGE_RECOVERY_DELAY = 30 * 86400
REQUEST_LIFETIME = 86400
SAVINGS_DELAY = 3 * 86400
SAVINGS_REQUESTS = 100
VESTS_PER_HIVE = 1000
CREATION_FEE = 0
_LIMIT_WORDS = "Owner authority can only be updated twice an hour."


def evaluate(ledger: Ledger, operation: Operation, now: int) -> None:
    """Do what a validated operation does at head time ``now``, or refuse it."""
    _EVALUATORS[operation.name](ledger, operation.value, now)


def authority_size(authority: Authority) -> None:
    """At most 40 entries."""
    size = len(authority.account_auths) + len(authority.key_auths)
    require(
        size <= MAX_MEMBERSHIP,
        "size <= HIVE_MAX_AUTHORITY_MEMBERSHIP",
        f"Authority membership exceeded. Max: {MAX_MEMBERSHIP} Current: {size}",
    )


def authority_names(authority: Authority) -> None:
    """authority::validate(): every account name can be one."""
    require(all(is_account_name(name) for name, _ in authority.account_auths), "is_valid_account_name( item.first )")


def is_impossible(authority: Authority) -> bool:
    """Whether all weights together do not reach the threshold."""
    weights = [weight for _, weight in (*authority.key_auths, *authority.account_auths)]
    return sum(weights) < authority.weight_threshold


def _accounts_exist(ledger: Ledger, authority: Authority, role: str, name: str) -> None:
    for other, _ in authority.account_auths:
        require(
            other in ledger.accounts,
            "a != nullptr",
            f"New {role} authority on account {name} references non-existing account {other}",
        )


def _transfer(ledger: Ledger, value: Value, now: int) -> None:
    ledger.adjust(value["from"], value["amount"], -1)
    ledger.adjust(value["to"], value["amount"], 1)


def _vesting(ledger: Ledger, value: Value, now: int) -> None:
    receiver = ledger.account(value["to"] or value["from"]).name
    ledger.adjust(value["from"], value["amount"], -1)
    ledger.adjust(receiver, Asset(value["amount"].amount * VESTS_PER_HIVE, 2), 1)


def _custom_json(ledger: Ledger, value: Value, now: int) -> None:
    """Hive itself does nothing with it."""
    require(
        len(value["json"].encode("utf-8", "surrogateescape")) <= MAX_JSON,
        "o.json.length() <= HIVE_CUSTOM_OP_DATA_MAX_LENGTH",
        f"Operation JSON must be less than {MAX_JSON} bytes.",
    )
    count = len(value["required_auths"]) + len(value["required_posting_auths"])
    require(
        count <= MAX_MEMBERSHIP,
        "num_auths <= HIVE_MAX_AUTHORITY_MEMBERSHIP",
        f"Authority membership exceeded. Max: {MAX_MEMBERSHIP} Current: {count}",
    )


def _custom(ledger: Ledger, value: Value, now: int) -> None:
    require(
        len(value["data"]) <= MAX_JSON,
        "o.data.size() <= HIVE_CUSTOM_OP_DATA_MAX_LENGTH",
        f"Operation data must be less than {MAX_JSON} bytes.",
    )


def _account_update(ledger: Ledger, value: Value, now: int) -> None:
    _update(ledger, value, now, "update")


def _account_update2(ledger: Ledger, value: Value, now: int) -> None:
    _update(ledger, value, now, "update2")


def _update(ledger: Ledger, value: Value, now: int, label: str) -> None:
    name, owner, active, posting = (value[field] for field in ("account", "owner", "active", "posting"))
    if posting is not None:
        authority_names(posting)
    account = ledger.account(name)
    for authority in (owner, active, posting):
        if authority is not None:
            authority_size(authority)
    if owner is not None:
        times = (account.last_owner_update, account.previous_owner_update)  # rules since hardfork 26
        require(
            any(now - time > OWNER_UPDATE_LIMIT for time in times),
            "util::owner_update_limit_mgr::check( _db.has_hardfork( HIVE_HARDFORK_1_26_AUTH_UPDATE ), "
            "_db.head_block_time(), account_auth.previous_owner_update, account_auth.last_owner_update ) && "
            f'"{label}"',
            _LIMIT_WORDS,
        )
        _accounts_exist(ledger, owner, "owner", name)
        ledger.set_owner(account, owner, now)
    for role, authority in (("active", active), ("posting", posting)):
        if authority is not None:
            _accounts_exist(ledger, authority, role, name)
    account = ledger.account(name)
    key = value["memo_key"]
    ledger.put(
        replace(
            account,
            active=active or account.active,
            posting=posting or account.posting,
            memo_key=key if key not in (None, NULL_KEY) else account.memo_key,
            json_metadata=value["json_metadata"] or account.json_metadata,
            posting_json_metadata=value.get("posting_json_metadata") or account.posting_json_metadata,
        )
    )


def _account_create(ledger: Ledger, value: Value, now: int) -> None:
    name, creator, fee = value["new_account_name"], ledger.account(value["creator"]), value["fee"]
    require(
        fee.amount == CREATION_FEE,
        "o.fee == wso.median_props.account_creation_fee",
        f"Must pay the exact account creation fee. paid: {words(ledger.chain, fee)} "
        f"fee: {words(ledger.chain, Asset(CREATION_FEE, 0))}",
    )
    roles = {role: value[role] for role in ("owner", "active", "posting")}
    for authority in roles.values():
        authority_size(authority)
    for role, authority in roles.items():
        _accounts_exist(ledger, authority, role, name)
    require(name not in ledger.accounts, "db.find_account( name ) == nullptr", f"Account {name} already exists.")
    ledger.put(
        Account(name, roles["owner"], roles["active"], roles["posting"], value["memo_key"], (0, 0, 0), creator.name)
    )


def _request_recovery(ledger: Ledger, value: Value, now: int) -> None:
    account, wanted = ledger.account(value["account_to_recover"]), value["new_owner_authority"]
    require(
        ledger.account(account.recovery_account).name == value["recovery_account"],
        "recovery_account.get_name() == o.recovery_account",
        "Cannot recover an account that does not have you as their recovery partner.",
    )
    is_new = account.name not in ledger.recovery_requests
    if not is_new and wanted.weight_threshold == 0:
        ledger.drop(ledger.recovery_requests, account.name)  # an open authority cancels the request
        return
    require(
        not is_impossible(wanted),
        "!o.new_owner_authority.is_impossible()",
        "Cannot recover using an impossible authority.",
    )
    if is_new:
        require(
            wanted.weight_threshold != 0,
            "o.new_owner_authority.weight_threshold",
            "Cannot recover using an open authority.",
        )
        authority_size(wanted)
    for name, _ in wanted.account_auths:
        ledger.account(name)
    ledger.set(ledger.recovery_requests, account.name, (wanted, now + REQUEST_LIFETIME))


def _recover(ledger: Ledger, value: Value, now: int) -> None:
    account = ledger.account(value["account_to_recover"])
    require(
        now - account.last_recovery > OWNER_UPDATE_LIMIT,
        "util::owner_update_limit_mgr::check( _db.head_block_time(), account.get_last_account_recovery_time() )",
        _LIMIT_WORDS,
    )
    request = ledger.recovery_requests.get(account.name)
    require(
        request is not None,
        "request != recovery_request_idx.end()",
        "There are no active recovery requests for this account.",
    )
    require(
        request is not None and request[0] == value["new_owner_authority"],
        "request->get_new_owner_authority() == o.new_owner_authority",
        "New owner authority does not match recovery request.",
    )
    recent = value["recent_owner_authority"]
    from_history = [old for old, changed in account.owner_history if changed + RECOVERY_PERIOD > now]
    require(recent in from_history, "found", "Recent authority not found in authority history.")
    ledger.drop(ledger.recovery_requests, account.name)
    ledger.set_owner(account, value["new_owner_authority"], now)
    ledger.put(replace(ledger.account(account.name), last_recovery=now))


def _change_recovery(ledger: Ledger, value: Value, now: int) -> None:
    ledger.account(value["new_recovery_account"])
    account = ledger.account(value["account_to_recover"])
    if account.recovery_account == value["new_recovery_account"]:
        ledger.drop(ledger.recovery_changes, account.name)
    else:
        change = (value["new_recovery_account"], now + CHANGE_RECOVERY_DELAY)
        ledger.set(ledger.recovery_changes, account.name, change)


def _save(ledger: Ledger, name: str, amount: Asset, sign: int) -> None:
    account = ledger.account(name)
    savings = list(account.savings)
    savings[amount.kind] += sign * amount.amount
    require(savings[amount.kind] >= 0, "_db.get_savings_balance( from, op.amount.symbol ) >= op.amount")
    ledger.put(replace(account, savings=(savings[0], savings[1])))


def _to_savings(ledger: Ledger, value: Value, now: int) -> None:
    ledger.account(value["to"])
    ledger.adjust(value["from"], value["amount"], -1)
    _save(ledger, value["to"], value["amount"], 1)


def _from_savings(ledger: Ledger, value: Value, now: int) -> None:
    ledger.account(value["to"])
    key = (value["from"], value["request_id"])
    pending = sum(1 for name, _ in ledger.withdrawals if name == value["from"])
    require(
        pending < SAVINGS_REQUESTS,
        "from.savings_withdraw_requests < HIVE_SAVINGS_WITHDRAW_REQUEST_LIMIT",
        "Account has reached limit for pending withdraw requests.",
    )
    _save(ledger, value["from"], value["amount"], -1)
    require(
        key not in ledger.withdrawals,
        "false",
        "could not insert object, most likely a uniqueness constraint was violated",
    )
    ledger.set(ledger.withdrawals, key, (value["to"], value["amount"], now + SAVINGS_DELAY))


def _delegate(ledger: Ledger, value: Value, now: int) -> None:
    account, receiver = ledger.account(value["delegator"]), ledger.account(value["delegatee"])
    key, wanted = (account.name, receiver.name), value["vesting_shares"].amount
    more, available = wanted - ledger.delegations.get(key, 0), account.balances[2] - account.delegated
    require(
        available >= more,
        "available_shares >= op.vesting_shares" if key not in ledger.delegations else "available_shares >= delta",
        f"Account {account.name} does not have enough mana to delegate. required: "
        f"{words(ledger.chain, Asset(more, 2))} available: {words(ledger.chain, Asset(available, 2))}",
    )
    ledger.put(replace(account, delegated=account.delegated + more))
    ledger.put(replace(receiver, received=receiver.received + more))
    ledger.set(ledger.delegations, key, wanted)


_EVALUATORS: dict[str, Callable[[Ledger, Value, int], None]] = {
    "transfer": _transfer,
    "transfer_to_vesting": _vesting,
    "custom_json": _custom_json,
    "custom": _custom,
    "account_update": _account_update,
    "account_update2": _account_update2,
    "account_create": _account_create,
    "request_account_recovery": _request_recovery,
    "recover_account": _recover,
    "change_recovery_account": _change_recovery,
    "transfer_to_savings": _to_savings,
    "transfer_from_savings": _from_savings,
    "delegate_vesting_shares": _delegate,
    "account_witness_vote": lasting.witness_vote,
    "account_witness_proxy": lasting.witness_proxy,
    "update_proposal_votes": lasting.proposal_votes,
    "recurrent_transfer": lasting.recurrent_transfer,
}
