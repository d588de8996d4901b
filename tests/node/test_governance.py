"""What the state shows of governance and treasury, as one value: nothing is hidden, nothing shown that is not so."""

import msgspec
import pytest

from node.devnet.founding import GROUP, devnet_key
from node.governance import MAX_SHOWN, amount_text, known_value, overview, parameters, tokens, words_of
from processors.contents import contents
from processors.hive.block import reference_prefix
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction
from processors.hive.types import Asset
from processors.params import BOUNDS, Params, read
from processors.upgrades import RULES
from state.schema import CHANGE, DECIDED, MS, PROPOSALS, RUNNER, TALLY
from tests.node.council import all_say, approve, done, governed, out, propose, propose_change, say, seen, transfer
from tests.node.test_core import any_state, new_group, run_to_record


@pytest.fixture
def group(tmp_path):
    return governed(tmp_path)


def shown(group):
    state = any_state(group)
    return overview(state, group.genesis, read(state.view()))


def pay_in(group, amount):
    """A stranger pays the group; seen by every node."""
    value = {"from": "stranger", "to": GROUP, "amount": Asset(amount, 0), "memo": "dues"}
    chain = group.chain
    expiration, operation = chain.head_time + 300, Operation("transfer", value)
    tx = Transaction(chain.head_number & 0xFFFF, reference_prefix(chain.head_id), expiration, (operation,))
    chain.submit(devnet_key("stranger").sign_transaction(tx, chain.chain))
    seen(group)


# -- a group that has decided nothing


def test_before_anything_was_decided(group):
    found = shown(group)
    assert found.height == any_state(group).height
    assert found.seats == ("runner01", "runner02", "runner03")
    assert (found.proposals, found.decided, found.queue, found.waiting, found.changes) == ((), (), (), 0, ())
    assert (found.halted_until, found.halt_again, found.held_until, found.ballots) == (0, 0, 0, {})
    assert [(one.asset, one.income, one.spent, one.built) for one in found.holdings] == [
        ("HIVE", 0, 0, 0),
        ("HBD", 0, 0, 0),
    ]
    assert found.holdings[0].limit == 10**9
    assert not found.over_value and found.safety_limit == any_state(group).need(TALLY).limit


def test_it_is_json(group):
    approve(group, transfer())
    propose(group, transfer(memo="é"))
    raw = msgspec.json.encode(shown(group))
    assert msgspec.json.decode(raw, type=type(shown(group))) == shown(group)


# -- proposals


def test_an_open_proposal_is_shown_as_hives_api_shows_it(group):
    ops = [transfer("2.500", memo="for März"), transfer("1.000", to="stranger")]
    number = propose(group, *ops, by="runner02")
    say(group, "runner01", "vote", id=number, yes=True)
    say(group, "runner03", "vote", id=number, yes=False)
    seen(group)
    [one] = shown(group).proposals
    assert (one.id, one.status, one.proposer, one.ops, one.name) == (number, "open", "runner02", ops, "")
    assert (one.yes, one.no, one.seats, one.ended, one.payload) == (1, 1, 3, 0, 0)
    assert [(v.account, v.yes, v.counts) for v in one.votes] == [("runner01", True, True), ("runner03", False, True)]
    assert one.expires > one.made


def test_a_vote_of_who_has_no_seat_is_shown_and_not_counted(group):
    number = propose(group, transfer())
    say(group, "runner03", "vote", id=number, yes=True)
    seen(group)
    group.silent.add("runner03")
    state = any_state(group)
    group.run_until(lambda: state.get(RUNNER, "runner03") is None, 300)
    view = overview(state, group.genesis, read(state.view()))
    [one] = view.proposals
    assert (one.yes, one.no, one.seats) == (0, 0, 2)
    assert [(vote.account, vote.counts) for vote in one.votes] == [("runner03", False)]


def test_a_change_is_shown_by_name_and_value(group):
    number = propose_change(group, "large_delay", 77)
    [one] = shown(group).proposals
    assert (one.id, one.ops, one.name, one.value, one.delay) == (number, [], "large_delay", 77, 0)


def test_how_proposals_ended_the_newest_first(group):
    paid = propose(group, transfer())
    all_say(group, "vote", id=paid, yes=True)
    refused = propose(group, transfer("9.000"))
    all_say(group, "vote", id=refused, yes=False)
    back = propose(group, transfer("8.000"))
    say(group, "runner01", "unpropose", id=back)
    seen(group)
    found = shown(group)
    assert found.proposals == ()
    ends = {one.id: one for one in found.decided}
    assert [one.id for one in found.decided] == sorted(ends, reverse=True)
    assert (ends[paid].status, ends[refused].status) == ("approved", "rejected")
    assert back not in ends, "what was taken back leaves nothing"
    assert ends[paid].ops == [transfer()] and ends[paid].payload > 0
    assert ends[refused].ops == [], "the operations of what was not approved are not kept"
    assert ends[refused].payload == 0
    assert (ends[refused].yes, ends[refused].no, ends[refused].seats) == (0, 2, 3)


