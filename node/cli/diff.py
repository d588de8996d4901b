"""`waggle diff`: where this node and another one differ."""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click
import msgspec

from node.assembly import load_genesis
from node.cli.key_options import json_option
from node.cli.opened import Tell, config_option, opened, working
from node.config import Config, load_config
from node.control import CONTROL
from node.errors import NodeError
from node.sync.differ import Difference, Side, StateSide, compare
from node.sync.known_keys import keys_in_snapshots
from node.sync.peer import open_peer
from processors.errors import EngineError, GenesisError
from state.errors import StateError, StoreLockedError

EQUAL, DIFFERENT, UNKNOWN = 0, 1, 2


@click.command("diff")
@click.argument("peer")
@config_option
@json_option
def diff(peer: str, config_path: Path, as_json: bool) -> None:
    """Compare this node's state with that of the node at PEER: the first block, table and key that differ.

    This node may be running or stopped. Exit 0: equal. 1: different. 2: it cannot be told, and it is said why.

    Example:  waggle diff https://bob.example --config /etc/waggle/config.toml
    """
    try:
        config = load_config(config_path)
        with working(f"asking {peer}") as tell:
            found = asyncio.run(difference(config, peer, tell))
    except (NodeError, StateError, EngineError, GenesisError, OSError) as error:
        body = {"kind": "unknown", "words": str(error)}
        click.echo(json.dumps(body) if as_json else f"waggle: {error}", err=not as_json)
        sys.exit(UNKNOWN)
    click.echo(json.dumps(msgspec.to_builtins(found)) if as_json else text_of(found))
    sys.exit(EQUAL if found.kind == "equal" else DIFFERENT)


async def difference(config: Config, peer: str, tell: Tell) -> Difference:
    """The first difference between a node, running or stopped, and a peer. Raises NodeError, StateError."""
    genesis = load_genesis(config.genesis)
    async with AsyncExitStack() as stack:
        where: str | Path = Path(peer.removeprefix("unix:")) if peer.startswith("unix:") else peer
        theirs = await stack.enter_async_context(open_peer(where))
        ours: Side
        try:
            ours = side = StateSide(stack.enter_context(opened(config, genesis)))
            find_keys = side.find_keys
        except StoreLockedError:
            ours = await stack.enter_async_context(open_peer(config.data / CONTROL, name="this node"))

            def find_keys(wanted: set[bytes]) -> dict[bytes, bytes]:
                return keys_in_snapshots(config.data / "snapshots", wanted)

        return await compare(ours, theirs, genesis, find_keys=find_keys, tell=tell)


def text_of(found: Difference) -> str:
    """For people."""
    lines = [found.words]
    if len(found.entries) > 1:
        lines.append(f"the first {len(found.entries)} entries:")
        lines += [f"  {_one(entry.table, entry.key, entry.k)}" for entry in found.entries]
    if found.kind == "blocks":
        lines.append("Two API servers show other blocks: see which is Hive's, `waggle status` names the servers")
    return "\n".join(lines)


def _one(table: str, key: list[Any] | None, k: str) -> str:
    return f"{table} {ascii(' '.join(map(str, key)))[1:-1] if key is not None else f'(sha256 {k})'}"
