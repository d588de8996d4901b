"""Buckets, places, and telling seldom: bounded whatever comes."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.api.answers import AnswerError
from node.api.limits import Buckets, Limits, Places, Seldom
from tests.node.api.serving import ELSEWHERE, ServedNode, raw, serving
from tests.node.test_core import new_group


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_burst_and_then_its_rate():
    clock = Clock()
    buckets = Buckets(2.0, 3, 10, clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b") == 0, "each address has its own"
    clock.now = 0.5
    assert [buckets.take("a"), buckets.take("a")] == [0, 0.5]
    clock.now = 1_000
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5], "never more than the burst"


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 3)), max_size=200))
def test_nobody_gets_more_than_burst_and_rate_allow(asked):
    clock = Clock()
    buckets = Buckets(1.0, 5, 30, clock)
    granted = dict.fromkeys(range(21), 0)
    for key, passed in asked:
        clock.now += passed
        granted[key] += buckets.take(key) == 0
        assert granted[key] <= 5 + clock.now + 1e-6


def test_the_table_of_buckets_is_bounded_and_forgets_the_oldest():
    buckets = Buckets(1.0, 1, 100, Clock())
    for number in range(1_000):
        buckets.take(number)
    assert len(buckets) == 100
    assert buckets.take(999) > 0 and buckets.take(0) == 0


def test_places_come_free_when_what_held_them_ends_or_fails():
    places = Places(3, 2)
    with places.one("a"), places.one("a"):
        with pytest.raises(AnswerError), places.one("a"):
            pass
        with places.one("b"), pytest.raises(AnswerError), places.one("c"):
            pass
    with pytest.raises(KeyError), places.one("a"):
        raise KeyError
    assert places.taken == 0


def test_what_happens_often_is_told_seldom_with_how_often_it_was():
    clock = Clock()
    seldom = Seldom(60.0, 10, clock)
    assert [seldom.times("a") for _ in range(5)] == [1, 0, 0, 0, 0]
    assert seldom.times("b") == 1
    clock.now = 60
    assert seldom.times("a") == 5
    for number in range(1_000):
        seldom.times(number)
    assert len(seldom._found) == 10


# -- over the wire


@pytest.fixture
def node(tmp_path) -> ServedNode:
    return ServedNode(new_group(tmp_path), tmp_path)


def test_who_asks_too_much_gets_429_and_is_served_again_later(node, tmp_path):
    clock = Clock()

    async def main():
        async with serving(node, tmp_path, limits=Limits(rate=0.5, burst=3), clock=clock) as server:
            found = [await server.ask("/health") for _ in range(4)]
            assert [status for status, _, _ in found] == [200, 200, 200, 429]
            assert found[3][2].headers["Retry-After"] == "2" and found[3][1]["error"] == "too_many"
            assert (await server.ask("/health", headers=ELSEWHERE))[0] == 200, "the proxy has a bucket of its own"
            clock.now = 2.0
            assert (await server.ask("/health"))[0] == 200

    asyncio.run(main())


def test_from_elsewhere_only_so_many_requests_run_at_once_and_the_operator_is_always_answered(node, tmp_path):
    async def main():
        async with serving(node, tmp_path, limits=Limits(requests=0)) as server:
            assert (await server.ask("/health", headers=ELSEWHERE))[0] == 429
            assert (await server.ask("/health"))[0] == 200

    asyncio.run(main())


def test_a_client_that_never_ends_its_request_is_cut_off(node, tmp_path):
    async def main():
        async with serving(node, tmp_path, limits=Limits(head_seconds=0.2)) as server:
            port = server.runner.port
            assert await raw(port, b"") == b"", "nothing at all was sent"
            assert await raw(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow") == b""
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            sent = 0
            with pytest.raises((ConnectionError, AssertionError)):
                for letter in b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"a" * 1_000:
                    writer.write(bytes([letter]))
                    await writer.drain()
                    await asyncio.sleep(0.01)
                    assert not reader.at_eof()
                    sent += 1
            assert sent < 500, "a letter now and then does not keep it open"
            writer.close()
            answer = await raw(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), "an idle connection is closed after its answer too"

    asyncio.run(main())


def test_a_body_that_never_comes_holds_nothing_up(node, tmp_path):
    async def main():
        async with serving(node, tmp_path, limits=Limits(head_seconds=0.3)) as server:
            request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
            assert (await raw(server.runner.port, request)).startswith(b"HTTP/1.1 200")

    asyncio.run(main())


def test_a_client_that_closes_its_half_leaves_nothing_behind(node, tmp_path):
    async def main():
        async with serving(node, tmp_path) as server:
            port = server.runner.port
            for _ in range(20):
                await raw(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", half_close=True)
                await raw(port, b"GET /hea", half_close=True)
            await asyncio.sleep(0.05)
            assert server.runner.connections == 0

    asyncio.run(main())


def test_connections_are_bounded_for_each_address_and_in_all(node, tmp_path):
    async def main():
        async with serving(node, tmp_path, limits=Limits(connections_each=3)) as server:
            open_now = [await asyncio.open_connection("127.0.0.1", server.runner.port) for _ in range(10)]
            await asyncio.sleep(0.05)
            assert server.runner.connections == 3
            control = await asyncio.open_unix_connection(server.control)
            control[1].write(b"GET /health HTTP/1.1\r\nConnection: close\r\nHost: node\r\n\r\n")
            assert (await control[0].read()).startswith(b"HTTP/1.1 200"), "the operator always gets in"
            for _, writer in [*open_now, control]:
                writer.close()

    asyncio.run(main())
