"""Whether the witnesses signed what a server gives, where their keys are known (`feed.witness = true`)."""

from node.core import Log
from node.errors import ApiError, LieError
from node.feed.feed import Feed
from node.feed.servers import Server
from node.feed.source import Given
from node.feed.witness import Known, WitnessKeys

#: Blocks between two questions about witnesses whose keys are unknown.
_ASK_EVERY = 20
_MOST = 100  # names in one question


class WitnessCheck:
    """Judges each block before it is applied; every block of the feed passes here in order."""

    def __init__(self, feed: Feed, address_prefix: str, log: Log) -> None:
        self._feed = feed
        self._keys = WitnessKeys(address_prefix)
        self._log = log
        self._unknown: dict[str, None] = {}
        self._asked_at = -_ASK_EVERY

    async def __call__(self, server: Server, given: Given) -> None:
        """Raises LieError for a block that its witness did not sign."""
        block = given.block
        witness = block.header.witness
        if self._keys.judge(block) is Known.WRONG:
            await self._ask([witness])
            if self._keys.judge(block) is Known.WRONG:
                words = f"{server.api.url}: block {block.number} is not signed by its witness {witness}"
                raise LieError(words, block.number, given.text)
        elif self._keys.judge(block) is Known.UNKNOWN:
            self._unknown[witness] = None
        self._keys.see(block)
        if self._unknown and block.number - self._asked_at >= _ASK_EVERY:
            self._asked_at = block.number
            names = list(self._unknown)[:_MOST]
            self._unknown = {}
            await self._ask(names)

    async def _ask(self, names: list[str]) -> None:
        """Ask for keys; who does not answer leaves them unknown."""
        try:
            await self._keys.ask([server.api for server in self._feed.servers.usable()], names)
        except ApiError as error:
            self._log("api_error", {"error": str(error)})
