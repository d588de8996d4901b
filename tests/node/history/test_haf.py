"""The history of a HAF database: a real PostgreSQL, HAF's views, and blocks that were read elsewhere too."""

import dataclasses
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from node.devnet.founding import GROUP
from node.errors import FeedError
from node.history import haf
from node.history.haf import Haf
from node.history.haf_body import NOT_FETCHED, HafBody, keep
from node.history.haf_sql import TransactionRow
from processors.engine import apply_block
from processors.hive.authority import required_authorities
from processors.hive.block import Block, read_block
from processors.hive.chain import TYPED_SYMBOLS, Chain
from processors.hive.errors import HiveDataError, UnknownOperationError, UnprovenBlockError
from processors.hive.operations import Operation, pack_operation
from processors.hive.transaction import Transaction, pack_transaction, transaction_id
from state.schema import REJECTED
from state.store import MemoryStore
from tests.node.history.haf_filling import SCHEMA, fill, old
from tests.node.history.postgres import PASSWORD, Server, binaries, running
from tests.processors.blocks import (
    CHAIN,
    Stage,
    account_update,
    custom_json,
    custom_json_with_id,
    devnet_key,
    member,
    strict_authority,
    transfer,
)
from tests.processors.hostile_texts import BAD_TEXTS
from tests.vectors import MAINNET_2016, hived_blocks, hived_chain, mainnet_blocks

#: Where changes are judged nothing is skipped: without PostgreSQL these tests fail there.
pytestmark = pytest.mark.skipif(
    binaries() is None and os.environ.get("CI") != "true",
    reason="a HAF database needs PostgreSQL: neither initdb nor /usr/lib/postgresql is here",
)
PREFIX = "waggle_"
PAYOUT = {"to": "receiver", "amount": 5, "asset": "HIVE", "every": 7, "memo": "m"}


@dataclasses.dataclass(frozen=True)
class Database:
    """One that is filled, and how to reach it."""

    server: Server
    name: str

    def open(self, chain: Chain = CHAIN, group: str = GROUP, prefix: str = PREFIX, role: str = "reader") -> Haf:
        """As a role that may only read."""
        return Haf.open(self.server.dsn(self.name, role), chain, group, prefix)

    def execute(self, *queries: str) -> None:
        """As the superuser."""
        with self.server.connect(self.name) as connection:
            for query in queries:
                connection.execute(query)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as found:
        with found.connect() as connection:
            connection.execute("CREATE ROLE hive_applications_group")
            connection.execute(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}' IN ROLE hive_applications_group")
            connection.execute(f"CREATE ROLE nobody LOGIN PASSWORD '{PASSWORD}'")
        yield found


def filled(server: Server, name: str, blocks: list[Block], words: bytes = b"", *, as_of: str = "hafd") -> Database:
    server.create(name)
    with server.connect(name) as connection:
        connection.execute(SCHEMA if as_of == "hafd" else old(SCHEMA))  # type: ignore[call-overload]
        fill(connection, blocks, words, as_of)
    return Database(server, name)


@pytest.fixture(scope="module")
def made(server: Server) -> Database:
    """The chain of ``stage``; nobody changes it. Its virtual operations name the group and its prefix."""
    return filled(server, "made", stage().blocks, b"\x09the-group\x0cwaggle_report")


@pytest.fixture
def own(server: Server, made: Database) -> Iterator[Database]:
    """A copy of ``made`` that a test may change."""
    server.create("own", made.name)
    yield Database(server, "own")
    with server.connect() as connection:
        connection.execute("DROP DATABASE own WITH (FORCE)")


def foreign(stage: Stage, *, count: int = 3) -> Transaction:
    """A transaction of strangers, signed by two, that mentions the group where nobody acts or receives."""
    operations = [
        transfer("alice", "bobby"),
        custom_json_with_id("other", '{"to":"the-group"}', active=("carol",)),
    ]
    operations += [transfer("bobby", "carol", number) for number in range(1, count - 1)]
    return signed(stage, *operations)


def signed(stage: Stage, *operations: Operation, count: int = 2) -> Transaction:
    """A transaction with so many signatures, the highest first."""
    signatures = tuple(b"\x1f" + bytes([200 - number]) * 64 for number in range(count))
    return replace(stage.maker.transaction(*operations), signatures=signatures)


