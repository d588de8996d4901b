"""The builder (protocol section 6): at most one group transaction a block, the same at every node."""

from msgspec.structs import replace

from processors import emergencies, spending
from processors.authority import can_meet_owner, signers, strict
from processors.authority_form import as_carried
from processors.contents import contents
from processors.context import Context, finish, schedule
from processors.genesis import Genesis
from processors.hive.keys import NULL_KEY
from processors.hive.operations import Operation, active_custom_json
from processors.hive.transaction import Transaction, pack_transaction, signing_digest, transaction_id
from processors.rotation import wanted_keys
from state.schema import (
    AUTHORITY,
    HEADERS,
    MS,
    OWNER_CHANGES,
    QUEUE,
    TALLY,
    Authority,
    Done,
    Payload,
    Record,
    Taken,
)

TAPOS_REACH = 60_000  # blocks; Hive's own reach is 65,536
OWNER_WINDOW = 3_660  # seconds in which Hive allows two changes of owner, and a minute
OWNER_CHANGES_ALLOWED = 2

Waiting = list[tuple[int, Payload]]


def build(ctx: Context) -> None:
    """Build a group transaction for the first payload that may be built now, if there is one."""
    header = ctx.view.need(HEADERS).elected
    if header is None or ctx.view.need(TALLY).is_open:
        return
    queue: Waiting = [(int(number), payload) for (number,), payload in ctx.view.walk(QUEUE)]
    waiting = [entry for entry in queue if not entry[1].out]
    if not waiting or not _header_serves(ctx, header):
        return
    rotation = [entry for entry in waiting if entry[1].kind == "rotation"]
    if rotation and not emergencies.is_held(ctx) and _may_rotate(ctx) and _build_rotation(ctx, header, rotation[0][0]):
        return
    if emergencies.is_halted(ctx):
        return
    others = [entry for entry in waiting if entry[1].kind != "rotation"]
    chosen = _choose(ctx, queue, [entry for entry in others if not spending.is_locked(ctx, entry[0])])
    if chosen:
        _build_payouts(ctx, header, chosen)


def operation_id(height: int, header: Taken) -> str:
    """The id of the group transaction built at ``height``."""
    return f"{height}:{header.num}:{header.pre}"


def confirming_operation(genesis: Genesis, op: str) -> Operation:
    """The custom_json that rides in every group transaction and confirms it."""
    json = '{"op":"' + op + '"}'
    return active_custom_json(genesis.group, genesis.prefix + "ms_signed", json)


def rotation_operation(genesis: Genesis, authority: Authority, roles: tuple[str, ...]) -> Operation:
    """The account_update that gives ``roles`` the wanted authority; Hive leaves memo key and metadata alone."""
    given = as_carried(authority)
    changed = {role: given if role in roles else None for role in ("owner", "active", "posting")}
    return Operation("account_update", {"account": genesis.group, **changed, "memo_key": NULL_KEY, "json_metadata": ""})


def group_transaction(
    genesis: Genesis, op: str, num: int, pre: int, expiration: int, operations: list[Operation]
) -> Transaction:
    """The unsigned group transaction of these operations and its confirming one."""
    return Transaction(num, pre, expiration, (*operations, confirming_operation(genesis, op)))


def _header_serves(ctx: Context, header: Taken) -> bool:
    fresh = header.exp - ctx.timestamp >= ctx.params.header_min_left
    return fresh and ctx.height - header.height <= TAPOS_REACH


def _may_rotate(ctx: Context) -> bool:
    if any(record.kind == "rotation" for _, record in ctx.view.walk(MS)):
        return False
    if not ctx.params.rotate_owner:
        return True
    recent = [time for time in ctx.view.need(OWNER_CHANGES).times if ctx.timestamp - time <= OWNER_WINDOW]
    return len(recent) < OWNER_CHANGES_ALLOWED


