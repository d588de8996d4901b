"""Backups: config, keys (still encrypted inside), journal, genesis and approvals in one file under one password; of a
node, or of a remote signer.

The file is a line of JSON, the header, and then the sealed bytes. The header says whose backup it is and how old; it
can be read without the password, and is authenticated by it (node/signer/sealing.py).

A restored journal is older than the signatures that left since. So ``journal.restored`` is written beside it, and the
journal holds signatures back until all of those are over.
"""

import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from node.config import Config
from node.errors import NodeError
from node.signer import sealing
from node.signer.approvals import CONFIRMATION
from node.signer.journal import MARK, RESTORED
from node.signer.private_files import write_synced
from node.signer.replica import TRUSTED
from node.signer.secret import HiddenBytes, HiddenText
from node.signer.service_config import ServiceConfig
from state.store import sync_path

JOURNAL = "journal"
#: Files that lie outside of the configuration's folder come under this name, with their whole path.
OUTSIDE = "outside"
_MOST_BYTES = 64 << 20
#: Bytes of the largest backup.
MOST_SEALED = _MOST_BYTES + 8192
_MOST_HEADER = 4096
_MOST_FILES = 1000
_MOST_NAME = 1024
_FIELDS = {"waggle_backup", "account", "group", "genesis_hash", "height", "created", "kdf", "cipher"}


class BackupError(NodeError):
    """A backup cannot be made, read or restored. The message never quotes its contents."""


class About(msgspec.Struct, frozen=True):
    """What the header says.

    ``height`` is that of the last block applied, None if not known; ``created`` a UTC time, 2026-11-21T06:12:02Z.
    """

    account: str
    group: str
    genesis_hash: str
    height: int | None
    created: str


def files_of(config: Config | ServiceConfig) -> dict[str, bytes]:
    """The files that a node, or a remote signer, needs on another machine, by their names in a backup.

    Names are relative to the configuration's folder, so that a restored configuration finds them; what lies outside of
    it comes under ``outside/``. Without a journal an empty one is put in: where it is restored it is not fresh. The
    password of the keys is no part, wherever it comes from. Raises BackupError for a file that cannot be read.
    """
    folder = Path(os.path.abspath(config.path.parent))
    found: dict[str, bytes] = {_name_of(path, folder): _read(path) for path in _named(config)}
    for name in (MARK + JOURNAL, JOURNAL, "approvals", TRUSTED):  # a mark is never longer than what is read after it
        path = config.data / name
        if path.is_file():
            found[_name_of(path, folder)] = _read(path) if name != "approvals" else _without_confirmations(_read(path))
    found.setdefault(_name_of(config.data / JOURNAL, folder), b"")
    return found


def _without_confirmations(approvals: bytes) -> bytes:
    """What was said of a journal was said of the one that stands here: it is no word for a copy."""
    lines = approvals.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(CONFIRMATION.encode()))


def _named(config: Config | ServiceConfig) -> list[Path]:
    """The configuration and the files that it names."""
    paths = [config.path, config.genesis, *config.signing_keys]
    if isinstance(config, ServiceConfig):
        return [*paths, *filter(None, (config.certificate, config.key, config.authority))]
    signer = config.signer
    optional = (config.http.tokens_file, signer.certificate, signer.key, signer.authority)
    return [*paths, config.account_key, *filter(None, optional)]


def backup(files: Mapping[str, bytes], password: str, about: About) -> bytes:
    """One encrypted file of these. Raises BackupError for evil names and for more than 64 MiB."""
    password = HiddenText(password)
    wrong = _wrong_names(files) or _wrong_about(msgspec.to_builtins(about))
    if wrong:
        raise BackupError(f"the backup cannot be made: {wrong}")
    pairs = [(name, memoryview(data)) for name, data in sorted(files.items())]
    content = HiddenBytes(msgspec.msgpack.encode(pairs))
    if len(content) > _MOST_BYTES:
        raise BackupError(f"the backup would have {len(content) >> 20} MiB, at most {_MOST_BYTES >> 20} are possible")
    fields = {"waggle_backup": 1, **msgspec.to_builtins(about)}
    header, sealed = sealing.seal(fields, content, password)
    return sealing.canonical(header) + b"\n" + sealed


def describe(raw: bytes) -> About:
    """Whose backup this is and how old, without the password: not proven before it is opened. Raises BackupError."""
    header, _ = _parts(raw)
    return _about(header)


def restore(raw: bytes, password: str) -> dict[str, bytes]:
    """The files of a backup by name; no name leads out of a folder. Raises BackupError.

    Of a password that does not fit it tells nothing more.
    """
    password = HiddenText(password)
    header, sealed = _parts(raw)
    content = sealing.unseal(header, sealed, password)
    if content is None:
        raise BackupError("wrong password, or the backup was changed")
    files = _files(content)
    if files is None:
        raise BackupError("the backup holds something else than files: it was not made by this waggle")
    wrong = _wrong_names(files)
    if wrong:
        raise BackupError(f"the backup is refused, nothing was written: {wrong}")
    return files


