"""What the group knows of one account: of the running node, of its store, or of the genesis document alone."""

from pathlib import Path

import msgspec

from node import control
from node.assembly import open_state
from node.config import Config
from node.errors import ApiError, NodeError
from node.span import BLOCK_SECONDS
from processors.genesis import Genesis
from processors.params import Params
from state.errors import StateError
from state.schema import AUTHORITY, COLLATERAL, KEY, NODE, RUNNER, Authority, Member
from state.state import State
from state.store import LevelStore

#: Members whose domains a running node is asked for.
MAX_DOMAINS = 40


class Known(msgspec.Struct, frozen=True):
    """``source``: node, store or genesis; ``height`` -1 = as of the genesis document.

    ``locked`` and ``leaving`` are collateral in smallest units; ``key_owner``: who has the key that was asked about,
    "" = nobody; ``lowest`` = the smallest collateral of a runner; None where the source does not say.
    """

    source: str
    height: int
    member: Member | None
    locked: int
    leaving: int
    has_seat: bool
    key_owner: str
    active: Authority
    members: int | None = None
    runners: int | None = None
    lowest: int | None = None


async def look(config: Config, genesis: Genesis, key: bytes) -> Known:
    """What is known of the configuration's account and of a signing key, from the best source that there is."""
    try:
        return await _of_node(config.data / control.CONTROL, config.account, genesis, key)
    except (ApiError, NodeError):
        pass
    found = _of_store(config.data / "state", config.account, genesis, key)
    return found if found is not None else _of_genesis(config.account, genesis, key)


async def domains(config: Config, genesis: Genesis) -> dict[str, str]:
    """Account -> domain of the members that have one, as far as it is known here."""
    path = config.data / control.CONTROL
    try:
        names = [report.account for report in (await control.status(path)).reports][:MAX_DOMAINS]
        found = {name: await control.value(path, NODE, name) for name in names}
        return {name: member.domain for name, member in found.items() if member is not None and member.domain}
    except (ApiError, NodeError):
        pass
    state = _open(config.data / "state", genesis)
    if state is None:
        return {runner.account: runner.domain for runner in genesis.runners if runner.domain}
    try:
        return {str(name): member.domain for (name,), member in state.walk(NODE) if member.domain}
    finally:
        state.close()


async def member_of(config: Config) -> tuple[int, Member | None]:
    """(height, member) as the running node has them now. Raises ApiError, NodeError."""
    path = config.data / control.CONTROL
    height = (await control.status(path)).height
    return height, await control.value(path, NODE, config.account)


async def _of_node(path: Path, account: str, genesis: Genesis, key: bytes) -> Known:
    found = await control.status(path)
    if found.genesis != genesis.hash.hex():
        raise NodeError("the running node has another genesis")
    if found.height < 0:
        return _of_genesis(account, genesis, key)
    collateral = await control.value(path, COLLATERAL, account)
    owner = await control.value(path, KEY, key)
    active = await control.value(path, AUTHORITY, "active")
    return Known(
        source="node",
        height=found.height,
        member=await control.value(path, NODE, account),
        locked=collateral.locked if collateral is not None else 0,
        leaving=collateral.leaving if collateral is not None else 0,
        has_seat=found.seat.runner,
        key_owner=owner.account if owner is not None else "",
        active=active if active is not None else genesis.authorities["active"],
        members=found.members,
        runners=found.runners,
    )


def _of_store(folder: Path, account: str, genesis: Genesis, key: bytes) -> Known | None:
    state = _open(folder, genesis)
    if state is None:
        return None
    try:
        return _of_state(state, account, key) if state.height >= 0 else None
    finally:
        state.close()


def _open(folder: Path, genesis: Genesis) -> State | None:
    """The state in a folder; None where there is none, or a node holds it, or it is damaged."""
    if not folder.joinpath("CURRENT").exists():
        return None
    try:
        return open_state(genesis, LevelStore(folder, genesis.hash, create=False))
    except StateError:
        return None  # `waggle doctor` says why


