"""The genesis hash and what the founding demands, from docs/protocol.md section 2 and the defaults of section 1."""

import tomllib
from typing import Any

from tests.reference.keys import key_bytes
from tests.reference.packing import H

DEFAULTS: dict[str, int | bool] = {
    "round_length": 100,
    "report_at": 50,
    "recast_every": 30,
    "header_lifetime": 86_400,
    "header_min_left": 1_200,
    "rotation_lifetime": 7_200,
    "payload_lifetime": 86_400,
    "absent_rounds": 12,
    "seat_rounds": 12,
    "ripe_rounds": 288,
    "max_runners": 25,
    "min_signers": 3,
    "min_collateral": 1,
    "outbid": 110,
    "rotation_change": 25,
    "rotation_margin": 10,
    "rotation_patience": 12,
    "rotate_owner": True,
    "rotate_posting": True,
    "max_in_flight": 4,
    "max_merge": 20,
    "max_attempts": 5,
    "max_members": 1_000,
    "max_queue": 1_000,
    "max_rejections": 20,
    "history": 28_800,
    "trace_keep": 2_400,
    "hive_rules": 28,
}
LISTS = ("balance", "collateral", "founder_keys", "runner", "standing_payout")
MAP_KEYS = (*LISTS, "address_prefix", "chain_id", "group", "parameters", "prefix", "start_block", "symbols")


def canonical_map(document: str | dict[str, Any]) -> dict[str, Any]:
    """The map that is hashed, from the text of a TOML document, or what a TOML reader made of it."""
    read = tomllib.loads(document) if isinstance(document, str) else document
    made: dict[str, Any] = {key: read.get(key, []) for key in LISTS}
    made |= {key: read[key] for key in ("address_prefix", "chain_id", "group", "prefix", "start_block", "symbols")}
    given = read.get("parameters", {})
    defaults = dict(DEFAULTS)
    if given.get("hive_rules") == 27:
        defaults["header_lifetime"] = 3_300
    made["parameters"] = defaults | given
    made["runner"] = [
        {"account": one["account"], "domain": one.get("domain", ""), "signing_key": one["signing_key"]}
        for one in made["runner"]
    ]
    return made


def genesis_hash(document: str | dict[str, Any]) -> bytes:
    """The genesis hash of a TOML document. Raises PackingError for floats and dates."""
    return H(["genesis", canonical_map(document)])


def weight_of(authority: dict[str, Any], keys: set[bytes], address_prefix: str = "STM") -> int:
    """What ``keys`` weigh in an authority with ``key_auths`` = [[text, weight], ...], read as a set of keys."""
    weights: dict[bytes, int] = {}
    for text, weight in authority["key_auths"]:
        weights.setdefault(key_bytes(text, address_prefix), weight)
    return sum(weight for key, weight in weights.items() if key in keys)


def weight_missing(document: str | dict[str, Any]) -> dict[str, int]:
    """How much weight the founding lacks: {"owner": ..., "active": ..., "majority": ...}, 0 where nothing does.

    Owner and active must be met by the runners' keys and founder_keys (a threshold of 0 is never met); the runners'
    keys alone must have more than half of all the weight of active, that of its accounts included.
    """
    made = canonical_map(document)
    prefix, group = made["address_prefix"], made["group"]
    runners = {key_bytes(one["signing_key"], prefix) for one in made["runner"]}
    founding = runners | {key_bytes(text, prefix) for text in made["founder_keys"]}
    missing = {}
    for role in ("owner", "active"):
        threshold = group[role]["weight_threshold"]
        missing[role] = max(0, threshold - weight_of(group[role], founding, prefix)) if threshold else 1
    active = group["active"]
    everyone = {key_bytes(text, prefix) for text, _ in active["key_auths"]}
    whole = weight_of(active, everyone, prefix) + sum(dict(reversed(active["account_auths"])).values())
    missing["majority"] = max(0, whole // 2 + 1 - weight_of(active, runners, prefix))
    return missing
