"""Every key and value type of the state in one place, as typed tables (docs/schema.md says the same in words)."""

from typing import Any

from state.governance import (
    Action,
    Changed,
    Decided,
    Emergency,
    Holding,
    Leaving,
    Move,
    Moves,
    Numbered,
    Proposal,
    Spend,
    Total,
    Vote,
)
from state.table import Key, Table, V, Value, encode_value

__all__ = [
    "Action",
    "Changed",
    "Decided",
    "Emergency",
    "Holding",
    "Key",
    "Leaving",
    "Move",
    "Moves",
    "Numbered",
    "Proposal",
    "Spend",
    "Table",
    "Total",
    "V",
    "Value",
    "Vote",
    "encode_value",
]


class Head(Value, frozen=True):
    """``meta/head``: the block applied last."""

    height: int
    block_id: bytes  # 20
    timestamp: int  # seconds since 1970


class Taken(Value, frozen=True):
    """A TaPoS triple with the block it came from."""

    num: int  # ref_block_num
    pre: int  # ref_block_prefix
    exp: int  # expiration, seconds since 1970
    height: int


class Headers(Value, frozen=True):
    """``meta/headers``: the header asked for in this round, and the one elected last."""

    asked: Taken | None
    elected: Taken | None


class Tally(Value, frozen=True):
    """``meta/tally``: how the last tally ended."""

    height: int  # of the tally; start_block before the first
    is_open: bool
    open_rounds: int
    seat_given: int  # height of the tally that gave the last seat
    limit: int  # safety limit of the last agreed tally
    last: int  # limit of the last confirmed rotation
    patience: int  # agreed tallies running at which wanted differed


class Counters(Value, frozen=True):
    """``meta/counters``: never reused, never reset."""

    payload: int  # the last payload id given
    job: int  # the last sequence of chron given


class OwnerChanges(Value, frozen=True):
    """``meta/owner_changes``: timestamps of the newest changes of the owner authority, at most 3."""

    times: tuple[int, ...]


class Parameter(Value, frozen=True):
    """``param``: one protocol parameter in force."""

    value: int


class Member(Value, frozen=True):
    """``node``: a registered Hive account (protocol section 4)."""

    domain: str
    signing_key: bytes  # 33
    pop: bytes  # 65
    follow_active: bool
    next_key: bytes | None
    ripe_key: bytes | None
    count: int  # agreed tallies reported with the signing key, at most ripe_rounds
    leaving: bool
    ver: str  # of the last accepted report


class KeyOwner(Value, frozen=True):
    """``key``: the member that has a key (its signing key, now or ever)."""

    account: str


class Seat(Value, frozen=True):
    """``runner``: a member with a seat."""

    since: int  # height
    missed: int  # agreed rounds running without the agreed root
    marks: int  # rotations not signed


class Balance(Value, frozen=True):
    """``balance``: liquid tokens, smallest units."""

    liquid: int


class Collateral(Value, frozen=True):
    """``collateral``: locked tokens and the part of them that is leaving, smallest units."""

    locked: int
    leaving: int


class Authority(Value, frozen=True):
    """``authority``: an authority of the group account as it is on chain; pairs sorted by key and by name."""

    threshold: int
    keys: tuple[tuple[bytes, int], ...]
    accounts: tuple[tuple[str, int], ...]


class Report(Value, frozen=True):
    """``report``: the accepted report of this round; gone after the tally."""

    root: bytes  # 32
    key: bytes  # the key that signed it
    ver: str


class Round(Value, frozen=True):
    """``round``: what the tally of round H found."""

    root: bytes | None
    header: Taken | None
    agreed: tuple[str, ...]


class Payload(Value, frozen=True):
    """``queue``: a payload that waits or is out. ``op`` is empty for a rotation."""

    kind: str  # rotation | payout
    expiries: int
    queued: int  # height
    to: str
    amount: int
    asset: str  # HIVE | HBD
    memo: str
    out: str  # id of the group transaction that carries it, or ""
    past: tuple[bytes, ...]  # ids of the transactions that carried it and expired


class Record(Value, frozen=True):
    """``ms``: a group transaction that is out (protocol sections 6 to 8)."""

    payloads: tuple[int, ...]
    kind: str  # rotation | payout
    expiration: int
    tx: bytes  # without signatures, legacy pack
    txid: bytes  # 20
    digest: bytes  # 32
    roles: tuple[str, ...]  # authorities needed
    built: int  # height
    status: str  # collecting | ready | refused
    ready_at: int  # height, 0 while never ready
    order: tuple[str, ...]
    recasts: int  # since ready
    attempts: tuple[tuple[int, str], ...]  # (height, account or "*")
    job: tuple[int, int]  # its recast job in chron: (height, sequence)
    limit: int  # safety limit, of a rotation
    needed: tuple[bytes, ...]  # keys that were signers at building and still are, of a rotation


class Signature(Value, frozen=True):
    """``sig``: a signature that counts."""

    sig: bytes  # 65
    height: int
    sender: str


