"""The servers of Hive's API as a member's machine sees them: over virtual time, and with every fault that servers have.

A server answers from the one chain; what a fault makes of the answer is decided here, per machine and server.
"""

from collections.abc import AsyncGenerator, Callable, Iterable
from hashlib import sha256
from random import Random
from typing import Any

import msgspec

from node.devnet.behind import Behind, ShownChain
from node.devnet.chain import DevnetChain
from node.devnet.errors import HivedRefusalError
from node.devnet.rpc import Methods, RpcError
from node.errors import ApiError
from node.feed.rpc import MAX_ANSWER
from node.feed.source import read_proven
from node.sim.clock import Clock, Sleep
from node.sim.falsehood import falsified, of_another_fork, tampered
from node.sim.plan import SERVERS, Fault, operator_of
from processors.hive.times import time_to_text
from processors.hive.transaction import Transaction, parse_transaction

_BROADCAST = "condenser_api.broadcast_transaction"
_MEGABYTE = b" " * (1 << 20)

Submit = Callable[[str, Transaction], None]


def server_name(number: int) -> str:
    """The URL of server ``number``; each is run by somebody else."""
    return f"http://server{number}"


class Network:
    """Between every machine and every server. ``windows`` holds the faults of servers that are in force."""

    def __init__(
        self, chain: DevnetChain, clock: Clock, seed: int, count: Callable[[Fault], None], servers: int = SERVERS
    ) -> None:
        self.servers = servers
        self.chain = chain
        self.clock = clock
        self.windows: list[Fault] = []
        self.count = count
        self.submit: Submit = lambda account, tx: None
        self.reads_ahead: dict[str, int] = {}  # machine -> the server that calls its head irreversible
        self.orphans: dict[int, bytes] = {}  # blocks of a dead fork, which a lying server may still give
        self.authority_shown: dict[str, tuple[Any, int]] = {}  # the group account as a machine was shown it, and when
        self.lied: set[tuple[str, int]] = set()  # (machine, server) with a lie that can be shown, told since its ban
        self.misleads: dict[str, set[int]] = {}  # machine -> operators that gave it blocks of another fork
        self.asked: Callable[[str, int], None] = lambda machine, server: None
        self.group = ""
        self._seed = seed
        self._shown: dict[tuple[int, bool], tuple[ShownChain, Methods]] = {}
        self._blocks: dict[bytes, bytes] = {}
        self._frozen: dict[Fault, tuple[int, int, int]] = {}

    def faults(self, machine: str, server: int) -> Iterable[Fault]:
        """The faults between these two now."""
        return [fault for fault in self.windows if fault.server == server and fault.who in ("", machine)]

    def shown(self, broken: dict[str, Fault], server: int = 0) -> tuple[ShownChain, Methods]:
        """The chain as a server has it, and what it answers from it: that may be some blocks behind.

        Every second server tracked transactions long before; the others call them too old (hived does in its first
        hour), and can be asked for blocks alone.
        """
        fault = broken.get("behind")
        lag = 1 + fault.n % 5 if fault is not None else 0
        if fault is not None:
            self.count(fault)
        which = lag, server % 2 == 1
        if which not in self._shown:
            chain = Behind(self.chain, lag) if lag else self.chain
            self._shown[which] = chain, Methods(chain, lambda tx: b"", tracks_all=which[1])
        return self._shown[which]

    def now_of(self, machine: str) -> float:
        """A machine's own clock, in seconds."""
        skew = next((fault.n for fault in self.windows if fault.kind == "clock_skew" and fault.who == machine), 0)
        return self.clock.now / 1000 + skew

    def block(self, number: int) -> bytes:
        """A block as servers give it: encoded once, however many ask."""
        block = self.chain.block(number)
        assert block is not None
        found = self._blocks.get(block.id)
        if found is None:
            found = self._blocks[block.id] = msgspec.json.encode(self.chain.show_block(number, typed=True))
        return found

    # -- answers

    def answer(self, machine: str, server: int, body: bytes, broken: dict[str, Fault]) -> bytes:
        """What a server answers; broadcasts take effect here."""
        call = msgspec.json.decode(body)
        method, params = call["method"], call["params"]
        try:
            result = self._result(machine, server, method, params, broken)
        except HivedRefusalError as refusal:
            error = {"code": -32003, "message": refusal.message}
            return msgspec.json.encode({"jsonrpc": "2.0", "id": call["id"], "error": error})
        except RpcError as error:
            shown = {"code": error.code, "message": str(error)}
            return msgspec.json.encode({"jsonrpc": "2.0", "id": call["id"], "error": shown})
        return b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (call["id"], result)

    def _result(self, machine: str, server: int, method: str, params: Any, broken: dict[str, Fault]) -> bytes:
        if method == "database_api.get_dynamic_global_properties":
            return self._properties(machine, server, broken)
        if method == "block_api.get_block_range":
            return self._range(machine, server, params, broken)
        if method == _BROADCAST:
            return self._broadcast(machine, params, broken)
        found = self.shown(broken, server)[1].call(method, params)
        if method == "database_api.find_accounts" and params["accounts"] == [self.group]:
            self.authority_shown[machine] = (self.chain.ledger.accounts[self.group], self.clock.now)
        return msgspec.json.encode(found)

    def _properties(self, machine: str, server: int, broken: dict[str, Fault]) -> bytes:
        chain, _ = self.shown(broken)
        head, time, irreversible = chain.head_number, chain.head_time, chain.irreversible_number
        old = broken.get("old_head")
        if old is not None:
            self.count(old)
            head, time, irreversible = self._frozen.setdefault(old, (head, time, irreversible))
        skew = broken.get("clock_skew")
        if skew is not None:
            self.count(skew)
            time += skew.n % 14_400 - 7_200
        if self.reads_ahead.get(machine) == server:
            irreversible = head
            self.misleads.setdefault(machine, set()).add(operator_of(server))
        shown = {"head_block_number": head, "time": time_to_text(time), "last_irreversible_block_num": irreversible}
        return msgspec.json.encode(shown)

    def _range(self, machine: str, server: int, params: Any, broken: dict[str, Fault]) -> bytes:
        first = params["starting_block_num"]
        last = min(first + params["count"] - 1, self.shown(broken)[0].head_number)
        true = [self.block(number) for number in range(first, last + 1)]
        blocks = self._of_another_fork(machine, server, true, last, broken)
        lies = self._with_lies(blocks, broken)
        if lies != blocks:
            self.lied.add((machine, server))
        return b'{"blocks":[%s]}' % b",".join(lies)

    def _of_another_fork(
        self, machine: str, server: int, true: list[bytes], last: int, broken: dict[str, Fault]
    ) -> list[bytes]:
        """Blocks that link and prove, one of which may be left out, or be on nobody's chain."""
        blocks = list(true)
        if blocks and "gap" in broken:
            self.count(broken["gap"])
            del blocks[broken["gap"].n % len(blocks)]
        if blocks and "other_fork" in broken:
            fault, block = broken["other_fork"], self.chain.block(last)
            assert block is not None
            blocks[-1] = self.orphans[last] if last in self.orphans and fault.n % 2 else of_another_fork(block)
            self.misleads.setdefault(machine, set()).add(operator_of(server))
            self.count(fault)
        return blocks

    def _with_lies(self, blocks: list[bytes], broken: dict[str, Fault]) -> list[bytes]:
        """With lies in them that the blocks themselves show."""
        for kind in ("tx_left_out", "tx_changed"):
            if kind in broken:
                changed = [tampered(kind, raw) for raw in blocks]
                if changed != blocks:
                    self.count(broken[kind])
                blocks = changed
        liar = broken.get("liar")
        if liar is not None and blocks:
            self.count(liar)
            place = liar.n % len(blocks)
            blocks = [*blocks[:place], falsified(blocks[place], liar.n + self.clock.now), *blocks[place + 1 :]]
        return blocks

    def _broadcast(self, machine: str, params: Any, broken: dict[str, Fault]) -> bytes:
        if "broadcast_dropped" in broken:
            self.count(broken["broadcast_dropped"])
            return b"{}"
        self.submit(machine, parse_transaction(params[0], self.chain.chain))
        return b"{}"


