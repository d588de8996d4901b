"""An authority as Hive's operations carry it, and as the state stores it: the same fields in two types."""

from processors.hive.types import Authority as HiveAuthority
from state.schema import Authority


def as_stored(carried: HiveAuthority) -> Authority:
    """The state's value of an authority that an operation or an API answer carries."""
    return Authority(carried.weight_threshold, carried.key_auths, carried.account_auths)


def as_carried(stored: Authority) -> HiveAuthority:
    """The operation's value of an authority of the state."""
    return HiveAuthority(stored.threshold, stored.accounts, stored.keys)
