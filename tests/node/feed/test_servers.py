"""The order of the servers: who is asked first, who rests and for how long, who is banned."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import NobodyError
from node.feed.servers import BAN, LONGEST_BAN, LONGEST_REST, SLOW, Servers
from tests.node.feed.many import Clock


class Named:
    """What a Servers needs of an Api."""

    def __init__(self, operator):
        self.operator, self.url = operator, f"http://{operator}"


def three(jitter=lambda: 0.5):
    clock = Clock()
    servers = Servers([Named(name) for name in ("north", "south", "east")], clock=clock, jitter=jitter)
    return servers, clock, list(servers)


def order(servers):
    return [server.operator for server in servers.usable()]


# -- who is first


def test_at_first_the_order_of_the_configuration():
    servers, _, _ = three()
    assert order(servers) == ["north", "south", "east"]
    assert servers.best().operator == "north"


def test_a_small_difference_changes_nobodys_place():
    servers, _, (north, south, east) = three()
    for _ in range(20):
        servers.ok(north, 0.12)
        servers.ok(south, 0.06)
        servers.ok(east, 0.1)
    assert order(servers) == ["north", "south", "east"]


def test_a_much_slower_one_is_asked_later_and_comes_back_when_it_is_quick_again():
    servers, _, (north, south, east) = three()
    for _ in range(20):
        servers.ok(north, 0.9)
        servers.ok(south, 0.05)
        servers.ok(east, 0.05)
    assert order(servers) == ["south", "east", "north"]
    for _ in range(20):
        servers.ok(north, 0.05)
    assert order(servers) == ["north", "south", "east"]


def test_one_that_is_slow_by_any_measure_loses_score_and_says_so():
    servers, _, (north, *others) = three()
    for _ in range(20):
        servers.ok(north, SLOW + 1)
        for other in others:
            servers.ok(other, SLOW)
    assert order(servers) == ["south", "east", "north"]
    assert servers.facts()[0].why == "slow" and servers.facts()[1].why == ""


def test_where_all_are_slow_somebody_is_still_asked():
    servers, _, everybody = three()
    for server in everybody * 20:
        servers.ok(server, 60.0)
    assert order(servers) == ["north", "south", "east"]


# -- rest


def test_a_failure_costs_the_place_at_once_and_time_gives_it_back():
    servers, clock, (north, *_) = three()
    servers.failed(north, "silence")
    assert order(servers) == ["south", "east"]
    clock.now += 1.0
    assert order(servers) == ["south", "east", "north"], "its score is lower now"
    for _ in range(10):
        servers.ok(north, 0.05)
    assert order(servers) == ["north", "south", "east"]


def test_rest_doubles_up_to_its_limit_and_begins_anew_after_an_answer():
    servers, clock, (north, *_) = three()
    rests = []
    for _ in range(10):
        servers.failed(north, "HTTP 503")
        rests.append(north.rests_until - clock.now)
        clock.now = north.rests_until
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    servers.ok(north, 0.1)
    servers.failed(north, "HTTP 503")
    assert north.rests_until - clock.now == 1


@given(st.integers(1, 5_000), st.floats(0, 1, exclude_max=True))
def test_rest_is_bounded_whatever_the_jitter(failures, jitter):
    servers, clock, (north, *_) = three(lambda: jitter)
    for _ in range(failures % 40 + 1):
        servers.failed(north, "x" * 10_000)
        rest = north.rests_until - clock.now
        assert 0.75 <= rest <= LONGEST_REST * 1.25 and math.isfinite(rest)
    assert 0 < north.score < 1 and len(north.why) == 200


def test_jitter_parts_the_nodes_of_a_group():
    rests = set()
    for jitter in (0.0, 0.3, 0.6, 0.9):
        servers, clock, (north, *_) = three(lambda jitter=jitter: jitter)
        servers.failed(north, "silence")
        rests.add(round(north.rests_until - clock.now, 6))
    assert len(rests) == 4


def test_a_server_that_failed_for_ever_can_be_first_again():
    servers, clock, (north, *_) = three()
    for _ in range(5_000):
        servers.failed(north, "silence")
    clock.now = north.rests_until
    for _ in range(30):
        servers.ok(north, 0.05)
    assert order(servers)[0] == "north"


# -- ban


def test_a_ban_doubles_up_to_a_day_and_outlasts_good_answers():
    servers, clock, (north, *_) = three()
    spans = [servers.ban(north, "a lie") for _ in range(60)]
    assert spans[:3] == [BAN, 2 * BAN, 4 * BAN]
    assert max(spans) == spans[-1] == LONGEST_BAN
    servers.ok(north, 0.01)
    assert servers.is_banned(north) and "north" not in order(servers)
    clock.now += LONGEST_BAN - 0.001
    assert servers.is_banned(north)
    clock.now += 0.001
    assert not servers.is_banned(north)
    assert order(servers)[-1] == "north", "who lied is asked last"


def test_a_ban_and_a_rest_are_told_apart_and_the_ban_counts():
    servers, _, (north, south, _) = three()
    servers.failed(south, "silence")
    servers.failed(north, "silence")
    servers.ban(north, "a lie")
    assert [facts.standing for facts in servers.facts()] == ["banned", "cooling", "good"]


def test_nobody_left_is_said_with_each_reason_and_a_remedy():
    servers, _, (north, south, east) = three()
    servers.ban(north, "block 7 is refused")
    servers.failed(south, "HTTP 503")
    servers.failed(east, "TimeoutError")
    with pytest.raises(NobodyError) as caught:
        servers.best()
    words = str(caught.value)
    for part in ("http://north (block 7 is refused)", "http://south (HTTP 503)", "TimeoutError", "[[api]]"):
        assert part in words


# -- what is shown


def test_facts_count_the_blocks_that_each_is_behind():
    servers, _, (north, south, _) = three()
    north.irreversible, south.irreversible = 100, 93
    assert [facts.behind for facts in servers.facts()] == [0, 7, 0]
    assert [facts.score for facts in servers.facts()] == [100, 100, 100]
