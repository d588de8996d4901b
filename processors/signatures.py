"""Collecting signatures on chain: sig_submit, sig_refuse, ms_signed (protocol sections 4 and 7)."""

from typing import Any

from msgspec.structs import replace

from processors import spending
from processors.authority import signers
from processors.context import Context, drop_record, finish, key_owner, schedule, transmission_order
from processors.errors import Rejected
from processors.hive.crypto import recover
from processors.hive.errors import SignatureError
from processors.registry import custom_json
from processors.shapes import OP_ID, WHY, hexadecimal
from state.schema import (
    AUTHORITY,
    CHRON,
    MS,
    NODE,
    REFUSAL,
    RUNNER,
    SIG,
    TALLY,
    Authority,
    Done,
    Record,
    Refusal,
    Signature,
)

#: The status of a record that the seats have marked (protocol section 10).
CANCELLED = "cancelled"


@custom_json("sig_submit", {"op": OP_ID, "sig": hexadecimal(65)})
def sig_submit(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """A signature for a group transaction; from anyone: the key counts, not the sender."""
    op, sig = body["op"], bytes.fromhex(body["sig"])
    record = ctx.view.get(MS, op)
    if record is None:
        raise Rejected("unknown_op")
    if record.status == CANCELLED:
        raise Rejected("op_cancelled")
    try:
        key = recover(sig, record.digest)
    except SignatureError:
        raise Rejected("bad_signature") from None
    if not any(key in signers(ctx, role) for role in record.roles):
        raise Rejected("bad_signature")
    if ctx.view.get(SIG, op, key) is not None:
        raise Rejected("signed_already")
    ctx.view.put(SIG, Signature(sig, ctx.height, account), op, key)
    owner = key_owner(ctx, key)
    if owner is not None:
        ctx.view.delete(REFUSAL, op, owner)
        seat = ctx.view.get(RUNNER, owner)
        if record.kind == "rotation" and seat is not None and seat.marks:
            ctx.view.put(RUNNER, replace(seat, marks=0), owner)
    evaluate(ctx, op, record)


@custom_json("sig_refuse", {"op": OP_ID, "why": WHY})
def sig_refuse(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """A member will not sign, and says why."""
    op = body["op"]
    if ctx.view.get(NODE, account) is None:
        raise Rejected("not_member")
    record = ctx.view.get(MS, op)
    if record is None:
        raise Rejected("unknown_op")
    if record.status == CANCELLED:
        raise Rejected("op_cancelled")
    if not _could_sign(ctx, op, record, account):
        raise Rejected("not_signer")
    if ctx.view.get(REFUSAL, op, account) is not None:
        raise Rejected("refused_already")
    ctx.view.put(REFUSAL, Refusal(body["why"], ctx.height), op, account)
    evaluate(ctx, op, record)


@custom_json("ms_signed", {"op": OP_ID})
def ms_signed(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """The group account itself says, inside a group transaction, that this one was included."""
    if account != ctx.group:
        raise Rejected("not_group")
    op = body["op"]
    record = ctx.view.get(MS, op)
    if record is None:
        raise Rejected("unknown_op")
    if record.txid != ctx.txid:
        raise Rejected("wrong_transaction")
    who = tuple(bytes(key) for (_, key), _ in ctx.view.walk(SIG, op))  # type: ignore[arg-type]
    for payload in record.payloads:
        spending.book_spent(ctx, payload)
        finish(ctx, payload, Done("confirmed", record.txid, ctx.height, who, ""))
    if record.kind == "rotation":
        ctx.view.put(TALLY, replace(ctx.view.need(TALLY), last=record.limit))
    drop_record(ctx, op, record)


def authority_changed(ctx: Context) -> None:
    """Weigh every record anew. The one that the changing transaction itself confirms is not touched."""
    for (op,), record in ctx.view.walk(MS):
        if record.txid == ctx.txid:
            continue
        keys = {key for role in record.roles for key in signers(ctx, role)}
        for (_, key), _ in ctx.view.walk(SIG, op):
            if key not in keys:
                ctx.view.delete(SIG, op, key)
        kept = tuple(key for key in record.needed if key in keys)
        evaluate(ctx, str(op), replace(record, needed=kept))


def weigh_all(ctx: Context) -> None:
    """Weigh every record anew: a key has come into other hands, so a refusal may weigh more or less."""
    for (op,), record in ctx.view.walk(MS):
        evaluate(ctx, str(op), record)


def evaluate(ctx: Context, op: str, record: Record) -> None:
    """Count weights per authority needed: ready, collecting or refused; a cancelled one stays so (section 7)."""
    if record.status == CANCELLED:
        ctx.view.put(MS, record, op)
        return
    signed = {key for (_, key), _ in ctx.view.walk(SIG, op)}
    refusers = {account for (_, account), _ in ctx.view.walk(REFUSAL, op)}
    authorities = [ctx.view.need(AUTHORITY, role) for role in record.roles]
    if all(_met(authority, signed) for authority in authorities):
        if record.status != "ready":
            record = _become_ready(ctx, op, record)
    elif refusers and any(_out_of_reach(ctx, authority, signed, refusers) for authority in authorities):
        record = replace(record, status="refused", ready_at=0)
    else:
        record = replace(record, status="collecting", ready_at=0)
    ctx.view.put(MS, record, op)


def _met(authority: Authority, signed: set[Any]) -> bool:
    weight = sum(w for key, w in authority.keys if key in signed)
    return 0 < authority.threshold <= weight


def _out_of_reach(ctx: Context, authority: Authority, signed: set[Any], refusers: set[Any]) -> bool:
    """Whether it is the refusals that leave too little for the threshold: without them it could be met."""
    reachable = sum(w for _, w in authority.keys)
    left = sum(w for key, w in authority.keys if key in signed or key_owner(ctx, key) not in refusers)
    return left < authority.threshold <= reachable


def _could_sign(ctx: Context, op: str, record: Record, account: str) -> bool:
    return any(
        key_owner(ctx, key) == account and ctx.view.get(SIG, op, key) is None
        for role in record.roles
        for key in signers(ctx, role)
    )


def _become_ready(ctx: Context, op: str, record: Record) -> Record:
    """Ready (again) begins anew: height, order, job and count (protocol section 8)."""
    accounts = [str(account) for (account,), _ in ctx.view.walk(RUNNER)]
    if not accounts:
        accounts = [str(account) for (account,), _ in ctx.view.walk(NODE)]
    order = transmission_order(op, accounts)
    ctx.view.delete(CHRON, *record.job)
    return replace(
        record,
        status="ready",
        ready_at=ctx.height,
        order=order,
        recasts=0,
        attempts=tuple((ctx.height, leader) for leader in order[:1]),
        job=schedule(ctx, ctx.height + ctx.params.recast_every, "recast", op),
    )
