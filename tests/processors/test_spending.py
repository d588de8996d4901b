"""What leaves the group (protocol section 10): the window, the time lock, and what the group is known to hold."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.devnet.founding import GROUP
from processors.hive.operations import Operation
from processors.hive.types import Asset
from processors.native import transfer as income
from processors.spending import MOST
from state.schema import ACTION, DONE, QUEUE, SPEND, SPENDING, TREASURY, Holding, Spend, Total
from tests.processors.council import GENEROUS, Council, transfer, witness_vote
from tests.processors.offers import GOOD

LIMITED = {**GENEROUS, "spend_limit_hive": 2_500, "spend_limit_hbd": 1_000, "spend_window": 200}


@pytest.fixture
def council() -> Council:
    """2.500 TESTS and 1.000 TBD may leave within 200 blocks; nothing waits for a time lock."""
    return Council(**LIMITED)


def spent(council: Council, asset: str) -> int:
    found = council.view.get(SPENDING, asset)
    return found.amount if found is not None else 0


# -- the window


def test_with_the_defaults_nothing_from_a_proposal_leaves():
    council = Council(large_hive=10**6, large_hbd=10**6)
    council.approve(transfer("0.001 TESTS"))
    council.approve(transfer("0.001 TBD"))
    assert council.build_all() == []
    assert council.names(QUEUE) == [1, 2]


def test_built_while_the_window_holds_it_and_the_rest_waits(council):
    numbers = [council.approve(transfer(amount)) for amount in ("1.000 TESTS", "1.500 TESTS", "0.001 TESTS")]
    assert council.build_all() == [tuple(numbers[:2])]
    assert spent(council, "HIVE") == 2_500 and spent(council, "HBD") == 0
    assert council.view.need(SPEND, numbers[0]) == Spend(1_110, 1_000, 0, council.view.need(SPEND, numbers[0]).job)


def test_what_was_built_leaves_the_window_after_spend_window_blocks(council):
    first = council.approve(transfer("2.500 TESTS"))
    second = council.approve(transfer("0.001 TESTS"))
    assert council.built() == (first,)
    council.confirm(council.out()[0])
    assert council.view.get(SPEND, first) is not None, "what has left counts on"
    council.wait(199)
    assert council.built() == ()
    council.wait(1)
    assert council.built() == (second,) and spent(council, "HIVE") == 1


def test_the_assets_have_limits_of_their_own(council):
    hive, hbd, too_much = (council.approve(transfer(amount)) for amount in ("2.500 TESTS", "1.000 TBD", "0.001 TBD"))
    assert council.build_all() == [(hive, hbd)]
    assert (spent(council, "HIVE"), spent(council, "HBD")) == (2_500, 1_000)
    assert council.view.need(QUEUE, too_much).out == ""


def test_a_limit_passes_a_payload_over_and_those_behind_it_go_on(council):
    large, small = council.approve(transfer("2.501 TESTS")), council.approve(transfer("2.500 TESTS"))
    assert council.build_all() == [(small,)]
    council.wait(1_000)
    assert council.build_all() == [] and council.names(QUEUE)[0] == large, "no window ever holds it"


def test_what_takes_nothing_away_is_never_held(council):
    council.view.put(SPENDING, Total(10**9), "HIVE")
    council.view.put(SPENDING, Total(10**9), "HBD")
    vote = council.approve(witness_vote())
    own = council.approve(["transfer_to_savings", GOOD["transfer_to_savings"] | {"to": GROUP, "amount": "9.000 TESTS"}])
    assert council.build_all() == [(vote,), (own,)]
    assert council.names(SPEND) == []


def test_standing_payouts_count_and_do_not_wait(council):
    standing = council.payout(2_400)
    more = council.payout(10**9)
    proposed = council.approve(transfer("0.101 TESTS"))
    fits = council.approve(transfer("0.100 TBD"))
    assert council.built() == (standing, more, fits)
    assert spent(council, "HIVE") == 2_400 + 10**9
    assert council.built() == () and council.view.need(QUEUE, proposed).out == ""


def test_of_a_recurrent_transfer_all_executions_leave_when_it_is_built(council):
    recurrent = GOOD["recurrent_transfer"] | {"executions": 3}
    council.approve(["recurrent_transfer", recurrent])
    fits = council.approve(["recurrent_transfer", recurrent | {"executions": 2}])
    assert council.build_all() == [(fits,)] and spent(council, "HIVE") == 2_000


def test_a_dead_attempt_is_taken_out_and_the_next_one_counts_again():
    council = Council(**LIMITED | {"payload_lifetime": 60})
    number = council.approve(transfer("2.500 TESTS"))
    assert council.built() == (number,)
    council.wait(30)
    assert spent(council, "HIVE") == 0 and council.names(SPEND) == []
    assert council.built() == (number,) and spent(council, "HIVE") == 2_500


def test_what_expired_waits_for_the_window_like_the_others():
    council = Council(**LIMITED | {"payload_lifetime": 60})
    number = council.approve(transfer("2.000 TESTS"))
    assert council.built() == (number,)
    council.wait(30)
    other = council.approve(transfer("2.000 TESTS"))
    assert council.built() == (other,), "fresh ones go first while the places suffice"
    assert council.built() == () and council.view.need(QUEUE, number).expiries == 1
    council.confirm(council.out()[0])
    council.wait(200)
    assert council.built() == (number,)


# -- the time lock


@pytest.mark.parametrize(("amount", "locked"), [
    ("1.000 TESTS", False), ("1.001 TESTS", True), ("0.500 TBD", False), ("0.501 TBD", True),
])  # fmt: skip
def test_what_is_above_large_waits_for_large_delay_blocks(amount, locked):
    council = Council(**GENEROUS | {"large_hive": 1_000, "large_hbd": 500, "large_delay": 50})
    number = council.approve(transfer(amount))
    assert (council.built() == ()) == locked
    council.wait(49)
    assert council.built() == ()
    council.wait(1)
    assert council.built() == ((number,) if locked else ())


def test_with_the_defaults_all_that_leaves_is_locked_for_a_day():
    council = Council(spend_limit_hive=10**6)
    number = council.approve(transfer("0.001 TESTS"))
    vote = council.approve(witness_vote())
    assert council.build_all() == [(vote,)]
    council.wait(28_800 - 11)
    assert council.built() == ()
    council.wait(1)
    assert council.built() == (number,)


def test_what_a_proposal_takes_away_is_large_together():
    council = Council(**GENEROUS | {"large_hive": 1_000, "large_delay": 50})
    parts = council.approve(transfer("1.000 TESTS"), transfer("0.001 TESTS"))
    one = council.approve(transfer("1.000 TESTS"))
    assert council.build_all() == [(one,)] and council.view.need(QUEUE, parts).out == ""


def test_a_lock_passes_a_payload_over_and_a_transfer_takes_no_locked_one_along():
    council = Council(**GENEROUS | {"large_hive": 1_000, "large_delay": 50})
    large, first, second = (council.approve(transfer(f"{n}.000 TESTS")) for n in (5, 1, 1))
    assert council.built() == (first, second) and council.view.need(QUEUE, large).out == ""


def test_no_delay_is_no_lock():
    council = Council(**GENEROUS | {"large_hive": 0, "large_delay": 0})
    assert council.approve(transfer()) == 1 and council.built() == (1,)


# -- what the group is known to hold


def receives(council: Council, amount: int, kind: int = 0, to: str = GROUP) -> None:
    value = {"from": "friend", "to": to, "amount": Asset(amount, kind), "memo": ""}
    income(council.at(council.height), Operation("transfer", value))


def test_income_and_what_was_confirmed(council):
    receives(council, 9_000)
    receives(council, 500, kind=1)
    receives(council, 7, to="friend")
    number = council.approve(transfer("2.000 TESTS"))
    council.built()
    assert council.view.need(TREASURY, "HIVE") == Holding(9_000, 0), "what is out has not left yet"
    council.confirm(council.out()[0])
    assert council.view.need(DONE, number).status == "confirmed"
    assert council.view.need(TREASURY, "HIVE") == Holding(9_000, 2_000)
    assert council.view.need(TREASURY, "HBD") == Holding(500, 0)


def test_a_rotation_spends_nothing(council):
    council.strict("abcx")
    council.rotation()
    council.built()
    council.confirm(council.out()[0])
    assert council.names(TREASURY) == [] and council.names(SPEND) == []


def test_the_sums_stop_before_they_no_longer_fit(council):
    for _ in range(3):
        receives(council, MOST)
    assert council.view.need(TREASURY, "HIVE") == Holding(MOST, 0)


# -- property

STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["standing", "propose"]), st.integers(1, 2_600)),
        st.tuples(st.sampled_from(["hbd", "group"]), st.integers(1, 1_100)),
        st.tuples(st.sampled_from(["build", "confirm", "cancel", "refuse"]), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.integers(1, 60)),
    ),
    max_size=30,
)


def amount(units: int, symbol: str) -> str:
    return f"{units // 1_000}.{units % 1_000:03} {symbol}"


def do(council: Council, what: str, number: int) -> None:
    out = council.out()
    if what == "standing":
        council.payout(number)
    elif what in ("propose", "hbd"):
        council.approve(transfer(amount(number, "TESTS" if what == "propose" else "TBD")))
    elif what == "group":
        council.approve(transfer(amount(number, "TBD")), witness_vote())
    elif what == "build":
        council.asked(council.height, exp=2**32 - 1, elect=True)
        council.built()
        council.wait(1)
    elif what == "wait":
        council.wait(number)
    elif out:
        op = out[number % len(out)]
        if what == "confirm":
            council.confirm(op)
        elif what == "cancel":
            council.all_say("abc", "ms_cancel", op=op)
        else:
            for account in "abc":
                council.say(account, "sig_refuse", op=op, why="policy")


@settings(max_examples=120, deadline=None)
@given(STEPS)
def test_the_window_is_the_sum_of_what_was_built_and_proposals_never_fill_it_beyond_the_limit(steps):
    council = Council(**LIMITED | {"payload_lifetime": 60, "rotation_lifetime": 60, "max_attempts": 2})
    for what, number in steps:
        out = set(council.out())
        do(council, what, number)
        assert council.window_is_sound()
        for op in set(council.out()) - out:
            found = [council.view.get(ACTION, payload) for payload in council.record_of(op).payloads]
            actions = [action for action in found if action is not None]
            if len(actions) == len(found):  # nothing in it that does not wait
                assert not any(action.hive for action in actions) or spent(council, "HIVE") <= 2_500
                assert not any(action.hbd for action in actions) or spent(council, "HBD") <= 1_000
    council.wait(2_000)
    assert council.window_is_sound() and council.out() == council.names(SPEND) == council.names(SPENDING) == []
