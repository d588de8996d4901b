"""A replica inside the devnet's own process: what the live view shows and the scenarios watch."""

from collections.abc import Callable

import msgspec

from node.assembly import open_state
from node.devnet.chain import DevnetChain, Produced
from processors.authority import strict
from processors.context import transmission_order
from processors.engine import apply_block, begin
from processors.genesis import Genesis
from processors.hive.block import read_block
from state.schema import AUTHORITY, DONE, KEY, MS, NODE, QUEUE, ROUND, RUNNER, SIG, Authority, Done, Record
from state.store import MemoryStore


class Ended(msgspec.Struct, frozen=True):
    """A payload that has come to its end: when it was queued, and when its transaction became ready."""

    payload: int
    kind: str
    op: str
    queued: int
    ready_at: int
    done: Done


class Observer:
    """Applies every irreversible block, and remembers what the state forgets."""

    def __init__(self, chain: DevnetChain, genesis: Genesis) -> None:
        self.chain = chain
        self.genesis = genesis
        self.state = open_state(genesis, MemoryStore())
        self.ended: list[Ended] = []
        self.rounds_agreed = 0
        self.rounds_open = 0
        #: Called after each applied block.
        self.listeners: list[Callable[[], None]] = []
        self._seen: dict[int, tuple[str, str, int, int]] = {}  # payload -> kind, op, queued, ready_at

    def on_block(self, block: Produced) -> None:
        """Apply what has become irreversible."""
        while True:
            height = self.state.height
            number = height + 1 if height >= 0 else self.genesis.start_block
            if number > self.chain.irreversible_number:
                return
            raw = self.chain.show_block(number, typed=True)
            if raw is None:
                return
            parsed = read_block(raw, self.chain.chain)
            if height < 0:
                begin(self.state, self.genesis, parsed)
            else:
                self._remember()
                apply_block(self.state, self.genesis, parsed)
                self._note_round(number)
                self._note_ends()
            for listener in self.listeners:
                listener()

    @property
    def height(self) -> int:
        """The height of the replica; 0 before the genesis state."""
        return max(0, self.state.height)

    def records(self) -> list[tuple[str, Record, list[str], list[str]]]:
        """Every group transaction that is out: (id, record, who signed, who is missing), names or short keys."""
        found = []
        for (name,), record in self.state.walk(MS):
            op = str(name)
            signed = {key for (_, key), _ in self.state.walk(SIG, op)}
            needed = self.signers_of(record)
            names = {key: self.member_of(key) for key in needed}
            found.append(
                (op, record, [names[k] for k in needed if k in signed], [names[k] for k in needed if k not in signed])
            )
        return found

    def signers_of(self, record: Record) -> list[bytes]:
        """The keys that may sign a record, in byte order."""
        return sorted({key for role in record.roles for key, weight in self.state.need(AUTHORITY, role).keys if weight})

    def member_of(self, key: bytes) -> str:
        """The member that has a key, or the key's beginning."""
        owner = self.state.get(KEY, key)
        return owner.account if owner is not None else key.hex()[:10]

    def leader(self, op: str) -> str:
        """Who will be the leader of a group transaction if it becomes ready now."""
        accounts = [str(account) for (account,), _ in self.state.walk(RUNNER)]
        return transmission_order(op, accounts)[0]

    def runners(self) -> list[str]:
        """The accounts with a seat."""
        return [str(account) for (account,), _ in self.state.walk(RUNNER)] if self.height else []

    def wanted(self) -> Authority:
        """The authority that the runners' ripe keys make."""
        keys = [self.state.need(NODE, account).ripe_key for account in self.runners()]
        return strict([key for key in keys if key is not None])

    def confirmed(self, kind: str) -> list[Ended]:
        """Payloads of a kind that were confirmed."""
        return [ended for ended in self.ended if ended.kind == kind and ended.done.status == "confirmed"]

    def _remember(self) -> None:
        for (number,), payload in self.state.walk(QUEUE):
            record = self.state.get(MS, payload.out) if payload.out else None
            ready = record.ready_at if record is not None else 0
            self._seen[int(number)] = (payload.kind, payload.out, payload.queued, ready)

    def _note_ends(self) -> None:
        for number in [number for number in self._seen if self.state.get(QUEUE, number) is None]:
            kind, op, queued, ready = self._seen.pop(number)
            done = self.state.get(DONE, number)
            if done is not None:
                self.ended.append(Ended(number, kind, op, queued, ready, done))

    def _note_round(self, number: int) -> None:
        length = self.genesis.params.round_length
        if number % length == 0:
            found = self.state.get(ROUND, number - length)
            if found is not None and found.root is not None:
                self.rounds_agreed += 1
            else:
                self.rounds_open += 1
