"""What hived checks of an operation by itself, whatever its ledger holds (hive_operations.cpp, validate())."""

from typing import Any

from node.devnet.errors import require
from node.devnet.evaluate import authority_names, is_impossible
from node.devnet.lax_json import is_json
from processors.hive.chain import HBD, HIVE, VESTS
from processors.hive.names import is_account_name
from processors.hive.operations import Operation
from processors.hive.types import Authority

Fields = dict[str, Any]

MAX_MEMO = 2048
LEAST_RECURRENCE = 24  # hours
LEAST_EXECUTIONS = 2
MAX_PROPOSALS = 5


def validate(operation: Operation) -> None:
    """Raise HivedRefusalError if the operation is malformed."""
    check = _CHECKS.get(operation.name)
    require(check is not None, "false", f"{operation.name} is not built into this devnet")
    if check is not None:
        check(operation.value)


def _name(name: str) -> None:
    size = len(name.encode("utf-8", "surrogateescape"))
    wrong = "validity_check_result != account_name_validity::"
    require(size >= 3, f"{wrong}too_short", f"Account name '{name}' is too short. Use at least 3 characters.")
    require(size <= 16, f"{wrong}too_long", f"Account name '{name}' is too long. Use maximum of 16 characters.")
    require(
        is_account_name(name),
        f"{wrong}invalid_sequence",
        f"Account name '{name}' is not valid. Please follow the RFC 1035 rules.",
    )


