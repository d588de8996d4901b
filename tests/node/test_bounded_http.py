"""No answer is read further than its bound, whatever its headers say."""

import asyncio
from types import SimpleNamespace

import pytest

from node import control
from node.bounded_http import TooLongError, read_bounded
from node.errors import ApiError
from tests.node.api.serving import ServedNode, serving
from tests.node.test_core import new_group


def answering(*parts):
    """An answer in parts; ``taken`` counts those that were read."""
    taken = []

    async def iter_chunked(size):
        for part in parts:
            taken.append(part)
            yield part

    return SimpleNamespace(content=SimpleNamespace(iter_chunked=iter_chunked)), taken


def test_up_to_the_bound_and_not_a_byte_more():
    response, taken = answering(b"abc", b"de")
    assert asyncio.run(read_bounded(response, 5)) == b"abcde"
    response, taken = answering(b"abc", b"def", b"g" * 1_000)
    with pytest.raises(TooLongError, match="more than 5 bytes"):
        asyncio.run(read_bounded(response, 5))
    assert taken == [b"abc", b"def"], "the rest is not even read"
    assert asyncio.run(read_bounded(answering()[0], 0)) == b""


def test_who_asks_the_node_is_told_that_it_was_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "MAX_ANSWER", 10)
    group = new_group(tmp_path)
    group.run(25)

    async def main():
        async with serving(ServedNode(group, tmp_path), tmp_path) as server:
            await control.status(server.control)

    with pytest.raises(ApiError, match="gave more than 10 bytes"):
        asyncio.run(main())
