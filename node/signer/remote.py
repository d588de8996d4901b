"""The node's side of a remote signer: it streams the blocks it applied, and asks for signatures.

Synchronous, on one socket. Whatever fails raises SignerError, and then nothing was signed; the next request connects
anew, at first at once, then after longer and longer rests. The node answers nobody while it waits here. So after a
silence it rests too, and until the same is answered again nothing has longer than TIMEOUT: a signer that hangs costs
the node 2 of 32 seconds, however far it goes before it hangs.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator

from node.errors import SignerError
from node.signer import wire
from node.signer.exchange import exchange
from node.signer.policy import Verdict
from processors.genesis import Genesis
from state.schema import MS, QUEUE
from state.state import State

#: Seconds for an answer; for one to a batch of blocks.
TIMEOUT, BLOCKS_TIMEOUT = 2.0, 15.0
#: Seconds of rest after a failed connection: the first, the longest.
FIRST_REST, LONGEST_REST = 0.5, 30.0

Connect = Callable[[], socket.socket]
#: Blocks ``first`` to ``last`` as servers gave them.
ReadBlocks = Callable[[int, int], Iterator[bytes]]


class RemoteSigner:
    """Signing by another process (node/signer/signer.py has the protocol). ``clock`` in seconds, never going back."""

    def __init__(
        self, connect: Connect, genesis: Genesis, account: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Connects at once. Raises SignerError."""
        self._connect = connect
        self._genesis = genesis
        self._account = account
        self._clock = clock
        self._socket: socket.socket | None = None
        self._rest, self._not_before = 0.0, 0.0
        #: What was met with silence and not answered since.
        self._unanswered: type[wire.Request] | None = None
        self._keys: tuple[bytes, ...] | None = None
        #: The block that the signer applied last, as it said last; -1 before the first.
        self.height = -1
        self.head_id = b""
        #: The height up to which the group's reports make the signer believe the chain.
        self.vouched = -1
        self._held_until: int | None = None
        self._open()

    @property
    def public_keys(self) -> tuple[bytes, ...]:
        """The public halves, in byte order."""
        return self._keys or ()

    @property
    def begins(self) -> bool:
        """Never by the node's word: the signer begins its journal at a round that the group vouched for."""
        return False

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # -- blocks

    def feed(self, texts: Iterable[bytes]) -> int:
        """Hand over the next blocks, as servers gave them; returns the signer's height. Raises SignerError."""
        batch: list[bytes] = []
        size = 0
        for text in texts:
            if self.height < 0 and not batch:
                self._move(wire.Begin(text))
                continue
            most = wire.MAX_BATCH if self._unanswered is None else 1  # as much as surely gets there in TIMEOUT
            if batch and (len(batch) >= most or size + len(text) > wire.BATCH_BYTES):
                self._move(wire.Apply(batch))
                batch, size = [], 0
            batch.append(text)
            size += len(text)
        if batch:
            self._move(wire.Apply(batch))
        return self.height

    def catch_up(self, state: State, block_id: Callable[[int], bytes | None], read: ReadBlocks) -> int:
        """Bring the signer to where the node is: off a fork that died, then on by the blocks that ``read`` gives.

        ``block_id``: of a block that the node applied (NodeCore.block_id). Returns the signer's height, which may be
        above the node's. Raises SignerError, and what ``read`` raises.
        """
        self._hello()
        if state.height < 0:
            return self.height
        self._leave_the_fork(state, block_id)
        first = self.height + 1 if self.height >= 0 else self._genesis.start_block
        if first <= state.height:
            self.feed(read(first, state.height))
        return self.height

    def _leave_the_fork(self, state: State, block_id: Callable[[int], bytes | None]) -> None:
        """Take the signer back to the newest block that it shares with the node."""
        height, step = min(self.height, state.height), 1
        while height >= 0:
            ours = block_id(height)
            theirs = self.head_id if height == self.height else self._block_id(height)
            if ours is None or not theirs:
                return  # too old to compare: the next block says whether it follows
            if ours == theirs:
                break
            height, step = height - step, step * 2
        if height < min(self.height, state.height):
            self._move(wire.Rewind(max(height, self._genesis.start_block)))

    def _block_id(self, height: int) -> bytes:
        found = self._ask(wire.BlockId(height))
        if not isinstance(found, wire.At):
            raise SignerError(f"the signer answered {type(found).__name__} to a question for a block")
        return found.block_id

    def _move(self, request: wire.Begin | wire.Apply | wire.Rewind) -> None:
        found = self._ask(request)
        if not isinstance(found, wire.At):
            raise SignerError(f"the signer answered {type(found).__name__} to blocks")
        self.height, self.head_id = found.height, found.block_id

    # -- signing

    def look(self, state: State) -> list[str]:
        """Let the signer see where the chain is. Raises SignerError while it is not where the node is."""
        self._held_until = None
        if self.height < state.height:
            raise SignerError(f"the signer is at block {self.height}, the node at {state.height}: it catches up")
        found = self._ask(wire.Look())
        if not isinstance(found, wire.Ops):
            raise SignerError(f"the signer answered {type(found).__name__} to look")
        self._held_until = found.held_until
        return found.ops

    def held_until(self, now: int) -> int | None:
        """As the signer said at the last look, by the time that it believes; None where it was not reached."""
        return self._held_until

    def signed_for(self, payloads: Iterable[int], now: int) -> set[bytes]:
        """Ids of the transactions that were signed for these payloads and are over at block time ``now``."""
        found = self._ask(wire.SignedFor(list(payloads), now))
        if not isinstance(found, wire.Ids):
            raise SignerError(f"the signer answered {type(found).__name__} to signed_for")
        return set(found.txids)

    def sign_report(self, account: str, height: int, root: bytes, key: bytes) -> bytes:
        """The signature of a report. Raises SignerError, also where the signer found another root."""
        found = self._ask(wire.Report(account, height, root, key))
        if not isinstance(found, wire.Signed) or len(found.sig) != 65:
            raise SignerError("the signer answered without a signature of the report")
        return found.sig

    def sign_transaction(
        self, state: State, op: str, key: bytes, denied: Callable[[bytes], bool]
    ) -> tuple[Verdict, bytes | None]:
        """The signer's judgement. What this node's own servers do not deny is not even asked for."""
        record = state.need(MS, op)
        past = {txid for number in record.payloads for txid in state.need(QUEUE, number).past}
        undenied = [txid.hex() for txid in sorted(past - {record.txid}) if not denied(txid)]
        if undenied:
            words = f"two servers of different operators must deny that {', '.join(undenied)} was included"
            return Verdict("hold", "not_denied", words), None
        found = self._ask(wire.Sign(op, key, record.txid))
        if not isinstance(found, wire.Signed) or (len(found.sig) not in (0, 65)):
            raise SignerError("the signer answered without a judgement")
        verdict = Verdict(found.kind, found.why, found.detail)
        return verdict, (found.sig if verdict.kind == "sign" and found.sig else None)

    # -- the wire

    def _ask(self, request: wire.Request) -> wire.Answer:
        """One request, one answer. Raises SignerError."""
        wired = self._open()
        try:
            answer = self._exchange(wired, request)
        except SignerError as error:
            if isinstance(error.__cause__, TimeoutError):
                self._unanswered = type(request)
                self._lengthen_rest()
            raise
        self._is_answered(request)
        if isinstance(answer, wire.Refused):
            raise SignerError(f"the signer refuses: {answer.why}")
        return answer

    def _hello(self) -> None:
        found = self._ask(wire.Hello(wire.VERSION, self._genesis.hash, self._account))
        self._take_welcome(found)

    def _take_welcome(self, found: wire.Answer) -> None:
        if not isinstance(found, wire.Welcome):
            why = found.why if isinstance(found, wire.Refused) else f"it answered {type(found).__name__}"
            self.close()
            raise SignerError(f"the signer does not welcome this node: {why}")
        keys = tuple(sorted(found.public_keys))
        if self._keys not in (None, keys):
            self.close()
            raise SignerError("the signer holds other keys than before: restart the node")
        self._keys = keys
        self.height, self.head_id, self.vouched = found.height, found.head_id, found.vouched

    def _open(self) -> socket.socket:
        """The socket, connected anew if need be and the rest is over."""
        if self._socket is not None:
            return self._socket
        now = self._clock()
        if now < self._not_before:
            raise SignerError(f"the signer is not reached: the next try is in {self._not_before - now:.1f} s")
        hello = wire.Hello(wire.VERSION, self._genesis.hash, self._account)
        try:
            self._socket = self._connect()
            self._take_welcome(self._exchange(self._socket, hello))
        except (OSError, ssl.SSLError) as error:
            self._lengthen_rest()
            raise SignerError(f"the signer is not reached ({error}): see that `waggle signer` runs") from error
        except SignerError:
            self._lengthen_rest()
            raise
        self._is_answered(hello)
        return self._socket

    def _is_answered(self, request: wire.Request) -> None:
        """All is well, unless it was something else that was met with silence."""
        if self._unanswered in (None, type(request)):
            self._unanswered, self._rest = None, 0.0

    def _lengthen_rest(self) -> None:
        """The next connection is tried after a longer rest than the last one."""
        self._rest = min(LONGEST_REST, max(FIRST_REST, 2 * self._rest))
        self._not_before = self._clock() + self._rest

    def _exchange(self, wired: socket.socket, request: wire.Request) -> wire.Answer:
        is_blocks = isinstance(request, wire.Begin | wire.Apply | wire.Rewind)
        try:
            return exchange(wired, request, BLOCKS_TIMEOUT if is_blocks and self._unanswered is None else TIMEOUT)
        except (OSError, ssl.SSLError) as error:
            self.close()  # an answer that comes later must not be taken for that to the next request
            raise SignerError(f"the signer does not answer ({error or type(error).__name__})") from error
        except SignerError:
            self.close()
            raise


def connect_unix(path: str) -> Connect:
    """How to reach a signer on this machine."""

    def connect() -> socket.socket:
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        found.settimeout(TIMEOUT)
        try:
            found.connect(path)
        except OSError:
            found.close()
            raise
        return found

    return connect


def connect_tls(host: str, port: int, context: ssl.SSLContext) -> Connect:
    """How to reach a signer on another machine; ``host`` must stand in its certificate."""

    def connect() -> socket.socket:
        plain = socket.create_connection((host, port), timeout=TIMEOUT)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return context.wrap_socket(plain, server_hostname=host)
        except OSError:
            plain.close()
            raise

    return connect
