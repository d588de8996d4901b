"""`waggle init`: a folder with a configuration that works, the genesis document, and two encrypted keys."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import click
import msgspec

from node.assembly import load_genesis
from node.cli.key_options import FILE, asked_wif, json_option, now, password_option, tell, warn
from node.config import ApiConfig, load_config
from node.config_text import MAIN_CHAIN, PUBLIC_APIS, config_text
from node.errors import ConfigError, KeyFileError
from node.options import problems
from node.signer.keyfile import info_of, write_sealed
from node.signer.keys import SecretKey, load_keys, new_key
from node.signer.passwords import source
from node.signer.private_files import write_new
from processors.genesis import Genesis
from processors.hive.keys import public_key_to_text
from processors.hive.names import is_account_name
from state.store import sync_path

#: Bytes of a genesis document.
_MOST = 1 << 20
_SECONDS = 20.0


class _Wanted(msgspec.Struct, frozen=True):
    """What is to be written; ``password`` as the configuration says it."""

    folder: Path
    account: str
    genesis: Genesis
    document: bytes
    apis: tuple[ApiConfig, ...]
    password: str
    listen: str


@click.command()
@click.argument("folder", type=FILE, default=Path("waggle"), metavar="[DIR]")
@click.option("--account", help="Your Hive account.")
@click.option("--genesis", "genesis_place", help="The group's genesis document: a file, or an http or https URL.")
@click.option(
    "--api",
    "apis",
    nargs=2,
    multiple=True,
    metavar="URL OPERATOR",
    help="An API server and who runs it; name it again for each more. Without it, known public ones of Hive.",
)
@click.option(
    "--account-key", "wif_path", type=FILE, help="A file with the account's active key as WIF; else it is asked for."
)
@click.option("--listen", default="127.0.0.1:8095", show_default=True, help="Where the node's own HTTP listens.")
@password_option("the password of the new key files")
@json_option
def init(
    folder: Path,
    account: str | None,
    genesis_place: str | None,
    apis: tuple[tuple[str, str], ...],
    wif_path: Path | None,
    listen: str,
    password: str,
    as_json: bool,
) -> None:
    """Make the new folder DIR (default: waggle) with all that a node needs. Nothing is ever overwritten.

    Asks for what no option gives. The account key is brought in, the signing key is made here.

    Example:  waggle init /etc/waggle --account alice --genesis genesis.toml
    """
    asked = source(password)
    _check_folder(folder)
    account = account or _asked("--account", "Your Hive account")
    if not is_account_name(account):
        raise ConfigError(f"--account: {account!r} is no Hive account name: write yours")
    place = genesis_place or _asked("--genesis", "The group's genesis document (file or URL)")
    genesis, document = _genesis(place)
    servers = tuple(ApiConfig(url, operator) for url, operator in apis) or _usual_servers(genesis)
    written = f"file:{Path(asked.place).resolve()}" if asked.way == "file" else password
    wanted = _Wanted(folder, account, genesis, document, servers, written, listen)
    _check_config(wanted)
    key = _one_key(wif_path) if wif_path is not None else _asked_key(account)
    secret = asked.read_new("the new key files")
    signing = new_key()
    _write(wanted, {"account": key, "signing": signing}, secret)
    _tell(wanted, key, signing, as_json)
    if wif_path is not None:
        warn(f"{wif_path} still holds the account key in the clear: destroy it. Run: shred -u {wif_path}")


def _check_folder(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise ConfigError(f"{folder} is there, and not empty: nothing is overwritten. Name a new folder")
    if not folder.resolve().parent.is_dir():
        raise ConfigError(f"{folder.resolve().parent} is no folder: make it first")


def _genesis(place: str) -> tuple[Genesis, bytes]:
    """The checked genesis and its bytes. Raises ConfigError, GenesisError."""
    if place.startswith(("http://", "https://")):
        document = asyncio.run(_fetched(place))
    else:
        path = Path(place)
        try:
            with path.open("rb") as file:
                document = file.read(_MOST + 1)
        except OSError as error:
            raise ConfigError(f"--genesis: {path}: {error.strerror}: name the group's document") from None
    if len(document) > _MOST:
        raise ConfigError(f"--genesis: {place} has more than {_MOST} bytes: it is no genesis document")
    with tempfile.TemporaryDirectory(prefix="waggle-init-") as scratch:
        path = Path(scratch) / "genesis.toml"
        path.write_bytes(document)
        try:
            return load_genesis(path), document
        except ConfigError as error:
            raise ConfigError(f"--genesis: {str(error).replace(str(path), place)}: it is no genesis document") from None


async def _fetched(url: str) -> bytes:
    found = bytearray()
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS)) as session,
            session.get(url) as response,
        ):
            if response.status != 200:
                raise ConfigError(f"--genesis: {url} answered {response.status}: name the file instead")
            async for part in response.content.iter_chunked(1 << 16):
                found += part
                if len(found) > _MOST:
                    break
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        words = f"{type(error).__name__} {error}".rstrip()
        raise ConfigError(f"--genesis: {url}: {words}: name the file instead") from None
    return bytes(found)


def _usual_servers(genesis: Genesis) -> tuple[ApiConfig, ...]:
    """The public servers of Hive's main chain; of another chain they are asked for."""
    if genesis.chain.chain_id == MAIN_CHAIN:
        return tuple(ApiConfig(api.url, api.operator) for api in PUBLIC_APIS)
    found: list[ApiConfig] = []
    click.echo("This group is not on Hive's main chain: name its API servers, of at least two operators.", err=True)
    while True:
        url = _asked("--api URL OPERATOR", f"URL of API server {len(found) + 1} (empty = no more)", "")
        if not url:
            return tuple(found)
        found.append(ApiConfig(url, _asked("--api URL OPERATOR", "Its operator")))


