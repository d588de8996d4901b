"""Hive's compound field types: sets, maps, structs, variants, and the authority."""

from typing import Any

from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError, UnknownOperationError
from processors.hive.types import (
    AssetType,
    Authority,
    Bool,
    Hex,
    Int,
    Key,
    Reader,
    Symbols,
    Text,
    Time,
    Type,
    Variant,
    varint,
)

_MAX_ITEMS = 65536


def _items(x: Any) -> list[Any]:
    if type(x) is not list or len(x) > _MAX_ITEMS:
        raise HiveDataError(f"not a list: {str(x)[:60]}")
    return x


def _count(reader: Reader) -> int:
    count = reader.varint()
    if count > _MAX_ITEMS:
        raise HiveDataError(f"{count} items are too many")
    return count


class Vector(Type):
    """A list, in its order."""

    def __init__(self, item: Type) -> None:
        self._item = item

    def parse(self, x: Any, chain: Chain) -> tuple[Any, ...]:
        return tuple([self._item.parse(item, chain) for item in _items(x)])

    def unpack(self, reader: Reader) -> tuple[Any, ...]:
        return tuple([self._item.unpack(reader) for _ in range(_count(reader))])

    def pack(self, out: bytearray, value: tuple[Any, ...], symbols: Symbols) -> None:
        out += varint(len(value))
        for item in value:
            self._item.pack(out, item, symbols)

    def show(self, value: tuple[Any, ...], chain: Chain, typed: bool) -> Any:
        return [self._item.show(item, chain, typed) for item in value]


class Set(Vector):
    """flat_set: sorted, without doubles, whatever order it came in."""

    def parse(self, x: Any, chain: Chain) -> tuple[Any, ...]:
        return tuple(sorted(set(super().parse(x, chain))))


class VariantSet(Vector):
    """flat_set of variants: by alternative, the first of each stays."""

    def parse(self, x: Any, chain: Chain) -> tuple[Any, ...]:
        found: dict[int, Variant] = {}
        for variant in super().parse(x, chain):
            found.setdefault(variant.which, variant)
        return tuple(found[which] for which in sorted(found))


class Map(Type):
    """flat_map: pairs sorted by key; of equal keys the first stays."""

    def __init__(self, key: Type, value: Type) -> None:
        self._key, self._value = key, value

    def parse(self, x: Any, chain: Chain) -> tuple[tuple[Any, Any], ...]:
        found: dict[Any, Any] = {}
        for pair in _items(x):
            if type(pair) is not list or len(pair) != 2:
                raise HiveDataError(f"not a pair: {str(pair)[:60]}")
            found.setdefault(self._key.parse(pair[0], chain), self._value.parse(pair[1], chain))
        return tuple(sorted(found.items()))

    def unpack(self, reader: Reader) -> tuple[tuple[Any, Any], ...]:
        return tuple([(self._key.unpack(reader), self._value.unpack(reader)) for _ in range(_count(reader))])

    def pack(self, out: bytearray, value: tuple[tuple[Any, Any], ...], symbols: Symbols) -> None:
        out += varint(len(value))
        for key, item in value:
            self._key.pack(out, key, symbols)
            self._value.pack(out, item, symbols)

    def show(self, value: tuple[tuple[Any, Any], ...], chain: Chain, typed: bool) -> Any:
        return [[self._key.show(key, chain, typed), self._value.show(item, chain, typed)] for key, item in value]


class Optional(Type):
    """A value or nothing (null, or the key left out)."""

    def __init__(self, item: Type) -> None:
        self.item = item

    def parse(self, x: Any, chain: Chain) -> Any:
        return None if x is None else self.item.parse(x, chain)

    def unpack(self, reader: Reader) -> Any:
        return self.item.unpack(reader) if BOOL.unpack(reader) else None

    def pack(self, out: bytearray, value: Any, symbols: Symbols) -> None:
        out.append(value is not None)
        if value is not None:
            self.item.pack(out, value, symbols)

    def show(self, value: Any, chain: Chain, typed: bool) -> Any:
        return None if value is None else self.item.show(value, chain, typed)


