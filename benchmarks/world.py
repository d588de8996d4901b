"""Blocks and groups for the benchmarks: made here, accepted by the real engine."""

import json
from hashlib import sha256
from typing import Any, NamedTuple

from msgspec.structs import replace

from node.devnet.founding import CHAIN, WITNESS, MemberKeys, found, genesis_document, member_keys
from processors.engine import apply_block, begin
from processors.genesis import Genesis, pop_digest
from processors.hive.block import Header, block_id, merkle_root, read_block, show_header, witness_digest
from processors.hive.crypto import sign
from processors.hive.keys import public_key_to_text
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
        header = Header(self.previous, self.timestamp, "initminer", merkle_root(leaves), (), b"")
        header = replace(header, signature=sign(WITNESS, witness_digest(header)))
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
    payout = {"to": "bobby", "amount": 1, "asset": "HIVE", "every": 20, "memo": "bench"}
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


class Busy(NamedTuple):
    """Blocks to begin with, and those that are measured."""

    warm: list[dict[str, Any]]
    measured: list[dict[str, Any]]


def busy_blocks(genesis: Genesis, runners: list[MemberKeys], plain: list[MemberKeys], count: int) -> Busy:
    """Blocks that register ``plain`` members, then ``count`` blocks of 60 transactions with one accepted report and one
    accepted sig_submit (or the group transaction they complete) each; the rest are foreign transfers.

    A round of 100 blocks takes 98 reports with report_at 1, so 25 runners and 73 further members make one a block.
    """
    maker = Maker(100)
    raws = [maker.block([])]
    shadow = new_state(genesis, MemoryStore(), raws[0])

    def add(transactions: list[Transaction]) -> None:
        raws.append(maker.block(transactions))
        apply_block(shadow, genesis, read_block(raws[-1], CHAIN))

    add([own(member.account, "node_add", registration(genesis, member), 101) for member in plain])
    while shadow.height % genesis.params.round_length:
        add([])
    warm = len(raws)
    for _ in range(count):
        number = shadow.height + 1
        transactions = _next_own(genesis, runners + plain, runners, shadow, number)
        add(transactions + [foreign(number, index) for index in range(60 - len(transactions))])
    return Busy(raws[:warm], raws[warm:])


def registration(genesis: Genesis, member: MemberKeys) -> dict[str, Any]:
    """The body of a member's node_add."""
    return {
        "domain": "https://bench.example",
        "signing_key": public_key_to_text(member.signing_key.public, CHAIN.address_prefix),
        "pop": member.signing_key.sign(pop_digest(genesis.hash, member.account)).hex(),
    }


def _next_own(
    genesis: Genesis, reporters: list[MemberKeys], signers: list[MemberKeys], state: State, number: int
) -> list[Transaction]:
    found: list[Transaction] = []
    start = round_start(number, genesis.params.round_length)
    place = number - start - genesis.params.report_at - 1
    asked = state.need(HEADERS).asked
    if 0 <= place < len(reporters) and asked is not None:
        member = reporters[place]
        root = state.root(start) or b""
        sig = member.signing_key.sign(report_digest(genesis.hash, start, root, member.account))
        header = {"num": asked.num, "pre": asked.pre, "exp": asked.exp}
        body = {"v": 1, "height": start, "root": root.hex(), "hdr": header, "ver": "0.1.0", "sig": sig.hex()}
        found.append(own(member.account, "report", body, number))
    for (op,), record in state.walk(MS):
        signed = {key for (_, key), _ in state.walk(SIG, op)}
        missing = [runner for runner in signers if runner.signing_key.public not in signed]
        if missing:
            sig = missing[0].signing_key.sign(record.digest)
            found.append(own(missing[0].account, "sig_submit", {"op": op, "sig": sig.hex()}, number))
            break
        found.append(unpack_transaction(record.tx, CHAIN))
    return found
