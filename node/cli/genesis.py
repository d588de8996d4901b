"""`waggle genesis`: begin a group, check a document, print its hash."""

import json
import tomllib
from pathlib import Path

import click

from node.assembly import load_genesis
from node.errors import ConfigError
from node.genesis_text import template
from processors.genesis import genesis_hash
from processors.hive.errors import HiveDataError
from processors.hive.keys import public_key_from_text
from processors.hive.names import is_account_name
from processors.params import Params

_PATH = click.Path(path_type=Path)


@click.group()
def genesis() -> None:
    """Write, check and hash a group's genesis document."""


@genesis.command()
@click.argument("path", type=_PATH)
@click.option("--group", required=True, help="The Hive account that the group will hold.")
@click.option("--start-block", required=True, type=int, help="A multiple of round_length (100), in the future.")
@click.option("--founder", required=True, help="The runner whose signing key is in the account's active authority.")
@click.option("--founder-key", required=True, help="That signing key, as STM...")
@click.option("--testnet", is_flag=True, help="TESTS and TBD, prefix TST, and a chain id to fill in.")
def new(path: Path, group: str, start_block: int, founder: str, founder_key: str, testnet: bool) -> None:
    """Write a document with every key explained to the new file PATH.

    Example:  waggle genesis new genesis.toml --group my-group --start-block 101000000 --founder alice
    --founder-key STM6...
    """
    if path.exists():
        raise ConfigError(f"{path} exists: name a new file")
    wrong = [f"{name!r} is no Hive account name" for name in (group, founder) if not is_account_name(name)]
    if start_block <= 0 or start_block % Params().round_length:
        wrong.append(f"--start-block: a positive multiple of round_length {Params().round_length}")
    try:
        public_key_from_text(founder_key, "TST" if testnet else "STM")
    except HiveDataError as error:
        wrong.append(f"--founder-key: {error}")
    if wrong:
        raise ConfigError("; ".join(wrong))
    try:
        path.write_text(template(group, start_block, founder, founder_key, testnet=testnet))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    click.echo(f"{path}: fill in the runners and their collateral, then: waggle keys pop, waggle genesis check {path}")


@genesis.command()
@click.argument("path", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def check(path: Path, as_json: bool) -> None:
    """Check a document; exit 1 lists everything that is wrong with it.

    Example:  waggle genesis check genesis.toml
    """
    found = load_genesis(path)
    facts = {
        "ok": True,
        "hash": found.hash.hex(),
        "group": found.group,
        "start_block": found.start_block,
        "runners": [runner.account for runner in found.runners],
        "founders": list(found.founders),
        "min_signers": found.params.min_signers,
    }
    if as_json:
        click.echo(json.dumps(facts))
        return
    click.echo(f"good: {found.group}, {len(found.runners)} runners, begins after block {found.start_block}")
    click.echo(f"hash: {found.hash.hex()}")
    if len(found.runners) < found.params.min_signers:
        click.echo(
            f"note: with fewer than {found.params.min_signers} runners the account stays on the founder's key "
            f"({', '.join(found.founders)}) until more have joined"
        )


@genesis.command("hash")
@click.argument("path", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def hash_command(path: Path, as_json: bool) -> None:
    """Print the genesis hash; proofs of possession may still be missing.

    Example:  waggle genesis hash genesis.toml
    """
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    found = genesis_hash(document).hex()
    click.echo(json.dumps({"hash": found}) if as_json else found)
