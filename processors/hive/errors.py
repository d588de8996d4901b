"""What can be wrong with data that claims to be Hive's."""


class HiveDataError(Exception):
    """The data is not of the form Hive gives it; the message holds the value."""


class UnknownOperationError(HiveDataError):
    """An operation type that this version cannot serialise: the block cannot be proven by one server alone."""


class SignatureError(HiveDataError):
    """A signature is not canonical, or recovers to no key."""


class AuthorityError(HiveDataError):
    """A transaction lacks an authority; ``name`` is hived's word for it (tx_missing_active_auth, ...)."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name


class UnprovenBlockError(HiveDataError):
    """A block does not hash to what it says."""
