"""One node without its wires: state, agent, signer, outbox. Synchronous, no clock, no network.

The runtime gives it blocks and sends what it hands out; the tests and the simulation do the same on virtual time.
"""

from collections.abc import Callable

from node.agent import (
    MAX_BROADCASTS_A_BLOCK,
    MAX_JSONS_A_BLOCK,
    Action,
    BroadcastTransaction,
    Me,
    Memory,
    SendReport,
    SignTransaction,
    differs_from_agreed,
    first_difference,
    signatures_wanted,
    wanted,
)
from node.alarms import alarms, rules_to_come
from node.errors import JournalError, SignerError
from node.outbox import Outbox
from node.outgoing import MAX_LAG, ChainView, Outgoing, custom_json, group_transaction, receivers_of, report_body
from node.signer.keys import SecretKey
from node.signer.signer import Signing
from processors.engine import apply_block
from processors.genesis import Genesis
from processors.hive.block import Block
from processors.params import Params, read
from state.schema import MS, QUEUE, Record
from state.state import State

#: How far behind the newest irreversible block a node may be and still act.
LIVE_WITHIN = 20
#: Blocks after which what was not seen is sent again, besides the present irreversibility lag.
AGAIN_AFTER = 20
_ELSEWHERE = (
    "another machine signs with your key, or this journal is an old copy: stop the other machine; if it is not yours, "
    "register a new key with node_add now"
)

__all__ = ["AGAIN_AFTER", "LIVE_WITHIN", "MAX_LAG", "ChainView", "Log", "NodeCore", "Outgoing"]

Log = Callable[[str, dict[str, object]], None]