def _is_utf8(text: str) -> bool:
    """Bytes that are not UTF-8 are read as lone surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _json(text: str) -> None:
    require(_is_utf8(text), "fc::is_utf8(json)", "JSON not formatted in UTF8")
    require(
        is_json(text),
        "fc::json::is_valid(json, fc::json::format_validation_mode::relaxed )",
        "JSON is not valid JSON",
    )


def _memo(memo: str, kind: str) -> None:
    size = len(memo.encode("utf-8", "surrogatepass"))
    require(size < MAX_MEMO, f'memo.size() < HIVE_MAX_MEMO_SIZE && "{kind} memo is too large"')
    require(_is_utf8(memo), f'fc::is_utf8( memo ) && "{kind} memo is not UTF8"')


def _transfer(value: Fields) -> None:
    _name(value["from"])
    _name(value["to"])
    amount = value["amount"]
    require(amount.kind != VESTS, 'amount.symbol.is_vesting() == false && "Transfer of vesting is not allowed."')
    require(amount.amount > 0, 'amount.amount > 0 && "Cannot transfer a negative amount (aka: stealing)"')
    _memo(value["memo"], "Transfer")


def _vesting(value: Fields) -> None:
    _name(value["from"])
    require(
        value["amount"].kind == HIVE,
        "amount.symbol == HIVE_SYMBOL || ( amount.symbol.space() == asset_symbol_type::smt_nai_space && "
        "amount.symbol.is_vesting() == false )",
        "Amount must be HIVE or SMT liquid",
    )
    if value["to"]:
        _name(value["to"])
    require(value["amount"].amount > 0, 'amount.amount > 0 && "Must transfer a nonzero amount"')


def _custom_json(value: Fields) -> None:
    require(
        len(value["required_auths"]) + len(value["required_posting_auths"]) > 0,
        "(required_auths.size() + required_posting_auths.size()) > 0",
        "at least one account must be specified",
    )
    _json(value["json"])


def _custom(value: Fields) -> None:
    require(len(value["required_auths"]) > 0, "required_auths.size() > 0", "at least one account must be specified")


def _account_update(value: Fields) -> None:
    _name(value["account"])
    for field in ("json_metadata", "posting_json_metadata"):
        if value.get(field):
            _json(value[field])


def _account_create(value: Fields) -> None:
    _name(value["new_account_name"])
    require(value["fee"].kind == HIVE, "is_asset_type( fee, HIVE_SYMBOL )", "Account creation fee must be HIVE")
    for role in ("owner", "active"):
        authority_names(value[role])
    if value["json_metadata"]:
        _json(value["json_metadata"])
    require(value["fee"].amount >= 0, "fee >= asset( 0, HIVE_SYMBOL )", "Account creation fee cannot be negative")


def _request_recovery(value: Fields) -> None:
    _name(value["recovery_account"])
    _name(value["account_to_recover"])
    authority_names(value["new_owner_authority"])


def _recover(value: Fields) -> None:
    new, recent = value["new_owner_authority"], value["recent_owner_authority"]
    _name(value["account_to_recover"])
    require(
        new != recent,
        "!( new_owner_authority == recent_owner_authority )",
        "Cannot set new owner authority to the recent owner authority",
    )
    _possible(new, "new")
    _possible(recent, "recent")
    require(new.weight_threshold > 0, "new_owner_authority.weight_threshold", "new owner authority cannot be trivial")
    authority_names(new)
    authority_names(recent)


def _possible(authority: Authority, which: str) -> None:
    words = f"{which} owner authority cannot be impossible"
    require(not is_impossible(authority), f"!{which}_owner_authority.is_impossible()", words)


def _change_recovery(value: Fields) -> None:
    _name(value["account_to_recover"])
    _name(value["new_recovery_account"])


def _to_savings(value: Fields) -> None:
    _savings(value, "to", "amount.symbol == HIVE_SYMBOL || amount.symbol == HBD_SYMBOL")


def _from_savings(value: Fields) -> None:
    only = '(amount.symbol == HIVE_SYMBOL || amount.symbol == HBD_SYMBOL) && "Must transfer HIVE or HBD"'
    _savings(value, "from", only)


def _savings(value: Fields, direction: str, symbols: str) -> None:
    _name(value["from"])
    _name(value["to"])
    amount = value["amount"]
    require(amount.amount > 0, f'amount.amount > 0 && "Must transfer {direction} savings some amount"')
    require(amount.kind in (HIVE, HBD), symbols)
    _memo(value["memo"], f"Transfer {direction} savings")


def _delegate(value: Fields) -> None:
    _name(value["delegator"])
    _name(value["delegatee"])
    shares = value["vesting_shares"]
    require(value["delegator"] != value["delegatee"], "delegator != delegatee", "You cannot delegate VESTS to yourself")
    require(shares.kind == VESTS, "is_asset_type( vesting_shares, VESTS_SYMBOL )", "Delegation must be VESTS")
    require(shares.amount >= 0, "vesting_shares >= asset( 0, VESTS_SYMBOL )", "Delegation cannot be negative")


def _witness_vote(value: Fields) -> None:
    _name(value["account"])
    _name(value["witness"])


def _witness_proxy(value: Fields) -> None:
    _name(value["account"])
    if value["proxy"]:
        _name(value["proxy"])
    require(value["proxy"] != value["account"], "proxy != account", "Cannot proxy to self")


def _proposal_votes(value: Fields) -> None:
    _name(value["voter"])
    ids = list(value["proposal_ids"])
    given = 'proposal_ids.empty() == false && "update_proposal_votes_operation"'
    require(bool(ids), given, "Proposal id must be provided")
    require(len(ids) <= MAX_PROPOSALS, "proposal_ids.size() <= HIVE_PROPOSAL_MAX_IDS_NUMBER", "Too many ids")
    require(ids == sorted(set(ids)), "false", "ids of a flat_set_ex must be given in their order, each once")


def _recurrent(value: Fields) -> None:
    _name(value["from"])
    _name(value["to"])
    amount, most = value["amount"], "Recurrent transfer amount cannot be"
    require(amount.kind != VESTS, "!amount.symbol.is_vesting()", f"{most} VESTS")
    require(amount.amount >= 0, "amount.amount >= 0", f"{most} negative")
    require(
        value["recurrence"] >= LEAST_RECURRENCE,
        "recurrence >= HIVE_MIN_RECURRENT_TRANSFERS_RECURRENCE",
        f"Cannot set a transfer recurrence that is less than {LEAST_RECURRENCE} hours",
    )
    _memo(value["memo"], "Recurrent transfer")
    require(value["from"] != value["to"], "from != to", "Cannot set a transfer to yourself")
    require(
        value["executions"] >= LEAST_EXECUTIONS,
        "executions >= minimum_amount_of_executions",
        "Executions must be at least 2, if you set executions to 1 the recurrent transfer will execute immediately "
        "and delete itself. You should use a normal transfer operation",
    )


_CHECKS = {
    "transfer": _transfer,
    "transfer_to_vesting": _vesting,
    "custom_json": _custom_json,
    "custom": _custom,
    "account_update": _account_update,
    "account_update2": _account_update,
    "account_create": _account_create,
    "request_account_recovery": _request_recovery,
    "recover_account": _recover,
    "change_recovery_account": _change_recovery,
    "transfer_to_savings": _to_savings,
    "transfer_from_savings": _from_savings,
    "delegate_vesting_shares": _delegate,
    "account_witness_vote": _witness_vote,
    "account_witness_proxy": _witness_proxy,
    "update_proposal_votes": _proposal_votes,
    "recurrent_transfer": _recurrent,
}
