"""The long tables at the end of the page: accounts, group transactions, operations, witnesses."""

from collections import Counter

from node.audit.page_html import (
    HASH,
    NAME,
    WORD,
    Cell,
    Raw,
    code,
    left_out,
    note,
    right,
    section,
    some,
    table,
    who,
    word,
)
from node.audit.verdict import Account, GroupTransaction, Verdict
from node.span import plural

_ACCOUNTS, _SENDERS, _TRANSACTIONS, _CODES, _WITNESSES = 1_000, 2, 500, 300, 300
_NAMES = 6  # in one cell


def tables(found: Verdict) -> str:
    """All four."""
    return _accounts(found) + _transactions(found) + _operations(found) + _witnesses(found)


def _accounts(found: Verdict) -> str:
    ordered = sorted(found.accounts.items(), key=lambda entry: (-entry[1].reports, -entry[1].rejected, entry[0]))
    rows = [_account(name, one) for name, one in ordered[:_ACCOUNTS]]
    return section(
        "accounts",
        "Accounts",
        "Who sent reports, how many were taken or rejected, and which Hive keys signed the transactions they came in.",
        table(
            "Accounts and the keys that sent for them",
            ("Account", "Reports taken", "Reports rejected", "Sent by keys (how often)"),
            rows,
            note=left_out(len(rows), len(ordered), "accounts"),
        ),
    )


def _account(name: str, one: Account) -> tuple[Cell, ...]:
    senders = sorted(one.senders.items(), key=lambda entry: (-entry[1], entry[0]))
    keys = ", ".join(f"{code(key, HASH)} ({count:,})" for key, count in senders[:_SENDERS])
    more = f" and {len(senders) - _SENDERS:,} more" if len(senders) > _SENDERS else ""
    return who(name), one.reports, one.rejected, Raw(keys + more or "–")


def _transactions(found: Verdict) -> str:
    count = len(found.transactions)
    newest = found.transactions[-_TRANSACTIONS:][::-1]
    ends = Counter((one.kind, one.end) for one in found.transactions)
    signatures = sum(len(one.signed) for one in found.transactions)
    told = f"The newest {len(newest):,} of {count:,}. {left_out(len(newest), count, 'transactions')}"
    heads = (
        "Id",
        "Kind",
        "Payloads",
        "Built in block",
        "End",
        "In block",
        "Signatures taken",
        "Recasts",
        "Refused by (why)",
        "Carried by",
        "Hive transaction",
    )
    return section(
        "transactions",
        "Group transactions",
        "Each was built by the rules, byte for byte the same on every node, signed by members one after the other, and "
        "sent to Hive once enough had signed.",
        f"<p>{plural(count, 'transaction')}, {plural(signatures, 'signature')} taken.</p>",
        table(
            "How they ended",
            ("Kind", "End", "Transactions"),
            [(word(kind), word(end), number) for (kind, end), number in sorted(ends.items())[:_CODES]],
        ),
        table("Group transactions, newest first", heads, [_transaction(one) for one in newest], note=told),
    )


def _transaction(one: GroupTransaction) -> tuple[Cell, ...]:
    refused = [f"{account[:NAME]} ({why[:WORD]})" for account, why, _ in one.refused]
    return (
        code(one.op, WORD),
        word(one.kind),
        some([f"p{number}" for number in one.payloads], _NAMES),
        one.built,
        word(one.end),
        right(f"{one.included:,}" if one.included else "–"),
        len(one.signed),
        len(one.recasts),
        some(refused, _NAMES),
        some([name[:HASH] for name in one.carried_by], _NAMES),
        code(one.txid, HASH),
    )


def _operations(found: Verdict) -> str:
    names = sorted(found.accepted.keys() | found.rejected.keys())
    codes = [(name, why, count) for name, counts in found.rejected.items() for why, count in counts.items()]
    codes.sort(key=lambda entry: (-entry[2], entry[0], entry[1]))
    sums = {name: sum(counts.values()) for name, counts in found.rejected.items()}
    return section(
        "operations",
        "Operations",
        "What members and strangers asked of the group, and by which rule it was turned down: a rejected operation "
        "changes nothing.",
        table(
            "Operations by name",
            ("Operation", "Accepted", "Rejected"),
            [(code(name, WORD), found.accepted.get(name, 0), sums.get(name, 0)) for name in names[:_CODES]],
            note=left_out(min(len(names), _CODES), len(names), "names"),
        ),
        table(
            "Rejected, by code",
            ("Operation", "Code", "Times"),
            [(code(name, WORD), code(why, WORD), count) for name, why, count in codes[:_CODES]],
            note=left_out(min(len(codes), _CODES), len(codes), "codes"),
            empty="nothing was rejected.",
        ),
    )


def _witnesses(found: Verdict) -> str:
    lead = "The producers of Hive's blocks; each block's signature was held against the key its witness signed with."
    if not found.checks.signatures:
        return section("witnesses", "Witnesses", lead, note("Their signatures were not checked."))
    ordered = sorted(found.witnesses.items(), key=lambda entry: (-entry[1], entry[0]))
    rows = [(who(name), count) for name, count in ordered[:_WITNESSES]]
    told = left_out(len(rows), len(ordered), "witnesses")
    return section(
        "witnesses", "Witnesses", lead, table("Blocks by witness", ("Witness", "Blocks signed"), rows, note=told)
    )
