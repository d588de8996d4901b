"""Where the journal and the approvals lie that a command is about: with a node, or with its remote signer."""

from pathlib import Path

import click
import msgspec

from node.assembly import load_genesis
from node.cli.key_options import FILE
from node.config import load_config
from node.errors import ConfigError, JournalError
from node.signer.approvals import Approvals
from node.signer.service_config import is_service, load_service_config
from processors.genesis import Genesis

config_option = click.option(
    "--config", "config_path", required=True, type=FILE, help="config.toml of the node, or signer.toml of its signer."
)


class Place(msgspec.Struct, frozen=True):
    """Where a journal lies, and whose it is."""

    data: Path
    genesis: Genesis
    approvals: Path


def place_of(config_path: Path) -> Place:
    """Of a node's configuration or a signer's. Raises ConfigError."""
    config = load_service_config(config_path) if is_service(config_path) else load_config(config_path)
    if not is_service(config_path) and not load_config(config_path).signing_keys:
        raise ConfigError(f"{config_path}: the journal is with the remote signer: name its signer.toml, on its machine")
    return Place(config.data, load_genesis(config.genesis), config.data / "approvals")


def add_word(place: Place, word: str) -> None:
    """Confirm ``word`` there. Raises JournalError."""
    try:
        Approvals(place.approvals).add(word)
    except OSError as error:
        raise JournalError(f"{place.approvals}: {error.strerror}: run this as the user of the node") from None
