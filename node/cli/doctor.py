"""`waggle doctor`: the checklist before a node goes into service, and whenever something is odd."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from node.cli.key_options import FILE, json_option
from node.config import load_config
from node.doctor.finding import LEVELS, Finding, exit_code, fail, ok
from node.doctor.walk import examine
from node.errors import ConfigError, KeyFileError
from node.log import one_line
from node.signer.passwords import once, source

#: Columns where nobody says how many there are: a file, a pipe.
_WIDTH = 160
_MARKS = {"ok": ("ok", "green"), "skip": ("--", "dim"), "warn": ("!", "yellow"), "fail": ("FAIL", "bold red")}


@click.command()
@click.option("--config", "config_path", required=True, type=FILE, help="The node's configuration.")
@click.option("--expect", default="", metavar="HASH", help="The genesis hash that the other members have.")
@click.option("--no-password", is_flag=True, help="Leave the keys closed, and do not compare them with the chain.")
@json_option
def doctor(config_path: Path, expect: str, no_password: bool, as_json: bool) -> None:
    """Check machine, keys, API servers, accounts and peers, and say what to do. Nothing is changed.

    Exit 0: all fine. 1: warnings. 2: something does not work.

    Example:  waggle doctor --config config.toml
    """
    found = asyncio.run(_examine(config_path, expect, no_password))
    code = exit_code(found)
    if as_json:
        click.echo(json.dumps({"code": code, "findings": msgspec.to_builtins(found)}))
    else:
        screen = Console()
        screen.print(shown(found), width=None if screen.is_terminal else _WIDTH)
    sys.exit(code)


async def _examine(config_path: Path, expect: str, no_password: bool) -> Sequence[Finding]:
    try:
        config = load_config(config_path)
    except ConfigError as error:
        return [fail("config", str(error), "mend each line; config.example.toml explains every key")]
    loaded = ok("config", f"{config_path}: every key is good")
    get = None
    if not no_password:
        try:
            get = once(source(config.password))
        except KeyFileError as error:
            return [loaded, fail("password", str(error), "mend keys.password")]
    progress = Console(stderr=True)
    with progress.status("looking") as status:

        def tell(words: str) -> None:
            if words == "the keys" and config.password == "prompt" and not no_password:
                status.stop()  # the prompt must have the line for itself
            else:
                status.start()
                status.update(f"looking at {words}")

        return [loaded, *await examine(config, expected=expect, password=get, tell=tell)]


def shown(findings: Sequence[Finding]) -> RenderableType:
    """All findings in order, what is to be done below each, and the sum."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, max_width=32)
    table.add_column(overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.level]
        table.add_row(Text(mark, style), Text(one_line(finding.name)), Text(_lines(finding.what)))
        if finding.remedy:
            table.add_row("", "", Text(f"-> {one_line(finding.remedy)}", style))
    counts = {level: sum(finding.level == level for finding in findings) for level in LEVELS}
    words = f"{counts['ok']} fine, {counts['warn']} to mend, {counts['fail']} failed, {counts['skip']} not looked at"
    worst = ("ok", "warn", "fail")[exit_code(findings)]
    return Group(table, Text(), Text(words, _MARKS[worst][1]))


def _lines(text: str) -> str:
    """What servers and peers said, harmless; the problems of a configuration stay on lines of their own."""
    return "\n".join(map(one_line, text.split("\n")))
