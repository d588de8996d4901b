"""Proofs of presence and absence and their check, from docs/protocol.md section 9.

A proof is the siblings on the way down (the top one first) and what stands where the way ends: nothing, or an
entry (k, v). The way ends at the entry itself when it is present.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.reference.packing import H, encode
from tests.reference.roots import ZERO, Entries, Fields, Pair, bits, digest, set_root, state_pairs, table_pairs


@dataclass(frozen=True)
class SetProof:
    """The way to the place of one k in a set."""

    siblings: tuple[bytes, ...]
    end: Pair | None


@dataclass(frozen=True)
class StateProof:
    """The way to a table's name, and from there to a key; no second way where the table is not there."""

    by_name: SetProof
    by_key: SetProof | None


def prove_set(pairs: Sequence[Pair], k: bytes) -> SetProof:
    """The proof of what stands at ``k``."""
    way = bits(k)
    siblings: list[bytes] = []
    left = list(pairs)
    while len(left) > 1:
        depth = len(siblings)
        aside = [pair for pair in left if bits(pair[0])[depth] != way[depth]]
        left = [pair for pair in left if bits(pair[0])[depth] == way[depth]]
        siblings.append(set_root(aside, depth + 1))
    return SetProof(tuple(siblings), left[0] if left else None)


def root_by(proof: SetProof, k: bytes, v: bytes | None) -> bytes | None:
    """The root to which ``proof`` leads if ``v`` (None: nothing) stands at ``k``; None if it cannot speak of that."""
    way, depth = bits(k), len(proof.siblings)
    if depth > 256 or any(len(sibling) != 32 for sibling in proof.siblings):
        return None
    if proof.end is None:
        if v is not None:
            return None
        node = ZERO
    else:
        at, held = proof.end
        if len(at) != 32 or len(held) != 32 or bits(at)[:depth] != way[:depth]:
            return None
        if (at == k) is not (v is not None) or (v is not None and held != v):
            return None
        node = digest(b"\x00", at, held)
    for at_depth in range(depth - 1, -1, -1):
        sibling = proof.siblings[at_depth]
        node = digest(b"\x01", node, sibling) if way[at_depth] == "0" else digest(b"\x01", sibling, node)
    return node


def prove_state(state: Mapping[str, Entries], table: str, key: Fields) -> StateProof:
    """The proof of what stands under ``key`` of ``table``."""
    by_name = prove_set(state_pairs(state), digest(table.encode()))
    entries = state.get(table)
    return StateProof(by_name, prove_set(table_pairs(entries), digest(encode(list(key)))) if entries else None)


def check_state(
    root: bytes, genesis_hash: bytes, table: str, key: Fields, value: Sequence[object] | None, proof: StateProof
) -> bool:
    """Whether ``proof`` shows that in the state with ``root`` ``value`` (None: nothing) stands there."""
    table_root: bytes | None = None
    if proof.by_key is not None:
        v = None if value is None else digest(encode(list(value)))
        table_root = root_by(proof.by_key, digest(encode(list(key))), v)
        if table_root is None:
            return False
    elif value is not None:
        return False
    top = root_by(proof.by_name, digest(table.encode()), table_root)
    return top is not None and H(["root", genesis_hash, top]) == root
