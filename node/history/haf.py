"""Blocks from HAF, Hive's own PostgreSQL database: it filters, so only what concerns a group is fetched (docs/haf.md).

Every header is fetched and hashed, every fetched transaction is hashed to its id. What the database left out cannot be
proven by anybody: it is believed, as one's own hived is.
"""

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from node.errors import FeedError
from node.history import haf_connection, haf_sql
from node.history.haf_body import HafBody, keep
from node.history.haf_connection import told
from node.history.haf_sql import HeaderRow, Rows, Wanted
from processors.hive.block import ZERO_ROOT, Block, read_block
from processors.hive.body import decode_json
from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError
from processors.hive.types import varint

if TYPE_CHECKING:
    from psycopg import Connection

#: Blocks that are held in memory at once: the most that Hive allows are 64 KiB each.
BLOCKS_AT_ONCE = 1_000
CAVEAT = (
    "what was filtered in the HAF database cannot be proven: it is trusted as your own node's "
    '(feed.trust = "own-node")'
)
_REMEDY = "see that this HAF keeps all operations (no psql-track-...), let it sync anew, or read another history"


class Haf:
    """The history (node/history/source.py) of a HAF database, for one group."""

    def __init__(self, connection: "Connection[Any]", name: str, chain: Chain, wanted: Wanted) -> None:
        self.name = name
        self.caveat = CAVEAT
        self._connection = connection
        self._chain = chain
        self._wanted = wanted

    @classmethod
    def open(cls, dsn: str, chain: Chain, group: str, prefix: str) -> "Haf":
        """The database of a DSN, for the group account ``group`` whose custom_json ids begin with ``prefix``.

        Raises FeedError, which never holds the DSN's password.
        """
        if not group or not prefix:
            raise FeedError(f"what is asked of HAF needs the group's account and prefix: {group!r}, {prefix!r}")
        connection, where = haf_connection.connect(dsn)
        name = f"the HAF database {where}"
        try:
            with told(name):
                haf_connection.prepare(connection)
                names = haf_sql.type_names(connection)
        except BaseException:
            connection.close()
            raise
        account = group.encode()
        return cls(connection, name, chain, Wanted(varint(len(account)) + account, prefix.encode(), names))

    def __enter__(self) -> "Haf":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def span(self) -> tuple[int, int] | None:
        """The first block that HAF keeps and the last irreversible one; a gap between is found by ``blocks``."""
        with told(self.name):
            return haf_sql.span(self._connection)

    def blocks(self, first: int, last: int) -> Iterator[Block]:
        """The blocks ``first`` to ``last``, all of them filtered. Raises FeedError."""
        found = self.span()
        if first <= last and (found is None or first < found[0] or last > found[1]):
            held = f"{found[0]} to {found[1]}" if found is not None else "none"
            raise FeedError(
                f"{self.name}: the blocks {first} to {last} are not all here, irreversible are {held}: "
                "wait until its hived has them, or read a history that holds them"
            )
        previous = None
        for start in range(first, last + 1, BLOCKS_AT_ONCE):
            for block in self._range(start, min(start + BLOCKS_AT_ONCE - 1, last)):
                if previous is not None and block.header.previous != previous.id:
                    raise self._wrong(block.number, f"it does not follow block {previous.number}")
                previous = block
                yield block

    def _range(self, first: int, last: int) -> Iterator[Block]:
        with told(self.name):
            rows = haf_sql.rows(self._connection, self._wanted, first, last)
        for number in range(first, last + 1):
            yield self._block(rows, number)

    def _block(self, rows: Rows, number: int) -> Block:
        row = rows.headers.get(number)
        if row is None:
            raise self._wrong(number, "it is missing, though there are later ones")
        try:
            header = read_block(_envelope(row), self._chain).header
        except HiveDataError as error:
            raise self._wrong(number, str(error)) from error
        if header.number != number:
            raise self._wrong(number, f"its prev is that of block {header.number}")
        count = rows.counts.get(number, 0)
        if (count == 0) != (header.merkle_root == ZERO_ROOT):
            raise self._wrong(number, f"it has {count} transactions under the Merkle root {header.merkle_root.hex()}")
        return Block(header, self._chain, self._body(rows, number, count))

    def _body(self, rows: Rows, number: int, count: int) -> HafBody:
        shape = rows.shapes.get(number)
        positions = shape.positions if shape is not None else []
        if positions != list(range(count)) or (shape is not None and not shape.whole):
            raise self._wrong(number, f"of its {count} transactions or their operations rows are missing")
        kept = {}
        for position in shape.wanted if shape is not None else ():
            found = rows.transactions.get((number, position))
            try:
                if found is None:
                    raise HiveDataError("its row is missing")
                kept[position] = keep(found, self._wanted.names, self._chain)
            except HiveDataError as error:
                raise self._wrong(number, f"transaction {position}: {error}") from error
        return HafBody(shape.counts if shape is not None else [], kept, self._chain)

    def _wrong(self, number: int, what: str) -> FeedError:
        return FeedError(f"{self.name} contradicts itself in block {number}: {what}: {_REMEDY}")


def _envelope(row: HeaderRow) -> dict[str, Any]:
    """The header as block_api gives it; read_block computes the id and holds it against the row's hash."""
    return {
        "previous": row.previous.hex(),
        "timestamp": row.timestamp,
        "witness": row.witness,
        "transaction_merkle_root": row.merkle_root.hex(),
        "extensions": decode_json((row.extensions or "[]").encode()),
        "witness_signature": row.signature.hex(),
        "block_id": row.hash.hex(),
    }
