"""The accounts of the devnet's Hive, and what each operation does to them (hived: hive_evaluator*.cpp).

Accounts are immutable values. Every change goes through ``set`` and ``drop``, which remember what was there before:
a transaction that fails, and the whole pool before a block, is undone.
"""

import heapq
from typing import Any

import msgspec
from msgspec.structs import replace

from node.devnet.errors import HivedRefusalError, require
from processors.hive.chain import PRECISION, Chain
from processors.hive.types import Asset, Authority

RECOVERY_PERIOD = 30 * 86400  # seconds (HIVE_OWNER_AUTH_RECOVERY_PERIOD)
LONG_AGO = -(2**31)


class Account(msgspec.Struct, frozen=True):
    """One account: authorities, balances (HIVE, HBD, VESTS in smallest units), owner history."""

    name: str
    owner: Authority
    active: Authority
    posting: Authority
    memo_key: bytes
    balances: tuple[int, int, int]
    recovery_account: str
    savings: tuple[int, int] = (0, 0)
    delegated: int = 0
    last_owner_update: int = LONG_AGO
    previous_owner_update: int = LONG_AGO
    owner_history: tuple[tuple[Authority, int], ...] = ()
    last_recovery: int = LONG_AGO
    json_metadata: str = ""
    posting_json_metadata: str = ""
    received: int = 0

    @property
    def credits(self) -> int:
        """What an account pays transactions with: its vesting and what others delegated to it."""
        return self.balances[2] - self.delegated + self.received


_ABSENT: Any = object()


class Ledger:
    """All accounts, pending requests, and the ids of transactions that may not come again."""

    def __init__(self, chain: Chain, rules: int) -> None:
        self.chain = chain
        self.rules = rules
        self.accounts: dict[str, Account] = {}
        self.known: dict[bytes, int] = {}  # txid -> expiration
        self.recovery_requests: dict[str, tuple[Authority, int]] = {}
        self.recovery_changes: dict[str, tuple[str, int]] = {}
        self.withdrawals: dict[tuple[str, int], tuple[str, Asset, int]] = {}
        self.delegations: dict[tuple[str, str], int] = {}
        self.witness_votes: dict[tuple[str, str], bool] = {}
        self.proxies: dict[str, str] = {}
        self.recurrent: dict[tuple[str, str, int], tuple[Asset, int]] = {}  # (from, to, pair) -> (amount, times left)
        self.witnesses: frozenset[str] = frozenset()
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self._forget: list[tuple[int, bytes]] = []  # a heap: when the id of an included transaction is forgotten

    # -- changes and their undoing

    def mark(self) -> int:
        """A point to which ``undo`` goes back."""
        return len(self._undo)

    def undo(self, mark: int = 0) -> None:
        """Take back every change since ``mark``; since the newest block without one."""
        while len(self._undo) > mark:
            table, key, before = self._undo.pop()
            if before is _ABSENT:
                table.pop(key, None)
            else:
                table[key] = before

    def commit(self) -> None:
        """What was changed until now stays."""
        self._undo.clear()

    def snapshot(self) -> tuple[Any, ...]:
        """Everything there is, without what waits in the pool (undo that before)."""
        return tuple(dict(table) for table in self._tables()), list(self._forget)

    def restore(self, snapshot: tuple[Any, ...]) -> None:
        """Be as it was at ``snapshot``."""
        tables, forget = snapshot
        self._undo.clear()
        self._forget = list(forget)
        for table, before in zip(self._tables(), tables, strict=True):
            table.clear()
            table.update(before)

    def _tables(self) -> tuple[dict[Any, Any], ...]:
        return (
            self.accounts,
            self.known,
            self.recovery_requests,
            self.recovery_changes,
            self.withdrawals,
            self.delegations,
            self.witness_votes,
            self.proxies,
            self.recurrent,
        )

    def set(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """table[key] = value, until undone."""
        self._undo.append((table, key, table.get(key, _ABSENT)))
        table[key] = value

    def drop(self, table: dict[Any, Any], key: Any) -> None:
        """Remove a key if it is there, until undone."""
        if key in table:
            self._undo.append((table, key, table.pop(key)))

    def put(self, account: Account) -> None:
        """A new or changed account."""
        self.set(self.accounts, account.name, account)

    # -- accounts

    def account(self, name: str) -> Account:
        """The account, or hived's refusal."""
        found = self.accounts.get(name)
        if found is None:
            words = f'_account != nullptr && "By name": Account {name} doesn\'t exist'
            raise HivedRefusalError("assert_exception", words)
        return found

    def authority(self, role: str, name: str) -> Authority:
        """Authority of ``name`` in a role; where hived only looks into its index, it says so in other words."""
        found = self.accounts.get(name)
        if found is None:
            kind = "hive::chain::account_authority_object"
            raise HivedRefusalError("St12out_of_range", f"unknown key: {name} of type: name, lookup: {kind}")
        authority: Authority = getattr(found, role)
        return authority

    def adjust(self, name: str, amount: Asset, sign: int) -> None:
        """Add ``sign`` x amount to a balance; refuse what would be negative."""
        account = self.account(name)
        delta = sign * amount.amount
        balances = list(account.balances)
        require(
            delta >= 0 or balances[amount.kind] >= -delta,
            "available >= -delta",
            f"Account {name} does not have sufficient funds for balance adjustment. "
            f"Required: {words(self.chain, Asset(delta, amount.kind))}, Available: "
            f"{words(self.chain, Asset(balances[amount.kind], amount.kind))}",
        )
        balances[amount.kind] += delta
        self.put(replace(account, balances=(balances[0], balances[1], balances[2])))

    def set_owner(self, account: Account, owner: Authority, now: int) -> None:
        """Replace the owner authority and remember the old one for recovery."""
        history = tuple(entry for entry in account.owner_history if entry[1] + RECOVERY_PERIOD > now)
        self.put(
            replace(
                account,
                owner=owner,
                previous_owner_update=account.last_owner_update,
                last_owner_update=now,
                owner_history=(*history, (account.owner, now)),
            )
        )

    # -- time

    def remember(self, txid: bytes, expiration: int) -> None:
        """A transaction is in a block: its id may not come again until its expiration has passed."""
        heapq.heappush(self._forget, (expiration, txid))

    def pass_time(self, now: int) -> None:
        """What falls due by itself: expired ids and requests, recovery changes, savings withdrawals."""
        while self._forget and self._forget[0][0] < now:
            self.known.pop(heapq.heappop(self._forget)[1], None)
        self.recovery_requests = {n: r for n, r in self.recovery_requests.items() if r[1] > now}
        for name, (recovery, due) in list(self.recovery_changes.items()):
            if due <= now:
                self.put(replace(self.accounts[name], recovery_account=recovery))
                self.drop(self.recovery_changes, name)
        for key, (receiver, amount, due) in list(self.withdrawals.items()):
            if due <= now:
                self.adjust(receiver, amount, 1)
                self.drop(self.withdrawals, key)
        self.commit()


def words(chain: Chain, amount: Asset) -> str:
    """An amount as hived writes it into messages."""
    digits = str(abs(amount.amount)).rjust(PRECISION[amount.kind] + 1, "0")
    sign = "-" if amount.amount < 0 else ""
    return f"{sign}{digits[: -PRECISION[amount.kind]]}.{digits[-PRECISION[amount.kind] :]} {chain.symbols[amount.kind]}"
