"""Registration: node_add, node_delete (protocol section 4)."""

from typing import Any

from msgspec.structs import replace

from processors.context import Context, key_owner
from processors.errors import Rejected
from processors.genesis import pop_digest
from processors.hive.crypto import is_valid_point, recover
from processors.hive.errors import HiveDataError, SignatureError
from processors.hive.keys import public_key_from_text
from processors.registry import custom_json
from processors.shapes import DOMAIN, FLAG, KEY_TEXT, hexadecimal, optional
from processors.signatures import weigh_all
from state.schema import KEY, NODE, RUNNER, KeyOwner, Member
from state.view import View

#: Keys that a member can have, present and former: what bounds the table ``key``.
MAX_KEYS = 64

NODE_ADD = {
    "domain": DOMAIN,
    "signing_key": KEY_TEXT,
    "pop": hexadecimal(65),
    "follow_active": optional(FLAG),
}


@custom_json("node_add", NODE_ADD)
def node_add(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """Registers or updates a member; a new signing key begins to ripen."""
    key = _key(ctx, body["signing_key"])
    pop = bytes.fromhex(body["pop"])
    try:
        proven = recover(pop, pop_digest(ctx.genesis.hash, account)) == key
    except SignatureError:
        proven = False
    if not proven:
        raise Rejected("bad_pop")
    if key_owner(ctx, key) not in (None, account):
        raise Rejected("key_taken")
    if ctx.view.get(KEY, key) is None and len(keys_of(ctx.view, account)) >= MAX_KEYS:
        raise Rejected("too_many_keys")
    member = ctx.view.get(NODE, account)
    if member is None and sum(1 for _ in ctx.view.walk(NODE)) >= ctx.params.max_members:
        raise Rejected("too_many_members")
    same_key = member is not None and member.signing_key == key
    ctx.view.put(
        NODE,
        Member(
            domain=body["domain"],
            signing_key=key,
            pop=pop,
            follow_active=body.get("follow_active", False),
            next_key=None,
            ripe_key=member.ripe_key if member is not None else None,
            count=member.count if member is not None and same_key else 0,
            leaving=False,
            ver=member.ver if member is not None else "",
        ),
        account,
    )
    if ctx.view.get(KEY, key) is None:
        ctx.view.put(KEY, KeyOwner(account), key)
        weigh_all(ctx)


@custom_json("node_delete", {})
def node_delete(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """Gives up the seat at once; the registration ends when none of the member's keys is in the authority."""
    member = ctx.view.get(NODE, account)
    if member is None:
        raise Rejected("not_member")
    if member.leaving:
        raise Rejected("already_leaving")
    ctx.view.delete(RUNNER, account)
    ctx.view.put(NODE, replace(member, next_key=None, leaving=True), account)


def keys_of(view: View, account: str) -> list[bytes]:
    """The keys that a member has: its signing key, and those it had before, in byte order."""
    found = set(view.derive_base(KEY, _keys_by_account).get(account, ()))
    for (key,), owner in view.written(KEY).items():
        if owner is not None and owner.account == account:
            found.add(bytes(key))  # type: ignore[arg-type]
        else:
            found.discard(bytes(key))  # type: ignore[arg-type]
    return sorted(found)


def _keys_by_account(view: View) -> dict[str, list[bytes]]:
    """The keys of every member: made once, and anew after a key was added; not at every node_add of a block."""
    found: dict[str, list[bytes]] = {}
    for (key,), owner in view.walk(KEY):
        found.setdefault(owner.account, []).append(bytes(key))  # type: ignore[arg-type]
    return found


def end_registration(view: View, account: str) -> None:
    """A leaving member is gone, and its keys are nobody's."""
    for key in keys_of(view, account):
        view.delete(KEY, key)
    view.delete(NODE, account)
    view.delete(RUNNER, account)


def _key(ctx: Context, text: str) -> bytes:
    try:
        key = public_key_from_text(text, ctx.genesis.chain.address_prefix)
    except HiveDataError:
        raise Rejected("out_of_bounds") from None
    if not is_valid_point(key):
        raise Rejected("out_of_bounds")
    return key