def write_restored(files: Mapping[str, bytes], into: Path) -> list[Path]:
    """Write the files of ``restore`` into a new or empty folder, all or none; the paths, with the marks of journals.

    Folders have mode 0700, files 0600. Raises BackupError, and leaves what is there as it is.
    """
    wrong = _wrong_names(files)
    if wrong:
        raise BackupError(f"nothing was written: {wrong}")
    whole = dict(files)
    for name in files:
        if name.rpartition("/")[2] == JOURNAL:
            whole[name.removesuffix(JOURNAL) + RESTORED] = b""
    target = into.resolve()
    fresh = target.with_name(f".{target.name[:200]}.{secrets.token_hex(8)}.new")
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise BackupError(f"{into} is there and not empty: name a new folder; nothing is ever overwritten")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_all(whole, fresh)
            os.rename(fresh, target)  # takes the place of an empty folder alone
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        sync_path(target.parent)
    except OSError as error:
        raise BackupError(f"{into}: {error.strerror}: name a new folder where this user may write") from None
    return [target / name for name in sorted(whole)]


def _write_all(files: Mapping[str, bytes], folder: Path) -> None:
    _make(folder)
    for name, data in sorted(files.items()):
        *above, _ = Path(name).parts
        place = folder
        for part in above:
            place = place / part
            if not place.exists():
                _make(place)
        write_synced(folder / name, data)
    for place in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        sync_path(place)


def _make(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o700)


def _parts(raw: bytes) -> tuple[dict[str, Any], bytes]:
    head, newline, sealed = raw[: _MOST_HEADER + 1].partition(b"\n")
    header = sealing.parse_object(head) if newline else None
    if header is None or type(header.get("waggle_backup")) is not int:
        raise BackupError("this is no backup of waggle, or it was cut off")
    if header["waggle_backup"] != 1:
        raise BackupError(f"the backup is of version {header['waggle_backup']}, this waggle knows version 1")
    wrong = "its fields are others" if header.keys() != _FIELDS else _wrong_about(header)
    wrong = wrong or sealing.wrong_sealing(header)
    if wrong is None and head != sealing.canonical(header):
        wrong = "its header was rewritten"
    sealed = raw[len(head) + 1 :]
    if wrong is None and not sealing.TAG_SIZE <= len(sealed) <= _MOST_BYTES + sealing.TAG_SIZE:
        wrong = f"it is cut off, or has more than {_MOST_BYTES >> 20} MiB"
    if wrong:
        raise BackupError(f"the backup cannot be used: {wrong}")
    return header, sealed


def _about(header: dict[str, Any]) -> About:
    return About(*(header[name] for name in About.__struct_fields__))


def _files(content: HiddenBytes) -> dict[str, bytes] | None:
    try:
        found = msgspec.msgpack.decode(content, type=list[tuple[str, bytes]])
    except msgspec.DecodeError:
        return None
    files: dict[str, bytes] = {name: HiddenBytes(data) for name, data in found}
    return files if len(files) == len(found) else None


def _read(path: Path) -> HiddenBytes:
    try:
        with path.open("rb") as file:
            found = HiddenBytes(file.read(_MOST_BYTES + 1))
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror}: a backup without it could not be restored") from None
    if len(found) > _MOST_BYTES:
        raise BackupError(f"{path} has more than {_MOST_BYTES >> 20} MiB: it is no file of a node")
    return found


def _name_of(path: Path, folder: Path) -> str:
    whole = Path(os.path.abspath(path))
    if whole.is_relative_to(folder):
        return whole.relative_to(folder).as_posix()
    return OUTSIDE + whole.as_posix()


def _wrong_about(fields: Mapping[str, Any]) -> str | None:
    height = fields["height"]
    if not (height is None or (type(height) is int and -1 <= height < 1 << 63)):
        return "the height is no number of a block"
    texts = [fields[name] for name in ("account", "group", "genesis_hash", "created")]
    if not all(isinstance(text, str) and len(text) <= 100 and text.isprintable() for text in texts):
        return "account, group, genesis_hash and created are short texts"
    return None


def _wrong_names(files: Mapping[str, bytes]) -> str | None:
    """Why these names cannot be files of one folder; None if they can."""
    if len(files) > _MOST_FILES:
        return f"more than {_MOST_FILES} files"
    for name in files:
        if not name or len(name.encode("utf-8", "replace")) > _MOST_NAME or not name.isprintable():
            return "a name is empty, too long, or not printable"
        parts = name.split("/")
        if "\\" in name or any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts):
            return f"the name {name!r} leads out of the folder"
        if re.match("[A-Za-z]:", name):
            return f"the name {name!r} begins with a drive"
        if any("/".join(parts[:count]) in files for count in range(1, len(parts))):
            return f"the name {name!r} lies in something that is a file"
    return None
