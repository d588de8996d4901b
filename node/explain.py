"""A group transaction in words: what it does, its digest recomputed from its bytes, who signed, what is lacking.

``waggle explain`` shows it. Nothing of what is computed here is taken from the state but the bytes.
"""

import json
from typing import Any

import msgspec

from node.governance import why_it_waits
from node.transactions import RefusalStatus, RoleStatus
from processors.genesis import Genesis
from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError
from processors.hive.keys import public_key_to_text
from processors.hive.operations import Operation, show_operation
from processors.hive.transaction import pack_transaction, signing_digest, transaction_id, unpack_transaction
from processors.params import read
from processors.recast import due_accounts
from state.schema import AUTHORITY, DONE, KEY, MS, QUEUE, REFUSAL, SIG, Record
from state.state import State


class Signer(msgspec.Struct, frozen=True):
    """A key that the transaction needs, its weight in each authority, and whose it is.

    ``signed``: the height of its signature, or 0.
    """

    key: str
    account: str
    weights: dict[str, int]
    signed: int


class Explanation(msgspec.Struct, frozen=True):
    """A group transaction that is out. Times are UNIX times of blocks, ``left`` in seconds; heights are blocks."""

    op: str
    kind: str
    status: str
    payloads: tuple[int, ...]
    tx: str
    txid: str
    digest: str
    chain_id: str
    built: int
    ready_at: int
    expiration: int
    left: int
    roles: tuple[RoleStatus, ...]
    signers: tuple[Signer, ...]
    refusals: tuple[RefusalStatus, ...]
    due: tuple[str, ...]
    order: tuple[str, ...]
    recasts: int
    next_recast: int
    height: int


class Decoded(msgspec.Struct, frozen=True):
    """What the bytes of a transaction say by themselves."""

    operations: list[Any]
    words: list[str]
    txid: str
    digest: str
    expiration: int
    ref_block_num: int
    ref_block_prefix: int


def operation_ids(state: State, text: str) -> list[str]:
    """The group transactions that are out and meant by an id, a payload (p7) or the beginning of a Hive id."""
    records = [(str(op), record) for (op,), record in state.walk(MS)]
    number = payload_number(text)
    return [
        op
        for op, record in records
        if op == text or number in record.payloads or (len(text) >= 8 and record.txid.hex().startswith(text))
    ]


def payload_number(text: str) -> int | None:
    """7 of p7, else None."""
    digits = text[1:]
    is_number = text[:1] == "p" and digits.isascii() and digits.isdigit() and len(digits) < 19
    return int(digits) if is_number else None


def explain(state: State, genesis: Genesis, op: str) -> Explanation:
    """What the state holds of a group transaction that is out."""
    record = state.need(MS, op)
    accounts = due_accounts(record) if record.status == "ready" else ()
    return Explanation(
        op=op,
        kind=record.kind,
        status=record.status,
        payloads=record.payloads,
        tx=record.tx.hex(),
        txid=record.txid.hex(),
        digest=record.digest.hex(),
        chain_id=genesis.chain.chain_id.hex(),
        built=record.built,
        ready_at=record.ready_at,
        expiration=record.expiration,
        left=record.expiration - state.head.timestamp,
        roles=tuple(_role(state, op, role) for role in record.roles),
        signers=_signers(state, genesis, op, record),
        refusals=tuple(RefusalStatus(str(who), note.why) for (_, who), note in state.walk(REFUSAL, op)),
        due=("*",) if accounts is None else accounts,
        order=record.order,
        recasts=record.recasts,
        next_recast=record.job[0],
        height=state.height,
    )


def decode(packed: bytes, chain: Chain) -> Decoded:
    """The transaction of these bytes, its id and digest computed from them. Raises HiveDataError."""
    tx = unpack_transaction(packed, chain)
    if pack_transaction(tx, chain) != packed:
        raise HiveDataError("the bytes are not the one form of a transaction")
    return Decoded(
        operations=[show_operation(operation, chain, typed=False) for operation in tx.operations],
        words=[words(operation, chain) for operation in tx.operations],
        txid=transaction_id(packed).hex(),
        digest=signing_digest(packed, chain).hex(),
        expiration=tx.expiration,
        ref_block_num=tx.ref_block_num,
        ref_block_prefix=tx.ref_block_prefix,
    )


