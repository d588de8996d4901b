"""Private keys: WIF in a file of mode 0600. A secret is never printed, logged, or put into an exception."""

import os
import stat
from pathlib import Path

from msgspec.structs import replace

from node.errors import KeyFileError
from processors.hive import crypto
from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError
from processors.hive.keys import private_key_from_wif, private_key_to_wif
from processors.hive.transaction import Transaction, pack_transaction, signing_digest


class SecretKey:
    """A private key that shows only its public half."""

    __slots__ = ("_secret", "public")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.public = crypto.public_key(secret)

    def sign(self, digest: bytes) -> bytes:
        """The canonical signature (65 bytes) of a 32-byte digest."""
        return crypto.sign(self._secret, digest)

    def sign_transaction(self, tx: Transaction, chain: Chain) -> Transaction:
        """The transaction with this key's signature, over the legacy pack, as its only one."""
        return replace(tx, signatures=(self.sign(signing_digest(pack_transaction(tx, chain), chain)),))

    def __repr__(self) -> str:
        return f"SecretKey(public={self.public.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a secret key is not copied out of its process")


def new_key() -> SecretKey:
    """A fresh key from the system's randomness."""
    while True:
        secret = os.urandom(32)
        if 0 < int.from_bytes(secret, "big") < crypto.ORDER:
            return SecretKey(secret)


def load_keys(path: Path) -> list[SecretKey]:
    """The keys of a file: one WIF a line, blank lines and lines beginning with # aside.

    Raises KeyFileError if others than the owner can read it, or a line is no key; no line is ever quoted.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}: write the WIF into that file, mode 0600") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise KeyFileError(f"{path} is no file: name the file that holds the WIF")
    with os.fdopen(handle, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise KeyFileError(f"{path} has mode {mode:04o}: others could read it. Run: chmod 600 {path}")
        lines = file.read(65536).decode("ascii", "replace").splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            found.append(SecretKey(private_key_from_wif(text)))
        except (HiveDataError, ValueError):  # ValueError: a number that is no private key
            raise KeyFileError(f"{path}, line {number} is no private key in WIF form") from None
    if not found:
        raise KeyFileError(f"{path} holds no key: write the WIF into it, one a line")
    return found


def write_key(path: Path, key: SecretKey) -> None:
    """Write a key to a new file of mode 0600. Raises KeyFileError if the file exists."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path} exists, or a folder on its way is a file: a key is never overwritten") from None
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}: name a place where this user may write") from None
    with os.fdopen(handle, "w") as file:
        file.write(private_key_to_wif(key._secret) + "\n")
        file.flush()
        os.fsync(file.fileno())


def key_from_password(account: str, role: str, password: str) -> SecretKey:
    """The key that a Hive wallet derives from an account's master password (role: owner, active, posting, memo)."""
    from beemgraphenebase.account import PasswordKey  # a slow import that only this needs

    return SecretKey(private_key_from_wif(str(PasswordKey(account, password, role).get_private_key())))
