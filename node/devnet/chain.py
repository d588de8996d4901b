"""A Hive of one's own as a pure object: submit, produce(time); no I/O, no clock, no threads.

It answers transactions as hived does (docs and tests: hived_verdicts.md): validity, expiration, TaPoS, duplicates,
authorities before the first operation runs, resource credits, the pool's limit of custom operations, owner limits.
"""

from hashlib import sha256
from typing import Any

import msgspec

from node.devnet.errors import HivedRefusalError, require
from node.devnet.ledger import Account, Ledger
from node.devnet.validate import validate
from processors.hive.authority import Required, required_authorities, verify_authority
from processors.hive.block import Header, block_id, merkle_root, reference_prefix, show_header, witness_digest
from processors.hive.chain import Chain
from processors.hive.crypto import is_low_s, public_key, recover_any, sign
from processors.hive.errors import AuthorityError, SignatureError
from processors.hive.keys import public_key_to_text
from processors.hive.transaction import (
    Transaction,
    pack_signatures,
    pack_transaction,
    show_transaction,
    signing_digest,
    transaction_id,
)

BLOCK_INTERVAL = 3  # seconds
MAX_BLOCK_SIZE = 65_536
POOL_LIFETIME = 3_600  # seconds that a pool keeps a transaction
CUSTOM_OPS_PER_BLOCK = 5
TAPOS_SLOTS = 65_536
INITIAL_WITNESS = "initminer"


class Pooled(msgspec.Struct, frozen=True):
    """A transaction as it waits or stands in a block: values, bytes as signed, id, and when the pool drops it."""

    tx: Transaction
    packed: bytes
    txid: bytes
    drop_at: int


class Produced(msgspec.Struct, frozen=True):
    """A block of the devnet."""

    header: Header
    id: bytes
    transactions: tuple[Pooled, ...]


