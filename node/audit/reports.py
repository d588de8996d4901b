"""Who reported what, round by round, held against the root that comes out (protocol section 5)."""

from typing import Any

import msgspec

from node.audit.findings import Findings
from processors.context import Context
from processors.genesis import Genesis
from processors.hive.crypto import recover
from processors.hive.errors import SignatureError
from processors.members import keys_of
from processors.report import report_digest, round_start
from state.schema import AUTHORITY, KEY, ROUND, RUNNER
from state.state import State
from state.view import View

#: What an account did in a round, one letter each.
AGREED, WRONG, MISSING, GUEST, ABSENT = "a", "w", "m", "g", "-"


class Attendance(msgspec.Struct):
    """An account's rounds: ``marks`` has one letter a round from round ``first`` on.

    a: a runner that reported the root which comes out. w: anybody who reported another one. m: a runner without an
    accepted report. g: a member without a seat that reported the root. -: no seat, no report.
    """

    account: str
    first: int  # index of the round
    marks: bytearray
    reports: int = 0  # accepted ones
    rejected: int = 0

    def count(self, mark: str) -> int:
        """In how many rounds it has this mark."""
        return self.marks.count(mark.encode())


class Voice(msgspec.Struct, frozen=True):
    """A report that counted: whose, in which block, in which Hive transaction (hex)."""

    account: str
    height: int
    txid: str


class Elected(msgspec.Struct, frozen=True):
    """A header and whose reports elected it: the block that it is of, and the tally's."""

    block: int
    tally: int
    voices: tuple[Voice, ...]


class RoundSeen(msgspec.Struct, frozen=True):
    """How a round ended: height H of its beginning, who agreed, how many seats there were, how many lied."""

    height: int
    is_open: bool
    agreed: int
    seats: int
    wrong: int


