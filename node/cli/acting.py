"""What all commands share that say something for a member: the options, and how it is sent and seen."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from node.assembly import load_genesis
from node.cli.key_options import FILE, json_option
from node.cli.sent import Case, carry_out
from node.config import Config, load_config
from node.errors import KeyFileError, NodeError
from node.group_facts import overview, verdict
from node.membership import look
from node.signer.keys import open_keys
from node.signer.passwords import once, source
from node.signer.secret import SecretKey
from processors.genesis import Genesis

F = TypeVar("F", bound=Callable[..., Any])


def acting(function: F) -> F:
    """--config, --yes, --dry-run, --json"""
    function = json_option(function)
    function = click.option("--dry-run", is_flag=True, help="Sign it and show it, but send nothing.")(function)
    function = click.option("--yes", is_flag=True, help="Do not ask.")(function)
    return click.option("--config", "config_path", required=True, type=FILE, help="The node's configuration.")(function)


def say(
    config_path: Path, name: str, body: dict[str, Any], lines: list[str], how: tuple[bool, bool, bool], status: str
) -> None:
    """Send the custom_json ``name`` and wait for the group's verdict. ``how``: (as_json, yes, dry_run)."""
    asyncio.run(_say(load_config(config_path), name, body, lines, how, status))


async def _number(config: Config, genesis: Genesis, block: int) -> tuple[dict[str, Any], str]:
    """The number that a proposal of ours has got in a block."""
    found = [
        one.id
        for one in (await overview(config, genesis)).proposals
        if (one.made, one.proposer) == (block, config.account)
    ]
    mine = {"proposals": found} if found else {}
    return mine, "".join(f"it is proposal {one}: `waggle vote {one} yes`" for one in found[-1:])


def ahead(config_path: Path, blocks: int) -> int:
    """The height that many blocks after what the node has applied."""
    config = load_config(config_path)
    return asyncio.run(overview(config, load_genesis(config.genesis))).height + blocks


def whole(text: str, asset: str = "") -> int:
    """Smallest units of "1.000" or "1" with three decimals. Raises click.BadParameter."""
    units, _, rest = text.partition(".")
    if not (units.isascii() and units.isdigit()) or len(rest) > 3 or (rest and not (rest.isascii() and rest.isdigit())):
        raise click.BadParameter(f"{text!r} is no amount: write it with at most three decimals, as in 12.500 {asset}")
    return int(units) * 1000 + int(rest.ljust(3, "0"))


async def _say(
    config: Config, name: str, body: dict[str, Any], lines: list[str], how: tuple[bool, bool, bool], status: str
) -> None:
    genesis = load_genesis(config.genesis)
    key = account_key(config, once(source(config.password)))
    case = Case(config, genesis, key, [], await _known(config, genesis, key), *how)

    async def is_done(block: int, txid: str) -> bool | str:
        return await verdict(config, block, txid)

    async def more(block: int) -> tuple[dict[str, Any], str]:
        return await _number(config, genesis, block)

    await carry_out(case, name, body, lines, is_done, status, more if name.startswith("propose") else None)


async def _known(config: Config, genesis: Genesis, key: SecretKey) -> Any:
    found = await look(config, genesis, key.public)
    if found.source == "genesis":
        raise NodeError("this node has no state yet: start it, then run this again")
    return found


def account_key(config: Config, ask: Callable[[], str]) -> SecretKey:
    """The account's active key; ``ask`` gives its password. Raises KeyFileError."""
    found = open_keys([config.account_key], ask, role="account").keys
    if len(found) != 1:
        raise KeyFileError(f"{config.account_key} must hold exactly one key: the active key of {config.account}")
    return found[0]
