"""What the group account did on Hive, held against what the rules built (protocol sections 4, 6, 7, 8, 10, 12).

A transaction in which the group account acts must be, byte for byte, one that the state machine built from the same
history, with signatures that meet the authority as of then, in time, and once.
"""

import json
from array import array
from typing import Any

import msgspec

from node.audit.findings import Findings
from node.audit.reports import Elected
from node.history.sifted import NOT_FETCHED, NOT_HERE, signers_of
from processors.context import Context
from processors.genesis import Genesis
from processors.hive.authority import required_authorities
from processors.hive.block import reference_prefix
from processors.hive.errors import UnknownOperationError
from processors.hive.keys import public_key_to_text
from processors.hive.operations import Operation, show_operation
from processors.hive.transaction import Transaction, signing_digest, unpack_transaction
from processors.signatures import CANCELLED
from state.schema import AUTHORITY, HEAD, KEY, MS, Authority, Record
from state.view import View

#: Blocks that a transaction's reference can reach back (hived: TaPoS over block_summary).
TAPOS_BLOCKS = 65_536
#: What stands for operations that are not here.
_EMPTY = (NOT_HERE, NOT_FETCHED)
_ROLES = ("posting", "active", "owner")


class Signed(msgspec.Struct, frozen=True):
    """A signature that the state took: whose key, when, and in which Hive transaction (hex) of whom."""

    account: str
    key: str
    height: int
    txid: str
    sender: str


class Built(msgspec.Struct):
    """A group transaction that the rules built, and what became of it. Heights are blocks, 0 = never."""

    op: str
    kind: str
    payloads: tuple[int, ...]
    txid: str
    tx: bytes
    built: int
    expiration: int
    roles: tuple[str, ...]
    signed: list[Signed] = []
    keys: set[bytes] = set()  # of all signatures that the state ever took of it
    refused: list[tuple[str, str, int]] = []  # account, why, height
    ready: list[int] = []
    recasts: list[tuple[int, str]] = []
    included: int = 0
    carried_by: list[str] = []  # accounts whose signatures stood on the transaction in its block
    end: str = "out"  # out, confirmed, expired, refused, cancelled
    elected: Elected | None = None  # its header