class Struct(Type):
    """Named fields in packing order; a value is a dict of them."""

    def __init__(self, **fields: Type) -> None:
        self.fields = fields
        self._parsers = [(name, field.parse, isinstance(field, Optional)) for name, field in fields.items()]
        self._packers = [(name, field.pack) for name, field in fields.items()]

    def parse(self, x: Any, chain: Chain) -> dict[str, Any]:
        if type(x) is not dict:
            raise HiveDataError(f"not an object: {str(x)[:60]}")
        try:
            return {name: parse(x.get(name) if optional else x[name], chain) for name, parse, optional in self._parsers}
        except KeyError as error:
            raise HiveDataError(f"the field {error} is missing") from error

    def unpack(self, reader: Reader) -> dict[str, Any]:
        return {name: field.unpack(reader) for name, field in self.fields.items()}

    def pack(self, out: bytearray, value: dict[str, Any], symbols: Symbols) -> None:
        for name, pack in self._packers:
            pack(out, value[name], symbols)

    def show(self, value: dict[str, Any], chain: Chain, typed: bool) -> Any:
        return {
            name: field.show(value[name], chain, typed)
            for name, field in self.fields.items()
            if not (isinstance(field, Optional) and value[name] is None)
        }


class StaticVariant(Type):
    """One of several: [index, value] in the legacy form, {"type", "value"} in the typed one. None = void_t."""

    def __init__(self, *alternatives: tuple[str, Type | None]) -> None:
        self._alternatives = alternatives
        self._index = {name: index for index, (name, _) in enumerate(alternatives)}

    def parse(self, x: Any, chain: Chain) -> Variant:
        if type(x) is dict and x.keys() == {"type", "value"}:
            which, inner = x["type"], x["value"]
        elif type(x) is list and len(x) == 2:
            which, inner = x
        else:
            raise HiveDataError(f"not a variant: {str(x)[:60]}")
        if type(which) is str:  # hived takes index and name in either form
            which = self._index.get(which, -1)
        if type(which) is not int or not 0 <= which < len(self._alternatives):
            raise UnknownOperationError(f"no such alternative: {str(x)[:60]}")
        kind = self._alternatives[which][1]
        return Variant(which, None if kind is None else kind.parse(inner, chain))

    def unpack(self, reader: Reader) -> Variant:
        which = reader.varint()
        if which >= len(self._alternatives):
            raise UnknownOperationError(f"no such alternative: {which}")
        kind = self._alternatives[which][1]
        return Variant(which, None if kind is None else kind.unpack(reader))

    def pack(self, out: bytearray, value: Variant, symbols: Symbols) -> None:
        out += varint(value.which)
        kind = self._alternatives[value.which][1]
        if kind is not None:
            kind.pack(out, value.value, symbols)

    def show(self, value: Variant, chain: Chain, typed: bool) -> Any:
        name, kind = self._alternatives[value.which]
        inner = {} if kind is None else kind.show(value.value, chain, typed)
        return {"type": name, "value": inner} if typed else [value.which, inner]


class AuthorityType(Type):
    """An authority; key and account sets are read as sets."""

    def __init__(self) -> None:
        self._threshold = Int(4)
        self._accounts = Map(Text(16), Int(2))
        self._keys = Map(Key(), Int(2))

    def parse(self, x: Any, chain: Chain) -> Authority:
        if type(x) is not dict:
            raise HiveDataError(f"not an authority: {str(x)[:60]}")
        try:
            return Authority(
                self._threshold.parse(x["weight_threshold"], chain),
                self._accounts.parse(x["account_auths"], chain),
                self._keys.parse(x["key_auths"], chain),
            )
        except KeyError as error:
            raise HiveDataError(f"the authority lacks {error}") from error

    def unpack(self, reader: Reader) -> Authority:
        threshold = self._threshold.unpack(reader)
        accounts = self._accounts.unpack(reader)
        return Authority(threshold, accounts, self._keys.unpack(reader))

    def pack(self, out: bytearray, value: Authority, symbols: Symbols) -> None:
        self._threshold.pack(out, value.weight_threshold, symbols)
        self._accounts.pack(out, value.account_auths, symbols)
        self._keys.pack(out, value.key_auths, symbols)

    def show(self, value: Authority, chain: Chain, typed: bool) -> Any:
        return {
            "weight_threshold": value.weight_threshold,
            "account_auths": self._accounts.show(value.account_auths, chain, typed),
            "key_auths": self._keys.show(value.key_auths, chain, typed),
        }


NAME, TEXT, BOOL, TIME, ASSET, KEY = Text(16), Text(), Bool(), Time(), AssetType(), Key()
U16, U32, U64, I16, I64 = Int(2), Int(4), Int(8), Int(2, signed=True), Int(8, signed=True)
ID, DIGEST, SIGNATURE, BYTES = Hex(20), Hex(32), Hex(65), Hex()
AUTHORITY = AuthorityType()
FUTURE_EXTENSIONS = VariantSet(StaticVariant(("void_t", None)))
