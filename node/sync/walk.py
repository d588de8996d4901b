"""Down two trees beside each other: which entries differ, by hashes alone (protocol section 9).

Each page and bucket is held against the hash above it, so what is found hangs on the two roots. A tree is not laid out
in one way only: where one side has a page, the other may have a bucket. Hashes are the same either way.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from node.sync.sides import Side
from node.sync.wire import Branch, Page
from state.merkle import ZERO, Entry, root_of

#: Entries that are named, and requests that are made of each side, at the most.
MOST_ENTRIES, MOST_REQUESTS = 10, 400
_MANY = 2
_DEEPEST = 63  # nibbles of the path of a page


class Part(NamedTuple):
    """What lies below a path on one side; ``entries`` where a bucket (or nothing) was seen there or above."""

    hashed: bytes
    entries: list[Entry] | None = None


class Differing(NamedTuple):
    """An entry that differs: sha256 of the key, and of the values on both sides (None = absent)."""

    table: str
    k: bytes
    ours: bytes | None
    theirs: bytes | None


class Walk:
    """A walk at ``height``. ``tell`` hears the number of requests now and then."""

    def __init__(self, ours: Side, theirs: Side, height: int, tell: Callable[[str], None]) -> None:
        self._sides = ours, theirs
        self._height = height
        self._tell = tell
        self._asked = 0

    async def differing(self, table: str, ours: bytes, theirs: bytes, most: int) -> list[Differing]:
        """Up to ``most`` entries of a table that differ, its roots being these. Raises PeerError, StateError."""
        found: list[Differing] = []
        todo: list[tuple[bytes, Part, Part]] = [(b"", _part(ours), _part(theirs))]
        while todo and len(found) < most and self._asked < MOST_REQUESTS:
            path, one, other = todo.pop()
            if one.hashed == other.hashed:
                continue
            below = [
                await self._below(side, table, path, part) for side, part in zip(self._sides, (one, other), strict=True)
            ]
            if isinstance(below[0], list) and isinstance(below[1], list):
                found += _differing(table, below[0], below[1])
                continue
            for nibble in range(15, -1, -1):  # the lowest is taken first
                todo.append((path + bytes([nibble]), _child(below[0], path, nibble), _child(below[1], path, nibble)))
        return found[:most]

    async def _below(self, side: Side, table: str, path: bytes, part: Part) -> Branch:
        """What lies at ``path``, held against its hash."""
        if part.entries is not None:
            return part.entries
        self._asked += 1
        self._tell(f"walking down {table}: {self._asked} pages")
        branch = await side.branch(self._height, table, path)
        where = f"{table}/{''.join(f'{nibble:x}' for nibble in path)} at {self._height}"
        is_right = _is_page(branch, path) if isinstance(branch, Page) else _is_bucket(branch, path)
        if not is_right or _hash_of(branch, path) != part.hashed:
            raise side.accuse(f"what lies at {where} has not the hash that stands above it")
        return branch


def _part(hashed: bytes) -> Part:
    return Part(hashed, [] if hashed == ZERO else None)


def _nibble(k: bytes, index: int) -> int:
    return k[index >> 1] >> (0 if index & 1 else 4) & 15


def _child(branch: Branch, path: bytes, nibble: int) -> Part:
    """What lies in one slot: of a bucket the entries that a page would have below it."""
    if isinstance(branch, Page):
        return _part(branch.hashes[nibble])
    entries = [entry for entry in branch if _nibble(entry[0], len(path)) == nibble]
    return Part(root_of(entries, 4 * len(path) + 4), entries)


def _is_bucket(entries: list[Entry], path: bytes) -> bool:
    keys = [k for k, _ in entries]
    return keys == sorted(set(keys)) and all(
        _nibble(k, index) == nibble for k in keys for index, nibble in enumerate(path)
    )


def _is_page(page: Page, path: bytes) -> bool:
    slots = zip(page.kinds, page.hashes, strict=True)
    return len(path) <= _DEEPEST and all(
        (kind & 3 == 0) == (hashed == ZERO) and kind & 3 <= _MANY for kind, hashed in slots
    )


def _hash_of(branch: Branch, path: bytes) -> bytes:
    """The hash of a page or a bucket, from what it shows of the slots or the entries."""
    if not isinstance(branch, Page):
        return root_of(branch, 4 * len(path))
    nodes = [(kind & 3, hashed) for kind, hashed in zip(branch.kinds, branch.hashes, strict=True)]
    while len(nodes) > 1:
        nodes = [_joined(*pair) for pair in zip(nodes[::2], nodes[1::2], strict=True)]
    return nodes[0][1]


def _joined(left: tuple[int, bytes], right: tuple[int, bytes]) -> tuple[int, bytes]:
    """(count of entries: 0, 1, 2 = more; hash) of what lies below two neighbours."""
    count = left[0] + right[0]
    if count > 1:
        return _MANY, sha256(b"\1" + left[1] + right[1]).digest()
    return left if left[0] else right


def _differing(table: str, ours: list[Entry], theirs: list[Entry]) -> list[Differing]:
    one, other = dict(ours), dict(theirs)
    keys = sorted(k for k in one.keys() | other.keys() if one.get(k) != other.get(k))
    return [Differing(table, k, one.get(k), other.get(k)) for k in keys]
