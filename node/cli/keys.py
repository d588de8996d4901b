"""`waggle keys`: keys are made, brought in, proven. A private key or a password is never printed."""

import tomllib
from pathlib import Path

import click

from node.cli.key_options import FILE, asked_wif, json_option, now, password_option, prefix_option, tell, warn
from node.cli.keys_backup import backup_command, restore_command
from node.cli.keys_kept import change, check, export_public, list_command
from node.errors import ConfigError, KeyFileError
from node.signer.keyfile import ROLES, info_of, write_sealed
from node.signer.keys import SecretKey, key_from_password, load_keys, new_key, open_keys, write_key
from node.signer.passwords import Password, once, source
from node.signer.secret import HiddenText
from processors.genesis import genesis_hash, pop_digest
from processors.hive.keys import public_key_to_text
from processors.hive.names import is_account_name

_PLAIN_HELP = "Write plain WIF instead: for throw-away groups."


@click.group()
def keys() -> None:
    """Make, keep, check, back up and restore keys; prove possession of them."""


keys.add_command(list_command)
keys.add_command(export_public)
keys.add_command(check)
keys.add_command(change)
keys.add_command(backup_command)
keys.add_command(restore_command)


@keys.command()
@click.argument("path", type=FILE)
@click.option("--role", default="signing", show_default=True, type=click.Choice(ROLES), help="What the key is for.")
@click.option("--account", default="", help="The Hive account that it belongs to, noted in the file.")
@prefix_option
@password_option("the password of the new file")
@click.option("--plain-wif", is_flag=True, help=_PLAIN_HELP)
@json_option
def new(path: Path, role: str, account: str, prefix: str, password: str, plain_wif: bool, as_json: bool) -> None:
    """Make a key in the new encrypted file PATH (mode 0600) and print its public half.

    Example:  waggle keys new signing.key --account alice
    """
    keeper = _Keeper(path, role, account, prefix, source(password), plain_wif)
    tell(*keeper.keep(new_key()), as_json)


@keys.command("import")
@click.argument("path", type=FILE)
@click.option("--from", "wif_path", type=FILE, help="The file that holds the WIF; without it the WIF is asked for.")
@click.option("--role", default="signing", show_default=True, type=click.Choice(ROLES), help="What the key is for.")
@click.option("--account", default="", help="The Hive account that it belongs to, noted in the file.")
@prefix_option
@password_option("the password of the new file")
@json_option
def import_command(
    path: Path, wif_path: Path | None, role: str, account: str, prefix: str, password: str, as_json: bool
) -> None:
    """Bring a private key in WIF form into the new encrypted file PATH (mode 0600) and print its public half.

    Example:  waggle keys import signing.key --from signing.wif
    """
    keeper = _Keeper(path, role, account, prefix, source(password), is_plain=False)
    if wif_path is None:
        key = asked_wif("Private key (WIF): ", "name the file that holds the WIF with --from")
    else:
        key = _one_key(wif_path)
    tell(*keeper.keep(key), as_json)
    warn("whoever has seen the WIF has the key, whatever its file is now. A key made here was never outside")
    if wif_path is not None:
        warn(f"{wif_path} still holds the key in the clear: destroy it, and every copy. Run: shred -u {wif_path}")


@keys.command()
@click.argument("path", type=FILE)
@click.option("--account", required=True, help="The Hive account.")
@click.option(
    "--role", default="active", show_default=True, type=click.Choice(["owner", "active", "posting"]), help="Which key."
)
@click.option("--for", "use", default="account", show_default=True, type=click.Choice(ROLES), help="What it is for.")
@prefix_option
@password_option("the password of the new file")
@click.option("--plain-wif", is_flag=True, help=_PLAIN_HELP)
@json_option
def derive(
    path: Path, account: str, role: str, use: str, prefix: str, password: str, plain_wif: bool, as_json: bool
) -> None:
    """Derive a key from the account's master password, which is asked for, into the new encrypted file PATH.

    Example:  waggle keys derive account.key --account alice --role active
    """
    keeper = _Keeper(path, use, account, prefix, source(password), plain_wif)
    master = HiddenText(click.prompt(f"Master password of {account}", hide_input=True, err=True))
    tell(*keeper.keep(key_from_password(account, role, master)), as_json)
    click.echo(f"Compare it with the {role} key that a block explorer shows for {account}.", err=True)


@keys.command()
@click.argument("path", type=FILE)
@click.option("--genesis", "genesis_path", required=True, type=FILE, help="The genesis document (pops may be missing).")
@click.option("--account", required=True, help="The member's Hive account.")
@password_option("the password of the file")
@json_option
def pop(path: Path, genesis_path: Path, account: str, password: str, as_json: bool) -> None:
    """Prove possession of the signing key in PATH to a group: print the proof for its genesis or for node_add.

    Example:  waggle keys pop signing.key --genesis genesis.toml --account alice
    """
    try:
        document = tomllib.loads(genesis_path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{genesis_path}: {error}") from error
    hashed = genesis_hash(document)
    key = open_keys([path], once(source(password), str(path))).keys[0]
    proof = key.sign(pop_digest(hashed, account)).hex()
    text = public_key_to_text(key.public, str(document.get("address_prefix", "STM")))
    body = {"account": account, "signing_key": text, "pop": proof, "genesis_hash": hashed.hex()}
    tell(body, "\n".join(f'{name} = "{value}"' for name, value in body.items()), as_json)


class _Keeper:
    """Where a key is to be written, and how; all that can be wrong is found before anything secret is asked for."""

    def __init__(self, path: Path, role: str, account: str, prefix: str, password: Password, is_plain: bool) -> None:
        if account and not is_account_name(account):
            raise ConfigError(f"--account: {account!r} is no Hive account name")
        if not (len(prefix) == 3 and prefix.isascii() and prefix.isalpha() and prefix.isupper()):
            raise ConfigError(f"--prefix: {prefix!r} is not three capitals like STM")
        if path.exists() or path.is_symlink():
            raise KeyFileError(f"{path} exists: a key is never overwritten. Name a new file")
        self._path, self._password, self._is_plain = path, password, is_plain
        self._role, self._account, self._prefix = role, account, prefix

    def keep(self, key: SecretKey) -> tuple[dict[str, str], str]:
        """Write the key; what is told of it, for machines and for people."""
        if self._is_plain:
            write_key(self._path, key)
            warn(f"{self._path} is not encrypted: whoever copies it has the key")
        else:
            info = info_of(key, self._role, self._account, now(), self._prefix)
            write_sealed(self._path, key, info, self._password.read_new(str(self._path)))
        text = public_key_to_text(key.public, self._prefix)
        return {"path": str(self._path), "public_key": text}, text


def _one_key(path: Path) -> SecretKey:
    found = load_keys(path)
    if len(found) != 1:
        raise KeyFileError(
            f"{path} holds {len(found)} keys: an encrypted file holds one. Put each into a file of its own"
        )
    return found[0]
