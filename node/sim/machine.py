"""One member's machine: its disk, its process, and an operator who restarts and mends it as the messages say."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Protocol

import msgspec

from node.assembly import Holder, open_core
from node.core import NodeCore
from node.devnet.founding import MemberKeys
from node.errors import FeedError
from node.feed.rpc import Api
from node.runtime import Runtime
from node.signer.keys import SecretKey
from node.signer.policy import Policy
from node.sim.clock import Clock, Task
from node.sim.disk import KNOWN_ENDS, Backup, Disk, Doom, Killed
from node.sim.network import BlockReader, Network, Wire, server_name, servers
from node.sim.plan import SLOT_MS, source_of
from processors.genesis import Genesis
from state.errors import StoreDamagedError
from state.schema import MS, Record
from state.store import Store

RESTART_MS = 5_000
#: So often a block may not follow before the operator takes the store for one of a dead fork.
_PATIENCE = 2


class Applied(msgspec.Struct, frozen=True):
    """A block as a node applied it."""

    height: int
    block_id: bytes
    trace: bytes | None
    root: bytes | None
    life: int


class Watcher(Protocol):
    """Who looks on."""

    def told(self, machine: "Machine", event: str, fields: dict[str, object]) -> None:
        """A node's log."""

    def applied(self, machine: "Machine", block: Applied) -> None:
        """A node applied a block."""

    def signed(self, machine: "Machine", key: bytes, digest: bytes) -> None:
        """A signing key signs."""

    def died(self, machine: "Machine", error: BaseException) -> None:
        """A process ended of something that no operator can mend."""


class WatchedKey(SecretKey):
    """A signing key that tells what it signs, before it does."""

    __slots__ = ("_tell",)

    def __init__(self, key: SecretKey, tell: Callable[[bytes, bytes], None]) -> None:
        super().__init__(key._secret)
        self._tell = tell

    def sign(self, digest: bytes) -> bytes:
        self._tell(self.public, digest)
        return super().sign(digest)


