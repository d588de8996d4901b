"""Secrets in memory: bytes and text that do not show themselves, and a private key of which only the public half shows.

Whoever prints, formats, logs or dumps one of these, or the local variables of a frame that holds one, sees no secret.
This guards against accidents, not against code that asks for the bytes; node/signer/guard.py guards the process.
"""

import os

from msgspec.structs import replace

from processors.hive import crypto
from processors.hive.chain import Chain
from processors.hive.transaction import Transaction, pack_transaction, signing_digest

_HIDDEN = "<hidden>"


class HiddenBytes(bytes):
    """Bytes whose repr, str and format hide them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _HIDDEN

    def __str__(self) -> str:
        return _HIDDEN

    def __format__(self, form: str) -> str:
        return _HIDDEN

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("a secret is not copied out of its process")


class HiddenText(str):
    """Text whose repr hides it, and that is not put into other text.

    str and format raise TypeError rather than hide: else a password that goes through one of them somewhere would be
    the same word for everybody, and nobody would notice.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> "HiddenText":
        return super().__new__(cls, str.__str__(text))

    def __repr__(self) -> str:
        return _HIDDEN

    def __str__(self) -> str:
        raise TypeError("a secret is not put into text")

    def __format__(self, form: str) -> str:
        raise TypeError("a secret is not put into text")

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("a secret is not copied out of its process")


class SecretKey:
    """A private key that shows only its public half."""

    __slots__ = ("_secret", "public")

    def __init__(self, secret: bytes) -> None:
        """From 32 bytes. Raises ValueError, which does not quote them, for 0 and what is not below the order."""
        secret = HiddenBytes(secret)
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < crypto.ORDER:
            raise ValueError("a private key is a number of 32 bytes, above 0 and below the order of the curve")
        self._secret = secret
        self.public = crypto.public_key(secret)

    def sign(self, digest: bytes) -> bytes:
        """The canonical signature (65 bytes) of a 32-byte digest. Raises TypeError, ValueError for anything else."""
        # Checked here: below, numbers made of the secret would be local variables of the frames of an error.
        if not isinstance(digest, bytes):
            raise TypeError("a digest is bytes")
        if len(digest) != 32:
            raise ValueError("a digest has 32 bytes")
        return crypto.sign(self._secret, digest)

    def sign_transaction(self, tx: Transaction, chain: Chain) -> Transaction:
        """The transaction with this key's signature, over the legacy pack, as its only one."""
        return replace(tx, signatures=(self.sign(signing_digest(pack_transaction(tx, chain), chain)),))

    def __repr__(self) -> str:
        public: bytes = getattr(self, "public", b"")  # empty in the frames of an error while it is made
        return f"SecretKey(public={public.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a secret key is not copied out of its process")


def new_key() -> SecretKey:
    """A fresh key from the system's randomness."""
    while True:
        secret = HiddenBytes(os.urandom(32))
        if 0 < int.from_bytes(secret, "big") < crypto.ORDER:
            return SecretKey(secret)
