"""Whether those who are to be paid exist: Hive refuses for good what goes to an account that there is not.

Who signs such a transaction only lets it expire, and with it the others that ride in it. So nobody does, and says so.
"""

from collections.abc import Iterable

from node.core import Log
from node.errors import ApiError
from node.feed.feed import Feed
from node.feed.rpc import Api
from node.feed.source import chain_view

#: Accounts that are remembered to exist; asked for in one question.
_KNOWN, _ASKED = 4_096, 100


class Receivers:
    """What servers of different operators say of accounts. Accounts of Hive never vanish."""

    def __init__(self, feed: Feed, log: Log) -> None:
        self._feed = feed
        self._log = log
        self._exist: set[str] = set()
        self._denied: dict[str, set[str]] = {}

    def is_missing(self, name: str) -> bool:
        """Whether two operators say that there is no such account, and none that there is."""
        return name not in self._exist and len(self._denied.get(name, ())) >= 2

    async def ask_about(self, names: Iterable[str], height: int) -> None:
        """Ask two operators for those that are not known to exist; one behind ``height`` may not know them yet."""
        if len(self._exist) > _KNOWN:
            self._exist.clear()
        unknown = sorted(set(names) - self._exist)[:_ASKED]
        self._denied = {name: set() for name in unknown}
        asked: set[str] = set()
        for server in self._feed.servers.usable():
            left = [name for name in unknown if name not in self._exist]
            if not left or len(asked) >= 2:
                return
            if server.operator in asked:
                continue
            try:
                if (await self._feed.ask(server, chain_view(server.api))).irreversible_number < height:
                    continue
                found = await self._feed.ask(server, _existing(server.api, left))
            except ApiError:
                continue  # told and noted where it was asked
            asked.add(server.operator)
            self._exist |= found
            for name in set(left) - found:
                self._denied[name].add(server.operator)


async def _existing(api: Api, names: list[str]) -> set[str]:
    """Those of some accounts that a server shows. Raises ApiError."""
    answer = await api.call("database_api.find_accounts", {"accounts": names})
    try:
        return {account["name"] for account in answer["accounts"]} & set(names)
    except (KeyError, TypeError) as error:
        raise ApiError(f"{api.url}: not accounts: {error!r}") from error
