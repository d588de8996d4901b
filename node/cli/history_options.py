"""The options with which a command is told where the blocks of the past come from."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from node.cli.key_options import FILE
from node.history.archived import Archived
from node.history.dsn import REMEDY, holds_password
from node.history.source import History
from processors.genesis import Genesis

F = TypeVar("F", bound=Callable[..., Any])


class Where(msgspec.Struct, frozen=True):
    """Where the blocks are: exactly one of an archive, a block_log, a HAF database."""

    archive: Path | None = None
    block_log: Path | None = None
    dictionaries: Path | None = None
    haf: str | None = None


def genesis_option(function: F) -> F:
    """--genesis"""
    return click.option("--genesis", "genesis_path", required=True, type=FILE, help="The group's genesis document.")(
        function
    )


def history_options(function: F) -> F:
    """--archive, --block-log, --dictionaries, --haf; the command gets them as ``where``, which names one."""
    return _options(function, required=True)


def optional_history(function: F) -> F:
    """The same, where nothing need be named."""
    return _options(function, required=False)


def _options(function: F, *, required: bool) -> F:
    @wraps(function)
    def wrapped(
        *args: Any,
        archive: Path | None,
        block_log: Path | None,
        dictionaries: Path | None,
        haf: str | None,
        **kwargs: Any,
    ) -> Any:
        where = Where(archive, block_log, dictionaries, haf)
        named = sum(one is not None for one in (archive, block_log, haf))
        if named > 1 or (required and not named):
            raise click.UsageError("name one source of blocks: --archive FOLDER, --block-log PATH or --haf DSN")
        if haf is not None and holds_password(haf):
            raise click.UsageError(f"--haf: {REMEDY}")
        return function(*args, where=where, **kwargs)

    found: Any = wrapped
    for option in _OPTIONS:
        found = option(found)
    result: F = found
    return result


_OPTIONS = (
    click.option("--haf", metavar="DSN", help="A HAF database, as libpq writes it; passwords belong in ~/.pgpass."),
    click.option("--dictionaries", type=FILE, help="The folder of hived's zstd dictionaries, for --block-log."),
    click.option("--block-log", type=FILE, help="hived's own block_log, or the folder of its parts."),
    click.option("--archive", type=FILE, help="A folder that `waggle archive` has filled."),
)


def is_named(where: Where) -> bool:
    """Whether there is a source at all."""
    return any(one is not None for one in (where.archive, where.block_log, where.haf))


@contextmanager
def history_of(where: Where, genesis: Genesis) -> Iterator[History]:
    """The source that was named. Raises FeedError."""
    with _open(where, genesis) as history:
        yield history


def _open(where: Where, genesis: Genesis) -> History:
    if where.archive is not None:
        return Archived(where.archive, genesis.chain)
    if where.block_log is not None:
        from node.history.block_log import BlockLog

        return BlockLog.open(where.block_log, genesis.chain, where.dictionaries)
    from node.history.haf import Haf

    assert where.haf is not None
    return Haf.open(where.haf, genesis.chain, genesis.group, genesis.prefix)