class Wire:
    """A machine's way to the servers (node.feed.http.Transport): latency, silence, damage on the way."""

    def __init__(self, network: Network, machine: str, seed: int) -> None:
        self._network = network
        self._machine = machine
        self._random = Random(f"waggle wire {seed} {machine}")
        self.paused: Callable[[], int] = lambda: 0  # milliseconds for which the process stands still now
        self.on_broadcast: Callable[[str], None] = lambda when: None

    async def post(self, url: str, body: bytes, client: str, timeout: float) -> AsyncGenerator[bytes, None]:
        """The answer in parts; ApiError after ``timeout`` seconds of virtual time, or when the fault says so."""
        server = int(url[len("http://server") :])
        self._network.asked(self._machine, server)
        is_broadcast = _BROADCAST.encode() in body
        latency = self._random.randint(5, 300)
        await self._sleep(latency)
        broken = {fault.kind: fault for fault in self._network.faults(self._machine, server)}
        await self._refuse_before(broken, timeout)
        if is_broadcast:
            self.on_broadcast("before")
        text = self._network.answer(self._machine, server, body, broken)
        if is_broadcast:
            self.on_broadcast("after")
        await self._sleep(0)
        await self._fail_after(broken, timeout, is_broadcast)
        if "truncated_json" in broken:
            self._network.count(broken["truncated_json"])
            text = text[: len(text) * 2 // 3]
        if "huge_json" in broken and not is_broadcast:
            self._network.count(broken["huge_json"])
            for _ in range(MAX_ANSWER // len(_MEGABYTE) + 1):
                yield _MEGABYTE
        yield text

    async def _sleep(self, ms: int) -> None:
        """Sleep, and as long again as the process is paused when it would go on."""
        if ms:
            await Sleep(ms)
        while paused := self.paused():
            await Sleep(paused)

    async def _refuse_before(self, broken: dict[str, Fault], timeout: float) -> None:
        if "api_timeout" in broken:
            self._network.count(broken["api_timeout"])
            await self._sleep(int(timeout * 1000))
            raise ApiError("TimeoutError")
        if "api_error" in broken:
            self._network.count(broken["api_error"])
            raise ApiError("HTTP 503")

    async def _fail_after(self, broken: dict[str, Fault], timeout: float, is_broadcast: bool) -> None:
        late = broken.get("api_late")
        if late is not None:
            self._network.count(late)
            ms = self._random.randint(500, 6_000)
            await self._sleep(min(ms, int(timeout * 1000)))
            if ms > timeout * 1000:
                raise ApiError("TimeoutError")
        if is_broadcast and "broadcast_unheard" in broken:
            self._network.count(broken["broadcast_unheard"])
            raise ApiError("ServerDisconnectedError")


class BlockReader:
    """Reads and proves each block once for all machines: what it makes of the same bytes is the same."""

    def __init__(self) -> None:
        self._known: dict[bytes, Any] = {}

    def __call__(self, text: bytes, chain: Any) -> Any:
        """A proven block. Raises HiveDataError."""
        name = sha256(text).digest()
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = read_proven(text, chain)
        return found


def servers(count: int = SERVERS) -> list[int]:
    """Their numbers."""
    return list(range(count))
