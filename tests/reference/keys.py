"""secp256k1 recovery in pure Python, Hive's text form of keys, the pop of docs/protocol.md section 4.

Throw-away keys for fixtures are sha256 of a sentence; nobody should ever hold money with them.
"""

import hashlib

from ecdsa import SECP256k1, SigningKey
from ecdsa.ellipticcurve import PointJacobi
from ecdsa.util import sigencode_string_canonize

from tests.reference.packing import H

_CURVE = SECP256k1.curve
_P = _CURVE.p()
_N = SECP256k1.order
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def throw_away(sentence: str) -> SigningKey:
    """The private key whose secret is sha256 of ``sentence``."""
    return SigningKey.from_string(hashlib.sha256(sentence.encode()).digest(), curve=SECP256k1)


def public(key: SigningKey) -> bytes:
    """The 33 bytes of the public key."""
    return bytes(key.get_verifying_key().to_string("compressed"))


def key_text(raw: bytes, prefix: str = "STM") -> str:
    """Hive's text form: prefix, then base58 of the 33 bytes and the first 4 of their ripemd160."""
    number = int.from_bytes(raw + hashlib.new("ripemd160", raw).digest()[:4], "big")
    out = ""
    while number:
        number, digit = divmod(number, 58)
        out = _ALPHABET[digit] + out
    return prefix + out


def key_bytes(text: str, prefix: str = "STM") -> bytes:
    """The 33 bytes of Hive's text form. Raises ValueError."""
    if not text.startswith(prefix):
        raise ValueError("another prefix")
    number = 0
    for letter in text[len(prefix) :]:
        number = number * 58 + _ALPHABET.index(letter)
    raw = number.to_bytes(37, "big")
    if key_text(raw[:33], prefix) != text or _lift(int.from_bytes(raw[1:33], "big"), raw[0] & 1) is None:
        raise ValueError("wrong checksum, or no point of the curve")
    return raw[:33]


def _lift(x: int, odd: int) -> PointJacobi | None:
    """The point with this x and this parity of y."""
    if x >= _P:
        return None
    square = (pow(x, 3, _P) + 7) % _P
    y = pow(square, (_P + 1) // 4, _P)
    if y * y % _P != square:
        return None
    return PointJacobi(_CURVE, x, y if y % 2 == odd else _P - y, 1, _N)


def recover(digest: bytes, sig: bytes) -> bytes | None:
    """The 33 bytes of the key that made the compact signature ``sig`` (65 bytes, first 31..34), or None."""
    if len(sig) != 65 or not 31 <= sig[0] <= 34:
        return None
    which, r, s = sig[0] - 31, int.from_bytes(sig[1:33], "big"), int.from_bytes(sig[33:], "big")
    if not (0 < r < _N and 0 < s < _N):
        return None
    start = _lift(r + _N * (which >> 1), which & 1)
    if start is None:
        return None
    inverse = pow(r, -1, _N)
    z = int.from_bytes(digest, "big")
    point = start * (s * inverse % _N) + SECP256k1.generator * (-z * inverse % _N)
    if point.x() is None:
        return None
    return bytes([2 + point.y() % 2]) + int(point.x()).to_bytes(32, "big")


def sign(key: SigningKey, digest: bytes) -> bytes:
    """A compact signature with low s, by RFC 6979."""
    raw = bytes(key.sign_digest_deterministic(digest, hashlib.sha256, sigencode=sigencode_string_canonize))
    for which in range(4):
        sig = bytes([31 + which]) + raw
        if recover(digest, sig) == public(key):
            return sig
    raise ValueError("no recovery id fits")


def is_low(sig: bytes) -> bool:
    """Whether s is in the lower half."""
    return bool(int.from_bytes(sig[33:], "big") <= _N // 2)


def flip_s(sig: bytes) -> bytes:
    """The other signature by the same key over the same digest: high s for low."""
    s = int(_N) - int.from_bytes(sig[33:], "big")
    return bytes([((sig[0] - 31) ^ 1) + 31]) + sig[1:33] + s.to_bytes(32, "big")


def pop_digest(genesis_hash: bytes, account: str) -> bytes:
    """What a member signs to prove that it has its signing key."""
    return H(["pop", genesis_hash, account])


def check_pop(genesis_hash: bytes, account: str, signing_key: bytes, pop: bytes) -> bool:
    """Whether ``pop`` is a signature by ``signing_key`` for this account, with low s as section 7 has it."""
    return recover(pop_digest(genesis_hash, account), pop) == signing_key and is_low(pop)
