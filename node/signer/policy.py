"""Policy before signing (protocol section 11): each point a hard stop with its reason on screen."""

import json
from collections.abc import Callable

import msgspec

from node.agent import agrees
from node.signer.approvals import Approvals, approval, confirmation
from node.signer.journal import Journal
from node.signer.opinion import second_opinion
from processors.authority import is_strict
from processors.authority_form import as_stored
from processors.builder import group_transaction, operation_id, rotation_operation
from processors.contents import Content, contents
from processors.genesis import Genesis
from processors.hive.errors import HiveDataError
from processors.hive.keys import public_key_to_text
from processors.hive.operations import Operation, show_operation
from processors.hive.transaction import (
    Transaction,
    pack_transaction,
    signing_digest,
    transaction_id,
    unpack_transaction,
)
from processors.hive.types import Authority as HiveAuthority
from processors.signatures import CANCELLED
from state.schema import KEY, NODE, STANDING, Authority, Record, Taken
from state.state import State

#: Seconds over which the limits of a day count, by the blocks' time.
DAY = 86_400


#: What no limit of ours measures, so "proposal" does not allow it, only its name does: a custom_json may be money
#: elsewhere.
TO_BE_NAMED = frozenset({"custom_json", "delegate_vesting_shares", "account_witness_proxy"})


class Policy(msgspec.Struct, frozen=True):
    """A node's own rules. ``allow`` names kinds of payloads, or operations of proposals.

    A limit of None is no limit (smallest units). ``receivers``: who may be paid at all, None = everybody. ``manual``:
    the operator approves each group transaction. ``dry_run``: nothing is signed, only said.
    """

    second_opinion: bool = True
    allow: tuple[str, ...] = ("rotation", "standing", "proposal")
    max_hive: int | None = None
    max_hbd: int | None = None
    max_hive_day: int | None = None
    max_hbd_day: int | None = None
    receivers: tuple[str, ...] | None = None
    manual: bool = False
    dry_run: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """``kind`` is sign, hold (ask again at the next block) or refuse (``why`` goes on chain); ``detail`` on screen."""

    kind: str
    why: str = ""
    detail: str = ""


SIGN = Verdict("sign")


def judge(
    state: State,
    genesis: Genesis,
    op: str,
    record: Record,
    policy: Policy,
    journal: Journal,
    denied: Callable[[bytes], bool],
    now: int,
) -> Verdict:
    """May this node sign ``record``? ``denied(txid)``: two servers of different operators deny its inclusion.

    ``now``: the block time that counts. What the operator alone decides comes after this: :func:`consent`.
    """
    if not agrees(state, genesis.params):
        return Verdict("hold", "no_agreement", "the last tally did not agree on this node's own root")
    if record.status == CANCELLED:
        return Verdict("hold", "cancelled", "the seats have marked it: nobody signs it any more")
    known = [content for content in contents(state, record.payloads) if content.payload.out == op]
    if len(known) != len(record.payloads):
        return Verdict("refuse", "unknown_payload", "the queue does not hold its payloads")
    tx, packed = rebuild(genesis, op, record, known)
    if packed != record.tx:
        return Verdict("refuse", "rebuilt_differently", f"built here: {packed.hex()} in the record: {record.tx.hex()}")
    if (transaction_id(packed), signing_digest(packed, genesis.chain)) != (record.txid, record.digest):
        return Verdict("refuse", "rebuilt_differently", f"id {record.txid.hex()} is not that of {packed.hex()}")
    verdict = _allowed(state, genesis, policy, record, known, tx.operations)
    if verdict is not SIGN:
        return verdict
    opinion = second_opinion(tx, genesis.chain) if policy.second_opinion else None
    if opinion is not None and opinion.failed:
        return Verdict("hold", "second_opinion", f"{opinion.why}; mend it, or set policy.second_opinion = false")
    if opinion is not None and opinion.packed not in (None, packed):
        theirs = opinion.packed.hex() if opinion.packed else ""
        return Verdict("refuse", "second_opinion", f"beem makes {theirs} of what is {packed.hex()} here")
    over = _over_a_days_limit(policy, journal, record, known, now)
    if over:
        return Verdict("hold", "day_limit", over)
    conflicts = journal.conflicts(record.payloads, record.txid, now)
    if conflicts:
        return Verdict("hold", "journal", f"signed before and not dead: {', '.join(e.txid for e in conflicts)}")
    earlier = {txid for content in known for txid in content.payload.past}
    earlier |= {bytes.fromhex(entry.txid) for number in record.payloads for entry in journal.entries(number)}
    undenied = [txid.hex() for txid in sorted(earlier - {record.txid}) if not denied(txid)]
    if undenied:
        detail = f"two servers of different operators must deny that {', '.join(undenied)} was included"
        return Verdict("hold", "not_denied", detail)
    return Verdict("sign", "abstained", opinion.why) if opinion is not None and opinion.packed is None else SIGN