@cache
def stage() -> Stage:
    """A group that reports, signs, rejects and follows a member's key, with strangers before and behind each of it."""
    found = Stage(payouts=[PAYOUT], parameters={"header_min_left": 60, "payload_lifetime": 120, "max_rejections": 40})
    params, extra, later = found.genesis.params, member("extra"), devnet_key("a later key")
    while found.height < 165:
        due = (found.height + 1) % params.round_length == params.report_at + 2
        own = [found.report(who) for who in found.members] if due else []
        found.block(foreign(found), *own, foreign(found, count=2 + found.height % 4))
    joined = found.node_add("extra", extra.signing_key, follow=True)
    found.block(foreign(found), joined, foreign(found), custom_json("extra", "report", "{}"))
    update = account_update("extra", active=strict_authority([later]), second=True)
    found.block(foreign(found), signed(found, transfer("alice", "bobby"), update), account_update("alice"))
    op, keys = found.records()[-1], [who.signing_key for who in found.members]
    found.block(found.submit(op, keys[0]), foreign(found), found.refuse(op, "runner02"), transfer("receiver", GROUP))
    hostile = [custom_json("runner01", "report", text) for text in BAD_TEXTS.values()]
    found.block(foreign(found), *hostile[:20], signed(found, transfer("alice", "bobby"), *hostile[20:]))
    found.block(signed(found, transfer(GROUP, "bobby"), custom_json(GROUP, "ms_signed", "{}"), count=4))
    found.block(found.submit(op, keys[2]), foreign(found), found.submit(op, keys[3]))
    found.run_to(215)
    return found


# -- the same as from elsewhere


@pytest.mark.parametrize("at_once", [1_000, 7])
def test_the_same_trace_at_every_height(made: Database, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haf, "BLOCKS_AT_ONCE", at_once)
    told, state = stage(), stage().new_state(MemoryStore())
    with made.open() as history:
        assert history.span() == (100, 215)
        for block, true in zip(history.blocks(101, 215), told.blocks[1:], strict=True):
            assert (block.id, block.header, block.number) == (true.id, true.header, true.number)
            apply_block(state, told.genesis, block)
            assert state.trace(block.number) == told.state.trace(block.number)
    places = [key for key, _ in state.walk(REJECTED)]
    assert places == [key for key, _ in told.state.walk(REJECTED)]
    assert len(places) > 30 and any(index > 20 for _, index in places)


def test_only_what_concerns_the_group_is_fetched(made: Database) -> None:
    with made.open() as history:
        read = list(history.blocks(100, 215))
    fetched = Counter[bool]()
    for block, true in zip(read, stage().blocks, strict=True):
        assert not block.is_whole and len(block.transactions) == len(true.transactions)
        for position, shown in enumerate(block.transactions):
            tx, packed, txid = true.transaction(position)
            assert len(shown["operations"]) == len(tx.operations)
            known = shown["operations"][0]["type"] != NOT_FETCHED
            fetched[known] += 1
            if not known:
                assert {one["type"] for one in shown["operations"]} == {NOT_FETCHED}
                assert [one.name for one in block.transaction(position)[0].operations] == [NOT_FETCHED] * len(
                    tx.operations
                )
                assert not {"the-group", "extra"} & {one.value.get("to", "") for one in tx.operations}
                continue
            found = block.transaction(position)
            assert (replace(found[0], signatures=()), *found[1:]) == (replace(tx, signatures=()), packed, txid)
            assert found[0].signatures[:1] == tx.signatures[:1]
            assert sorted(found[0].signatures) == sorted(tx.signatures)
    assert fetched[True] > 30 and fetched[False] > 130


def test_what_was_not_fetched_is_not_mentioned(made: Database) -> None:
    with made.open() as history:
        blocks = {block.number: block for block in history.blocks(100, 215)}
    words = (b"waggle_", b"the-group")
    assert not blocks[101].may_mention(words, (b"transfer", b"custom_json"))
    assert blocks[166].may_mention(words)
    update = blocks[167]
    assert not update.may_mention(words)
    assert update.may_mention((), (b"account_update",))
    assert update.may_mention((), (b"account_update",), lambda: ("nobody", "extra"))
    assert not update.may_mention((), (b"account_update",), lambda: ("nobody", "extr", "xtra"))


