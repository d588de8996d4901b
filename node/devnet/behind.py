"""The chain as a server shows it that is some blocks late."""

from typing import Any

from node.devnet.chain import DevnetChain, Produced


class Behind:
    """A chain as it was ``lag`` blocks ago. What accounts hold is as of now: only blocks come late."""

    def __init__(self, whole: DevnetChain, lag: int) -> None:
        self._whole = whole
        self._lag = lag
        self.chain = whole.chain
        self.rules = whole.rules
        self.ledger = whole.ledger
        self.witness_key = whole.witness_key

    @property
    def head_number(self) -> int:
        """The number of the newest block that is shown."""
        return max(0, self._whole.head_number - self._lag)

    @property
    def head_time(self) -> int:
        """Its timestamp."""
        found = self.block(self.head_number)
        return found.header.timestamp if found is not None else self._whole.head_time

    @property
    def head_id(self) -> bytes:
        """Its id."""
        found = self.block(self.head_number)
        return found.id if found is not None else bytes(20)

    @property
    def irreversible_number(self) -> int:
        """The newest block that is called irreversible."""
        return max(0, self._whole.irreversible_number - self._lag)

    @property
    def included(self) -> dict[bytes, int]:
        """The blocks of transactions by id, also of those that are not shown yet."""
        return self._whole.included

    def block(self, number: int) -> Produced | None:
        """Block ``number``, or None if it is not shown yet."""
        return self._whole.block(number) if number <= self.head_number else None

    def show_block(self, number: int, *, typed: bool) -> dict[str, Any] | None:
        """Block ``number`` as JSON, or None if it is not shown yet."""
        return self._whole.show_block(number, typed=typed) if number <= self.head_number else None

    def status(self, txid: bytes) -> tuple[str, int]:
        """(status of transaction_status_api, block number or 0)."""
        status, number = self._whole.status(txid)
        if number > self.head_number:
            return "unknown", 0
        if number > self.irreversible_number:
            return "within_reversible_block", number
        return status, number


#: What the API's methods answer from.
ShownChain = DevnetChain | Behind
