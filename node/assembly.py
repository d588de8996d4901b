"""A member's node put together from its parts, wherever its store, its files and its wires come from."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import msgspec

from node.core import Log, NodeCore
from node.errors import ConfigError
from node.files import Files
from node.outbox import Outbox
from node.signer.approvals import Approvals
from node.signer.journal import Journal
from node.signer.keys import SecretKey
from node.signer.policy import Policy
from node.signer.signer import Signer, Signing
from processors.genesis import Genesis, parse
from processors.hive.keys import public_key_to_text
from state.state import State
from state.store import Store


class Holder(msgspec.Struct, frozen=True):
    """Whose node it is: account, the key that sends its custom_json, its signing keys, its own rules."""

    account: str
    account_key: SecretKey
    signing_keys: list[SecretKey]
    policy: Policy


def load_genesis(path: Path) -> Genesis:
    """The genesis of a TOML file. Raises ConfigError, GenesisError."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return parse(document)


def open_state(genesis: Genesis, store: Store) -> State:
    """The state of a group in a store. Raises StateError."""
    params = genesis.params
    return State(store, genesis.hash, round_length=params.round_length, trace_keep=params.trace_keep)


def local_signer(genesis: Genesis, holder: Holder, folder: Path, files: Files) -> Signer:
    """The signer of a node that holds its keys itself; its journal lies in ``folder``. Raises JournalError."""
    journal = Journal(folder / "journal", genesis.hash, files)
    return Signer(holder.signing_keys, journal, holder.policy, genesis, Approvals(folder / "approvals", files))


def open_core(
    genesis: Genesis,
    holder: Holder,
    store: Store,
    folder: Path,
    files: Files,
    log: Log,
    signer: Signing | None = None,
) -> NodeCore:
    """The node over an open store; outbox and journal lie in ``folder``. The store is closed if this fails.

    ``signer``: who signs, if the node does not hold its signing keys. Raises StateError, JournalError, OSError.
    """
    try:
        state = open_state(genesis, store)
        signer = signer or local_signer(genesis, holder, folder, files)
        outbox = Outbox(folder / "outbox.json", files)
    except Exception:
        store.close()
        raise
    dry_run = holder.policy.dry_run
    account, key = holder.account, holder.account_key
    core = NodeCore(genesis, state, account, key, signer, outbox, version("waggle"), log, dry_run=dry_run)
    keys = [public_key_to_text(key, genesis.chain.address_prefix) for key in signer.public_keys]
    started = {"account": holder.account, "group": genesis.group, "genesis": genesis.hash.hex()}
    log("start", {**started, "height": state.height, "keys": keys})
    least = genesis.params.min_signers
    if len(genesis.runners) < least:
        log("founder_only", {"runners": len(genesis.runners), "min_signers": least})
    return core