class NodeCore:
    """A member's node."""

    def __init__(
        self,
        genesis: Genesis,
        state: State,
        account: str,
        account_key: SecretKey,
        signer: Signing,
        outbox: Outbox,
        version: str,
        log: Log,
        *,
        dry_run: bool = False,
    ) -> None:
        self.genesis = genesis
        self.state = state
        self.me = Me(account, signer.public_keys)
        self._account_key = account_key
        self._signer = signer
        self._outbox = outbox
        self.version = version
        self._log = log
        #: Nothing leaves: what would be sent is only said (policy.dry_run).
        self.dry_run = dry_run
        #: Why a group transaction is not signed as a matter of course: id -> (event, why, detail), told last.
        self.told: dict[str, tuple[str, str, str]] = {}
        self._signer_lost: int | None = None  # height at which it was said last that the signer does not answer
        #: H of the round in which the group agreed on another root than ours: then this node signs nothing.
        self.halted_at: int | None = first_difference(state)

    def apply(self, block: Block, *, flush: bool = True) -> None:
        """Apply the next block of the feed. Raises EngineError and StateError: the node stops."""
        apply_block(self.state, self.genesis, block, flush=flush)
        for fields in alarms(self.state, self.genesis):
            self._log("alarm", fields)
        for fields in rules_to_come(self.state, self.genesis):
            self._log("upgrade_needed", fields)
        if self.halted_at is None and block.number % self.genesis.params.round_length == 0:
            self.halted_at = differs_from_agreed(self.state, self.params)
            if self.halted_at is not None:
                self._log("diverged", {"round": self.halted_at, "own_root": _hex(self.state.root(self.halted_at))})

    def rewind(self, height: int) -> None:
        """Take the state back to what it was after block ``height``. Raises StateError; the journal forgets nothing."""
        self.state.rewind(height)
        self._outbox.forget(lambda content, sent: sent > height)
        self.told = {}
        self.halted_at = first_difference(self.state)

    def block_id(self, height: int) -> bytes | None:
        """The id of a block that was applied, as far back as the state can be taken."""
        if height == self.state.height:
            return self.state.head.block_id
        undo = self.state.undo(height)
        return undo.block_id if undo is not None else None

    def questions(self) -> dict[bytes, int]:
        """Ids of earlier transactions that two servers must deny before this node signs again.

        With each goes the height at which the oldest of its record's payloads was queued: none was built before.
        """
        found: dict[bytes, int] = {}
        now = self.state.head.timestamp
        for _, record in self.state.walk(MS):
            payloads = [self.state.need(QUEUE, number) for number in record.payloads]
            past = {txid for payload in payloads for txid in payload.past}
            queued = min(payload.queued for payload in payloads)
            for txid in (past | self._signed_for(record, now)) - {record.txid}:
                found[txid] = min(queued, found.get(txid, queued))
        return found

    def newest_to_sign(self) -> int:
        """The height at which the newest record was built that this node could sign now; -1 if there is none."""
        if self.halted_at is not None:
            return -1
        return max((action.built for action in signatures_wanted(self.state, self.me)), default=-1)

    def receivers(self) -> set[str]:
        """Who gets something by the group transactions that this node could sign now."""
        ops = {action.op for action in signatures_wanted(self.state, self.me)} if self.halted_at is None else set()
        return {name for op in ops for name in receivers_of(self.state, self.genesis, self.state.need(MS, op))}

    def step(
        self,
        view: ChainView,
        denied: Callable[[bytes], bool],
        *,
        confirmed: int | None = None,
        missing: Callable[[str], bool] = lambda name: False,
    ) -> list[Outgoing]:
        """What to send now. Raises JournalError: then nothing was signed.

        ``missing(name)``: there is no such account, and Hive refuses for good what gives it something.
        ``confirmed``: the height up to which a second operator has the blocks of this state, and calls them
        irreversible; nothing that was built later is signed. None = nobody need confirm.
        """
        self._tidy_outbox()
        height = self.state.height
        if self.halted_at is not None or view.irreversible_number - height > LIVE_WITHIN:
            return []
        is_reached = self._reach_signer()
        lag = min(MAX_LAG, max(0, view.head_number - view.irreversible_number))
        not_before = {content: again for content, (again, _) in self._outbox.resting.items()}
        memory = Memory(self._outbox.sent, AGAIN_AFTER + lag, not_before)
        jsons: list[Outgoing] = []
        broadcasts: list[Outgoing] = []
        for action in wanted(self.state, self.params, self.me, memory):
            is_broadcast = isinstance(action, BroadcastTransaction)
            kind, most = (broadcasts, MAX_BROADCASTS_A_BLOCK) if is_broadcast else (jsons, MAX_JSONS_A_BLOCK)
            if isinstance(action, SignTransaction) and confirmed is not None and confirmed < action.built:
                words = f"no other operator calls block {action.built} irreversible yet, on which it was built"
                self._tell(action.op, "hold", "unconfirmed", words)
                continue
            if len(kind) >= most or not (is_broadcast or is_reached):
                continue
            try:
                found = self._refuse_missing(action, view, missing) or self._carry_out(action, view, denied)
            except SignerError as error:
                is_reached = self._lose_signer(error)
                continue
            if found is not None:
                kind.append(found)
        return jsons + broadcasts

    def was_sent(self, content: str) -> bool:
        """Whether this was sent, and has not been seen on chain."""
        return content in self._outbox.sent

    def look(self) -> None:
        """Show the signer where the chain is: it learns since when its journal can be believed. Raises JournalError."""
        for op in self._signer.look(self.state):
            self._log("signed_elsewhere", {"op": op, "remedy": _ELSEWHERE})

    @property
    def params(self) -> Params:
        """The parameters in force: the seats may have changed those of the genesis."""
        return read(self.state.view()) if self.state.height >= 0 else self.genesis.params

    @property
    def begins_journal(self) -> bool:
        """As Signing.begins."""
        return self._signer.begins

    def held_until(self) -> int | None:
        """As Signing.held_until; None also while nobody can tell."""
        try:
            return self._signer.held_until(self.state.head.timestamp) if self.state.height >= 0 else None
        except (SignerError, JournalError):
            return None

    def sent(self, outgoing: Outgoing) -> None:
        """A server took it."""
        self._outbox.add(outgoing.content, self.state.height)

    def refused(self, outgoing: Outgoing) -> None:
        """No server took it."""
        self._outbox.refuse(outgoing.content, self.state.height)

    # -- inside

    def _reach_signer(self) -> bool:
        """Whether the signer can be asked now; without it the node still broadcasts what others signed."""
        try:
            self.look()
        except SignerError as error:
            return self._lose_signer(error)
        self._signer_lost = None
        return True

    def _lose_signer(self, error: SignerError) -> bool:
        """Say so at first, and then now and then."""
        height = self.state.height
        if self._signer_lost is None or height - self._signer_lost >= AGAIN_AFTER:
            self._signer_lost = height
            self._log("signer_error", {"error": str(error)})
        return False

    def _signed_for(self, record: Record, now: int) -> set[bytes]:
        try:
            return self._signer.signed_for(record.payloads, now)
        except SignerError:  # without a signer nothing is signed, so nothing need be denied
            return set()

    def _carry_out(self, action: Action, view: ChainView, denied: Callable[[bytes], bool]) -> Outgoing | None:
        if isinstance(action, SendReport):
            return self._json(action.content, "report", self._report(action), view)
        if isinstance(action, BroadcastTransaction):
            roles = self.state.need(MS, action.op).roles
            return Outgoing(action.content, group_transaction(self.state, self.genesis, action.op), roles)
        return self._signature(action, view, denied)

    def _report(self, action: SendReport) -> dict[str, object]:
        sig = self._signer.sign_report(self.me.account, action.height, action.root, action.key)
        return report_body(action, self.version, sig)

    def _json(self, content: str, name: str, body: dict[str, object], view: ChainView) -> Outgoing:
        return Outgoing(
            content, custom_json(self.state, self.genesis, self.me.account, self._account_key, name, body, view)
        )

    def _refuse_missing(self, action: Action, view: ChainView, missing: Callable[[str], bool]) -> Outgoing | None:
        """What can never be included is refused on chain, with the reason that its payload keeps."""
        if not isinstance(action, SignTransaction):
            return None
        record = self.state.get(MS, action.op)
        named = receivers_of(self.state, self.genesis, record) if record is not None else set()
        absent = sorted(name for name in named if missing(name))
        if not absent:
            return None
        self._tell(action.op, "refuse", "no_account", f"two operators know no account {', '.join(absent)}")
        return self._json(action.content, "sig_refuse", {"op": action.op, "why": "no_account"}, view)

    def _signature(self, action: SignTransaction, view: ChainView, denied: Callable[[bytes], bool]) -> Outgoing | None:
        verdict, sig = self._signer.sign_transaction(self.state, action.op, action.key, denied)
        if verdict.why:
            self._tell(action.op, verdict.kind if sig is None else "abstained", verdict.why, verdict.detail)
        if sig is not None:
            return self._json(action.content, "sig_submit", {"op": action.op, "sig": sig.hex()}, view)
        if verdict.kind == "refuse":
            return self._json(action.content, "sig_refuse", {"op": action.op, "why": verdict.why}, view)
        return None

    def _tell(self, op: str, event: str, why: str, detail: str) -> None:
        """Why something is not signed as a matter of course: once, until the reason changes."""
        if self.told.get(op, ("", "", ""))[1] != why:
            self.told[op] = event, why, detail
            self._log(event, {"op": op, "why": why, "detail": detail})

    def _tidy_outbox(self) -> None:
        """Drop what concerns transactions that are gone and rounds that are over."""
        ops = {str(op) for (op,), _ in self.state.walk(MS)}
        start = self.state.height // self.genesis.params.round_length * self.genesis.params.round_length

        def is_gone(content: str, height: int) -> bool:
            kind, _, rest = content.partition(":")
            if kind == "report":
                return int(rest) < start
            return rest.rpartition(":")[0] not in ops

        self._outbox.forget(is_gone)
        self.told = {op: reason for op, reason in self.told.items() if op in ops}


def _hex(raw: bytes | None) -> str:
    return raw.hex() if raw is not None else ""