def _of_state(state: State, account: str, key: bytes) -> Known:
    collateral, owner = state.get(COLLATERAL, account), state.get(KEY, key)
    runners = [str(name) for (name,), _ in state.walk(RUNNER)]
    held = [state.get(COLLATERAL, name) for name in runners]
    return Known(
        source="store",
        height=state.height,
        member=state.get(NODE, account),
        locked=collateral.locked if collateral is not None else 0,
        leaving=collateral.leaving if collateral is not None else 0,
        has_seat=account in runners,
        key_owner=owner.account if owner is not None else "",
        active=state.need(AUTHORITY, "active"),
        members=sum(1 for _ in state.walk(NODE)),
        runners=len(runners),
        lowest=min((one.locked - one.leaving if one is not None else 0 for one in held), default=None),
    )


def _of_genesis(account: str, genesis: Genesis, key: bytes) -> Known:
    own = {runner.account: runner for runner in genesis.runners}
    mine = own.get(account)
    member = None
    if mine is not None:
        member = Member(mine.domain, mine.signing_key, b"", False, None, mine.signing_key, 0, False, "")
    return Known(
        source="genesis",
        height=-1,
        member=member,
        locked=dict(genesis.collateral).get(account, 0),
        leaving=0,
        has_seat=mine is not None,
        key_owner=next((runner.account for runner in genesis.runners if runner.signing_key == key), ""),
        active=genesis.authorities["active"],
        members=len(own),
        runners=len(own),
        lowest=min((dict(genesis.collateral).get(name, 0) for name in own), default=None),
    )


def why_not(known: Known, params: Params, account: str) -> str:
    """Why the group would reject the registration of the key that was asked about; empty = it would not."""
    if known.key_owner not in ("", account):
        return f"{known.key_owner} has this signing key, or had it: make another with `waggle keys new`"
    if known.member is None and known.members is not None and known.members >= params.max_members:
        return f"{params.max_members} members are registered, more are not taken: wait until one leaves"
    return ""


def what_it_costs(known: Known, params: Params) -> list[str]:
    """What membership costs, for people."""
    day = 86_400 // (params.round_length * BLOCK_SECONDS)
    lines = [
        f"a report every round: some {max(1, day)} custom_json a day, paid with the account's resource credits",
        f"collateral for a seat: at least {params.min_collateral}, you have {known.locked - known.leaving} locked"
        + (f" ({known.leaving} leaving)" if known.leaving else ""),
    ]
    if known.runners is not None and known.runners >= params.max_runners:
        lowest = f", which is {known.lowest}" if known.lowest is not None else ""
        lines.append(f"all {params.max_runners} seats are taken: more than {params.outbid} % of the poorest{lowest}")
    if known.locked - known.leaving < params.min_collateral:
        lines.append("that is too little: as a member you report, but get no seat")
    return lines


def what_comes_next(known: Known, params: Params, key: bytes) -> list[str]:
    """What happens after the registration, for people."""
    hours = params.ripe_rounds * params.round_length * BLOCK_SECONDS / 3600
    ripe = known.member is not None and key in (known.member.ripe_key,)
    lines = [] if ripe else [f"the key ripens in {params.ripe_rounds} agreed rounds with your report: {_hours(hours)}"]
    if not known.has_seat:
        lines.append(f"then a seat: one is given every {params.seat_rounds} rounds, to the most collateral first")
    lines.append("with a seat and a ripe key the next rotation puts your key into the group account's authority")
    lines.append("keep the node running from now on: a key counts only while it reports")
    if known.member is not None and known.member.signing_key != key:
        lines.append("keep the old signing key in keys.signing until it has left the group's authority")
    return lines


def what_leaving_means(known: Known, keys: list[bytes]) -> list[str]:
    """What happens after node_delete, for people."""
    held = [key for key, weight in known.active.keys if weight and key in keys]
    lines = ["the seat is given up at once; your collateral stays yours, and locked"]
    if held:
        lines.append(
            f"{len(held)} of your keys is in the group account's authority: until a rotation takes it out the group "
            f"needs your reports and signatures, so keep the node running"
        )
    else:
        lines.append(
            "none of your keys is in the group account's authority: the next agreed tally ends the registration"
        )
    lines.append("`waggle status` says when you are no member any more: then stop the node, and keep the keys a month")
    return lines


def _hours(hours: float) -> str:
    return f"about {hours:.0f} hours" if hours >= 2 else f"about {hours * 60:.0f} minutes"