class Transactions:
    """Every group transaction of a history; told of each transaction and block, in their order."""

    def __init__(self, genesis: Genesis, findings: Findings) -> None:
        self.built: dict[str, Built] = {}  # by id
        self._by_txid: dict[bytes, Built] = {}
        self._genesis = genesis
        self._findings = findings
        self._records: Any = None
        self._prefixes = array("I", bytes(4 * TAPOS_BLOCKS))
        self._first = -1
        self._paid: dict[int, str] = {}  # payload -> transaction

    def remember_block(self, number: int, identity: bytes) -> None:
        """A block that transactions may refer to."""
        if self._first < 0:
            self._first = number
        self._prefixes[number % TAPOS_BLOCKS] = reference_prefix(identity)

    # -- what stands in a block

    def see(self, ctx: Context, position: int) -> None:
        """A transaction before its operations: if the group account acts in it, hold it against what was built."""
        if not self._may_act(ctx.block.transactions[position]["operations"]):
            return
        try:
            tx, packed, txid = ctx.block.transaction(position)
        except UnknownOperationError as error:
            words = f"transaction {position} names the group account: {error}"
            self._findings.add("not_serialised", ctx.height, words)
            return
        required = required_authorities(tx.operations)
        roles = tuple(role for role in _ROLES if self._genesis.group in getattr(required, role))
        if not roles:
            return
        known = self._by_txid.get(txid)
        if known is None:
            self._unknown(ctx, tx, packed, txid, roles)
        else:
            self._check(ctx, known, tx, packed, txid, roles)
        self._check_reference(ctx, tx, txid)

    def _may_act(self, operations: list[Any]) -> bool:
        """Whether the group account's name stands in a field, or in a list that is one."""
        group = self._genesis.group
        for raw in operations:
            name, body = (raw["type"], raw["value"]) if type(raw) is dict else raw
            if name.startswith("pow") or (not body and name not in _EMPTY):  # its account lies deeper, or out of sight
                return True
            for value in body.values():
                if value == group or (type(value) in (list, tuple) and group in value):
                    return True
        return False

    def _unknown(self, ctx: Context, tx: Transaction, packed: bytes, txid: bytes, roles: tuple[str, ...]) -> None:
        what = "; ".join(f"{operation.name}" for operation in tx.operations)
        signers = ", ".join(sorted(self._names(ctx.view, self._keys(tx, packed)))) or "nobody who is known"
        claimed = self._claimed(tx)
        if claimed is not None:
            words = f"it claims to be {claimed.op}, but {self._difference(tx, claimed)}; signed by {signers}"
            self._findings.add("altered_transaction", ctx.height, words, txid=txid)
            return
        words = f"{what} with the group's {' and '.join(roles)} authority, signed by {signers}"
        self._findings.add("unknown_transaction", ctx.height, words, txid=txid)

    def _claimed(self, tx: Transaction) -> Built | None:
        """The group transaction that the last operation says this one is, unless that says so of any."""
        last = tx.operations[-1]
        if last.name != "custom_json" or last.value["id"] != self._genesis.prefix + "ms_signed":
            return None
        try:
            found = self.built.get(json.loads(last.value["json"])["op"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        return found if found is not None and _alike(tx, self._values(found)) else None

    def _values(self, built: Built) -> Transaction:
        return unpack_transaction(built.tx, self._genesis.chain)

    def _difference(self, tx: Transaction, built: Built) -> str:
        """The first field in which a transaction is not the one that was built."""
        true = self._values(built)
        for field in ("ref_block_num", "ref_block_prefix", "expiration"):
            if getattr(tx, field) != getattr(true, field):
                return f"{field} is {getattr(tx, field)} instead of {getattr(true, field)}"
        for number, (one, other) in enumerate(zip(tx.operations, true.operations, strict=False)):
            if one != other:
                return f"operation {number} is {self._shown(one)} instead of {self._shown(other)}"
        if len(tx.operations) != len(true.operations):
            return f"it has {len(tx.operations)} operations instead of {len(true.operations)}"
        return "it stands there in the other pack of amounts, or with extensions"

    def _shown(self, operation: Operation) -> str:
        return json.dumps(show_operation(operation, self._genesis.chain, typed=False))[:400]

    def _check(
        self, ctx: Context, known: Built, tx: Transaction, packed: bytes, txid: bytes, roles: tuple[str, ...]
    ) -> None:
        add = self._findings.add
        record = ctx.view.get(MS, known.op)
        now = ctx.view.need(HEAD).timestamp  # of the block before: Hive's head time
        twice = [f"payload {number} in {self._paid[number]}" for number in known.payloads if number in self._paid]
        if known.included or twice:
            where = f"block {known.included}" if known.included else ", ".join(twice)
            add("included_twice", ctx.height, f"{known.op} stands in {where} already", txid=txid)
        elif known.expiration <= now:
            add("included_late", ctx.height, f"{known.op} was over at {known.expiration}, it is {now}", txid=txid)
        if record is not None and record.status == CANCELLED:
            add("marked_transaction", ctx.height, f"the seats marked {known.op}", txid=txid)
        keys = self._keys(tx, packed)
        self._check_signatures(ctx, known, keys, txid, roles)
        known.included = known.included or ctx.height
        known.carried_by = sorted(self._names(ctx.view, keys))
        self._paid.update({number: known.op for number in known.payloads if number not in self._paid})

    def _check_signatures(
        self, ctx: Context, known: Built, keys: list[bytes | None], txid: bytes, roles: tuple[str, ...]
    ) -> None:
        """Each signature recovers to a signer, and they meet every authority that is needed, as of now."""
        authorities = {role: ctx.view.need(AUTHORITY, role) for role in roles}
        allowed = {key for authority in authorities.values() for key, _ in authority.keys} | known.keys
        foreign = [key for key in keys if key not in allowed]
        for key in foreign:
            text = "no key" if key is None else public_key_to_text(key, self._genesis.chain.address_prefix)
            words = f"a signature of {known.op} recovers to {text}, which is in none of {', '.join(roles)}"
            self._findings.add("foreign_signature", ctx.height, words, txid=txid)
        for role, authority in authorities.items():
            weight = _weight(authority, keys)
            if weight + sum(share for _, share in authority.accounts) < authority.threshold:
                words = f"{known.op}: the signatures weigh {weight}, {role} asks for {authority.threshold}"
                self._findings.add("authority_not_met", ctx.height, words, txid=txid)

    def _check_reference(self, ctx: Context, tx: Transaction, txid: bytes) -> None:
        """The block that it refers to is one of this history, as far as that reaches back."""
        number = ctx.height - 1 - (ctx.height - 1 - tx.ref_block_num) % TAPOS_BLOCKS
        if number < self._first:
            return
        found = self._prefixes[number % TAPOS_BLOCKS]
        if found != tx.ref_block_prefix:
            words = f"ref_block_prefix {tx.ref_block_prefix} for block {number}, which has {found}"
            self._findings.add("reference_block", ctx.height, words, txid=txid)

    def _keys(self, tx: Transaction, packed: bytes) -> list[bytes | None]:
        return signers_of(tx, signing_digest(packed, self._genesis.chain))

    def _names(self, view: View, keys: list[bytes | None]) -> set[str]:
        """Whose keys they are: a member's name, or the key itself."""
        found = set()
        for key in keys:
            owner = view.get(KEY, key) if key is not None else None
            if owner is not None:
                found.add(owner.account)
            elif key is not None:
                found.add(public_key_to_text(key, self._genesis.chain.address_prefix))
        return found

    # -- what the rules built

    def signed(self, ctx: Context, op: str, key: bytes, sender: str) -> None:
        """The state took a signature."""
        owner = ctx.view.get(KEY, key)
        account = owner.account if owner is not None else ""
        text = public_key_to_text(key, self._genesis.chain.address_prefix)
        self.built[op].keys.add(key)
        self.built[op].signed.append(Signed(account, text, ctx.height, ctx.txid.hex(), sender))

    def refused(self, ctx: Context, op: str, account: str, why: str) -> None:
        """The state took a refusal."""
        self.built[op].refused.append((account, why, ctx.height))

    def block_applied(self, records: dict[str, Record], elected: Elected | None) -> None:
        """The records after a block: what is new was built now, what is gone has ended; the header elected last."""
        if records is self._records:
            return
        for op, record in records.items():
            known = self.built.get(op)
            if known is None:
                known = self._add(op, record, elected)
            if record.ready_at and record.ready_at not in known.ready:
                known.ready.append(record.ready_at)
            for attempt in record.attempts:
                if attempt not in known.recasts:
                    known.recasts.append(attempt)
            if record.status in (CANCELLED, "refused"):
                known.end = record.status
            elif known.end != "out":
                known.end = "out"
        for op in (self._records or {}).keys() - records.keys():
            gone = self.built[op]
            if gone.included:
                gone.end = "confirmed"
            elif gone.end == "out":
                gone.end = "expired"
        self._records = records

    def _add(self, op: str, record: Record, elected: Elected | None) -> Built:
        known = Built(
            op=op,
            kind=record.kind,
            payloads=record.payloads,
            txid=record.txid.hex(),
            tx=record.tx,
            built=record.built,
            expiration=record.expiration,
            roles=record.roles,
            elected=elected,
        )
        self.built[op] = known
        self._by_txid[record.txid] = known
        return known


def records_of(view: View) -> dict[str, Record]:
    """What is out, by id."""
    return {str(op): record for (op,), record in view.walk(MS)}


def _weight(authority: Authority, keys: list[bytes | None]) -> int:
    return sum(weight for key, weight in authority.keys if key in keys)


def _alike(tx: Transaction, true: Transaction) -> bool:
    """Whether a transaction that claims to be another one does the same kinds of things."""
    return [operation.name for operation in tx.operations] == [operation.name for operation in true.operations]
