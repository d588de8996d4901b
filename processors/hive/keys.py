"""Keys in Hive's text forms (hived: libraries/protocol/types.cpp, fc/crypto/elliptic_common.cpp)."""

from functools import lru_cache
from hashlib import new, sha256

from processors.hive.errors import HiveDataError

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUE = {letter: value for value, letter in enumerate(_ALPHABET)}

#: 33 zero bytes: "no key"; in account_update it leaves the memo key as it is.
NULL_KEY = bytes(33)


def base58_encode(data: bytes) -> str:
    """Base58 text of ``data``, a 1 for each leading zero byte."""
    number = int.from_bytes(data, "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = _ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def base58_decode(text: str) -> bytes:
    """The bytes of a base58 text of at most 128 letters; HiveDataError for anything else."""
    if len(text) > 128 or not text.isascii():
        raise HiveDataError("not a base58 text")
    number = 0
    for letter in text:
        digit = _VALUE.get(letter)
        if digit is None:
            raise HiveDataError("not a base58 text")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _ripemd160(data: bytes) -> bytes:
    return new("ripemd160", data).digest()


@lru_cache(maxsize=8192)
def public_key_from_text(text: str, address_prefix: str) -> bytes:
    """33 bytes of a key as STM...; HiveDataError for another prefix, length or checksum."""
    if type(text) is not str or not text.startswith(address_prefix):
        raise HiveDataError(f"a public key begins with {address_prefix}")
    raw = base58_decode(text[len(address_prefix) :])
    if len(raw) != 37 or _ripemd160(raw[:33])[:4] != raw[33:]:
        raise HiveDataError(f"not a public key: {text[:60]!r}")
    return raw[:33]


@lru_cache(maxsize=8192)
def public_key_to_text(key: bytes, address_prefix: str) -> str:
    """A key of 33 bytes as STM..."""
    return address_prefix + base58_encode(key + _ripemd160(key)[:4])


def private_key_from_wif(wif: str) -> bytes:
    """32 secret bytes of a WIF; HiveDataError, which never quotes the text, for anything else."""
    try:
        raw = base58_decode(wif)
    except HiveDataError:
        raw = b""
    body, check = raw[:-4], raw[-4:]
    if len(raw) != 37 or raw[0] != 0x80 or sha256(sha256(body).digest()).digest()[:4] != check:
        raise HiveDataError("not a private key in WIF form")
    return body[1:]


def private_key_to_wif(secret: bytes) -> str:
    """WIF of 32 secret bytes."""
    body = b"\x80" + secret
    return base58_encode(body + sha256(sha256(body).digest()).digest()[:4])
