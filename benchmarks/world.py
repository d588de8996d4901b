"""Blocks and groups for the benchmarks: made here, accepted by the real engine."""

import json
from hashlib import sha256
from typing import Any

from node.devnet.founding import CHAIN, MemberKeys, found, genesis_document, member_keys
from processors.engine import apply_block, begin
from processors.genesis import Genesis
from processors.hive.block import Header, block_id, merkle_root, read_block, show_header
from processors.hive.operations import Operation
from processors.hive.transaction import (
    Transaction,
    pack_signatures,
    pack_transaction,
    show_transaction,
    transaction_id,
    unpack_transaction,
)
from processors.hive.types import Asset, Authority
from processors.report import report_digest, round_start
from state.schema import BALANCE, DONE, HEADERS, MS, SIG, Balance, Done
from state.state import State
from state.store import MemoryStore, Store

SIGNATURE = b"\x1f" + b"\1" * 64


def foreign(number: int, index: int) -> Transaction:
    """A transfer between strangers."""
    value = {"from": "alice", "to": "bobby", "amount": Asset(1 + index, 0), "memo": f"block {number} transfer {index}"}
    return Transaction(number & 0xFFFF, index, 1_800_000_000, (Operation("transfer", value),), (), (SIGNATURE,))


def own(account: str, name: str, body: dict[str, Any], number: int) -> Transaction:
    """A custom_json of ours."""
    value = {
        "required_auths": (account,),
        "required_posting_auths": (),
        "id": f"waggle_{name}",
        "json": json.dumps(body, separators=(",", ":")),
    }
    return Transaction(number & 0xFFFF, 7, 1_800_000_000, (Operation("custom_json", value),), (), (SIGNATURE,))


class Maker:
    """Makes linked, proven blocks."""

    def __init__(self, number: int) -> None:
        self.previous = (number - 1).to_bytes(4, "big") + bytes(16)
        self.timestamp = 1_767_225_600

    def block(self, transactions: list[Transaction]) -> dict[str, Any]:
        """The next block as block_api gives it."""
        packed = [pack_transaction(tx, CHAIN) for tx in transactions]
        leaves = [
            sha256(p + pack_signatures(tx.signatures)).digest() for p, tx in zip(packed, transactions, strict=True)
        ]
        self.timestamp += 3
        header = Header(self.previous, self.timestamp, "initminer", merkle_root(leaves), (), SIGNATURE)
        self.previous = block_id(header)
        return {
            **show_header(header, typed=True),
            "transactions": [show_transaction(tx, CHAIN, typed=True) for tx in transactions],
            "block_id": self.previous.hex(),
            "transaction_ids": [transaction_id(p).hex() for p in packed],
        }


def members(count: int) -> list[MemberKeys]:
    """So many members."""
    return [member_keys(number) for number in range(1, count + 1)]


def group_of(runners: list[MemberKeys], **parameters: Any) -> Genesis:
    """A group whose authority on chain is that of all runners already."""
    keys = sorted(runner.signing_key.public for runner in runners)
    authority = Authority(len(keys) // 2 + 1, (), tuple((key, 1) for key in keys))
    payout = {"to": "bobby", "amount": 1, "asset": "HIVE", "every": 25, "memo": "bench"}
    document = genesis_document(runners, start_block=100, parameters=parameters, payouts=[payout], authority=authority)
    return found(document)


def new_state(genesis: Genesis, store: Store, first: dict[str, Any]) -> State:
    """A state that has begun."""
    state = State(store, genesis.hash, round_length=genesis.params.round_length)
    begin(state, genesis, read_block(first, CHAIN))
    return state


def fill(state: State, count: int, *, size: int = 0) -> None:
    """Put ``count`` entries into the state; with ``size``, of about so many bytes each."""
    step = 20_000
    for first in range(0, count, step):
        view = state.view()
        for number in range(first, min(count, first + step)):
            if size:
                view.put(DONE, Done("dropped", None, number, (), "x" * (size - 30)), 10**9 + number)
            else:
                view.put(BALANCE, Balance(number), f"filler{number:07}")
        state.commit(view)


def busy_blocks(genesis: Genesis, runners: list[MemberKeys], count: int) -> list[dict[str, Any]]:
    """The block start_block, then ``count`` blocks of 60 transactions: one accepted report, one accepted sig_submit
    (or the group transaction they complete), 58 foreign transfers.

    25 runners make 25 reports a round, so rounds are short enough (27 blocks of 60) that each block has one.
    """
    maker = Maker(100)
    blocks = [maker.block([])]
    shadow = new_state(genesis, MemoryStore(), blocks[0])
    for number in range(101, 101 + count):
        transactions = _next_own(genesis, runners, shadow, number)
        transactions += [foreign(number, index) for index in range(60 - len(transactions))]
        raw = maker.block(transactions)
        blocks.append(raw)
        apply_block(shadow, genesis, read_block(raw, CHAIN))
    return blocks


def _next_own(genesis: Genesis, runners: list[MemberKeys], state: State, number: int) -> list[Transaction]:
    found: list[Transaction] = []
    start = round_start(number, genesis.params.round_length)
    place = number - start - genesis.params.report_at - 1
    asked = state.need(HEADERS).asked
    if 0 <= place < len(runners) and asked is not None:
        member = runners[place]
        root = state.root(start) or b""
        sig = member.signing_key.sign(report_digest(genesis.hash, start, root, member.account))
        header = {"num": asked.num, "pre": asked.pre, "exp": asked.exp}
        body = {"v": 1, "height": start, "root": root.hex(), "hdr": header, "ver": "0.1.0", "sig": sig.hex()}
        found.append(own(member.account, "report", body, number))
    for (op,), record in state.walk(MS):
        signed = {key for (_, key), _ in state.walk(SIG, op)}
        missing = [runner for runner in runners if runner.signing_key.public not in signed]
        if missing:
            sig = missing[0].signing_key.sign(record.digest)
            found.append(own(missing[0].account, "sig_submit", {"op": op, "sig": sig.hex()}, number))
            break
        found.append(unpack_transaction(record.tx, CHAIN))
    return found
