"""What a world knows to be true of its history, and an auditor must find: told by the world, block by block.

It counts by its own lines, from what stands on the chain and what the world did; an auditor's findings are held
against it.
"""

import contextlib
import json
from typing import Any

import msgspec

from node.devnet.chain import DevnetChain, Pooled
from node.devnet.founding import GROUP
from node.sim.audit import Auditor, Known
from node.sim.outcome import demand
from processors.genesis import Genesis
from processors.hive.authority import required_authorities
from processors.hive.block import Header, reference_prefix
from processors.hive.crypto import recover
from processors.hive.errors import SignatureError
from processors.hive.operations import Operation
from processors.hive.types import Authority
from processors.report import report_digest
from state.schema import KEY, MS, REJECTED, REJECTED_MORE, RUNNER

#: Seconds within which Hive surely refuses a third change of owner by an update.
_OWNER_SECONDS = 3_540
_RECOVERIES = frozenset({"request_account_recovery", "recover_account", "change_recovery_account"})
_ROLES = ("posting", "active", "owner")
#: What changes whose key is whose, beside the end of a round.
_OF_KEYS = ("node_add", "node_delete", "report")


class Expected(msgspec.Struct, frozen=True, order=True):
    """A deviation that stands on the chain. ``lie``: the kind of fault that brought it on, where one member did."""

    kind: str
    height: int
    account: str = ""
    txid: str = ""
    lie: str = ""


class Sent(msgspec.Struct, frozen=True, order=True):
    """A group transaction that the rules built, and the block that holds it (0: none)."""

    txid: str
    kind: str
    included: int


class Attended(msgspec.Struct):
    """An account's rounds (see node.audit.reports): as a runner, without a seat, and its accepted reports."""

    agreed: int = 0
    wrong: int = 0
    missing: int = 0
    guest: int = 0
    reports: int = 0


class Told(msgspec.Struct, frozen=True):
    """A recorded history as its world knows it. ``root`` is that of ``root_height``, ``trace`` that of ``height``."""

    seed: int
    genesis: str
    first: int
    height: int
    root_height: int
    root: str
    trace: str
    rounds: int
    open_rounds: int
    findings: list[Expected]
    attendance: dict[str, Attended]
    transactions: list[Sent]
    counts: dict[str, int]
    faults: dict[str, int]


