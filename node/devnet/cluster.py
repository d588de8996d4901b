"""A Hive and a group of node processes on it: the very `waggle run`, each with its own LevelDB and keys."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from node.devnet.chain import DevnetChain
from node.devnet.founding import CHAIN, MemberKeys, found, genesis_document, guest_keys, member_keys, new_chain
from node.devnet.manners import HONEST, Manner
from node.devnet.node_files import write_guest, write_node
from node.devnet.observer import Observer
from node.devnet.server import DevnetServer
from node.genesis_text import to_toml
from processors.genesis import Genesis
from processors.hive.block import reference_prefix
from processors.hive.operations import Operation, active_custom_json
from processors.hive.transaction import Transaction

_START_WAIT = 30  # seconds until the chain begins without a node that has asked for nothing yet
_STOP_WAIT = 5  # seconds until a node that was asked to stop is killed
GUEST_COLLATERAL = 120
TWO_HONEST = (HONEST, HONEST)


class Cluster:
    """The processes and files of one devnet under ``folder``."""

    def __init__(
        self,
        folder: Path,
        nodes: int,
        *,
        interval: float,
        lag: int,
        spares: int = 0,
        apis: Sequence[Manner] = TWO_HONEST,
        guest: bool = False,
    ) -> None:
        self.folder = folder
        self.interval = interval
        self.apis = tuple(apis)
        self.members = [member_keys(number) for number in range(1, nodes + 1)]
        self.spares = [member_keys(number) for number in range(nodes + 1, nodes + spares + 1)]
        #: An account with funds and collateral, and no node: for whoever wants to join by hand.
        self.guest = guest_keys() if guest else None
        accounts = self.members + self.spares + ([self.guest] if self.guest is not None else [])
        self.chain: DevnetChain = new_chain(accounts, self.members[0], lag=lag)
        folder.mkdir(parents=True, exist_ok=True)
        self.server = DevnetServer(self.chain, interval=interval, log=folder / "api.log")
        self.urls: list[str] = []
        self.running: dict[str, asyncio.subprocess.Process] = {}
        self.genesis: Genesis
        self.observer: Observer

    async def start(self, parameters: dict[str, Any], **document: Any) -> None:
        """Found the group, start the server and every member's node, then the clock."""
        text = genesis_document(
            self.members,
            start_block=parameters["round_length"],
            parameters=parameters,
            collateral=(document.pop("collateral", None) or {}) | self._of_guest(),
            **document,
        )
        self.genesis = found(text)
        (self.folder / "genesis.toml").write_text(to_toml(text))
        self.observer = Observer(self.chain, self.genesis)
        self.server.on_block.append(self.observer.on_block)
        self.urls = [await self.server.listen(manner=manner) for manner in self.apis]
        for member in self.members + self.spares:
            write_node(self.folder / member.account, member, self.urls, interval=self.interval)
        if self.guest is not None:
            write_guest(self.guest_key(self.guest), self.guest)
        for member in self.members:
            await self.start_node(member.account)
        await self._all_asked()
        self.server.start_clock()

    def guest_key(self, guest: MemberKeys) -> Path:
        """The file with the guest's active key."""
        return self.folder / guest.account / "active.wif"

    def _of_guest(self) -> dict[str, int]:
        return {self.guest.account: GUEST_COLLATERAL} if self.guest is not None else {}

    async def _all_asked(self) -> None:
        """Until every node has asked for something, or ended: one that began after start_block signs much later."""
        deadline = time.monotonic() + _START_WAIT
        wanted = set(self.running)
        while not wanted <= self.server.clients and not self.died() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    async def start_node(self, account: str) -> None:
        """Start a member's node (again)."""
        home = self.folder / account
        command = [sys.executable, "-m", "node.cli", "run", "--config", str(home / "config.toml")]
        with open(home / "node.log", "ab") as log:
            self.running[account] = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=_environment()
            )

    async def kill_node(self, account: str) -> None:
        """SIGKILL: no clean-up of any kind."""
        process = self.running.pop(account)
        process.kill()
        await process.wait()

    def died(self) -> list[str]:
        """Nodes that ended although nobody asked them to."""
        return [account for account, process in self.running.items() if process.returncode is not None]

    async def stop(self) -> None:
        """Stop every node, then the server; leave the chain's blocks behind for strangers."""
        for process in self.running.values():
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                await asyncio.wait_for(process.wait(), _STOP_WAIT)
            except TimeoutError:
                process.kill()
                await process.wait()
        await self.server.stop()
        blocks = self.folder / "chain"
        blocks.mkdir(exist_ok=True)
        shown = [self.chain.show_block(number, typed=True) for number in range(1, self.chain.head_number + 1)]
        (blocks / "blocks.json").write_text(json.dumps({"blocks": shown}))

    def roots(self) -> dict[str, dict[int, str]]:
        """What each node logged of its roots: account -> height -> root."""
        return {
            member.account: {entry["height"]: entry["root"] for entry in self.events(member.account, "round")}
            for member in self.members + self.spares
        }

    def events(self, account: str, event: str) -> list[dict[str, Any]]:
        """The lines of one event in a node's log, oldest first."""
        log = self.folder / account / "node.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [json.loads(line) for line in lines if f'"event": "{event}"' in line]

    def broadcasts(self) -> list[dict[str, Any]]:
        """The API's log of broadcasts, oldest first."""
        return [json.loads(line) for line in (self.folder / "api.log").read_text().splitlines()]

    def submit_as(self, member: MemberKeys, name: str, body: dict[str, Any]) -> None:
        """Send a custom_json of the group's, signed by a member's account key, as its wallet would."""
        self.submit(member, active_custom_json(member.account, self.genesis.prefix + name, json.dumps(body)))

    def submit(self, member: MemberKeys, operation: Operation) -> None:
        """Send any operation of a member's account."""
        head = self.chain.head_number
        tx = Transaction(head & 0xFFFF, reference_prefix(self.chain.head_id), self.chain.head_time + 300, (operation,))
        self.chain.submit(member.account_key.sign_transaction(tx, CHAIN))


def _environment() -> dict[str, str]:
    """The children import what this process imports, from wherever it was started."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}
