"""Transactions on their way: to the best server, to the next on error, silence or refusal (protocol section 11)."""

from typing import Any

from node.core import Log, NodeCore, Outgoing
from node.errors import ApiError, BroadcastRefusedError
from node.feed.feed import Feed
from node.feed.rpc import Api
from node.feed.servers import Server
from processors.authority_form import as_stored
from processors.genesis import ROLES
from processors.hive.chain import Chain
from processors.hive.compounds import AUTHORITY
from processors.hive.errors import HiveDataError
from processors.hive.transaction import show_transaction
from state.schema import AUTHORITY as AUTHORITIES
from state.schema import Authority

_DUPLICATE = "Duplicate transaction check failed"


class Sender:
    """Broadcasts what one core hands out."""

    def __init__(self, core: NodeCore, feed: Feed, log: Log) -> None:
        self._core = core
        self._feed = feed
        self._log = log

    async def send(self, outgoing: Outgoing) -> None:
        """Broadcast; the next server on error, silence or refusal; on "duplicate" too, which is success."""
        if self._core.dry_run:
            self._core.sent(outgoing)
            self._log("dry_run", {"content": outgoing.content})
            return
        shown: dict[str, Any] = show_transaction(outgoing.tx, self._core.genesis.chain, typed=False)
        taken = 0
        refusal = ""
        for server in self._feed.servers.usable():
            try:
                if outgoing.roles and not await self._still_ours(server, outgoing):
                    continue
                await self._feed.ask(server, server.api.broadcast(shown))
                taken = 2
            except BroadcastRefusedError as error:
                if _DUPLICATE in str(error):
                    taken += 1
                else:
                    refusal = f"{server.api.url}: {str(error)[:300]}"
            except ApiError:
                continue  # told where it was asked
            if taken >= 2:
                break
        if taken:
            self._core.sent(outgoing)
            self._log("sent", {"content": outgoing.content})
        elif refusal:
            if outgoing.roles:  # a report has no time to rest
                self._core.refused(outgoing)
            self._log("refused", {"content": outgoing.content, "error": refusal})

    async def _still_ours(self, server: Server, outgoing: Outgoing) -> bool:
        """Whether the authorities that a group transaction was signed for stand at the server's head: a change on its
        way, in blocks that are not irreversible yet, would have Hive refuse it."""
        genesis = self._core.genesis
        theirs = await self._feed.ask(server, authorities(server.api, genesis.chain, genesis.group))
        state = self._core.state
        moved = [role for role in outgoing.roles if theirs[role] != state.need(AUTHORITIES, role)]
        if moved:
            told: dict[str, object] = {
                "content": outgoing.content,
                "authority_on_its_way": moved,
                "server": server.api.url,
            }
            self._log("held", told)
        return not moved


async def authorities(api: Api, chain: Chain, group: str) -> dict[str, Authority]:
    """The group account's authorities as a server has them at its head. Raises ApiError."""
    found = await api.call("database_api.find_accounts", {"accounts": [group]})
    try:
        account = found["accounts"][0]
        return {role: as_stored(AUTHORITY.parse(account[role], chain)) for role in ROLES}
    except (KeyError, IndexError, TypeError, HiveDataError) as error:
        raise ApiError(f"{api.url}: no account {group}: {error}") from error
