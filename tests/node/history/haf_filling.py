"""Fills a HAF database as hived's sql_serializer does, from blocks that are read elsewhere.

Operations stand in it in the typed pack, whichever pack was signed; virtual ones stand between them and count in
op_pos; the first signature of a transaction stands in one table, the others without order in another.
"""

import json
from pathlib import Path
from typing import Any

import psycopg

from processors.hive.block import Block, show_header
from processors.hive.chain import TYPED_SYMBOLS
from processors.hive.operations import TABLE, pack_operation
from processors.hive.times import time_to_text

SCHEMA = (Path(__file__).parent / "haf_schema.sql").read_text()
_VIRTUAL = ("fill_convert_request", "author_reward", "producer_reward")
_PRODUCER_REWARD = len(TABLE) + 2


def old(schema: str) -> str:
    """The schema as of 1.27.5: everything stands in ``hive``."""
    return (
        schema.replace("CREATE SCHEMA hafd;", "")
        .replace("hafd.hive_state", "hive.irreversible_data")
        .replace("hafd.", "hive.")
        .replace("SCHEMA hafd", "SCHEMA hive")
    )


def fill(connection: "psycopg.Connection[Any]", blocks: list[Block], words: bytes = b"", schema: str = "hafd") -> None:
    """The schema's tables with these blocks, all irreversible; ``words`` stand in every virtual operation."""
    tables: dict[str, list[tuple[Any, ...]]] = {
        name: [] for name in ("accounts", "blocks", "transactions", "transactions_multisig", "operations")
    }
    accounts: dict[str, int] = {}
    for block in blocks:
        producer = accounts.setdefault(block.header.witness, len(accounts) + 3)
        tables["blocks"].append(_block_row(block, producer))
        _fill_transactions(tables, block, words)
    tables["accounts"] = [(number, name, None) for name, number in accounts.items()]
    names = [(number, f"hive::protocol::{name}_operation", False) for number, (name, _) in enumerate(TABLE)]
    names += [(len(TABLE) + at, f"hive::protocol::{name}_operation", True) for at, name in enumerate(_VIRTUAL)]
    tables["operation_types"] = names
    state = "hive_state" if schema == "hafd" else "irreversible_data"
    tables[state] = [(1, blocks[-1].number if blocks else None, False)]
    with connection.cursor() as cursor:
        for name, rows in tables.items():
            with cursor.copy(f"COPY {schema}.{name} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        cursor.execute("ANALYZE")


def _block_row(block: Block, producer: int) -> tuple[Any, ...]:
    header = block.header
    extensions = show_header(header, typed=True)["extensions"]
    shown = json.dumps(extensions) if extensions else None
    at = time_to_text(header.timestamp)
    return block.number, block.id, header.previous, at, producer, header.merkle_root, shown, header.signature, "STM1"


def _fill_transactions(tables: dict[str, list[tuple[Any, ...]]], block: Block, words: bytes) -> None:
    place = 3  # what a block that failed before may leave behind

    def add(kind: int, position: int, op_pos: int, body: bytes) -> None:
        nonlocal place
        tables["operations"].append((block.number << 32 | place << 8 | kind, position, op_pos, body))
        place += 1

    for position in range(len(block.transactions)):
        tx, _, txid = block.transaction(position)
        op_pos = 0
        for operation in tx.operations:
            body = bytearray()
            pack_operation(body, operation, TYPED_SYMBOLS)
            add(body[0], position, op_pos, bytes(body))
            op_pos += 1
            if (place + position) % 2:
                add(len(TABLE), position, op_pos, bytes([len(TABLE)]) + words)
                op_pos += 1
        row = block.number, position, txid, tx.ref_block_num, tx.ref_block_prefix, time_to_text(tx.expiration)
        tables["transactions"].append((*row, tx.signatures[0] if tx.signatures else None))
        tables["transactions_multisig"] += [(txid, signature) for signature in tx.signatures[1:]]
    add(_PRODUCER_REWARD, -1, 1, bytes([_PRODUCER_REWARD]) + words)
