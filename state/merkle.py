"""The root of a set of entries, its proofs, and their check (protocol section 9).

Of a set of entries (k, v), seen at bit d (0 = the highest bit of k): none: 32 zero bytes; one:
sha256(0x00 || k || v); more: sha256(0x01 || root of those with bit d = 0 || root of those with bit d = 1).

``root_of`` says it in a few lines for small sets. ``Tree`` keeps a large set in a store, in pages of four
levels, so that an update costs O(changed keys x log n). ``verify`` needs no store.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from hashlib import sha256

import msgspec

from state.codec import H
from state.errors import ProofError

ZERO = bytes(32)
Entry = tuple[bytes, bytes]  # (k, v), 32 bytes each

_SLOT = 33  # one byte of kind, 32 of hash
_LEAVES = 15  # index of the first slot in a page's heap of 31 nodes
_PAGE = 31 * _SLOT
_BUCKET_MAX = 16
_CACHED_PAGES = 8192
# kinds: the low two bits count the entries below (0, 1, 2 = more), bit 2 says "a page, not a bucket"
_MANY, _CHILD = 2, 4


def bit(k: bytes, d: int) -> int:
    """Bit ``d`` of ``k``, 0 being the highest."""
    return k[d >> 3] >> (7 - (d & 7)) & 1


def leaf(k: bytes, v: bytes) -> bytes:
    """The root of the set with the one entry (k, v)."""
    return sha256(b"\0" + k + v).digest()


def root_of(entries: list[Entry], d: int = 0) -> bytes:
    """The root of ``entries``, sorted by k and alike in their first ``d`` bits."""
    if len(entries) < 2:
        return leaf(*entries[0]) if entries else ZERO
    ones = _split(entries, d)
    return sha256(b"\1" + root_of(entries[:ones], d + 1) + root_of(entries[ones:], d + 1)).digest()


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
    siblings, end = _way_down(entries, k, 0)
    return Proof(tuple(siblings), end)


def _way_down(entries: list[Entry], k: bytes, d: int) -> tuple[list[bytes], Entry | None]:
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


class Tree:
    """A large set of entries in a store: pages of four levels (31 nodes), buckets of up to 16 entries below.

    ``read(path)`` returns the stored bytes of a path or None, ``write(path, bytes or None)`` stores or deletes;
    a path is a string of nibbles, one a byte, after a letter: P for a page, B for a bucket.
    """

    def __init__(self, read: Callable[[bytes], bytes | None], write: Callable[[bytes, bytes | None], None]) -> None:
        self._read = read
        self._write = write
        self._pages: dict[bytes, bytearray] = {}

    def root(self) -> bytes:
        """The root of the whole set."""
        return bytes(self._page(b"")[1:_SLOT])

    def update(self, changes: Iterable[tuple[bytes, bytes | None]]) -> bytes:
        """Apply (k, v or None = delete) and return the new root."""
        ordered = sorted(changes, key=lambda change: change[0])
        if ordered:
            self._update_page(b"", ordered)
        return self.root()

    def proof(self, k: bytes) -> Proof:
        """A proof of presence or absence of ``k``."""
        siblings: list[bytes] = []
        path = b""
        while True:
            page = self._page(path)
            if page[0] < _MANY:  # at most one entry below: the way ends here
                return Proof(tuple(siblings), self._only_entry(path, page))
            node = 0
            for level in range(4):
                d = 4 * len(path) + level
                child = 2 * node + 1 + bit(k, d)
                other = 4 * node + 3 - child
                siblings.append(bytes(page[other * _SLOT + 1 : other * _SLOT + _SLOT]))
                node = child
                if page[node * _SLOT] & 3 < _MANY:
                    return Proof(tuple(siblings), self._entry_below(path, page, node))
            path += bytes([node - _LEAVES])
            if not page[node * _SLOT] & _CHILD:
                more, end = _way_down(self._bucket(path), k, 4 * len(path))
                return Proof((*siblings, *more), end)

    def nodes(self, path: bytes) -> bytes:
        """The 31 nodes (kind, hash) of the page at ``path``: what two replicas compare walking down."""
        return bytes(self._page(path))

    def _page(self, path: bytes) -> bytearray:
        page = self._pages.get(path)
        if page is None:
            if len(self._pages) >= _CACHED_PAGES:
                self._pages.clear()
            page = bytearray(self._read(b"P" + path) or bytes(_PAGE))
            self._pages[path] = page
        return page

    def _bucket(self, path: bytes) -> list[Entry]:
        raw = self._read(b"B" + path) or b""
        return [(raw[at : at + 32], raw[at + 32 : at + 64]) for at in range(0, len(raw), 64)]

    def _entry_below(self, path: bytes, page: bytearray, node: int) -> Entry | None:
        """The entry below a node that has none or one."""
        while node < _LEAVES:
            if not page[node * _SLOT]:
                return None
            node = 2 * node + (1 if page[(2 * node + 1) * _SLOT] else 2)
        kind = page[node * _SLOT]
        if not kind:
            return None
        below = path + bytes([node - _LEAVES])
        return self._only_entry(below, self._page(below)) if kind & _CHILD else self._bucket(below)[0]

    def _only_entry(self, path: bytes, page: bytearray) -> Entry | None:
        return self._entry_below(path, page, 0)

    def _update_page(self, path: bytes, changes: list[tuple[bytes, bytes | None]]) -> tuple[int, bytes]:
        """Apply sorted changes below ``path``; returns (count of entries: 0, 1, 2 = more; root)."""
        page = self._page(path)
        depth = len(path)
        touched = set()
        at = 0
        while at < len(changes):
            nibble = _nibble(changes[at][0], depth)
            start = at
            while at < len(changes) and _nibble(changes[at][0], depth) == nibble:
                at += 1
            node = _LEAVES + nibble
            kind, hashed = self._update_slot(path + bytes([nibble]), page[node * _SLOT], changes[start:at])
            page[node * _SLOT] = kind
            page[node * _SLOT + 1 : (node + 1) * _SLOT] = hashed
            touched.add(node)
        _rehash(page, touched)
        self._write(b"P" + path, bytes(page) if page[0] else None)
        return page[0], bytes(page[1:_SLOT])

    def _update_slot(self, path: bytes, kind: int, changes: list[tuple[bytes, bytes | None]]) -> tuple[int, bytes]:
        if kind & _CHILD:
            count, hashed = self._update_page(path, changes)
            return (count | _CHILD if count else 0), hashed
        entries = self._bucket(path) if kind else []
        for k, v in changes:
            at = bisect_left(entries, (k,))
            present = at < len(entries) and entries[at][0] == k
            if v is not None:
                entries[at : at + present] = [(k, v)]
            elif present:
                del entries[at]
        if len(entries) > _BUCKET_MAX:
            if kind:
                self._write(b"B" + path, None)
            count, hashed = self._update_page(path, list(entries))
            return count | _CHILD, hashed
        self._write(b"B" + path, b"".join(k + v for k, v in entries) or None)
        return min(len(entries), _MANY), root_of(entries, 4 * len(path))


def _nibble(k: bytes, index: int) -> int:
    octet = k[index >> 1]
    return octet & 15 if index & 1 else octet >> 4


def _rehash(page: bytearray, nodes: set[int]) -> None:
    """Recompute what lies above ``nodes`` (slots of ``page``)."""
    while nodes != {0}:
        nodes = {(node - 1) >> 1 for node in nodes}
        for node in nodes:
            left = (2 * node + 1) * _SLOT
            right = left + _SLOT
            below_left, below_right = page[left] & 3, page[right] & 3
            here = node * _SLOT
            if below_left + below_right > 1:
                page[here] = _MANY
                pair = page[left + 1 : right] + page[right + 1 : right + _SLOT]
                page[here + 1 : here + _SLOT] = sha256(b"\1" + pair).digest()
            else:
                chosen = left if below_left else right
                page[here] = below_left or below_right
                page[here + 1 : here + _SLOT] = page[chosen + 1 : chosen + _SLOT]
