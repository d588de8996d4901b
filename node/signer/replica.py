"""The state of a signer of its own, and what it signs by it. It takes nothing from the node's word but raw blocks.

Every block is linked and applied here; a report is signed from the root found here; a group transaction is signed once
the group itself has signed for the chain that it was built on (node/signer/trusted.py).
"""

from collections.abc import Iterable
from pathlib import Path

from node.agent import Me, SignTransaction, first_difference, signatures_wanted
from node.core import Log
from node.errors import SignerError
from node.files import DISK, Files
from node.signer.approvals import Approvals, approval
from node.signer.blocks import among, follow, read
from node.signer.journal import Journal
from node.signer.policy import Verdict, told
from node.signer.signer import Signer
from node.signer.trusted import NEVER, Round, Trust, Trusted, of_state, vouched
from processors.contents import contents
from processors.engine import begin
from processors.errors import EngineError
from processors.genesis import Genesis
from processors.hive.block import Block
from state.errors import StateError
from state.schema import MS, QUEUE, Record
from state.state import State
from state.verify import recomputed_root

#: Beside the journal: the round that is believed.
TRUSTED = "trusted.json"


class Replica:
    """State, signer and trust of one signer. SignerError: the request is refused and nothing has changed.

    StateError: the store failed, and this process must end.
    """

    def __init__(
        self,
        genesis: Genesis,
        state: State,
        signer: Signer,
        journal: Journal,
        account: str,
        folder: Path,
        log: Log,
        *,
        trust: Trust | None = None,
        files: Files = DISK,
    ) -> None:
        self.genesis = genesis
        self.state = state
        self.signer = signer
        self._journal = journal
        self.account = account
        self._approvals = Approvals(folder / "approvals", files)
        self._log = log
        self._trust = trust
        self._trusted = Trusted(folder / TRUSTED, genesis, files)
        self._begun: Round | None = None
        #: Whether a believed round covers what the store held when it was opened: files can come from anywhere.
        self._is_covered = state.height < 0
        self._told: dict[str, str] = {}
        if state.height >= 0:
            if self.head_id not in self._trusted.places:  # it came from elsewhere: what was before, nobody saw here
                self._trusted.begin(NEVER, self.head_id)
            self._trusted.check(state)
            self._begin_round()

    @property
    def height(self) -> int:
        """The height of the block applied last; -1 before the first."""
        return self.state.height

    @property
    def head_id(self) -> bytes:
        """The id of the block applied last; empty before the first."""
        return self.state.head.block_id if self.state.height >= 0 else b""

    @property
    def trusted(self) -> Round:
        """The newest round that the group vouched for."""
        return self._trusted.round

    @property
    def born(self) -> int:
        """The height at which the journal began here, -1 before."""
        return self._journal.born.height if self._journal.born is not None else -1

    def block_id(self, height: int) -> bytes | None:
        """The id of a block that was applied, as far back as undo records reach."""
        if height == self.state.height:
            return self.head_id
        undo = self.state.undo(height)
        return undo.block_id if undo is not None else None

    # -- blocks

    def begin(self, text: bytes) -> None:
        """The block start_block. What it is, is believed with the first round that was agreed on."""
        if self.state.height >= 0:
            raise SignerError(f"the state has begun: it is at {self.state.height}")
        block = read(text, self.genesis, self._log)
        self._trusted.begin(0, block.id)
        try:
            begin(self.state, self.genesis, block)
        except EngineError as error:
            raise SignerError(str(error)) from error
        self._begin_round()

    def apply(self, texts: Iterable[bytes]) -> int:
        """Apply the next blocks; returns the height. Those before one that is refused stay applied."""
        if self.state.height < 0:
            raise SignerError(f"the state begins with block {self.genesis.start_block}")
        before = self.head_id
        try:
            for text in texts:
                self._apply(read(text, self.genesis, self._log))
        except SignerError:
            self._flush(before)
            raise
        self._flush(before)
        return self.state.height

    def _flush(self, before: bytes) -> None:
        """Write the blocks since ``before``: after where they lead, so that a crash makes no store of another's."""
        self._trusted.move(before, self.head_id)
        self.state.flush()

    def rewind(self, height: int) -> int:
        """Take the state back to ``height``: never before the round that the group vouched for."""
        least = self._trusted.round.height if self._trusted.round.height <= self.state.height else -1
        if height < least:
            raise SignerError(
                f"the group signed for the chain up to block {least}: this signer does not go back to {height}. If "
                f"that chain is dead all the same, see docs/signer.md: trust"
            )
        if height < self.state.height:
            self._trusted.move(self.head_id, self.block_id(height) or b"")
            try:
                self.state.rewind(height)
            except StateError as error:
                raise SignerError(str(error)) from error
            if self._begun is not None and self._begun.height > height:
                self._begun = None
            self._log("rewound", {"height": height, "why": "the node asked for it"})
        return self.state.height

    def _apply(self, block: Block) -> None:
        before = self.state.height
        follow(self.state, self.genesis, block)
        self._trusted.include(among(block, self.genesis, self._journal.ids))  # such a one is never denied
        params, start = self.genesis.params, self._begun
        if block.number % params.round_length == 0:
            try:
                self._begin_round()
            except SignerError:
                self.state.rewind(before)
                raise
        elif start is not None and block.number % params.round_length > params.report_at:
            self._believe(start)

    def _believe(self, begun: Round) -> None:
        """Believe the round that runs, once its reports suffice."""
        if begun.height <= self._trusted.round.height:
            return
        found = vouched(self._trusted.round, begun, self.state, self.account)
        if found is not None:
            self._believed(found)
            self._log("vouched", {"height": found.height, "root": found.root.hex(), "alone": found.alone})

    def _begin_round(self) -> None:
        """Remember the round that begins here; hold it against what is believed of that height already."""
        if self.state.root(self.state.height) is None or self.state.height % self.genesis.params.round_length:
            return
        begun = of_state(self.state)
        if not self._is_covered and recomputed_root(self.state) != begun.root:
            raise SignerError(
                f"the entries in the store have another root than the {begun.root.hex()} that it tells of block "
                f"{begun.height}: move its folder away and let the node stream it anew"
            )
        believed, given = self._trusted.round, self._trust
        if given is not None and given.height == begun.height and given.root != begun.root:
            raise SignerError(f"the root of {begun.height} is {begun.root.hex()}, the configuration trusts another one")
        if begun.height == believed.height and believed.root not in (b"", begun.root):
            raise SignerError(f"the root of {begun.height} is {begun.root.hex()}, the group signed for another one")
        if begun.height == believed.height and begun.root == believed.root and not self._is_covered:
            self._believed(believed)
        if given is not None and given.height == begun.height >= believed.height and believed != begun:
            self._believed(begun)
        self._begun = begun

    def _believed(self, found: Round) -> None:
        """A round is believed whose root was found here: it covers everything that the store holds."""
        self._trusted.believe(found)
        self._is_covered = True

    # -- signing

    def look(self) -> list[str]:
        """Bring the journal's age up to the state (node/signer/age.py). Raises JournalError."""
        return self.signer.look(self.state) if self.state.height >= 0 else []

    @property
    def held_until(self) -> int | None:
        """As Signing.held_until, by the time of the round that the group vouched for. Raises JournalError."""
        return self.signer.held_until(self._trusted.round.time)

    def report(self, account: str, height: int, root: bytes, key: bytes) -> bytes:
        """The signature of a report: of the root that this signer found itself.

        A report is what makes others believe. So none is signed by a store that was taken from elsewhere and that the
        group has not signed for since: two signers with one forged snapshot would vouch for each other. A store that
        was written to here reports at once: if a restart needed another's report first, a group that starts anew as a
        whole would wait for itself.
        """
        if account != self.account or key not in self.signer.public_keys:
            raise SignerError(f"this signer reports for {self.account}, with its own keys")
        if height != self.state.height // self.genesis.params.round_length * self.genesis.params.round_length:
            raise SignerError(f"the signer is at {self.state.height}: block {height} does not begin its round")
        own = self.state.root(height)
        if own is None or own != root:
            raise SignerError(f"the signer's root of {height} is {own.hex() if own else 'not known'}, not {root.hex()}")
        if self._trusted.since == NEVER:
            raise SignerError(
                "the store came from elsewhere and the group has signed for no root of it yet: the next rounds bring "
                "one, or write `trust` (docs/signer.md)"
            )
        if first_difference(self.state) is not None:
            raise SignerError("the group agreed on another root than this signer's: it signs nothing")
        return self.signer.sign_report(account, height, root, key)

    def sign(self, op: str, key: bytes, txid: bytes) -> tuple[Verdict, bytes | None]:
        """The judgement of a group transaction by this signer's own state, and the signature if that was good.

        Raises JournalError.
        """
        if not any(wish.op == op and wish.key == key for wish in self._wishes()):
            return Verdict("hold", "not_wanted", "the signer's own state does not ask for this signature"), None
        if self.state.need(MS, op).txid != txid:
            return Verdict("hold", "not_wanted", f"the signer's own state has another transaction as {op}"), None
        for elsewhere in self.look():
            self._log("signed_elsewhere", {"op": elsewhere, "remedy": "see docs/signer.md: a key that signs elsewhere"})
        record = self.state.need(MS, op)
        held = self._without_trust(op, record)
        if held is not None:
            return self._tell(op, held), None
        believed = self._trusted.round
        past = {txid for number in self.state.need(MS, op).payloads for txid in self.state.need(QUEUE, number).past}
        ends = {bytes.fromhex(entry.txid): entry for entry in self._journal.all_entries()}

        def denied(txid: bytes) -> bool:
            """Dead, and in none of the blocks up to the round that the group vouched for."""
            if txid in past:  # it was dead when the state put its payload back, before this record was built
                return txid not in self._trusted.included
            return self._trusted.is_over(txid, ends[txid])

        verdict, sig = self.signer.sign_transaction(self.state, op, key, denied, now=believed.time)
        return self._tell(op, verdict), sig

    def _wishes(self) -> list[SignTransaction]:
        return signatures_wanted(self.state, Me(self.account, self.signer.public_keys))

    def _without_trust(self, op: str, record: Record) -> Verdict | None:
        """Why the chain that a transaction was built on is not believed yet; None if it is."""
        believed, built = self._trusted.round, record.built
        if first_difference(self.state) is not None:
            return Verdict("hold", "no_agreement", "the group agreed on another root than this signer's")
        if believed.height < built or self.state.height < believed.height:
            detail = f"built at {built}; the group has signed for the chain up to block {believed.height}"
            return Verdict("hold", "not_agreed_yet", detail)
        if not self._is_covered:
            detail = "since the signer opened its store the group has signed for no root: the next rounds bring one"
            return Verdict("hold", "not_agreed_yet", detail)
        if self.state.root(believed.height) != believed.root:
            detail = f"the state does not know the root of block {believed.height} that the group has signed for"
            return Verdict("hold", "not_agreed_yet", detail)
        if believed.alone and not self._approvals.has(approval(op, record.txid)):
            words = told(self.genesis, op, record, contents(self.state, record.payloads))
            return Verdict("hold", "own_word", f"no other member vouches for this chain: {words}")
        return None

    def _tell(self, op: str, verdict: Verdict) -> Verdict:
        """Log a judgement once, until the reason changes."""
        told = f"{verdict.kind} {verdict.why}"
        if self._told.get(op) != told:
            self._told = {op: told} if len(self._told) > 1000 else {**self._told, op: told}
            if verdict.why:
                self._log(verdict.kind, {"op": op, "why": verdict.why, "detail": verdict.detail})
        return verdict
