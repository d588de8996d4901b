"""What one node wants, as a pure function of what the state shows (protocol section 11).

It looks at what *is*, never at what just happened: a missed event, a crash, a restart cost a block, not the round.
"""

import msgspec

from processors.authority import strict
from processors.members import MAX_KEYS
from processors.params import Params
from processors.recast import due_accounts
from processors.signatures import CANCELLED
from state.schema import (
    AUTHORITY,
    HEAD,
    HEADERS,
    KEY,
    MS,
    NODE,
    REFUSAL,
    REPORT,
    ROUND,
    SIG,
    TALLY,
    Record,
    Round,
    Taken,
)
from state.state import State

MAX_JSONS_A_BLOCK = 4
MAX_BROADCASTS_A_BLOCK = 4


class Me(msgspec.Struct, frozen=True):
    """Who this node is: its account, and the keys that its signer holds."""

    account: str
    keys: tuple[bytes, ...]


class SendReport(msgspec.Struct, frozen=True, tag=True):
    """Report the root after block ``height`` and the header asked for, signed by ``key``."""

    height: int
    root: bytes
    header: Taken
    key: bytes

    @property
    def content(self) -> str:
        """What makes two wishes the same."""
        return f"report:{self.height}"


class SignTransaction(msgspec.Struct, frozen=True, tag=True):
    """Sign the group transaction ``op`` with ``key`` if policy allows, else refuse it."""

    op: str
    key: bytes
    rotation: bool
    built: int

    @property
    def content(self) -> str:
        """What makes two wishes the same."""
        return f"sign:{self.op}:{self.key.hex()}"


class BroadcastTransaction(msgspec.Struct, frozen=True, tag=True):
    """Broadcast the group transaction ``op``: it is ready and this node is due."""

    op: str
    ready_at: int

    @property
    def content(self) -> str:
        """What makes two wishes the same."""
        return f"broadcast:{self.op}:{self.ready_at}"  # ready again is another wish


Action = SendReport | SignTransaction | BroadcastTransaction


class Memory(msgspec.Struct, frozen=True):
    """What of the node's own doing matters: contents sent and not seen on chain, with the height they were sent at.

    ``again_after`` is the number of blocks after which they are sent anew; ``not_before`` holds the heights at which
    what was refused may be tried again.
    """

    sent: dict[str, int] = {}
    again_after: int = 21
    not_before: dict[str, int] = {}


def wanted(state: State, params: Params, me: Me, memory: Memory) -> list[Action]:
    """What this node wants now: report first, then signatures of the rotation, then by age, then broadcasts.

    The number of records out bounds it; who carries it out sends at most MAX_JSONS_A_BLOCK and MAX_BROADCASTS_A_BLOCK
    (a signature that policy holds back takes no place).
    """
    if state.get(NODE, me.account) is None:
        return []
    height = state.height
    actions: list[Action] = [
        *_report(state, params, me),
        *signatures_wanted(state, me),
        *_broadcasts(state, params, me),
    ]
    return [action for action in actions if _is_due(action, memory, height)]


def agrees(state: State, params: Params) -> bool:
    """Whether the last tally agreed, on this node's own root: without it nothing is signed."""
    start = state.need(TALLY).height - params.round_length
    found = state.get(ROUND, start) if start >= 0 else None
    return found is not None and found.root is not None and found.root == state.root(start)


def differs_from_agreed(state: State, params: Params) -> int | None:
    """H of the last round if it agreed on a root that is not this node's, else None."""
    start = state.need(TALLY).height - params.round_length
    found = state.get(ROUND, start) if start >= 0 else None
    return start if found is not None and _differs(state, start, found) else None


def first_difference(state: State) -> int | None:
    """The first round, of those kept, that agreed on a root which is not this node's: a restart forgets nothing."""
    return next((int(start) for (start,), found in state.walk(ROUND) if _differs(state, int(start), found)), None)


def last_equal(state: State, before: int) -> int | None:
    """The newest round before ``before`` whose agreed root was this node's, as far as both are kept."""
    equal = [
        int(start)
        for (start,), found in state.walk(ROUND)
        if int(start) < before and found.root is not None and found.root == state.root(int(start))
    ]
    return max(equal, default=None)


def _differs(state: State, start: int, found: Round) -> bool:
    """Whether a round agreed on another root than this node's, where it still knows its own."""
    own = state.root(start) if found.root is not None else None
    return own is not None and own != found.root


