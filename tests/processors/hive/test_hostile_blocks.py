"""Whatever a server sends as a block: it is read and proven, or it is a data error; nothing else ever comes out."""

import contextlib
import copy
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.hive.block import read_block
from processors.hive.errors import HiveDataError
from tests.vectors import hived_blocks, hived_chain, mainnet_blocks

BLOCKS = [raw for form in ("block_api", "condenser_api") for raw in hived_blocks()[form] if raw["transactions"]]
BLOCKS += [raw for raw in mainnet_blocks() if raw["transactions"]][:20]

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["\ud800", "0" * 40]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def put(value, path, new):
    """The value with another one at a place."""
    if not path:
        return new
    value[path[0]] = put(value[path[0]], path[1:], new)
    return value


@given(st.data())
@settings(max_examples=1500, deadline=None, derandomize=True)
def test_another_value_at_any_place(data):
    raw = copy.deepcopy(data.draw(st.sampled_from(BLOCKS)))
    spots = list(places(raw))
    for _ in range(data.draw(st.integers(1, 2))):
        try:
            raw = put(raw, data.draw(st.sampled_from(spots)), data.draw(anything))
        except (TypeError, KeyError, IndexError):
            continue  # the first change took this place away
    as_bytes = data.draw(st.booleans())
    try:
        answer = json.dumps(raw).encode() if as_bytes else raw
        block = read_block(answer, hived_chain())
        block.prove()
    except HiveDataError:
        pass


@given(st.binary(max_size=60), st.integers(0, 10_000))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_other_bytes_at_any_place(instead, where):
    text = json.dumps(BLOCKS[0]).encode()
    at = where % len(text)
    with contextlib.suppress(HiveDataError):
        read_block(text[:at] + instead + text[at + len(instead) :], hived_chain()).prove()
