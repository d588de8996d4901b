"""`waggle archive`: the blocks of the chain in a folder, for whoever checks a group and runs no node."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from node.assembly import load_genesis
from node.cli.archive_text import api_of, looked, report_of, told
from node.cli.key_options import FILE, json_option, tell, warn
from node.cli.opened import disk_errors
from node.cli.progress import progress
from node.config import ApiConfig, load_config
from node.feed.archive import Archive
from node.history.workers import cores
from processors.hive.chain import MAINNET, Chain

if TYPE_CHECKING:
    from node.history.fetching import Fetched
    from node.history.importing import Asked, Imported

F = TypeVar("F", bound=Callable[..., Any])
_NUMBER = click.IntRange(min=1, max=(1 << 32) - 1)
_BUFFER_MB = 64


class Chosen(msgspec.Struct, frozen=True):
    """Which chain, and who is asked for its blocks."""

    chain: Chain
    apis: tuple[ApiConfig, ...] = ()
    buffer: int = _BUFFER_MB << 20
    prove_ahead: bool = True


@click.group()
def archive() -> None:
    """Fetch, import, verify and show an archive of blocks, from which `waggle replay` rebuilds a group's history."""


def _archive_option(function: F) -> F:
    return click.option("--archive", "folder", required=True, type=FILE, help="The folder of the archive.")(function)


def _span_options(function: F) -> F:
    function = click.option("--to", "last", type=_NUMBER, help="The last block.")(function)
    return click.option("--from", "first", type=_NUMBER, help="The first block.")(function)


def _chain_options(function: F) -> F:
    function = click.option("--config", "config_path", type=FILE, help="Take the chain from a node's configuration.")(
        function
    )
    return click.option("--genesis", "genesis_path", type=FILE, help="A group's genesis document: its chain.")(function)


def _jobs_option(function: F) -> F:
    words = "Processes that check; as many as there are cores if not given."
    return click.option("--jobs", type=click.IntRange(min=1, max=256), default=cores, help=words)(function)


@archive.command("fetch")
@_archive_option
@_span_options
@_chain_options
@click.option("--api", "apis", multiple=True, metavar="[OPERATOR=]URL", help="A server to ask; name several.")
@json_option
def fetch_command(
    folder: Path,
    first: int | None,
    last: int | None,
    config_path: Path | None,
    genesis_path: Path | None,
    apis: tuple[str, ...],
    as_json: bool,
) -> None:
    """Fetch irreversible blocks from several servers, each block proven; goes on behind what is there.

    Without --from an archive goes on where it ends; without --to it is fetched up to the newest irreversible block.
    Ctrl-C ends it, what came is kept. Exit 0: all is there. 1: not, and it is said why. 130, 143: stopped.

    Example:  waggle archive fetch --archive blocks --from 101000000 --api https://api.hive.blog --api
    https://api.deathwing.me
    """
    if (config_path is None) == (not apis):
        raise click.UsageError("name the servers: --api URL, several times, or --config with [[api]] in it")
    chosen = _chosen(genesis_path, config_path, tuple(map(api_of, apis)))
    if len({api.operator for api in chosen.apis}) < 2:
        warn("one operator alone is believed about what is irreversible: name servers of several")
    with disk_errors(folder), Archive.open(folder, write=True) as opened:
        found, number = asyncio.run(_fetch(opened, chosen, first, last, as_json))
    held = f"{folder} holds the blocks {found.first} to {found.last}" if found.last else f"{folder} holds no block"
    words = f"{held}, {found.new} of them new"
    if found.confirmed:
        words += "; two operators have the last one"
    if found.stopped:
        words += f"\nstopped: go on with the same command, `waggle archive fetch --archive {folder} ...`"
    tell(msgspec.to_builtins(found), words, as_json)
    sys.exit(128 + number if found.stopped else 0)


async def _fetch(
    opened: Archive, chosen: Chosen, first: int | None, last: int | None, as_json: bool
) -> tuple["Fetched", int]:
    """What came, and the signal that ended it, or 0."""
    from node.history.fetching import Fetched, Fetcher, sources

    stop, got = asyncio.Event(), [0]

    def end(number: int) -> None:
        got[0] = number
        stop.set()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    wires = sources(chosen.apis, chosen.chain, told, buffer=chosen.buffer, prove_ahead=chosen.prove_ahead)
    async with wires as (feed, second):
        fetcher = Fetcher(opened, feed, second, chosen.chain, told)
        plan = await fetcher.plan(first, last, stop)
        if plan is None:
            return Fetched(opened.first, opened.last, 0, False, 0, True), got[0]
        with progress("fetching", plan.count, quiet=as_json) as fetcher.advance:
            return await fetcher.fetch(plan, stop), got[0]


@archive.command("verify")
@_archive_option
@_span_options
@_chain_options
@click.option("--quick", is_flag=True, help="Links, ids and digests only: no Merkle roots, no signatures.")
@_jobs_option
@json_option
def verify_command(
    folder: Path,
    first: int | None,
    last: int | None,
    config_path: Path | None,
    genesis_path: Path | None,
    quick: bool,
    jobs: int,
    as_json: bool,
) -> None:
    """Verify every block: digests, links, ids, Merkle roots, and that its witness signed it.

    A witness's key is taken from its first block, and changes by nothing but its own operations. Exit 0: all is good.
    1: the first bad blocks are named, with what to do. 130, 143: stopped.

    Example:  waggle archive verify --archive blocks
    """
    from node.history import verifying

    chain = _chosen(genesis_path, config_path).chain
    asked = verifying.Asked(folder, chain, first, last, quick, jobs)
    begin, end = verifying.span_of(folder)
    total = max(0, (end if last is None else last) - (begin if first is None else first) + 1)
    with _stopping() as got, progress("verifying", total, quiet=as_json) as advance:
        found = verifying.verify(asked, advance, lambda: bool(got))
    body, words = report_of(asked, found)
    tell(body, words, as_json)
    sys.exit(128 + got[0] if found.good and found.stopped else 0 if found.good else 1)


