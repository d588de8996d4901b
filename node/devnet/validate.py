"""What hived checks of an operation by itself, whatever its ledger holds (hive_operations.cpp, validate())."""

import json
from typing import Any

from node.devnet.errors import require
from processors.hive.chain import HBD, HIVE, VESTS
from processors.hive.names import is_account_name
from processors.hive.operations import Operation
from processors.hive.types import Asset, Authority

Fields = dict[str, Any]

MAX_MEMBERSHIP = 40
MAX_MEMO = 2048
MAX_JSON = 8192


def validate(operation: Operation) -> None:
    """Raise HivedRefusalError if the operation is malformed."""
    check = _CHECKS.get(operation.name)
    require(check is not None, "false", f"{operation.name} is not built into this devnet")
    if check is not None:
        check(operation.value)


def _name(name: str) -> None:
    require(is_account_name(name), "is_valid_account_name( name )", f"Account name {name} is invalid")


def _json(text: str) -> None:
    """fc's relaxed parser: a value, whatever follows it; nesting is no reason to refuse."""
    try:
        json.JSONDecoder(strict=False).raw_decode(text.lstrip(" \t\r\n"))
        valid = True
    except RecursionError:
        valid = True
    except ValueError:
        valid = False
    require(
        valid,
        "fc::json::is_valid(json, fc::json::format_validation_mode::relaxed )",
        "JSON is not valid JSON",
    )


def authority_size(authority: Authority) -> None:
    """At most 40 entries."""
    size = len(authority.account_auths) + len(authority.key_auths)
    require(
        size <= MAX_MEMBERSHIP,
        "size <= HIVE_MAX_AUTHORITY_MEMBERSHIP",
        f"Authority membership exceeded. Max: {MAX_MEMBERSHIP} Current: {size}",
    )


def _authority(authority: Authority) -> None:
    for name, _ in authority.account_auths:
        _name(name)
    authority_size(authority)


def _memo(memo: str) -> None:
    size = len(memo.encode("utf-8", "surrogateescape"))
    require(size < MAX_MEMO, "memo.size() < HIVE_MAX_MEMO_SIZE", "Transfer memo is too large")


def _liquid(amount: Asset) -> None:
    require(amount.kind != VESTS, "amount.symbol.is_vesting() == false", "Transfer of vesting is not allowed.")
    require(amount.amount > 0, "amount.amount > 0", "Cannot transfer a negative amount (aka: stealing)")


def _transfer(value: Fields) -> None:
    _name(value["from"])
    _name(value["to"])
    _liquid(value["amount"])
    _memo(value["memo"])


def _vesting(value: Fields) -> None:
    _name(value["from"])
    require(value["amount"].kind == HIVE, "is_asset_type( amount, HIVE_SYMBOL )", "Amount must be HIVE")
    if value["to"]:
        _name(value["to"])
    require(value["amount"].amount > 0, "amount.amount > 0", "Must transfer a nonzero amount")


def _custom_json(value: Fields) -> None:
    count = len(value["required_auths"]) + len(value["required_posting_auths"])
    require(
        count > 0,
        "(required_auths.size() + required_posting_auths.size()) > 0",
        "at least one account must be specified",
    )
    require(count <= MAX_MEMBERSHIP, "num_auths <= HIVE_MAX_AUTHORITY_MEMBERSHIP", "Authority membership exceeded.")
    require(
        len(value["json"].encode("utf-8", "surrogateescape")) <= MAX_JSON,
        "o.json.length() <= HIVE_CUSTOM_OP_DATA_MAX_LENGTH",
        f"Operation JSON must be less than {MAX_JSON} bytes.",
    )
    _json(value["json"])


def _account_update(value: Fields) -> None:
    _name(value["account"])
    for role in ("owner", "active", "posting"):
        if value[role] is not None:
            authority_size(value[role])
    for field in ("json_metadata", "posting_json_metadata"):
        if value.get(field):
            _json(value[field])


def _account_create(value: Fields) -> None:
    _name(value["new_account_name"])
    require(value["fee"].kind == HIVE, "is_asset_type( fee, HIVE_SYMBOL )", "Account creation fee must be HIVE")
    for role in ("owner", "active", "posting"):
        _authority(value[role])
    if value["json_metadata"]:
        _json(value["json_metadata"])


def _request_recovery(value: Fields) -> None:
    _name(value["recovery_account"])
    _name(value["account_to_recover"])
    _authority(value["new_owner_authority"])


def _recover(value: Fields) -> None:
    new, recent = value["new_owner_authority"], value["recent_owner_authority"]
    _name(value["account_to_recover"])
    require(new != recent, "!( new_owner_authority == recent_owner_authority )", "Cannot set new to recent authority")
    for authority in (new, recent):
        weight = sum(w for _, w in authority.key_auths) + sum(w for _, w in authority.account_auths)
        require(weight >= authority.weight_threshold, "!is_impossible()", "owner authority cannot be impossible")
    require(new.weight_threshold > 0, "new_owner_authority.weight_threshold", "new owner authority cannot be trivial")


def _change_recovery(value: Fields) -> None:
    _name(value["account_to_recover"])
    _name(value["new_recovery_account"])


def _savings(value: Fields) -> None:
    _name(value["from"])
    _name(value["to"])
    amount = value["amount"]
    require(amount.amount > 0, "amount.amount > 0", "Must transfer some amount")
    require(amount.kind in (HIVE, HBD), "is_asset_type_one_of", "Must transfer HIVE or HBD")
    _memo(value["memo"])


def _delegate(value: Fields) -> None:
    _name(value["delegator"])
    _name(value["delegatee"])
    require(value["delegator"] != value["delegatee"], "delegator != delegatee", "You cannot delegate to yourself")
    require(value["vesting_shares"].kind == VESTS, "is_asset_type( vesting_shares )", "Delegation must be VESTS")
    require(value["vesting_shares"].amount >= 0, "vesting_shares.amount >= 0", "Delegation cannot be negative")


_CHECKS = {
    "transfer": _transfer,
    "transfer_to_vesting": _vesting,
    "custom_json": _custom_json,
    "account_update": _account_update,
    "account_update2": _account_update,
    "account_create": _account_create,
    "request_account_recovery": _request_recovery,
    "recover_account": _recover,
    "change_recovery_account": _change_recovery,
    "transfer_to_savings": _savings,
    "transfer_from_savings": _savings,
    "delegate_vesting_shares": _delegate,
}
