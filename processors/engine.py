"""apply_block: the whole protocol on one page (protocol section 3)."""

from typing import Any, Protocol

from msgspec.structs import replace

from processors import (
    builder,
    emergencies,
    genesis,
    members,
    native,
    params,
    payouts,
    proposals,
    recast,
    report,
    shapes,
    signatures,
    spending,
    strict_json,
    tally,
    tokens,
    upgrades,
)
from processors.context import Context, forget_block
from processors.errors import EngineError, Rejected
from processors.hive.block import Block, reference_prefix
from processors.hive.operations import Operation
from processors.registry import Registry, Rule
from state.schema import CHRON, HEAD, HEADERS, NODE, REJECTED, REJECTED_MORE, Head, MoreRejections, Rejection, Taken
from state.state import State

#: Native operations that a rule listens to wherever a member stands in them; all others name the group account.
_FOLLOWED = (b"account_update",)
_CUSTOM_JSON = frozenset({"custom_json", "custom_json_operation"})
RULES = Registry((members, report, signatures, native, recast, payouts, tokens, proposals, spending, emergencies))


class Observer(Protocol):
    """Somebody who looks on while a block is applied, and changes nothing: an auditor, an index."""

    def transaction(self, ctx: Context, position: int) -> None:
        """Before the operations of a transaction, in a block that may concern the group; ``ctx.view`` is as of then."""

    def operation(self, ctx: Context, rule: Rule, account: str, body: Any, code: str) -> None:
        """After a rule had its say: ``code`` is why it rejected, or empty.

        ``body`` is the parsed json of a custom_json (None if that is what was rejected), or a native operation, of
        which ``account`` is empty.
        """


def begin(state: State, document: genesis.Genesis, block: Block) -> None:
    """Write the genesis state from the block start_block."""
    if block.number != document.start_block:
        raise EngineError(f"the state begins with block {document.start_block}, not {block.number}")
    view = state.view()
    genesis.begin(view, document, block)
    state.commit(view)


def apply_block(
    state: State,
    document: genesis.Genesis,
    block: Block,
    *,
    flush: bool = True,
    observer: Observer | None = None,
) -> None:
    """Apply the next block as one atomic write, synced to disk unless ``flush`` is put off.

    Raises EngineError if it is not the next one; any other exception is a bug or a failed write: the block is not
    applied and the node stops.
    """
    head = state.head
    if block.number != head.height + 1 or block.header.previous != head.block_id:
        raise EngineError(
            f"block {block.number} ({block.id.hex()}) does not follow {head.height} ({head.block_id.hex()})"
        )
    view = state.view()
    upgrades.apply_due(view, block.number)  # 1.
    ctx = Context(view, document, params.read(view), block)
    if block.may_mention((document.prefix.encode(), document.group.encode()), _FOLLOWED, ctx.members):
        _apply_operations(ctx, observer)  # 2.
    _run_due_jobs(ctx)  # 3.
    if ctx.height % ctx.params.round_length == 0:
        tally.tally(ctx)  # 4.
    builder.build(ctx)
    _close(ctx)  # 5.
    state.commit(view, flush=flush)


def _apply_operations(ctx: Context, observer: Observer | None) -> None:
    natives = RULES.natives(ctx.height)
    group = ctx.group
    index = rejected = 0
    for position, raw_transaction in enumerate(ctx.block.transactions):
        if observer is not None:
            observer.transaction(ctx, position)
        for place, raw in enumerate(raw_transaction["operations"]):
            name, body = (raw["type"], raw["value"]) if type(raw) is dict else raw
            rule = natives.get(name)
            if rule is not None:
                # native operations concern us if they name the group account (or, where the rule says so, a member)
                account = body[rule.field]
                if account != group and not (rule.members and ctx.view.get(NODE, account) is not None):
                    rule = None
            elif name in _CUSTOM_JSON:
                rule = _ours(ctx, body)
            if rule is not None:
                ctx.op_index, ctx.position = index, position
                tx, _, ctx.txid = ctx.block.transaction(position)
                rejected += _apply(ctx, rule, tx.operations[place], rejected, observer)
            index += 1
    ctx.txid = b""


def _ours(ctx: Context, body: Any) -> Rule | None:
    """The rule of a custom_json that is ours: prefix and active name, one active authority, no posting ones."""
    kind, active, posting = body.get("id"), body.get("required_auths"), body.get("required_posting_auths")
    prefix = ctx.genesis.prefix
    if type(kind) is not str or not kind.startswith(prefix) or not _is_list(posting) or not _is_list(active):
        return None
    if posting or len(set(active)) != 1:
        return None
    return RULES.find("json", kind[len(prefix) :], ctx.height)


def _is_list(found: Any) -> bool:
    return type(found) is list or type(found) is tuple


def _apply(ctx: Context, rule: Rule, operation: Operation, rejected: int, observer: Observer | None) -> int:
    """Run one rule; 1 if it rejected the operation (one entry is written, and nothing else), else 0."""
    if rule.kind == "native":
        rule.call(ctx, operation)
        if observer is not None:
            observer.operation(ctx, rule, "", operation, "")
        return 0
    (account,) = operation.value["required_auths"]
    before, body, code = ctx.view.writes, None, ""
    try:
        body = strict_json.parse(operation.value["json"])
        shapes.check(body, rule.shape)
        rule.call(ctx, account, body)
    except Rejected as no:
        if ctx.view.writes != before:
            raise EngineError(f"the rule {rule.name} wrote before it rejected") from no
        code = no.code
        _write_rejection(ctx, Rejection(ctx.txid, account, rule.name, code), rejected)
    if observer is not None:
        observer.operation(ctx, rule, account, body, code)
    return 1 if code else 0


def _write_rejection(ctx: Context, rejection: Rejection, rejected: int) -> None:
    forget_block(ctx)
    if rejected < ctx.params.max_rejections:
        ctx.view.put(REJECTED, rejection, ctx.height, ctx.op_index)
    else:
        ctx.view.put(REJECTED_MORE, MoreRejections(rejected + 1 - ctx.params.max_rejections), ctx.height)


def _run_due_jobs(ctx: Context) -> None:
    for (height, sequence), job in ctx.view.walk(CHRON, ctx.height):
        if ctx.view.get(CHRON, height, sequence) is None:
            continue  # a job before it took it away
        ctx.view.delete(CHRON, height, sequence)
        rule = RULES.find("job", job.kind, ctx.height)
        if rule is None:
            raise EngineError(f"no rule for the job {job.kind}")
        rule.call(ctx, job.what)


def _close(ctx: Context) -> None:
    """The block becomes the head; in the middle of the round its header is the one asked for."""
    block = ctx.block
    ctx.view.put(HEAD, Head(block.number, block.id, block.timestamp))
    if ctx.height % ctx.params.round_length == ctx.params.report_at:
        expiration = block.timestamp + ctx.params.header_lifetime
        asked = Taken(block.number & 0xFFFF, reference_prefix(block.id), expiration, block.number)
        ctx.view.put(HEADERS, replace(ctx.view.need(HEADERS), asked=asked))
