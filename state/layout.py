"""Where things lie in a store: the first byte of a key says what it is.

Tables, trees and what is dirty are the state; traces, roots and undo records are kept beside it for a while.
"""

TABLES = b"t"  # + Table.store_key: value
DIRTY = b"d"  # + table name, 0, k: v, or nothing for a deleted entry; what the trees have not seen yet
TREES = b"m"  # + table name, 0, path: page or bucket
TRACES = b"x"  # + height: trace
ROOTS = b"r"  # + height: root
UNDO = b"u"  # + height: what the block changed
IDENTITY = b"!identity"  # format, genesis hash
TREES_AT = b"!trees"  # height of the round at whose end the trees in the store stand


def of_height(prefix: bytes, height: int) -> bytes:
    """The key of what is kept for one block."""
    return prefix + height.to_bytes(8, "big")


def of_tree(prefix: bytes, name: str) -> bytes:
    """The beginning of the keys of one table's tree, or of its dirty keys."""
    return prefix + name.encode() + b"\0"
