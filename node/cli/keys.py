"""`waggle keys`: new keys and proofs of possession. A private key is never printed."""

import json
import tomllib
from pathlib import Path

import click

from node.errors import ConfigError
from node.signer.keys import key_from_password, load_keys, new_key, write_key
from processors.genesis import genesis_hash, pop_digest
from processors.hive.keys import public_key_to_text

_PATH = click.Path(path_type=Path)


@click.group()
def keys() -> None:
    """Make keys and proofs of possession."""


@keys.command()
@click.argument("path", type=_PATH)
@click.option("--prefix", default="STM", show_default=True, help="Address prefix of the chain.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def new(path: Path, prefix: str, as_json: bool) -> None:
    """Make a key in the new file PATH (mode 0600) and print its public half.

    Example:  waggle keys new signing.wif
    """
    key = new_key()
    write_key(path, key)
    text = public_key_to_text(key.public, prefix)
    click.echo(json.dumps({"path": str(path), "public_key": text}) if as_json else text)


@keys.command()
@click.argument("path", type=_PATH)
@click.option("--account", required=True, help="The Hive account.")
@click.option(
    "--role", default="active", show_default=True, type=click.Choice(["owner", "active", "posting"]), help="Which key."
)
@click.option("--prefix", default="STM", show_default=True, help="Address prefix of the chain.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def derive(path: Path, account: str, role: str, prefix: str, as_json: bool) -> None:
    """Derive a key from the account's master password, which is asked for, into the new file PATH (mode 0600).

    Example:  waggle keys derive account.wif --account alice --role active
    """
    password = click.prompt(f"Master password of {account}", hide_input=True, err=True)
    key = key_from_password(account, role, password)
    write_key(path, key)
    text = public_key_to_text(key.public, prefix)
    click.echo(json.dumps({"path": str(path), "public_key": text}) if as_json else text)
    click.echo(f"Compare it with the {role} key that a block explorer shows for {account}.", err=True)


@keys.command()
@click.argument("path", type=_PATH)
@click.option(
    "--genesis", "genesis_path", required=True, type=_PATH, help="The genesis document (pops may be missing)."
)
@click.option("--account", required=True, help="The member's Hive account.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def pop(path: Path, genesis_path: Path, account: str, as_json: bool) -> None:
    """Prove possession of the signing key in PATH to a group: print the proof for its genesis or for node_add.

    Example:  waggle keys pop signing.wif --genesis genesis.toml --account alice
    """
    try:
        document = tomllib.loads(genesis_path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{genesis_path}: {error}") from error
    hashed = genesis_hash(document)
    key = load_keys(path)[0]
    proof = key.sign(pop_digest(hashed, account)).hex()
    text = public_key_to_text(key.public, str(document.get("address_prefix", "STM")))
    body = {"account": account, "signing_key": text, "pop": proof, "genesis_hash": hashed.hex()}
    click.echo(json.dumps(body) if as_json else "\n".join(f'{name} = "{value}"' for name, value in body.items()))
