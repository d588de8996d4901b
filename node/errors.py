"""What can go wrong on the outside. Every message holds the value and the remedy."""


class NodeError(Exception):
    """Root of the floor's errors."""


class ConfigError(NodeError):
    """The configuration cannot be used; the message lists everything that is wrong."""


class KeyFileError(NodeError):
    """A key file cannot be used. The message never quotes its contents."""


class ApiError(NodeError):
    """A server did not answer, or not as Hive's API does."""


class BroadcastRefusedError(NodeError):
    """Hive refused a transaction; the message is the server's."""


class JournalError(NodeError):
    """The signing journal cannot be read or written: nothing may be signed."""


class FeedError(NodeError):
    """The feed cannot go on: a block that does not prove, or a chain that is not ours."""
