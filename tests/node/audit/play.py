"""An honest group on blocks of its own, in which a test plants one thing that is not as it must be."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from node.audit.auditor import Auditor
from node.audit.replay import Asked, replay
from node.audit.verdict import Verdict
from node.devnet.founding import CHAIN, MemberKeys
from node.signer.keys import SecretKey
from processors.genesis import Genesis
from processors.hive.block import Block, read_block, reference_prefix, show_header
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction, pack_transaction, signing_digest, unpack_transaction
from state.schema import AUTHORITY, MS, SIG
from state.store import MemoryStore
from tests.processors.blocks import Stage

#: A payment that falls due again and again, so that there always is something to sign.
SALARY = {"to": "receiver", "amount": 1_000, "asset": "HIVE", "every": 40, "memo": "salary"}

#: What a broadcast becomes on its way into a block; None = it is not sent now.
Tamper = Callable[["Play", str, Transaction], Transaction | None]


class Play:
    """A stage whose members report, sign and broadcast, block after block. ``tamper`` changes what is broadcast."""

    def __init__(self, runners: int = 4, **given: Any) -> None:
        parameters = {"payload_lifetime": 3_600, "rotation_lifetime": 3_600} | given.pop("parameters", {})
        self.stage = Stage(runners, payouts=[SALARY], parameters=parameters, **given)
        self.tamper: Tamper = lambda play, op, tx: tx
        self.reporting: Callable[[MemberKeys], list[Operation]] = lambda who: [self.stage.report(who)]
        self.signing = True
        self.sent: list[Transaction] = []

    @property
    def blocks(self) -> list[Block]:
        """All blocks so far."""
        return self.stage.blocks

    def run(self, count: int, **how: Any) -> None:
        """So many honest blocks."""
        for _ in range(count):
            self.block(**how)

    def block(self, *extra: Operation | Transaction, **how: Any) -> Block:
        """One block with everything that is due in it, and ``extra``."""
        return self.stage.block(*self._reports(), *self._signatures(), *self._broadcasts(), *extra, **how)

    def confirmed(self) -> list[str]:
        """The ids of the group transactions that were sent."""
        return [json.loads(tx.operations[-1].value["json"])["op"] for tx in self.sent]

    def round_end(self) -> None:
        """Honest blocks to the end of the round."""
        length = self.stage.genesis.params.round_length
        self.run(-self.stage.height % length or length)

    def acted(self, keys: list[SecretKey], *operations: Operation, **fields: Any) -> Transaction:
        """A transaction of these operations that these keys sign."""
        maker = self.stage.maker
        tx = Transaction(maker.number & 0xFFFF, reference_prefix(maker.id), maker.timestamp + 600, operations)
        return signed(msgspec.structs.replace(tx, **fields), keys)

    @property
    def keys(self) -> list[SecretKey]:
        """The signing keys of all members."""
        return [who.signing_key for who in self.stage.members]

    def _reports(self) -> list[Operation]:
        params = self.stage.genesis.params
        if (self.stage.height + 1) % params.round_length != params.report_at + 2:
            return []
        return [operation for who in self.stage.members for operation in self.reporting(who)]

    def _signatures(self) -> list[Operation]:
        if not self.signing:
            return []
        state, found = self.stage.state, []
        for (op,), record in state.walk(MS):
            if record.status == "cancelled":
                continue
            keys = {key for role in record.roles for key, _ in state.need(AUTHORITY, role).keys}
            for who in self.stage.members:
                key = who.signing_key
                if key.public in keys and state.get(SIG, op, key.public) is None:
                    found.append(self.stage.submit(str(op), key, who.account))
        return found

    def _broadcasts(self) -> list[Transaction]:
        state, found = self.stage.state, []
        for (op,), record in state.walk(MS):
            if record.status != "ready":
                continue
            tx = unpack_transaction(record.tx, CHAIN)
            signatures = tuple(sig.sig for _, sig in state.walk(SIG, op))
            sent = self.tamper(self, str(op), msgspec.structs.replace(tx, signatures=signatures))
            if sent is not None:
                found.append(sent)
        self.sent += found
        return found


def signed(tx: Transaction, keys: list[SecretKey]) -> Transaction:
    """The transaction with the signatures of these keys, and no others."""
    digest = signing_digest(pack_transaction(tx, CHAIN), CHAIN)
    return msgspec.structs.replace(tx, signatures=tuple(key.sign(digest) for key in keys))


def altered(block: Block, change: Callable[[dict[str, Any]], None]) -> Block:
    """A block in which something was changed in the json that a server gives."""
    shown = {**show_header(block.header, typed=True), "transactions": msgspec.json.decode(_json(block))}
    change(shown)
    return read_block(shown, CHAIN)


def _json(block: Block) -> bytes:
    return msgspec.json.encode(block.transactions)


class Told:
    """A history of blocks that somebody has in hand."""

    caveat = ""

    def __init__(self, blocks: list[Block]) -> None:
        self.name = "a test"
        self._blocks = blocks

    def span(self) -> tuple[int, int]:
        return self._blocks[0].number, self._blocks[-1].number

    def blocks(self, first: int, last: int) -> Iterator[Block]:
        yield from (block for block in self._blocks if first <= block.number <= last)

    def close(self) -> None: ...

    def __enter__(self) -> "Told":
        return self

    def __exit__(self, *how: Any) -> None: ...


def audit(blocks: list[Block], genesis: Genesis, **asked: Any) -> tuple[Auditor, Verdict]:
    """Replay blocks and judge them."""
    return replay(Told(blocks), genesis, MemoryStore(), Asked(**asked), lambda done: None)


class Planted(msgspec.Struct):
    """A history with a deviation: what the auditor is given."""

    blocks: list[Block]
    genesis: Genesis
    document: dict[str, Any] = {}
    snapshots: Path | None = None
    trusted: dict[int, bytes] = {}
