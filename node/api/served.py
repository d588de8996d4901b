"""What the node's API needs of the node: this, and nothing else of it, is reached from outside."""

from pathlib import Path
from typing import Protocol

from aiohttp import web

from node.api.auth import Access
from node.api.limits import Limits, Places
from node.status import Status
from processors.genesis import Genesis
from state.state import State


class Served(Protocol):
    """A running node. Everything is called on the loop that applies blocks, between two of them."""

    @property
    def genesis(self) -> Genesis:
        """The group's genesis."""

    @property
    def state(self) -> State:
        """The state, to read."""

    @property
    def snapshots(self) -> Path:
        """The folder with a folder for each snapshot, named by its height."""

    def status(self) -> Status:
        """The node as it stands."""

    def metrics(self) -> bytes:
        """The metrics in Prometheus' text format."""

    def on_event(self, event: str, fields: dict[str, object]) -> None:
        """Log an event, and count it."""


SERVED: web.AppKey[Served] = web.AppKey("served")
ACCESS: web.AppKey[Access] = web.AppKey("access")
CHUNKS: web.AppKey[Places] = web.AppKey("chunks")
LIMITS: web.AppKey[Limits] = web.AppKey("limits")
