"""The same signatures in pure Python (ecdsa), for machines without coincurve: slow, and nothing else.

Both libraries choose the nonce by RFC 6979, so both give the same bytes (a test holds them together).
"""

from hashlib import sha256

import ecdsa
from ecdsa.curves import SECP256k1
from ecdsa.util import sigdecode_string

ORDER = SECP256k1.order


def sign(secret: bytes, digest: bytes) -> bytes:
    """The canonical 65-byte signature of a 32-byte digest by 32 secret bytes."""
    key = ecdsa.SigningKey.from_string(secret, SECP256k1)
    r, s = sigdecode_string(key.sign_digest_deterministic(digest, hashfunc=sha256), ORDER)
    s = min(s, ORDER - s)
    compact: bytes = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    own: bytes = key.verifying_key.to_string("compressed")
    for number in range(4):
        if _recover_or_none(compact, number, digest) == own:
            return bytes([31 + number]) + compact
    raise AssertionError("a signature that its own key does not verify")


def public_key(secret: bytes) -> bytes:
    """The 33 bytes of the key that belongs to 32 secret bytes."""
    found: bytes = ecdsa.SigningKey.from_string(secret, SECP256k1).verifying_key.to_string("compressed")
    return found


def recover(compact: bytes, number: int, digest: bytes) -> bytes:
    """33 bytes of the key for r, s and a recovery id. Raises ValueError."""
    found = _recover_or_none(compact, number, digest)
    if found is None:
        raise ValueError("the signature recovers to no key")
    return found


def is_valid_point(key: bytes) -> bool:
    """Whether 33 bytes are a compressed point of the curve."""
    try:
        ecdsa.VerifyingKey.from_string(key, SECP256k1, valid_encodings=("compressed",))
    except ecdsa.errors.MalformedPointError:
        return False
    return True


def _recover_or_none(compact: bytes, number: int, digest: bytes) -> bytes | None:
    """SEC 1, 4.1.6: the point R has the x-coordinate r (+ the order), and its parity is the recovery id's low bit."""
    curve, generator = SECP256k1.curve, SECP256k1.generator
    r, s = int.from_bytes(compact[:32], "big"), int.from_bytes(compact[32:], "big")
    x = r + (number >> 1) * ORDER
    p = curve.p()
    if not (0 < r < ORDER and 0 < s < ORDER and x < p):
        return None
    square = (pow(x, 3, p) + 7) % p
    y = pow(square, (p + 1) >> 2, p)
    if y * y % p != square:
        return None
    if y & 1 != number & 1:
        y = p - y
    point = ecdsa.ellipticcurve.PointJacobi(curve, x, y, 1, ORDER)
    inverse = pow(r, -1, ORDER)
    e = int.from_bytes(digest, "big")
    found = point * (s * inverse % ORDER) + generator * (-e * inverse % ORDER)
    if found == ecdsa.ellipticcurve.INFINITY:
        return None
    parity = 2 + (found.y() & 1)
    return bytes([parity]) + int(found.x()).to_bytes(32, "big")
