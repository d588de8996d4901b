"""Bytes under a password: scrypt makes a key of it, AES-256-GCM seals, and the header that names both is authenticated.

A header is a small JSON object. What seals, and what is authenticated, is its canonical form: sorted keys, no spaces,
ASCII. So nothing in it can be changed without the password, not even to a cheaper scrypt.
"""

import json
import os
import re
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from node.errors import KeyFileError
from node.signer.passwords import as_bytes
from node.signer.secret import HiddenBytes, HiddenText

#: scrypt's N of what is written, and the least of what is read: 128 MiB and a third of a second for each guess.
_WORK = 1 << 17
#: The most of what is read: 1 GiB. A changed file must not take all memory before the password is known to be wrong.
_MOST_WORK = 1 << 20
_SALT_SIZE = 32
_NONCE_SIZE = 12
#: Bytes that sealing adds: the tag.
TAG_SIZE = 16


def seal(header: dict[str, Any], content: bytes, password: str) -> tuple[dict[str, Any], bytes]:
    """``content`` under a password: the header with its kdf and cipher, and the sealed bytes. Salt and nonce are fresh.

    Raises KeyFileError where there is not memory enough.
    """
    password = HiddenText(password)
    kdf = {"name": "scrypt", "n": _WORK, "r": 8, "p": 1, "salt": os.urandom(_SALT_SIZE).hex()}
    nonce = os.urandom(_NONCE_SIZE)
    whole = {**header, "kdf": kdf, "cipher": {"name": "aes-256-gcm", "nonce": nonce.hex()}}
    return whole, AESGCM(_derive(kdf, password)).encrypt(nonce, content, canonical(whole))


def unseal(header: dict[str, Any], sealed: bytes, password: str) -> HiddenBytes | None:
    """What was sealed under a header that ``wrong_sealing`` found good; None if the password or anything else differs.

    Raises KeyFileError where there is not memory enough.
    """
    password = HiddenText(password)
    key = _derive(header["kdf"], password)
    try:
        nonce = bytes.fromhex(header["cipher"]["nonce"])
        return HiddenBytes(AESGCM(key).decrypt(nonce, sealed, canonical(header)))
    except InvalidTag:
        return None


def wrong_sealing(header: dict[str, Any]) -> str | None:
    """Why ``kdf`` and ``cipher`` of a header are refused; None if they are good."""
    kdf, cipher = header.get("kdf"), header.get("cipher")
    if not isinstance(kdf, dict) or kdf.keys() != {"name", "n", "r", "p", "salt"} or kdf["name"] != "scrypt":
        return "its kdf is not the scrypt of this version"
    if not isinstance(cipher, dict) or cipher.keys() != {"name", "nonce"} or cipher["name"] != "aes-256-gcm":
        return "its cipher is not the aes-256-gcm of this version"
    numbers = (kdf["n"], kdf["r"], kdf["p"])
    if any(type(number) is not int for number in numbers) or numbers[1:] != (8, 1) or numbers[0].bit_count() != 1:
        return "its scrypt has other parameters than n = a power of 2, r = 8, p = 1"
    if kdf["n"] < _WORK:
        return f"its scrypt was made cheap: n = {kdf['n']}, at least {_WORK} is taken"
    if kdf["n"] > _MOST_WORK:
        return f"its scrypt would take too much memory: n = {kdf['n']}, at most {_MOST_WORK} is taken"
    if not is_hex(kdf["salt"], _SALT_SIZE) or not is_hex(cipher["nonce"], _NONCE_SIZE):
        return "its salt or nonce has another length, or is no lower-case hex"
    return None


def canonical(header: dict[str, Any]) -> bytes:
    """The bytes of a header that are authenticated."""
    return json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def parse_object(raw: bytes) -> dict[str, Any] | None:
    """A JSON object without floats and without a key twice; None for anything else."""
    try:
        found = json.loads(
            raw.decode("ascii"), object_pairs_hook=_without_doubles, parse_float=_refuse, parse_constant=_refuse
        )
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def is_hex(value: object, size: int) -> bool:
    """Whether a value is ``size`` bytes in lower-case hex."""
    return isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{2 * size}}}", value) is not None


def _derive(kdf: dict[str, Any], password: str) -> HiddenBytes:
    scrypt = Scrypt(salt=bytes.fromhex(kdf["salt"]), length=32, n=kdf["n"], r=kdf["r"], p=kdf["p"])
    try:
        return HiddenBytes(scrypt.derive(as_bytes(password)))
    except MemoryError:
        pass  # raised below, where no frame of the library hangs on the error
    raise KeyFileError(f"not enough memory: scrypt needs {kdf['n'] >> 10} MiB for a moment. Free some, and try again")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _refuse(text: str) -> Any:
    raise ValueError("a number that is no integer")
