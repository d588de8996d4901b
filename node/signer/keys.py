"""Key files of both kinds: encrypted ones, and WIF in a file of mode 0600.

A secret is never printed, logged, or put into an exception; the frames that raise hold none in the clear.
"""

import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from node.errors import KeyFileError
from node.signer.keyfile import is_sealed, open_parsed, parse
from node.signer.private_files import OTHERS, read_private, write_new
from node.signer.secret import HiddenBytes, HiddenText, SecretKey, new_key
from processors.hive.errors import HiveDataError
from processors.hive.keys import private_key_from_wif, private_key_to_wif, public_key_to_text

__all__ = [
    "Listed",
    "Opened",
    "SecretKey",
    "key_from_password",
    "load_keys",
    "look_at",
    "new_key",
    "open_keys",
    "parse_wif",
    "write_key",
]

_MOST_BYTES = 1 << 20
_REMEDY = "write the WIF into that file, mode 0600"


class Opened(msgspec.Struct, frozen=True):
    """Keys that were opened: all, in the order of the files; those of each file; and the files that are plain WIF."""

    keys: list[SecretKey]
    of: dict[Path, list[SecretKey]]
    plain: list[Path]


class Listed(msgspec.Struct, frozen=True):
    """What can be said of a key file without its password. ``problem`` is empty if a node takes it."""

    path: Path
    encrypted: bool
    role: str
    account: str
    public_keys: tuple[str, ...]
    mode: int
    problem: str


def open_keys(paths: Sequence[Path], password: Callable[[], str], *, role: str = "") -> Opened:
    """The keys of encrypted and of WIF files alike.

    ``password`` is called once for all files, and only if one is encrypted. With ``role`` (signing, account) a file
    that says another one is refused: two roles, two keys. Raises KeyFileError, and what ``password`` raises.
    """
    of: dict[Path, list[SecretKey]] = {}
    plain: list[Path] = []
    given: HiddenText | None = None
    for path in dict.fromkeys(paths):
        raw = read_private(path, _MOST_BYTES, _REMEDY)
        if not is_sealed(raw):
            of[path] = _from_wif(raw, path)
            plain.append(path)
            continue
        fields = parse(raw, path)
        if role and fields["role"] != role:
            raise KeyFileError(f"{path} is the key of the role {fields['role']}: name the {role} key's file here")
        if given is None:
            given = HiddenText(password())
        of[path] = [open_parsed(fields, path, given)[1]]
    return Opened([key for keys in of.values() for key in keys], of, plain)


def look_at(path: Path, prefix: str = "STM") -> Listed | None:
    """What a file of keys is, without its password; None if it holds no key. Raises KeyFileError if it cannot be read.

    A file that a node would refuse is told apart by ``problem``; ``prefix`` is for the public halves of WIF.
    """
    raw = read_private(path, _MOST_BYTES, _REMEDY, refused=0)
    mode = stat.S_IMODE(path.stat().st_mode)
    problem = f"others could read it. Run: chmod 600 {path}" if mode & OTHERS else ""
    if is_sealed(raw):
        if raw.find(b'"waggle_key"') < 0:
            return None
        try:
            fields = parse(raw, path)
        except KeyFileError as error:
            return Listed(path, True, "", "", (), mode, str(error))
        return Listed(path, True, fields["role"], fields["account"], (fields["public_key"],), mode, problem)
    keys, wrong = _wif_lines(raw)
    if wrong or not keys:
        return None
    return Listed(path, False, "", "", tuple(public_key_to_text(key.public, prefix) for key in keys), mode, problem)


def load_keys(path: Path) -> list[SecretKey]:
    """The keys of a WIF file: one a line, blank lines and lines beginning with # aside.

    Raises KeyFileError if others than the owner can read it, or a line is no key; no line is ever quoted.
    """
    raw = read_private(path, _MOST_BYTES, _REMEDY)
    if is_sealed(raw):
        raise KeyFileError(f"{path} is an encrypted key file, not a WIF: it needs its password")
    return _from_wif(raw, path)


def write_key(path: Path, key: SecretKey) -> None:
    """Write a key as WIF to a new file of mode 0600. Raises KeyFileError if the file exists."""
    write_new(path, HiddenBytes(private_key_to_wif(key._secret).encode() + b"\n"))


def parse_wif(text: str) -> SecretKey | None:
    """The key of a WIF; None if the text is none."""
    try:
        return SecretKey(private_key_from_wif(text))
    except (HiveDataError, ValueError):  # ValueError: a number that is no private key
        return None


def key_from_password(account: str, role: str, password: str) -> SecretKey:
    """The key that a Hive wallet derives from an account's master password (role: owner, active, posting, memo)."""
    from beemgraphenebase.account import PasswordKey  # a slow import that only this needs

    words = HiddenText(password)
    return SecretKey(private_key_from_wif(str(PasswordKey(account, words, role).get_private_key())))


def _from_wif(raw: HiddenBytes, path: Path) -> list[SecretKey]:
    found, wrong = _wif_lines(raw)
    if wrong:
        raise KeyFileError(f"{path}, line {wrong} is no private key in WIF form")
    if not found:
        raise KeyFileError(f"{path} holds no key: write the WIF into it, one a line")
    return found


def _wif_lines(raw: HiddenBytes) -> tuple[list[SecretKey], int]:
    """The keys, and the number of the first line that is none; 0 if all are."""
    found: list[SecretKey] = []
    for number, line in enumerate(raw.decode("ascii", "replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key = parse_wif(text)
        if key is None:
            return found, number
        found.append(key)
    return found, 0
