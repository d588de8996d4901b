"""What can go wrong on the outside. Every message holds the value and the remedy."""


class NodeError(Exception):
    """Root of the floor's errors."""


class ConfigError(NodeError):
    """The configuration cannot be used; the message lists everything that is wrong."""


class KeyFileError(NodeError):
    """A key file cannot be used. The message never quotes its contents."""


class ApiError(NodeError):
    """A server did not answer, or not as Hive's API does."""


class NobodyError(ApiError):
    """No server can be asked now: all rest, or are banned."""


class BroadcastRefusedError(NodeError):
    """Hive refused a transaction; the message is the server's."""


class JournalError(NodeError):
    """The signing journal cannot be read or written: nothing may be signed."""


class FeedError(NodeError):
    """The feed cannot go on: a block that does not prove, or a chain that is not ours."""


class LieError(FeedError):
    """A server gave a block that is shown to be false by what it holds. ``evidence`` is what it gave."""

    def __init__(self, message: str, number: int, evidence: bytes) -> None:
        super().__init__(message)
        self.number = number
        self.evidence = evidence


class NotLinkedError(FeedError):
    """A block that does not follow ours: one of the two is on a fork that died."""


class UnprovableError(FeedError):
    """A block holds what this version cannot serialise: our limit, not the server's fault."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


class SignerError(NodeError):
    """The signer does not answer, or not as it should: nothing was signed."""


class DiskFullError(NodeError):
    """The disk is nearly full: the node stops before LevelDB must."""


class UntoldError(NodeError):
    """Nobody can tell whether the group rejected an operation: its block holds more rejections than are noted."""
