"""`waggle bisect`: the first height, table and key at which two histories differ."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from node.assembly import load_genesis
from node.audit.bisect import Parted, bisect
from node.cli.diff import text_of
from node.cli.history_options import Where, genesis_option, history_of, is_named, optional_history
from node.cli.key_options import FILE, json_option
from node.cli.progress import progress
from node.history.past import Progress, state_at
from node.history.source import History
from node.sync.differ import Difference, StateSide, compare
from node.sync.peer import open_peer
from processors.genesis import Genesis

EQUAL, DIFFERENT = 0, 1


@click.command("bisect")
@click.option("--ours", required=True, type=FILE, help="Our archive of blocks.")
@genesis_option
@optional_history
@click.option("--peer", metavar="URL", help="Compare with what a node remembers of its last blocks.")
@json_option
def bisect_command(ours: Path, genesis_path: Path, where: Where, peer: str | None, as_json: bool) -> None:
    """Find where another history parts from ours: the first block, and the first entry of the state that differs.

    The other one is an archive, a block_log, a HAF database, or a node (--peer), which remembers some 2,400 blocks.
    Exit 0: equal. 1: different, or it cannot be told, and it is said which.

    Example:  waggle bisect --ours /srv/blocks --archive /mnt/bobs-blocks --genesis genesis.toml
    """
    if is_named(where) == (peer is not None):
        raise click.UsageError("name what to compare with: --peer URL, --archive FOLDER, --block-log PATH or --haf DSN")
    genesis = load_genesis(genesis_path)
    with history_of(Where(archive=ours), genesis) as mine:
        span = mine.span() or (0, 0)
        with progress("replaying", span[1] - genesis.start_block + 1, quiet=as_json) as advance:
            if peer is not None:
                found: Parted | Difference = asyncio.run(_with_peer(mine, genesis, peer, advance))
            else:
                with history_of(where, genesis) as other:
                    found = bisect(mine, other, genesis, advance)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        click.echo(_words(found) if isinstance(found, Parted) else text_of(found))
    sys.exit(EQUAL if found.kind == "equal" else DIFFERENT)


async def _with_peer(ours: History, genesis: Genesis, url: str, advance: Progress) -> Difference:
    """Our history replayed to where the peer stands, then traces and trees of both. Raises NodeError, StateError."""
    async with open_peer(url) as peer:
        _, newest = await peer.span()
        span = ours.span()
        height = min(newest, span[1]) if span is not None else newest
        with state_at(ours, genesis, height, advance) as state:
            return await compare(StateSide(state), peer, genesis)


def _words(found: Parted) -> str:
    lines = [found.words]
    lines += [f"not proven: {words}" for words in found.unproven]
    lines += [f"only here:  transaction {txid}" for txid in found.only_ours]
    lines += [f"only there: transaction {txid}" for txid in found.only_theirs]
    if found.kind != "equal" and found.height < 0:
        lines.append(f"no other entry of the state differs up to block {found.last}")
    return "\n".join(lines)