def test_no_more_than_the_newest_hundred_are_shown(group):
    state, view = any_state(group), any_state(group).view()
    number = propose(group, transfer())
    all_say(group, "vote", id=number, yes=False)
    ended = state.need(DECIDED, number)
    for more in range(1, MAX_SHOWN + 20):
        view.put(DECIDED, ended, number + more)

    class Shown:
        height, head = state.height, state.head
        get, need, walk = view.get, view.need, view.walk

    found = overview(Shown(), group.genesis, read(view))
    assert len(found.decided) == MAX_SHOWN
    assert found.decided[0].id == number + MAX_SHOWN + 19


# -- what waits, and for what


def waits(group, payload):
    [one] = [one for one in shown(group).queue if one.id == payload]
    return one


def test_a_payload_that_is_out(group):
    payload, op = out(group, transfer("1.500"))
    one = waits(group, payload)
    assert (one.what, one.out, one.waits, one.expiries) == ("transfer 1.500 HIVE to receiver", op, "", 0)
    assert shown(group).waiting == 0
    assert shown(group).holdings[0].built == 1_500


def test_one_above_the_limit_says_how_much_was_built(tmp_path):
    group = governed(tmp_path, spend_limit_hive=2_000, spend_window=1_000)
    done(group, approve(group, transfer("1.500")))
    payload = approve(group, transfer("0.501"))
    group.run(10)
    one = waits(group, payload)
    assert one.out == "" and one.waits == "the limit: 1.500 HIVE of 2.000 HIVE were built within 1000 blocks"
    assert shown(group).waiting == 1


def test_one_that_is_locked_says_until_when(tmp_path):
    group = governed(tmp_path, large_hive=1_000, large_delay=500)
    payload = approve(group, transfer("1.001"))
    group.run(3)
    one = waits(group, payload)
    assert one.locked_until == any_state(group).need(DECIDED, 1).height + 500
    assert one.waits == f"its time lock ends at block {one.locked_until}; a third of the seats can veto it"
    say(group, "runner01", "veto", payload=payload)
    seen(group)
    assert payload not in [one.id for one in shown(group).queue], "one of three is a third"


def test_while_the_group_is_halted_everything_says_so(group):
    number = propose(group, transfer())
    say(group, "runner02", "halt", on=True)
    all_say(group, "vote", id=number, yes=True)
    found = shown(group)
    assert found.halted_until > found.height and found.halt_again == found.halted_until + 120
    assert [one.waits for one in found.queue] == [f"the group is halted until block {found.halted_until}"]
    say(group, "runner02", "resume", on=True)
    seen(group)
    assert {what: [vote.account for vote in votes] for what, votes in shown(group).ballots.items()} == {
        "resume": ["runner02"]
    }


def test_votes_about_a_transaction_stand_by_what_they_are_about(group):
    _, op = out(group, transfer())
    say(group, "runner03", "ms_cancel", op=op)
    seen(group)
    assert [(what, votes[0].account) for what, votes in shown(group).ballots.items()] == [(f"op:{op}", "runner03")]


def test_the_words_of_a_payload(tmp_path):
    group = governed(tmp_path, spend_limit_hive=0)
    many = approve(group, transfer("1.000"), transfer("2.000", to="stranger"))
    one = approve(group, transfer("4.000", asset="TBD"), by="runner02")
    found = dict(zip((many, one), map(words_of, contents(any_state(group), [many, one])), strict=True))
    assert found == {many: "operations of proposal 1, 3.000 HIVE leave", one: "transfer 4.000 HBD to receiver"}


def test_the_words_of_a_rotation(tmp_path):
    group = new_group(tmp_path, 3)
    group.refuses = lambda account, item: item.content.startswith("sign")
    op = run_to_record(group, "rotation")
    state = any_state(group)
    [content] = contents(state, state.need(MS, op).payloads)
    assert words_of(content) == "rotation of the group's keys"


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0.000 HIVE"), (1, "0.001 HIVE"), (1_000, "1.000 HIVE"), (2**53, "9007199254740.992 HIVE")]
)
def test_amounts(amount, text):
    assert amount_text(amount, "HIVE") == text


