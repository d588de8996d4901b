"""A world for one rule: tables written by hand, and a block that is a number and a time and nothing else."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from hashlib import sha256
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from node.devnet.founding import CHAIN, GROUP, devnet_key
from node.signer.keys import SecretKey
from processors import builder, tally
from processors import params as parameters
from processors.authority import strict
from processors.context import Context, enqueue, schedule
from processors.errors import Rejected
from processors.genesis import Genesis
from processors.params import Params
from state.schema import (
    AUTHORITY,
    COLLATERAL,
    COUNTERS,
    HEADERS,
    KEY,
    MS,
    NODE,
    OWNER_CHANGES,
    QUEUE,
    REPORT,
    RUNNER,
    TALLY,
    Authority,
    Collateral,
    Counters,
    Headers,
    KeyOwner,
    Member,
    OwnerChanges,
    Payload,
    Record,
    Report,
    Seat,
    Table,
    Taken,
    Tally,
)
from state.state import State
from state.store import MemoryStore

START = 1_000  # start_block of every world
BORN = 1_767_225_600  # the time of block 0
ROOT = sha256(b"the agreed root").digest()
OTHER_ROOT = sha256(b"another root").digest()
ROLES = ("owner", "active", "posting")
OP = "1050:7:9"


class Moment(NamedTuple):
    """All that a rule sees of a block."""

    number: int
    timestamp: int


@cache
def secret(name: str) -> SecretKey:
    """The key that is called ``name``."""
    return devnet_key(name)


def key(name: str) -> bytes:
    """Its public half."""
    return secret(name).public


def time_of(height: int) -> int:
    """Blocks come every 3 seconds."""
    return BORN + 3 * height


class World:
    """Tables, written by hand. Members are called by their account, and so are their keys unless told otherwise."""

    def __init__(self, *, founder_keys: tuple[bytes, ...] = (), **given: Any) -> None:
        self.params = Params(**given)
        hashed = sha256(b"a world").digest()
        self.genesis = Genesis(hashed, CHAIN, "waggle_", START, GROUP, {}, founder_keys, (), (), (), (), self.params)
        self.state = State(MemoryStore(), hashed, round_length=self.params.round_length)
        self.view = self.state.view()
        parameters.write(self.view, self.params)
        self.view.put(COUNTERS, Counters(0, 0))
        self.view.put(TALLY, Tally(START, False, 0, START, 0, 0, 0))
        self.view.put(HEADERS, Headers(None, None))
        self.view.put(OWNER_CHANGES, OwnerChanges(()))
        self.authority(1, ["somebody outside"])

    @classmethod
    def paying(cls) -> "World":
        """Five signers, threshold 3; a payout is out."""
        found = cls()
        for name in "abcde":
            found.member(name)
        found.strict("abcde")
        found.record(payloads=(found.payout(),))
        return found

    def at(self, height: int, *, time: int | None = None, txid: bytes = b"") -> Context:
        """What a rule sees in block ``height``."""
        moment: Any = Moment(height, time_of(height) if time is None else time)
        ctx = Context(self.view, self.genesis, self.params, moment)
        ctx.txid = txid
        return ctx

    def member(
        self,
        name: str,
        *,
        seat: bool = True,
        ripe: bool | str = True,
        locked: int = 100,
        signing: str | None = None,
        former: Iterable[str] = (),
        marks: int = 0,
        missed: int = 0,
        **fields: Any,
    ) -> None:
        """Register a member; ``ripe`` is its ripe key's name, True = its signing key, False = it has none."""
        signing = signing or name
        ripe_key = key(signing if ripe is True else ripe) if ripe else None
        member = Member("https://node.example", key(signing), bytes(65), False, None, ripe_key, 0, False, "")
        self.view.put(NODE, replace(member, **fields), name)
        for had in (signing, *former):
            self.view.put(KEY, KeyOwner(name), key(had))
        self.view.put(COLLATERAL, Collateral(locked, 0), name)
        if seat:
            self.view.put(RUNNER, Seat(START, missed, marks), name)

    def authority(
        self,
        threshold: int,
        keys: Iterable[str] | Mapping[str, int],
        accounts: tuple[tuple[str, int], ...] = (),
        *,
        roles: tuple[str, ...] = ROLES,
    ) -> None:
        """The group account's authority on chain; a list of keys weighs 1 each."""
        weights = keys if isinstance(keys, Mapping) else dict.fromkeys(keys, 1)
        pairs = tuple(sorted((key(name), weight) for name, weight in weights.items()))
        for role in roles:
            self.view.put(AUTHORITY, Authority(threshold, pairs, accounts), role)

    def strict(self, names: Iterable[str], *, roles: tuple[str, ...] = ROLES) -> None:
        """The strict authority over these keys stands on chain."""
        for role in roles:
            self.view.put(AUTHORITY, strict([key(name) for name in names]), role)

    def reports(self, names: Iterable[str], root: bytes = ROOT) -> dict[str, Report]:
        """Members report ``root`` with their signing keys; the reports as a rule takes them."""
        found = {name: Report(root, self.view.need(NODE, name).signing_key, "1") for name in names}
        for name, report in found.items():
            self.view.put(REPORT, report, name)
        return found

    def tally(self, height: int, names: Iterable[str]) -> None:
        """These members report the same root, and block ``height`` tallies."""
        self.reports(names)
        tally.tally(self.at(height))

    def set_tally(self, **fields: Any) -> None:
        """Change what the last tally left behind."""
        self.view.put(TALLY, replace(self.view.need(TALLY), **fields))

    def asked(self, height: int, *, exp: int | None = None, elect: bool = False) -> Taken:
        """The header of block ``height`` is the one asked for (and, with ``elect``, the elected one)."""
        taken = Taken(height & 0xFFFF, 4_000_000_000, time_of(height) + 86_400 if exp is None else exp, height)
        self.view.put(HEADERS, Headers(taken, taken if elect else self.view.need(HEADERS).elected))
        return taken

    def payout(self, amount: int = 5, **fields: Any) -> int:
        """A transfer joins the queue; returns its number."""
        payload = Payload("payout", 0, START, "receiver", amount, "HIVE", f"for {amount}", "", ())
        return enqueue(self.at(START), replace(payload, **fields))

    def rotation(self, **fields: Any) -> int:
        """A rotation joins the queue; returns its number."""
        return enqueue(self.at(START), replace(Payload("rotation", 0, START, "", 0, "", "", "", ()), **fields))

    def build(self, height: int, *, time: int | None = None) -> Record | None:
        """The builder's turn at ``height``; the record that is new."""
        before = set(self.names(MS))
        builder.build(self.at(height, time=time))
        new = [op for op in self.names(MS) if op not in before]
        assert len(new) <= 1
        return self.view.need(MS, new[0]) if new else None

    def record(self, op: str = OP, *, built: int = 1_050, payloads: tuple[int, ...] = (), **fields: Any) -> Record:
        """A group transaction is out, its bytes invented; its payloads are out with it."""
        job = schedule(self.at(built), built + self.params.recast_every, "recast", op)
        digest = sha256(op.encode()).digest()
        record = Record(
            payloads, "payout", time_of(built) + 7_200, op.encode(), digest[:20], digest, ("active",), built,
            "collecting", 0, (), 0, (), job, 0, (),
        )  # fmt: skip
        record = replace(record, **fields)
        self.view.put(MS, record, op)
        for number in payloads:
            self.view.put(QUEUE, replace(self.view.need(QUEUE, number), out=op), number)
        return record

    def names(self, table: Table[Any], *start: int | str | bytes) -> list[Any]:
        """The last key field of a table's entries."""
        return [found[-1] for found, _ in self.view.walk(table, *start)]

    @property
    def runners(self) -> list[str]:
        """Who has a seat."""
        return self.names(RUNNER)

    def rejects(self, code: str, rule: Callable[..., None], ctx: Context, account: str, body: dict[str, Any]) -> None:
        """The rule says no with ``code``, and wrote nothing before it did."""
        before = self.view.writes
        with pytest.raises(Rejected) as no:
            rule(ctx, account, body)
        assert no.value.code == code
        assert self.view.writes == before
