"""What a running node knows besides its state: of its servers, its signer, its disk. `waggle status` shows it."""

import msgspec


class ServerFacts(msgspec.Struct, frozen=True):
    """A server of Hive's API as the node finds it. ``standing`` is good, cooling or banned; ``score`` 0 to 100.

    ``seconds`` = its usual answer, ``behind`` = irreversible blocks behind the newest that any server names.
    """

    url: str
    operator: str
    standing: str
    score: int
    seconds: float
    behind: int
    why: str = ""


class Facts(msgspec.Struct, frozen=True):
    """``irreversible`` and ``head`` as the servers name them, 0 before; ``is_live``: it acts on what it sees."""

    irreversible: int = 0
    head: int = 0
    is_live: bool = False
    servers: tuple[ServerFacts, ...] = ()
    signer: str = "local"  # local | remote | unreachable
    store_bytes: int = 0
    free_bytes: int = 0
    started_at: int = 0  # seconds since 1970
    sealed: bool | None = None  # None: not asked yet (protocol section 12)
    sealed_at: int = 0  # seconds since 1970: when it will be, if nothing is done; 0 = never by itself
    resource_credits: int | None = None  # percent of the group account's, None = unknown

    def with_group(self, sealed: bool | None, sealed_at: int, resource_credits: int | None) -> "Facts":
        """The same with what is known of the group's account."""
        found = {"sealed": sealed, "sealed_at": sealed_at, "resource_credits": resource_credits}
        return msgspec.structs.replace(self, **found)
