"""Seats that decide: a world whose members speak in json, whose jobs fall due, and whose builder has its turn."""

import json
from collections.abc import Iterable
from typing import Any

from node.devnet.founding import GROUP
from processors import shapes, strict_json, tally
from processors.engine import RULES
from processors.errors import Rejected
from processors.signatures import ms_signed
from state.schema import CHRON, DECIDED, MS, PROPOSAL, PROPOSALS, SPEND, SPENDING, Record, Seat
from state.schema import RUNNER as SEATS
from tests.processors.world import World

#: Limits that hold nothing back, and no payload is large: what a test is not about.
GENEROUS = {"spend_limit_hive": 10**6, "spend_limit_hbd": 10**6, "large_hive": 10**6, "large_hbd": 10**6}
Ops = list[Any]


def transfer(amount: str = "1.000 TESTS", to: str = "receiver", memo: str = "") -> Ops:
    """A transfer of the group, as a proposal holds it."""
    return ["transfer", {"from": GROUP, "to": to, "amount": amount, "memo": memo}]


def witness_vote(witness: str = "witness") -> Ops:
    """An operation with which nothing leaves."""
    return ["account_witness_vote", {"account": GROUP, "witness": witness, "approve": True}]


class Council(World):
    """A world at a height that goes on; each letter of ``seats`` holds one, with a collateral of 100."""

    def __init__(self, seats: str = "abcde", **given: Any) -> None:
        super().__init__(**given)
        self.height = 1_110
        self.asked(1_050, exp=2**32 - 1, elect=True)
        for name in seats:
            self.member(name)
        self.strict(seats)

    def say(self, account: str, name: str, body: Any = None, /, **fields: Any) -> str:
        """One of our custom_json, by the engine's path: "accepted" or its code; a rejection wrote nothing."""
        rule = RULES.find("json", name, self.height)
        assert rule is not None
        before = self.view.writes
        text = body if isinstance(body, str) else json.dumps(fields if body is None else body, ensure_ascii=False)
        try:
            found = strict_json.parse(text)
            shapes.check(found, rule.shape)
            rule.call(self.at(self.height), account, found)
        except Rejected as no:
            assert self.view.writes == before
            return no.code
        return "accepted"

    def all_say(self, accounts: Iterable[str], name: str, /, **fields: Any) -> list[str]:
        """The same of several seats, one after the other."""
        return [self.say(account, name, **fields) for account in accounts]

    def wait(self, blocks: int) -> None:
        """Jobs fall due, in their order; nothing is built."""
        end = self.height + blocks
        while (due := next((found for found in self.view.walk(CHRON) if found[0][0] <= end), None)) is not None:
            (height, sequence), job = due
            self.height = max(self.height, int(height))
            self.view.delete(CHRON, height, sequence)
            rule = RULES.find("job", job.kind, self.height)
            assert rule is not None
            rule.call(self.at(self.height), job.what)
        self.height = end

    def propose(self, *ops: Ops, by: str = "a", lasts: int = 1_000) -> int:
        """A proposal of operations; its number."""
        assert self.say(by, "propose", ops=list(ops), expires=self.height + lasts) == "accepted"
        return self.view.need(PROPOSALS).last

    def approve(self, *ops: Ops, by: str = "a") -> int:
        """A proposal that every seat votes for until it is decided; its payload's number."""
        number = self.propose(*ops, by=by)
        for account in self.runners:
            if self.is_open(number):
                assert self.say(account, "vote", id=number, yes=True) == "accepted"
        return self.payload_of(number)

    def is_open(self, number: int) -> bool:
        """Whether a proposal can be voted on."""
        return self.view.get(PROPOSAL, number) is not None

    def payload_of(self, number: int) -> int:
        """The payload of an approved proposal."""
        return self.view.need(DECIDED, number).payload

    def built(self) -> tuple[int, ...]:
        """The payloads of what is built now, or in the next block if something was built in this one already."""
        if any(record.built == self.height for _, record in self.view.walk(MS)):
            self.wait(1)
        record = self.build(self.height)
        return record.payloads if record is not None else ()

    def build_all(self, blocks: int = 10) -> list[tuple[int, ...]]:
        """The payloads of what is built in so many blocks."""
        found = []
        for _ in range(blocks):
            found.append(self.built())
            self.wait(1)
        return [payloads for payloads in found if payloads]

    def out(self) -> list[str]:
        """Ids of the group transactions that are out, the oldest first."""
        return sorted((str(op) for (op,), _ in self.view.walk(MS)), key=lambda op: self.record_of(op).built)

    def record_of(self, op: str) -> Record:
        """A group transaction that is out."""
        return self.view.need(MS, op)

    def confirm(self, op: str) -> None:
        """Hive has included it."""
        ms_signed(self.at(self.height, txid=self.record_of(op).txid), self.genesis.group, {"op": op})

    def unseat(self, name: str) -> None:
        """An account loses its seat."""
        self.view.delete(SEATS, name)

    def seat(self, name: str) -> None:
        """An account gets one."""
        self.view.put(SEATS, Seat(self.height, 0, 0), name)

    def agree(self) -> None:
        """The next tally, at which everybody reported the same."""
        self.wait(-self.height % self.params.round_length or self.params.round_length)
        self.asked(self.height - 50, exp=2**32 - 1)
        self.reports(self.runners)
        tally.tally(self.at(self.height))

    def window_is_sound(self) -> bool:
        """Whether ``spending`` is the sum of ``spend``, and has no entry of nothing."""
        spends = [spend for _, spend in self.view.walk(SPEND)]
        sums = {"HIVE": sum(one.hive for one in spends), "HBD": sum(one.hbd for one in spends)}
        found = {str(asset): total.amount for (asset,), total in self.view.walk(SPENDING)}
        return found == {asset: amount for asset, amount in sums.items() if amount}
