"""What an auditor has to say in the end: for people in a few lines, for machines as one value."""

from collections import Counter

import msgspec

from node.audit.auditor import OTHER_KEYS, Auditor
from node.audit.findings import KINDS, Finding
from node.audit.payloads import Held, SignersFrom, Wanted
from node.audit.reports import AGREED, GUEST, MISSING, WRONG, Attendance, RoundSeen
from node.audit.transactions import Signed
from node.span import plural
from processors.hive.keys import public_key_to_text

#: The form of the value; a later version that changes it counts up.
FORM = 1


class Account(msgspec.Struct, frozen=True):
    """What an account did: its rounds as a runner (agreed, wrong, missing), reports without a seat, what was refused.

    ``marks``: one letter a round from the history's round ``first`` on (see node/audit/reports.py). ``senders``: the
    Hive keys that signed its operations, with how often; beyond the first 100 of them ``others``.
    """

    agreed: int
    wrong: int
    missing: int
    guest: int
    reports: int
    rejected: int
    first: int
    marks: str
    senders: dict[str, int]


class GroupTransaction(msgspec.Struct, frozen=True):
    """A group transaction that the rules built, and its life. Heights are blocks, ``expiration`` a UNIX time."""

    op: str
    kind: str
    payloads: tuple[int, ...]
    txid: str
    built: int
    expiration: int
    end: str
    included: int
    signed: list[Signed]
    refused: list[tuple[str, str, int]]
    ready: list[int]
    recasts: list[tuple[int, str]]
    carried_by: list[str]


class Checks(msgspec.Struct, frozen=True):
    """What was looked at: Merkle roots, signatures, snapshots, roots that were given."""

    merkle: bool
    signatures: bool
    snapshots: int
    trusted: int


class Verdict(msgspec.Struct, frozen=True):
    """The result of a replay. ``good``: nothing deviates, and the history reached the height asked for."""

    form: int
    good: bool
    group: str
    genesis: str
    source: str
    caveat: str
    checks: Checks
    first: int
    height: int
    wanted: int
    blocks: int
    seconds: float
    timestamp: int
    root_height: int
    root: str
    round_length: int
    deviations: dict[str, int]
    findings: list[Finding]
    accounts: dict[str, Account]
    rounds: list[RoundSeen]
    transactions: list[GroupTransaction]
    payloads: list[Wanted]
    signers: list[SignersFrom]
    treasury: list[Held]
    witnesses: dict[str, int]
    accepted: dict[str, int]
    rejected: dict[str, dict[str, int]]


def verdict(auditor: Auditor, *, source: str, caveat: str, wanted: int, seconds: float, checks: Checks) -> Verdict:
    """Everything that an auditor has seen, once the history is at its end."""
    state, genesis, findings = auditor.state, auditor.genesis, auditor.findings
    rejected: dict[str, dict[str, int]] = {}
    for (name, code), count in sorted(auditor.rejected.items()):
        rejected.setdefault(name, {})[code] = count
    root_height, root = auditor.last_root or (-1, b"")
    return Verdict(
        form=FORM,
        good=not findings.total and state.height == wanted,
        group=genesis.group,
        genesis=genesis.hash.hex(),
        source=source,
        caveat=caveat,
        checks=checks,
        first=genesis.start_block,
        height=state.height,
        wanted=wanted,
        blocks=auditor.blocks,
        seconds=round(seconds, 3),
        timestamp=state.head.timestamp if state.height >= 0 else 0,
        root_height=root_height,
        root=root.hex(),
        round_length=genesis.params.round_length,
        deviations=dict(sorted(findings.counts.items())),
        findings=findings.kept,
        accounts={name: _account(auditor, found) for name, found in sorted(auditor.reports.accounts.items())},
        rounds=auditor.reports.rounds,
        transactions=_transactions(auditor),
        payloads=[auditor.payloads.all[number] for number in sorted(auditor.payloads.all)],
        signers=auditor.payloads.signers,
        treasury=auditor.payloads.held,
        witnesses={name: count for name, (_, count) in sorted(auditor.witnesses.keys.items())},
        accepted=dict(sorted(auditor.accepted.items())),
        rejected=rejected,
    )


