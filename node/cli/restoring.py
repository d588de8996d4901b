"""`waggle snapshot restore`."""

import re
from pathlib import Path

import click

from node.assembly import load_genesis
from node.cli.key_options import json_option, tell
from node.cli.opened import Tell, ask, config_option, disk_errors, held, working, yes_option
from node.config import Config, load_config
from node.errors import NodeError
from node.files import DISK
from node.signer.service_config import ServiceConfig, is_service, load_service_config
from processors.genesis import Genesis
from state.errors import SnapshotError
from state.manifest import Manifest, expect
from state.snapshot import Restoring, read_chunks, read_manifest
from state.store import clear_store, settle_store, sync_path

_TRUST = re.compile(r"(0|[1-9][0-9]{0,9}):([0-9a-f]{64})")
_COMPARE = (
    "Is this the root that the group agreed on? The members' reports of this block on chain name it, and "
    "`waggle diff PEER` compares the states once the node runs. Do not start the node if it is another one."
)


@click.command("restore")
@click.argument("height", type=click.IntRange(min=0))
@click.option("--from", "source", type=click.Path(path_type=Path), help="The folder of snapshots; else the node's own.")
@click.option("--trust", metavar="HEIGHT:ROOT", help="Restore this root and no other.")
@click.option("--replace", is_flag=True, help="Move a state that is there aside; it is not deleted.")
@config_option
@yes_option
@json_option
def restore(
    height: int, source: Path | None, trust: str | None, replace: bool, config_path: Path, yes: bool, as_json: bool
) -> None:
    """Make the state of a stopped node, or remote signer, from the snapshot of HEIGHT. Journal and keys stay as they
    are.

    Every entry is held against the snapshot's root; whether that root is the group's, only --trust tells for sure.
    Exit 0: done. 1: nothing was changed, and it is said why.

    Example:  waggle snapshot restore 101000000 --config /etc/waggle/config.toml
    """
    config: Config | ServiceConfig
    config = load_service_config(config_path) if is_service(config_path) else load_config(config_path)
    genesis = load_genesis(config.genesis)
    folder, state = source or config.data / "snapshots", config.data / "state"
    manifest = read_manifest(folder, height)
    expect(manifest, genesis_hash=genesis.hash, **_trusted(trust))
    with disk_errors(state), held(state):
        is_there = state.is_dir() and any(state.iterdir())
        if is_there and not replace:
            raise NodeError(f"{state} holds a state: add --replace to move it aside, or leave it to the node")
        if is_there:
            ask(f"Move {state} aside and begin at block {height}?", yes=yes, as_json=as_json)
        with working("restoring") as say:
            aside = _restored_aside(folder, manifest, genesis, state, say)
        moved = _move(state) if is_there else None
        settle_store(aside, state)
        DISK.remove(config.data / "outbox.json")
    body = {"height": height, "root": manifest.root.hex(), "moved": None if moved is None else str(moved)}
    words = f"restored: block {height}, root {manifest.root.hex()}"
    tell(body, words + (f"\nthe old state is in {moved}: remove it when all is well" if moved else ""), as_json)
    if trust is None:
        click.echo(_COMPARE, err=True)


def _trusted(trust: str | None) -> dict[str, object]:
    """What the manifest must say."""
    if trust is None:
        return {}
    found = _TRUST.fullmatch(trust)
    if found is None:
        raise click.UsageError(f"--trust {trust[:80]!r}: write HEIGHT:ROOT, the root as 64 letters of hex")
    return {"height": int(found[1]), "root": bytes.fromhex(found[2])}


def _restored_aside(folder: Path, manifest: Manifest, genesis: Genesis, state: Path, say: Tell) -> Path:
    """The store, whole and checked, beside its place."""
    aside = state.with_name(f"{state.name}.restored")
    clear_store(aside)  # of a restore that was cut off
    aside.parent.mkdir(parents=True, exist_ok=True)
    with Restoring(aside, manifest, genesis.hash, round_length=genesis.params.round_length) as restoring:
        for number, chunk in enumerate(read_chunks(folder, manifest), 1):
            say(f"chunk {number} of {len(manifest.chunks)}")
            restoring.feed(chunk)
        say("checking the root")
        restoring.finish()
    return aside


def _move(state: Path) -> Path:
    """Give the old state's folder a name that is free."""
    for number in range(1, 1_000):
        place = state.with_name(f"{state.name}.old-{number}")
        if not place.exists():
            state.rename(place)
            sync_path(state.parent)
            return place
    raise SnapshotError(f"{state.with_name(state.name + '.old-...')}: remove the old states first")
