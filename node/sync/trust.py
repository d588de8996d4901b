"""Which root a stranger may believe: one that the account's own signers reported on chain (protocol sections 4 and 5).

Pure functions of proven blocks and of the group account's authority. A report counts for a signer key in two ways: the
key itself signed it; or the account that sent it proved, by its pop, that the key is its own.
"""

from collections.abc import Iterable

import msgspec

from processors import shapes, strict_json
from processors.errors import Rejected
from processors.genesis import Genesis, pop_digest
from processors.hive.block import Block
from processors.hive.crypto import recover
from processors.hive.errors import HiveDataError, SignatureError
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction
from processors.report import REPORT_SHAPE, report_digest
from state.schema import NODE, Authority
from state.state import State


class Reported(msgspec.Struct, frozen=True):
    """``account`` said on chain that the state has ``root`` after block ``height``; ``key`` signed that."""

    account: str
    height: int
    root: bytes
    key: bytes


class Weighed(msgspec.Struct, frozen=True):
    """What stands behind a root: ``weight`` of ``total``, of which ``needed`` are enough; who, and which keys lack."""

    root: bytes
    weight: int
    needed: int
    total: int
    accounts: tuple[str, ...]
    missing: tuple[bytes, ...]

    @property
    def is_enough(self) -> bool:
        """At least the threshold, and more than half of all weight, accounts in the authority included."""
        return self.weight >= self.needed


def reports_in(block: Block, genesis: Genesis) -> list[Reported]:
    """The reports of a proven block, each signed by some key; what is no report by the rules is passed over."""
    if not block.may_mention((f"{genesis.prefix}report".encode(),)):
        return []
    found = []
    for index in range(len(block.transactions)):
        try:
            tx = block.transaction(index)[0]
        except HiveDataError:
            continue  # holds what we cannot serialise: no report that we could believe
        found += reports_of(tx, genesis)
    return found


def reports_of(tx: Transaction, genesis: Genesis) -> list[Reported]:
    """The reports of a transaction."""
    return [report for operation in tx.operations if (report := _report(operation, genesis)) is not None]


def _report(operation: Operation, genesis: Genesis) -> Reported | None:
    value = operation.value
    if operation.name != "custom_json" or value["id"] != f"{genesis.prefix}report":
        return None
    senders = set(value["required_auths"])
    if len(senders) != 1 or value["required_posting_auths"]:
        return None
    (account,) = senders
    try:
        body = strict_json.parse(value["json"])
        shapes.check(body, REPORT_SHAPE)
        root = bytes.fromhex(body["root"])
        digest = report_digest(genesis.hash, body["height"], root, account)
        return Reported(account, body["height"], root, recover(bytes.fromhex(body["sig"]), digest))
    except (Rejected, SignatureError):
        return None


def owners_of(state: State, genesis: Genesis) -> dict[bytes, str]:
    """Signing key -> account, each entry proven by its pop, or written in the genesis: no snapshot's word is taken."""
    found = {runner.signing_key: runner.account for runner in genesis.runners}
    for (name,), member in state.walk(NODE):
        account = str(name)
        if not member.pop:
            continue
        try:
            if recover(member.pop, pop_digest(genesis.hash, account)) == member.signing_key:
                found[member.signing_key] = account
        except SignatureError:
            continue
    return found


def weigh(reports: Iterable[Reported], root: bytes, authority: Authority, owners: dict[bytes, str]) -> Weighed:
    """What the signers of ``authority`` put behind ``root``; ``owners`` proves whose a key is."""
    behind = [report for report in reports if report.root == root]
    accounts, signed = {report.account for report in behind}, {report.key for report in behind}
    total = sum(share for _, share in authority.keys) + sum(share for _, share in authority.accounts)
    weight = 0
    missing = []
    for key, share in authority.keys:
        if share and (key in signed or owners.get(key) in accounts):
            weight += share
        elif share:
            missing.append(key)
    needed = max(authority.threshold, total // 2 + 1)
    return Weighed(root, weight, needed, total, tuple(sorted(accounts)), tuple(missing))
