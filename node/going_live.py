"""What a node makes sure of before it acts: that this is the chain's present, where a journal begins at it, and that
the chain's authorities are those of its state (protocol section 2)."""

from node.agent import is_groups_own
from node.core import LIVE_WITHIN, MAX_LAG, ChainView, Log, NodeCore
from node.errors import ApiError, FeedError
from node.feed.feed import Feed
from node.feed.second import Second
from node.feed.servers import Server
from node.sending import authorities
from processors.hive.keys import public_key_to_text
from state.schema import AUTHORITY as AUTHORITIES
from state.schema import NODE

_TRIES = 5


class GoingLive:
    """Asked at each block of a live node until it is sure."""

    def __init__(self, core: NodeCore, feed: Feed, second: Second, log: Log) -> None:
        self._core = core
        self._feed = feed
        self._second = second
        self._log = log
        self._tries = 0
        self._is_sure = self._is_waiting = False

    async def is_sure(self, view: ChainView) -> bool:
        """Compare the authorities of the state with the chain's, once live; a lasting difference stops the node.

        One operator's word is enough to find them equal, and two operators' to find them different. Where a journal
        begins, two must say that this is the present: it holds its keys back from there on, for as long as what they
        signed elsewhere can live, and under an old head that would be too short.
        """
        if self._is_sure:
            return True
        height = self._core.state.height
        if self._core.begins_journal and not await self._second.is_present(height + LIVE_WITHIN):
            if not self._is_waiting:
                self._log("present_unconfirmed", {"height": height})
            self._is_waiting = True
            return False
        differing: dict[str, str] = {}  # operator -> role
        for server in self._feed.servers.usable():
            if server.operator in differing:
                continue
            try:
                role = await self._differing_role(server)
            except ApiError:
                continue  # told and noted where it was asked
            if not role:
                self._is_sure = True
                is_own = is_groups_own(self._core.state)
                self._log("live", {"height": self._core.state.height, "members_keys_hold_it": is_own})
                self._tell_what_is_missing()
                return True
            differing[server.operator] = role
        if len(differing) > 1:
            self._differs(next(iter(differing.values())), view)
        return False

    async def _differing_role(self, server: Server) -> str:
        """The first role whose authority a server shows otherwise than the state; "" if none. Raises ApiError."""
        genesis = self._core.genesis
        found = await self._feed.ask(server, authorities(server.api, genesis.chain, genesis.group))
        differing = [role for role, theirs in found.items() if theirs != self._core.state.need(AUTHORITIES, role)]
        return differing[0] if differing else ""

    def _tell_what_is_missing(self) -> None:
        """A node that can do nothing says so, and what would help."""
        me = self._core.me
        member = self._core.state.get(NODE, me.account)
        if member is None:
            self._log("not_member", {"account": me.account, "remedy": "register it: waggle join"})
        elif not {member.signing_key, member.next_key} & set(me.keys):
            wanted = public_key_to_text(member.signing_key, self._core.genesis.chain.address_prefix)
            self._log(
                "key_missing", {"registered": wanted, "remedy": "put that key into keys.signing, or waggle join anew"}
            )

    def _differs(self, role: str, view: ChainView) -> None:
        """A change may be on its way in blocks that are not irreversible yet: look again at later blocks."""
        self._tries += 1
        lag = min(MAX_LAG, view.head_number - view.irreversible_number)
        self._log("authority_differs", {"role": role, "height": self._core.state.height, "try": self._tries})
        if self._tries > _TRIES + lag:
            raise FeedError(
                f"{self._core.genesis.group} has another {role} authority on chain than in the state, at height "
                f"{self._core.state.height}: the genesis or the servers are wrong; nothing is signed"
            )
