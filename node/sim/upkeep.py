"""What an operator does to the state of a stopped machine: snapshots, a repair, `waggle rewind`."""

from pathlib import Path
from typing import TYPE_CHECKING

from node.assembly import open_state
from node.sim.disk import KNOWN_ENDS, Killed
from state.snapshot import create, heights
from state.state import State

if TYPE_CHECKING:
    from node.sim.machine import Machine


def take_snapshot(machine: "Machine", state: State) -> None:
    """At the end of a round; a state that is not true is left alone, and tried again a round later."""
    if machine.snapshots is None or machine.is_misled or machine.is_corrupted or machine.is_halted:
        return
    machine.snapshot_wanted = False
    reader = state.freeze()
    for _ in create(reader, machine.snapshots):
        pass
    reader.close()


def begin_with(machine: "Machine", folder: Path, height: int) -> None:
    """Stop, throw the store away, and put a snapshot in its place; journal and keys stay."""
    machine.stop()
    machine.disk.begin_with(folder, height, machine.genesis.hash, machine.genesis.params.round_length)
    machine.begin_anew()


def repair(machine: "Machine") -> None:
    """What the operator does about a damaged store: the newest own snapshot, or a replay."""
    made = heights(machine.snapshots) if machine.snapshots is not None else []
    if made and machine.snapshots is not None:
        begin_with(machine, machine.snapshots, made[-1])
        machine.watcher.told(machine, "repaired", {"height": made[-1]})
    else:
        machine.wipe()
        machine.watcher.told(machine, "wiped", {})


def rewind(machine: "Machine", blocks: int) -> bool:
    """`waggle rewind`: ``blocks`` back, or as far as that goes; False if there is nothing to undo."""
    machine.stop()
    store = None
    try:
        store = machine.disk.open_store(machine.genesis.hash)
        state = open_state(machine.genesis, store)
        target = max(state.oldest_rewind, state.height - blocks)
        is_done = state.height > target >= 0
        if is_done:
            state.rewind(target)
            machine.disk.remove(Path("outbox.json"))
    except (*KNOWN_ENDS, Killed) as error:
        machine.ended(error)
        return False
    finally:
        if store is not None:
            store.close()
    return is_done
