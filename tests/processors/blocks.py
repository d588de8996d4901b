"""Blocks from nowhere: what no pool of Hive would let through, but what a block may hold all the same.

``BlockMaker`` signs headers one after the other; every block goes through ``read_block`` as a server's answer would
and is proven. Who signed a transaction is Hive's affair, so nobody signs these. ``Stage`` is a group on such blocks.
"""

import json
from hashlib import sha256
from typing import Any

import msgspec

from node.devnet.founding import (
    CHAIN,
    GROUP,
    START_TIME,
    WITNESS,
    MemberKeys,
    devnet_key,
    found,
    genesis_document,
    member_keys,
)
from node.signer.keys import SecretKey
from processors.engine import apply_block, begin
from processors.genesis import pop_digest
from processors.hive.block import (
    Block,
    Header,
    block_id,
    merkle_root,
    read_block,
    reference_prefix,
    show_header,
    witness_digest,
)
from processors.hive.chain import Chain
from processors.hive.crypto import sign
from processors.hive.keys import NULL_KEY, public_key_to_text
from processors.hive.operations import Operation
from processors.hive.transaction import (
    Transaction,
    pack_signatures,
    pack_transaction,
    show_transaction,
    transaction_id,
)
from processors.hive.types import Asset, Authority
from processors.report import report_digest, round_start
from state.schema import HEADERS, MS, NODE
from state.state import State
from state.store import MemoryStore, Store

INTERVAL = 3  # seconds between two blocks


def custom_json(account: str, name: str, text: str, *, active: tuple[str, ...] | None = None) -> Operation:
    """A custom_json with the id ``waggle_`` + ``name`` and ``text`` verbatim, acted by ``account``.

    ``active`` names other required_auths than the one account.
    """
    return custom_json_with_id("waggle_" + name, text, active=(account,) if active is None else active)


def custom_json_with_id(
    kind: str, text: str, *, active: tuple[str, ...] = (), posting: tuple[str, ...] = ()
) -> Operation:
    """A custom_json with any id and authorities."""
    return Operation(
        "custom_json", {"required_auths": active, "required_posting_auths": posting, "id": kind, "json": text}
    )


