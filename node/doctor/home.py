"""Checks of what lies in the node's folders: genesis, keys, store, journal, snapshots, archive."""

import os
import stat
from collections.abc import Callable
from importlib.metadata import version

from node.assembly import load_genesis, open_state
from node.doctor.finding import Case, Finding, Keys, fail, ok, skip, split, warn
from node.doctor.machine import nearest
from node.errors import JournalError, KeyFileError, NodeError
from node.files import Disk
from node.signer.journal import RESTORED, Journal
from node.signer.keys import Listed, look_at, open_keys
from processors.errors import GenesisError
from processors.hive.keys import public_key_to_text
from state.errors import StateError, StoreLockedError
from state.snapshot import heights
from state.store import LevelStore


class _ReadOnly(Disk):
    """The files of this machine, as they are."""

    def append(self, path: object, data: bytes) -> None:
        if data:
            raise OSError("a check writes nothing")

    def cut(self, path: object, size: int) -> None:
        """What a crash has torn stays: the node sees to it."""

    def replace(self, path: object, data: bytes) -> None:
        raise OSError("a check writes nothing")

    def remove(self, path: object) -> None:
        raise OSError("a check writes nothing")


def genesis(case: Case, expected: str = "") -> list[Finding]:
    """Whether the document loads and is the one that the others have; it is remembered in the case."""
    try:
        case.genesis = load_genesis(case.config.genesis)
    except GenesisError as error:
        what = f"{case.config.genesis} cannot be used: {'; '.join(error.problems)[:500]}"
        return [fail("genesis", what, "get the group's document anew: waggle genesis check says all that is wrong")]
    except NodeError as error:
        return [fail("genesis", str(error)[:500], "name the group's document in node.genesis")]
    own = case.genesis.hash.hex()
    if expected and expected.lower() != own:
        what = f"the genesis hash is {own}, not {expected[:64]}"
        return [fail("genesis", what, "this is another group's document, or a changed one: ask the members")]
    if case.status is not None and case.status.genesis != own:
        what = f"the running node has the genesis {case.status.genesis}, the document is {own}"
        return [fail("genesis", what, "put the right document back, and restart the node")]
    said = f"{case.genesis.group}, hash {own}"
    return [ok("genesis", said if expected else f"{said}: compare it with the other members, or use --expect")]


def own_version(case: Case) -> list[Finding]:
    """This version against those that the members report."""
    own = version("waggle")
    if case.status is None:
        return [skip("version", f"{own}; the node does not run, so the others' versions are not known")]
    others = [report.version for report in case.status.reports if report.version]
    newer = [other for other in others if _numbers(other) > _numbers(own)]
    if case.status.version != own:
        what = f"the running node is {case.status.version}, this command is {own}"
        return [warn("version", what, "restart the node after an upgrade")]
    if len(newer) * 2 > len(others):
        what = f"{own}, while most members run a newer one ({max(newer, key=_numbers)[:32]})"
        return [warn("version", what, "upgrade: a node too old for an activated rule stops")]
    return [ok("version", f"{own}, {len(others)} runners' versions are known")]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isascii() and part.isdecimal() and len(part) < 9)


def key_files(case: Case) -> list[Finding]:
    """What the files of keys are, without their password."""
    prefix = case.genesis.chain.address_prefix if case.genesis is not None else "STM"
    found = []
    for role, paths in (("account", (case.config.account_key,)), ("signing", case.config.signing_keys)):
        for path in paths:
            try:
                listed = look_at(path, prefix)
            except KeyFileError as error:
                found.append(fail("keys", *split(error)))
                continue
            found.append(_key_file(listed, role, str(path)))
    return found


def _key_file(listed: Listed | None, role: str, path: str) -> Finding:
    if listed is None:
        return fail("keys", f"{path} holds no key", f"name the {role} key's file: waggle keys new, waggle keys import")
    if listed.problem:
        return fail("keys", f"{path}: {listed.problem.partition('. Run: ')[0]}", f"chmod 600 {path}")
    if not listed.encrypted:
        return warn(
            "keys", f"{path} is plain WIF: whoever copies it has the key", f"waggle keys import NEW --from {path}"
        )
    if listed.role != role:
        return fail("keys", f"{path} is the key of the role {listed.role}", f"name the {role} key's file there")
    return ok("keys", f"{role}: {path}, encrypted, {', '.join(listed.public_keys)}")


