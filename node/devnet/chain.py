"""A Hive of one's own as a pure object: submit, produce(time); no I/O, no clock, no threads.

It answers transactions as hived does (docs and tests: hived_verdicts.md): validity, expiration, TaPoS, duplicates,
authorities before the first operation runs, resource credits, the pool's limit of custom operations, owner limits.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec

from node.devnet.checks import (
    POOL_LIFETIME,
    check_credits,
    check_expiration,
    check_tapos,
    count_custom,
    recover_keys,
)
from node.devnet.errors import AUTHORITY_NAMES, HivedRefusalError, require
from node.devnet.evaluate import evaluate
from node.devnet.ledger import Account, Ledger
from node.devnet.validate import validate
from processors.hive.authority import required_authorities, verify_authority
from processors.hive.block import Header, block_id, merkle_root, show_header, witness_digest
from processors.hive.chain import Chain
from processors.hive.crypto import public_key, sign
from processors.hive.errors import AuthorityError
from processors.hive.keys import public_key_to_text
from processors.hive.transaction import (
    Transaction,
    pack_signatures,
    pack_transaction,
    show_transaction,
    transaction_id,
)

BLOCK_INTERVAL = 3  # seconds
MAX_BLOCK_SIZE = 65_536
HEADER_SIZE = 124  # and the number of transactions, as the producer counts
INITIAL_WITNESS = "initminer"
_NOT_RECOVERED: frozenset[bytes] = frozenset({b"not recovered"})


class Pooled(msgspec.Struct, frozen=True):
    """A transaction as it waits or stands in a block: values, bytes as signed, id, and when the pool drops it."""

    tx: Transaction
    packed: bytes
    txid: bytes
    drop_at: int
    keys: frozenset[bytes]
    size: int


class Produced(msgspec.Struct, frozen=True):
    """A block of the devnet."""

    header: Header
    id: bytes
    transactions: tuple[Pooled, ...]


class ForkPoint(msgspec.Struct, frozen=True):
    """A block with the ledger after it."""

    number: int
    ledger: Any


class DevnetChain:
    """The chain: its ledger, which shows what waits in the pool as done; the pool; every block since block 1."""

    def __init__(self, chain: Chain, witness_secret: bytes, start_time: int, *, rules: int = 28, lag: int = 1) -> None:
        self.chain = chain
        self.rules = rules
        self.lag = lag
        self.witness_key = public_key(witness_secret)
        self._secret = witness_secret
        self.ledger = Ledger(chain, rules)
        self.ledger.witnesses = frozenset({INITIAL_WITNESS})
        self.blocks: list[Produced] = []
        self.included: dict[bytes, int] = {}  # txid -> block number
        self.held_at: int | None = None  # irreversibility stands still at this block
        self.pool: list[Pooled] = []
        self._start_time = start_time
        self._reached = 0
        self._pool_ids: set[bytes] = set()
        self._custom_counts: dict[str, int] = {}

    # -- what a client can ask

    @property
    def head_number(self) -> int:
        """The number of the newest block, 0 before the first."""
        return len(self.blocks)

    @property
    def head_time(self) -> int:
        """The timestamp of the newest block."""
        return self.blocks[-1].header.timestamp if self.blocks else self._start_time

    @property
    def head_id(self) -> bytes:
        """The id of the newest block."""
        return self.blocks[-1].id if self.blocks else bytes(20)

    @property
    def irreversible_number(self) -> int:
        """The newest block that cannot be undone: ``lag`` behind the head, or where it is held."""
        reached = max(0, self.head_number - self.lag)
        reached = reached if self.held_at is None else min(reached, self.held_at)
        return max(self._reached, reached)

    def block(self, number: int) -> Produced | None:
        """Block ``number``, or None if there is none yet."""
        return self.blocks[number - 1] if 1 <= number <= len(self.blocks) else None

    def show_block(self, number: int, *, typed: bool) -> dict[str, Any] | None:
        """Block ``number`` as JSON of condenser_api or, ``typed``, of block_api."""
        found = self.block(number)
        if found is None:
            return None
        transactions = []
        for index, entry in enumerate(found.transactions):
            shown = show_transaction(entry.tx, self.chain, typed=typed)
            if not typed:
                shown.update(transaction_id=entry.txid.hex(), block_num=number, transaction_num=index)
            transactions.append(shown)
        return {
            **show_header(found.header, typed=typed),
            "transactions": transactions,
            "block_id": found.id.hex(),
            "signing_key": public_key_to_text(self.witness_key, self.chain.address_prefix),
            "transaction_ids": [entry.txid.hex() for entry in found.transactions],
        }

    def status(self, txid: bytes) -> tuple[str, int]:
        """(status of transaction_status_api without an expiration, block number or 0)."""
        number = self.included.get(txid)
        if number is not None:
            inside = number <= self.irreversible_number
            return ("within_irreversible_block" if inside else "within_reversible_block"), number
        if txid in self._pool_ids:
            return "within_mempool", 0
        return "unknown", 0

    def amend(self, name: str, change: Callable[[Account], Account]) -> None:
        """Change an account as no transaction does; what waits in the pool is tried anew on it."""
        self.ledger.undo()
        self.ledger.put(change(self.ledger.account(name)))
        self.ledger.commit()
        self._refill_pool(self.pool)

    # -- what a client can do

    def add_account(self, account: Account) -> None:
        """Put an account into the ledger from nowhere: only for the beginning of a devnet."""
        self.ledger.accounts[account.name] = account

    def submit(self, tx: Transaction) -> bytes:
        """Take a transaction into the pool; returns its id. Raises HivedRefusalError."""
        typed, legacy = pack_transaction(tx, self.chain, typed=True), pack_transaction(tx, self.chain)
        if typed != legacy:
            try:
                return self._push(self._read(tx, typed))
            except HivedRefusalError as refusal:
                if refusal.name not in AUTHORITY_NAMES:
                    raise
        return self._push(self._read(tx, legacy))

    def produce(self, time: int | None = None) -> Produced:
        """Make the next block from the pool; ``time`` defaults to one interval after the head."""
        timestamp = self.head_time + BLOCK_INTERVAL if time is None else time
        self.ledger.undo()
        taken: list[Pooled] = []
        left: list[Pooled] = []
        size = HEADER_SIZE
        for entry in self.pool:
            fits = size + entry.size < MAX_BLOCK_SIZE and entry.drop_at >= timestamp
            if not fits or not self._succeeds(entry):
                left.append(entry)
                continue
            size += entry.size
            taken.append(entry)
        self.ledger.commit()
        block = self._sign_block(timestamp, taken)
        self.ledger.pass_time(timestamp)
        self._refill_pool(left)
        return block

    def fork_point(self) -> ForkPoint:
        """The chain as it is now, to switch back to while its newer blocks are not irreversible."""
        self.ledger.undo()
        point = ForkPoint(self.head_number, self.ledger.snapshot())
        self._refill_pool(self.pool)
        return point

    def switch_fork(self, point: ForkPoint) -> list[Produced]:
        """Undo the blocks after ``point``, as hived does when a longer fork comes: what they held waits in the pool.

        Returns them. Raises ValueError for a block that is irreversible.
        """
        if point.number < self.irreversible_number:
            raise ValueError(f"block {point.number} is below the irreversible {self.irreversible_number}")
        self._reached = self.irreversible_number  # what is irreversible stays so, also below a shorter fork
        orphans = self.blocks[point.number :]
        del self.blocks[point.number :]
        self.included = {txid: number for txid, number in self.included.items() if number <= point.number}
        self.ledger.restore(point.ledger)
        self._refill_pool([entry for block in orphans for entry in block.transactions] + self.pool)
        return orphans

    # -- inside

    def _sign_block(self, timestamp: int, taken: list[Pooled]) -> Produced:
        leaves = [sha256(entry.packed + pack_signatures(entry.tx.signatures)).digest() for entry in taken]
        header = Header(self.head_id, timestamp, INITIAL_WITNESS, merkle_root(leaves), (), b"")
        header = msgspec.structs.replace(header, signature=sign(self._secret, witness_digest(header)))
        block = Produced(header, block_id(header), tuple(taken))
        self.blocks.append(block)
        for entry in taken:
            self.included[entry.txid] = len(self.blocks)
            self.ledger.remember(entry.txid, entry.tx.expiration)
        return block

    def _refill_pool(self, left: list[Pooled]) -> None:
        """What found no place waits on, unless it is due or no longer valid."""
        self.pool, self._pool_ids, self._custom_counts = [], set(), {}
        for entry in left:
            if self.head_time < entry.drop_at:
                try:
                    self._push(entry)
                except HivedRefusalError:
                    continue

    def _succeeds(self, entry: Pooled) -> bool:
        """Whether a transaction of the pool still is valid by the time of the block before; then it is done."""
        try:
            self._apply(entry)
        except HivedRefusalError:
            return False
        return True

    def _read(self, tx: Transaction, packed: bytes) -> Pooled:
        size = len(packed) + len(pack_signatures(tx.signatures))
        limit = MAX_BLOCK_SIZE - 256
        too_large = f"Transaction too large - size = {size}, limit {limit}"
        require(size <= limit, "trx_size <= trx_size_limit", too_large)
        txid, drop_at = transaction_id(packed), min(tx.expiration, self.head_time + POOL_LIFETIME)
        if self.head_number == 0:
            drop_at = self.head_time + POOL_LIFETIME  # nothing is expired before block 1
        return Pooled(tx, packed, txid, drop_at, _NOT_RECOVERED, size)

    def _push(self, entry: Pooled) -> bytes:
        """hived's order: duplicates, the limit of custom operations, then everything else; into the pool."""
        known = entry.txid in self.ledger.known
        require(not known, "!is_known_transaction( trx_id )", "Duplicate transaction check failed")
        counts = count_custom(entry.tx, self._custom_counts)
        entry = self._apply(entry)
        self._custom_counts.update(counts)
        self.pool.append(entry)
        self._pool_ids.add(entry.txid)
        return entry.txid

    def _apply(self, entry: Pooled) -> Pooled:
        """Check and run a transaction on the ledger, in hived's order of checks; all of it or nothing."""
        now, tx, ledger = self.head_time, entry.tx, self.ledger
        if self.head_number > 0:
            check_expiration(tx.expiration, entry.drop_at, now, self.rules)
            check_tapos(tx, self.head_number, lambda number: self.blocks[number - 1].id)
        if entry.keys is _NOT_RECOVERED:  # else it was validated when it came
            words = "A transaction must have at least one operation"
            require(len(tx.operations) > 0, "operations.size() > 0", words)
            for operation in tx.operations:
                validate(operation)
            entry = msgspec.structs.replace(entry, keys=recover_keys(tx, entry.packed, self.chain))
        try:
            verify_authority(required_authorities(tx.operations), entry.keys, ledger.authority, rules=self.rules)
        except AuthorityError as error:
            raise HivedRefusalError(error.name, str(error).partition(": ")[2]) from error
        mark = ledger.mark()
        try:
            ledger.set(ledger.known, entry.txid, tx.expiration)
            for operation in tx.operations:
                evaluate(ledger, operation, now)
            check_credits(ledger, tx)
        except HivedRefusalError:
            ledger.undo(mark)
            raise
        return entry
