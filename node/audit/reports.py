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
from state.schema import ROUND, RUNNER
from state.state import State

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
        self._wrong: list[tuple[int, str, bytes, bytes]] = []  # height, account, root, transaction id
        self._unsigned = 0  # reports of this round whose signature is none for this genesis

    def report(self, state: State, ctx: Context, account: str, body: dict[str, Any] | None, code: str) -> None:
        """A report, accepted or not."""
        seen = self._account(account)
        if code:
            seen.rejected += 1
            self._rejected(ctx, account, body, code)
            return
        assert body is not None
        seen.reports += 1
        root = self._said[account] = bytes.fromhex(body["root"])
        self._voices.append(Voice(account, ctx.height, ctx.txid.hex()))
        if root != state.root(body["height"]):
            self._wrong.append((ctx.height, account, root, ctx.txid))

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
        for at, account, root, txid in self._wrong:
            if agreed is None or root != agreed:  # else the group's agreement is named, not each of its members
                words = f"{account} reported {root.hex()} for {start}, what comes out is {_hex(own)}"
                self._findings.add("root_wrong", at, words, account=account, txid=txid)
        if self._unsigned and not self._said:
            words = f"{self._unsigned} reports for {start}, and none of them is signed for {self._genesis.hash.hex()}"
            self._findings.add("other_genesis", height, words)
        self._mark_all(state, own)
        seats = sum(1 for _ in state.walk(RUNNER))
        agreeing = len(found.agreed) if found is not None else 0
        self.rounds.append(RoundSeen(start, agreed is None, agreeing, seats, len(self._wrong)))
        self._said, self._wrong, self._unsigned, self._voices = {}, [], 0, []

    # -- inside

    def _rejected(self, ctx: Context, account: str, body: dict[str, Any] | None, code: str) -> None:
        if code == "bad_signature":
            self._unsigned += 1
        elif code == "wrong_header" and body is not None:
            words = f"{account} reported {body['hdr']} at {ctx.height}, which this chain does not have"
            self._findings.add("other_header", ctx.height, words, account=account, txid=ctx.txid)
        elif code == "reported_already" and body is not None:
            self._second(ctx, account, body)

    def _second(self, ctx: Context, account: str, body: dict[str, Any]) -> None:
        """A second report of a round is evidence if it is of another root and signed by the member's own key."""
        root, first = bytes.fromhex(body["root"]), self._said.get(account)
        start = round_start(ctx.height, ctx.params.round_length)
        if first is None or root == first or body["height"] != start:
            return
        try:
            key = recover(bytes.fromhex(body["sig"]), report_digest(self._genesis.hash, start, root, account))
        except SignatureError:
            return
        if key in keys_of(ctx.view, account):
            words = f"{account} signed {first.hex()} and {root.hex()} for {start}"
            self._findings.add("equivocation", ctx.height, words, account=account, txid=ctx.txid)

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


def _hex(root: bytes | None) -> str:
    return root.hex() if root is not None else "unknown"
