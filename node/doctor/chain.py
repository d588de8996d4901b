"""Checks against the chain: the account's key, its registration, resource credits, and the group account."""

import asyncio
from collections.abc import Sequence

from node.account_facts import authority_of, can_act_alone, find_account, find_credits, resource_credits, sealing
from node.attention import LOW_CREDITS
from node.doctor.finding import Case, Finding, Keys, fail, ok, skip, warn
from node.errors import ApiError
from node.feed.rpc import Api
from node.membership import Known
from node.registration import first_of
from processors.genesis import ROLES, Genesis
from processors.hive.keys import public_key_to_text
from processors.hive.times import time_to_text


async def account(case: Case, apis: Sequence[Api]) -> list[Finding]:
    """Whether the account key can send for the account."""
    name, keys, genesis = case.config.account, case.keys, case.genesis
    if genesis is None:
        return [skip("account", "not looked at: the genesis cannot be used")]
    try:
        found = await first_of(apis, lambda api: find_account(api, name))
        active = authority_of(found, "active", genesis.chain)
    except ApiError as error:
        return [fail("account", str(error)[:500], "check node.account and the API servers")]
    if keys is None:
        return [skip("account", f"{name} is on chain; its key is not compared without the password")]
    text = public_key_to_text(keys.account[0].public, genesis.chain.address_prefix)
    if not can_act_alone(active, [keys.account[0].public]):
        what = f"{text} is not in the active authority of {name} on chain, or does not meet it alone"
        return [fail("account", what, "name the account's active key in keys.account")]
    return [ok("account", f"the account key is the active key of {name}")]


def registration(case: Case) -> list[Finding]:
    """Whether the signing keys are registered, and in the group's authority."""
    known, genesis = case.known, case.genesis
    if known is None or genesis is None:
        return [skip("registration", "not known")]
    where = {"node": "", "store": " (as of the node's store)", "genesis": " (as of the genesis document)"}[known.source]
    name = case.config.account
    if known.member is None:
        return [warn("registration", f"{name} is no member{where}", "waggle join, once the node is live")]
    text = public_key_to_text(known.member.signing_key, genesis.chain.address_prefix)
    leaving = (
        [warn("registration", f"{name} is leaving{where}", "keep the node running")] if known.member.leaving else []
    )
    if case.config.signer.url:
        return [*leaving, *_with_the_signer(case, where, text)]
    if case.keys is None:
        return [*leaving, skip("registration", f"{name} is a member{where} with {text}; not compared without the keys")]
    held = {key.public for key in case.keys.signing}
    if known.member.signing_key not in held and known.member.next_key not in held:
        what = f"the registered signing key {text} is not among this node's keys{where}"
        return [*leaving, fail("registration", what, "name its file in keys.signing, or register another: waggle join")]
    return [
        *leaving,
        ok("registration", f"{name} is a member{where}, its signing key is here"),
        _in_authority(known, case.keys),
    ]


def _with_the_signer(case: Case, where: str, text: str) -> list[Finding]:
    """Which keys a remote signer holds, the running node alone knows."""
    name = case.config.account
    if case.status is None:
        what = f"{name} is a member{where} with {text}; whether the remote signer holds it, the running node says"
        return [skip("registration", what)]
    seat = case.status.seat
    if not seat.key_held:
        what = f"the registered signing key {text} is not among the remote signer's keys{where}"
        remedy = "name its file in keys.signing of the signer, or register another: waggle join"
        return [fail("registration", what, remedy)]
    signs = "a key of it is" if seat.signer else "no key of it is yet"
    return [
        ok("registration", f"{name} is a member{where}, its signing key is with the remote signer"),
        ok("seat", f"{'with' if seat.runner else 'without'} a seat, {signs} in the group's authority"),
    ]


