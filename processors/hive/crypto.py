"""Signing and strict recovery on secp256k1.

A signature is 65 bytes: 31 + recovery id, r, s. Ours have low s and are deterministic (RFC 6979), so
that signing the same digest twice gives the same bytes. Hive's own libraries choose other nonces; any canonical
signature by the key is as good.
"""

from processors.hive import crypto_pure
from processors.hive.errors import SignatureError

try:
    from coincurve import PrivateKey, PublicKey

    FAST = True
except ImportError:  # no wheel for this machine: the same signatures from pure Python
    FAST = False

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HALF = ORDER // 2
#: Recoveries of one half of those at hand.
_RECOVERED = 1 << 13


class _Recovered:
    """Recoveries at hand, by compact signature and digest: a signature is looked at when it comes, and again in what it
    signed. When the young half is full it becomes the old one, and what was the old one is forgotten.
    """

    def __init__(self) -> None:
        self._young: dict[tuple[bytes, bytes], bytes] = {}
        self._old: dict[tuple[bytes, bytes], bytes] = {}

    def get(self, compact: bytes, digest: bytes) -> bytes | None:
        """The key, or None if it is not at hand."""
        return self._young.get((compact, digest)) or self._old.get((compact, digest))

    def keep(self, compact: bytes, digest: bytes, key: bytes) -> None:
        """The key from now on."""
        if len(self._young) >= _RECOVERED:
            self._old, self._young = self._young, {}
        self._young[compact, digest] = key


_recovered = _Recovered()


def sign(secret: bytes, digest: bytes) -> bytes:
    """The canonical 65-byte signature of a 32-byte digest by 32 secret bytes."""
    if not FAST:
        return crypto_pure.sign(secret, digest)
    compact = PrivateKey(secret).sign_recoverable(digest, hasher=None)
    return bytes([31 + compact[64]]) + compact[:64]


def public_key(secret: bytes) -> bytes:
    """The 33 bytes of the key that belongs to 32 secret bytes."""
    return PrivateKey(secret).public_key.format() if FAST else crypto_pure.public_key(secret)


def is_low_s(signature: bytes) -> bool:
    """Whether s of a 65-byte signature is in the lower half of the order, and not 0."""
    return 0 < int.from_bytes(signature[33:], "big") <= _HALF


def recover(signature: bytes, digest: bytes) -> bytes:
    """33 bytes of the key that made a signature of our strict form (first byte 31..34, low s).

    Raises SignatureError.
    """
    if len(signature) != 65 or not 31 <= signature[0] <= 34 or not is_low_s(signature):
        raise SignatureError("a signature has 65 bytes, the first 31..34, and low s")
    return _recover(_compact(signature), digest)


def recover_as_hived(signature: bytes, digest: bytes) -> bytes:
    """33 bytes of the key, of what hived takes: 27 + recovery id too (fc, elliptic_impl_priv.cpp).

    High s is refused here, as since the change to bip-0062 in hived. Raises SignatureError.
    """
    if len(signature) != 65 or not 27 <= signature[0] < 35:
        raise SignatureError("a signature has 65 bytes, the first 27..34")
    if not is_low_s(signature):
        raise SignatureError("signature is not canonical")
    return _recover(_compact(signature), digest)


def recover_any(signature: bytes, digest: bytes) -> bytes:
    """33 bytes of the key, high s allowed: for blocks from before the rule. Raises SignatureError."""
    if len(signature) != 65 or not 27 <= signature[0] < 35:
        raise SignatureError("a signature has 65 bytes, the first 27..34")
    return _recover(_compact(signature), digest)


def remember(signature: bytes, digest: bytes, key: bytes) -> None:
    """Keep at hand what :func:`recover_any` said of 65 bytes and a digest, in this process or in one of ours.

    Whoever calls it vouches for it: it is not looked at again.
    """
    _recovered.keep(_compact(signature), digest, key)


def _compact(signature: bytes) -> bytes:
    """r, s, recovery id, of 65 bytes whose first is 27 or 31 more than that."""
    return signature[1:] + bytes([(signature[0] - 27) & 3])


def _recover(compact: bytes, digest: bytes) -> bytes:
    key = _recovered.get(compact, digest)
    if key is None:
        key = _recover_anew(compact, digest)
        _recovered.keep(compact, digest, key)
    return key


def _recover_anew(compact: bytes, digest: bytes) -> bytes:
    try:
        if not FAST:
            return crypto_pure.recover(compact[:64], compact[64], digest)
        key: bytes = PublicKey.from_signature_and_message(compact, digest, hasher=None).format()
    except Exception as error:  # coincurve raises bare Exception for what recovers to no point
        raise SignatureError("the signature recovers to no key") from error
    return key


def is_valid_point(key: bytes) -> bool:
    """Whether 33 bytes are a point of the curve in compressed form."""
    if len(key) != 33 or key[0] not in (2, 3):
        return False
    if not FAST:
        return crypto_pure.is_valid_point(key)
    try:
        PublicKey(key)
    except ValueError:
        return False
    return True