def open_all(case: Case, password: Callable[[], str]) -> list[Finding]:
    """Open the keys as the node does, and remember them in the case."""
    config = case.config
    try:
        account = open_keys([config.account_key], password, role="account").keys
        signing = open_keys(list(config.signing_keys), password, role="signing").keys
    except KeyFileError as error:
        return [fail("password", *split(error))]
    if len(account) != 1:
        what = f"{config.account_key} holds {len(account)} keys"
        return [fail("password", what, f"leave the active key of {config.account} alone in it")]
    case.keys = Keys(account, signing)
    same = [key for key in signing if key.public == account[0].public]
    if same:
        prefix = case.genesis.chain.address_prefix if case.genesis is not None else "STM"
        what = f"{public_key_to_text(same[0].public, prefix)} is both the account key and a signing key"
        return [fail("password", what, "make a signing key of its own: waggle keys new")]
    return [ok("password", f"the password opens all {len(account) + len(signing)} keys, no key has two roles")]


def store(case: Case) -> list[Finding]:
    """Whether the state opens, or is held by the running node."""
    folder = case.config.data / "state"
    if case.status is not None:
        return [ok("store", f"held by the running node, at height {case.status.height}")]
    if not folder.joinpath("CURRENT").exists():
        return [ok("store", f"none at {folder} yet: the node begins with a snapshot or at the start block")]
    if case.genesis is None:
        return [skip("store", "not opened: the genesis cannot be used")]
    try:
        state = open_state(case.genesis, LevelStore(folder, case.genesis.hash, create=False))
    except StoreLockedError:
        what = f"{folder} is held by a process that does not answer on control.sock"
        return [warn("store", what, "is it the node, just starting or stuck? See its log")]
    except StateError as error:
        return [fail("store", *split(error))]
    try:
        return [ok("store", f"opens, at height {state.height}")]
    finally:
        state.close()


def journal(case: Case) -> list[Finding]:
    """Whether the signing journal is there, whole and in its place."""
    if case.config.signer.url:
        return [skip("journal", "the remote signer has it")]
    path = case.config.data / "journal"
    if case.genesis is None:
        return [skip("journal", "not read: the genesis cannot be used")]
    has_state = case.config.data.joinpath("state").joinpath("CURRENT").exists()
    if not path.exists():
        if has_state:
            what = f"there is a state and no journal at {path}: the node holds back what it may have signed before"
            return [warn("journal", what, "bring the journal back if there is one: waggle keys restore")]
        return [ok("journal", "none yet: the node makes it when it begins")]
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o022:
        return [fail("journal", f"others can change {path} (mode {mode:04o})", f"chmod 600 {path}")]
    try:
        found = Journal(path, case.genesis.hash, _ReadOnly())
    except JournalError as error:
        return [fail("journal", *split(error))]
    if path.with_name(RESTORED).exists() or found.is_moved:
        what = "the journal was copied or restored: keys known before sign nothing for a header lifetime"
        return [
            warn("journal", what, "wait, or run `waggle journal confirm` if no other machine signed with these keys")
        ]
    if case.status is not None and case.status.journal_held:
        what = "the journal is younger than the keys: group transactions are held back"
        return [
            warn("journal", what, "wait, or run `waggle journal confirm` if no other machine signed with these keys")
        ]
    since = f"since block {found.born.height}" if found.born is not None else "not begun yet"
    return [ok("journal", f"whole, {since}")]


def folders(case: Case) -> list[Finding]:
    """Snapshots and the archive."""
    config = case.config
    kept = heights(config.data / "snapshots")
    every = f"one every {config.snapshots.every} rounds" if config.snapshots.every else "none are made"
    found = [ok("snapshots", f"{every}, {len(kept)} kept" + (f", the newest of block {kept[-1]}" if kept else ""))]
    if config.feed.archive is None:
        return found
    place = nearest(config.feed.archive)
    if config.feed.archive.exists() and not config.feed.archive.is_dir():
        found.append(fail("archive", f"{config.feed.archive} is no folder", "name a folder in feed.archive"))
    elif not os.access(place, os.W_OK | os.X_OK):
        found.append(fail("archive", f"{place} may not be written", "give the node's user the right to"))
    else:
        found.append(ok("archive", f"{config.feed.archive} can be written"))
    return found
