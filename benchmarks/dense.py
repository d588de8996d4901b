"""A history dense with a group's own operations: reports, signatures, payouts, votes, tokens sent."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from benchmarks.world import Maker, own
from node.devnet.founding import CHAIN, MemberKeys, found, genesis_document, member_keys
from node.feed.archive import Archive
from processors.engine import apply_block, begin
from processors.genesis import Genesis
from processors.hive.block import read_block
from processors.hive.transaction import Transaction, unpack_transaction
from processors.hive.types import Authority
from processors.report import report_digest
from state.schema import HEADERS, MS, REJECTED, SIG
from state.state import State
from state.store import MemoryStore

NODES, _VOTERS, _ROUND = 25, 12, 100
#: A payout falls due with each block; all else is as it is by default.
DENSE = {"max_in_flight": 20}


def dense_group() -> tuple[Genesis, dict[str, Any], list[MemberKeys]]:
    """25 nodes that hold the account already, with tokens to send; the genesis, its document, the members."""
    people = [member_keys(number) for number in range(1, NODES + 1)]
    keys = sorted(one.signing_key.public for one in people)
    document = genesis_document(
        people,
        start_block=100,
        parameters=DENSE,
        balances={one.account: 10**9 for one in people},
        payouts=[{"to": "bobby", "amount": 1, "asset": "HIVE", "every": 1, "memo": "dense"}],
        authority=Authority(len(keys) // 2 + 1, (), tuple((key, 1) for key in keys)),
    )
    return found(document), document, people


class Dense:
    """Blocks of a dense history, one after the other; ``accepted`` counts its operations by kind."""

    def __init__(self, genesis: Genesis, people: list[MemberKeys]) -> None:
        self.accepted: Counter[str] = Counter()
        self._genesis = genesis
        self._people = people
        self._maker = Maker(100)
        self._state = State(MemoryStore(), genesis.hash, round_length=_ROUND)
        self._serial = 0

    def blocks(self) -> Iterator[bytes]:
        """As a server gives them, without end."""
        first = self._maker.block([])
        begin(self._state, self._genesis, read_block(first, CHAIN))
        yield msgspec.json.encode(first)
        while True:
            raw = self._maker.block(self._operations())
            apply_block(self._state, self._genesis, read_block(raw, CHAIN))
            assert next(self._state.walk(REJECTED), None) is None, "every operation must be accepted"
            yield msgspec.json.encode(raw)

    def _operations(self) -> list[Transaction]:
        number = self._state.height + 1
        reports, (signatures, groups) = list(self._reports(number)), self._signatures(number)
        others = [self._other(number) for _ in range(max(1, 2 * len(signatures) - len(reports) - len(groups)))]
        self.accepted.update({"report": len(reports), "sig_submit": len(signatures), "ms_signed": len(groups)})
        return [*reports, *signatures, *groups, *others]

    def _reports(self, number: int) -> Iterator[Transaction]:
        start = (number - 1) // _ROUND * _ROUND
        asked = self._state.need(HEADERS).asked
        if number != start + 52 or asked is None:
            return
        root = self._state.root(start) or b""
        for one in self._people:
            sig = one.signing_key.sign(report_digest(self._genesis.hash, start, root, one.account))
            header = {"num": asked.num, "pre": asked.pre, "exp": asked.exp}
            body = {"v": 1, "height": start, "root": root.hex(), "hdr": header, "ver": "0.1.0", "sig": sig.hex()}
            yield one.account_key.sign_transaction(own(one.account, "report", body, number), CHAIN)

    def _signatures(self, number: int) -> tuple[list[Transaction], list[Transaction]]:
        given, sent = [], []
        for (op,), record in self._state.walk(MS):
            if record.status == "ready":
                signatures = tuple(found.sig for _, found in self._state.walk(SIG, op))
                sent.append(replace(unpack_transaction(record.tx, CHAIN), signatures=signatures))
                continue
            have = {key for (_, key), _ in self._state.walk(SIG, op)}
            for one in [who for who in self._people if who.signing_key.public not in have][: 13 - len(have)]:
                sig = one.signing_key.sign(record.digest)
                tx = own(one.account, "sig_submit", {"op": op, "sig": sig.hex()}, number)
                given.append(one.account_key.sign_transaction(tx, CHAIN))
        return given, sent

    def _other(self, number: int) -> Transaction:
        """Tokens sent and votes changed, in turn; of 25 seats 12 vote, so that nothing is ever decided."""
        self._serial += 1
        if self._serial == 1:
            body = {"name": "absent_rounds", "value": 20, "delay": 28_800, "expires": number + 201_600}
            return self._own(self._people[0], "propose_change", body, number)
        if self._serial % 2:
            turn = self._serial // 2
            yes = turn // _VOTERS % 2 == 0
            return self._own(self._people[turn % _VOTERS], "vote", {"id": 1, "yes": yes}, number)
        to = self._people[(self._serial + 7) % NODES].account
        body = {"to": to, "amount": 1, "memo": str(self._serial)}
        return self._own(self._people[self._serial % NODES], "send", body, number)

    def _own(self, who: MemberKeys, name: str, body: dict[str, Any], number: int) -> Transaction:
        self.accepted[name] += 1
        return who.account_key.sign_transaction(own(who.account, name, body, number), CHAIN)


def dense_archive(folder: Path, operations: int) -> tuple[Genesis, dict[str, Any], int, dict[str, int]]:
    """An archive with so many accepted operations; (genesis, its document, blocks, operations by kind)."""
    genesis, document, people = dense_group()
    dense, count = Dense(genesis, people), 0
    with Archive.open(folder, write=True) as archive:
        for raw in dense.blocks():
            archive.append(raw)
            count += 1
            if sum(dense.accepted.values()) >= operations:
                break
    return genesis, document, count, dict(dense.accepted)
