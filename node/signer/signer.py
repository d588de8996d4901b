"""The signer: keys, policy, journal. It signs reports, and group transactions that it rebuilt and judged itself."""

from collections.abc import Callable, Iterable
from typing import Protocol

from node.signer.age import look
from node.signer.approvals import Approvals, approval, confirmation
from node.signer.journal import Journal
from node.signer.keys import SecretKey
from node.signer.policy import SIGN, Policy, Verdict, consent, judge, spends_of, told
from processors.contents import contents
from processors.genesis import Genesis
from processors.hive.transaction import signing_digest
from processors.report import report_digest
from state.schema import HEAD, MS
from state.state import State


class Signing(Protocol):
    """What a node asks of whoever holds its signing keys. Everything may raise NodeError: then nothing was signed."""

    @property
    def public_keys(self) -> tuple[bytes, ...]:
        """The public halves, in byte order."""

    @property
    def begins(self) -> bool:
        """Whether the next look begins a journal here, at what the node believes to be the chain's present."""

    def look(self, state: State) -> list[str]:
        """See where the chain is, once for each block of a live node; ids of what our keys signed elsewhere."""

    def held_until(self, now: int) -> int | None:
        """The block time until which a key of ours signs no group transaction; 0 = none is held back at block time
        ``now``, None = not known. It may be that of the last look."""

    def signed_for(self, payloads: Iterable[int], now: int) -> set[bytes]:
        """Ids of the transactions that were signed for these payloads and are over at block time ``now``."""

    def sign_report(self, account: str, height: int, root: bytes, key: bytes) -> bytes:
        """The signature of a report (protocol section 5)."""

    def sign_transaction(
        self, state: State, op: str, key: bytes, denied: Callable[[bytes], bool]
    ) -> tuple[Verdict, bytes | None]:
        """The judgement of a group transaction, and the signature if that was good."""


class Signer:
    """Holds the signing keys of one node."""

    def __init__(
        self,
        keys: list[SecretKey],
        journal: Journal,
        policy: Policy,
        genesis: Genesis,
        approvals: Approvals | None = None,
    ) -> None:
        self._keys = {key.public: key for key in keys}
        self._journal = journal
        self._policy = policy
        self._genesis = genesis
        self._approvals = approvals or Approvals(None)

    @property
    def public_keys(self) -> tuple[bytes, ...]:
        """The public halves, in byte order."""
        return tuple(sorted(self._keys))

    @property
    def begins(self) -> bool:
        """Whether the next look begins the journal here: it is fresh, or was copied or restored."""
        return self._journal.born is None or self._journal.is_moved

    def look(self, state: State) -> list[str]:
        """Bring the journal's age up to what the chain shows (node/signer/age.py). Raises JournalError."""
        return look(self._journal, self.public_keys, state, self._genesis)

    def held_until(self, now: int) -> int | None:
        """The block time until which a key of ours signs no group transaction, the latest of them all; 0 = none is
        held back at block time ``now``, None before the journal has begun here. Raises JournalError."""
        born = self._journal.born
        if born is None or self.begins:
            return None
        until = max((self._journal.held_until(key) for key in self._keys), default=0)
        if now >= until or self._approvals.has(confirmation(born)):
            return 0
        return until

    def signed_for(self, payloads: Iterable[int], now: int) -> set[bytes]:
        """Ids of the transactions that this signer has signed for these payloads and that are over at block time
        ``now``: a server that knows nothing of one that can still be included has denied nothing."""
        entries = [entry for payload in payloads for entry in self._journal.entries(payload)]
        return {bytes.fromhex(entry.txid) for entry in entries if entry.expiration <= now}

    def sign_report(self, account: str, height: int, root: bytes, key: bytes) -> bytes:
        """The signature of a report (protocol section 5)."""
        return self._keys[key].sign(report_digest(self._genesis.hash, height, root, account))

    def sign_transaction(
        self, state: State, op: str, key: bytes, denied: Callable[[bytes], bool], *, now: int | None = None
    ) -> tuple[Verdict, bytes | None]:
        """Judge a group transaction; the signature only comes after the journal is on disk.

        ``now``: the block time that counts, None = the head's. Raises JournalError: then nothing was signed.
        """
        record = state.need(MS, op)
        now = state.need(HEAD).timestamp if now is None else now
        verdict = judge(state, self._genesis, op, record, self._policy, self._journal, denied, now)
        if verdict.kind != "sign":
            return verdict, None
        known = contents(state, record.payloads)
        word, words = approval(op, record.txid), told(self._genesis, op, record, known)
        answer = consent(self._policy, self._journal, self._approvals, key, now, word=word, words=words)
        if answer is not SIGN:
            return answer, None
        spends = spends_of(known)
        self._journal.write(record.payloads, record.txid, record.expiration, op, time=now, spends=spends)
        return verdict, self._keys[key].sign(signing_digest(record.tx, self._genesis.chain))
