"""`waggle run`."""

import asyncio
import signal
from pathlib import Path

import click

from node.config import load_config
from node.daemon import run_node
from node.log import make_log


@click.command()
@click.option(
    "--config",
    "config_path",
    required=True,
    type=click.Path(path_type=Path),
    help="The node's configuration; config.example.toml explains every key.",
)
def run(config_path: Path) -> None:
    """Run a member's node until SIGTERM or Ctrl-C.

    Example:  waggle run --config /etc/waggle/config.toml
    """
    config = load_config(config_path)
    log = make_log(config.log_format, config.log_level)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await run_node(config, log, stop)

    asyncio.run(main())
