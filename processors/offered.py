"""The operations that a proposal can hold, each checked field by field (protocol section 10).

The group must not sign what Hive refuses whatever its ledger holds (hived: hive_operations.cpp, validate()).
"""

from collections.abc import Callable
from typing import Any

from processors import strict_json
from processors.context import Context
from processors.errors import Rejected
from processors.hive.chain import HBD, HIVE, VESTS, Chain
from processors.hive.errors import HiveDataError
from processors.hive.names import is_account_name
from processors.hive.operations import Operation, pack_operation, parse_operation, show_operation, unpack_operation
from processors.hive.types import Asset, Reader, varint

MAX_OPERATIONS = 20
MAX_CUSTOM_JSON = 4
MAX_AMOUNT = 2**53
MAX_MEMO = 512  # bytes
MAX_HOURS = 17_520  # 730 days: HIVE_MAX_RECURRENT_TRANSFER_END_DATE
LEAST_RECURRENCE = 24  # hours: HIVE_MIN_RECURRENT_TRANSFERS_RECURRENCE
#: What is in the treasuries of Hive's fund takes no part in savings.
_TREASURIES = frozenset({"hive.fund", "steem.dao"})
MAX_VOTED = 5  # HIVE_PROPOSAL_MAX_IDS_NUMBER

_Fields = dict[str, Any]


def read_operations(ctx: Context, raw: list[Any]) -> list[Operation]:
    """The operations of a proposal. Raises Rejected("not_offered" | "bad_operation")."""
    if any(type(one) is list and one and type(one[0]) is str and one[0] not in _CHECKS for one in raw):
        raise Rejected("not_offered")
    if not all(type(one) is list and [type(part) for part in one] == [str, dict] for one in raw):
        raise Rejected("bad_operation")
    found = [_read(ctx, one) for one in raw]
    names = [operation.name for operation in found]
    if names.count("custom_json") > MAX_CUSTOM_JSON or names.count("transfer_from_savings") > 1 or _contradict(found):
        raise Rejected("bad_operation")
    hive, hbd = leaves(ctx.group, found)
    if max(hive, hbd) > MAX_AMOUNT or (hive and hbd):
        raise Rejected("bad_operation")
    return found


def _contradict(operations: list[Operation]) -> bool:
    """Whether Hive would refuse one operation for what another one in the same proposal does."""
    settings = [
        (one.name, one.value[_SETTINGS[one.name]] if _SETTINGS[one.name] else "")
        for one in operations
        if one.name in _SETTINGS
    ]
    has_proxy = any(one.name == "account_witness_proxy" and one.value["proxy"] for one in operations)
    votes = any(one.name == "account_witness_vote" for one in operations)
    return len(settings) != len(set(settings)) or (has_proxy and votes)


def leaves(group: str, operations: list[Operation]) -> tuple[int, int]:
    """(HIVE, HBD) in smallest units that the group gives away by these operations."""
    total = [0, 0]
    for operation in operations:
        value = operation.value
        if operation.name in _LEAVING and value["to"] != group:
            times = value["executions"] if operation.name == "recurrent_transfer" else 1
            total[value["amount"].kind] += value["amount"].amount * times
    return total[HIVE], total[HBD]


def pack_operations(operations: list[Operation], chain: Chain) -> bytes:
    """As the state keeps them: a count, then each in the legacy pack."""
    out = bytearray(varint(len(operations)))
    for operation in operations:
        pack_operation(out, operation, chain.legacy_symbols)
    return bytes(out)


def unpack_operations(packed: bytes, chain: Chain) -> list[Operation]:
    """What :func:`pack_operations` packed."""
    reader = Reader(packed, chain)
    return [unpack_operation(reader) for _ in range(reader.varint())]


