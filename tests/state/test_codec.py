"""state.codec against the reference encoder, and the values of state.schema against both."""

import datetime
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state import codec, schema
from state.errors import CodecError
from tests.reference.packing import H, decode, encode, is_canonical
from tests.state import values

edges = [n + d for p in (5, 7, 8, 15, 16, 31, 32, 63, 64) for n in (2**p, -(2**p)) for d in (-1, 0, 1)]
integers = st.one_of(st.integers(codec.INT_MIN, codec.INT_MAX), st.sampled_from(edges)).filter(
    lambda n: codec.INT_MIN <= n <= codec.INT_MAX
)
sizes = st.sampled_from([0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
texts = st.one_of(st.text(max_size=20), sizes.map("a".__mul__), sizes.map(lambda size: "é" * (size // 2)))
blobs = st.one_of(st.binary(max_size=20), sizes.map(bytes))
leaves = st.one_of(st.none(), st.booleans(), integers, texts, blobs)
anything = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=20), st.dictionaries(st.text(max_size=4), inner, max_size=20)),
    max_leaves=40,
)


@given(anything)
@settings(max_examples=150, deadline=None)
def test_pack_is_the_reference(value: Any) -> None:
    packed = codec.pack(value)
    assert packed == encode(value)
    assert decode(packed) == codec.unpack(packed) == value
    assert repr(codec.unpack(packed)) == repr(decode(packed)), "a bool is no integer"
    assert codec.H([value, 1]) == H([value, 1])


@pytest.mark.parametrize("value", edges)
def test_integers_at_the_edges(value: int) -> None:
    if codec.INT_MIN <= value <= codec.INT_MAX:
        assert codec.pack(value) == encode(value)
        assert codec.unpack(encode(value)) == value
    else:
        with pytest.raises(CodecError):
            codec.pack(value)


@pytest.mark.parametrize("size", [0, 15, 16, 65_535, 65_536])
def test_sizes_of_containers(size: int) -> None:
    for value in ([None] * size, {f"{at:05}": at for at in range(size)}):
        assert codec.unpack(codec.pack(value)) == value
        assert codec.pack(value) == encode(value)


def test_a_tuple_is_a_list_and_keys_are_sorted_by_bytes() -> None:
    assert codec.pack(("a", (1,))) == codec.pack(["a", [1]])
    keys = ["z", "é", "aa", "b", "\ue000", "\U00010000", "", "a" * 40]
    packed = codec.pack(dict.fromkeys(keys))
    assert packed == codec.pack(dict.fromkeys(reversed(keys)))
    assert list(codec.unpack(packed)) == sorted(keys, key=str.encode)


class _Number(int):
    """An integer of a class of its own."""


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        [0.5],
        {"a": {"b": 2.5}},
        {1: 2},
        {b"a": 1},
        {None: 1},
        {"a", "b"},
        bytearray(b"a"),
        memoryview(b"a"),
        "\ud800",
        {"\udfff": 1},
        2**64,
        -(2**63) - 1,
        datetime.date(2024, 1, 1),
        datetime.datetime(2024, 1, 1),
        object(),
        _Number(1),
        1 + 2j,
    ],
    ids=repr,
)
def test_what_has_no_canonical_form(value: Any) -> None:
    with pytest.raises(CodecError):
        codec.pack(value)
    with pytest.raises(CodecError):
        codec.H([value])


def test_nesting_has_an_end() -> None:
    value: Any = 1
    for _ in range(32):
        value = [value]
    assert codec.unpack(codec.pack(value)) == value
    for deep in ([value], {"a": value}):
        with pytest.raises(CodecError):
            codec.pack(deep)
    for data in (b"\x91" * 33 + b"\x01", b"\x91" * 100_000 + b"\x01", b"\x91" * 100_000):
        with pytest.raises(CodecError):
            codec.unpack(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xcc\x7f",  # 127 in two bytes
        b"\xcd\x00\xff",
        b"\xd0\x01",  # 1 as a signed integer
        b"\xd1\x01\x00",  # 256 as a signed integer: as long as the unsigned one
        b"\xd3" + b"\x00" * 7 + b"\x01",
        b"\xd0\xff",  # -1
        b"\xca\x00\x00\x00\x00",  # floats
        b"\xcb" + b"\x00" * 8,
        b"\xd9\x01a",  # texts, bytes, lists, maps in a longer form
        b"\xda\x00\x01a",
        b"\xc5\x00\x01a",
        b"\xdc\x00\x01\x01",
        b"\xde\x00\x01\xa1a\x01",
        b"\x82\xa1b\x01\xa1a\x01",  # keys not sorted
        b"\x82\xa1a\x01\xa1a\x01",  # a key twice
        b"\x81\x01\x01",  # a key that is no text
        b"\x81\xc4\x01a\x01",
        b"\xa2\xc3\x28",  # no UTF-8
        b"\xa3\xed\xa0\x80",
        b"\xd4\x05\x00",  # extensions
        b"\xc7\x00\x05",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\x01\x01",  # something behind
        b"\x92\x01",  # too short
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xffaaa",
    ],
    ids=bytes.hex,
)
def test_what_is_not_canonical_is_refused(data: bytes) -> None:
    assert not is_canonical(data)
    with pytest.raises(CodecError):
        codec.unpack(data)


def accepts(data: bytes) -> bool:
    """Whether codec.unpack takes ``data``; it raises nothing but CodecError."""
    try:
        codec.unpack(data)
    except CodecError:
        return False
    return True


@given(anything.map(encode), st.data())
@settings(max_examples=150, deadline=None)
def test_changed_bytes_are_judged_alike(packed: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, min(len(packed), 40)))
    cut = data.draw(st.integers(0, 2))
    changed = packed[:at] + data.draw(st.binary(max_size=3)) + packed[at + cut :]
    assert accepts(changed) == is_canonical(changed)


@given(st.binary(max_size=12))
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_judged_alike(data: bytes) -> None:
    assert accepts(data) == is_canonical(data)


@pytest.mark.parametrize("table", [*schema.TABLES, *schema.SINGLETONS], ids=lambda table: table.value.__name__)
def test_values_of_the_schema_are_canonical(table: schema.Table[Any]) -> None:
    chance = random.Random(table.value.__name__)
    for _ in range(200):
        value, key = values.value_of(chance, table.value), values.key_of(chance, table)
        raw = schema.encode_value(value)
        assert raw == codec.pack(values.fields(value)) == encode(values.fields(value))
        assert table.decode(raw) == value
        assert schema.encode_value(table.decode(raw)) == raw
        assert table.key(key) == encode(list(key))
        assert table.parse_key(table.store_key(key)) == key


def test_keys_in_the_store_stand_in_the_order_of_their_fields() -> None:
    chance = random.Random(7)
    for table in schema.TABLES:
        keys = [values.key_of(chance, table) for _ in range(300)]
        by_store = sorted(keys, key=table.store_key)
        assert by_store == sorted(keys, key=values.order)
