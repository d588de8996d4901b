"""What Hive's API says of an account: is it sealed (protocol section 12), what resource credits it has, its keys."""

from collections.abc import Sequence
from typing import Any

import msgspec

from node.errors import ApiError
from node.feed.rpc import Api
from processors.authority_form import as_stored
from processors.hive.chain import Chain
from processors.hive.compounds import AUTHORITY
from processors.hive.errors import HiveDataError
from processors.hive.times import time_from_text
from state.schema import Authority

#: Seconds for which whoever satisfied owner can take an account back (HIVE_OWNER_AUTH_RECOVERY_PERIOD).
RECOVERY_SECONDS = 30 * 86_400
#: Seconds in which resource credits come back from nothing to all (HIVE_RC_REGEN_TIME).
REGENERATION_SECONDS = 5 * 86_400
_MOST = 1 << 64


class Sealing(msgspec.Struct, frozen=True):
    """Whether nobody but the group can take the account back.

    ``sealed_at``: seconds since 1970 when it will be if nothing is done, 0 = never by itself, or is so already.
    ``sealed`` None: the account says too little.
    """

    sealed: bool | None
    sealed_at: int
    recovery_account: str
    why: str


def sealing(account: dict[str, Any], now: int, *, groups_own: bool = True, since: int | None = None) -> Sealing:
    """Whether an account, as ``find_accounts`` shows it, is sealed at ``now`` (seconds since 1970).

    ``groups_own``: its owner authority is the group's own, as the state has it. ``since``: from when on, if that is
    known; without it the last change of owner counts, which is late at worst.
    """
    name, recovery = account.get("name"), account.get("recovery_account")
    if not isinstance(name, str) or not isinstance(recovery, str):
        return Sealing(None, 0, "", "the server does not say who can recover the account")
    if recovery not in (name, "null"):
        who = recovery or "the witness with most votes"
        why = f"{who} is its recovery account, and can take it back with whoever held owner in the last 30 days"
        return Sealing(False, 0, recovery, why)
    if not groups_own:
        return Sealing(False, 0, recovery, "its owner authority is not the group's own yet")
    try:
        changed = since if since is not None else time_from_text(account["last_owner_update"])
    except (KeyError, HiveDataError):
        return Sealing(None, 0, recovery, "the server does not say when owner changed last")
    at = changed + RECOVERY_SECONDS
    if now >= at:
        return Sealing(True, 0, recovery, "nobody outside the group can take it back")
    return Sealing(False, at, recovery, "whoever held owner before can take it back for 30 days")


def resource_credits(account: dict[str, Any], now: int) -> int | None:
    """Percent of its resource credits that an account has at ``now``, of one entry of ``find_rc_accounts``.

    They come back evenly over five days. None if the entry does not say it.
    """
    bar = account.get("rc_manabar")
    if not isinstance(bar, dict):
        return None
    most, current, then = (
        _number(x) for x in (account.get("max_rc"), bar.get("current_mana"), bar.get("last_update_time"))
    )
    if most is None or current is None or then is None:
        return None
    if most == 0:
        return 0
    back = most * min(REGENERATION_SECONDS, max(0, now - then)) // REGENERATION_SECONDS
    return min(100, (current + back) * 100 // most)


async def find_account(api: Api, name: str) -> dict[str, Any]:
    """An account as a server has it at its head. Raises ApiError, also if there is none of that name."""
    found = await api.call("database_api.find_accounts", {"accounts": [name]})
    return _only(api, found, "accounts", "name", name)


async def find_credits(api: Api, name: str) -> dict[str, Any]:
    """The resource credits of an account, of ``rc_api``. Raises ApiError."""
    found = await api.call("rc_api.find_rc_accounts", {"accounts": [name]})
    return _only(api, found, "rc_accounts", "account", name)


def authority_of(account: dict[str, Any], role: str, chain: Chain) -> Authority:
    """An authority (owner, active, posting) of ``find_account``. Raises ApiError."""
    try:
        return as_stored(AUTHORITY.parse(account[role], chain))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, HiveDataError) as error:
        raise ApiError(f"the {role} authority of {account.get('name')} cannot be read: {str(error)[:200]}") from error


def can_act_alone(authority: Authority, keys: Sequence[bytes]) -> bool:
    """Whether these keys meet an authority by themselves."""
    weight = sum(weight for key, weight in authority.keys if key in keys)
    return 0 < authority.threshold <= weight


def _only(api: Api, found: Any, listed: str, named: str, name: str) -> dict[str, Any]:
    try:
        [account] = found[listed]
        if account[named] == name:
            return dict(account)
    except (KeyError, IndexError, TypeError, ValueError):
        pass
    if isinstance(found, dict) and found.get(listed) == []:
        raise ApiError(f"{api.url}: there is no account {name}: check its name")
    raise ApiError(f"{api.url}: not what was asked about {name}")


def _number(value: Any) -> int | None:
    """An integer, as fc writes it: as a number, or as text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:
        value = int(value)
    return value if type(value) is int and 0 <= value < _MOST else None