class DevnetChain:
    """The chain: its ledger at the head, the pool, and every block since block 1."""

    def __init__(self, chain: Chain, witness_secret: bytes, start_time: int, *, rules: int = 28, lag: int = 1) -> None:
        self.chain = chain
        self.rules = rules
        self.lag = lag
        self.witness_key = public_key(witness_secret)
        self._secret = witness_secret
        self.ledger = Ledger(chain, rules)
        self.blocks: list[Produced] = []
        self.included: dict[bytes, int] = {}  # txid -> block number
        self.pool: list[Pooled] = []
        self._start_time = start_time
        self._pooled = self.ledger
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
        """The newest block that cannot be undone: ``lag`` behind the head."""
        return max(0, self.head_number - self.lag)

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
        """(status of transaction_status_api, block number or 0)."""
        number = self.included.get(txid)
        if number is not None:
            inside = number <= self.irreversible_number
            return ("within_irreversible_block" if inside else "within_reversible_block"), number
        if any(entry.txid == txid for entry in self.pool):
            return "within_mempool", 0
        return "unknown", 0

    # -- what a client can do

    def add_account(self, account: Account) -> None:
        """Put an account into the ledger from nowhere: only for the beginning of a devnet."""
        self.ledger.accounts[account.name] = account

    def submit(self, tx: Transaction) -> bytes:
        """Take a transaction into the pool; returns its id. Raises HivedRefusalError."""
        if self._pooled is self.ledger:
            self._pooled = self.ledger.copy()
        trial = self._pooled.copy()
        entry = self._apply(trial, tx, None)
        self._count_custom(tx)
        self._pooled = trial
        self.pool.append(entry)
        return entry.txid

    def produce(self, time: int | None = None) -> Produced:
        """Make the next block from the pool; ``time`` defaults to one interval after the head."""
        now = self.head_time  # transactions are judged by the time of the block before
        timestamp = now + BLOCK_INTERVAL if time is None else time
        ledger = self.ledger.copy()
        taken: list[Pooled] = []
        left: list[Pooled] = []
        size = 256
        for entry in self.pool:
            entry_size = len(entry.packed) + len(pack_signatures(entry.tx.signatures))
            if size + entry_size > MAX_BLOCK_SIZE:
                left.append(entry)
                continue
            trial = ledger.copy()
            try:
                self._apply(trial, entry.tx, entry)
            except HivedRefusalError:
                continue  # expired, or no longer valid after what came before it
            ledger = trial
            size += entry_size
            taken.append(entry)
        self.ledger = ledger
        block = self._sign_block(timestamp, taken)
        self.ledger.pass_time(timestamp)
        self._refill_pool(left)
        return block

    # -- inside

    def _sign_block(self, timestamp: int, taken: list[Pooled]) -> Produced:
        leaves = [sha256(entry.packed + pack_signatures(entry.tx.signatures)).digest() for entry in taken]
        header = Header(self.head_id, timestamp, INITIAL_WITNESS, merkle_root(leaves), (), b"")
        header = msgspec.structs.replace(header, signature=sign(self._secret, witness_digest(header)))
        block = Produced(header, block_id(header), tuple(taken))
        self.blocks.append(block)
        for entry in taken:
            self.included[entry.txid] = len(self.blocks)
        return block

    def _refill_pool(self, left: list[Pooled]) -> None:
        self.pool = []
        self._custom_counts = {}
        self._pooled = self.ledger
        for entry in left:
            trial = self._pooled.copy()
            try:
                self._apply(trial, entry.tx, entry)
            except HivedRefusalError:
                continue
            self._pooled = trial
            self.pool.append(entry)

    def _apply(self, ledger: Ledger, tx: Transaction, known: Pooled | None) -> Pooled:
        """Check and run a transaction on ``ledger``, in hived's order of checks."""
        now = self.head_time
        entry = known or self._identify(ledger, tx, now)
        require(
            entry.txid not in ledger.known,
            "!is_known_transaction( trx_id, true )",
            "Duplicate transaction check failed",
        )
        if now >= entry.drop_at:
            raise HivedRefusalError("transaction_expiration_exception")
        self._check_tapos(tx)
        require(len(tx.operations) > 0, "operations.size() > 0", "A transaction must have at least one operation")
        for operation in tx.operations:
            validate(operation)
        _check_authority(ledger, tx, entry.packed, self.rules)
        ledger.known[entry.txid] = tx.expiration
        for operation in tx.operations:
            ledger.evaluate(operation, now)
        _check_credits(ledger, required_authorities(tx.operations))
        return entry

    def _identify(self, ledger: Ledger, tx: Transaction, now: int) -> Pooled:
        """Which pack was signed: hived tries the typed one first, then the legacy one."""
        legacy = pack_transaction(tx, self.chain)
        typed = pack_transaction(tx, self.chain, typed=True)
        size = len(legacy) + len(pack_signatures(tx.signatures))
        require(size <= MAX_BLOCK_SIZE - 256, "trx_size <= (get_dynamic_global_properties().maximum_block_size - 256)")
        latest = now + (86_400 if self.rules >= 28 else 3_600)
        packed = legacy
        if typed != legacy:
            try:
                _check_authority(ledger, tx, typed, self.rules)
                packed = typed
            except HivedRefusalError:
                pass
        if tx.expiration > latest:
            raise HivedRefusalError("transaction_expiration_exception")
        return Pooled(tx, packed, transaction_id(packed), min(tx.expiration, now + POOL_LIFETIME))

    def _check_tapos(self, tx: Transaction) -> None:
        head = self.head_number
        number = head - (head - tx.ref_block_num) % TAPOS_SLOTS
        found = self.block(number) if number > 0 else None
        expected = reference_prefix(found.id) if found is not None else 0
        if tx.ref_block_prefix != expected:
            raise HivedRefusalError("transaction_tapos_exception")

    def _count_custom(self, tx: Transaction) -> None:
        """The pool's limit of custom operations, an account and block; a block may hold more."""
        counts = dict(self._custom_counts)
        for operation in tx.operations:
            if operation.name in ("custom_json", "custom", "custom_binary"):
                names = {name for field, names in operation.value.items() if "auths" in field for name in names}
                for name in sorted(names):
                    counts[name] = counts.get(name, 0) + 1
                    require(
                        counts[name] <= CUSTOM_OPS_PER_BLOCK,
                        "insert_info.first->second <= HIVE_CUSTOM_OP_BLOCK_LIMIT",
                        f"Account {name} already submitted {CUSTOM_OPS_PER_BLOCK} custom json operation(s) this block.",
                    )
        self._custom_counts = counts


def _check_authority(ledger: Ledger, tx: Transaction, packed: bytes, rules: int) -> None:
    digest = signing_digest(packed, ledger.chain)
    keys: set[bytes] = set()
    for signature in tx.signatures:
        try:
            key = recover_any(signature, digest)
        except SignatureError as error:
            raise HivedRefusalError(
                "assert_exception", f"unable to reconstruct public key from signature: {error}"
            ) from error
        if key in keys:
            raise HivedRefusalError("tx_duplicate_sig", "Duplicate signature detected")
        keys.add(key)
    require(all(map(is_low_s, tx.signatures)), "is_canonical( c, canon_type )", "signature is not canonical")
    try:
        verify_authority(required_authorities(tx.operations), keys, ledger.authority, rules=rules)
    except AuthorityError as error:
        raise HivedRefusalError(error.name, str(error).partition(": ")[2]) from error


def _check_credits(ledger: Ledger, required: Required) -> None:
    """An account without vesting pays for nothing."""
    for name in sorted({*required.active, *required.posting, *required.owner}):
        if ledger.account(name).balances[2] <= 0:
            raise HivedRefusalError(
                "not_enough_rc_exception",
                f"Account: {name} has 0 RC, needs 1 RC. Please wait to transact or power up HIVE.",
            )