class Reports:
    """All rounds of a history; told of each report and of each round's end."""

    def __init__(self, genesis: Genesis, findings: Findings) -> None:
        self.accounts: dict[str, Attendance] = {}
        self.rounds: list[RoundSeen] = []
        #: The header that was elected last.
        self.elected: Elected | None = None
        self._genesis = genesis
        self._findings = findings
        self._said: dict[str, bytes] = {}
        self._voices: list[Voice] = []
        self._roots: dict[int, bytes] = {}  # of every round's end
        self._keys: set[bytes] = set()  # that ever were in the authority, or a member's
        self._tables: tuple[Any, Any] = (None, None)
        self._is_known = False  # whether any report of the history was signed for this genesis
        #: Reports of accounts that were no members.
        self.strangers = 0
        self._wrong: list[tuple[int, str, bytes, bytes]] = []  # height, account, root, transaction id
        self._unsigned = 0  # reports of this round whose signature is none for this genesis

    def report(self, state: State, ctx: Context, account: str, body: dict[str, Any] | None, code: str) -> None:
        """A report, accepted or not."""
        if code == "not_member":
            self.strangers += 1
        elif code:
            self._account(account).rejected += 1
        if code:
            self._rejected(ctx, account, body, code)
            return
        seen, self._is_known = self._account(account), True
        assert body is not None
        seen.reports += 1
        root = self._said[account] = bytes.fromhex(body["root"])
        self._voices.append(Voice(account, ctx.height, ctx.txid.hex()))
        if root != state.root(body["height"]):
            self._wrong.append((ctx.height, account, root, ctx.txid))

    def block_applied(self, state: State) -> None:
        """A block was applied: which roots and keys there are now."""
        root = state.root(state.height)
        if root is not None:
            self._roots[state.height] = root
        tables = state.derive(AUTHORITY, _signers), state.derive(KEY, _owned)
        if tables[0] is not self._tables[0] or tables[1] is not self._tables[1]:
            self._keys |= tables[0] | tables[1]
            self._tables = tables

    def finish(self, state: State) -> None:
        """The history ends in the middle of a round: what was said in it is judged all the same."""
        start = state.height // self._genesis.params.round_length * self._genesis.params.round_length
        self._judge(start, state.root(start), None)
        self._judge_genesis(state.height, start)

    def _judge(self, start: int, own: bytes | None, agreed: bytes | None) -> None:
        """Name each report of another root, but for those that the group's agreement on it stands for."""
        for at, account, root, txid in self._wrong:
            if agreed is None or root != agreed:
                words = f"{account} reported {root.hex()} for {start}, what comes out is {_hex(own)}"
                self._findings.add("root_wrong", at, words, account=account, txid=txid)

    def _judge_genesis(self, height: int, start: int) -> None:
        if self._unsigned and not self._is_known:
            words = f"{self._unsigned} reports for {start}, and none ever was signed for {self._genesis.hash.hex()}"
            self._findings.add("other_genesis", height, words)

    def round_ended(self, state: State, height: int) -> None:
        """The tally of the round that ends with block ``height`` was taken."""
        start = height - self._genesis.params.round_length
        own, found = state.root(start), state.get(ROUND, start)
        agreed = found.root if found is not None else None
        if found is not None and found.header is not None:
            voices = tuple(voice for voice in self._voices if voice.account in found.agreed)
            self.elected = Elected(found.header.height, height, voices)
        if agreed is not None and agreed != own:
            who = ", ".join(found.agreed) if found is not None else ""
            words = f"{who} agreed on {agreed.hex()} for {start}, what comes out is {_hex(own)}"
            self._findings.add("root_agreed", height, words)
        self._judge(start, own, agreed)
        self._judge_genesis(height, start)
        self._mark_all(state, own)
        seats = sum(1 for _ in state.walk(RUNNER))
        agreeing = len(found.agreed) if found is not None else 0
        self.rounds.append(RoundSeen(start, agreed is None, agreeing, seats, len(self._wrong)))
        self._said, self._wrong, self._unsigned, self._voices = {}, [], 0, []

    # -- inside

    def _rejected(self, ctx: Context, account: str, body: dict[str, Any] | None, code: str) -> None:
        if code == "bad_signature":
            self._unsigned += 1
        if code == "wrong_header" and body is not None:
            words = f"{account} reported {body['hdr']} at {ctx.height}, which this chain does not have"
            self._findings.add("other_header", ctx.height, words, account=account, txid=ctx.txid)
        elif code == "reported_already" and body is not None and self._second(ctx, account, body):
            return
        elif body is not None:
            self._signed_false(ctx, account, body, code)

    def _signed_false(self, ctx: Context, account: str, body: dict[str, Any], code: str) -> None:
        """A report that the rules did not count is a lie all the same, if a key of the group signed another root."""
        height, root = body["height"], bytes.fromhex(body["root"])
        own = self._roots.get(height)
        if own is None or own == root or self._signer(body, account) not in self._keys:
            return
        words = f"{account} sent a report of {root.hex()} for {height}, signed by a key of the group and rejected "
        words += f"({code}); what comes out is {own.hex()}"
        self._findings.add("root_wrong", ctx.height, words, account=account, txid=ctx.txid)

    def _signer(self, body: dict[str, Any], account: str) -> bytes | None:
        digest = report_digest(self._genesis.hash, body["height"], bytes.fromhex(body["root"]), account)
        try:
            return recover(bytes.fromhex(body["sig"]), digest)
        except SignatureError:
            return None

    def _second(self, ctx: Context, account: str, body: dict[str, Any]) -> bool:
        """A second report of a round is evidence if it is of another root and signed by the member's own key."""
        root, first = bytes.fromhex(body["root"]), self._said.get(account)
        start = round_start(ctx.height, ctx.params.round_length)
        if first is None or root == first or body["height"] != start:
            return False
        is_own = self._signer(body, account) in keys_of(ctx.view, account)
        if is_own:
            words = f"{account} signed {first.hex()} and {root.hex()} for {start}"
            self._findings.add("equivocation", ctx.height, words, account=account, txid=ctx.txid)
        return is_own

    def _mark_all(self, state: State, own: bytes | None) -> None:
        runners = {str(account) for (account,), _ in state.walk(RUNNER)}
        index = len(self.rounds)
        for account in sorted(runners | self._said.keys()):
            self._account(account)
        for account, seen in self.accounts.items():
            gap = index - seen.first - len(seen.marks)
            seen.marks += ABSENT.encode() * gap
            root = self._said.get(account)
            if root is not None and root != own:
                mark = WRONG
            elif root is not None:
                mark = AGREED if account in runners else GUEST
            else:
                mark = MISSING if account in runners else ABSENT
            seen.marks += mark.encode()

    def _account(self, account: str) -> Attendance:
        found = self.accounts.get(account)
        if found is None:
            found = self.accounts[account] = Attendance(account, len(self.rounds), bytearray())
        return found


def _signers(view: View) -> frozenset[bytes]:
    return frozenset(key for key, _ in view.need(AUTHORITY, "active").keys)


def _owned(view: View) -> frozenset[bytes]:
    return frozenset(bytes(key) for (key,), _ in view.walk(KEY))  # type: ignore[arg-type]


def _hex(root: bytes | None) -> str:
    return root.hex() if root is not None else "unknown"