class BlockMaker:
    """Makes consecutive blocks: ``next_block(operations...)``.

    The first one has ``number`` and ``timestamp``; ``previous`` is the id of the block before it (made up if left
    out). ``number``, ``id`` and ``timestamp`` are those of the newest block. ``fork()`` goes on separately from here.
    """

    def __init__(
        self, number: int = 100, timestamp: int = START_TIME, *, previous: bytes = b"", chain: Chain = CHAIN
    ) -> None:
        self.chain = chain
        self.number = number - 1
        self.id = previous or (number - 1).to_bytes(4, "big") + bytes(16)
        self.timestamp = timestamp - INTERVAL
        self._serial = 0

    def fork(self) -> "BlockMaker":
        """A second maker that stands at the same block: for twins that differ by an operation."""
        twin = BlockMaker(self.number + 1, self.timestamp + INTERVAL, previous=self.id, chain=self.chain)
        twin._serial = self._serial
        return twin

    def transaction(self, *operations: Operation) -> Transaction:
        """The operations in one transaction, on the newest block; no two of a maker have the same id."""
        self._serial += 1
        expiration = self.timestamp + 60 + self._serial % 3_000
        return Transaction(self._serial & 0xFFFF, reference_prefix(self.id), expiration, operations)

    def next_block(
        self,
        *operations: Operation | Transaction,
        seconds: int = INTERVAL,
        typed: bool = True,
        hints: bool = True,
        decoded: bool = False,
        witness: bytes = WITNESS,
    ) -> Block:
        """The next block, proven: each Operation in a transaction of its own, a Transaction as it is.

        ``seconds`` after the block before; in block_api's form or (``typed`` False) condenser_api's; with the
        transactions' ids as the server's hints or without; as the bytes of an answer or ``decoded``; signed by the
        secret of another ``witness``.
        """
        txs = [op if isinstance(op, Transaction) else self.transaction(op) for op in operations]
        packed = [pack_transaction(tx, self.chain) for tx in txs]
        pairs = zip(txs, packed, strict=True)
        leaves = [sha256(raw + pack_signatures(tx.signatures)).digest() for tx, raw in pairs]
        header = Header(self.id, self.timestamp + seconds, "initminer", merkle_root(leaves), (), b"")
        header = msgspec.structs.replace(header, signature=sign(witness, witness_digest(header)))
        answer = {
            **show_header(header, typed=typed),
            "transactions": [show_transaction(tx, self.chain, typed=typed) for tx in txs],
            "transaction_ids": [transaction_id(raw).hex() for raw in packed] if hints else [],
            "block_id": block_id(header).hex(),
        }
        if decoded:
            block = read_block(answer, self.chain)
        else:
            block = read_block(json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogateescape"), self.chain)
        block.prove()
        self.number, self.id, self.timestamp = block.number, block.id, block.timestamp
        return block

    def empty_blocks(self, count: int) -> list[Block]:
        """``count`` blocks without transactions."""
        return [self.next_block() for _ in range(count)]


def member(name: str) -> MemberKeys:
    """A member by account name, with throw-away keys of its own."""
    return MemberKeys(name, devnet_key(f"{name} active"), devnet_key(f"{name} signing"))


def key_text(key: SecretKey) -> str:
    """The public key as Hive writes it."""
    return public_key_to_text(key.public, CHAIN.address_prefix)


def strict_authority(keys: list[SecretKey]) -> Authority:
    """Weight 1 each, threshold m // 2 + 1, sorted."""
    return Authority(len(keys) // 2 + 1, (), tuple(sorted((key.public, 1) for key in keys)))


def account_update(
    account: str,
    *,
    owner: Authority | None = None,
    active: Authority | None = None,
    posting: Authority | None = None,
    second: bool = False,
) -> Operation:
    """An account_update, or (``second``) an account_update2."""
    value: dict[str, Any] = {"account": account, "owner": owner, "active": active, "posting": posting}
    value |= {"memo_key": NULL_KEY, "json_metadata": ""}
    if not second:
        return Operation("account_update", value)
    return Operation("account_update2", value | {"posting_json_metadata": "", "extensions": ()})


def transfer(sender: str, to: str, amount: int = 1_000, kind: int = 0) -> Operation:
    """A transfer of HIVE (or HBD with ``kind`` 1)."""
    return Operation("transfer", {"from": sender, "to": to, "amount": Asset(amount, kind), "memo": ""})


class Stage:
    """A group of ``runners`` on blocks of a BlockMaker: one state or several, all given the same blocks.

    The runners' signing keys are the strict authority from the beginning, unless ``authority`` says otherwise.
    """

    def __init__(
        self,
        runners: int = 4,
        *,
        parameters: dict[str, Any] | None = None,
        start: int = 100,
        authority: Authority | None = None,
        payouts: list[dict[str, Any]] | None = None,
        collateral: dict[str, int] | None = None,
        stores: tuple[Store, ...] | None = None,
    ) -> None:
        self.members = [member_keys(number) for number in range(1, runners + 1)]
        given = authority or strict_authority([m.signing_key for m in self.members])
        values = {"round_length": 50, "report_at": 20, "recast_every": 10, "ripe_rounds": 1} | (parameters or {})
        self.document = document = genesis_document(
            self.members,
            start_block=start,
            parameters=values,
            authority=given,
            payouts=payouts,
            collateral=collateral,
        )
        self.genesis = found(document)
        self.maker = BlockMaker(start)
        self.blocks = [self.maker.next_block()]
        self.states = [self.new_state(store) for store in stores or (MemoryStore(),)]

    @property
    def state(self) -> State:
        """The first state."""
        return self.states[0]

    @property
    def height(self) -> int:
        """The height of the states."""
        return self.maker.number

    def new_state(self, store: Store) -> State:
        """A state after the genesis block."""
        params = self.genesis.params
        state = State(store, self.genesis.hash, round_length=params.round_length, trace_keep=params.trace_keep)
        begin(state, self.genesis, self.blocks[0])
        return state

    def block(self, *operations: Operation | Transaction, **how: Any) -> Block:
        """Make the next block and apply it to every state."""
        block = self.maker.next_block(*operations, **how)
        self.blocks.append(block)
        for state in self.states:
            apply_block(state, self.genesis, block)
        return block

    def run_to(self, height: int, reporting: tuple[MemberKeys, ...] | None = None) -> None:
        """Blocks up to ``height``; the runners (or ``reporting``) report two blocks after the one asked for."""
        params = self.genesis.params
        for number in range(self.height + 1, height + 1):
            due = number % params.round_length == params.report_at + 2
            who = self.members if reporting is None else reporting
            self.block(*([self.report(m) for m in who] if due else []))

    def report_body(
        self, who: MemberKeys, *, key: SecretKey | None = None, root: bytes | None = None, hashed: bytes = b""
    ) -> dict[str, Any]:
        """The body of a report for the next block's round, true but for what is given."""
        start = round_start(self.height + 1, self.genesis.params.round_length)
        own = root or self.state.root(start) or bytes(32)
        asked = self.state.need(HEADERS).asked
        hdr = {"num": asked.num, "pre": asked.pre, "exp": asked.exp} if asked else {"num": 0, "pre": 0, "exp": 0}
        digest = report_digest(hashed or self.genesis.hash, start, own, who.account)
        sig = (key or who.signing_key).sign(digest).hex()
        return {"v": 1, "height": start, "root": own.hex(), "hdr": hdr, "ver": "0.1.0", "sig": sig}

    def report(self, who: MemberKeys, **how: Any) -> Operation:
        """A report as an operation."""
        return custom_json(who.account, "report", json.dumps(self.report_body(who, **how)))

    def node_add(
        self, account: str, key: SecretKey, *, follow: bool = False, hashed: bytes = b"", pop_account: str = ""
    ) -> Operation:
        """A registration; its pop may be another genesis' or another account's."""
        pop = key.sign(pop_digest(hashed or self.genesis.hash, pop_account or account)).hex()
        body = {"domain": f"https://{account}.example", "signing_key": key_text(key), "pop": pop}
        return custom_json(account, "node_add", json.dumps(body | ({"follow_active": True} if follow else {})))

    def submit(self, op: str, key: SecretKey, sender: str = "stranger") -> Operation:
        """A signature for the record ``op``."""
        sig = key.sign(self.state.need(MS, op).digest).hex()
        return custom_json(sender, "sig_submit", json.dumps({"op": op, "sig": sig}))

    def refuse(self, op: str, account: str, why: str = "policy") -> Operation:
        """A refusal of the record ``op``."""
        return custom_json(account, "sig_refuse", json.dumps({"op": op, "why": why}))

    def records(self, kind: str = "payout") -> list[str]:
        """Ids of what is out, the oldest first."""
        found = [(record.built, str(op)) for (op,), record in self.state.walk(MS) if record.kind == kind]
        return [op for _, op in sorted(found)]

    def registered(self, account: str) -> bool:
        """Whether the account is a member."""
        return self.state.get(NODE, account) is not None

    def group_update(self, **roles: Any) -> Operation:
        """An account_update of the group account."""
        return account_update(GROUP, **roles)
