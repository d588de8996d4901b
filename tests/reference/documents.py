"""Genesis documents for tests and vectors: throw-away keys, small numbers, and a writer of TOML for them."""

import json
from typing import Any

from tests.reference.genesis import genesis_hash
from tests.reference.keys import key_text, pop_digest, public, sign, throw_away

CHAIN_ID = "42" * 32


def signing_key(account: str) -> str:
    """The text of the throw-away signing key of ``account``."""
    return key_text(public(throw_away(f"throw-away signing key of {account}")))


def founder_key(role: str) -> str:
    """The text of a throw-away key that the founder's signer holds beside his signing key."""
    return key_text(public(throw_away(f"throw-away {role} key of the group account")))


def authority(threshold: int, *keys: tuple[str, int], accounts: tuple[tuple[str, int], ...] = ()) -> dict[str, Any]:
    """An authority as Hive writes it."""
    return {
        "weight_threshold": threshold,
        "account_auths": [list(pair) for pair in accounts],
        "key_auths": [list(pair) for pair in keys],
    }


def pop_of(document: dict[str, Any], account: str) -> str:
    """The pop of ``account`` by its throw-away key, as hex."""
    key = throw_away(f"throw-away signing key of {account}")
    return sign(key, pop_digest(genesis_hash(document), account)).hex()


def with_pops(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the pops of its runners, which sign the hash of what it holds beside them."""
    made = dict(document)
    made["runner"] = [{**runner, "pop": pop_of(document, runner["account"])} for runner in document["runner"]]
    return made


def plain(*names: str, **more: Any) -> dict[str, Any]:
    """A document with these runners (the first one is the founder) that may be used; ``more`` replaces parts of it."""
    names = names or ("alice", "bob", "carol")
    founder = signing_key(names[0])
    document: dict[str, Any] = {
        "chain_id": CHAIN_ID,
        "address_prefix": "STM",
        "symbols": ["HIVE", "HBD", "VESTS"],
        "prefix": "wag_",
        "start_block": 1_000,
        "group": {
            "account": "hive.group",
            "owner": authority(1, (founder, 1)),
            "active": authority(1, (founder, 1)),
            "posting": authority(1, (founder_key("posting"), 1)),
        },
        "runner": [{"account": name, "signing_key": signing_key(name)} for name in names],
        "collateral": [{"account": name, "amount": 100 + 10 * at} for at, name in enumerate(names)],
    }
    return {**document, **more}


def full() -> dict[str, Any]:
    """A document that writes everything out that can be written."""
    document = plain(
        "alice",
        "bob",
        "carol",
        "dave.d-1",
        founder_keys=[founder_key("owner"), founder_key("active")],
        balance=[{"account": "erin", "amount": 0}, {"account": "alice", "amount": 2**53}],
        standing_payout=[
            {"to": "alice", "amount": 1, "asset": "HIVE", "every": 28_800, "memo": "Grüße – für die Bienen 🐝"},
            {"to": "null", "amount": 70_000, "asset": "HBD", "every": 1, "memo": ""},
        ],
        parameters={"round_length": 20, "report_at": 10, "hive_rules": 27, "rotate_posting": False, "ripe_rounds": 0},
    )
    document["runner"][1]["domain"] = "https://bob.example"
    group = document["group"]
    group["owner"] = authority(3, (founder_key("owner"), 2), (signing_key("alice"), 1), accounts=(("helper", 1),))
    group["active"] = authority(2, (signing_key("alice"), 2), (founder_key("active"), 1))
    return document


def toml_of(document: dict[str, Any]) -> str:
    """The document as TOML: values first, then tables, then lists of tables."""
    lines = [f"{key} = {_value(value)}" for key, value in document.items() if not _is_table(value)]
    for key, value in document.items():
        if isinstance(value, dict):
            lines += _table(f"[{key}]", value)
            for inner, table in value.items():
                if isinstance(table, dict):
                    lines += _table(f"[{key}.{inner}]", table)
        elif _is_table(value):
            for entry in value:
                lines += _table(f"[[{key}]]", entry)
    return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _table(head: str, table: dict[str, Any]) -> list[str]:
    return ["", head] + [f"{key} = {_value(value)}" for key, value in table.items() if not isinstance(value, dict)]


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
