"""`waggle at`: what stood in the state after a block of the past."""

import json
from pathlib import Path

import click

from node.assembly import load_genesis
from node.cli.history_options import Where, genesis_option, history_of, history_options
from node.cli.inspect import entries_of, overview_of, text_of
from node.cli.key_options import FILE, json_option
from node.cli.progress import progress
from node.history.past import state_at
from node.sync.readable import read_key


@click.command("at")
@click.argument("height", type=click.IntRange(min=0))
@click.argument("table", required=False)
@click.argument("key", nargs=-1)
@genesis_option
@history_options
@click.option("--snapshots", type=FILE, help="Begin with the nearest snapshot of this folder, not with the genesis.")
@click.option("--most", default=200, show_default=True, type=click.IntRange(min=1), help="Entries that are shown.")
@json_option
def at_command(
    height: int,
    table: str | None,
    key: tuple[str, ...],
    genesis_path: Path,
    where: Where,
    snapshots: Path | None,
    most: int,
    as_json: bool,
) -> None:
    """Show entries of a TABLE as they were after block HEIGHT, those whose key begins with KEY; without TABLE an
    overview.

    The state is replayed from the nearest snapshot that is given, or from the genesis. A snapshot is believed: check it
    first, `waggle replay --snapshots`. Exit 0: shown. 1: it cannot be, and it is said why.

    Example:  waggle at 101000250 balance alice --genesis genesis.toml --archive /srv/blocks
    """
    genesis = load_genesis(genesis_path)
    wanted = read_key(table, key, genesis) if table is not None else None
    with (
        history_of(where, genesis) as history,
        progress("replaying", height - genesis.start_block + 1, quiet=as_json) as advance,
        state_at(history, genesis, height, advance, snapshots) as state,
    ):
        body = overview_of(state, genesis) if wanted is None else entries_of(state, wanted, most, genesis)
    click.echo(json.dumps(body) if as_json else text_of(body))