class Teller:
    """Follows a world's auditor. ``lies``: what each false report was, by transaction id."""

    def __init__(self, chain: DevnetChain, genesis: Genesis, auditor: Auditor) -> None:
        self.lies: dict[bytes, str] = {}
        self.findings: list[Expected] = []
        self.attendance: dict[str, Attended] = {}
        self.included: dict[bytes, int] = {}
        self._chain = chain
        self._genesis = genesis
        self._auditor = auditor
        account = chain.ledger.accounts[GROUP]
        self._authority = {role: getattr(account, role) for role in _ROLES}
        self._owner_times: list[int] = []
        self._first: dict[str, bytes] = {}  # this round's first reports
        self._wrong: list[Expected] = []
        self._unsigned = 0
        self._is_known = False  # whether any report was taken
        self._keys: set[bytes] = set()  # that ever were a member's, or in the group's authority
        self._held: set[tuple[bytes, str]] = set()  # (key, whose)
        self._marked: set[str] = set()
        self._votes: dict[str, set[str]] = {}

    # -- a block

    def block(self, number: int) -> None:
        """A block that the world's auditor has just applied."""
        produced, state = self._chain.block(number), self._auditor.state
        assert produced is not None
        length = self._genesis.params.round_length
        if number > self._genesis.start_block:
            demand(
                state.get(REJECTED_MORE, number) is None, "told", f"too many rejections at {number} to know them all"
            )
            codes = {(entry.txid, entry.account): entry.code for _, entry in state.walk(REJECTED, number)}
            before = set(self._held)
            if number % length == 0 or any(self._is_of_keys(entry) for entry in produced.transactions):
                self._held = {(bytes(key), one.account) for (key,), one in state.walk(KEY)}  # type: ignore[arg-type]
            held = before | self._held
            self._keys |= {key for key, _ in held}
            for entry in produced.transactions:
                self._transaction(number, produced.header, entry, codes, held)
            if number % length == 0:
                self._round_ended(number)
        self._marked |= {str(op) for (op,), record in state.walk(MS) if record.status == "cancelled"}

    def _is_of_keys(self, entry: Pooled) -> bool:
        return any(self._ours(operation)[0] in _OF_KEYS for operation in entry.tx.operations)

    def _ours(self, operation: Operation) -> tuple[str, str, dict[str, Any]]:
        """(name, account, body) of an operation of the group's, else empty ones."""
        value, prefix = operation.value, self._genesis.prefix
        if operation.name == "custom_json" and value["id"].startswith(prefix) and len(value["required_auths"]) == 1:
            with contextlib.suppress(ValueError):
                return value["id"][len(prefix) :], value["required_auths"][0], json.loads(value["json"])
        return "", "", {}

    def _transaction(
        self,
        number: int,
        header: Header,
        entry: Pooled,
        codes: dict[tuple[bytes, str], str],
        held: set[tuple[bytes, str]],
    ) -> None:
        required = required_authorities(entry.tx.operations)
        roles = [role for role in _ROLES if GROUP in getattr(required, role)]
        if roles:
            self._of_the_group(number, entry, roles)
        for operation in entry.tx.operations:
            name, account, body = self._ours(operation)
            code = codes.get((entry.txid, account), "")
            if name == "report":
                self._report(number, entry.txid, account, body, code, held)
            elif name == "ms_cancel" and not code:
                self._votes.setdefault(body["op"], set()).add(account)
            self._native(number, header.timestamp, entry.txid, operation)

    def _expect(self, kind: str, number: int, txid: bytes = b"", account: str = "") -> Expected:
        found = Expected(kind, number, account, txid.hex(), self.lies.get(txid, ""))
        self.findings.append(found)
        return found

    # -- what acts for the group

    def _of_the_group(self, number: int, entry: Pooled, roles: list[str]) -> None:
        known = self._auditor.known.get(entry.txid)
        if known is None:
            self._expect("altered_transaction" if self._claims(entry) else "unknown_transaction", number, entry.txid)
            return
        self.included[entry.txid] = number
        allowed = {key for role in roles for key, _ in self._authority[role].key_auths}
        for _ in entry.keys - allowed:
            self._expect("foreign_signature", number, entry.txid)
        if known.op in self._marked or self._is_marked(known.op):
            self._expect("marked_transaction", number, entry.txid)

    def _is_marked(self, op: str) -> bool:
        """Whether more than half of the seats had marked it before it stood in this very block."""
        runners = {str(account) for (account,), _ in self._auditor.state.walk(RUNNER)}
        return 2 * len(self._votes.get(op, set()) & runners) > len(runners)

    def _claims(self, entry: Pooled) -> bool:
        """Whether it says that it is a rotation, and looks like one."""
        names = [operation.name for operation in entry.tx.operations]
        name, _, body = self._ours(entry.tx.operations[-1])
        if names != ["account_update", "custom_json"] or name != "ms_signed":
            return False
        return any(known.op == body["op"] and known.kind == "rotation" for known in self._auditor.known.values())

    def _native(self, number: int, timestamp: int, txid: bytes, operation: Operation) -> None:
        """Authorities as Hive has them, and who moves towards taking the account."""
        name, value = operation.name, operation.value
        if name in _RECOVERIES and value["account_to_recover"] == GROUP:
            self._expect("recovery", number, txid)
        changed: dict[str, Authority | None] = {}
        if name in ("account_update", "account_update2") and value["account"] == GROUP:
            changed = {role: value[role] for role in _ROLES}
        elif name == "recover_account" and value["account_to_recover"] == GROUP:
            changed = {"owner": value["new_owner_authority"]}
        self._authority.update({role: given for role, given in changed.items() if given is not None})
        if changed.get("owner") is not None:
            self._owner_times = [*self._owner_times, timestamp][-3:]
            is_update = operation.name.startswith("account_update")
            if is_update and len(self._owner_times) == 3 and timestamp - self._owner_times[0] < _OWNER_SECONDS:
                self._expect("owner_changes", number, txid)

    # -- reports

    def _report(
        self, number: int, txid: bytes, account: str, body: dict[str, Any], code: str, held: set[tuple[bytes, str]]
    ) -> None:
        start = (number - 1) // self._genesis.params.round_length * self._genesis.params.round_length
        asked = start + self._genesis.params.report_at
        self._unsigned += code == "bad_signature"
        if not code:
            self._is_known = True
            demand(body["hdr"] == self._header(asked), "told", f"a false header of {account} was taken at {number}")
            self._attended(account).reports += 1
            root = self._first[account] = bytes.fromhex(body["root"])
            if root != self._auditor.roots[start]:
                self._wrong.append(Expected("root_wrong", number, account, txid.hex(), self.lies.get(txid, "")))
        elif code == "wrong_header":
            demand(body["hdr"] != self._header(asked), "told", f"the true header of {account} was refused at {number}")
            self._expect("other_header", number, txid, account)
        elif code == "reported_already" and self._is_another(account, body, start, held):
            self._expect("equivocation", number, txid, account)
        elif self._is_false(account, body):
            self._expect("root_wrong", number, txid, account)

    def _is_false(self, account: str, body: dict[str, Any]) -> bool:
        """Whether a report that the rules did not count is of another root, and signed by a key of the group."""
        root, true = bytes.fromhex(body["root"]), self._auditor.roots.get(body["height"])
        if true is None or root == true:
            return False
        return self._signer(account, body, body["height"]) in self._keys

    def _is_another(self, account: str, body: dict[str, Any], start: int, held: set[tuple[bytes, str]]) -> bool:
        """Whether a second report is of another root, and signed by a key of the member."""
        if bytes.fromhex(body["root"]) == self._first[account]:
            return False
        return (self._signer(account, body, start), account) in held

    def _signer(self, account: str, body: dict[str, Any], height: int) -> bytes | None:
        """The key that signed a report of this body, if it was for ``height``."""
        digest = report_digest(self._genesis.hash, height, bytes.fromhex(body["root"]), account)
        try:
            return recover(bytes.fromhex(body["sig"]), digest)
        except SignatureError:
            return None

    def _header(self, number: int) -> dict[str, int]:
        """The triple that a report must name."""
        block = self._chain.block(number)
        assert block is not None
        expiration = block.header.timestamp + self._genesis.params.header_lifetime
        return {"num": number & 0xFFFF, "pre": reference_prefix(block.id), "exp": expiration}

    def _round_ended(self, number: int) -> None:
        runners = {str(account) for (account,), _ in self._auditor.state.walk(RUNNER)}
        root = self._auditor.roots[number - self._genesis.params.round_length]
        self.findings += self._wrong
        if self._unsigned and not self._is_known:
            self._expect("other_genesis", number)
        for account in runners | self._first.keys():
            seen, said = self._attended(account), self._first.get(account)
            seen.agreed += said == root and account in runners
            seen.guest += said == root and account not in runners
            seen.wrong += said not in (None, root)
            seen.missing += said is None
        self._first, self._wrong, self._unsigned = {}, [], 0
        alive = {str(op) for (op,), _ in self._auditor.state.walk(MS)}
        self._votes = {op: votes for op, votes in self._votes.items() if op in alive}

    def _attended(self, account: str) -> Attended:
        return self.attendance.setdefault(account, Attended())

    # -- in the end

    def tell(self, seed: int, faults: dict[str, int]) -> Told:
        """All of it, up to the last block."""
        auditor = self._auditor
        trace, root_height = auditor.traces[auditor.height], max(auditor.roots)
        assert trace is not None
        return Told(
            seed=seed,
            genesis=self._genesis.hash.hex(),
            first=self._genesis.start_block,
            height=auditor.height,
            root_height=root_height,
            root=auditor.roots[root_height].hex(),
            trace=trace.hex(),
            rounds=auditor.counts["agreed"] + auditor.counts["open"],
            open_rounds=auditor.counts["open"],
            findings=sorted(self.findings),
            attendance=dict(sorted(self.attendance.items())),
            transactions=sorted(self._sent(known) for known in auditor.known.values()),
            counts={**auditor.counts, **auditor.treasurer.counts},
            faults=faults,
        )

    def _sent(self, known: Known) -> Sent:
        return Sent(known.txid.hex(), known.kind, self.included.get(known.txid, 0))
