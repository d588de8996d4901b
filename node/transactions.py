"""The group transactions that are out, as one node sees them: who signed, who is missing, and why it did not itself."""

import msgspec

from node.agent import missing_keys
from node.core import NodeCore
from node.span import BLOCK_SECONDS
from processors.contents import Content, contents
from processors.hive.keys import public_key_to_text
from processors.recast import due_accounts
from state.schema import AUTHORITY, KEY, MS, REFUSAL, SIG, Record
from state.state import State

#: Group transactions and payloads of one that are shown; the counts beside them are whole.
MAX_SHOWN = 32


class RoleStatus(msgspec.Struct, frozen=True):
    """The weight that one authority needs, has, and lacks."""

    role: str
    needed: int
    collected: int
    missing: int


class RefusalStatus(msgspec.Struct, frozen=True):
    """A member that will not sign, and its code."""

    account: str
    why: str


class TransactionStatus(msgspec.Struct, frozen=True):
    """A group transaction that is out.

    ``age_seconds`` counts 3 s a block; ``expires_in`` is in seconds of block time. ``signed`` and ``missing`` name
    accounts, or keys that no member has. ``mine`` is not_needed, signed, sent, refused or waiting, ``why`` the reason
    that was told for waiting. ``due``: who may broadcast now, "*" = every member. ``next_recast`` is a height.
    """

    op: str
    kind: str
    status: str
    payload_count: int
    payloads: tuple[str, ...]
    txid: str
    built: int
    ready_at: int
    age_blocks: int
    age_seconds: int
    expires_in: int
    roles: tuple[RoleStatus, ...]
    signed: tuple[str, ...]
    missing: tuple[str, ...]
    mine: str
    why: str
    refusals: tuple[RefusalStatus, ...]
    due: tuple[str, ...]
    recasts: int
    next_recast: int
    numbers: tuple[int, ...]


def open_transactions(core: NodeCore) -> tuple[TransactionStatus, ...]:
    """Those of the state, the oldest first."""
    records = sorted(core.state.walk(MS), key=lambda item: (item[1].built, item[0]))
    return tuple(_shown(core, str(op), record) for (op,), record in records[:MAX_SHOWN])


def told(core: NodeCore, op: str) -> str:
    """The reason that was told last for not signing ``op`` as a matter of course; empty = none."""
    return core.told.get(op, ("", "", ""))[1]


def _shown(core: NodeCore, op: str, record: Record) -> TransactionStatus:
    state = core.state
    have = {bytes(key) for (_, key), _ in state.walk(SIG, op)}  # type: ignore[arg-type]
    needed = _signers(state, record)
    mine = _mine(core, op, record, needed)
    age = state.height - record.built
    payloads = contents(state, record.payloads[:MAX_SHOWN])
    return TransactionStatus(
        op=op,
        kind=record.kind,
        status=record.status,
        payload_count=len(record.payloads),
        payloads=tuple(_words(content) for content in payloads),
        txid=record.txid.hex(),
        built=record.built,
        ready_at=record.ready_at,
        age_blocks=age,
        age_seconds=age * BLOCK_SECONDS,
        expires_in=record.expiration - state.head.timestamp,
        roles=tuple(_role(state, role, have) for role in record.roles),
        signed=_names(core, [key for key in needed if key in have]),
        missing=_names(core, [key for key in needed if key not in have]),
        mine=mine,
        why=told(core, op) if mine in ("waiting", "refused") else "",
        refusals=tuple(RefusalStatus(str(who), note.why) for (_, who), note in state.walk(REFUSAL, op)),
        due=_due(record),
        recasts=record.recasts,
        next_recast=record.job[0],
        numbers=record.payloads[:MAX_SHOWN],
    )


def _signers(state: State, record: Record) -> list[bytes]:
    """The keys that may sign a record, in byte order."""
    return sorted({key for role in record.roles for key, weight in state.need(AUTHORITY, role).keys if weight})


def _role(state: State, role: str, have: set[bytes]) -> RoleStatus:
    authority = state.need(AUTHORITY, role)
    collected = sum(weight for key, weight in authority.keys if key in have)
    return RoleStatus(role, authority.threshold, collected, max(0, authority.threshold - collected))


def _names(core: NodeCore, keys: list[bytes]) -> tuple[str, ...]:
    """The accounts that have these keys, each once; a key that nobody has by its text."""
    found = set()
    for key in keys:
        owner = core.state.get(KEY, key)
        name = public_key_to_text(key, core.genesis.chain.address_prefix) if owner is None else owner.account
        found.add(name)
    return tuple(sorted(found))


def _mine(core: NodeCore, op: str, record: Record, needed: list[bytes]) -> str:
    """What this node's part in a record has come to."""
    mine = set(needed) & set(core.me.keys)
    if not mine:
        return "not_needed"
    left = missing_keys(core.state, core.me, op, record)
    if not left:
        return "signed"
    if core.state.get(REFUSAL, op, core.me.account) is not None:
        return "refused"
    return "sent" if all(core.was_sent(f"sign:{op}:{key.hex()}") for key in left) else "waiting"


def _due(record: Record) -> tuple[str, ...]:
    if record.status != "ready":
        return ()
    accounts = due_accounts(record)
    return ("*",) if accounts is None else accounts


def _words(content: Content) -> str:
    """A payload for people. Assets of Hive have three decimals."""
    payload = content.payload
    if payload.kind == "rotation":
        return "rotation of the group's keys"
    again = f", attempt {payload.expiries + 1}" if payload.expiries else ""
    if not content.is_transfer and content.action is not None:
        return f"proposal {content.action.proposal}{again}"
    return f"{payload.amount // 1000}.{payload.amount % 1000:03} {payload.asset} to {payload.to}{again}"
