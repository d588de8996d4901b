"""The auditor of a run: applies every irreversible block itself and checks, at each, what must never be otherwise.

It knows the chain's truth and every key. It counts weights and payloads by its own lines, not by those it checks.
"""

import contextlib
import json
from collections.abc import Callable, Container
from typing import Any

import msgspec

from node.assembly import open_state
from node.devnet.chain import DevnetChain, Produced
from node.devnet.founding import GROUP
from node.sim.audit_gov import Treasurer
from node.sim.bounds import check_bounds
from node.sim.outcome import demand
from processors.engine import apply_block, begin
from processors.genesis import Genesis
from processors.hive.authority import required_authorities
from processors.hive.block import Block
from processors.hive.operations import Operation
from state.schema import (
    AUTHORITY,
    BALANCE,
    COLLATERAL,
    DONE,
    KEY,
    MS,
    QUEUE,
    REJECTED,
    ROUND,
    RUNNER,
    TALLY,
    Authority,
    Payload,
    Record,
)
from state.store import MemoryStore


class Known(msgspec.Struct, frozen=True):
    """A group transaction that the rules built, as the auditor remembers it for ever."""

    op: str
    txid: bytes
    payloads: tuple[int, ...]
    expiration: int
    kind: str


class Auditor:
    """The reference replica and what it has seen."""

    def __init__(self, chain: DevnetChain, genesis: Genesis, read: Callable[[int], Block]) -> None:
        self.chain = chain
        self.genesis = genesis
        self.state = open_state(genesis, MemoryStore())
        self.ids: dict[int, bytes] = {}
        self.traces: dict[int, bytes | None] = {}
        self.roots: dict[int, bytes] = {}
        self.known: dict[bytes, Known] = {}  # by transaction id
        self.heard: Callable[[int], None] = lambda number: None  # told of each block once it is checked
        self.payloads: dict[int, Payload] = {}  # every payload that was ever queued, as it was last seen
        self.last_seen: dict[int, int] = {}  # payload -> height
        self.executed: dict[int, bytes] = {}  # payload -> transaction
        self.foreign: set[bytes] = set()  # changes of the authority from outside, which the plan drew
        self.keys: set[bytes] = set()  # every signing key that somebody holds
        self.counts = dict.fromkeys(
            (
                "confirmed",
                "expiries",
                "requeues",
                "failed",
                "rotations",
                "agreed",
                "open",
                "seated",
                "unseated",
                "rejected",
            ),
            0,
        )
        self.treasurer = Treasurer(genesis)
        self.last_agreed = 0
        self._read = read
        self._times: dict[int, int] = {}
        self._supply = 0
        self._authority: dict[str, Authority] = {}
        self._waiting: set[int] = set()
        self._carried: dict[int, list[Known]] = {}  # payload -> transactions that were built for it
        self._said: set[tuple[str, str]] = set()
        self._left: set[str] = set()  # who gave up a seat since the last tally
        self._runners = {runner.account for runner in genesis.runners}

    @property
    def height(self) -> int:
        """The newest irreversible block that it has applied."""
        return self.state.height

    def follow(self) -> list[int]:
        """Apply what has become irreversible, check each block; the new heights."""
        new = []
        while self.state.height < self.chain.irreversible_number:
            number = self.state.height + 1 if self.state.height >= 0 else self.genesis.start_block
            if number > self.chain.irreversible_number:
                break
            self._apply(number)
            new.append(number)
        return new

    def irreversible_time(self) -> int:
        """The timestamp of the newest irreversible block, also of one that is not applied yet."""
        block = self.chain.block(self.chain.irreversible_number)
        return block.header.timestamp if block is not None else 0

    def payouts_out(self) -> bool:
        """Whether a payout is in flight."""
        return any(record.kind != "rotation" for _, record in self.state.walk(MS))

    def led_by(self, account: str) -> set[bytes]:
        """The ids of the transactions whose transmission an account leads."""
        return {record.txid for _, record in self.state.walk(MS) if record.order[:1] == (account,)}

    def weigh(self, accounts: Container[str]) -> tuple[int, int, int]:
        """What the keys of these accounts weigh in active on chain, what all of it weighs, and its threshold."""
        active = self._authority["active"]
        owners = {bytes(key): owner.account for (key,), owner in self.state.walk(KEY)}  # type: ignore[arg-type]
        held = sum(weight for key, weight in active.keys if owners.get(key) in accounts)
        return held, sum(weight for _, weight in (*active.keys, *active.accounts)), active.threshold

    def replay(self) -> None:
        """From genesis again, in batches, the state closed and opened between: every root and the last trace."""
        store = MemoryStore()
        state = open_state(self.genesis, store)
        for number in range(self.genesis.start_block, self.height + 1):
            if state.height < 0:
                begin(state, self.genesis, self._read(number))
                continue
            apply_block(state, self.genesis, self._read(number), flush=number % 64 == 0)
            if number % 256 == 0:
                state = open_state(self.genesis, store)
            if number in self.roots:
                demand(state.root(number) == self.roots[number], "replay", f"another root at {number}")
        demand(state.trace(self.height) == self.traces[self.height], "replay", f"another trace at {self.height}")

    # -- a block

    def _apply(self, number: int) -> None:
        block, state = self._read(number), self.state
        produced = self.chain.block(number)
        assert produced is not None
        self._times[number] = block.timestamp
        if state.height < 0:
            begin(state, self.genesis, block)
            self._supply = self._tokens()
            self._authority = {role: state.need(AUTHORITY, role) for role in ("owner", "active", "posting")}
        else:
            before = {op: record for (op,), record in state.walk(MS)}
            apply_block(state, self.genesis, block)
            self._check_transactions(produced, before)
            self._check_records(number)
            self.treasurer.block(state, number)
            self.counts["rejected"] += sum(1 for _ in state.walk(REJECTED, number))
        self.ids[number] = block.id
        self.traces[number] = state.trace(number)
        root = state.root(number)
        if root is not None:
            self.roots[number] = root
        self._check_authority(number)
        self._check_ends(number)
        if number % self.genesis.params.round_length == 0 and number > self.genesis.start_block:
            self._check_tally(number)
            check_bounds(state, self.genesis, number)
            self.treasurer.round(state, number)
        demand(self._tokens() == self._supply, "supply", f"{self._tokens()} tokens instead of {self._supply}")
        self.heard(number)

    def _tokens(self) -> int:
        liquid = sum(entry.liquid for _, entry in self.state.walk(BALANCE))
        return liquid + sum(entry.locked for _, entry in self.state.walk(COLLATERAL))

    def _check_transactions(self, produced: Produced, before: dict[Any, Record]) -> None:
        """Nothing leaves the group account but what the rules built, and each payload once."""
        for entry in produced.transactions:
            required = required_authorities(entry.tx.operations)
            known = self.known.get(entry.txid)
            if known is not None:
                for payload in known.payloads:
                    first = self.executed.get(payload)
                    both = f"payload {payload} in {first.hex() if first else ''} and in {entry.txid.hex()} ({known.op})"
                    demand(first is None, "executed_twice", both)
                    self.executed[payload] = entry.txid
                demand(known.op in before, "confirmed_late", f"{known.op} was included after its record was gone")
            elif GROUP in (*required.owner, *required.active):
                demand(entry.txid in self.foreign, "unknown_transaction", f"{entry.txid.hex()} spends for the group")
            for operation in entry.tx.operations:
                self._fold(operation)
                self._hear(operation)

    def _hear(self, operation: Operation) -> None:
        """Who said which root in this round, whatever the rules make of it."""
        value = operation.value
        if operation.name == "custom_json" and value["id"] == self.genesis.prefix + "report":
            with contextlib.suppress(ValueError, TypeError, KeyError):
                self._said |= {(account, json.loads(value["json"])["root"]) for account in value["required_auths"]}
        elif operation.name == "custom_json" and value["id"] == self.genesis.prefix + "node_delete":
            self._left |= set(value["required_auths"])

    def _fold(self, operation: Operation) -> None:
        """The group's authority as Hive has it."""
        value = operation.value
        if operation.name in ("account_update", "account_update2") and value["account"] == GROUP:
            changed = {role: value[role] for role in ("owner", "active", "posting") if value[role] is not None}
        elif operation.name == "recover_account" and value["account_to_recover"] == GROUP:
            changed = {"owner": value["new_owner_authority"]}
        else:
            return
        for role, given in changed.items():
            self._authority[role] = Authority(given.weight_threshold, given.key_auths, given.account_auths)

    def _check_authority(self, number: int) -> None:
        """The state's authority is the chain's, and somebody who lives can sign for it."""
        for role, chain in self._authority.items():
            demand(
                self.state.need(AUTHORITY, role) == chain, "authority", f"{role} at {number} is not what the chain has"
            )
            held = sum(weight for key, weight in chain.keys if key in self.keys)
            demand(
                0 < chain.threshold <= held,
                "authority_lost",
                f"{role} at {number} asks for {chain.threshold}, all keys that anybody holds weigh {held}",
            )

    def _check_records(self, number: int) -> None:
        """A payload rides in one living transaction."""
        for (op,), record in self.state.walk(MS):
            if record.txid in self.known:
                continue
            is_open = self.state.need(TALLY).is_open
            demand(not is_open, "open_round", f"{op!s} was built at {number}, and the last tally agreed on nothing")
            for payload in record.payloads:
                for other in self._carried.get(payload, ()):
                    demand(
                        self._times[number] >= other.expiration and payload not in self.executed,
                        "two_alive",
                        f"payload {payload} is built into {op!s} while {other.op} can be included",
                    )
            known = Known(str(op), record.txid, record.payloads, record.expiration, record.kind)
            for payload in record.payloads:
                self._carried.setdefault(payload, []).append(known)
            self.known[record.txid] = known
            self.treasurer.record(self.state, str(op), record, number)

    def _check_ends(self, number: int) -> None:
        """What is called confirmed was included, everything else was not; attempts are counted."""
        waiting = {int(payload): entry for (payload,), entry in self.state.walk(QUEUE)}
        for payload, entry in waiting.items():
            before = self.payloads.get(payload)
            self.payloads[payload] = entry
            self.last_seen[payload] = number
            if before is not None and entry.expiries > before.expiries:
                self.counts["expiries"] += 1
                self.counts["requeues"] += 1
                if not entry.out:
                    self.treasurer.expired(payload)
            over = len(self._carried[payload]) - 1 if entry.out else entry.expiries
            words = f"payload {payload} has {entry.expiries} expiries, {over} transactions of it are over"
            demand(entry.expiries == over < max(2, self.genesis.params.max_attempts), "attempts", words)
        for payload in self._waiting - waiting.keys():
            self._check_end(payload)
        self._waiting = set(waiting)

    def _check_end(self, payload: int) -> None:
        done = self.state.get(DONE, payload)
        demand(done is not None, "ends", f"payload {payload} is gone without an end")
        assert done is not None
        self.treasurer.ended(payload, done.status, done.why)
        is_executed = payload in self.executed
        demand(
            (done.status == "confirmed") == is_executed,
            "ends",
            f"payload {payload} is {done.status}, but was {'' if is_executed else 'not '}executed",
        )
        demand(done.status in ("confirmed", "expired") or done.why != "", "ends", f"payload {payload}: no reason")
        known = self.known.get(done.txid) if done.txid is not None else None
        if done.status == "confirmed":
            self.counts["rotations" if known is not None and known.kind == "rotation" else "confirmed"] += 1
        elif known is not None:
            self.counts["expiries"] += 1
            self.counts["failed"] += done.status == "failed"

    def _check_tally(self, number: int) -> None:
        """Who agrees can sign: the weight of the keys on chain of those who agreed reaches the threshold, and is more
        than half of all there is."""
        start = number - self.genesis.params.round_length
        found = self.state.get(ROUND, start)
        demand(found is not None, "tally", f"nothing is noted of round {start}")
        assert found is not None
        runners = {str(account) for (account,), _ in self.state.walk(RUNNER)}
        self.counts["seated"] += len(runners - self._runners)
        lost = self._runners - runners
        self.counts["unseated"] += len(lost)
        self._runners = runners
        said, self._said = self._said, set()
        left, self._left = self._left, set()
        if found.root is None:
            self.counts["open"] += 1
            demand(lost <= left, "open_round", f"{sorted(lost)} lost their seats at {number}, and nothing was agreed")
            return
        silent = [account for account in found.agreed if (account, found.root.hex()) not in said]
        demand(not silent, "weak_agreement", f"round {start} counts {silent}, who did not report its root")
        self.counts["agreed"] += 1
        self.last_agreed = number
        demand(found.root == self.roots.get(start), "false_agreement", f"round {start} agreed on a root that is not so")
        agreed, total, threshold = self.weigh(found.agreed)
        keys = self._authority["active"].keys
        if any(weight and self.state.get(KEY, key) is not None for key, weight in keys):
            words = f"round {start} agreed with weight {agreed} of {total}, threshold {threshold}"
            demand(agreed >= threshold and 2 * agreed > total, "weak_agreement", words)
