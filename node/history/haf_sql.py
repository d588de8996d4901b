"""What is asked of a HAF database. docs/haf.md says what each query means.

All text of the queries stands here; whatever comes from outside is a bound parameter.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from node.errors import FeedError
from processors.hive.operations import TABLE

if TYPE_CHECKING:
    from psycopg import Connection

#: Wherever they stand: a member's next key, and the keys that witnesses sign blocks with.
_ALWAYS = ("account_update", "account_update2", "witness_update", "witness_set_properties")

_TYPES = {
    False: "SELECT id::int, name FROM hive.operation_types WHERE NOT is_virtual ORDER BY id",
    True: "SELECT id::int, name FROM hafd.operation_types WHERE NOT is_virtual ORDER BY id",
}
_SPAN = """
    SELECT (SELECT min(num) FROM hive.irreversible_blocks_view WHERE num > 0), hive.app_get_irreversible_block()
"""
_HEADERS = """
    SELECT b.num, b.hash, b.prev, to_char(b.created_at, 'YYYY-MM-DD"T"HH24:MI:SS'), a.name::text,
           b.transaction_merkle_root, b.extensions::text, b.witness_signature
    FROM hive.irreversible_blocks_view b
    LEFT JOIN hive.irreversible_accounts_view a ON a.id = b.producer_account_id
    WHERE b.num BETWEEN %(first)s AND %(last)s
    ORDER BY b.num
"""
_COUNTS = """
    SELECT block_num, count(*)
    FROM hive.irreversible_transactions_view
    WHERE block_num BETWEEN %(first)s AND %(last)s
    GROUP BY block_num
"""
# id = block << 32 | place in the block << 8 | type, the places without a gap: a row that is gone shows. The first byte
# of an operation is its type, too: where the two differ it is fetched, and found to be wrong.
_SHAPES = """
    WITH op AS (
        SELECT block_num, trx_in_block, op_pos, op_type_id, body_binary, id >> 8 & 16777215 AS place,
               op_type_id = ANY(%(real)s::int[]) AS is_real
        FROM hive.irreversible_operations_view
        WHERE block_num BETWEEN %(first)s AND %(last)s
    ), tx AS (
        SELECT block_num, trx_in_block, count(*) AS places, min(place) AS lowest, max(place) AS highest,
               count(*) FILTER (WHERE is_real) AS operations,
               min(op_pos) FILTER (WHERE is_real) AS first_pos,
               bool_or(
                   substr(body_binary::bytea, 1, 1) IS DISTINCT FROM set_byte('\\x00', 0, op_type_id)
                   OR op_type_id = ANY(%(always)s::int[])
                   OR position(%(group)s::bytea IN body_binary::bytea) > 0
                   OR op_type_id = %(custom_json)s AND position(%(prefix)s::bytea IN body_binary::bytea) > 0
               ) FILTER (WHERE is_real) AS wanted
        FROM op
        GROUP BY block_num, trx_in_block
    )
    SELECT block_num,
           array_agg(trx_in_block::int ORDER BY trx_in_block) FILTER (WHERE operations > 0),
           array_agg(operations::int ORDER BY trx_in_block) FILTER (WHERE operations > 0),
           array_agg(trx_in_block::int ORDER BY trx_in_block) FILTER (WHERE wanted),
           sum(places) = max(highest) - min(lowest) + 1 AND coalesce(max(first_pos), 0) = 0
    FROM tx
    GROUP BY block_num
"""
_OPERATIONS = """
    SELECT o.block_num, o.trx_in_block::int, o.op_type_id::int, o.body_binary::bytea
    FROM hive.irreversible_operations_view o
    JOIN unnest(%(blocks)s::int[], %(positions)s::int[]) AS w (block_num, trx_in_block)
      ON o.block_num = w.block_num AND o.trx_in_block = w.trx_in_block
    WHERE o.block_num BETWEEN %(first)s AND %(last)s AND o.op_type_id = ANY(%(real)s::int[])
    ORDER BY o.block_num, o.trx_in_block, o.op_pos
"""
_TRANSACTIONS = """
    SELECT t.block_num, t.trx_in_block::int, t.trx_hash, t.ref_block_num, t.ref_block_prefix,
           extract(epoch FROM t.expiration)::bigint, t.signature,
           ARRAY(
               SELECT m.signature FROM hive.irreversible_transactions_multisig_view m
               WHERE m.trx_hash = t.trx_hash ORDER BY m.signature
           )
    FROM hive.irreversible_transactions_view t
    JOIN unnest(%(blocks)s::int[], %(positions)s::int[]) AS w (block_num, trx_in_block)
      ON t.block_num = w.block_num AND t.trx_in_block = w.trx_in_block
    WHERE t.block_num BETWEEN %(first)s AND %(last)s
