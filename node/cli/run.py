"""`waggle run`."""

import asyncio
import signal
from pathlib import Path

import click

from node.config import load_config
from node.daemon import run_node
from node.log import make_log
from node.starting import parse_trust


@click.command()
@click.option(
    "--config",
    "config_path",
    required=True,
    type=click.Path(path_type=Path),
    help="The node's configuration; config.example.toml explains every key.",
)
@click.option("--trust", metavar="HEIGHT:ROOT", help="Begin with the snapshot of this root, which you were told.")
def run(config_path: Path, trust: str | None) -> None:
    """Run a member's node until SIGTERM or Ctrl-C.

    A node without a state asks its peers for a snapshot that the group's signers vouch for on chain, or replays.

    Example:  waggle run --config /etc/waggle/config.toml
    """
    config = load_config(config_path)
    trusted = parse_trust(trust) if trust is not None else None
    log = make_log(config.log_format, config.log_level)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await run_node(config, log, stop, trusted)

    asyncio.run(main())
