"""Entries of the state as people read them: fields by name, keys as STM..., payments with their precision, times."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from processors.genesis import Genesis
from processors.hive.errors import HiveDataError
from processors.hive.keys import public_key_from_text, public_key_to_text
from state.canonical import READERS, locate, value_of
from state.errors import CodecError
from state.schema import SINGLETONS
from state.table import Key, Table, Value

_KEY_BYTES = 33
_TIMES = frozenset({"timestamp", "expiration", "exp", "times"})


def shown_key(key: Key, prefix: str) -> list[Any]:
    """The fields of a key."""
    return [_plain("", field, prefix) for field in key]


def shown_value(value: Value | None, prefix: str) -> dict[str, Any] | None:
    """The fields of a value by name; None if there is none."""
    if value is None:
        return None
    fields = {name: getattr(value, name) for name in value.__struct_fields__}
    shown = {name: _plain(name, field, prefix) for name, field in fields.items()}
    if fields.get("amount") is not None and fields.get("asset"):
        shown["amount"] = _payment(fields["amount"], fields["asset"])
    return shown


def shown_entry(name: str, packed: bytes, raw: bytes | None, prefix: str) -> tuple[list[Any], dict[str, Any] | None]:
    """(key, value) of canonical bytes, which may be a stranger's: what cannot be read is shown in hex."""
    try:
        table, key = locate(name, packed)
    except CodecError:
        return [packed.hex()], None if raw is None else {"hex": raw.hex()}
    try:
        value = None if raw is None else shown_value(value_of(table, raw), prefix)
    except CodecError:
        value = {"hex": (raw or b"").hex()}
    return shown_key(key, prefix), value


def read_key(name: str, words: tuple[str, ...], genesis: Genesis) -> tuple[Table[Any], Key]:
    """The table and the first fields of a key that people wrote. Raises CodecError."""
    table = READERS.get(name)
    if table is None:
        raise CodecError(f"there is no table {name[:32]!r}: take one of {', '.join(sorted(READERS))}")
    if len(words) > len(table.fields):
        raise CodecError(f"a key of {name} has {len(table.fields)} fields, not {len(words)}: leave some out")
    kinds = table.fields[: len(words)]
    key = tuple(_field(name, kind, word, genesis) for kind, word in zip(kinds, words, strict=True))
    for singleton in SINGLETONS:
        if singleton.name == name and singleton.fixed == key:
            return singleton, key
    if table.fixed and key:
        known = ", ".join(str(one.fixed[0]) for one in SINGLETONS if one.name == name)
        raise CodecError(f"the table {name} has no entry {words[0][:32]!r}: take one of {known}")
    return table, key


def _field(name: str, kind: type, word: str, genesis: Genesis) -> int | str | bytes:
    prefix = genesis.chain.address_prefix
    if kind is int:
        if not (word.isascii() and word.isdigit() and len(word) <= 20 and int(word) < 1 << 64):
            raise CodecError(f"{word[:32]!r} is no number: a key of {name} needs one here")
        return int(word)
    if kind is str:
        return word
    try:
        return public_key_from_text(word, prefix) if word.startswith(prefix) else bytes.fromhex(word)
    except (HiveDataError, ValueError):
        raise CodecError(f"{word[:60]!r} is no public key: write it as {prefix}... or in hex") from None


def _plain(name: str, value: Any, prefix: str) -> Any:
    if isinstance(value, bytes):
        if len(value) == _KEY_BYTES and value[0] in (2, 3):
            return public_key_to_text(value, prefix)
        return value.hex()
    if isinstance(value, msgspec.Struct):
        return {field: _plain(field, getattr(value, field), prefix) for field in value.__struct_fields__}
    if isinstance(value, (tuple, list)):
        return [_plain(name, item, prefix) for item in value]
    if name in _TIMES and isinstance(value, int) and not isinstance(value, bool):
        return _time(value)
    return value


def _time(seconds: int) -> str:
    if not 0 < seconds < 1 << 32:
        return str(seconds)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _payment(amount: int, asset: str) -> str:
    sign, digits = "-" if amount < 0 else "", str(abs(amount)).rjust(4, "0")
    return f"{sign}{digits[:-3]}.{digits[-3:]} {asset}"