def _in_authority(known: Known, keys: Keys) -> Finding:
    held = {key.public for key in keys.signing}
    count = sum(1 for key, weight in known.active.keys if weight and key in held)
    seat = "with a seat" if known.has_seat else "without a seat"
    where = (
        f"{count} of this node's keys is in the group's authority"
        if count
        else "no key of it is in the group's authority yet"
    )
    return ok("seat", f"{seat}, {where}")


async def credits(case: Case, apis: Sequence[Api], name: str, of: str) -> list[Finding]:
    """The resource credits of an account; ``of`` names the finding."""
    try:
        found = await first_of(apis, lambda api: find_credits(api, name))
    except ApiError as error:
        return [skip(of, f"not known: {str(error)[:300]}")]
    now = max((one.view.head_time for one in case.servers if one.view is not None and not one.error), default=0)
    percent = resource_credits(found, now)
    if percent is None:
        return [skip(of, f"the server does not say what {name} has")]
    if found.get("max_rc") in (0, "0"):
        what = f"{name} has no resource credits at all: it can send nothing"
        return [fail(of, what, f"delegate Hive Power to {name}, some tens of HP")]
    said = f"{name} has {percent} % of its resource credits"
    if percent < LOW_CREDITS:
        return [warn(of, f"{said}: soon it can send nothing", f"delegate Hive Power to {name}")]
    return [ok(of, said)]


async def group(case: Case, apis: Sequence[Api]) -> list[Finding]:
    """The group account: its authorities as the state has them, and whether it is sealed."""
    genesis = case.genesis
    if genesis is None:
        return [skip("group", "not looked at: the genesis cannot be used")]
    try:
        found = await first_of(apis, lambda api: find_account(api, genesis.group))
        chain = {role: authority_of(found, role, genesis.chain) for role in ROLES}
    except ApiError as error:
        return [fail("group", str(error)[:500], "check the genesis document and the API servers")]
    known = case.known
    wanted = known.active if known is not None else genesis.authorities["active"]
    if chain["active"] == wanted:
        findings = [ok("group", f"{genesis.group} is held by {_form(genesis, wanted.threshold, len(wanted.keys))}")]
    elif known is None or known.source == "genesis":
        what = f"the authority of {genesis.group} is not that of the genesis: the group has moved on, if it is this one"
        findings = [skip("group", f"{what}; the node finds out when it is live")]
    else:
        what = f"the active authority of {genesis.group} on chain is not the one of this node's state"
        findings = [warn("group", what, "a rotation may be on its way: look again in a minute; else `waggle status`")]
    now = max((one.view.head_time for one in case.servers if one.view is not None and not one.error), default=0)
    own = case.status is not None and case.status.groups_own
    case.sealing = sealing(found, now, groups_own=own or case.status is None)
    return [*findings, _sealed(case, genesis)]


def _form(genesis: Genesis, threshold: int, keys: int) -> str:
    return f"{keys} keys, weight {threshold} signs for it, as the state says"


def _sealed(case: Case, genesis: Genesis) -> Finding:
    found = case.sealing
    if found is None or found.sealed is None:
        return skip("sealed", "not known")
    if found.sealed:
        if case.status is None:
            return skip(
                "sealed", "its recovery account is right; whether owner is the group's own, the running node says"
            )
        return ok("sealed", f"{genesis.group} is sealed: {found.why}")
    when = f", until {time_to_text(found.sealed_at)} UTC" if found.sealed_at else ""
    what = f"{genesis.group} is NOT sealed{when}: {found.why}"
    to = f"change_recovery_account to {genesis.group} or null, and 30 days (protocol section 12)"
    remedy = (
        "nothing need be done: it passes by itself" if found.sealed_at else f"the account is the founder's until: {to}"
    )
    return warn("sealed", what, remedy)


async def all_credits(case: Case, apis: Sequence[Api]) -> list[Finding]:
    """Of the own account and of the group's."""
    names = [(case.config.account, "credits")]
    if case.genesis is not None:
        names.append((case.genesis.group, "group-credits"))
    found = await asyncio.gather(*(credits(case, apis, name, of) for name, of in names))
    return [finding for one in found for finding in one]
