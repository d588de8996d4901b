"""What a check of `waggle doctor` finds, and what the checks share."""

from collections.abc import Iterable

import msgspec

from node.account_facts import Sealing
from node.config import Config
from node.core import ChainView
from node.membership import Known
from node.signer.keys import SecretKey
from node.status import Status
from processors.genesis import Genesis

LEVELS = ("ok", "skip", "warn", "fail")
#: Seconds for one answer of whoever is asked.
SECONDS = 3.0


class Finding(msgspec.Struct, frozen=True):
    """``level``: ok, warn (works, but mend it), fail (does not work), skip (could not be looked at, or need not be)."""

    name: str
    level: str
    what: str
    remedy: str = ""


class Keys(msgspec.Struct, frozen=True):
    """The keys that were opened."""

    account: list[SecretKey]
    signing: list[SecretKey]


class Seen(msgspec.Struct, frozen=True):
    """What an API server showed. ``offset``: this machine's clock minus its head's time, seconds; ``error`` = why it
    is no good, empty if it is; ``behind`` = blocks behind the furthest; ``header``: of the block that all were asked
    for."""

    url: str
    operator: str
    error: str = ""
    seconds: float = 0.0
    offset: float = 0.0
    view: ChainView | None = None
    version: str = ""
    behind: int = 0
    header: tuple[str, ...] = ()


class Case(msgspec.Struct):
    """What is known of the node so far; None = not, or not yet."""

    config: Config
    genesis: Genesis | None = None
    keys: Keys | None = None
    status: Status | None = None
    known: Known | None = None
    servers: tuple[Seen, ...] = ()
    sealing: Sealing | None = None


def ok(name: str, what: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", what)


def warn(name: str, what: str, remedy: str) -> Finding:
    """It works, but should be mended."""
    return Finding(name, "warn", what, remedy)


def fail(name: str, what: str, remedy: str) -> Finding:
    """It does not work, or must not be so."""
    return Finding(name, "fail", what, remedy)


def skip(name: str, what: str) -> Finding:
    """It could not be looked at, or need not be."""
    return Finding(name, "skip", what)


def exit_code(findings: Iterable[Finding]) -> int:
    """0: all fine, 1: warnings, 2: failures."""
    levels = {finding.level for finding in findings}
    return 2 if "fail" in levels else 1 if "warn" in levels else 0


def split(error: Exception) -> tuple[str, str]:
    """An error of ours as (what, remedy): the remedy stands after the last colon that a space follows."""
    what, colon, remedy = str(error)[:1_000].rpartition(": ")
    return (what.removesuffix(". Run"), remedy) if colon else (str(error)[:1_000], "see the message")
