"""What a rule sees while a block is applied, and the few things that several rules do."""

from processors.genesis import Genesis
from processors.hive.block import Block
from processors.params import Params
from state.codec import H
from state.schema import (
    ACTION,
    CHRON,
    COUNTERS,
    DONE,
    KEY,
    MS,
    NODE,
    QUEUE,
    REFUSAL,
    SIG,
    VOTE,
    Counters,
    Done,
    Job,
    Payload,
    Record,
)
from state.view import View


class Context:
    """One block on its way into the state.

    ``txid`` and ``op_index`` are those of the operation at hand, ``position`` that of its transaction in the block.
    """

    __slots__ = (
        "block",
        "forgets",
        "genesis",
        "group",
        "height",
        "op_index",
        "params",
        "position",
        "timestamp",
        "txid",
        "view",
    )

    def __init__(self, view: View, genesis: Genesis, params: Params, block: Block) -> None:
        self.view = view
        self.genesis = genesis
        self.group = genesis.group
        self.params = params
        self.block = block
        self.height = block.number
        self.timestamp = block.timestamp
        self.txid = b""
        self.op_index = 0
        self.position = 0
        self.forgets = False  # whether the job that forgets this block's notes is scheduled

    def members(self) -> tuple[str, ...]:
        """The accounts that are registered."""
        return self.view.derive(NODE, _members)


def _members(view: View) -> tuple[str, ...]:
    return tuple(str(account) for (account,), _ in view.walk(NODE))


def schedule(ctx: Context, height: int, kind: str, what: str) -> tuple[int, int]:
    """Put a job into chron; returns its key."""
    counters = ctx.view.need(COUNTERS)
    sequence = counters.job + 1
    ctx.view.put(COUNTERS, Counters(counters.payload, sequence))
    ctx.view.put(CHRON, Job(kind, what), height, sequence)
    return height, sequence


def forget_block(ctx: Context) -> None:
    """What this block notes under its height (rejections, alarms, income) is forgotten after ``history`` blocks."""
    if not ctx.forgets:
        schedule(ctx, ctx.height + ctx.params.history, "forget_block", str(ctx.height))
        ctx.forgets = True


def enqueue(ctx: Context, payload: Payload) -> int:
    """Give a payload its id and put it into the queue; with max_queue waiting it is done as failed.

    A rotation waits for no place: a full queue must not keep the group from replacing its signers.
    """
    counters = ctx.view.need(COUNTERS)
    number = counters.payload + 1
    ctx.view.put(COUNTERS, Counters(number, counters.job))
    waiting = sum(not other.out for _, other in ctx.view.walk(QUEUE))
    if payload.kind != "rotation" and waiting >= ctx.params.max_queue:
        finish(ctx, number, Done("failed", None, ctx.height, (), "queue_full"))
    else:
        ctx.view.put(QUEUE, payload, number)
    return number


def finish(ctx: Context, number: int, done: Done) -> None:
    """A payload has come to its end; its entry stays for ``history`` blocks."""
    ctx.view.delete(QUEUE, number)
    ctx.view.delete(ACTION, number)
    forget_votes(ctx, f"payload:{number}")
    ctx.view.put(DONE, done, number)
    schedule(ctx, ctx.height + ctx.params.history, "forget_payload", str(number))


def drop_record(ctx: Context, op: str, record: Record) -> None:
    """A group transaction is gone: its signatures, refusals and job with it."""
    for (_, key), _ in ctx.view.walk(SIG, op):
        ctx.view.delete(SIG, op, key)
    for (_, account), _ in ctx.view.walk(REFUSAL, op):
        ctx.view.delete(REFUSAL, op, account)
    ctx.view.delete(CHRON, *record.job)
    ctx.view.delete(MS, op)
    forget_votes(ctx, f"op:{op}")


def forget_votes(ctx: Context, what: str) -> None:
    """What seats voted on has ended, and their votes with it."""
    for (_, account), _ in ctx.view.walk(VOTE, what):
        ctx.view.delete(VOTE, what, account)


def key_owner(ctx: Context, key: bytes) -> str | None:
    """The member that has ``key`` (its signing key, now or ever)."""
    owner = ctx.view.get(KEY, key)
    return owner.account if owner is not None and ctx.view.get(NODE, owner.account) is not None else None


def transmission_order(op: str, accounts: list[str]) -> tuple[str, ...]:
    """Accounts in the order in which they may broadcast (protocol section 8)."""
    return tuple(sorted(accounts, key=lambda account: H([op, account])))