def _build_rotation(ctx: Context, header: Taken, number: int) -> bool:
    """The authority is computed now, not when the rotation was queued; False if there is nothing to rotate any more."""
    wanted = list(wanted_keys(ctx))
    target = strict(wanted)
    roles = ["active"]
    if ctx.params.rotate_owner and can_meet_owner(ctx):
        roles.insert(0, "owner")
    if ctx.params.rotate_posting:
        roles.append("posting")
    same = all(ctx.view.need(AUTHORITY, role) == target for role in roles)
    if same or len(wanted) < ctx.params.min_signers:
        finish(ctx, number, Done("dropped", None, ctx.height, (), "same" if same else "too_few_signers"))
        return False
    needs = ("owner", "active") if "owner" in roles else ("active",)
    operation = rotation_operation(ctx.genesis, target, tuple(roles))
    lifetime = ctx.params.rotation_lifetime
    _put_out(ctx, header, "rotation", [number], [operation], lifetime, needs)
    return True


def _choose(ctx: Context, queue: Waiting, waiting: Waiting) -> Waiting:
    """The payouts that may be built now: one that has expired before, alone; or fresh ones together."""
    limit = ctx.params.max_in_flight
    out: dict[str, int] = {}
    for _, payload in queue:
        if payload.out and payload.kind != "rotation":
            out[payload.out] = max(out.get(payload.out, 0), payload.expiries)
    if len(out) >= limit:
        return []
    again_out = sum(1 for expiries in out.values() if expiries)
    fresh = _together(ctx, [entry for entry in waiting if not entry[1].expiries])
    again = sorted((entry for entry in waiting if entry[1].expiries), key=lambda entry: (entry[1].expiries, entry[0]))
    again = [entry for entry in again if spending.within_limits(ctx, [entry])]
    if fresh and (not again or len(out) - again_out < max(1, limit - 1)):
        return fresh
    if again and again_out < max(1, limit // 2):
        return again[:1]
    return []


def _together(ctx: Context, fresh: Waiting) -> Waiting:
    """The first that is within the limits; if it is a transfer, with the transfers behind it that are too."""
    fits = spending.within_limits(ctx, fresh)
    transfers = {found.number for found in contents(ctx.view, [number for number, _ in fresh]) if found.is_transfer}
    if fits and fits[0][0] not in transfers:
        return fits[:1]
    return spending.within_limits(ctx, [entry for entry in fresh if entry[0] in transfers])[: ctx.params.max_merge]


def _build_payouts(ctx: Context, header: Taken, chosen: Waiting) -> None:
    lifetime = ctx.params.payload_lifetime if len(chosen) == 1 else ctx.params.rotation_lifetime
    operations = [
        operation
        for content in contents(ctx.view, [number for number, _ in chosen])
        for operation in content.operations(ctx.genesis)
    ]
    _put_out(ctx, header, "payout", [number for number, _ in chosen], operations, lifetime, ("active",))


def _put_out(
    ctx: Context,
    header: Taken,
    kind: str,
    numbers: list[int],
    operations: list[Operation],
    lifetime: int,
    needs: tuple[str, ...],
) -> None:
    """Write the record, its job, and where its payloads are."""
    op = operation_id(ctx.height, header)
    expiration = min(header.exp, ctx.timestamp + lifetime)
    tx = group_transaction(ctx.genesis, op, header.num, header.pre, expiration, operations)
    packed = pack_transaction(tx, ctx.genesis.chain)
    keys = {key for role in needs for key in signers(ctx, role)} if kind == "rotation" else set()
    record = Record(
        payloads=tuple(numbers),
        kind=kind,
        expiration=expiration,
        tx=packed,
        txid=transaction_id(packed),
        digest=signing_digest(packed, ctx.genesis.chain),
        roles=needs,
        built=ctx.height,
        status="collecting",
        ready_at=0,
        order=(),
        recasts=0,
        attempts=(),
        job=schedule(ctx, ctx.height + ctx.params.recast_every, "recast", op),
        limit=ctx.view.need(TALLY).limit if kind == "rotation" else 0,
        needed=tuple(sorted(keys)),
    )
    ctx.view.put(MS, record, op)
    for number in numbers:
        ctx.view.put(QUEUE, replace(ctx.view.need(QUEUE, number), out=op), number)
        if kind != "rotation":
            spending.built(ctx, number)
