"""What the commands of `waggle keys` share: options, the time, and how a result is told."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from node.errors import KeyFileError
from node.signer.keys import SecretKey, parse_wif
from node.signer.passwords import ask_hidden

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)
_WAYS = "prompt, file:PATH or credential:NAME (systemd). Never the password itself."


def json_option(function: F) -> F:
    """--json"""
    return click.option("--json", "as_json", is_flag=True, help="For machines.")(function)


def prefix_option(function: F) -> F:
    """--prefix"""
    return click.option("--prefix", default="STM", show_default=True, help="Address prefix of the chain.")(function)


def password_option(what: str, name: str = "--password") -> Callable[[F], F]:
    """--password: where the password comes from."""
    return click.option(name, default="prompt", show_default=True, help=f"Where {what} comes from: {_WAYS}")


def asked_wif(question: str, remedy: str) -> SecretKey:
    """A private key that is typed and not shown. Raises KeyFileError, with ``remedy`` where nobody can type."""
    key = parse_wif(ask_hidden(question, remedy).strip())
    if key is None:
        raise KeyFileError(
            "that is no private key in WIF form: nothing was written. It begins with 5 and has 51 letters"
        )
    return key


def now() -> str:
    """The time as key files and backups say it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def tell(body: dict[str, Any], text: str, as_json: bool) -> None:
    """The result: for machines or for people."""
    click.echo(json.dumps(body) if as_json else text)


def warn(text: str) -> None:
    """What a person should know; never in the way of a machine."""
    click.echo(f"Warning: {text}", err=True)
