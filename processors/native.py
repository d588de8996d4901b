"""Native operations of the group account (and of members with follow_active), protocol section 4."""

from msgspec.structs import replace

from processors import spending
from processors.authority_form import as_stored
from processors.context import Context, forget_block, key_owner
from processors.hive.chain import ASSET_NAMES
from processors.hive.crypto import is_valid_point
from processors.hive.operations import Operation
from processors.hive.types import Authority as HiveAuthority
from processors.registry import operation
from processors.signatures import authority_changed
from state.schema import AUTHORITY, FEED, INCOME, NODE, OWNER_CHANGES, FeedNote, Income, OwnerChanges


@operation("account_update", "account_update2", field="account", members=True)
def account_update(ctx: Context, operation: Operation) -> None:
    """Replaces the authorities it carries; for a member with follow_active it sets the next key."""
    value = operation.value
    if value["account"] == ctx.group:
        carried = {role: value[role] for role in ("owner", "active", "posting") if value[role] is not None}
        for role, authority in carried.items():
            _put(ctx, role, authority)
        if carried:
            authority_changed(ctx)
    elif value["active"] is not None:
        keys = [key for key, weight in value["active"].key_auths if weight and is_valid_point(key)]
        _follow(ctx, value["account"], keys)


@operation("recover_account", field="account_to_recover")
def recover_account(ctx: Context, operation: Operation) -> None:
    """Replaces owner; an alarm."""
    if operation.value["account_to_recover"] == ctx.group:
        _put(ctx, "owner", operation.value["new_owner_authority"])
        _note(ctx, operation.name, ctx.group)
        authority_changed(ctx)


@operation("request_account_recovery", "change_recovery_account", field="account_to_recover")
def recovery(ctx: Context, operation: Operation) -> None:
    """Somebody moves towards taking the account, or may from now on: an alarm."""
    value = operation.value
    if value["account_to_recover"] == ctx.group:
        _note(ctx, operation.name, value.get("recovery_account") or value.get("new_recovery_account") or "")


@operation("transfer", field="to")
def transfer(ctx: Context, operation: Operation) -> None:
    """Income of the group: a record for people."""
    value = operation.value
    if value["to"] == ctx.group:
        amount, kind = value["amount"]
        ctx.view.put(INCOME, Income(value["from"], amount, ASSET_NAMES[kind]), ctx.height, ctx.op_index)
        spending.book_income(ctx, ASSET_NAMES[kind], amount)
        forget_block(ctx)


def _put(ctx: Context, role: str, authority: HiveAuthority) -> None:
    ctx.view.put(AUTHORITY, as_stored(authority), role)
    if role == "owner":
        times = (*ctx.view.need(OWNER_CHANGES).times, ctx.timestamp)[-3:]
        ctx.view.put(OWNER_CHANGES, OwnerChanges(times))


def _note(ctx: Context, name: str, account: str) -> None:
    ctx.view.put(FEED, FeedNote(name, account), ctx.height, ctx.op_index)
    forget_block(ctx)


def _follow(ctx: Context, account: str, keys: list[bytes]) -> None:
    member = ctx.view.get(NODE, account)
    if member is None or member.leaving or not member.follow_active:
        return
    free = [key for key in keys if key_owner(ctx, key) in (None, account)]
    chosen = free[0] if free and member.signing_key not in keys else None
    ctx.view.put(NODE, replace(member, next_key=chosen), account)
