"""`waggle status`: how the running node is, asked through its control socket."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.live import Live

from node.attention import Attention, attention
from node.config import Config, load_config
from node.control import CONTROL
from node.control import status as ask
from node.errors import ApiError, NodeError
from node.screen import show
from node.status import Status
from state.snapshot import heights

#: Exit codes: all is well, something needs the operator, the node does not run.
WELL, ATTENTION, DOWN = 0, 1, 2


@click.command()
@click.option(
    "--config", "config_path", required=True, type=click.Path(path_type=Path), help="The node's configuration."
)
@click.option("--json", "as_json", is_flag=True, help="For machines; with --watch a line each time.")
@click.option("--watch", is_flag=True, help="Show it again and again until Ctrl-C.")
@click.option(
    "--every", default=2.0, show_default=True, type=click.FloatRange(0.2, 3600), help="Seconds, with --watch."
)
def status(config_path: Path, as_json: bool, watch: bool, every: float) -> None:
    """Show how the running node is: height, root, seat, group transactions, reports, API servers, what needs you.

    Exit 0: all is well. 1: something needs attention, and it is said what. 2: the node does not run.

    Example:  waggle status --config /etc/waggle/config.toml
    """
    config = load_config(config_path)
    if watch:
        sys.exit(_watch(config, as_json, every))
    code, body, found = look(config)
    if as_json:
        click.echo(json.dumps(body))
    elif found is None:
        [down] = body["attention"]
        click.echo(f"{down['what']}\n{down['remedy']}", err=True)
    else:
        Console(soft_wrap=False).print(show(found))
    sys.exit(code)


def look(config: Config) -> tuple[int, dict[str, Any], Status | None]:
    """(exit code, what machines are told, the status or None if there is none to be had)."""
    try:
        found = asyncio.run(ask(config.data / CONTROL))
    except ApiError as error:
        return _without_status(config, ATTENTION, str(error), "see the node's log, then restart it")
    except NodeError as error:
        return _without_status(config, DOWN, str(error), f"start it: waggle run --config {config.path}")
    needs = attention(found)
    code = ATTENTION if needs else WELL
    body = {"code": code, "running": True, "attention": msgspec.to_builtins(needs)}
    return code, {**body, "status": msgspec.to_builtins(found)}, found


def _without_status(config: Config, code: int, what: str, remedy: str) -> tuple[int, dict[str, Any], None]:
    told = msgspec.to_builtins(Attention("node-down", what, remedy))
    return code, {"code": code, "running": code != DOWN, "attention": [told], "data": _facts(config)}, None


def _facts(config: Config) -> dict[str, object]:
    """What its folder shows without the node."""
    folder = config.data
    return {
        "folder": str(folder),
        "state": (folder / "state").is_dir(),
        "journal": (folder / "journal").is_file(),
        "snapshots": heights(folder / "snapshots"),
    }


def _watch(config: Config, as_json: bool, every: float) -> int:
    """Show it until Ctrl-C; the exit code is that of the last look."""
    code = DOWN
    try:
        with Live(auto_refresh=False, console=Console(stderr=as_json)) as live:
            while True:
                code, body, found = look(config)
                if as_json:
                    click.echo(json.dumps(body))
                else:
                    live.update(show(found) if found is not None else body["attention"][0]["what"], refresh=True)
                time.sleep(every)
    except KeyboardInterrupt:
        return code
