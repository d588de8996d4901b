"""What of a node's status needs its operator, most pressing first, each with what to do."""

from collections.abc import Iterator

import msgspec

from node.core import LIVE_WITHIN
from node.span import span
from node.status import Status
from processors.hive.times import time_to_text

#: Seconds of block time before its expiration at which a transaction that lacks weight is pressing, or a quarter of
#: its lifetime where that is short.
NEARLY_EXPIRED = 1_800
#: Percent of the group account's resource credits below which it may soon send nothing.
LOW_CREDITS = 10
#: Bytes of free disk below which a node should not be left alone.
LOW_DISK = 2 << 30
#: Blocks that a signature of ours may be missing before it is worth a word, with a local signer.
UNSIGNED_BLOCKS = 20
#: A remote one signs what the next round's reports vouch for: up to so many rounds and blocks after the building.
REMOTE_ROUNDS, REMOTE_BLOCKS = 2, 40
#: Rounds without agreement running.
OPEN_ROUNDS = 2


class Attention(msgspec.Struct, frozen=True):
    """``name`` is that of the alarm in docs/operating.md."""

    name: str
    what: str
    remedy: str


def not_ready(status: Status) -> tuple[str, ...]:
    """Why this node does not take its full part in the group now; empty = it does."""
    if status.height < 0:
        return (f"the state has not begun: it waits for block {status.start_block} to be irreversible",)
    found = []
    if status.halted_at is not None:
        found.append(f"halted: the group agreed on another root in the round of {status.halted_at}")
    if not status.live:
        found.append(f"not live: {_not_live(status)}")
    if not status.round.agreed:
        found.append("the last tally did not agree on a root" if status.round.height >= 0 else "no tally yet")
    elif not status.round.on_own_root and status.halted_at is None:
        found.append("the last tally agreed, but not on a root that this node knows as its own")
    return tuple(found)


def some(names: tuple[str, ...], most: int = 6) -> str:
    """The first few of many names."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def good_operators(status: Status) -> int:
    """How many operators have an API server that is good: nothing is signed without a second one."""
    return len({server.operator for server in status.servers if server.standing == "good"})


def unsigned_blocks(status: Status) -> int:
    """Blocks that a signature of this node may take when all is well."""
    if status.signer == "local":
        return UNSIGNED_BLOCKS
    return REMOTE_ROUNDS * status.round_length + REMOTE_BLOCKS


def attention(status: Status) -> tuple[Attention, ...]:
    """Everything that needs the operator."""
    return (*_state(status), *_seat(status), *_transactions(status), *_surroundings(status))


def _state(status: Status) -> Iterator[Attention]:
    if status.halted_at is not None:
        yield Attention(
            "diverged",
            f"this node's root differs from the agreed one in the round of {status.halted_at}: it signs nothing",
            "find the first block that differs with `waggle diff PEER`, then follow docs/operating.md#diverged",
        )
    if status.height < 0:
        what = f"the state has not begun (start_block {status.start_block})"
        yield Attention("not-begun", what, "wait for that block to be irreversible; check the API servers below")
        return
    if not status.live:
        remedy = "wait while it catches up; if the height stands still, check the API servers"
        yield Attention("lag", f"not live: {_not_live(status)}", remedy)
    if status.round.open_rounds >= OPEN_ROUNDS:
        yield Attention(
            "open-rounds",
            f"{status.round.open_rounds} rounds running ended without agreement: nothing is built",
            "see which runners report below, and ask the operators of those that do not",
        )
    yield from _governed(status)
    if status.round.report == "missing" and status.live and status.seat.key_held and status.halted_at is None:
        what = "the report of this round is due and was not sent"
        yield Attention("missed-reports", what, "see the log for `refused` and `api_error`; check resource credits")


def _not_live(status: Status) -> str:
    """Why a node whose state has begun does not act."""
    if not status.irreversible:
        return "no server has said where the chain is"
    if status.lag > LIVE_WITHIN:
        return f"catching up, {status.lag} blocks behind (at most {LIVE_WITHIN} are live)"
    where = f"{status.lag} blocks behind" if status.lag else "it has the newest irreversible block"
    return f"{where}, and acts from the next one on"


def _seat(status: Status) -> Iterator[Attention]:
    if status.height < 0:
        return
    seat = status.seat
    if not seat.member:
        yield Attention("not-member", f"{status.account} is not registered", "run `waggle join`")
    elif not seat.key_held:
        what = f"the registered signing key {seat.signing_key} is not held by this node's signer"
        yield Attention("key-missing", what, "add that key to keys.signing, or register a new one with `waggle join`")
    if seat.missed:
        what = f"{seat.missed} agreed rounds running without this node's report of the agreed root"
        yield Attention("missed-reports", what, "see the log for `refused`, `api_error`, `diverged`")
    if seat.marks:
        what = f"{seat.marks} of 3 marks: rotations expired that this node was needed for and did not sign"
        yield Attention("marks", what, "look why a rotation is not signed: its line below says it")


def _transactions(status: Status) -> Iterator[Attention]:
    for one in status.transactions:
        lacks = [role for role in one.roles if role.missing]
        if lacks and one.expires_in < min(NEARLY_EXPIRED, (one.expires_in + one.age_seconds) // 4):
            words = ", ".join(f"{role.missing} of {role.needed} for {role.role}" for role in lacks)
            what = f"{one.op} expires in {max(0, one.expires_in)} s and lacks weight: {words}"
            remedy = f"ask {some(one.missing)} to sign" if one.missing else "wait: it will be built anew"
            yield Attention("near-expiry", what, remedy)
        if one.mine == "waiting" and one.age_blocks >= unsigned_blocks(status):
            why = one.why or "no reason was told"
            remedy = _remedy_of(one.why, f"{one.op} {one.txid}", status)
            yield Attention("not-signed", f"{one.op} is not signed by this node: {why}", remedy)


def _remedy_of(why: str, approved: str, status: Status) -> str:
    """What helps against a reason for not signing.

    ``approved``: the word for this one transaction, which a stopped node and a signer.toml take too.
    """
    there = _at_the_signer(status)
    known = {
        "manual": f"look at it, then run `waggle approve {approved}`{there}",
        "young_journal": f"run `waggle journal confirm`{there} if no other machine signed with this key, or wait",
        "not_agreed_yet": "wait for the reports of the next rounds: a remote signer signs what they vouch for",
        "own_word": f"nobody else vouches for this chain: look elsewhere, then run `waggle approve {approved}`{there}",
        "cancelled": "nothing: the seats have marked it, nobody signs it any more",
        "not_wanted": "nothing: it is over, or another key signs it, by the state of the signer",
        "unconfirmed": "check the second operator's API server: it must have the block",
        "not_denied": "check the API servers: two operators must deny the earlier attempt",
        "no_agreement": "wait for a tally that agrees",
        "dry_run": "take policy.dry_run out of the configuration if this node shall sign",
        "second_opinion": "read the log line `hold` of this transaction",
        "day_limit": "wait, or raise the limit in [policy]",
        "journal": "wait until the earlier transaction has expired",
    }
    return known.get(why, "read the log lines of this transaction")


def _at_the_signer(status: Status) -> str:
    """Where a word of the operator's is said, if that is not here."""
    return "" if status.signer == "local" else " where the signer runs, with its signer.toml"


