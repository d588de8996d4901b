"""What a proposal of operations can hold (protocol section 10): one form each, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.devnet.founding import CHAIN, GROUP
from processors import offered
from processors.contents import Content
from processors.hive.operations import TABLE, show_operation
from state.schema import PROPOSAL, Action, Payload
from tests.processors.council import Council, transfer, witness_vote
from tests.processors.offers import ALSO_GOOD, BROKEN, GOOD, Fields

COUNCIL = Council()


def offer(*ops: Any) -> str:
    """What becomes of a proposal of these; it is taken back if it stands."""
    code = COUNCIL.say("a", "propose", ops=list(ops), expires=COUNCIL.height + 100)
    if code == "accepted":
        (number,) = COUNCIL.names(PROPOSAL)
        packed = COUNCIL.view.need(PROPOSAL, number).ops
        shown = [show_operation(one, CHAIN, typed=False) for one in offered.unpack_operations(packed, CHAIN)]
        assert shown == list(ops) and [type(one[1]) for one in shown] == [dict] * len(ops)
        assert offered.pack_operations(offered.unpack_operations(packed, CHAIN), CHAIN) == packed
        assert COUNCIL.say("a", "unpropose", id=number) == "accepted"
    return code


def test_every_operation_that_is_offered_is_tried_here_in_every_field():
    assert GOOD.keys() == BROKEN.keys() == offered.OFFERED
    assert {name: fields.keys() for name, fields in GOOD.items()} == {name: f.keys() for name, f in BROKEN.items()}


@pytest.mark.parametrize("name", GOOD)
def test_the_good_form_is_accepted_and_shown_again_as_it_was(name):
    assert offer([name, GOOD[name]]) == "accepted"


@pytest.mark.parametrize(("name", "fields"), ALSO_GOOD, ids=str)
def test_at_the_edge_of_what_is_allowed(name: str, fields: Fields) -> None:
    assert offer([name, GOOD[name] | fields]) == "accepted"


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in BROKEN for field in BROKEN[name]])
def test_a_field_that_is_broken(name: str, field: str) -> None:
    for value in BROKEN[name][field]:
        assert offer([name, GOOD[name] | {field: value}]) == "bad_operation", value
    assert offer([name, {key: value for key, value in GOOD[name].items() if key != field}]) == "bad_operation"
    assert offer([name, {field: GOOD[name][field]}]) == "bad_operation"


def test_what_ends_a_recurrent_transfer_has_one_form():
    ends = GOOD["recurrent_transfer"] | {"amount": "0.000 TESTS"}
    assert offer(["recurrent_transfer", ends]) == "accepted"
    assert offer(["recurrent_transfer", ends | {"executions": 3}]) == "bad_operation"


@pytest.mark.parametrize("name", GOOD)
def test_a_field_too_many_and_another_form_of_the_pair(name):
    good = GOOD[name]
    for wrong in (
        [name, good | {"extra": 1}],
        [name, list(good)],
        [name, [good]],
        [name, None],
        [name, {}],
        [name],
        [name, good, good],
        {"type": name + "_operation", "value": good},
        [good, name],
    ):
        assert offer(wrong) == "bad_operation", wrong


@pytest.mark.parametrize("raw", ["1.000", "1.0", "1e3", "NaN", "-Infinity"])
@pytest.mark.parametrize("field", ["amount", "recurrence", "executions"])
def test_floats_are_no_json_of_ours_at_all(raw, field):
    text = json.dumps({"ops": [["recurrent_transfer", GOOD["recurrent_transfer"] | {field: "HERE"}]], "expires": 1_300})
    assert COUNCIL.say("a", "propose", text.replace('"HERE"', raw)) == "bad_json"


@pytest.mark.parametrize("letter", ["\n", "\0", "\x1f", "\x7f", "\x9f"])
def test_a_memo_without_control_characters(letter):
    op = ["transfer", GOOD["transfer"] | {"memo": f"a{letter}b"}]
    assert offer(op) == "bad_json"


OTHERS = [name for name, _ in TABLE if name not in offered.OFFERED]


@pytest.mark.parametrize("name", [*OTHERS, "", "Transfer", "transfer_operation", "transfеr", "fill_order", "__proto__"])
def test_any_other_is_not_offered(name):
    assert offer([name, {}]) == "not_offered"
    assert offer([name, {"account": GROUP}]) == "not_offered"
    assert offer(transfer(), [name, {"account": GROUP}]) == "not_offered"
    assert offer(["transfer", {}], [name, None]) == "not_offered", "first all are looked at for what they name"


def test_that_the_keys_of_the_group_are_never_offered():
    never = {"account_update", "account_update2", "recover_account", "request_account_recovery", "withdraw_vesting"}
    assert never | {"change_recovery_account", "set_withdraw_vesting_route", "limit_order_create"} <= set(OTHERS)


@pytest.mark.parametrize(
    ("count", "code"), [(0, "out_of_bounds"), (1, "accepted"), (20, "accepted"), (21, "out_of_bounds")]
)
def test_one_to_twenty_operations(count, code):
    assert offer(*[witness_vote(f"witness{n}") for n in range(count)]) == code


@pytest.mark.parametrize(
    ("name", "most"), [("custom_json", 4), ("transfer_from_savings", 1), ("transfer_to_savings", 20)]
)
def test_how_many_of_a_kind(name, most):
    assert offer(*[[name, GOOD[name]]] * most) == "accepted"
    if most < 20:
        assert offer(*[[name, GOOD[name]]] * (most + 1)) == "bad_operation"


# -- what leaves


def leaves(*ops: Any) -> tuple[int, int]:
    number = COUNCIL.propose(*ops)
    found = offered.leaves(GROUP, offered.unpack_operations(COUNCIL.view.need(PROPOSAL, number).ops, CHAIN))
    COUNCIL.say("a", "unpropose", id=number)
    return found


def test_what_leaves_is_what_another_account_gets():
    save, unsave, recur = GOOD["transfer_to_savings"], GOOD["transfer_from_savings"], GOOD["recurrent_transfer"]
    assert leaves(transfer("1.000 TBD"), ["transfer_to_savings", save]) == (0, 1_001)
    assert leaves(["transfer_to_savings", save | {"to": GROUP}], ["transfer_from_savings", unsave]) == (0, 0)
    assert leaves(["transfer_from_savings", unsave | {"to": "receiver"}]) == (0, 1_000)
    assert leaves(["recurrent_transfer", recur | {"executions": 700}]) == (700_000, 0)
    assert leaves(["recurrent_transfer", recur | {"amount": "0.000 TESTS"}]) == (0, 0)
    quiet = ["delegate_vesting_shares", "account_witness_vote", "update_proposal_votes"]
    assert leaves(*[[name, GOOD[name]] for name in [*quiet, "custom_json"]]) == (0, 0)


@pytest.mark.parametrize("name", ["account_witness_vote", "delegate_vesting_shares", "recurrent_transfer"])
def test_what_sets_something_is_not_there_twice(name):
    assert offer([name, GOOD[name]]) == "accepted"
    assert offer([name, GOOD[name]], [name, GOOD[name]]) == "bad_operation"


def test_a_proxy_votes_alone():
    proxy, vote = GOOD["account_witness_proxy"], GOOD["account_witness_vote"]
    assert offer(["account_witness_proxy", proxy], ["account_witness_vote", vote]) == "bad_operation"
    assert offer(["account_witness_proxy", proxy], ["account_witness_proxy", proxy | {"proxy": ""}]) == "bad_operation"
    assert offer(["account_witness_proxy", proxy | {"proxy": ""}], ["account_witness_vote", vote]) == "accepted"


@pytest.mark.parametrize("name", ["transfer_to_savings", "transfer_from_savings"])
def test_treasuries_of_hive_take_no_part_in_savings(name):
    for to in ("hive.fund", "steem.dao"):
        assert offer([name, GOOD[name] | {"to": to}]) == "bad_operation"


def test_rc_is_no_word_of_ours():
    """hived reads the json of an id `rc` itself, and wants a posting authority there."""
    assert offer(["custom_json", GOOD["custom_json"] | {"id": "rc"}]) == "bad_operation"


def test_it_is_of_one_asset():
    assert offer(transfer("1.000 TESTS"), transfer("1.000 TBD")) == "bad_operation"
    assert offer(transfer("1.000 TESTS"), ["transfer_from_savings", GOOD["transfer_from_savings"]]) == "accepted"


def test_and_at_most_2_53_together():
    assert offer(transfer("9007199254740.991 TESTS"), transfer("0.001 TESTS")) == "accepted"
    assert offer(transfer("9007199254740.992 TESTS"), transfer("0.001 TESTS")) == "bad_operation"
    recur = GOOD["recurrent_transfer"] | {"amount": "4503599627370.496 TESTS"}
    assert offer(["recurrent_transfer", recur]) == "accepted"
    assert offer(["recurrent_transfer", recur | {"executions": 3}]) == "bad_operation"


def test_a_transfer_from_savings_has_the_number_of_its_payload_as_request():
    number = COUNCIL.propose(["transfer_from_savings", GOOD["transfer_from_savings"]], witness_vote())
    packed = COUNCIL.view.need(PROPOSAL, number).ops
    content = Content(4_711, Payload("payout", 0, 1, "", 0, "", "", "", ()), Action(number, 0, 0, 0, packed))
    first, second = content.operations(COUNCIL.genesis)
    assert first.value["request_id"] == 4_711 and second.name == "account_witness_vote"
    assert not content.is_transfer and content.spends == ("", 0)
    COUNCIL.say("a", "unpropose", id=number)


# -- any json at all

TEXTS = st.sampled_from(["", GROUP, "receiver", "1.000 TESTS"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["from", "to", "id"]), inner),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_any_value_in_any_field_is_accepted_in_its_one_form_or_refused(name, data):
    field = data.draw(st.sampled_from(sorted(GOOD[name])))
    assert offer([name, GOOD[name] | {field: data.draw(JSON)}]) in ("accepted", "bad_operation")


@settings(max_examples=200, deadline=None)
@given(st.lists(JSON, min_size=1, max_size=3))
def test_any_json_in_place_of_an_operation(ops):
    assert offer(*ops) in ("bad_operation", "not_offered")