def words(operation: Operation, chain: Chain) -> str:
    """What an operation does, in one line; what has no words of its own is shown as it is."""
    value = operation.value
    shown = show_operation(operation, chain, typed=False)[1]
    simple = {
        "transfer": "pay {amount} to {to}, memo {memo!r}",
        "transfer_to_savings": "move {amount} into the savings of {to}, memo {memo!r}",
        "transfer_from_savings": "take {amount} out of savings for {to} (request {request_id}), memo {memo!r}",
        "delegate_vesting_shares": "delegate {vesting_shares} to {delegatee}",
        "account_witness_proxy": "let {proxy!r} vote for witnesses (empty = nobody)",
        "recurrent_transfer": "pay {amount} to {to} every {recurrence} hours, {executions} times, memo {memo!r}",
    }
    if operation.name in simple:
        return simple[operation.name].format(**shown)
    if operation.name == "account_witness_vote":
        return f"{'vote for' if value['approve'] else 'take the vote back from'} witness {value['witness']}"
    if operation.name == "update_proposal_votes":
        ids = ", ".join(map(str, value["proposal_ids"]))
        return f"{'support' if value['approve'] else 'support no more'} Hive's proposals {ids}"
    if operation.name == "custom_json":
        return f"say {value['id']}: {json.dumps(value['json'])[1:-1] if _hides(value['json']) else value['json']}"
    if operation.name == "account_update":
        return _rotation_words(operation, chain)
    return f"{operation.name} {shown}"


def _hides(text: str) -> bool:
    """Whether a text holds letters that turn or hide others."""
    return not text.isprintable()


def ended(state: State, number: int) -> tuple[str, str]:
    """(status, in words) of a payload: waiting, out, or how it ended; ("", "") if nothing is known of it."""
    payload = state.get(QUEUE, number)
    if payload is not None:
        if payload.out:
            return "out", f"out in {payload.out}"
        why = why_it_waits(state, read(state.view()), number)
        return "waiting", f"waits since block {payload.queued}: {why}"
    done = state.get(DONE, number)
    if done is None:
        return "", ""
    why = f" ({done.why})" if done.why else ""
    carried = f", Hive transaction {done.txid.hex()}" if done.txid is not None else ""
    return done.status, f"{done.status}{why} at block {done.height}{carried}"


def _rotation_words(operation: Operation, chain: Chain) -> str:
    given = {
        role: operation.value[role] for role in ("owner", "active", "posting") if operation.value[role] is not None
    }
    parts = []
    for role, authority in given.items():
        keys = ", ".join(
            f"{public_key_to_text(key, chain.address_prefix)} ({weight})" for key, weight in authority.key_auths
        )
        parts.append(f"{role}: {authority.weight_threshold} of {keys or 'no keys'}")
    return "set the account's authorities; " + "; ".join(parts)


def _role(state: State, op: str, role: str) -> RoleStatus:
    authority = state.need(AUTHORITY, role)
    collected = sum(weight for key, weight in authority.keys if state.get(SIG, op, key) is not None)
    return RoleStatus(role, authority.threshold, collected, max(0, authority.threshold - collected))


def _signers(state: State, genesis: Genesis, op: str, record: Record) -> tuple[Signer, ...]:
    weights: dict[bytes, dict[str, int]] = {}
    for role in record.roles:
        for key, weight in state.need(AUTHORITY, role).keys:
            if weight:
                weights.setdefault(key, {})[role] = weight
    found = []
    for key in sorted(weights):
        owner, signature = state.get(KEY, key), state.get(SIG, op, key)
        text = public_key_to_text(key, genesis.chain.address_prefix)
        found.append(
            Signer(text, owner.account if owner else "", weights[key], signature.height if signature is not None else 0)
        )
    return tuple(found)
