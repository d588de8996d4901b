"""The encrypted key file: one key, JSON, under a password (node/signer/sealing.py).

    {"waggle_key": 1, "role": "signing", "account": "alice", "public_key": "STM...", "created": "2026-11-21T06:12:02Z",
     "kdf": {"name": "scrypt", "n": 131072, "r": 8, "p": 1, "salt": hex of 32 bytes},
     "cipher": {"name": "aes-256-gcm", "nonce": hex of 12 bytes}, "sealed": hex of 48 bytes}

Everything but ``sealed`` can be read without the password and is authenticated by it. ``account`` may be empty.
"""

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from node.errors import KeyFileError
from node.signer import sealing
from node.signer.private_files import read_private, replace_private, write_new
from node.signer.secret import HiddenBytes, HiddenText, SecretKey
from processors.hive.errors import HiveDataError
from processors.hive.keys import public_key_from_text, public_key_to_text
from processors.hive.names import is_account_name

ROLES = ("signing", "account")
_MOST_BYTES = 4096
_FIELDS = {"waggle_key", "role", "account", "public_key", "created", "kdf", "cipher", "sealed"}
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)
_REMEDY = "name the encrypted key file, or make one with: waggle keys new"


class KeyInfo(msgspec.Struct, frozen=True):
    """What a key file says of its key. ``created`` is a UTC time, 2026-11-21T06:12:02Z."""

    role: str
    account: str
    public_key: str
    created: str


def info_of(key: SecretKey, role: str, account: str, created: str, prefix: str = "STM") -> KeyInfo:
    """What the file of a key will say of it. Raises KeyFileError for a role, account or time that is none."""
    info = KeyInfo(role, account, public_key_to_text(key.public, prefix), created)
    wrong = _wrong_info(msgspec.to_builtins(info))
    if wrong:
        raise KeyFileError(f"the key file cannot be written: {wrong}")
    return info


def is_sealed(raw: bytes) -> bool:
    """Whether the bytes of a file are meant to be an encrypted key, not a WIF: both are text, only this has a brace."""
    return raw.lstrip()[:1] == b"{"


def write_sealed(path: Path, key: SecretKey, info: KeyInfo, password: str) -> None:
    """Write a key to a new encrypted file, mode 0600. Raises KeyFileError if the file exists."""
    password = HiddenText(password)
    write_new(path, _sealed(key, info, password))


def read_info(path: Path) -> KeyInfo:
    """What a key file says of its key, without the password: not proven before the file is opened.

    Raises KeyFileError.
    """
    return _info(parse(_read(path), path))


def open_sealed(path: Path, password: str) -> tuple[KeyInfo, SecretKey]:
    """The key of an encrypted file. Raises KeyFileError; of a password that does not fit it tells nothing more."""
    password = HiddenText(password)
    return open_parsed(parse(_read(path), path), path, password)


def change_password(path: Path, old: str, new: str) -> KeyInfo:
    """Seal the key of a file anew, in its place, with fresh salt and nonce.

    Raises KeyFileError; the file is then as it was.
    """
    old, new = HiddenText(old), HiddenText(new)
    info, key = open_sealed(path, old)
    replace_private(path, _sealed(key, info, new))
    return info


def parse(raw: bytes, path: Path) -> dict[str, Any]:
    """The fields of a key file, each of the right form. Raises KeyFileError, which names ``path`` and what is wrong."""
    fields = sealing.parse_object(raw) if len(raw) <= _MOST_BYTES else None
    wrong = "it is no JSON object of at most 4 KiB, or was cut off" if fields is None else _wrong(fields)
    if fields is None or wrong:
        raise KeyFileError(f"{path} is no key file that can be used: {wrong}. Restore it from a backup")
    return fields


def open_parsed(fields: dict[str, Any], path: Path, password: str) -> tuple[KeyInfo, SecretKey]:
    """The key in the fields of ``parse``. Raises KeyFileError as ``open_sealed`` does."""
    password = HiddenText(password)
    key = _opened(fields, password)
    info = _info(fields)
    if key is None or public_key_to_text(key.public, info.public_key[:3]) != info.public_key:
        raise KeyFileError(f"{path}: wrong password, or the file was changed")
    return info, key


def _opened(fields: dict[str, Any], password: str) -> SecretKey | None:
    secret = sealing.unseal(_header(fields), bytes.fromhex(fields["sealed"]), password)
    try:
        return None if secret is None else SecretKey(secret)
    except ValueError:  # no private key: whoever sealed it had the password, and no key
        return None


def _sealed(key: SecretKey, info: KeyInfo, password: str) -> bytes:
    header, sealed = sealing.seal({"waggle_key": 1, **msgspec.to_builtins(info)}, key._secret, password)
    return (json.dumps({**header, "sealed": sealed.hex()}, indent=1) + "\n").encode("ascii")


def _read(path: Path) -> HiddenBytes:
    return read_private(path, _MOST_BYTES, _REMEDY)


def _header(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "sealed"}


def _info(fields: dict[str, Any]) -> KeyInfo:
    return KeyInfo(fields["role"], fields["account"], fields["public_key"], fields["created"])


def _wrong(fields: dict[str, Any]) -> str | None:
    version = fields.get("waggle_key")
    if type(version) is not int:
        return "it has no waggle_key"
    if version != 1:
        return f"it is of version {version}, this waggle knows version 1"
    if fields.keys() != _FIELDS:
        return f"its fields are not {', '.join(sorted(_FIELDS))}"
    wrong = _wrong_info(fields) or sealing.wrong_sealing(fields)
    if wrong is None and not sealing.is_hex(fields["sealed"], 32 + sealing.TAG_SIZE):
        wrong = "its sealed part has another length, or is no lower-case hex"
    return wrong


def _wrong_info(fields: dict[str, Any]) -> str | None:
    texts = [fields[name] for name in ("role", "account", "public_key", "created")]
    if not all(isinstance(text, str) for text in texts):
        return "role, account, public_key and created are texts"
    role, account, public_key, created = texts
    if role not in ROLES:
        return f"the role is one of {', '.join(ROLES)}"
    if account and not is_account_name(account):
        return "the account is no Hive account name"
    if not _TIME.fullmatch(created):
        return "created is no time like 2026-11-21T06:12:02Z"
    try:
        if not re.fullmatch("[A-Z]{3}", public_key[:3]):
            return "the public key has no prefix like STM"
        public_key_from_text(public_key, public_key[:3])
    except HiveDataError:
        return "the public key is none"
    return None