def consent(
    policy: Policy, journal: Journal, approvals: Approvals, key: bytes, now: int, *, word: str, words: str
) -> Verdict:
    """Whether the operator's word is needed, and there, for a transaction that may be signed. Raises JournalError.

    ``word`` approves the transaction (node/signer/approvals.py), ``words`` tell what it does (:func:`told`).
    """
    until = journal.held_until(key)
    if now < until and journal.born is not None and not approvals.has(confirmation(journal.born)):
        detail = (
            f"this journal began at block {journal.born.height}, and the key is older: it signs in {until - now} s of "
            f"block time, or once you run `waggle journal confirm` because no other machine signed with it"
        )
        return Verdict("hold", "young_journal", detail)
    if policy.manual and not approvals.has(word):
        return Verdict("hold", "manual", words)
    if policy.dry_run:
        return Verdict("hold", "dry_run", "policy.dry_run: it would be signed now")
    return SIGN


def told(genesis: Genesis, op: str, record: Record, known: list[Content]) -> str:
    """What the operator must see before his word: which transaction it is, and whom it pays or which keys it sets."""
    if record.kind == "rotation":
        authority, roles = rotation_of(genesis, record)
        keys = [f"{public_key_to_text(key, genesis.chain.address_prefix)} ({weight})" for key, weight in authority.keys]
        does = f"{', '.join(roles)}: {authority.threshold} of {', '.join(keys)}"
    else:
        does = "; ".join(_words(genesis, content) for content in known)
    return f"look at it, then run `waggle approve {approval(op, record.txid)}`: {does}"


def _words(genesis: Genesis, content: Content) -> str:
    """What the operator reads before his word; amounts in smallest units, operations as Hive's API shows them."""
    if content.is_transfer:
        paid = content.payload
        return f"{paid.amount} {paid.asset} (smallest units) to {paid.to}, memo {paid.memo!r}"
    shown = [show_operation(one, genesis.chain, typed=False) for one in content.operations(genesis)]
    return json.dumps(shown)  # in ASCII: letters that turn or hide text show as what they are


def spends_of(known: list[Content]) -> dict[int, tuple[str, int]]:
    """(asset, amount) that each payload takes away."""
    return {content.number: content.spends for content in known if content.spends[1]}


def _over_a_days_limit(policy: Policy, journal: Journal, record: Record, known: list[Content], now: int) -> str:
    """What is above a limit of a day, in words; the day is that of the blocks' time."""
    for asset, limit in (("HIVE", policy.max_hive_day), ("HBD", policy.max_hbd_day)):
        here = sum(amount for kind, amount in spends_of(known).values() if kind == asset)
        spent = journal.spent(asset, now - DAY, record.payloads)
        if limit is not None and here and spent + here > limit:
            return f"{here} {asset} after {spent} within a day is above policy's {limit}"
    return ""


