"""What is seen of a machine from outside: its log, the blocks that it applies, what its keys sign."""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from node.signer.keys import SecretKey


class Applied(msgspec.Struct, frozen=True):
    """A block as a node applied it; ``on_sand``: the state was changed behind its back before."""

    height: int
    block_id: bytes
    trace: bytes | None
    root: bytes | None
    life: int
    on_sand: bool = False


class Watcher(Protocol):
    """Who looks on."""

    def told(self, machine: Any, event: str, fields: dict[str, object]) -> None:
        """A node's log."""

    def applied(self, machine: Any, block: Applied) -> None:
        """A node applied a block."""

    def signed(self, machine: Any, key: bytes, digest: bytes) -> None:
        """A signing key signs."""

    def died(self, machine: Any, error: BaseException) -> None:
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
