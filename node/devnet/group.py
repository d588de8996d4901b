"""A whole group in one process on virtual time: nodes without wires around the chain as a pure object.

Each ``step`` produces a block, hands every node the irreversible ones it has not applied, and sends what they want.
"""

from collections.abc import Callable
from pathlib import Path

from node.assembly import open_state
from node.core import ChainView, NodeCore, Outgoing
from node.devnet.chain import DevnetChain, Produced
from node.devnet.errors import HivedRefusalError
from node.devnet.founding import MemberKeys
from node.outbox import Outbox
from node.signer.journal import Journal
from node.signer.policy import Policy
from node.signer.signer import Signer
from processors.engine import begin
from processors.genesis import Genesis
from processors.hive.block import Block, read_block
from state.store import MemoryStore, Store

Event = tuple[int, str, str, dict[str, object]]


class VirtualGroup:
    """Nodes by account; ``silent`` ones apply blocks but send nothing. ``refuses`` decides what never arrives."""

    def __init__(self, chain: DevnetChain, genesis: Genesis, folder: Path, *, policy: Policy | None = None) -> None:
        self.chain = chain
        self.genesis = genesis
        self.nodes: dict[str, NodeCore] = {}
        self.silent: set[str] = set()
        self.refuses: Callable[[str, Outgoing], bool] = lambda account, outgoing: False
        self.refusals: list[tuple[int, str, str, str]] = []
        self.broadcasts: list[tuple[int, str, str]] = []
        self.events: list[Event] = []
        self._folder = folder
        self._policy = policy or Policy()
        self._blocks: dict[int, Block] = {}

    def join(self, member: MemberKeys, store: Store | None = None, extra_keys: tuple = ()) -> NodeCore:  # type: ignore[type-arg]
        """Start a member's node; it begins at start_block and catches up at the next step."""
        state = open_state(self.genesis, store or MemoryStore())
        journal = Journal(self._folder / f"{member.account}.journal", self.genesis.hash)
        signer = Signer([member.signing_key, *extra_keys], journal, self._policy, self.genesis)

        def log(event: str, fields: dict[str, object]) -> None:
            self.events.append((self.chain.head_number, member.account, event, fields))

        node = NodeCore(self.genesis, state, member.account, member.account_key, signer, Outbox(None), "0.1.0", log)
        self.nodes[member.account] = node
        return node

    def step(self, produce: bool = True) -> Produced | None:
        """One block of virtual time; returns it."""
        block = self.chain.produce() if produce else None
        outgoing: list[tuple[str, Outgoing]] = []
        view = ChainView(self.chain.head_number, self.chain.head_time, self.chain.irreversible_number)
        for account, node in sorted(self.nodes.items()):
            self._feed(node)
            if node.state.height < 0:
                continue
            node.look()
            if account not in self.silent:
                outgoing += [(account, item) for item in node.step(view, self._denied)]
        for account, item in outgoing:
            self._send(account, item)
        return block

    def run(self, blocks: int) -> None:
        """Several steps."""
        for _ in range(blocks):
            self.step()

    def run_until(self, condition: Callable[[], bool], limit: int) -> int:
        """Steps until ``condition``; returns how many. AssertionError after ``limit``."""
        for count in range(limit):
            if condition():
                return count
            self.step()
        raise AssertionError(f"not within {limit} blocks, at height {self.chain.head_number}")

    def _feed(self, node: NodeCore) -> None:
        start = self.genesis.start_block
        while True:
            number = node.state.height + 1 if node.state.height >= 0 else start
            if number > self.chain.irreversible_number:
                return
            block = self._block(number)
            if node.state.height < 0:
                begin(node.state, self.genesis, block)
            else:
                node.apply(block)

    def _block(self, number: int) -> Block:
        found = self._blocks.get(number)
        if found is None:
            raw = self.chain.show_block(number, typed=True)
            if raw is None:
                raise AssertionError(f"the chain has no block {number}")
            found = read_block(raw, self.chain.chain)
            found.prove()
            self._blocks = {n: b for n, b in self._blocks.items() if n > number - 50}
            self._blocks[number] = found
        return found

    def _send(self, account: str, item: Outgoing) -> None:
        if self.refuses(account, item):
            return
        try:
            self.chain.submit(item.tx)
        except HivedRefusalError as refusal:
            if "Duplicate transaction" not in str(refusal):
                self.refusals.append((self.chain.head_number, account, item.content, str(refusal)))
                return
        self.nodes[account].sent(item)
        if item.content.startswith("broadcast:"):
            self.broadcasts.append(
                (self.chain.head_number, account, item.content.removeprefix("broadcast:").rpartition(":")[0])
            )

    def _denied(self, txid: bytes) -> bool:
        return self.chain.status(txid)[0] == "unknown"