@archive.command("import")
@_archive_option
@click.argument("files", nargs=-1, type=FILE)
@click.option("--block-log", "log_path", type=FILE, help="hived's own block_log, or the folder of its parts.")
@click.option("--dictionaries", type=FILE, help="The folder of hived's zstd dictionaries, for --block-log.")
@_span_options
@_chain_options
@_jobs_option
@json_option
def import_command(
    folder: Path,
    files: tuple[Path, ...],
    log_path: Path | None,
    dictionaries: Path | None,
    first: int | None,
    last: int | None,
    config_path: Path | None,
    genesis_path: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Add blocks that somebody saved: answers to get_block_range, a block on each line, or hived's block_log.

    The files may be packed (.gz, .zst) and named in any order. Each block is proven, and follows the one before.
    Exit 0: all are there. 1: not, and it is said why; what came before is kept. 130, 143: stopped.

    Example:  waggle archive import --archive blocks saved-*.json.zst
    """
    from node.history import importing

    if bool(files) == (log_path is not None):
        raise click.UsageError("name files with blocks, or --block-log PATH")
    chain = _chosen(genesis_path, config_path).chain
    asked = importing.Asked(chain, first, last, jobs)
    with disk_errors(folder), Archive.open(folder, write=True) as opened, _stopping() as got:
        if log_path is not None:
            found = _import_log(opened, asked, log_path, dictionaries, got, as_json)
        else:
            found = _import_files(opened, asked, files, got, as_json)
    span = f"the blocks {found.first} to {found.last}" if found.last else "no block"
    words = f"{folder} holds {span}, {found.new} of them new; {found.skipped} were there before, or not asked for"
    if found.stopped:
        words += "\nstopped: what came is kept, go on with the same command"
    tell(msgspec.to_builtins(found), words, as_json)
    sys.exit(128 + got[0] if found.stopped else 0)


def _import_files(
    opened: Archive, asked: "Asked", files: tuple[Path, ...], got: list[int], as_json: bool
) -> "Imported":
    from node.history import importing

    size = sum(path.stat().st_size for path in files if path.exists())
    if size < importing.FEW_BYTES:
        asked = msgspec.structs.replace(asked, jobs=1)
    with progress("importing", size >> 10, quiet=as_json, unit="KiB") as advance:
        saved = importing.sources_of(files, asked.chain, lambda read: advance(read >> 10))
        return importing.Importer(opened, asked, lambda done: None, lambda: bool(got)).take(saved)


def _import_log(
    opened: Archive, asked: "Asked", path: Path, dictionaries: Path | None, got: list[int], as_json: bool
) -> "Imported":
    from node.history import importing

    wanted = asked if opened.last is None else msgspec.structs.replace(asked, first=opened.last + 1)
    with (
        importing.block_log(path, asked.chain, dictionaries, wanted) as (source, total),
        progress("importing", total, quiet=as_json) as advance,
    ):
        return importing.Importer(opened, asked, advance, lambda: bool(got)).take([source])


@archive.command("show")
@_archive_option
@click.option("--block", "number", type=_NUMBER, help="Show this block, as JSON.")
@json_option
def show_command(folder: Path, number: int | None, as_json: bool) -> None:
    """Show what an archive holds, or one block of it.

    Exit 0: shown. 1: it cannot be, and it is said why.

    Example:  waggle archive show --archive blocks --block 101000000
    """
    if number is None:
        tell(*looked(folder), as_json)
        return
    [text] = Archive.open(folder).read(number, number)
    try:
        shown = text if as_json else json.dumps(msgspec.json.decode(text), indent=2, ensure_ascii=False).encode()
    except (msgspec.MsgspecError, UnicodeDecodeError, UnicodeEncodeError):
        shown = text  # an old block with a string that is not UTF-8
    click.echo(shown)


def _chosen(genesis: Path | None, config: Path | None, apis: tuple[ApiConfig, ...] = ()) -> Chosen:
    """The chain and the servers of what was named; the main chain if nothing is. Raises ConfigError, GenesisError."""
    if config is not None and genesis is not None:
        raise click.UsageError("--config names a genesis document already: leave --genesis out")
    if config is not None:
        found = load_config(config)
        chain = load_genesis(found.genesis).chain
        return Chosen(chain, found.apis, found.feed.buffer_mb << 20, found.feed.prove_ahead)
    chain = load_genesis(genesis).chain if genesis is not None else MAINNET
    return Chosen(chain, apis, prove_ahead=(os.cpu_count() or 1) > 1)


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """The numbers of the signals that came: whoever works looks here between two pieces."""
    got: list[int] = []
    before = [(number, signal.signal(number, lambda number, frame: got.append(number))) for number in _SIGNALS]
    try:
        yield got
    finally:
        for number, handler in before:
            signal.signal(number, handler)


_SIGNALS = (signal.SIGTERM, signal.SIGINT)
