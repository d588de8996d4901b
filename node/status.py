"""What a node can say of itself, as one value: `waggle status`, /v1/status and the metrics all show this.

A pure function of the core and of the facts that the runtime gathered; every list in it is bounded.
"""

from typing import Any

import msgspec

from node import transactions
from node.agent import agrees, is_groups_own
from node.core import LIVE_WITHIN, NodeCore
from node.facts import Facts, ServerFacts
from node.governance import known_value
from node.span import BLOCK_SECONDS
from node.transactions import TransactionStatus
from processors.emergencies import emergency
from processors.hive.keys import public_key_to_text
from processors.params import Params
from state.schema import (
    AUTHORITY,
    COUNTERS,
    DONE,
    NODE,
    PROPOSAL,
    QUEUE,
    REPORT,
    ROUND,
    RUNNER,
    TALLY,
    Member,
    Table,
    Tally,
)
from state.state import State

#: Servers and ended payloads that are shown; all other lists are bounded by the protocol's parameters.
MAX_SERVERS = 32
MAX_ENDED = 20


class RoundStatus(msgspec.Struct, frozen=True):
    """The last tally, and this node's report in the round that runs now.

    ``height`` = H of the round that the tally ended, -1 before the first; ``mine``: this node is among those who
    agreed. ``report`` is not_member, not_due, missing, sent or on_chain.
    """

    height: int = -1
    agreed: bool = False
    root: str = ""
    own_root: str = ""
    on_own_root: bool = False
    mine: bool = False
    open_rounds: int = 0
    report: str = "not_member"


class SeatStatus(msgspec.Struct, frozen=True):
    """This node's place in the group.

    ``since`` is the height at which the seat was given, -1 without one; ``missed`` agreed rounds running, ``marks`` for
    rotations not signed. ``key_held``: our signer holds the registered key. ``ripe``: the signing key is the ripe key;
    ``tallies_needed`` = agreed tallies until then. ``signer``: one of our keys stands in the active authority.
    """

    member: bool = False
    leaving: bool = False
    runner: bool = False
    since: int = -1
    missed: int = 0
    marks: int = 0
    signing_key: str = ""
    key_held: bool = False
    ripe: bool = False
    tallies_needed: int = 0
    next_key: str = ""
    signer: bool = False


class ReportStatus(msgspec.Struct, frozen=True):
    """A runner's last report: its version, and whether it agreed in the last round."""

    account: str
    version: str
    agreed: bool
    missed: int


class EndedStatus(msgspec.Struct, frozen=True):
    """A payload that has come to its end at ``height``; ``txid`` is empty where no transaction carried it."""

    payload: int
    status: str
    height: int
    txid: str
    why: str


class Status(msgspec.Struct, frozen=True):
    """A node as it stands. Heights are block numbers; -1 and empty texts before the state begins.

    ``seconds_behind`` is the age of the block applied last, or 3 s a block of lag where the time is not known.
    ``groups_own``: owner and active on chain are strict authorities over members' keys. ``sealed`` None = not known.
    ``journal_held_until``: block time until which a key of ours signs no group transaction, 0 = none is held back, None
    = not known. ``round_length`` in blocks. ``proposals``: open ones. ``held_value``: what the group is known to hold
    of HIVE and HBD, smallest units; ``worth``: what the safety limit is held to be worth. ``halted_until``: height
    before which the seats let nothing but rotations be built; ``held_until``: no rotation.
    """

    account: str
    group: str
    genesis: str
    version: str
    start_block: int
    height: int
    block_id: str
    timestamp: int
    irreversible: int
    head: int
    lag: int
    seconds_behind: int
    live: bool
    halted_at: int | None
    round: RoundStatus
    seat: SeatStatus
    groups_own: bool
    sealed: bool | None
    sealed_at: int
    resource_credits: int | None
    members: int
    runners: int
    threshold: int
    waiting: int
    journal_held: bool | None
    journal_held_until: int | None
    round_length: int
    signer: str
    store_bytes: int
    free_bytes: int
    started_at: int
    proposals: int = 0
    held_value: int = 0
    worth: int = 0
    halted_until: int = 0
    held_until: int = 0
    transactions: tuple[TransactionStatus, ...] = ()
    ended: tuple[EndedStatus, ...] = ()
    reports: tuple[ReportStatus, ...] = ()
    servers: tuple[ServerFacts, ...] = ()


