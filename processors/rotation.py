"""When the group's keys rotate (protocol section 5, step 6)."""

from msgspec.structs import replace

from processors import emergencies
from processors.authority import can_meet_owner, is_strict, signers, strict
from processors.context import Context, enqueue, key_owner
from processors.members import end_registration
from processors.signatures import weigh_all
from state.schema import AUTHORITY, NODE, QUEUE, RUNNER, TALLY, Authority, Payload, Report


def ripen(ctx: Context, agreeing: dict[str, Report]) -> None:
    """Count the agreed tallies of each signing key; at ripe_rounds it becomes the member's ripe key."""
    for (account,), member in ctx.view.walk(NODE):
        report = agreeing.get(str(account))
        count = member.count
        if report is not None and report.key == member.signing_key:
            count = min(count + 1, ctx.params.ripe_rounds)
        ripe = member.signing_key if count >= ctx.params.ripe_rounds else member.ripe_key
        ctx.view.put(NODE, replace(member, count=count, ripe_key=ripe), account)


def wanted_keys(ctx: Context) -> dict[bytes, str]:
    """The ripe keys of the runners, in byte order, each with its runner."""
    found: dict[bytes, str] = {}
    for (account,), _ in ctx.view.walk(RUNNER):
        key = ctx.view.need(NODE, account).ripe_key
        if key is not None:
            found[key] = str(account)
    return dict(sorted(found.items()))


def compared(ctx: Context) -> list[Authority]:
    """The authorities on chain that the tally compares: active, and owner where it is ours to change."""
    owner_too = ctx.params.rotate_owner and can_meet_owner(ctx)
    return [ctx.view.need(AUTHORITY, role) for role in (("active", "owner") if owner_too else ("active",))]


def decide(ctx: Context, agreeing: dict[str, Report]) -> None:
    """Queue a rotation if the group has moved enough."""
    wanted = wanted_keys(ctx)
    k = len(wanted)
    target = strict(list(wanted))
    on_chain = compared(ctx)
    differs = any(authority != target for authority in on_chain)
    tally = ctx.view.need(TALLY)
    patience = min(tally.patience + 1, 2**31) if differs else 0
    ctx.view.put(TALLY, replace(tally, patience=patience))
    seen = sum(1 for runner in wanted.values() if runner in agreeing)
    if (
        not differs
        or emergencies.is_held(ctx)
        or k < ctx.params.min_signers
        or any(payload.kind == "rotation" for _, payload in ctx.view.walk(QUEUE))
        or seen < min(k, k // 2 + 2)
    ):
        return
    if _moved_enough(ctx, set(wanted), on_chain, patience):
        enqueue(ctx, Payload("rotation", 0, ctx.height, "", 0, "", "", "", ()))


def _moved_enough(ctx: Context, wanted: set[bytes], on_chain: list[Authority], patience: int) -> bool:
    """Rules a to e of step 6."""
    params, tally = ctx.params, ctx.view.need(TALLY)
    current = set(signers(ctx))
    many_change = len(current ^ wanted) * 100 > params.rotation_change * len(current)
    limit_grew = tally.limit * 100 > tally.last * (100 + params.rotation_margin)
    one_from_loss = len(current & wanted) < ctx.view.need(AUTHORITY, "active").threshold + 1
    foreign_shape = not all(is_strict(authority) for authority in on_chain)
    waited = patience >= params.rotation_patience
    return many_change or limit_grew or one_from_loss or foreign_shape or waited


def end_registrations(ctx: Context) -> None:
    """A leaving member none of whose keys is in the authority is registered no longer."""
    still_signing = {key_owner(ctx, key) for key in signers(ctx)}
    for (account,), member in ctx.view.walk(NODE):
        if member.leaving and account not in still_signing:
            end_registration(ctx.view, str(account))
            weigh_all(ctx)