# -- what the group is known to hold


def test_income_and_what_was_paid(group):
    pay_in(group, 5_000)
    done(group, approve(group, transfer("2.000")))
    hive = shown(group).holdings[0]
    assert (hive.income, hive.spent, hive.built) == (5_000, 2_000, 2_000)
    assert known_value(any_state(group), Params())[0] == 3_000


def test_what_was_given_away_before_it_was_seen_to_come_is_no_debt(group):
    """What the group held before it was founded is not known; HIVE paid from it does not hide HBD that came."""
    done(group, approve(group, transfer("2.000")))
    assert known_value(any_state(group), Params())[0] == 0


def test_the_warning_comes_with_the_first_unit_above(group):
    limit = any_state(group).need(TALLY).limit
    params = Params(value_limit=500)
    worth = limit * 500 // 1_000
    pay_in(group, worth)
    assert known_value(any_state(group), params) == (worth, worth, False)
    pay_in(group, 1)
    assert known_value(any_state(group), params) == (worth + 1, worth, True)
    assert known_value(any_state(group), Params(value_limit=0)) == (worth + 1, 0, True)


# -- parameters as they were


def test_every_parameter_and_the_rules(group):
    state = any_state(group)
    found = parameters(state, read(state.view()), state.height)
    assert list(found) == [*BOUNDS, RULES]
    assert found["spend_limit_hive"] == 10**9 and found["rotate_owner"] == 1 and found[RULES] == 1
    assert all(type(value) is int for value in found.values())


def test_a_change_can_be_seen_before_it_comes_and_what_was_before_it_afterwards(group):
    state = any_state(group)
    number = propose_change(group, "large_delay", 77)
    all_say(group, "vote", id=number, yes=True)
    [(height, name, value)] = shown(group).changes
    assert (name, value) == ("large_delay", 77) and height > state.height
    assert parameters(state, read(state.view()), state.height)["large_delay"] == 28_800
    group.run_until(lambda: state.height >= height, 100)
    again = propose_change(group, "large_delay", 78)
    all_say(group, "vote", id=again, yes=True)
    [((second,), _)] = [((int(at),), one) for (at, _), one in state.walk(CHANGE)]
    group.run_until(lambda: state.height >= second, 100)
    now = read(state.view())
    values = [parameters(state, now, at)["large_delay"] for at in (0, height - 1, height, second - 1, second)]
    assert values == [28_800, 28_800, 77, 77, 78]
    assert shown(group).changes == ()


def test_a_change_that_was_dropped_has_changed_nothing(group):
    """Both are approved for one block; the second finds that the parameter has that value already."""
    state = any_state(group)
    for _ in range(2):
        number = propose_change(group, "large_delay", 77)
        all_say(group, "vote", id=number, yes=True)
        group.run(25)
    now = read(state.view())
    assert now.large_delay == 77
    assert parameters(state, now, state.height)["large_delay"] == 77
    assert parameters(state, now, 1)["large_delay"] == 28_800


# -- tokens


def test_the_tokens_of_whoever_never_had_any(group):
    found = tokens(any_state(group), "nobody-there")
    assert (found.liquid, found.locked, found.leaving, found.parts_left, found.next_part, found.moves) == (
        0,
        0,
        0,
        0,
        0,
        (),
    )


def test_what_was_locked_leaves_and_is_sent_on(tmp_path):
    group = governed(tmp_path, unlock_part=10)
    say(group, "runner01", "gov_down", amount=9)
    seen(group)
    state = any_state(group)
    found = tokens(state, "runner01")
    assert (found.liquid, found.locked, found.leaving, found.parts_left) == (0, 1_000, 9, 4)
    assert found.next_part == found.moves[0][0] + 10
    group.run_until(lambda: tokens(state, "runner01").parts_left == 0, 60)
    say(group, "runner01", "send", to="runner02", amount=4, memo="thanks")
    seen(group)
    found = tokens(state, "runner01")
    assert (found.liquid, found.locked, found.leaving) == (5, 991, 0)
    assert found.moves[0][1:] == ("sent", "runner02", 4, "thanks")
    assert [move[1] for move in found.moves] == ["sent", *["unlocked"] * 4, "leaving"]
    assert tokens(state, "runner02").moves[0][1:] == ("received", "runner01", 4, "thanks")


def test_the_last_number_of_a_proposal_is_not_given_again(group):
    first = propose(group, transfer())
    say(group, "runner01", "unpropose", id=first)
    seen(group)
    assert propose(group, transfer()) == first + 1 == any_state(group).need(PROPOSALS).last
