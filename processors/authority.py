"""The group account's authorities as they stand on chain, and the strict shape we build (protocol section 4)."""

from processors.context import Context, key_owner
from processors.genesis import meets
from state.schema import AUTHORITY, RUNNER, Authority


def strict(keys: list[bytes]) -> Authority:
    """The strict authority of section 4 over ``keys``: weight 1 each, threshold m // 2 + 1."""
    return Authority(len(keys) // 2 + 1, tuple((key, 1) for key in sorted(keys)), ())


def is_strict(authority: Authority) -> bool:
    """Whether an authority has the shape that we build (points are not looked at: they are on chain already)."""
    m = len(authority.keys)
    return (
        1 <= m <= 40
        and not authority.accounts
        and all(weight == 1 for _, weight in authority.keys)
        and authority.threshold == m // 2 + 1
    )


def signers(ctx: Context, role: str = "active") -> dict[bytes, int]:
    """Keys of an authority on chain with their weights of at least 1, in byte order."""
    return {key: weight for key, weight in ctx.view.need(AUTHORITY, role).keys if weight}


def can_meet_owner(ctx: Context) -> bool:
    """Whether keys that runners have, present or former (and the founder's), meet the owner authority on chain."""
    held = set(ctx.genesis.founder_keys)
    for key in signers(ctx, "owner"):
        account = key_owner(ctx, key)
        if account is not None and ctx.view.get(RUNNER, account) is not None:
            held.add(key)
    return meets(ctx.view.need(AUTHORITY, "owner"), held) == 0
