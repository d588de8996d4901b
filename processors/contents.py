"""What a payload does: the operations that the builder writes for it, and that everybody who signs writes again."""

from collections.abc import Iterable

import msgspec

from processors import offered
from processors.genesis import Genesis
from processors.hive.chain import ASSET_NAMES, HBD, HIVE
from processors.hive.operations import Operation
from processors.hive.types import Asset
from state.schema import ACTION, QUEUE, Action, Payload
from state.view import Base


class Content(msgspec.Struct, frozen=True):
    """A payout of the queue; ``action`` where it came from a proposal."""

    number: int
    payload: Payload
    action: Action | None

    @property
    def is_transfer(self) -> bool:
        """Whether it is one transfer, which rides with others."""
        return self.action is None or not self.action.ops

    @property
    def leaves(self) -> tuple[int, int]:
        """(HIVE, HBD) in smallest units that it takes away from the group; one of them is 0."""
        if self.action is not None:
            return self.action.hive, self.action.hbd
        return (self.payload.amount, 0) if self.payload.asset == ASSET_NAMES[HIVE] else (0, self.payload.amount)

    @property
    def spends(self) -> tuple[str, int]:
        """(asset, amount in smallest units) that it takes away; ("", 0) if nothing leaves."""
        hive, hbd = self.leaves
        if hive or hbd:
            return (ASSET_NAMES[HIVE], hive) if hive else (ASSET_NAMES[HBD], hbd)
        return "", 0

    def operations(self, genesis: Genesis) -> list[Operation]:
        """As they stand in the group transaction (protocol section 6)."""
        if self.action is None or not self.action.ops:
            return [transfer_operation(genesis, self.payload)]
        return [self._numbered(operation) for operation in offered.unpack_operations(self.action.ops, genesis.chain)]

    def _numbered(self, operation: Operation) -> Operation:
        """A transfer from savings has the payload's number as its request."""
        if operation.name != "transfer_from_savings":
            return operation
        return Operation(operation.name, {**operation.value, "request_id": self.number})


def contents(state: Base, numbers: Iterable[int]) -> list[Content]:
    """Those of some payloads that are in the queue."""
    found = ((number, state.get(QUEUE, number)) for number in numbers)
    return [Content(number, payload, state.get(ACTION, number)) for number, payload in found if payload is not None]


def transfer_operation(genesis: Genesis, payload: Payload) -> Operation:
    """The operation of a payout."""
    amount = Asset(payload.amount, ASSET_NAMES.index(payload.asset))
    return Operation("transfer", {"from": genesis.group, "to": payload.to, "amount": amount, "memo": payload.memo})
