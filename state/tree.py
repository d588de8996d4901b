"""A large set of entries in a store, so that an update of its root costs O(changed keys x log n).

Pages of four levels, 31 nodes each, lie over buckets of up to 32 entries. A page is 31 bytes of kinds, then 31 hashes:
siblings lie side by side, so that a pair is hashed from one slice. Pages stay in memory as far as they fit, and a
bucket is one read: that keeps an update of a million keys near that of a thousand.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from hashlib import sha256

from state.merkle import ZERO, Entry, Proof, bit, root_of, way_down

_LEAVES = 15  # the first of the 16 slots in a page's heap of 31 nodes
_HASHES = 31  # where the hashes begin
_PAGE = _HASHES + 31 * 32
_BUCKET_MAX = 32
_CACHED_PAGES = 8192
# kinds: the low two bits count the entries below (0, 1, 2 = more), bit 2 says "a page, not a bucket"
_MANY, _CHILD = 2, 4

Changes = list[tuple[bytes, bytes | None]]


class Tree:
    """The tree of one table.

    ``read(path)`` returns the stored bytes of a path or None, ``write(path, bytes or None)`` stores or deletes;
    a path is a string of nibbles, one a byte, after a letter: P for a page, B for a bucket.
    """

    def __init__(self, read: Callable[[bytes], bytes | None], write: Callable[[bytes, bytes | None], None]) -> None:
        self._read = read
        self._write = write
        self._pages: dict[bytes, bytearray] = {}

    def root(self) -> bytes:
        """The root of the whole set."""
        return _hash(self._page(b""), 0)

    def update(self, changes: Iterable[tuple[bytes, bytes | None]]) -> bytes:
        """Apply (k, v or None = delete), each k once, and return the new root.

        Into an empty part of the tree everything goes at once: many entries are built so, not put in one by one.
        """
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
                return Proof(tuple(siblings), self._entry_below(path, page, 0))
            node = 0
            for level in range(4):
                child = 2 * node + 1 + bit(k, 4 * len(path) + level)
                siblings.append(_hash(page, 4 * node + 3 - child))
                node = child
                if page[node] & 3 < _MANY:
                    return Proof(tuple(siblings), self._entry_below(path, page, node))
            path += bytes([node - _LEAVES])
            if not page[node] & _CHILD:
                more, end = way_down(self._bucket(path), k, 4 * len(path))
                return Proof((*siblings, *more), end)

    def nodes(self, path: bytes) -> bytes:
        """The page at ``path`` (31 kinds, 31 hashes): what two replicas compare walking down."""
        return bytes(self._page(path))

    def find_page(self, path: bytes) -> bytes | None:
        """The page at ``path`` if there is one: a path may have a bucket instead, or nothing."""
        page = self._pages.get(path) or self._read(b"P" + path)
        return bytes(page) if page is not None and page[0] else None

    def find_bucket(self, path: bytes) -> list[Entry] | None:
        """The entries of the bucket at ``path`` (up to 32, sorted), if there is one."""
        return self._bucket(path) or None

    def overlay(self) -> "Tree":
        """A tree that begins as this one does now; its updates stay in memory and leave this one as it is."""
        written: dict[bytes, bytes | None] = {}

        def read(path: bytes) -> bytes | None:
            if path in written:
                return written[path]
            return self.find_page(path[1:]) if path[:1] == b"P" else self._read(path)

        return Tree(read, written.__setitem__)

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
        while page[node]:
            if node >= _LEAVES:
                path += bytes([node - _LEAVES])
                if not page[node] & _CHILD:
                    return self._bucket(path)[0]
                page, node = self._page(path), 0
            else:
                node = 2 * node + (1 if page[2 * node + 1] else 2)
        return None

    def _update_page(self, path: bytes, changes: Changes) -> tuple[int, bytes]:
        """Apply sorted changes below ``path``; returns (count of entries: 0, 1, 2 = more; root)."""
        page = self._page(path)
        touched = []
        for nibble, part in _by_nibble(changes, len(path)):
            node = _LEAVES + nibble
            page[node], hashed = self._update_slot(path + bytes([nibble]), page[node], part)
            page[_HASHES + 32 * node : _HASHES + 32 * node + 32] = hashed
            touched.append(node)
        _rehash(page, touched)
        self._write(b"P" + path, bytes(page) if page[0] else None)
        return page[0], _hash(page, 0)

    def _update_slot(self, path: bytes, kind: int, changes: Changes) -> tuple[int, bytes]:
        """Apply changes to a slot of a page; returns its new kind and hash."""
        if kind & _CHILD:
            count, hashed = self._update_page(path, changes)
            return (count | _CHILD if count else 0), hashed
        if kind:
            entries = self._bucket(path)
            for k, v in changes:
                at = bisect_left(entries, (k,))
                present = at < len(entries) and entries[at][0] == k
                if v is not None:
                    entries[at : at + present] = [(k, v)]
                elif present:
                    del entries[at]
        else:
            entries = [(k, v) for k, v in changes if v is not None]
        if len(entries) > _BUCKET_MAX:
            if kind:
                self._write(b"B" + path, None)
            count, hashed = self._update_page(path, list(entries))
            return count | _CHILD, hashed
        self._write(b"B" + path, b"".join([part for entry in entries for part in entry]) or None)
        return min(len(entries), _MANY), root_of(entries, 4 * len(path))


def _hash(page: bytearray, node: int) -> bytes:
    at = _HASHES + 32 * node
    return bytes(page[at : at + 32])


def _by_nibble(changes: Changes, index: int) -> list[tuple[int, Changes]]:
    """Sorted changes in groups of one nibble at ``index``."""
    at, shift = index >> 1, 0 if index & 1 else 4
    if len(changes) == 1:  # by far the most, down where the tree is wide
        return [(changes[0][0][at] >> shift & 15, changes)]
    groups: dict[int, Changes] = {}
    for change in changes:
        groups.setdefault(change[0][at] >> shift & 15, []).append(change)
    return list(groups.items())


def _rehash(page: bytearray, nodes: list[int]) -> None:
    """Recompute what lies above ``nodes`` (slots of ``page``, ascending)."""
    while nodes[0]:
        nodes = list(dict.fromkeys([(node - 1) >> 1 for node in nodes]))
        for node in nodes:
            left = 2 * node + 1
            here, below = _HASHES + 32 * node, _HASHES + 32 * left
            count = (page[left] & 3) + (page[left + 1] & 3)
            if count > 1:
                page[node] = _MANY
                page[here : here + 32] = sha256(b"\1" + page[below : below + 64]).digest()
            else:
                page[node] = count
                chosen = below if page[left] else below + 32
                page[here : here + 32] = page[chosen : chosen + 32] if count else ZERO