class Refusal(Value, frozen=True):
    """``refusal``: a member's refusal of a group transaction."""

    why: str
    height: int


class Job(Value, frozen=True):
    """``chron``: work due at a height."""

    kind: str  # recast | standing | forget_payload | forget_block
    what: str  # record id, index of a standing payout, payload id, or height


class Done(Value, frozen=True):
    """``done``: the end of a payload."""

    status: str  # confirmed | expired | failed | dropped
    txid: bytes | None
    height: int
    signers: tuple[bytes, ...]
    why: str


class Rejection(Value, frozen=True):
    """``rejected``: an operation of ours that was rejected."""

    txid: bytes
    account: str
    name: str
    code: str


class MoreRejections(Value, frozen=True):
    """``rejected_more``: how many further ones the block held."""

    count: int


class FeedNote(Value, frozen=True):
    """``feed``: an operation on the group account that is an alarm."""

    name: str
    account: str


class Income(Value, frozen=True):
    """``income``: a transfer to the group account; for people, no rule depends on it."""

    sender: str
    amount: int
    asset: str


class Standing(Value, frozen=True):
    """``standing``: a standing payout of the genesis."""

    to: str
    amount: int
    asset: str
    every: int  # blocks
    memo: str


HEAD = Table("meta", (str,), Head, resident=True, fixed=("head",))
HEADERS = Table("meta", (str,), Headers, resident=True, fixed=("headers",))
TALLY = Table("meta", (str,), Tally, resident=True, fixed=("tally",))
COUNTERS = Table("meta", (str,), Counters, resident=True, fixed=("counters",))
OWNER_CHANGES = Table("meta", (str,), OwnerChanges, resident=True, fixed=("owner_changes",))
PROPOSALS = Table("meta", (str,), Numbered, resident=True, fixed=("proposals",))
EMERGENCY = Table("meta", (str,), Emergency, resident=True, fixed=("emergency",))
PARAM = Table("param", (str,), Parameter, resident=True)
CHANGE = Table("change", (int, str), Parameter, resident=True)
NODE = Table("node", (str,), Member, resident=True)
KEY = Table("key", (bytes,), KeyOwner, resident=True)
RUNNER = Table("runner", (str,), Seat, resident=True)
BALANCE = Table("balance", (str,), Balance)
COLLATERAL = Table("collateral", (str,), Collateral)
AUTHORITY = Table("authority", (str,), Authority, resident=True)
REPORT = Table("report", (str,), Report, resident=True)
ROUND = Table("round", (int,), Round)
QUEUE = Table("queue", (int,), Payload, resident=True)
MS = Table("ms", (str,), Record, resident=True)
SIG = Table("sig", (str, bytes), Signature, resident=True)
REFUSAL = Table("refusal", (str, str), Refusal, resident=True)
CHRON = Table("chron", (int, int), Job, resident=True)
DONE = Table("done", (int,), Done)
REJECTED = Table("rejected", (int, int), Rejection)
REJECTED_MORE = Table("rejected_more", (int,), MoreRejections)
FEED = Table("feed", (int, int), FeedNote)
INCOME = Table("income", (int, int), Income)
STANDING = Table("standing", (int,), Standing, resident=True)
MOVE = Table("move", (str, int), Move)
MOVES = Table("moves", (str,), Moves)
MOVED = Table("moved", (int, str), Moves)
LEAVING = Table("leaving", (str,), Leaving)
PROPOSAL = Table("proposal", (int,), Proposal, resident=True)
DECIDED = Table("decided", (int,), Decided)
VOTE = Table("vote", (str, str), Vote, resident=True)
ACTION = Table("action", (int,), Action, resident=True)
SPEND = Table("spend", (int,), Spend)
SPENDING = Table("spending", (str,), Total, resident=True)
TREASURY = Table("treasury", (str,), Holding, resident=True)
CHANGED = Table("changed", (int, str), Changed)

SINGLETONS: tuple[Table[Any], ...] = (HEAD, HEADERS, TALLY, COUNTERS, OWNER_CHANGES, PROPOSALS, EMERGENCY)
TABLES: tuple[Table[Any], ...] = (
    PARAM,
    CHANGE,
    NODE,
    KEY,
    RUNNER,
    BALANCE,
    COLLATERAL,
    AUTHORITY,
    REPORT,
    ROUND,
    QUEUE,
    MS,
    SIG,
    REFUSAL,
    CHRON,
    DONE,
    REJECTED,
    REJECTED_MORE,
    FEED,
    INCOME,
    STANDING,
    MOVE,
    MOVES,
    MOVED,
    LEAVING,
    PROPOSAL,
    DECIDED,
    VOTE,
    ACTION,
    SPEND,
    SPENDING,
    TREASURY,
    CHANGED,
)
NAMES: tuple[str, ...] = tuple(sorted({table.name for table in SINGLETONS + TABLES}))
