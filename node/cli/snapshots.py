"""`waggle snapshot`: the whole state at the end of a round, in files."""

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from node.assembly import load_genesis
from node.cli.key_options import json_option, tell
from node.cli.opened import config_option, disk_errors, held, opened, working
from node.cli.restoring import restore
from node.config import Config, load_config
from node.errors import NodeError
from state.errors import SnapshotError, StateError, StoreLockedError
from state.manifest import Manifest
from state.snapshot import create, heights, prune, read_manifest, verify

SNAPSHOTS = "snapshots"


@click.group()
def snapshot() -> None:
    """Make, list, check and restore snapshots of the state. A running node makes them by itself (snapshots.every)."""


snapshot.add_command(restore)


@snapshot.command("create")
@config_option
@json_option
def create_command(config_path: Path, as_json: bool) -> None:
    """Write the snapshot of the last round's end; the node must be stopped, its state stays as it is.

    Exit 0: it is there. 1: it is not, and it is said why.

    Example:  waggle snapshot create --config /etc/waggle/config.toml
    """
    config = load_config(config_path)
    genesis = load_genesis(config.genesis)
    length = genesis.params.round_length
    folder = config.data / SNAPSHOTS
    try:
        with disk_errors(folder), opened(config, genesis) as state, working("writing the snapshot") as say:
            height = state.height // length * length
            if state.height < 0 or height < genesis.start_block:
                raise SnapshotError(f"no round has ended yet since block {genesis.start_block}: let the node run first")
            if height != state.height:
                state.rewind(height)  # in memory only: see opened
            is_new = height not in heights(folder)
            with closing(state.freeze()) as reader:
                for entries in create(reader, folder):
                    say(f"writing the snapshot of {height}: {entries} entries")
    except StoreLockedError as error:
        raise NodeError(_runs(config)) from error
    found = read_manifest(folder, height)
    words = "written" if is_new else "is there already"
    tell({**_about(found), "new": is_new}, f"{folder / str(height)}: {words}\nroot {found.root.hex()}", as_json)


@snapshot.command("list")
@config_option
@json_option
def list_command(config_path: Path, as_json: bool) -> None:
    """List the snapshots of a node, running or not.

    Exit 0: all can be read. 1: one cannot, and it is said why.

    Example:  waggle snapshot list --config /etc/waggle/config.toml
    """
    config = load_config(config_path)
    folder = config.data / SNAPSHOTS
    found: list[dict[str, Any]] = []
    for height in heights(folder):
        try:
            found.append(_about(read_manifest(folder, height)))
        except SnapshotError as error:
            found.append({"height": height, "error": str(error)})
    lines = [_line(one) for one in found] or [f"none in {folder}: `waggle snapshot create` makes one"]
    tell({"snapshots": found}, "\n".join(lines), as_json)
    sys.exit(1 if any("error" in one for one in found) else 0)


@snapshot.command("verify")
@click.argument("height", required=False, type=click.IntRange(min=0))
@config_option
@json_option
def verify_command(height: int | None, config_path: Path, as_json: bool) -> None:
    """Check a snapshot to the last byte, its root computed anew; without HEIGHT all of them.

    Exit 0: whole. 1: not, and it is said which and why.

    Example:  waggle snapshot verify 101000000 --config /etc/waggle/config.toml
    """
    config = load_config(config_path)
    genesis = load_genesis(config.genesis)
    folder = config.data / SNAPSHOTS
    found: list[dict[str, Any]] = []
    wanted = heights(folder) if height is None else [height]
    if not wanted:
        raise NodeError(f"there is no snapshot in {folder}: `waggle snapshot create` makes one")
    with working("checking") as say:
        for number in wanted:
            say(f"checking the snapshot of {number}")
            try:
                found.append(_about(verify(folder, number, genesis.hash)))
            except StateError as error:
                found.append({"height": number, "error": str(error)})
    tell({"snapshots": found}, "\n".join(_line(one, good="whole") for one in found), as_json)
    sys.exit(1 if any("error" in one for one in found) else 0)


@snapshot.command("prune")
@click.option("--keep", type=click.IntRange(min=1), help="How many of the newest stay; snapshots.keep if not given.")
@config_option
@json_option
def prune_command(keep: int | None, config_path: Path, as_json: bool) -> None:
    """Remove all snapshots but the newest; the node must be stopped (a running one does this by itself).

    Exit 0: done. 1: nothing was changed, and it is said why.

    Example:  waggle snapshot prune --keep 1 --config /etc/waggle/config.toml
    """
    config = load_config(config_path)
    folder = config.data / SNAPSHOTS
    with disk_errors(folder), held(config.data / "state"):
        gone = prune(folder, keep if keep is not None else config.snapshots.keep)
    kept = heights(folder)
    words = f"removed: {', '.join(map(str, gone)) or 'none'}; kept: {', '.join(map(str, kept)) or 'none'}"
    tell({"removed": gone, "kept": kept}, words, as_json)


def _runs(config: Config) -> str:
    every = config.snapshots.every
    if every:
        return (
            f"the node runs: it makes a snapshot by itself every {every} rounds (snapshots.every); `waggle snapshot "
            f"list` shows them. To make one now, stop the node first"
        )
    return "the node runs, and makes no snapshots: set snapshots.every and restart it, or stop it and make one here"


def _about(manifest: Manifest) -> dict[str, Any]:
    return {
        "height": manifest.height,
        "root": manifest.root.hex(),
        "block_id": manifest.block_id.hex(),
        "timestamp": manifest.timestamp,
        "entries": manifest.entries,
        "chunks": len(manifest.chunks),
        "bytes": sum(chunk.size for chunk in manifest.chunks),
        "hash": manifest.hash.hex(),
    }


def _line(one: dict[str, Any], good: str = "") -> str:
    if "error" in one:
        return f"{one['height']}  DAMAGED: {one['error']}"
    kilobytes = -(-one["bytes"] // 1_024)
    return f"{one['height']}  root {one['root']}  {one['entries']} entries  {kilobytes} KiB  {good}".rstrip()