def _governed(status: Status) -> Iterator[Attention]:
    if status.held_value > status.worth:
        what = (
            f"the group is known to hold {status.held_value} smallest units of HIVE and HBD, more than its safety "
            f"limit is worth ({status.worth}): a dishonest majority would gain by leaving"
        )
        yield Attention("over-value", what, "lock more collateral, pay out, or have the seats change value_limit")
    if status.height < status.halted_until:
        what = f"the seats have halted payouts until block {status.halted_until}"
        yield Attention("payouts-halted", what, "ask the members why; more than half of the seats can `waggle resume`")
    if status.height < status.held_until:
        what = f"the seats hold rotations back until block {status.held_until}"
        remedy = "ask the members why: no key comes or leaves meanwhile; more than half of them can `waggle resume`"
        yield Attention("rotations-held", what, remedy)


def _surroundings(status: Status) -> Iterator[Attention]:
    if status.signer == "unreachable":
        yield Attention("signer", "the signer does not answer", "start `waggle signer` and look at its log")
    if status.journal_held_until:
        until = status.journal_held_until
        left = span(max(0, until - status.timestamp))
        what = (
            f"the journal is younger than a key, which signs no group transaction until block time "
            f"{time_to_text(until)} UTC, in {left}"
        )
        confirm = f"`waggle journal confirm`{_at_the_signer(status)}"
        yield Attention("journal-held", what, f"wait, or, if no other machine signed with this key, run {confirm}")
    if status.servers and good_operators(status) < 2:
        bad = ", ".join(f"{one.url} ({one.standing})" for one in status.servers if one.standing != "good")
        what = f"fewer than two operators' API servers are good: {bad or 'all are of one operator'}"
        yield Attention("api-servers", what, "nothing is signed without a second one: name more servers in [[api]]")
    if 0 < status.free_bytes < LOW_DISK:
        what = f"{status.free_bytes >> 20} MiB of disk are free"
        yield Attention("disk", what, "make room: the node stops cleanly before the disk is full")
    if status.resource_credits is not None and status.resource_credits < LOW_CREDITS:
        what = f"{status.group} has {status.resource_credits} % of its resource credits: soon it can send nothing"
        yield Attention("resource-credits", what, f"delegate Hive Power to {status.group}")
