"""What can go wrong with the memory of a node. Every message holds the value and the remedy."""


class StateError(Exception):
    """Root of the floor's errors."""


class CodecError(StateError):
    """A value has no canonical form, or bytes are not the canonical form of anything."""


class StoreLockedError(StateError):
    """Another process holds the store."""


class StoreDamagedError(StateError):
    """The store cannot be read as it was written. ``is_corrupt``: what stands there is wrong, and will stay so."""

    def __init__(self, message: str, *, is_corrupt: bool = False) -> None:
        super().__init__(message)
        self.is_corrupt = is_corrupt


class StoreMismatchError(StateError):
    """The store belongs to another genesis, or to a newer format."""


class ProofError(StateError):
    """A proof does not lead to the root it was made for."""


class SnapshotError(StateError):
    """A snapshot, or a part of one, is not what it says it is, or not what was asked for."""
