"""The root of a set of entries, its proofs, and their check (protocol section 9).

Of a set of entries (k, v), seen at bit d (0 = the highest bit of k): none: 32 zero bytes; one:
sha256(0x00 || k || v); more: sha256(0x01 || root of those with bit d = 0 || root of those with bit d = 1).

``root_of`` and ``prove`` serve small sets; state/tree.py keeps large ones in a store. ``verify`` needs no store.
"""

from hashlib import sha256

import msgspec

from state.codec import H
from state.errors import ProofError

ZERO = bytes(32)
Entry = tuple[bytes, bytes]  # (k, v), 32 bytes each


def bit(k: bytes, d: int) -> int:
    """Bit ``d`` of ``k``, 0 being the highest."""
    return k[d >> 3] >> (7 - (d & 7)) & 1


def leaf(k: bytes, v: bytes) -> bytes:
    """The root of the set with the one entry (k, v)."""
    return sha256(b"\0" + k + v).digest()


def root_of(entries: list[Entry], d: int = 0) -> bytes:
    """The root of ``entries``, sorted by k and alike in their first ``d`` bits."""
    return _root_between(entries, 0, len(entries), d) if entries else ZERO


def _root_between(entries: list[Entry], low: int, high: int, d: int) -> bytes:
    """The root of ``entries[low:high]``, at least one."""
    if high - low == 1:
        k, v = entries[low]
        return sha256(b"\0" + k + v).digest()
    at, mask = d >> 3, 128 >> (d & 7)
    ones = low
    while ones < high and not entries[ones][0][at] & mask:
        ones += 1
    if ones == low:
        return sha256(b"\1" + ZERO + _root_between(entries, low, high, d + 1)).digest()
    if ones == high:
        return sha256(b"\1" + _root_between(entries, low, high, d + 1) + ZERO).digest()
    left = _root_between(entries, low, ones, d + 1)
    return sha256(b"\1" + left + _root_between(entries, ones, high, d + 1)).digest()


def _split(entries: list[Entry], d: int) -> int:
    """Index of the first entry whose bit ``d`` is 1."""
    for index, entry in enumerate(entries):
        if entry[0][d >> 3] >> (7 - (d & 7)) & 1:
            return index
    return len(entries)


class Proof(msgspec.Struct, frozen=True, array_like=True):
    """The way to ``k`` in a set: siblings from the top down, and the entry where the way ends.

    ``entry`` is (k, v) itself for presence; the other entry, or None for an empty place, for absence.
    """

    siblings: tuple[bytes, ...]
    entry: tuple[bytes, bytes] | None


def prove(entries: list[Entry], k: bytes) -> Proof:
    """A proof of presence or absence of ``k`` among ``entries`` (sorted by k), from the entries alone."""
    siblings, end = way_down(entries, k, 0)
    return Proof(tuple(siblings), end)


def way_down(entries: list[Entry], k: bytes, d: int) -> tuple[list[bytes], Entry | None]:
    """Siblings on the way to ``k`` among sorted entries alike in their first ``d`` bits, and the entry at its end."""
    siblings = []
    while len(entries) > 1:
        ones = _split(entries, d)
        zero_side, one_side = entries[:ones], entries[ones:]
        here, there = (one_side, zero_side) if bit(k, d) else (zero_side, one_side)
        siblings.append(root_of(there, d + 1))
        entries, d = here, d + 1
    return siblings, entries[0] if entries else None


def verify(root: bytes, k: bytes, proof: Proof) -> bytes | None:
    """The v of ``k`` under ``root``, or None when the proof shows that ``k`` is absent.

    Raises ProofError if the proof does not lead to ``root``.
    """
    if folded(k, proof) != root:
        raise ProofError("the proof leads to another root")
    return proof.entry[1] if proof.entry is not None and proof.entry[0] == k else None


def folded(k: bytes, proof: Proof) -> bytes:
    """The root to which a proof for ``k`` leads. Raises ProofError if it can lead to none."""
    depth = len(proof.siblings)
    if depth > 256 or any(len(sibling) != 32 for sibling in proof.siblings):
        raise ProofError("a proof has at most 256 siblings of 32 bytes")
    if proof.entry is None:
        hashed = ZERO
    else:
        found, v = proof.entry
        if len(found) != 32 or len(v) != 32 or any(bit(found, d) != bit(k, d) for d in range(depth)):
            raise ProofError("the entry of the proof does not lie on the way to its key")
        hashed = leaf(found, v)
    for d in range(depth - 1, -1, -1):
        sibling = proof.siblings[d]
        pair = sibling + hashed if bit(k, d) else hashed + sibling
        hashed = sha256(b"\1" + pair).digest()
    return hashed


def verify_in_state(
    state_root: bytes, genesis_hash: bytes, table: str, key: bytes, within: Proof, of_table: Proof
) -> bytes | None:
    """sha256 of the value under ``key`` (canonical msgpack) of a table, or None where it is proven absent.

    ``within`` is the proof in the table, ``of_table`` that of the table in the state; it needs the state's root and the
    genesis hash alone. Raises ProofError.
    """
    name = sha256(table.encode()).digest()
    top = folded(name, of_table)
    if H(["root", genesis_hash, top]) != state_root:
        raise ProofError("the proof leads to another state root")
    table_root = verify(top, name, of_table)
    return verify(ZERO if table_root is None else table_root, sha256(key).digest(), within)