def status(core: NodeCore, facts: Facts, now: int | None = None) -> Status:
    """The node as it stands; ``now`` in seconds since 1970, if the caller has a clock."""
    state, genesis = core.state, core.genesis
    begun = state.height >= 0
    params = core.params
    lag = max(0, facts.irreversible - state.height) if begun and facts.irreversible else 0
    timestamp = state.head.timestamp if begun else 0
    held_until = core.held_until()
    return Status(
        account=core.me.account,
        group=genesis.group,
        genesis=genesis.hash.hex(),
        version=core.version,
        start_block=genesis.start_block,
        height=state.height,
        block_id=state.head.block_id.hex() if begun else "",
        timestamp=timestamp,
        irreversible=facts.irreversible,
        head=facts.head,
        lag=lag,
        seconds_behind=lag * BLOCK_SECONDS if now is None or not begun else max(0, now - timestamp),
        live=facts.is_live and begun and lag <= LIVE_WITHIN,
        halted_at=core.halted_at,
        round=_round(core, params) if begun else RoundStatus(),
        seat=_seat(core, params) if begun else SeatStatus(),
        groups_own=begun and is_groups_own(state),
        sealed=facts.sealed,
        sealed_at=facts.sealed_at,
        resource_credits=facts.resource_credits,
        members=_count(state, NODE) if begun else 0,
        runners=_count(state, RUNNER) if begun else 0,
        threshold=state.need(AUTHORITY, "active").threshold if begun else 0,
        waiting=sum(1 for _, payload in state.walk(QUEUE) if not payload.out) if begun else 0,
        journal_held=None if held_until is None else held_until > 0,
        journal_held_until=held_until,
        round_length=params.round_length,
        signer=facts.signer,
        store_bytes=facts.store_bytes,
        free_bytes=facts.free_bytes,
        started_at=facts.started_at,
        **(_governed(state, params) if begun else {}),
        transactions=transactions.open_transactions(core) if begun else (),
        ended=_ended(state) if begun else (),
        reports=_reports(state, params) if begun else (),
        servers=facts.servers[:MAX_SERVERS],
    )


def _governed(state: State, params: Params) -> dict[str, int]:
    """What the seats decide on, and what they have stopped."""
    held, worth, _ = known_value(state, params)
    stopped = emergency(state)
    return {
        "proposals": _count(state, PROPOSAL),
        "held_value": held,
        "worth": worth,
        "halted_until": stopped.halted_until,
        "held_until": stopped.held_until,
    }


def _count(state: State, table: Table[Any]) -> int:
    return sum(1 for _ in state.walk(table))


def _round(core: NodeCore, params: Params) -> RoundStatus:
    state, account = core.state, core.me.account
    tally = state.need(TALLY)
    start = _round_of(tally, params)
    found = state.get(ROUND, start)
    report = _report(core, params)
    if found is None:
        return RoundStatus(open_rounds=tally.open_rounds, report=report)
    own = state.root(start)
    return RoundStatus(
        height=start,
        agreed=found.root is not None,
        root=found.root.hex() if found.root else "",
        own_root=own.hex() if own else "",
        on_own_root=agrees(state, params),
        mine=account in found.agreed,
        open_rounds=tally.open_rounds,
        report=report,
    )


def _round_of(tally: Tally, params: Params) -> int:
    """H of the round that the last tally ended."""
    return max(0, tally.height - params.round_length)


def _report(core: NodeCore, params: Params) -> str:
    """How far this node's report of the running round has come."""
    state, account = core.state, core.me.account
    start = state.height // params.round_length * params.round_length
    if state.get(NODE, account) is None:
        return "not_member"
    if state.get(REPORT, account) is not None:
        return "on_chain"
    if core.was_sent(f"report:{start}"):
        return "sent"
    return "not_due" if state.height - start <= params.report_at else "missing"


def _seat(core: NodeCore, params: Params) -> SeatStatus:
    state, me = core.state, core.me
    member = state.get(NODE, me.account)
    signing = {key for key, weight in state.need(AUTHORITY, "active").keys if weight}
    if member is None:
        return SeatStatus(signer=bool(signing & set(me.keys)))
    seat = state.get(RUNNER, me.account)
    prefix = core.genesis.chain.address_prefix
    ripe = member.ripe_key == member.signing_key
    return SeatStatus(
        member=True,
        leaving=member.leaving,
        runner=seat is not None,
        since=seat.since if seat is not None else -1,
        missed=seat.missed if seat is not None else 0,
        marks=seat.marks if seat is not None else 0,
        signing_key=public_key_to_text(member.signing_key, prefix),
        key_held=member.signing_key in me.keys or member.next_key in me.keys,
        ripe=ripe,
        tallies_needed=0 if ripe else max(0, params.ripe_rounds - member.count),
        next_key=_text(member, prefix),
        signer=bool(signing & set(me.keys)),
    )


def _text(member: Member, prefix: str) -> str:
    return public_key_to_text(member.next_key, prefix) if member.next_key is not None else ""


def _ended(state: State) -> tuple[EndedStatus, ...]:
    """The newest payloads that have ended, newest first."""
    last = state.need(COUNTERS).payload
    found = []
    for number in range(last, max(0, last - MAX_ENDED), -1):
        done = state.get(DONE, number)
        if done is not None:
            txid = done.txid.hex() if done.txid is not None else ""
            found.append(EndedStatus(number, done.status, done.height, txid, done.why))
    return tuple(found)


def _reports(state: State, params: Params) -> tuple[ReportStatus, ...]:
    """The last report of each runner."""
    found = state.get(ROUND, _round_of(state.need(TALLY), params))
    agreed = found.agreed if found is not None else ()
    return tuple(
        ReportStatus(str(account), state.need(NODE, account).ver, account in agreed, seat.missed)
        for (account,), seat in state.walk(RUNNER)
    )
