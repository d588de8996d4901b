"""`waggle rewind`."""

from pathlib import Path

import click

from node.assembly import load_genesis
from node.cli.key_options import json_option, tell
from node.cli.opened import ask, config_option, opened, working, yes_option
from node.config import load_config
from node.feed.archive import Archive
from node.files import DISK
from state.errors import StateError


@click.command()
@click.argument("blocks", metavar="[N]", required=False, type=click.IntRange(min=1))
@click.option("--to", "height", type=click.IntRange(min=0), help="The block to go back to, instead of N.")
@config_option
@yes_option
@json_option
def rewind(blocks: int | None, height: int | None, config_path: Path, yes: bool, as_json: bool) -> None:
    """Take the state of a stopped node back by N blocks, at most some 2,400; the node then fetches them again.

    The signing journal stays as it is: what was signed is not forgotten, so nothing is signed twice. The outbox is
    emptied. Exit 0: done. 1: nothing was changed, and it is said why.

    Example:  waggle rewind 100 --config /etc/waggle/config.toml
    """
    if (blocks is None) == (height is None):
        raise click.UsageError("say how many blocks, as in `waggle rewind 100`, or to which one with --to HEIGHT")
    config = load_config(config_path)
    with opened(config, load_genesis(config.genesis), for_writing=True) as state:
        head = state.height
        target = height if height is not None else head - (blocks or 0)
        if not state.oldest_rewind <= target < head:
            raise StateError(
                f"the state is at {head} and can go back to {state.oldest_rewind} at the oldest, not to {target}: name "
                f"a height between, or restore an older snapshot (`waggle snapshot list`)"
            )
        if not as_json:
            click.echo(
                f"The state goes back from block {head} to {target}; the node fetches those {head - target} blocks "
                f"again. The journal stays as it is. The outbox is emptied.",
                err=True,
            )
        ask("Go back?", yes=yes, as_json=as_json)
        with working(f"going back to {target}"):
            if config.feed.archive is not None:  # else the node would replay from it what it shall fetch again
                with Archive.open(config.feed.archive, write=True) as archive:
                    archive.cut_after(target)
            state.rewind(target)
        DISK.remove(config.data / "outbox.json")
        body = {"from": head, "to": target, "oldest": state.oldest_rewind, "block_id": state.head.block_id.hex()}
    tell(body, f"the state is at block {target} now; start the node: waggle run --config {config_path}", as_json)