def test_no_block_of_it_can_be_proven(made: Database) -> None:
    with made.open() as history:
        assert "own-node" in history.caveat and history.name == "the HAF database 127.0.0.1/made"
        for block in history.blocks(160, 170):
            with pytest.raises(UnprovenBlockError):
                block.prove()
            with pytest.raises(HiveDataError):
                _ = block.transactions and block.merkle_root()


def genuine(raws: list[dict[str, Any]], chain: Chain) -> list[Block]:
    return [read_block(raw, chain) for raw in raws]


@pytest.mark.parametrize(
    ("name", "raws", "chain"),
    [
        ("hived", lambda: hived_blocks()["block_api"], hived_chain),
        ("mainnet", mainnet_blocks, lambda: MAINNET_2016),
    ],
)
def test_genuine_blocks_lack_nothing_that_an_account_did(
    server: Server, name: str, raws: Callable[[], list[dict[str, Any]]], chain: Callable[[], Chain]
) -> None:
    blocks = genuine(raws(), chain())
    database = filled(server, name, blocks)
    acts = Counter[str]()
    for block in blocks:
        for position in range(len(block.transactions)):
            acts.update(_named(block.transaction(position)[0]))
    assert acts
    ranked = [account for account, _ in acts.most_common()]
    for account in ranked[:3] + ranked[3 :: max(1, len(ranked) // 12)]:
        with database.open(chain(), account) as history:
            read = list(history.blocks(blocks[0].number, blocks[-1].number))
        _lacks_nothing(account, read, blocks)


def _lacks_nothing(account: str, read: list[Block], blocks: list[Block]) -> None:
    followed = {"account_update", "account_update2", "witness_update", "witness_set_properties"}
    for block, true in zip(read, blocks, strict=True):
        assert block.id == true.id
        for position in range(len(true.transactions)):
            tx, packed, txid = true.transaction(position)
            found = block.transaction(position)
            assert len(found[0].operations) == len(tx.operations)
            if account in _named(tx) or followed & {operation.name for operation in tx.operations}:
                assert (found[0].operations, *found[1:]) == (tx.operations, packed, txid)
                assert sorted(found[0].signatures) == sorted(tx.signatures)


def _named(tx: Transaction) -> set[str]:
    """Who acts in a transaction, and who receives."""
    required = required_authorities(tx.operations)
    found = {*required.posting, *required.active, *required.owner}
    for operation in tx.operations:
        fields = (operation.value.get(field) for field in ("to", "account_to_recover"))
        found.update(field for field in fields if isinstance(field, str))
    return found


def test_tables_that_stand_in_the_schema_hive(server: Server) -> None:
    database = filled(server, "old", stage().blocks, as_of="hive")
    with database.open() as history, database.open() as again:
        assert history.span() == (100, 215)
        assert [block.id for block in history.blocks(100, 215)] == [block.id for block in stage().blocks]
        assert sum(block.may_mention((b"waggle_",)) for block in again.blocks(100, 215)) > 5


# -- how far it reaches


def test_only_what_is_irreversible_counts(own: Database) -> None:
    own.execute("UPDATE hafd.hive_state SET consistent_block = 150")
    with own.open() as history:
        assert history.span() == (100, 150)
        assert [block.number for block in history.blocks(149, 150)] == [149, 150]
        assert list(history.blocks(150, 149)) == []
        for first, last in ((150, 151), (99, 100), (1, 5)):
            with pytest.raises(FeedError, match=r"100 to 150: wait until"):
                next(history.blocks(first, last))
        own.execute("UPDATE hafd.hive_state SET consistent_block = 151")
        assert [block.number for block in history.blocks(150, 151)] == [150, 151]


@pytest.mark.parametrize(
    "query",
    [
        "UPDATE hafd.hive_state SET consistent_block = NULL",
        "UPDATE hafd.hive_state SET consistent_block = 99",
        "DELETE FROM hafd.blocks",
        "DELETE FROM hafd.hive_state",
    ],
)
def test_an_empty_one(own: Database, query: str) -> None:
    own.execute(query)
    with own.open() as history:
        assert history.span() is None
        with pytest.raises(FeedError, match="irreversible are none"):
            next(history.blocks(100, 101))


# -- a database that contradicts itself

_FLIP = "set_byte({0}, 10, 255 - get_byte({0}, 10))"
_HERE = "WHERE block_num = 168"
#: The refusal and the strangers of block 168 stand at 2 and 1; a first operation, one behind it.
DAMAGES = {
    "another hash": f"UPDATE hafd.blocks SET hash = {_FLIP.format('hash')} WHERE num = 168",
    "another predecessor": f"UPDATE hafd.blocks SET prev = {_FLIP.format('prev')} WHERE num = 168",
    "another Merkle root": "UPDATE hafd.blocks SET transaction_merkle_root = hash WHERE num = 168",
    "another time": "UPDATE hafd.blocks SET created_at = created_at + interval '1 second' WHERE num = 168",
    "a time that is none": "UPDATE hafd.blocks SET created_at = 'infinity' WHERE num = 168",
    "a producer who is nobody": "UPDATE hafd.blocks SET producer_account_id = 999 WHERE num = 168",
    "extensions": """UPDATE hafd.blocks SET extensions = '[["version", "1.0.0"]]' WHERE num = 168""",
    "no extensions": "UPDATE hafd.blocks SET extensions = '{}' WHERE num = 168",
    "half a signature of the witness": "UPDATE hafd.blocks SET witness_signature = '\\x20' WHERE num = 168",
    "a gap": "DELETE FROM hafd.blocks WHERE num = 168",
    "another id": f"UPDATE hafd.transactions SET trx_hash = {_FLIP.format('trx_hash')} {_HERE} AND trx_in_block = 2",
    "another reference": f"UPDATE hafd.transactions SET ref_block_num = 7 {_HERE} AND trx_in_block = 2",
    "no reference": f"UPDATE hafd.transactions SET ref_block_num = 70000 {_HERE} AND trx_in_block = 2",
    "another expiration": f"UPDATE hafd.transactions SET expiration = '2020-01-01' {_HERE} AND trx_in_block = 2",
    "half a signature": f"UPDATE hafd.transactions SET signature = '\\x20' {_HERE} AND trx_in_block = 2",
    "no transaction": f"DELETE FROM hafd.transactions {_HERE} AND trx_in_block = 2",
    "no transaction of strangers": f"DELETE FROM hafd.transactions {_HERE} AND trx_in_block = 1",
    "no last transaction": f"DELETE FROM hafd.transactions {_HERE} AND trx_in_block = 3",
    "no transactions": f"DELETE FROM hafd.transactions {_HERE}",
    "nothing in it": f"DELETE FROM hafd.transactions {_HERE}; DELETE FROM hafd.operations WHERE id >> 32 = 168",
    "no operation": "DELETE FROM hafd.operations WHERE id >> 32 = 168 AND trx_in_block = 2",
    "no first operation": "DELETE FROM hafd.operations WHERE id >> 32 = 168 AND trx_in_block = 0",
    "no operation of strangers": "DELETE FROM hafd.operations WHERE id >> 32 = 168 AND trx_in_block = 1 AND op_pos = 0",
    "no last operation of strangers": """
        DELETE FROM hafd.operations WHERE id = (
            SELECT max(id) FROM hafd.operations WHERE id >> 32 = 168 AND trx_in_block = 1 AND id & 255 < 50)""",
    "no bytes of strangers": "UPDATE hafd.operations SET body_binary = NULL WHERE id >> 32 = 168 AND trx_in_block = 1",
    "other bytes of strangers": """
        UPDATE hafd.operations SET body_binary = set_byte(body_binary, 0, 3)
        WHERE id >> 32 = 168 AND trx_in_block = 1""",
    "empty bytes": "UPDATE hafd.operations SET body_binary = '' WHERE id >> 32 = 168 AND trx_in_block = 2",
    "other bytes": """
        UPDATE hafd.operations SET body_binary = set_byte(body_binary, length(body_binary::bytea) - 3, 65)
        WHERE id >> 32 = 168 AND trx_in_block = 2""",
    "bytes behind": """
        UPDATE hafd.operations SET body_binary = body_binary::bytea || '\\x00'::bytea
        WHERE id >> 32 = 168 AND trx_in_block = 2""",
    "another type": """
        UPDATE hafd.operations SET id = id + 16 WHERE id >> 32 = 168 AND trx_in_block = 3 AND id & 255 = 2""",
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_contradiction_is_named_with_its_block_and_the_remedy(own: Database, what: str) -> None:
    own.execute(*DAMAGES[what].split(";"))
    with own.open() as history, pytest.raises(FeedError, match=r"contradicts itself in block 168: .*: see that this"):
        list(history.blocks(160, 175))
    with own.open() as history:
        assert [block.number for block in history.blocks(160, 167)][-1] == 167


def test_a_block_of_another_fork(own: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = Stage().maker.fork()
    other = [twin.next_block() for _ in range(80)][67]
    assert other.number == 168
    own.execute(
        "DELETE FROM hafd.operations WHERE id >> 32 = 168",
        "DELETE FROM hafd.transactions WHERE block_num = 168",
        f"""UPDATE hafd.blocks SET hash = '\\x{other.id.hex()}', prev = '\\x{other.header.previous.hex()}',
            created_at = to_timestamp({other.timestamp}) AT TIME ZONE 'UTC', witness_signature =
            '\\x{other.header.signature.hex()}', transaction_merkle_root = '\\x{"00" * 20}' WHERE num = 168""",
    )
    for at_once in (1_000, 4):
        monkeypatch.setattr(haf, "BLOCKS_AT_ONCE", at_once)
        with own.open() as history, pytest.raises(FeedError, match="in block 168: it does not follow block 167"):
            list(history.blocks(164, 170))


def test_operations_of_another_hardfork(own: Database) -> None:
    own.execute("UPDATE hafd.operation_types SET name = 'hive::protocol::new_operation' WHERE id = 18")
    with pytest.raises(FeedError, match="the operation 18 is custom_json, this HAF database says new: name one"):
        own.open()


# -- one transaction


def test_both_packs_of_amounts() -> None:
    operation = transfer("alice", GROUP)
    body = bytearray()
    pack_operation(body, operation, TYPED_SYMBOLS)
    tx = Transaction(1, 2, 3, (operation,))
    for typed in (False, True):
        packed = pack_transaction(tx, CHAIN, typed=typed)
        row = TransactionRow(transaction_id(packed), 1, 2, 3, (), ((2, bytes(body)),))
        kept = keep(row, {2: "transfer"}, CHAIN)
        assert HafBody([1], {0: kept}, CHAIN).transaction(0) == (tx, packed, transaction_id(packed))


def test_an_operation_that_this_version_does_not_know() -> None:
    plain = bytearray()
    pack_operation(plain, custom_json("a", "report", "{}"), TYPED_SYMBOLS)
    joined = bytes(10) + b"\2" + bytes(plain) + b"\x32abc" + b"\0"
    row = TransactionRow(transaction_id(joined), 0, 0, 0, (), ((18, bytes(plain)), (50, b"\x32abc")))
    body = HafBody([1, 2], {1: keep(row, {18: "custom_json", 50: "a_new_one"}, CHAIN)}, CHAIN)
    assert [one["type"] for one in body.transactions()[1]["operations"]] == [
        "custom_json_operation",
        "a_new_one_operation",
    ]
    assert body.may_mention((b"waggle_",), (), None) and body.may_mention((), (b"a_new_one",), None)
    with pytest.raises(UnknownOperationError, match="a_new_one"):
        body.transaction(1)


# -- what is refused, and in which words


@pytest.mark.parametrize(
    ("role", "database", "remedy"),
    [
        ("nobody", "made", "GRANT hive_applications_group"),
        ("reader", "postgres", "name a HAF database of version 1.27.5 or later"),
        ("reader", "nowhere", "see that PostgreSQL runs there"),
        ("stranger", "made", "see that PostgreSQL runs there"),
    ],
)
def test_who_may_not_read(made: Database, role: str, database: str, remedy: str) -> None:
    with pytest.raises(FeedError, match=f"{remedy}") as no:
        Haf.open(made.server.dsn(database, role), CHAIN, GROUP, PREFIX)
    assert database in str(no.value) and PASSWORD not in str(no.value)


def test_nobody_listens(made: Database) -> None:
    with pytest.raises(FeedError, match=r"127\.0\.0\.1/made cannot be reached: .*see that PostgreSQL runs"):
        Haf.open(made.server.dsn(made.name, port="1"), CHAIN, GROUP, PREFIX)


SECRET = "hunter2"


@pytest.mark.parametrize(
    "dsn",
    [
        "host=127.0.0.1 port={port} dbname=made user=reader password=hunter2",
        "postgresql://reader:hunter2@127.0.0.1:{port}/made",
        "postgresql://reader:x@hunter2@127.0.0.1:{port}/made",
        "postgresql://reader:hunter2/x@127.0.0.1:{port}/made",
        "postgresql://reader:1/hunter2@127.0.0.1:{port}/made",
        "postgresql://reader:hunter2?x@127.0.0.1:{port}/made",
        "postgresql://reader:%hunter2@127.0.0.1:{port}/made",
        "postgresql:/reader:hunter2@127.0.0.1:{port}/made",
        "host=127.0.0.1 password=a hunter2 dbname=made",
        "host=127.0.0.1 password=a hunter2=b dbname=made",
        "host=127.0.0.1 password='hunter2 dbname=made",
        "host=127.0.0.1 port=hunter2 dbname=made",
        "host=127.0.0.1 password=hunter2\0 dbname=made",
        "hunter2",
    ],
)
def test_no_error_holds_the_password(made: Database, dsn: str) -> None:
    with pytest.raises(FeedError) as no:
        Haf.open(dsn.format(port=made.server.port), CHAIN, GROUP, PREFIX)
    shown: BaseException | None = no.value
    while shown is not None:
        assert SECRET not in f"{shown} {shown!r}"
        shown = shown.__cause__
    assert ": see that PostgreSQL runs there" in str(no.value) or "write postgresql://" in str(no.value)


def test_without_the_driver(made: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(FeedError, match=r"pip install 'psycopg\[binary\]'"):
        made.open()


def test_nothing_is_asked_without_a_group(made: Database) -> None:
    for group, prefix in (("", PREFIX), (GROUP, "")):
        with pytest.raises(FeedError, match="needs the group's account and prefix"):
            made.open(group=group, prefix=prefix)


def test_a_connection_that_ends_in_the_middle(own: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haf, "BLOCKS_AT_ONCE", 10)
    with own.open() as history:
        blocks = history.blocks(100, 215)
        next(blocks)
        own.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'")
        with pytest.raises(FeedError, match=r"the connection is lost .*: see that PostgreSQL runs, and begin again"):
            list(blocks)


def test_a_query_that_takes_too_long(own: Database) -> None:
    with own.open() as history:
        history._connection.execute("SET statement_timeout = 50")
        with own.server.connect(own.name) as other, other.transaction():
            other.execute("LOCK TABLE hafd.blocks")
            with pytest.raises(FeedError, match=r"timeout: see that HAF has built its indexes"):
                history.span()
        assert history.span() == (100, 215)


def test_it_cannot_write(own: Database) -> None:
    with own.open(role="postgres") as history, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        history._connection.execute("DELETE FROM hafd.blocks")


def test_hostile_names_are_bound(made: Database) -> None:
    for words in ("'); DROP SCHEMA hive; --", "%s", "%(first)s", "\\x00", "a\0b"):
        with made.open(group=words[:16], prefix=words) as history:
            assert not any(block.may_mention((b"waggle_",)) for block in history.blocks(100, 110))


def test_json_that_postgresql_cannot_hold_arrives_as_it_stands(made: Database) -> None:
    with made.open() as history:
        (block,) = history.blocks(169, 169)
    texts = [
        operation.value["json"]
        for position in range(len(block.transactions))
        for operation in block.transaction(position)[0].operations
        if operation.name == "custom_json"
    ]
    assert texts == list(BAD_TEXTS.values())
    assert any("\0" in text for text in texts) and json.dumps(texts)
