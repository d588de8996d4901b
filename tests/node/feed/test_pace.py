"""When the next block is asked for: just before it is due, not a hundred times between."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.feed.pace import Pace


def life(period, idle, finds=120, answer=0.01):
    """(late: seconds from a block to the question that finds it, questions a find), after it has settled."""
    pace, now, made, late, asked = Pace(idle), 0.0, 0.0, [], 0
    seen = 0
    while len(late) < finds:
        now += pace.wait(now) + answer
        asked += 1
        newest = int((now - made) // period)
        if newest > seen:
            late.append(now - newest * period)
            pace.moved(now, newest - seen)
            seen = newest
    return late[finds // 2 :], asked / finds


@pytest.mark.parametrize(("period", "idle"), [(0.5, 1.0), (1.0, 1.0), (3.0, 1.0), (1.0, 0.33), (3.0, 0.1), (3.0, 4.0)])
def test_a_steady_chain_is_met_within_a_quarter_of_a_second(period, idle):
    late, asked = life(period, idle)
    assert max(late) <= 0.25
    assert asked <= 25, "and the servers are not asked all the time"


def test_before_the_first_block_it_waits_as_it_is_told():
    assert Pace(1.0).wait(5.0) == 1.0
    assert Pace(0.05).wait(5.0) == 0.05


def test_a_chain_that_stands_still_is_asked_seldom():
    pace = Pace(1.0)
    for number in range(20):
        pace.moved(3.0 * number, 1)
    assert pace.wait(57.0 + 3.0) <= 0.15, "it is due"
    assert pace.wait(57.0 + 30.0) == 1.0
    assert pace.wait(57.0 + 10**6) == 1.0


def test_catching_up_many_blocks_at_once_is_no_new_period():
    pace = Pace(1.0)
    for number in range(20):
        pace.moved(3.0 * number, 1)
    pace.moved(57.1, 5_000)
    assert pace.wait(57.1) > 1.5


def test_one_long_gap_does_not_make_it_sleep():
    pace = Pace(1.0)
    for number in range(20):
        pace.moved(3.0 * number, 1)
    pace.moved(10_000.0, 1)
    assert pace.wait(10_000.0) <= 4.0


@given(
    st.floats(0.005, 60),
    st.lists(st.tuples(st.floats(0, 1_000), st.integers(0, 10_000)), max_size=30),
    st.floats(0, 1_000),
)
def test_a_wait_is_never_nothing_and_never_long(idle, moves, rest):
    """Whatever the servers do: no busy loop, and no sleep through blocks."""
    pace, now = Pace(idle), 0.0
    for seconds, blocks in moves:
        now += seconds
        pace.moved(now, blocks)
    wait = pace.wait(now + rest)
    assert 0.0009 <= wait <= max(4.0, idle)
