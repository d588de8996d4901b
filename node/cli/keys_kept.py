"""`waggle keys`: what becomes of keys that are there: listed, shown by their public half, checked, sealed anew."""

import stat
import sys
from pathlib import Path

import click

from node.cli.key_options import FILE, json_option, password_option, prefix_option, tell
from node.config import load_config
from node.errors import ConfigError, KeyFileError
from node.signer.keyfile import change_password, open_sealed, read_info
from node.signer.keys import Listed, look_at, open_keys
from node.signer.passwords import once, source
from processors.hive.keys import public_key_to_text


@click.command("list")
@click.argument("folder", type=FILE, required=False)
@click.option("--config", "config_path", type=FILE, help="The keys of this configuration instead of those of a folder.")
@prefix_option
@json_option
def list_command(folder: Path | None, config_path: Path | None, prefix: str, as_json: bool) -> None:
    """List the key files of FOLDER (default: here): role, account, public key, mode. Exit 1 if a node refuses one.

    Example:  waggle keys list --config config.toml
    """
    if folder is not None and config_path is not None:
        raise ConfigError("name a folder or --config, not both")
    found = _of_folder(folder or Path(), prefix) if config_path is None else _of_config(config_path, prefix)
    body = {"keys": [_shown(one) for one in found]}
    tell(body, "\n".join(map(_line, found)) or "no key files here", as_json)
    if any(one.problem for one in found):
        sys.exit(1)


@click.command("export-public")
@click.argument("path", type=FILE)
@prefix_option
@json_option
def export_public(path: Path, prefix: str, as_json: bool) -> None:
    """Print the public half of the key in PATH; no password is needed. `waggle keys check` proves that it is right.

    Example:  waggle keys export-public signing.key
    """
    found = look_at(path, prefix)
    if found is None or not found.public_keys:
        raise KeyFileError(found.problem if found else f"{path} holds no key: name a key file")
    tell({"path": str(path), "public_keys": list(found.public_keys)}, "\n".join(found.public_keys), as_json)


@click.command()
@click.argument("path", type=FILE)
@prefix_option
@password_option("the password of the file")
@json_option
def check(path: Path, prefix: str, password: str, as_json: bool) -> None:
    """Open the key file PATH as a node does. Exit 1 says why it cannot.

    Example:  waggle keys check signing.key
    """
    opened = open_keys([path], once(source(password), str(path)))
    is_plain = bool(opened.plain)
    prefix = prefix if is_plain else read_info(path).public_key[:3]
    public = [public_key_to_text(key.public, prefix) for key in opened.keys]
    how = "plain WIF, encrypt it with `waggle keys import`" if is_plain else "the password opens it"
    body = {"path": str(path), "ok": True, "encrypted": not is_plain, "public_keys": public}
    tell(body, f"good: {path}: {how}: {', '.join(public)}", as_json)


@click.command("change-password")
@click.argument("path", type=FILE)
@password_option("the present password")
@password_option("the new password", "--new-password")
@json_option
def change(path: Path, password: str, new_password: str, as_json: bool) -> None:
    """Seal the key file PATH under another password. It is replaced as one atom: there is no moment without a key.

    Example:  waggle keys change-password signing.key
    """
    old, new = source(password), source(new_password)
    found = look_at(path)
    if found is None or not found.encrypted:
        raise KeyFileError(f"{path} is not encrypted: make an encrypted one with: waggle keys import NEW --from {path}")
    present = old.read(str(path))
    open_sealed(path, present)  # a wrong one is told before a new one is asked for
    info = change_password(path, present, new.read_new(str(path)))
    tell({"path": str(path), "public_key": info.public_key}, f"changed: {path} ({info.public_key})", as_json)
    click.echo(
        "The old password still opens old copies and backups. A node opens all its key files with one password: "
        "change the others too.",
        err=True,
    )


def _of_folder(folder: Path, prefix: str) -> list[Listed]:
    try:
        paths = sorted(path for path in folder.iterdir() if stat.S_ISREG(path.lstat().st_mode))
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}: name a folder with key files") from None
    found = []
    for path in paths:
        try:
            found.append(look_at(path, prefix))
        except KeyFileError:  # too large, or not ours to read: whatever it is, no key of this node
            continue
    return [one for one in found if one is not None]


def _of_config(config_path: Path, prefix: str) -> list[Listed]:
    config = load_config(config_path)
    found = []
    for path in (config.account_key, *config.signing_keys):
        try:
            one = look_at(path, prefix) or Listed(path, False, "", "", (), 0, "it holds no key")
        except KeyFileError as error:
            one = Listed(path, False, "", "", (), 0, str(error))
        found.append(one)
    return found


def _shown(one: Listed) -> dict[str, object]:
    return {
        "path": str(one.path),
        "encrypted": one.encrypted,
        "role": one.role,
        "account": one.account,
        "public_keys": list(one.public_keys),
        "mode": f"{one.mode:04o}",
        "problem": one.problem,
    }


def _line(one: Listed) -> str:
    kind = "encrypted" if one.encrypted else "plain WIF"
    words = [str(one.path), f"{one.mode:04o}", kind, one.role or "-", one.account or "-", *one.public_keys]
    return "  ".join(words) + (f"\n  problem: {one.problem}" if one.problem else "")