def _account(auditor: Auditor, found: Attendance) -> Account:
    prefix = auditor.genesis.chain.address_prefix
    senders: Counter[bytes] = auditor.senders.get(found.account, Counter())
    return Account(
        agreed=found.count(AGREED),
        wrong=found.count(WRONG),
        missing=found.count(MISSING),
        guest=found.count(GUEST),
        reports=found.reports,
        rejected=found.rejected,
        first=found.first,
        marks=found.marks.decode(),
        senders={
            public_key_to_text(key, prefix) if key != OTHER_KEYS else "others": count
            for key, count in sorted(senders.items())
        },
    )


def _transactions(auditor: Auditor) -> list[GroupTransaction]:
    return [
        GroupTransaction(
            op=one.op,
            kind=one.kind,
            payloads=one.payloads,
            txid=one.txid,
            built=one.built,
            expiration=one.expiration,
            end=one.end,
            included=one.included,
            signed=one.signed,
            refused=one.refused,
            ready=one.ready,
            recasts=one.recasts,
            carried_by=one.carried_by,
        )
        for one in auditor.transactions.built.values()
    ]


def in_words(found: Verdict) -> list[str]:
    """The verdict for a terminal."""
    span = f"blocks {found.first} to {found.height} ({found.blocks:,} in {found.seconds:.1f} s)"
    lines = [
        f"group        {found.group}, genesis {found.genesis}",
        f"history      {found.source}: {span}",
        f"last root    {found.root or 'none yet'} of block {found.root_height}",
        *_checked(found),
        *_rounds(found),
        *_group_transactions(found),
        *_operations(found),
    ]
    if found.caveat:
        lines.append(f"CAVEAT       {found.caveat}")
    lines += _deviations(found)
    return lines


def _checked(found: Verdict) -> list[str]:
    checks = found.checks
    seen = ["links and ids"]
    seen += ["Merkle roots"] if checks.merkle and not found.caveat else []
    witnesses = plural(len(found.witnesses), "witness", "witnesses")
    seen += [f"signatures of {witnesses} and of our operations"] if checks.signatures else []
    seen += [f"{checks.snapshots} snapshots"] if checks.snapshots else []
    seen += [f"{checks.trusted} roots that were given"] if checks.trusted else []
    return [f"checked      {', '.join(seen)}"]


def _rounds(found: Verdict) -> list[str]:
    still = sum(one.is_open for one in found.rounds)
    lines = [f"rounds       {len(found.rounds)}: {len(found.rounds) - still} agreed, {still} open"]
    width = max((len(name) for name in found.accounts), default=0)
    for name, one in found.accounts.items():
        lines.append(
            f"  {name.ljust(width)}  agreed {one.agreed:>6}  wrong {one.wrong:>4}  missing {one.missing:>5}"
            f"  without a seat {one.guest:>5}  rejected {one.rejected:>4}"
        )
    return lines


def _group_transactions(found: Verdict) -> list[str]:
    ends = Counter(f"{one.kind} {one.end}" for one in found.transactions)
    signatures = sum(len(one.signed) for one in found.transactions)
    told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items())) or "none"
    return [f"group tx     {told}; {signatures:,} signatures"]


def _operations(found: Verdict) -> list[str]:
    accepted = ", ".join(f"{name} {count:,}" for name, count in found.accepted.items()) or "none"
    lines = [f"accepted     {accepted}"]
    for name, codes in found.rejected.items():
        lines.append(f"rejected     {name}: " + ", ".join(f"{code} {count:,}" for code, count in codes.items()))
    return lines


def _deviations(found: Verdict) -> list[str]:
    if found.good:
        return ["VERDICT      good: nothing deviates"]
    lines = []
    if found.height != found.wanted:
        lines.append(f"NOT REACHED  block {found.wanted}: the history could be followed to {found.height} only")
    shown: Counter[str] = Counter()
    for one in found.findings:
        shown[one.kind] += 1
        if shown[one.kind] <= 5:
            lines.append(f"  {one.kind} at {one.height}: {one.words}" + (f" (Hive {one.txid})" if one.txid else ""))
    for kind, count in found.deviations.items():
        lines.append(f"DEVIATION    {count} x {kind}: {KINDS[kind][1]} (protocol section {KINDS[kind][0]})")
    lines.append(f"VERDICT      {sum(found.deviations.values())} deviations")
    return lines
