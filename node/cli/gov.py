"""`waggle gov`: the tokens, the seats, what is voted on, and what seats can stop."""

import asyncio
import json
from pathlib import Path

import click
import msgspec

from node.assembly import load_genesis
from node.cli.acting import acting, say
from node.cli.gov_text import overview_lines, pending_lines, tokens_lines
from node.cli.key_options import json_option
from node.cli.opened import config_option
from node.config import load_config
from node.group_facts import overview, parameters, tokens
from processors.hive.names import is_account_name


@click.group()
def gov() -> None:
    """Tokens, seats, votes, emergencies.

    Example:  waggle gov status --config config.toml
    """


@gov.command()
@config_option
@click.option("--account", help="Whose tokens; the node's own account if left out.")
@json_option
def status(config_path: Path, account: str | None, as_json: bool) -> None:
    """Show what the group holds, what is voted on, what is stopped, and an account's tokens.

    Example:  waggle gov status --config config.toml --account alice
    """
    config = load_config(config_path)
    name = account or config.account
    if not is_account_name(name):
        raise click.BadParameter(f"{name!r} is no account name")
    genesis = load_genesis(config.genesis)
    found, held = asyncio.run(overview(config, genesis)), asyncio.run(tokens(config, genesis, name))
    if as_json:
        click.echo(json.dumps({"group": msgspec.to_builtins(found), "tokens": msgspec.to_builtins(held)}))
        return
    click.echo("\n".join([*overview_lines(found), "", *tokens_lines(held)]))


@gov.command("parameters")
@config_option
@click.option("--at", "height", type=click.IntRange(min=0), help="The block; now if left out.")
@json_option
def show_parameters(config_path: Path, height: int | None, as_json: bool) -> None:
    """Show every parameter as it is, or was, in force at a block.

    Example:  waggle gov parameters --at 101000000 --config config.toml
    """
    config = load_config(config_path)
    at, found = asyncio.run(parameters(config, load_genesis(config.genesis), height))
    if as_json:
        click.echo(json.dumps({"height": at, "parameters": found}))
        return
    click.echo(f"parameters at block {at}")
    for name, value in found.items():
        click.echo(f"  {name:<18} {value}")


@gov.command()
@click.argument("amount", type=click.IntRange(min=1))
@acting
def lock(amount: int, config_path: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Lock AMOUNT tokens (smallest units) as collateral.

    Example:  waggle gov lock 1000 --config config.toml
    """
    say(config_path, "gov_up", {"amount": amount}, [f"lock         {amount}"], (as_json, yes, dry_run), "locked")


@gov.command()
@click.argument("amount", type=click.IntRange(min=0))
@acting
def unlock(amount: int, config_path: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Let AMOUNT tokens of the collateral leave in four parts, in place of what is leaving; 0 keeps all.

    From that moment it is no collateral any more: below the minimum the seat is lost at the next tally.

    Example:  waggle gov unlock 1000 --config config.toml
    """
    words = f"let leave    {amount}, in four parts; it is no collateral from now on" if amount else "keep         all"
    say(config_path, "gov_down", {"amount": amount}, [words], (as_json, yes, dry_run), "noted")


@gov.command()
@click.argument("to")
@click.argument("amount", type=click.IntRange(min=1))
@click.option("--memo", default="", help="At most 512 bytes.")
@acting
def send(to: str, amount: int, memo: str, config_path: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Send AMOUNT tokens (smallest units) to the account TO.

    Example:  waggle gov send bob 500 --config config.toml
    """
    if not is_account_name(to):
        raise click.BadParameter(f"{to!r} is no account name: write one, as in bob")
    body = {"to": to, "amount": amount, **({"memo": memo} if memo else {})}
    say(config_path, "send", body, [f"send         {amount} to {to}"], (as_json, yes, dry_run), "sent")


def _switch(name: str, words: str, status: str, help_text: str) -> click.Command:
    """A vote that can be taken back with --off."""

    @click.option("--off", is_flag=True, help="Take the vote back.")
    @acting
    def command(off: bool, config_path: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
        lines = [f"{'take back' if off else 'vote':<13}{words}"]
        say(config_path, name, {"on": not off}, lines, (as_json, yes, dry_run), "taken back" if off else status)

    command.__doc__ = help_text
    return click.command(name)(command)


halt = _switch(
    "halt",
    "halt the building of payouts",
    "voted to halt",
    """Vote to stop the building of payouts for a while; a third of the seats is enough.

    Example:  waggle halt --config config.toml
    """,
)
resume = _switch(
    "resume",
    "resume: end a halt and a hold",
    "voted to resume",
    """Vote to end a halt or a hold; it takes more than half of the seats.

    Example:  waggle resume --config config.toml
    """,
)
hold = _switch(
    "hold",
    "hold rotations back",
    "voted to hold",
    """Vote to hold rotations back for ripe_rounds rounds; it takes more than half of the seats.

    Example:  waggle hold --config config.toml
    """,
)


@click.command()
@click.argument("op")
@acting
def cancel(op: str, config_path: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Vote to mark the group transaction OP: nobody signs or broadcasts it; it takes more than half of the seats.

    Its signatures are public: until it has expired anybody can still send it, and then it counts.

    Example:  waggle cancel 61500:61450:3735928559 --config config.toml
    """
    say(config_path, "ms_cancel", {"op": op}, [f"mark         {op}"], (as_json, yes, dry_run), "voted")


@click.command()
@config_option
@json_option
def pending(config_path: Path, as_json: bool) -> None:
    """Show what waits: open proposals, and payloads with what they wait for.

    Example:  waggle pending --config config.toml
    """
    config = load_config(config_path)
    found = asyncio.run(overview(config, load_genesis(config.genesis)))
    if as_json:
        shown = {"height": found.height, "proposals": found.proposals, "queue": found.queue, "waiting": found.waiting}
        click.echo(json.dumps(msgspec.to_builtins(shown)))
        return
    click.echo("\n".join(pending_lines(found)))
