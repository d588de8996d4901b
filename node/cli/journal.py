"""`waggle journal`: what a signer has signed, moved and confirmed by its operator.

The configuration may be a node's (config.toml) or that of a remote signer (signer.toml): whoever holds the journal.
"""

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from node.cli.key_options import FILE, json_option, tell
from node.cli.opened import held
from node.cli.whose import Place, add_word, config_option, place_of
from node.errors import ConfigError, JournalError
from node.files import Disk
from node.signer.approvals import Approvals, confirmation
from node.signer.journal import Born, Journal
from node.signer.private_files import read_private, write_new
from processors.hive.times import time_to_text

_MOST_BYTES = 64 << 20


@click.group()
def journal() -> None:
    """The signing journal: what was signed, so that nothing is ever signed twice.

    Example:  waggle journal show --config config.toml
    """


@journal.command("show")
@config_option
@json_option
def show(config_path: Path, as_json: bool) -> None:
    """Show what was signed and since when the journal stands here; the node may be running.

    Example:  waggle journal show --config config.toml
    """
    place = place_of(config_path)
    found = _peek(place)
    body: dict[str, Any] = {
        "path": str(place.data / "journal"),
        "genesis": place.genesis.hash.hex(),
        "born": msgspec.to_builtins(found.born) if found.born is not None else None,
        "is_moved": found.is_moved,
        "confirmed": _is_confirmed(place, found.born),
        "held_until": _held_until(place, found),
        "entries": [msgspec.to_builtins(entry) for entry in found.all_entries()],
    }
    tell(body, "\n".join([*_about(body), *map(_line, body["entries"])]), as_json)


@journal.command("export")
@click.argument("file", type=FILE)
@config_option
@json_option
def export(file: Path, config_path: Path, as_json: bool) -> None:
    """Write every signature into the new FILE, for another machine. The node must be stopped, and stay so.

    Example:  waggle journal export journal.lines --config config.toml
    """
    place = place_of(config_path)
    with held(place.data / "state"):
        found = _peek(place)
        lines = found.lines()
    write_new(file, "".join(f"{line}\n" for line in lines).encode())
    tell({"file": str(file), "signatures": len(lines)}, f"written: {file}: {len(lines)} signatures", as_json)
    click.echo("This machine must not sign with these keys again: its journal would not know the other's.", err=True)


@journal.command("import")
@click.argument("file", type=FILE)
@config_option
@json_option
def import_command(file: Path, config_path: Path, as_json: bool) -> None:
    """Take over the signatures in FILE. The node of this configuration must be stopped. Nothing is ever forgotten.

    What was signed after the export is not in it. So old keys are held back here for a header lifetime of blocks, or
    until `waggle journal confirm`.

    Example:  waggle journal import journal.lines --config config.toml
    """
    place = place_of(config_path)
    raw = read_private(file, _MOST_BYTES, "name the file that `waggle journal export` wrote", refused=0)
    try:
        lines = raw.decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise JournalError(f"{file} is no export of a journal") from None
    with held(place.data / "state"):
        new = Journal(place.data / "journal", place.genesis.hash).merge(lines)
    words = f"taken over: {new} new signatures of {len(lines)}"
    tell({"file": str(file), "signatures": len(lines), "new": new}, words, as_json)


@journal.command("confirm")
@config_option
@click.option("--yes", is_flag=True, help="The answer to the question.")
@json_option
def confirm(config_path: Path, yes: bool, as_json: bool) -> None:
    """Say that no other journal knows more than this one, so that old keys sign again at once; the node may be running.

    Example:  waggle journal confirm --config config.toml
    """
    place = place_of(config_path)
    found = _peek(place)
    if found.is_moved or found.born is None:
        raise JournalError("the journal has not begun here yet: start the node, wait until it is live, then confirm")
    if not _held_until(place, found):
        tell({"confirmed": True, "new": False}, "nothing is held back", as_json)
        return
    _ask(
        yes,
        f"The journal stands here since block {found.born.height} and knows {len(found.all_entries())} signatures.\n"
        "If these keys signed anything that is not in it, confirming can make this node sign the same payment twice.\n"
        "Is every other machine that held these keys stopped for good, and its last journal imported here?",
    )
    add_word(place, confirmation(found.born))
    tell({"confirmed": True, "new": True}, f"confirmed: the journal since block {found.born.height}", as_json)


def _peek(place: Place) -> Journal:
    """The journal, to read: nothing is written, whoever writes it meanwhile."""
    return Journal(place.data / "journal", place.genesis.hash, _Reading())


class _Reading(Disk):
    """Files that are only read."""

    def append(self, path: Path, data: bytes) -> None:
        """Nothing is written."""

    def cut(self, path: Path, size: int) -> None:
        """Nothing is mended."""

    def replace(self, path: Path, data: bytes) -> None:
        """Nothing is replaced."""

    def remove(self, path: Path) -> None:
        """Nothing is removed."""


def _is_confirmed(place: Place, born: Born | None) -> bool:
    return born is not None and Approvals(place.approvals).has(confirmation(born))


def _held_until(place: Place, found: Journal) -> int:
    """The block time until which a key that was seen here is held back; 0 = none is. Whether it is over, the chain's
    time tells, which is not asked for here."""
    if found.born is None or _is_confirmed(place, found.born):
        return 0
    return max(map(found.held_until, found.known_keys), default=found.born.until)


def _ask(yes: bool, question: str) -> None:
    if yes:
        return
    click.echo(question, err=True)
    if not sys.stdin.isatty() or not click.confirm("Confirm?", default=False, err=True):
        raise ConfigError("not confirmed: nothing was changed (--yes answers for a script)")


def _about(body: dict[str, Any]) -> list[str]:
    born = body["born"]
    lines = [f"journal: {body['path']}", f"signatures: {len(body['entries'])}"]
    if body["is_moved"]:
        lines.append("an old copy, or moved: old keys are held back from the next block on")
    elif born is None:
        lines.append("not begun yet: it begins when the node is live")
    else:
        until = body["held_until"]
        held = f"old keys are held back until block time {until} ({_utc(until)})" if until else "nothing is held back"
        lines.append(f"stands here since block {born['height']}, {held}{' (confirmed)' if body['confirmed'] else ''}")
    return lines


def _utc(seconds: int) -> str:
    return f"{time_to_text(seconds)} UTC" if seconds < 1 << 32 else "far away"


def _line(entry: dict[str, Any]) -> str:
    paid = f"  {entry['amount']} {entry['asset']}" if entry["amount"] else ""
    return f"  p{entry['payload']}  {entry['op']}  {entry['txid']}  dead at {entry['expiration']}{paid}"
