"""Writes docs/vectors/*.json from the reference implementation: ``python -m tests.reference.make_vectors``.

Bytes are hex throughout; key and value of an entry are their canonical msgpack.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.reference import documents
from tests.reference.genesis import canonical_map, genesis_hash
from tests.reference.keys import check_pop, flip_s, key_text, pop_digest, public, sign, throw_away
from tests.reference.packing import encode
from tests.reference.proofs import SetProof, prove_set, prove_state
from tests.reference.roots import (
    ZERO,
    Entries,
    changes,
    digest,
    genesis_trace,
    set_root,
    state_root,
    table_pairs,
    trace,
)

FOLDER = Path(__file__).parents[2] / "docs" / "vectors"
GENESIS_HASH = sha256(b"a genesis hash for vectors").digest()
State = dict[str, Entries]


def entries(size: int) -> Entries:
    """A table of ``size`` entries with keys and values of several kinds."""
    return {
        (at, f"entry {at}"): [at * at, -at, f"näme {at}", bytes([at % 256]) * (at % 40), at % 2 == 0, None, [at, [at]]]
        for at in range(size)
    }


def states() -> list[State]:
    """The same small state after five blocks."""
    begin: State = {
        "meta": {("head",): [20, bytes(20), 1_700_000_000], ("counters",): [0, 0]},
        "queue": {(at,): ["payout", at] for at in (1, 9, 10, 256, 65_536)},
        "node": {(name,): ["", name] for name in ("zoe", "al", "alice", "a.b", "bob")},
        "sig": {("20:1:2", bytes([3]) * 33): [bytes(65)], ("20:1:10", bytes([2]) * 33): [bytes(65)]},
    }
    result = [begin]
    for at in range(1, 5):
        after: State = {name: dict(table) for name, table in result[-1].items()}
        after["meta"] = {**after["meta"], ("head",): [20 + at, bytes([at]) * 20, 1_700_000_000 + 3 * at]}
        result.append(after)
    result[1]["queue"] = {key: value for key, value in result[1]["queue"].items() if key != (9,)}
    result[2]["queue"] = {**result[1]["queue"], (2,): ["rotation", 0], (300,): ["rotation", 0]}
    result[3]["sig"] = {}
    result[3]["node"] = {**result[2]["node"], ("alice",): ["https://alice.example", "alice"], ("bob",): ["", "bob"]}
    result[4] = {**result[3], "meta": result[4]["meta"], "done": {(1,): ["confirmed", None]}}
    return result


def _entries(table: Entries) -> list[list[str]]:
    return [[encode(list(key)).hex(), encode(list(value)).hex()] for key, value in table.items()]


def _state(state: State) -> dict[str, Any]:
    return {name: _entries(table) for name, table in state.items()}


def root_vectors() -> Any:
    """Roots of sets, and of states."""
    sets = [
        {"size": size, "entries": _entries(entries(size)), "root": set_root(table_pairs(entries(size))).hex()}
        for size in (0, 1, 2, 17, 300)
    ]
    whole = [{"tables": _state(one), "root": state_root(GENESIS_HASH, one).hex()} for one in ({}, *states())]
    return {"sets": sets, "genesis_hash": GENESIS_HASH.hex(), "states": whole}


def trace_vectors() -> Any:
    """The traces of five blocks, the first being start_block of a genesis with round_length 20."""
    blocks = []
    before = ZERO
    old: State = {}
    for at, state in enumerate(states()):
        block_id = state["meta"][("head",)][1]
        listed = changes(old, state)
        made = genesis_trace(block_id, state) if at == 0 else trace(before, block_id, listed)
        blocks.append(
            {
                "height": 20 + at,
                "before": before.hex(),
                "block_id": block_id.hex(),
                "changes": [[name, key.hex(), None if value is None else value.hex()] for name, key, value in listed],
                "trace": made.hex(),
            }
        )
        before, old = (state_root(GENESIS_HASH, state) if at == 0 else made), state
    return {"genesis_hash": GENESIS_HASH.hex(), "round_length": 20, "blocks": blocks}


def genesis_vectors() -> Any:
    """Documents with their hash and the bytes that are hashed."""
    made = []
    for name, document in (("short", documents.plain()), ("everything written out", documents.full())):
        whole = documents.with_pops(document)
        made.append(
            {
                "name": name,
                "document": documents.toml_of(whole),
                "packed": encode(["genesis", canonical_map(whole)]).hex(),
                "hash": genesis_hash(whole).hex(),
            }
        )
    return made


def pop_vectors() -> Any:
    """Pops that hold, and some that do not."""
    made = []
    for account in ("alice", "bob.b-2", "a-very-long-name"):
        secret = f"throw-away key of {account} in the vectors"
        key, told = throw_away(secret), pop_digest(GENESIS_HASH, account)
        good = sign(key, told)
        for what, pop in (
            ("by the key", good),
            ("high s", flip_s(good)),
            ("another recovery id", bytes([((good[0] - 31) ^ 1) + 31]) + good[1:]),
            ("for another account", sign(key, pop_digest(GENESIS_HASH, "mallory"))),
            ("for another genesis", sign(key, pop_digest(bytes(32), account))),
            ("first byte 27..30", bytes([good[0] - 4]) + good[1:]),
            ("r is zero", good[:1] + bytes(32) + good[33:]),
        ):
            made.append(
                {
                    "what": what,
                    "secret_is_sha256_of": secret,
                    "account": account,
                    "signing_key": key_text(public(key)),
                    "digest": told.hex(),
                    "pop": pop.hex(),
                    "valid": check_pop(GENESIS_HASH, account, public(key), pop),
                }
            )
    return {"genesis_hash": GENESIS_HASH.hex(), "pops": made}


def _proof(proof: SetProof | None) -> Any:
    if proof is None:
        return None
    end = None if proof.end is None else [part.hex() for part in proof.end]
    return {"siblings": [sibling.hex() for sibling in proof.siblings], "end": end}


def proof_vectors() -> Any:
    """Proofs in sets (v is null for absence) and in a state (without by_key where the table has no entries)."""
    sets = []
    for size in (0, 1, 2, 17, 300):
        pairs = table_pairs(entries(size))
        root = set_root(pairs).hex()
        held = dict(pairs)
        wanted = [k for k, _ in pairs[:3]] + [digest(b"absent %d" % at) for at in range(3)]
        for k in wanted:
            v = held[k].hex() if k in held else None
            sets.append({"size": size, "root": root, "k": k.hex(), "v": v, **_proof(prove_set(pairs, k))})
    state = states()[2]
    inside = []
    for table, key in (("queue", (2,)), ("queue", (3,)), ("meta", ("head",)), ("done", (1,))):
        made = prove_state(state, table, key)
        value = state.get(table, {}).get(key)
        inside.append(
            {
                "table": table,
                "key": encode(list(key)).hex(),
                "value": None if value is None else encode(list(value)).hex(),
                "by_name": _proof(made.by_name),
                "by_key": _proof(made.by_key),
            }
        )
    whole = {"genesis_hash": GENESIS_HASH.hex(), "tables": _state(state), "root": state_root(GENESIS_HASH, state).hex()}
    return {"sets": sets, "state": {**whole, "proofs": inside}}


def texts() -> dict[str, str]:
    """File name -> content."""
    made = {
        "root.json": root_vectors(),
        "trace.json": trace_vectors(),
        "genesis.json": genesis_vectors(),
        "pop.json": pop_vectors(),
        "proof.json": proof_vectors(),
    }
    return {name: json.dumps(value, indent=1, ensure_ascii=False) + "\n" for name, value in made.items()}


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        FOLDER.joinpath(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