"""

Place = tuple[int, int]  # (number of the block, position of the transaction in it)


class Wanted(msgspec.Struct, frozen=True):
    """Which transactions are fetched, as bytes that stand in the operations' own, and the numbers of their types."""

    group: bytes
    prefix: bytes
    names: dict[int, str]  # of all types that stand in transactions

    def parameters(self) -> dict[str, Any]:
        """What the queries ask for."""
        numbers = {name: number for number, name in self.names.items()}
        return {
            "group": self.group,
            "prefix": self.prefix,
            "real": sorted(self.names),
            "always": sorted(numbers[name] for name in _ALWAYS if name in numbers),
            "custom_json": numbers.get("custom_json", -1),
        }


class HeaderRow(msgspec.Struct, frozen=True):
    """A row of blocks_view, its producer by name."""

    number: int
    hash: bytes
    previous: bytes
    timestamp: str
    witness: str | None
    merkle_root: bytes
    extensions: str | None
    signature: bytes


class Shape(msgspec.Struct, frozen=True):
    """The transactions of a block as its operations show them: ``whole`` unless a row is seen to be gone."""

    positions: list[int]
    counts: list[int]
    wanted: list[int]
    whole: bool


class TransactionRow(msgspec.Struct, frozen=True):
    """A row of transactions_view with the signatures of both views; ``operations`` are (number of the type, bytes)."""

    hash: bytes
    ref_block_num: int
    ref_block_prefix: int
    expiration: int
    signatures: tuple[bytes, ...]
    operations: tuple[tuple[int, bytes | None], ...]


class Rows(msgspec.Struct, frozen=True):
    """All that is read of a range of blocks, by block."""

    headers: dict[int, HeaderRow]
    counts: dict[int, int]
    shapes: dict[int, Shape]
    transactions: dict[Place, TransactionRow]


# -- what is read


def type_names(connection: "Connection[Any]") -> dict[int, str]:
    """The operations that stand in transactions, by number. Raises FeedError if they are other ones than ours."""
    (split,) = _one(connection, "SELECT to_regclass('hafd.operation_types') IS NOT NULL")
    found = {
        number: name.rpartition("::")[2].removesuffix("_operation")
        for number, name in connection.execute(_TYPES[split]).fetchall()
    }
    for number, (name, _) in enumerate(TABLE):
        if found.get(number) != name:
            raise FeedError(
                f"the operation {number} is {name}, this HAF database says {found.get(number)}: "
                "name one that hived 1.27.5 or later has filled from its first block on"
            )
    return found


def span(connection: "Connection[Any]") -> tuple[int, int] | None:
    """The first block that is kept, and the last one that is irreversible and written whole."""
    first, last = _one(connection, _SPAN)
    return (first, last) if first is not None and last is not None and first <= last else None


def rows(connection: "Connection[Any]", wanted: Wanted, first: int, last: int) -> Rows:
    """All that is read of the blocks ``first`` to ``last``, of one moment."""
    given = wanted.parameters() | {"first": first, "last": last}
    with connection.transaction(), connection.cursor(binary=True) as cursor:
        headers = {row[0]: HeaderRow(*row) for row in cursor.execute(_HEADERS, given)}
        counts = dict(cursor.execute(_COUNTS, given).fetchall())
        shapes = {
            row[0]: Shape(row[1] or [], row[2] or [], row[3] or [], row[4]) for row in cursor.execute(_SHAPES, given)
        }
        places = [(number, position) for number, shape in sorted(shapes.items()) for position in shape.wanted]
        transactions: dict[Place, TransactionRow] = {}
        if places:
            given |= {"blocks": [place[0] for place in places], "positions": [place[1] for place in places]}
            operations: dict[Place, list[tuple[int, bytes | None]]] = {}
            for number, position, kind, body in cursor.execute(_OPERATIONS, given):
                operations.setdefault((number, position), []).append((kind, body))
            for number, position, txid, num, prefix, expiration, one, others in cursor.execute(_TRANSACTIONS, given):
                signatures = (() if one is None else (one,)) + tuple(others)
                found = tuple(operations.get((number, position), ()))
                transactions[number, position] = TransactionRow(txid, num, prefix, expiration, signatures, found)
    return Rows(headers, counts, shapes, transactions)


def _one(connection: "Connection[Any]", query: Any) -> tuple[Any, ...]:
    found: tuple[Any, ...] | None = connection.execute(query).fetchone()
    assert found is not None
    return found
