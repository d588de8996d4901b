"""One member's machine: its disk, its process, and an operator who restarts and mends it as the messages say."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from zlib import crc32

from node.assembly import Holder, open_core
from node.core import NodeCore
from node.devnet.founding import MemberKeys
from node.errors import FeedError
from node.feed.rpc import Api
from node.runtime import Runtime
from node.signer.approvals import confirmation
from node.signer.journal import Journal
from node.signer.keys import SecretKey
from node.signer.policy import Policy
from node.signer.signer import Signer
from node.sim.clock import Clock, Task
from node.sim.disk import KNOWN_ENDS, Backup, Disk, Doom, Killed
from node.sim.network import BlockReader, Network, Wire, server_name, servers
from node.sim.plan import SLOT_MS, operator_of, source_of
from node.sim.upkeep import repair, take_snapshot
from node.sim.watched import Applied, WatchedKey, Watcher
from processors.genesis import Genesis
from state.errors import StoreDamagedError
from state.schema import MS, Record
from state.state import State
from state.store import Store
from state.verify import recomputed_root

RESTART_MS = 5_000
#: So often a block may not follow before the operator takes the store for one of a dead fork.
_PATIENCE = 2


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
        snapshots: Path | None = None,
        poll_ms: int,
        second_opinion: bool,
        reader: BlockReader,
    ) -> None:
        self.name = name
        self.member = member
        self.account = member.account
        self.keys = [member.signing_key]
        self.disk = Disk(folder, crc32(name.encode()) << 16)
        self.random = Random(f"waggle machine {seed} {name}")
        self.core: NodeCore | None = None
        self.runtime: Runtime | None = None
        self.is_misled = False  # it applied a block that is not on the chain
        self.is_corrupted = False  # its state was changed behind its back
        self.bans: dict[int, int] = {}  # server -> the moment until which it is banned, in this process
        self.acted_at = -1  # the height at which this process last looked for something to sign
        self.held_at: int | None = None  # the time of the block when its journal became one that may lack signatures
        self.held_keys: set[bytes] = set()  # the keys of which that holds
        self.false_until = 0  # what it signed on a state that was not true is dead at this block time
        self.snapshots = snapshots
        self.snapshot_wanted = False  # make one when the next round ends
        self.is_gone = False
        self.is_thrifty = False  # its operator replays no whole history where a snapshot will do
        self.life = 0  # another one after its store was replaced
        self.paused_until = 0
        self.die_at_broadcast: tuple[str, Callable[[], None]] | None = None
        self.genesis = genesis
        self._network = network
        self._clock = clock
        self._poll_ms = poll_ms
        self.watcher = watcher
        self._policy = Policy(second_opinion=second_opinion)
        self._reader = reader
        self._wire = Wire(network, name, seed)
        self._wire.paused = lambda: max(0, self.paused_until - clock.now)
        self._wire.on_broadcast = self._on_broadcast
        numbers = servers(network.servers)
        first = source_of(self.account, network.servers)
        self._servers = [*numbers[first:], *numbers[:first]]
        self._task: Task | None = None
        self._store: Store | None = None
        self._not_followed = 0
        self._is_looking = False

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

    @property
    def is_halted(self) -> bool:
        """Whether its node has stopped signing because the group agreed on another root."""
        return self.core is not None and self.core.halted_at is not None

    @property
    def journal(self) -> Journal | None:
        """Its journal, while the process runs."""
        signer = self.core._signer if self.core is not None else None
        return signer._journal if isinstance(signer, Signer) else None

    def good_operators(self) -> int:
        """Of how many operators it asks a server: those that it has not banned."""
        now = self._clock.now
        return len({operator_of(number) for number in self._servers if self.bans.get(number, 0) <= now})

    def holds_back(self) -> bool:
        """Whether every key of it is held back, its journal being younger."""
        journal = self.journal
        if journal is None or self.core is None or self.core.state.height < 0:
            return False
        now = self.core.state.head.timestamp
        word = confirmation(journal.born) if journal.born is not None else ""
        confirmed = word in self.disk.files.get("approvals", b"").decode().splitlines()
        return not confirmed and all(now < journal.held_until(key.public) for key in self.keys)

    def start(self) -> None:
        """Begin the process, unless it runs or the machine is gone."""
        if self._task is not None or self.is_gone:
            return
        try:
            self.core = self._open()
        except (*KNOWN_ENDS, Killed) as error:
            self.ended(error)
            return
        apis = [Api(server_name(n), f"operator{operator_of(n)}", self._wire, self.account) for n in self._servers]
        self.bans = {}
        self.acted_at = -1
        self._is_looking = False
        self.runtime = runtime = Runtime(
            self.core,
            apis,
            self._log,
            clock=lambda: self._clock.now / 1000,
            read=self._reader,
            jitter=self.random.random,
            acted=self._acted,
        )
        self._task = self._clock.spawn(self._live(runtime), self.ended)

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
        self.begin_anew()

    def restore(self, backup: Backup) -> None:
        """Stop, and put everything back as it was."""
        self.stop()
        self.disk.restore(backup)
        self.begin_anew()

    def tear(self, batches: int) -> bool:
        """Stop, and lose what was written last; False if there was nothing."""
        self.stop()
        return self.disk.tear_store(batches)

    def move(self) -> None:
        """Stop; everything is copied to another machine, which takes over."""
        self.stop()
        self.disk.move()

    def doom(self, place: str, when: str, count: int, then: Callable[[], None]) -> None:
        """Let the process die at a write to come."""
        self.disk.doom = Doom(place, when, count, then)

    def leave(self) -> None:
        """Stop for good."""
        self.stop()
        self.is_gone = True

    def begin_anew(self) -> None:
        """Another store takes the place of this one, or none."""
        self.is_misled = False
        self.is_corrupted = False
        self.life += 1
        self._not_followed = 0

    def ended(self, error: BaseException | None) -> None:
        """The process died: of a fault, or of something that its operator reads and mends."""
        self._task = None
        self._let_go()
        if isinstance(error, Killed):
            self.watcher.told(self, "killed", {})
            self.restart_in(self.random.randint(1, 20) * SLOT_MS)
            return
        if error is None or not isinstance(error, KNOWN_ENDS):
            self.watcher.died(self, error or RuntimeError("the process ended by itself"))
            return
        self.watcher.told(self, "stopped", {"error": str(error)})
        if isinstance(error, FeedError) and "does not follow ours" in str(error):
            self._not_followed += 1
        if isinstance(error, StoreDamagedError) or (self._not_followed >= _PATIENCE and self.is_thrifty):
            repair(self)
        elif self._not_followed >= _PATIENCE:
            self.wipe()
            self.watcher.told(self, "wiped", {})
        self.restart_in(RESTART_MS)

    # -- inside

    def _open(self) -> NodeCore:
        keys: list[SecretKey] = [WatchedKey(key, self._on_sign) for key in self.keys]
        holder = Holder(self.account, self.member.account_key, keys, self._policy)
        self._store = self.disk.open_store(self.genesis.hash)
        core = open_core(self.genesis, holder, self._store, Path("/"), self.disk, self._log)
        self._check(core.state)
        return core

    def _check(self, state: State) -> None:
        """Hold the entries against the root, as a node does after an unclean end. Raises StoreDamagedError."""
        if state.height >= 0 and recomputed_root(state) != state.current_root():
            raise StoreDamagedError("the entries do not have the root", is_corrupt=True)

    async def _live(self, runtime: Runtime) -> None:
        stop = asyncio.Event()
        await self._wire._sleep(self.random.randrange(1, self._poll_ms))
        while True:
            await runtime.attempt(stop)
            await self._wire._sleep(self._poll_ms)

    def _let_go(self) -> None:
        self.core = self.runtime = None
        if self._store is not None:
            self._store.close()
            self._store = None

    def _log(self, event: str, fields: dict[str, object]) -> None:
        if event == "block":
            assert self.core is not None
            state = self.core.state
            height = state.height
            self._not_followed = 0
            found = state.head.block_id, state.trace(height), state.root(height)
            self.watcher.applied(self, Applied(height, *found, self.life, self.is_corrupted))
            if self.snapshot_wanted and height % self.genesis.params.round_length == 0:
                take_snapshot(self, state)
        else:
            self._is_looking |= event == "live"
            self.watcher.told(self, event, fields)

    def _acted(self) -> None:
        """The runtime has had its turn, and the core has looked at the chain if it found the authorities right."""
        if self._is_looking and self.core is not None and not self.is_halted:
            self.acted_at = self.core.state.height

    def _on_sign(self, key: bytes, digest: bytes) -> None:
        self.watcher.signed(self, key, digest)

    def _on_broadcast(self, when: str) -> None:
        if self.die_at_broadcast is not None and self.die_at_broadcast[0] == when:
            _, then = self.die_at_broadcast
            self.die_at_broadcast = None
            then()
            raise Killed
