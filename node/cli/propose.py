"""`waggle propose`, `unpropose`, `vote`, `veto`: what the group shall do, and what its seats say to that."""

import json
from pathlib import Path
from typing import Any

import click

from node.assembly import load_genesis
from node.cli.acting import acting, ahead, say, whole
from node.cli.key_options import FILE
from node.config import load_config
from node.errors import NodeError
from node.explain import words
from processors.hive.errors import HiveDataError
from processors.hive.names import is_account_name
from processors.hive.operations import parse_operation
from processors.offered import OFFERED
from processors.params import is_proposable
from processors.upgrades import RULES

_DAY = 28_800
_FOR = click.option(
    "--for",
    "life",
    default=7 * _DAY,
    show_default=True,
    type=click.IntRange(100, 201_600),
    help="Blocks in which it can be decided; 28,800 are a day.",
)


@click.group()
def propose() -> None:
    """Propose something to the seats: more than half of them decide.

    Example:  waggle propose transfer bob 12.500 HIVE --memo "for March" --config config.toml
    """


@propose.command()
@click.argument("to")
@click.argument("amount")
@click.argument("asset", type=click.Choice(["HIVE", "HBD"]))
@click.option("--memo", default="", help="At most 512 bytes.")
@_FOR
@acting
def transfer(
    to: str, amount: str, asset: str, memo: str, life: int, config_path: Path, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Pay AMOUNT of ASSET to the account TO.

    Example:  waggle propose transfer bob 12.500 HIVE --memo "for March" --config config.toml
    """
    if not is_account_name(to):
        raise click.BadParameter(f"{to!r} is no account name: write one, as in bob")
    genesis = load_genesis(load_config(config_path).genesis)
    symbol = genesis.chain.symbols[0 if asset == "HIVE" else 1]
    units = whole(amount, asset)
    value = {"from": genesis.group, "to": to, "amount": f"{units // 1000}.{units % 1000:03} {symbol}", "memo": memo}
    _propose(config_path, [["transfer", value]], life, (as_json, yes, dry_run))


@propose.command("file")
@click.argument("operations", type=FILE)
@_FOR
@acting
def from_file(operations: Path, life: int, config_path: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Propose the operations of a JSON file: a list of [NAME, FIELDS] as Hive's condenser_api writes them.

    They are done whole, in one transaction. docs/governance.md lists those that can be proposed.

    Example:  waggle propose file ops.json --config config.toml
    """
    try:
        found = json.loads(operations.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise NodeError(f"{operations}: {error}: write a JSON list of operations") from None
    if not isinstance(found, list):
        raise NodeError(f'{operations}: write a list, as in [["transfer", {{"from": ...}}]]')
    _propose(config_path, found, life, (as_json, yes, dry_run))


@propose.command()
@click.argument("name")
@click.argument("value", type=click.IntRange(min=0))
@click.option(
    "--delay", default=_DAY, show_default=True, type=click.IntRange(min=0), help="Blocks from its approval on."
)
@_FOR
@acting
def change(
    name: str, value: int, delay: int, life: int, config_path: Path, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Set the parameter NAME, or `rules`, to VALUE (a flag: 0 or 1), some time after the approval.

    Example:  waggle propose change spend_limit_hive 100000 --config config.toml
    """
    if name != RULES and not is_proposable(name):
        raise click.BadParameter(f"{name!r} is no parameter that can change: docs/parameters.md lists them")
    body = {"name": name, "value": value, "delay": delay, "expires": ahead(config_path, life)}
    lines = [f"change       {name} = {value}, from the round after {delay} blocks from the approval on", _until(body)]
    say(config_path, "propose_change", body, lines, (as_json, yes, dry_run), "proposed")


@click.command()
@click.argument("number", type=click.IntRange(min=1))
@acting
def unpropose(number: int, config_path: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Take your proposal NUMBER back, as long as it is not decided.

    Example:  waggle unpropose 4 --config config.toml
    """
    lines = [f"take back    proposal {number}"]
    say(config_path, "unpropose", {"id": number}, lines, (as_json, yes, dry_run), "taken back")


@click.command()
@click.argument("number", type=click.IntRange(min=1))
@click.argument("answer", type=click.Choice(["yes", "no"]))
@acting
def vote(number: int, answer: str, config_path: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Vote yes or no on proposal NUMBER; it may be changed until the proposal is decided.

    Example:  waggle vote 4 yes --config config.toml
    """
    body = {"id": number, "yes": answer == "yes"}
    lines = [f"vote         {answer} on proposal {number} (`waggle gov status` shows it)"]
    say(config_path, "vote", body, lines, (as_json, yes, dry_run), f"voted {answer}")


@click.command()
@click.argument("payload")
@acting
def veto(payload: str, config_path: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Vote to cancel the payload PAYLOAD (as p7) while it waits for its time lock; a third of the seats is enough.

    Example:  waggle veto p7 --config config.toml
    """
    digits = payload.removeprefix("p")
    if not (digits.isascii() and digits.isdigit()):
        raise click.BadParameter(f"{payload!r} is no payload: `waggle pending` shows them, as p7")
    lines = [f"veto         payload p{digits}"]
    say(config_path, "veto", {"payload": int(digits)}, lines, (as_json, yes, dry_run), "vetoed")


def _propose(config_path: Path, found: list[Any], life: int, how: tuple[bool, bool, bool]) -> None:
    """Show what was understood, and send it. What the group would reject is said before anything is signed."""
    chain = load_genesis(load_config(config_path).genesis).chain
    lines = []
    for one in found:
        name = one[0] if isinstance(one, list) and one and isinstance(one[0], str) else "?"
        if name not in OFFERED:
            raise NodeError(f"{name}: a proposal cannot hold this: {', '.join(sorted(OFFERED))} it can")
        try:
            lines.append(f"do           {words(parse_operation(one, chain), chain)}")
        except HiveDataError as error:
            raise NodeError(f"{name}: {error}: write it as condenser_api does") from None
    body = {"ops": found, "expires": ahead(config_path, life)}
    say(config_path, "propose", body, [*lines, _until(body)], how, "proposed")


def _until(body: dict[str, Any]) -> str:
    return f"until        block {body['expires']}: then it ends undecided"
