"""`waggle keys backup` and `waggle keys restore`."""

import asyncio
from pathlib import Path

import click
import msgspec

from node.assembly import load_genesis, open_state
from node.cli.key_options import FILE, json_option, now, password_option, tell
from node.config import Config, load_config
from node.control import CONTROL, status
from node.errors import ConfigError, NodeError
from node.signer.backup import MOST_SEALED, OUTSIDE, About, backup, describe, files_of, restore, write_restored
from node.signer.passwords import source
from node.signer.private_files import read_private, write_new
from node.signer.service_config import ServiceConfig, is_service, load_service_config
from processors.genesis import Genesis
from state.errors import StateError, StoreLockedError
from state.store import LevelStore

_CONFIG = "config.toml of the node, or signer.toml of its signer."


@click.command("backup")
@click.argument("file", type=FILE)
@click.option("--config", "config_path", required=True, type=FILE, help=_CONFIG)
@password_option("the backup's own password")
@json_option
def backup_command(file: Path, config_path: Path, password: str, as_json: bool) -> None:
    """Write configuration, keys, journal, genesis and approvals into the new encrypted FILE, of a node or of a remote
    signer (with what it believes of the chain); it may be running.

    Keys stay encrypted inside: to use them again both passwords are needed, and neither is in the backup.

    Example:  waggle keys backup waggle.backup --config config.toml
    """
    asked = source(password)
    config = load_service_config(config_path) if is_service(config_path) else load_config(config_path)
    if file.exists() or file.is_symlink():
        raise ConfigError(f"{file} exists: a backup is never overwritten. Name a new file")
    genesis = load_genesis(config.genesis)
    files = files_of(config)
    about = About(config.account, genesis.group, genesis.hash.hex(), _height(config, genesis), now())
    write_new(file, backup(files, asked.read_new(str(file)), about))
    body = {"file": str(file), "files": sorted(files), "about": msgspec.to_builtins(about)}
    tell(body, f"written: {file}\n" + "\n".join(f"  {name}" for name in sorted(files)), as_json)
    click.echo("It is older than every signature that the node makes from now on: back up again after each.", err=True)


@click.command("restore")
@click.argument("file", type=FILE)
@click.option("--into", required=True, type=FILE, help="A folder that is new or empty.")
@password_option("the backup's password")
@json_option
def restore_command(file: Path, into: Path, password: str, as_json: bool) -> None:
    """Unpack the backup FILE into a new or empty folder. The old node must be stopped, for good.

    The journal is marked as restored: for a header lifetime of blocks the node signs with no key that was known before.

    Example:  waggle keys restore waggle.backup --into /etc/waggle
    """
    asked = source(password)
    raw = read_private(file, MOST_SEALED, "name the file that `waggle keys backup` wrote", refused=0)
    about = describe(raw)
    height = "at an unknown height" if about.height is None else f"at block {about.height}"
    click.echo(f"Backup of {about.account} in {about.group}, made {about.created} {height}.", err=True)
    files = restore(raw, asked.read(str(file)))
    written = [str(path) for path in write_restored(files, into)]
    body = {"into": str(into), "files": written, "about": msgspec.to_builtins(about)}
    tell(body, f"restored into {into}:\n" + "\n".join(f"  {path}" for path in written), as_json)
    for name in sorted(files):
        if name.startswith(f"{OUTSIDE}/"):
            click.echo(
                f"{name} was {name.removeprefix(OUTSIDE)}: move it there, or change the configuration.", err=True
            )


def _height(config: Config | ServiceConfig, genesis: Genesis) -> int | None:
    """The last block of the state, of a running node as it says itself; None where that is not known."""
    try:
        store = LevelStore(config.data / "state", genesis.hash, create=False)
    except StoreLockedError:
        return _of_the_running(config)
    except (StateError, OSError):
        return None
    try:
        return open_state(genesis, store).height
    except StateError:
        return None
    finally:
        store.close()


def _of_the_running(config: Config | ServiceConfig) -> int | None:
    if isinstance(config, ServiceConfig):
        return None  # a signer is asked by its node alone
    try:
        return asyncio.run(status(config.data / CONTROL)).height
    except NodeError:
        return None