def rebuild(genesis: Genesis, op: str, record: Record, known: list[Content]) -> tuple[Transaction, bytes]:
    """The transaction that this node builds for the record's payloads, header and expiration, and its bytes.

    A rotation's authority was computed at building from a state that has moved on since: it is read from the record and
    judged by itself.
    """
    _, num, pre = map(int, op.split(":"))
    if operation_id(record.built, Taken(num, pre, 0, 0)) != op:
        return Transaction(0, 0, 0, ()), b""
    if record.kind == "rotation":
        authority, roles = rotation_of(genesis, record)
        operations = [rotation_operation(genesis, authority, roles)]
    else:
        operations = [operation for content in known for operation in content.operations(genesis)]
    tx = group_transaction(genesis, op, num, pre, record.expiration, operations)
    return tx, pack_transaction(tx, genesis.chain)


def rotation_of(genesis: Genesis, record: Record) -> tuple[Authority, tuple[str, ...]]:
    """(the authority that a rotation sets, for which roles); of what is none, an authority that nothing allows."""
    nothing = Authority(0, (), ()), ()
    try:
        tx = unpack_transaction(record.tx, genesis.chain)
    except HiveDataError:
        return nothing
    if not tx.operations or tx.operations[0].name != "account_update":
        return nothing
    value = tx.operations[0].value
    given: dict[str, HiveAuthority] = {r: value[r] for r in ("owner", "active", "posting") if value[r] is not None}
    if len(set(given.values())) != 1:
        return nothing
    found = next(iter(given.values()))
    return as_stored(found), tuple(given)


def _allowed(
    state: State,
    genesis: Genesis,
    policy: Policy,
    record: Record,
    known: list[Content],
    operations: tuple[Operation, ...],
) -> Verdict:
    if record.kind == "rotation":
        return _rotation_allowed(state, policy, operations[0])
    standing = {(s.to, s.amount, s.asset, s.memo) for _, s in state.walk(STANDING)}
    for content in known:
        paid = content.payload
        is_standing = (paid.to, paid.amount, paid.asset, paid.memo) in standing
        kind = "proposal" if content.action is not None else "standing" if is_standing else "payout"
        for operation in content.operations(genesis):
            is_named = kind == "proposal" and operation.name in policy.allow
            if not is_named and (kind not in policy.allow or (kind == "proposal" and operation.name in TO_BE_NAMED)):
                words = f"policy.allow has neither {kind} nor {operation.name}: {_words(genesis, content)}"
                return Verdict("refuse", "not_allowed", words)
            receiver = receiver_of(operation)
            if policy.receivers is not None and receiver not in ("", genesis.group, *policy.receivers):
                return Verdict("refuse", "not_allowed", f"policy.receivers does not name {receiver}")
        asset, amount = content.spends
        limit = {"HIVE": policy.max_hive, "HBD": policy.max_hbd}.get(asset)
        if limit is not None and amount > limit:
            return Verdict("refuse", "over_limit", f"{amount} {asset} is above policy's {limit}")
    return SIGN


def receiver_of(operation: Operation) -> str:
    """Who gets something by an operation; "" where nobody does."""
    return next((str(operation.value[key]) for key in ("to", "delegatee", "proxy") if key in operation.value), "")


def _rotation_allowed(state: State, policy: Policy, operation: Operation) -> Verdict:
    if "rotation" not in policy.allow:
        return Verdict("refuse", "not_allowed", "policy.allow has no rotation")
    given = operation.value["active"]
    if given is None or not is_strict(as_stored(given)):
        return Verdict("refuse", "not_strict", "the authority has not the shape of protocol section 4")
    for key, _ in given.key_auths:
        owner = state.get(KEY, key)
        if owner is None or state.get(NODE, owner.account) is None:
            return Verdict("refuse", "foreign_key", f"no member has the key {key.hex()}")
    return SIGN
