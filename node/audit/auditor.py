"""The auditor: applies a history by the rules, looks on, and holds what was said and done against what comes out.

It believes nobody: neither a server, nor a member, nor the node whose machine it runs on. What it takes for granted is
the genesis document, and that Hive's witnesses let in only what is valid there.
"""

from collections import Counter
from typing import Any

from node.audit.findings import Findings
from node.audit.payloads import Payloads
from node.audit.reports import Reports
from node.audit.transactions import Transactions, records_of
from node.audit.witnesses import Witnesses
from node.history.sifted import Looked, proof_of, signer_of, signers_of
from node.history.source import UNREADABLE
from processors.context import Context
from processors.engine import apply_block, begin
from processors.errors import EngineError, TooOldError
from processors.genesis import Genesis
from processors.hive.block import Block
from processors.hive.crypto import recover
from processors.hive.errors import HiveDataError, UnknownOperationError
from processors.hive.transaction import signing_digest
from processors.registry import Rule
from state.schema import BALANCE, COLLATERAL, MS, NODE, OWNER_CHANGES, SIG
from state.state import State

#: Seconds within which Hive allows two changes of the owner authority (hived: HIVE_OWNER_UPDATE_LIMIT), less a minute:
#: it goes by the time of the block before, we by that of the block itself.
OWNER_LIMIT = 3_600 - 60
_SHARE = 256  # blocks that share a batch
#: Rounds between two counts of all tokens: it takes a walk through every balance.
_SUPPLY_ROUNDS = 16
#: Keys that are remembered of a sender, who may change his with each block; all others are counted as OTHER_KEYS.
_SENDERS = 100
OTHER_KEYS = b""


class Stopped(Exception):
    """The rest cannot be checked; the finding says why."""