class Machine:
    """``name`` is the member's account, or that with a mark for a second machine of the same member."""

    def __init__(
        self,
        name: str,
        member: MemberKeys,
        genesis: Genesis,
        network: Network,
        clock: Clock,
        watcher: Watcher,
        *,
        seed: int,
        folder: Path | None,
        poll_ms: int,
        second_opinion: bool,
        reader: BlockReader,
    ) -> None:
        self.name = name
        self.member = member
        self.account = member.account
        self.keys = [member.signing_key]
        self.disk = Disk(folder)
        self.random = Random(f"waggle machine {seed} {name}")
        self.core: NodeCore | None = None
        self.is_misled = False  # it applied a block that is not on the chain
        self.is_gone = False
        self.life = 0  # another one after its store was replaced
        self.paused_until = 0
        self.die_at_broadcast: tuple[str, Callable[[], None]] | None = None
        self._genesis = genesis
        self._network = network
        self._clock = clock
        self._poll_ms = poll_ms
        self._watcher = watcher
        self._policy = Policy(second_opinion=second_opinion)
        self._reader = reader
        self._wire = Wire(network, name, seed)
        self._wire.paused = lambda: max(0, self.paused_until - clock.now)
        self._wire.on_broadcast = self._on_broadcast
        first = source_of(self.account)
        self._servers = [*servers()[first:], *servers()[:first]]
        self._task: Task | None = None
        self._store: Store | None = None
        self._not_followed = 0

    @property
    def source(self) -> int:
        """The server that it reads its blocks from."""
        return self._servers[0]

    def records(self) -> dict[str, Record]:
        """The group transactions that are out, as its node sees them: the auditor may not be there yet."""
        return {str(op): record for (op,), record in self.core.state.walk(MS)} if self.core is not None else {}

    def rotations(self) -> set[str]:
        """The ids of those that are rotations."""
        return {op for op, record in self.records().items() if record.kind == "rotation"}

    def was_paused_since(self, time: int) -> bool:
        """Whether the process stood still at some moment after ``time``."""
        return self.paused_until > time

    @property
    def is_up(self) -> bool:
        """Whether its process runs."""
        return self._task is not None

    def start(self) -> None:
        """Begin the process, unless it runs or the machine is gone."""
        if self._task is not None or self.is_gone:
            return
        try:
            self.core = self._open()
        except (*KNOWN_ENDS, Killed) as error:
            self._ended(error)
            return
        apis = [Api(server_name(n), f"operator{n}", self._wire, self.account) for n in self._servers]
        runtime = Runtime(
            self.core,
            apis,
            self._log,
            clock=lambda: self._clock.now / 1000,
            read=self._reader,
            jitter=self.random.random,
        )
        self._task = self._clock.spawn(self._live(runtime), self._ended)

    def stop(self) -> None:
        """The process is gone, as with kill -9; what it wrote is there."""
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
        self._let_go()

    def restart_in(self, ms: int) -> None:
        """Start again after a while."""
        self._clock.after(ms, self.start)

    def wipe(self) -> None:
        """Stop, throw the store away, and replay: journal and keys stay."""
        self.stop()
        self.disk.lose_store()
        self._begin_anew()
        self._not_followed = 0

    def restore(self, backup: Backup) -> None:
        """Stop, and put everything back as it was."""
        self.stop()
        self.disk.restore(backup)
        self._begin_anew()

    def tear(self, batches: int) -> bool:
        """Stop, and lose what was written last; False if there was nothing."""
        self.stop()
        return self.disk.tear_store(batches)

    def doom(self, place: str, when: str, count: int, then: Callable[[], None]) -> None:
        """Let the process die at a write to come."""
        self.disk.doom = Doom(place, when, count, then)

    def leave(self) -> None:
        """Stop for good."""
        self.stop()
        self.is_gone = True

    # -- inside

    def _begin_anew(self) -> None:
        self.is_misled = False
        self.life += 1

    def _open(self) -> NodeCore:
        keys: list[SecretKey] = [WatchedKey(key, self._on_sign) for key in self.keys]
        holder = Holder(self.account, self.member.account_key, keys, self._policy)
        self._store = self.disk.open_store(self._genesis.hash)
        return open_core(self._genesis, holder, self._store, Path("/"), self.disk, self._log)

    async def _live(self, runtime: Runtime) -> None:
        stop = asyncio.Event()
        await self._wire._sleep(self.random.randrange(1, self._poll_ms))
        while True:
            await runtime.attempt(stop)
            await self._wire._sleep(self._poll_ms)

    def _ended(self, error: BaseException | None) -> None:
        """The process died: of a fault, or of something that its operator reads and mends."""
        self._task = None
        self._let_go()
        if isinstance(error, Killed):
            self._watcher.told(self, "killed", {})
            self.restart_in(self.random.randint(1, 20) * SLOT_MS)
            return
        if error is None or not isinstance(error, KNOWN_ENDS):
            self._watcher.died(self, error or RuntimeError("the process ended by itself"))
            return
        self._watcher.told(self, "stopped", {"error": str(error)})
        if isinstance(error, FeedError) and "does not follow ours" in str(error):
            self._not_followed += 1
        if isinstance(error, StoreDamagedError) or self._not_followed >= _PATIENCE:
            self.wipe()
            self._watcher.told(self, "wiped", {})
        self.restart_in(RESTART_MS)

    def _let_go(self) -> None:
        self.core = None
        if self._store is not None:
            self._store.close()
            self._store = None

    def _log(self, event: str, fields: dict[str, object]) -> None:
        if event == "block":
            assert self.core is not None
            state = self.core.state
            height = state.height
            self._not_followed = 0
            self._watcher.applied(
                self, Applied(height, state.head.block_id, state.trace(height), state.root(height), self.life)
            )
        else:
            self._watcher.told(self, event, fields)

    def _on_sign(self, key: bytes, digest: bytes) -> None:
        self._watcher.signed(self, key, digest)

    def _on_broadcast(self, when: str) -> None:
        if self.die_at_broadcast is not None and self.die_at_broadcast[0] == when:
            _, then = self.die_at_broadcast
            self.die_at_broadcast = None
            then()
            raise Killed