def _is_due(action: Action, memory: Memory, height: int) -> bool:
    sent = memory.sent.get(action.content)
    waited = sent is None or height - sent >= memory.again_after
    return waited and height >= memory.not_before.get(action.content, 0)


def _report(state: State, params: Params, me: Me) -> list[SendReport]:
    height = state.height
    start = height // params.round_length * params.round_length
    asked = state.need(HEADERS).asked
    root = state.root(start)
    if height - start < params.report_at or asked is None or asked.height != start + params.report_at or root is None:
        return []
    if state.get(REPORT, me.account) is not None:
        return []
    member = state.need(NODE, me.account)
    next_key = member.next_key
    if next_key is not None:
        owner = state.get(KEY, next_key)
        mine = sum(1 for _, other in state.walk(KEY) if other.account == me.account)
        if (owner is not None and owner.account != me.account) or (owner is None and mine >= MAX_KEYS):
            next_key = None  # another member has it by now, or there is no room for it: such a report is rejected
    for key in (next_key, member.signing_key):
        if key is not None and key in me.keys:
            return [SendReport(start, root, asked, key)]
    return []


def missing_keys(state: State, me: Me, op: str, record: Record) -> list[bytes]:
    """Keys of this node's signer that the record needs and that have not signed it."""
    needed = {key for role in record.roles for key, weight in state.need(AUTHORITY, role).keys if weight}
    return [key for key in sorted(needed & set(me.keys)) if state.get(SIG, op, key) is None]


def signatures_wanted(state: State, me: Me) -> list[SignTransaction]:
    """Records that this node's signer could sign now, of the rotation first, then by age."""
    now = state.need(HEAD).timestamp
    found = []
    for (name,), record in state.walk(MS):
        op = str(name)
        if now >= record.expiration or record.status == CANCELLED or state.get(REFUSAL, op, me.account) is not None:
            continue
        found += [
            SignTransaction(op, key, record.kind == "rotation", record.built)
            for key in missing_keys(state, me, op, record)
        ]
    return sorted(found, key=lambda action: (not action.rotation, action.built, action.op, action.key))


def _broadcasts(state: State, params: Params, me: Me) -> list[BroadcastTransaction]:
    now = state.need(HEAD).timestamp
    rotating = _rotation_on_its_way(state, params)
    found = []
    for (name,), record in state.walk(MS):
        if record.status != "ready" or now >= record.expiration or (rotating and record.kind != "rotation"):
            continue
        accounts = due_accounts(record)
        if accounts is None or me.account in accounts:
            found.append(BroadcastTransaction(str(name), record.ready_at))
    return sorted(found, key=lambda action: (action.ready_at, action.op))


def _rotation_on_its_way(state: State, params: Params) -> bool:
    """Whether a rotation became ready less than a recast ago: what is signed by the keys it replaces would cross it on
    the way and be refused. One that still stands after that holds nothing up any more."""
    return any(
        record.kind == "rotation"
        and record.status == "ready"
        and state.height - record.ready_at < params.recast_every
        and state.need(HEAD).timestamp < record.expiration
        for _, record in state.walk(MS)
    )


def chosen_signatures(state: State, op: str, record: Record) -> list[bytes]:
    """The signatures that a broadcast carries (protocol section 7): for each authority needed, the signers in byte
    order until its threshold is met; the union, in byte order of the keys. Before hardfork 28 a surplus is refused."""
    have = {bytes(key): entry.sig for (_, key), entry in state.walk(SIG, op)}  # type: ignore[arg-type]
    chosen: set[bytes] = set()
    for role in record.roles:
        authority = state.need(AUTHORITY, role)
        weight = 0
        for key, key_weight in authority.keys:
            if weight >= authority.threshold:
                break
            if key_weight and key in have:
                chosen.add(key)
                weight += key_weight
    return [have[key] for key in sorted(chosen)]


def is_groups_own(state: State) -> bool:
    """Whether active and owner on chain are of the strict shape, over keys that members have: the group's own."""
    for role in ("owner", "active"):
        authority = state.need(AUTHORITY, role)
        keys = [key for key, _ in authority.keys]
        if authority != strict(keys) or not all(state.get(KEY, key) is not None for key in keys):
            return False
    return True