class Auditor:
    """One history, block by block.

    ``prove``: hold each block against its Merkle root. ``signatures``: recover the key of each block's witness, of each
    Hive transaction with an operation of ours, and once more of each signature that the state took. ``trusted``: roots
    by height that somebody gave.
    """

    def __init__(
        self,
        state: State,
        genesis: Genesis,
        *,
        prove: bool = True,
        signatures: bool = True,
        trusted: dict[int, bytes] | None = None,
    ) -> None:
        self.state = state
        self.genesis = genesis
        self.findings = Findings()
        self.reports = Reports(genesis, self.findings)
        self.transactions = Transactions(genesis, self.findings)
        self.payloads = Payloads(genesis)
        self.accepted: Counter[str] = Counter()
        self.rejected: Counter[tuple[str, str]] = Counter()
        self.senders: dict[str, Counter[bytes]] = {}
        self.last_root: tuple[int, bytes] | None = None
        self.blocks = 0
        self._prove = prove
        self._signatures = signatures
        self._open = dict(trusted or {})  # roots that were given, and not come to yet
        self._supply = -1
        self.witnesses = Witnesses(self.findings)
        self._looked = Looked()
        self._owner_changes: tuple[int, ...] = ()
        self._seen = b""  # the transaction whose signatures were looked at last

    # -- the chain

    def take(self, block: Block, looked: Looked | None = None) -> None:
        """The next block, and what was seen of it whole elsewhere. Raises Stopped where the rest means nothing."""
        self._check_block(block, looked)
        try:
            if self.state.height < 0:
                begin(self.state, self.genesis, block)
            else:
                flush = block.number % _SHARE == 0
                apply_block(self.state, self.genesis, block, flush=flush, observer=self)
        except TooOldError as error:
            raise self._stop("rules_unknown", block.number, str(error)) from error
        except (UnknownOperationError, HiveDataError) as error:
            raise self._stop("not_serialised", block.number, str(error)) from error
        except EngineError as error:
            raise self._stop("rules_broken", block.number, str(error)) from error
        except UNREADABLE as error:  # no chain holds it: an archive that is false, or a fault of ours
            words = f"block {block.number} cannot be applied ({type(error).__name__} {error})"
            raise self._stop("rules_broken", block.number, words) from error
        self._applied(block)

    def _check_block(self, block: Block, looked: Looked | None) -> None:
        head = self.state.head if self.state.height >= 0 else None
        if head is not None and (block.number, block.header.previous) != (head.height + 1, head.block_id):
            words = f"block {block.number} after {block.header.previous.hex()} where {head.block_id.hex()} was the last"
            raise self._stop("not_linked", block.number, words)
        if head is not None and block.timestamp <= head.timestamp:
            words = f"block {block.number} has the time {block.timestamp}, the one before it {head.timestamp}"
            self.findings.add("time_backwards", block.number, words)
        if looked is None:
            looked = self._look(block)
        self._looked = looked
        if looked.unproven:
            self.findings.add("unproven", block.number, looked.unproven)
        if looked.unknown:
            self.findings.add("not_serialised", block.number, looked.unknown)
        if self._signatures:
            self.witnesses.see(block, looked.witness_key)

    def _look(self, block: Block) -> Looked:
        """Hold a whole block against its Merkle root, and recover its witness's key, as far as that is asked for."""
        unproven, unknown = proof_of(block) if self._prove and block.is_whole else ("", "")
        key = signer_of(block.header) if self._signatures else None
        return Looked(unproven, key, unknown=unknown)

    def _stop(self, kind: str, height: int, words: str) -> Stopped:
        self.findings.add(kind, height, words)
        return Stopped(words)

    def _applied(self, block: Block) -> None:
        state, height = self.state, block.number
        self.blocks += 1
        if height % self.genesis.params.round_length == 0:
            if height > self.genesis.start_block:
                self.reports.round_ended(state, height)
            if len(self.reports.rounds) % _SUPPLY_ROUNDS == 0:
                self.check_supply()
        self.reports.block_applied(state)
        self.transactions.remember_block(height, block.id)
        self.transactions.block_applied(state.derive(MS, records_of), self.reports.elected)
        self.payloads.block_applied(state)
        root = state.root(height)
        if root is not None:
            self.last_root = height, root
            given = self._open.pop(height, root)
            if given != root:
                words = f"the root of {height} is {root.hex()}, given was {given.hex()}"
                self.findings.add("trusted_root", height, words)

    def finish(self) -> None:
        """The history is at its end: what is pending is written, and the last counts are taken."""
        self.state.flush()
        if self.state.height >= 0:
            self.reports.finish(self.state)
            self.payloads.finish(self.state)
            self.check_supply()
        for height, root in sorted(self._open.items()):
            words = f"no root of {height} came out to hold {root.hex()} against: roots are those of rounds' ends"
            self.findings.add("trusted_root", height, words)

    def check_supply(self) -> None:
        """Count all tokens: none comes from nowhere."""
        found = sum(one.liquid for _, one in self.state.walk(BALANCE))
        found += sum(one.locked for _, one in self.state.walk(COLLATERAL))
        if self._supply not in (-1, found):
            self.findings.add("supply", self.state.height, f"{found} tokens instead of {self._supply}")
        self._supply = found

    # -- processors.engine.Observer

    def transaction(self, ctx: Context, position: int) -> None:
        """A transaction, before its operations."""
        self.transactions.see(ctx, position)

    def operation(self, ctx: Context, rule: Rule, account: str, body: Any, code: str) -> None:
        """An operation of ours, after its rule."""
        if rule.kind == "native":
            self._native(ctx, rule.name)
            return
        if code:
            self.rejected[rule.name, code] += 1
        else:
            self.accepted[rule.name] += 1
        if rule.name == "report":
            self.reports.report(self.state, ctx, account, body, code)
        elif rule.name == "sig_submit" and not code:
            self._signed(ctx, account, body["op"], bytes.fromhex(body["sig"]))
        elif rule.name == "sig_refuse" and not code:
            self.transactions.refused(ctx, body["op"], account, body["why"])

        if self._signatures and account != self.genesis.group:  # whose transactions are looked at as a whole
            self._look_at_sender(ctx, account)

    def _signed(self, ctx: Context, account: str, op: str, sig: bytes) -> None:
        """A signature that the state took: under which key, and is it by that key?"""
        key = recover(sig, ctx.view.need(MS, op).digest)
        found = ctx.view.get(SIG, op, key)
        if found is None or found.sig != sig:
            words = f"the state does not have a signature of {op} under {key.hex()}, which made it"
            self.findings.add("state_signature", ctx.height, words, account=account, txid=ctx.txid)
        self.transactions.signed(ctx, op, key, account)

    def _look_at_sender(self, ctx: Context, account: str) -> None:
        """Which keys signed the Hive transaction that carries an operation of ours."""
        if ctx.txid == self._seen or ctx.view.get(NODE, account) is None:
            return
        self._seen = ctx.txid
        keys = self._looked.signers.get(ctx.position)
        if keys is None:
            tx, packed, _ = ctx.block.transaction(ctx.position)
            keys = signers_of(tx, signing_digest(packed, self.genesis.chain))
        for key in keys:
            if key is not None:
                seen = self.senders.setdefault(account, Counter())
                seen[key if key in seen or len(seen) < _SENDERS else OTHER_KEYS] += 1
                continue
            words = f"a signature of {account}'s transaction recovers to no key"
            self.findings.add("sender_signature", ctx.height, words, account=account, txid=ctx.txid)

    def _native(self, ctx: Context, name: str) -> None:
        self.accepted[name] += 1
        if name in ("recover_account", "request_account_recovery", "change_recovery_account"):
            self.findings.add("recovery", ctx.height, f"{name} names {self.genesis.group}", txid=ctx.txid)
        times, before = ctx.view.need(OWNER_CHANGES).times, self._owner_changes
        self._owner_changes = times
        if not name.startswith("account_update") or times == before:  # a recovery is bound by no such limit
            return
        if len(times) == 3 and times[-1] - times[0] < OWNER_LIMIT:
            self.findings.add("owner_changes", ctx.height, f"owner changed at {times}", txid=ctx.txid)
