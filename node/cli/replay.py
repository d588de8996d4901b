"""`waggle replay`: check a group's whole history, without trusting any node."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from node.assembly import load_genesis
from node.audit.page import page
from node.audit.replay import Asked, last_height, replay
from node.audit.verdict import Verdict, in_words
from node.cli.collecting import rare_collections
from node.cli.history_options import Where, genesis_option, history_of, history_options
from node.cli.key_options import FILE, json_option
from node.cli.progress import progress
from node.errors import NodeError
from node.files import DISK
from node.history.past import scratch_store
from processors.genesis import Genesis
from state.store import LevelStore

_TRUST = re.compile(r"([0-9]{1,10}):([0-9a-f]{64})", re.ASCII)


@click.command("replay")
@genesis_option
@history_options
@click.option("--to", type=click.IntRange(min=0), help="The last block; else all there are.")
@click.option("--merkle/--no-merkle", default=True, help="Hold each block against its Merkle root, or do not.")
@click.option(
    "--signatures/--no-signatures", default=True, help="Recover who signed blocks and transactions, or do not."
)
@click.option("--quick", is_flag=True, help="Links and ids only, and the signatures that the rules themselves look at.")
@click.option("--snapshots", type=FILE, help="A folder of snapshots; each is held against the root that comes out.")
@click.option("--trust", metavar="HEIGHT:ROOT", multiple=True, help="A root that must come out; may be given again.")
@click.option("--keep", type=FILE, help="Keep the state in this folder, which must be new; else it is thrown away.")
@click.option("--report", "reports", multiple=True, type=FILE, help="Write the verdict: a page (.html), or .json.")
@json_option
def replay_command(
    genesis_path: Path,
    where: Where,
    to: int | None,
    merkle: bool,
    signatures: bool,
    quick: bool,
    snapshots: Path | None,
    trust: tuple[str, ...],
    keep: Path | None,
    reports: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Rebuild the state from the genesis on, and hold all that was reported, signed and sent against what comes out.

    Nobody is believed: every root is computed, every group transaction rebuilt byte for byte, every signature
    recovered. Exit 0: nothing deviates. 1: something does, and it is named.

    Example:  waggle replay --genesis genesis.toml --archive /srv/blocks --report audit.html
    """
    genesis = load_genesis(genesis_path)
    for path in reports:
        if path.suffix not in (".html", ".json"):
            raise click.UsageError(f"--report {path}: its name must end in .html or .json")
    trusted = [_trusted(one) for one in trust]
    if len({height for height, _ in trusted}) < len(trusted):
        raise click.UsageError("--trust: a height has one root, and two are given")
    if snapshots is not None and not snapshots.is_dir():
        raise NodeError(f"{snapshots} is no folder of snapshots")
    asked = Asked(
        to=to,
        merkle=merkle and not quick,
        signatures=signatures and not quick,
        snapshots=snapshots,
        trusted=dict(trusted),
    )
    with rare_collections(), history_of(where, genesis) as history, _store(keep, genesis) as store:
        total = last_height(history, genesis, to) - genesis.start_block + 1
        with progress("replaying", total, quiet=as_json) as advance:
            _, found = replay(history, genesis, store, asked, advance)
    for path in reports:
        _write(path, found)
    click.echo(msgspec.json.encode(found).decode() if as_json else "\n".join(in_words(found)))
    sys.exit(0 if found.good else 1)


def _trusted(text: str) -> tuple[int, bytes]:
    found = _TRUST.fullmatch(text)
    if found is None:
        raise click.UsageError(f"--trust {text[:80]!r}: write HEIGHT:ROOT, the root as 64 letters of hex")
    return int(found[1]), bytes.fromhex(found[2])


@contextmanager
def _store(keep: Path | None, genesis: Genesis) -> Iterator[LevelStore]:
    """A new store, kept or thrown away."""
    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise NodeError(f"{keep} is not empty: name a new folder for the state")
        store = LevelStore(keep, genesis.hash)
        try:
            yield store
        finally:
            store.close()
        return
    with scratch_store(genesis) as store:
        yield store


def _write(path: Path, found: Verdict) -> None:
    content = page(found).encode() if path.suffix == ".html" else msgspec.json.encode(found)
    try:
        DISK.replace(path, content)
    except OSError as error:
        raise NodeError(f"{path}: {error.strerror}: the verdict could not be written") from error
