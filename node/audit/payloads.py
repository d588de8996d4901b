"""What the group wanted done, what became of it, what it held, and who could sign for it, as time went on."""

from typing import Any

import msgspec

from processors.genesis import Genesis
from processors.hive.keys import public_key_to_text
from state.schema import AUTHORITY, COUNTERS, DONE, KEY, NODE, QUEUE, TREASURY, Authority, Payload
from state.state import State
from state.view import View


class Wanted(msgspec.Struct):
    """A payload from its queueing to its end. Heights are blocks; amounts in smallest units."""

    number: int
    kind: str
    queued: int
    to: str
    amount: int
    asset: str
    status: str = "waiting"
    ended: int = 0
    txid: str = ""
    why: str = ""
    expiries: int = 0


class SignersFrom(msgspec.Struct, frozen=True):
    """The active authority from a height on: threshold, and (key, weight, whose) of each key."""

    height: int
    threshold: int
    keys: tuple[tuple[str, int, str], ...]


class Held(msgspec.Struct, frozen=True):
    """What had come in and gone out of each asset after a block, in smallest units: (income, spent)."""

    height: int
    amounts: dict[str, tuple[int, int]]


class Payloads:
    """Told after each block."""

    def __init__(self, genesis: Genesis) -> None:
        self.all: dict[int, Wanted] = {}
        self.signers: list[SignersFrom] = []
        self.held: list[Held] = []
        self._genesis = genesis
        self._queue: Any = {}
        self._newest = 0
        self._active: Any = None
        self._treasury: Any = {}

    def block_applied(self, state: State) -> None:
        """A block was applied."""
        queue = state.derive(QUEUE, _queue)
        newest = state.need(COUNTERS).payload
        if queue is not self._queue or newest != self._newest:
            self._queue_changed(state, queue, newest)
        active = state.derive(AUTHORITY, _active)
        if active is not self._active and active != self._active:
            self._signers_changed(state, active)
        self._active = active
        if state.height % self._genesis.params.round_length == 0:
            self.finish(state)

    def finish(self, state: State) -> None:
        """The end of a round, or of the history: what the group holds now, if that is another sum than before."""
        treasury = state.derive(TREASURY, _treasury)
        if treasury is not self._treasury and treasury != self._treasury:
            self.held.append(Held(state.height, treasury))
        self._treasury = treasury

    def _queue_changed(self, state: State, queue: dict[int, Payload], newest: int) -> None:
        for number, payload in queue.items():
            known = self.all.get(number)
            if known is None:
                to, amount, asset = payload.to, payload.amount, payload.asset
                known = self.all[number] = Wanted(number, payload.kind, payload.queued, to, amount, asset)
            known.expiries = payload.expiries
        for number in range(self._newest + 1, newest + 1):
            if number not in self.all:  # it found the queue full, and had its end at once
                self.all[number] = Wanted(number, "", state.height, "", 0, "")
                self._end(state, number)
        for number in sorted(self._queue.keys() - queue.keys()):
            self._end(state, number)
        self._queue, self._newest = queue, newest

    def _end(self, state: State, number: int) -> None:
        known, done = self.all[number], state.get(DONE, number)
        known.ended = state.height
        if done is not None:
            known.status, known.why = done.status, done.why
            known.txid = done.txid.hex() if done.txid is not None else ""

    def _signers_changed(self, state: State, active: Authority) -> None:
        keys = []
        for key, weight in active.keys:
            owner = state.get(KEY, key)
            is_member = owner is not None and state.get(NODE, owner.account) is not None
            text = public_key_to_text(key, self._genesis.chain.address_prefix)
            keys.append((text, weight, owner.account if owner is not None and is_member else ""))
        keys += [(f"@{account}", weight, account) for account, weight in active.accounts]
        self.signers.append(SignersFrom(state.height, active.threshold, tuple(keys)))


def _queue(view: View) -> dict[int, Payload]:
    return {int(number): payload for (number,), payload in view.walk(QUEUE)}


def _active(view: View) -> Authority:
    return view.need(AUTHORITY, "active")


def _treasury(view: View) -> dict[str, tuple[int, int]]:
    return {str(asset): (holding.income, holding.spent) for (asset,), holding in view.walk(TREASURY)}
