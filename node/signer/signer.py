"""The signer: keys, policy, journal. It signs reports, and group transactions that it rebuilt and judged itself."""

from collections.abc import Callable, Iterable

from node.signer.journal import Journal
from node.signer.keys import SecretKey
from node.signer.policy import Policy, Verdict, judge
from processors.genesis import Genesis
from processors.hive.transaction import signing_digest
from processors.report import report_digest
from state.schema import MS
from state.state import State


class Signer:
    """Holds the signing keys of one node."""

    def __init__(self, keys: list[SecretKey], journal: Journal, policy: Policy, genesis: Genesis) -> None:
        self._keys = {key.public: key for key in keys}
        self._journal = journal
        self._policy = policy
        self._genesis = genesis

    @property
    def public_keys(self) -> tuple[bytes, ...]:
        """The public halves, in byte order."""
        return tuple(sorted(self._keys))

    def signed_for(self, payloads: Iterable[int], now: int) -> set[bytes]:
        """Ids of the transactions that this signer has signed for these payloads and that are over at block time
        ``now``: a server that knows nothing of one that can still be included has denied nothing."""
        entries = [entry for payload in payloads for entry in self._journal.entries(payload)]
        return {bytes.fromhex(entry.txid) for entry in entries if entry.expiration <= now}

    def sign_report(self, account: str, height: int, root: bytes, key: bytes) -> bytes:
        """The signature of a report (protocol section 5)."""
        return self._keys[key].sign(report_digest(self._genesis.hash, height, root, account))

    def sign_transaction(
        self, state: State, op: str, key: bytes, denied: Callable[[bytes], bool]
    ) -> tuple[Verdict, bytes | None]:
        """Judge a group transaction; the signature only comes after the journal is on disk.

        Raises JournalError: then nothing was signed.
        """
        record = state.need(MS, op)
        verdict = judge(state, self._genesis, op, record, self._policy, self._journal, denied)
        if verdict.kind != "sign":
            return verdict, None
        self._journal.write(record.payloads, record.txid, record.expiration, op)
        return verdict, self._keys[key].sign(signing_digest(record.tx, self._genesis.chain))
