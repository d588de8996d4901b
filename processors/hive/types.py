"""Hive's field types: each reads both API forms, writes both packs, and shows both API forms.

``parse(x, chain)`` turns JSON of either form into one value and raises HiveDataError; ``pack(out, value,
symbols)`` appends its bytes, with ``symbols`` of the chain's legacy pack or of the typed one; ``show(value, chain,
typed)`` gives JSON as condenser_api (legacy) or block_api (typed) does. Source: FC_REFLECT in hived's protocol.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from processors.hive.chain import NAI, PRECISION, TYPED_SYMBOLS, Chain
from processors.hive.errors import HiveDataError
from processors.hive.keys import public_key_from_text, public_key_to_text
from processors.hive.times import time_from_text, time_to_text

Symbols = Sequence[bytes]


class Asset(NamedTuple):
    """An amount in the smallest unit of HIVE (0), HBD (1) or VESTS (2)."""

    amount: int
    kind: int


class Authority(NamedTuple):
    """An authority: threshold, accounts and keys with their weights, each sorted, the first of equal ones kept."""

    weight_threshold: int
    account_auths: tuple[tuple[str, int], ...]
    key_auths: tuple[tuple[bytes, int], ...]


class Variant(NamedTuple):
    """A value of a static_variant: which alternative, and its value."""

    which: int
    value: Any


def varint(number: int) -> bytes:
    """An unsigned LEB128 integer, as fc packs sizes."""
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class Reader:
    """Reads packed bytes from the front; HiveDataError where they end too early."""

    __slots__ = ("_at", "_data", "chain")

    def __init__(self, data: bytes, chain: Chain) -> None:
        self._data = data
        self._at = 0
        self.chain = chain

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        found = self._data[self._at : self._at + size]
        if len(found) != size:
            raise HiveDataError("packed bytes end too early")
        self._at += size
        return found

    def number(self, size: int) -> int:
        """The next unsigned little-endian integer."""
        return int.from_bytes(self.take(size), "little")

    def varint(self) -> int:
        """The next unsigned LEB128 integer of at most 32 bits, in its shortest form."""
        value = shift = 0
        while True:
            octet = self.take(1)[0]
            value |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80:
                if value >= 1 << 32 or (octet == 0 and shift > 7):
                    raise HiveDataError("a size is not in its shortest form")
                return value
            if shift > 28:
                raise HiveDataError("a size does not fit 32 bits")

    def at_end(self) -> bool:
        """Whether everything was read."""
        return self._at == len(self._data)


class Type:
    """One field type."""

    def parse(self, x: Any, chain: Chain) -> Any:
        """The value of JSON ``x`` in either form; HiveDataError if it has no such value."""
        raise NotImplementedError

    def pack(self, out: bytearray, value: Any, symbols: Symbols) -> None:
        """Append the bytes of ``value``."""
        raise NotImplementedError

    def unpack(self, reader: Reader) -> Any:
        """The value of the next bytes, in either pack. Raises HiveDataError."""
        raise NotImplementedError

    def show(self, value: Any, chain: Chain, typed: bool) -> Any:
        """JSON of ``value``."""
        return value


class Int(Type):
    """An integer of ``size`` bytes; large ones come as decimal text too."""

    def __init__(self, size: int, *, signed: bool = False) -> None:
        self._size, self._signed = size, signed
        bits = 8 * size
        self._low, self._high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)

    def parse(self, x: Any, chain: Chain) -> int:
        if type(x) is str and len(x) <= 20 and re.fullmatch(r"-?[0-9]+", x):
            x = int(x)
        if type(x) is not int or not self._low <= x <= self._high:
            raise HiveDataError(f"not an integer of {self._size} bytes: {str(x)[:40]}")
        return x

    def unpack(self, reader: Reader) -> int:
        return int.from_bytes(reader.take(self._size), "little", signed=self._signed)

    def pack(self, out: bytearray, value: int, symbols: Symbols) -> None:
        out += value.to_bytes(self._size, "little", signed=self._signed)

    def show(self, value: int, chain: Chain, typed: bool) -> Any:
        return str(value) if not -0x80000000 <= value <= 0xFFFFFFFF else value  # as fc's JSON writer does


class Bool(Type):
    """A bool, one byte."""

    def parse(self, x: Any, chain: Chain) -> bool:
        if type(x) is not bool:
            raise HiveDataError(f"not a bool: {str(x)[:40]}")
        return x

    def unpack(self, reader: Reader) -> bool:
        octet = reader.number(1)
        if octet > 1:
            raise HiveDataError(f"not a bool: {octet}")
        return octet == 1

    def pack(self, out: bytearray, value: bool, symbols: Symbols) -> None:
        out.append(value)


class Text(Type):
    """A string with its length in bytes; ``limit`` bytes at most for fixed_string types."""

    def __init__(self, limit: int = 1 << 24) -> None:
        self._limit = limit

    def parse(self, x: Any, chain: Chain) -> str:
        if type(x) is not str:
            raise HiveDataError(f"not a text: {str(x)[:40]}")
        text: str = x
        size = len(text)
        if not text.isascii():
            try:
                raw = text.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError as error:
                raise HiveDataError("a text with a lone surrogate has no bytes") from error
            # one value for the same bytes, however a server escaped them: the Merkle root proves bytes, not JSON
            text, size = raw.decode("utf-8", "surrogateescape"), len(raw)
        if size > self._limit:
            raise HiveDataError(f"not a text of at most {self._limit} bytes: {text[:40]!r}")
        return text

    def unpack(self, reader: Reader) -> str:
        size = reader.varint()
        if size > self._limit:
            raise HiveDataError(f"a text of {size} bytes stands where {self._limit} are the most")
        return reader.take(size).decode("utf-8", "surrogateescape")

    def pack(self, out: bytearray, value: str, symbols: Symbols) -> None:
        # surrogateescape: old blocks hold strings that are not UTF-8, read with the same escape
        raw = value.encode("utf-8", "surrogateescape")
        out += varint(len(raw))
        out += raw


class Time(Type):
    """time_point_sec: seconds since 1970."""

    def parse(self, x: Any, chain: Chain) -> int:
        return time_from_text(x)

    def unpack(self, reader: Reader) -> int:
        return reader.number(4)

    def pack(self, out: bytearray, value: int, symbols: Symbols) -> None:
        out += value.to_bytes(4, "little")

    def show(self, value: int, chain: Chain, typed: bool) -> str:
        return time_to_text(value)


@lru_cache(maxsize=256)
def _amount_pattern(precision: int) -> re.Pattern[str]:
    return re.compile(rf"(-?)([0-9]{{1,19}})\.([0-9]{{{precision}}}) ([A-Z]+)", re.ASCII)


_DIGITS = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_ASSET_KEYS = {"amount", "precision", "nai"}
_KIND_OF_NAI = {nai: kind for kind, nai in enumerate(NAI)}


class AssetType(Type):
    """An amount: "1.000 HIVE" or {"amount", "precision", "nai"}."""

    def parse(self, x: Any, chain: Chain) -> Asset:
        asset = self._typed(x) if type(x) is dict else self._legacy(x, chain) if type(x) is str else None
        if asset is None or not -(1 << 63) <= asset.amount < 1 << 63:
            raise HiveDataError(f"not an amount: {str(x)[:60]}")
        return asset

    @staticmethod
    def _typed(x: dict[str, Any]) -> Asset | None:
        kind = _KIND_OF_NAI.get(x["nai"]) if x.keys() == _ASSET_KEYS and type(x["nai"]) is str else None
        if kind is None:
            return None
        amount = x["amount"]
        if type(amount) is str and _DIGITS.fullmatch(amount):
            amount = int(amount)
        if type(amount) is not int or x["precision"] != PRECISION[kind]:
            return None
        return Asset(amount, kind)

    @staticmethod
    def _legacy(x: str, chain: Chain) -> Asset | None:
        kind = chain.kind(x.rpartition(" ")[2])
        if kind is None:
            return None
        match = _amount_pattern(PRECISION[kind]).fullmatch(x)
        if match is None:
            return None
        amount = int(match[2] + match[3])
        return Asset(-amount if match[1] else amount, kind)

    def unpack(self, reader: Reader) -> Asset:
        amount = int.from_bytes(reader.take(8), "little", signed=True)
        symbol = reader.take(4)
        if symbol in TYPED_SYMBOLS:
            return Asset(amount, TYPED_SYMBOLS.index(symbol))
        symbol += reader.take(4)
        if symbol not in reader.chain.legacy_symbols:
            raise HiveDataError(f"not a symbol: {symbol.hex()}")
        return Asset(amount, reader.chain.legacy_symbols.index(symbol))

    def pack(self, out: bytearray, value: Asset, symbols: Symbols) -> None:
        out += value[0].to_bytes(8, "little", signed=True)
        out += symbols[value[1]]

    def show(self, value: Asset, chain: Chain, typed: bool) -> Any:
        amount, kind = value
        precision = PRECISION[kind]
        if typed:
            return {"amount": str(amount), "precision": precision, "nai": NAI[kind]}
        digits = str(abs(amount)).rjust(precision + 1, "0")
        sign = "-" if amount < 0 else ""
        return f"{sign}{digits[:-precision]}.{digits[-precision:]} {chain.symbols[kind]}"


class Key(Type):
    """A public key, 33 bytes."""

    def parse(self, x: Any, chain: Chain) -> bytes:
        if type(x) is not str:
            raise HiveDataError(f"not a public key: {str(x)[:60]}")
        return public_key_from_text(x, chain.address_prefix)

    def unpack(self, reader: Reader) -> bytes:
        return reader.take(33)

    def pack(self, out: bytearray, value: bytes, symbols: Symbols) -> None:
        out += value

    def show(self, value: bytes, chain: Chain, typed: bool) -> str:
        return public_key_to_text(value, chain.address_prefix)


class Hex(Type):
    """Bytes as hex: ``size`` of them, or any number with a length before them."""

    def __init__(self, size: int | None = None) -> None:
        self._size = size

    def parse(self, x: Any, chain: Chain) -> bytes:
        if type(x) is not str or (self._size is not None and len(x) != 2 * self._size) or not x.isascii():
            raise HiveDataError(f"not hex of the right length: {str(x)[:60]}")
        try:
            return bytes.fromhex(x)
        except ValueError as error:
            raise HiveDataError(f"not hex: {x[:60]}") from error

    def unpack(self, reader: Reader) -> bytes:
        return reader.take(reader.varint() if self._size is None else self._size)

    def pack(self, out: bytearray, value: bytes, symbols: Symbols) -> None:
        if self._size is None:
            out += varint(len(value))
        out += value

    def show(self, value: bytes, chain: Chain, typed: bool) -> str:
        return value.hex()


class Version(Type):
    """hived's version: "1.28.0" in four bytes."""

    def parse(self, x: Any, chain: Chain) -> int:
        if type(x) is not str or not re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,5}", x, re.ASCII):
            raise HiveDataError(f"not a version: {str(x)[:40]}")
        major, hardfork, release = map(int, x.split("."))
        if major > 255 or hardfork > 255 or release > 65535:
            raise HiveDataError(f"not a version: {x}")
        return major << 24 | hardfork << 16 | release

    def unpack(self, reader: Reader) -> int:
        return reader.number(4)

    def pack(self, out: bytearray, value: int, symbols: Symbols) -> None:
        out += value.to_bytes(4, "little")

    def show(self, value: int, chain: Chain, typed: bool) -> str:
        return f"{value >> 24}.{value >> 16 & 255}.{value & 65535}"