def _check_config(wanted: _Wanted) -> None:
    """Raises ConfigError with everything that the configuration to be written would be refused for."""
    document = {
        "node": {"account": wanted.account, "genesis": "genesis.toml", "data": "data"},
        "keys": {"account": "account.key", "signing": "signing.key", "password": wanted.password},
        "api": [msgspec.to_builtins(api) for api in wanted.apis],
        "http": {"listen": wanted.listen},
    }
    wrong = problems(document)
    if wrong:
        raise ConfigError("the configuration would not work:\n" + "\n".join(f"  {line}" for line in wrong))


def _write(wanted: _Wanted, keys: dict[str, SecretKey], password: str) -> None:
    """All files in a folder beside the wanted one, which then takes its name: it is whole, or not there."""
    target = wanted.folder.resolve()
    try:
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".new", dir=target.parent))  # mode 0700
    except OSError as error:
        raise ConfigError(f"{target.parent}: {error.strerror}: name a place where this user may write") from None
    try:
        write_new(fresh / "genesis.toml", wanted.document)
        text = config_text(wanted.account, wanted.apis, password=wanted.password, listen=wanted.listen)
        write_new(fresh / "config.toml", text.encode())
        (fresh / "data").mkdir(mode=0o700)
        for role, key in keys.items():
            info = info_of(key, role, wanted.account, now(), wanted.genesis.chain.address_prefix)
            write_sealed(fresh / f"{role}.key", key, info, password)
        load_config(fresh / "config.toml")
        os.rename(fresh, target)  # over an empty folder, never over one with something in it
        sync_path(target.parent)
    except OSError as error:
        raise ConfigError(f"{target}: {error.strerror}: name a new folder") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _tell(wanted: _Wanted, account_key: SecretKey, signing: SecretKey, as_json: bool) -> None:
    prefix, config = wanted.genesis.chain.address_prefix, wanted.folder / "config.toml"
    steps = [
        f"compare the genesis hash {wanted.genesis.hash.hex()} with the other members",
        f"waggle doctor --config {config}",
        f"waggle run --config {config}, or the systemd unit in deploy/ (docs/operating.md)",
        f"waggle join --config {config} --domain https://YOUR-NODE",
        f"waggle keys backup BACKUP --config {config}, kept on another machine",
    ]
    body: dict[str, Any] = {
        "ok": True,
        "folder": str(wanted.folder),
        "config": str(config),
        "account": wanted.account,
        "group": wanted.genesis.group,
        "genesis_hash": wanted.genesis.hash.hex(),
        "account_key": public_key_to_text(account_key.public, prefix),
        "signing_key": public_key_to_text(signing.public, prefix),
        "apis": msgspec.to_builtins(wanted.apis),
        "next": steps,
    }
    lines = [
        f"made {wanted.folder} for {wanted.account} in {wanted.genesis.group}",
        f"  account key  {body['account_key']}  (compare it with the active key that a block explorer shows)",
        f"  signing key  {body['signing_key']}  (new)",
        f"  API servers  {_servers(wanted.apis)}",
        "Next:",
        *(f"  {number}. {step}" for number, step in enumerate(steps, 1)),
    ]
    tell(body, "\n".join(lines), as_json)


def _servers(apis: Sequence[ApiConfig]) -> str:
    return ", ".join(f"{api.url} ({api.operator})" for api in apis) + ": check them with waggle doctor"


def _asked(option: str, question: str, default: str | None = None) -> str:
    try:
        return str(click.prompt(question, default=default, show_default=False, err=True)).strip()
    except click.Abort:
        raise ConfigError(f"{option}: missing, and nobody answered: give it as an option") from None


def _asked_key(account: str) -> SecretKey:
    question = f"Active private key of {account} (WIF, it is not shown): "
    return asked_wif(question, "name a file that holds the WIF with --account-key")


def _one_key(path: Path) -> SecretKey:
    found = load_keys(path)
    if len(found) != 1:
        raise KeyFileError(f"{path} holds {len(found)} keys: leave the active key of the account alone in it")
    return found[0]