def _read(ctx: Context, raw: list[Any]) -> Operation:
    try:
        operation = parse_operation(raw, ctx.genesis.chain)
    except HiveDataError:
        raise Rejected("bad_operation") from None
    # exactly one way to write it: no other keys, no numbers as text, no amounts of another form
    if show_operation(operation, ctx.genesis.chain, typed=False) != raw:
        raise Rejected("bad_operation")
    actor, check = _CHECKS[operation.name]
    acting = operation.value[actor]
    if acting not in (ctx.group, (ctx.group,)) or not check(ctx, operation.value):
        raise Rejected("bad_operation")
    return operation


def _is_other(ctx: Context, name: str) -> bool:
    return is_account_name(name) and name != ctx.group


def _is_liquid(amount: Asset, lowest: int) -> bool:
    return amount.kind in (HIVE, HBD) and lowest <= amount.amount <= MAX_AMOUNT


def _is_memo(memo: str) -> bool:
    return len(memo.encode()) <= MAX_MEMO


def _transfer(ctx: Context, value: _Fields) -> bool:
    return _is_other(ctx, value["to"]) and _is_liquid(value["amount"], 1) and _is_memo(value["memo"])


def _to_savings(ctx: Context, value: _Fields) -> bool:
    to = value["to"]
    return is_account_name(to) and to not in _TREASURIES and _is_liquid(value["amount"], 1) and _is_memo(value["memo"])


def _from_savings(ctx: Context, value: _Fields) -> bool:
    return _to_savings(ctx, value) and value["request_id"] == 0


def _delegate(ctx: Context, value: _Fields) -> bool:
    shares = value["vesting_shares"]
    return _is_other(ctx, value["delegatee"]) and shares.kind == VESTS and 0 <= shares.amount <= MAX_AMOUNT


def _witness_vote(ctx: Context, value: _Fields) -> bool:
    return is_account_name(value["witness"])


def _witness_proxy(ctx: Context, value: _Fields) -> bool:
    return value["proxy"] == "" or _is_other(ctx, value["proxy"])


def _proposal_votes(ctx: Context, value: _Fields) -> bool:
    ids = value["proposal_ids"]
    return (
        1 <= len(ids) <= MAX_VOTED
        and list(ids) == sorted(set(ids))
        and all(0 <= one < 2**31 for one in ids)
        and not value["extensions"]
    )


def _recurrent(ctx: Context, value: _Fields) -> bool:
    recurrence, executions = value["recurrence"], value["executions"]
    return (
        _is_other(ctx, value["to"])
        and _is_liquid(value["amount"], 0)
        and _is_memo(value["memo"])
        and recurrence >= LEAST_RECURRENCE
        and executions >= 2
        and recurrence * executions <= MAX_HOURS
        and (value["amount"].amount > 0 or executions == 2)
        and not value["extensions"]
    )


def _custom_json(ctx: Context, value: _Fields) -> bool:
    try:
        strict_json.parse(value["json"])
    except Rejected:
        return False
    kind = value["id"]
    is_foreign = kind not in ("", "rc") and not kind.startswith(ctx.genesis.prefix)
    return not value["required_posting_auths"] and is_foreign


#: Name -> (the field that names who acts, what must hold of the others).
_CHECKS: dict[str, tuple[str, Callable[[Context, _Fields], bool]]] = {
    "transfer": ("from", _transfer),
    "transfer_to_savings": ("from", _to_savings),
    "transfer_from_savings": ("from", _from_savings),
    "delegate_vesting_shares": ("delegator", _delegate),
    "account_witness_vote": ("account", _witness_vote),
    "account_witness_proxy": ("account", _witness_proxy),
    "update_proposal_votes": ("voter", _proposal_votes),
    "recurrent_transfer": ("from", _recurrent),
    "custom_json": ("required_auths", _custom_json),
}
_LEAVING = frozenset({"transfer", "transfer_to_savings", "transfer_from_savings", "recurrent_transfer"})
OFFERED = frozenset(_CHECKS)
#: What sets something, and the field that says what: twice the same is refused.
_SETTINGS = {
    "account_witness_vote": "witness",
    "account_witness_proxy": "",
    "delegate_vesting_shares": "delegatee",
    "recurrent_transfer": "to",
}
