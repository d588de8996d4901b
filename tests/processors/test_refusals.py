"""Refusals (protocol sections 4 and 7), and the whole weighing of a record against a count by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.members import node_add, node_delete
from processors.report import report
from processors.rotation import end_registrations
from processors.signatures import authority_changed, sig_refuse
from state.schema import KEY, MS, NODE, REFUSAL, SIG, KeyOwner, Record
from tests.processors import test_members, test_report
from tests.processors.test_signatures import submit
from tests.processors.world import OP, START, World, key

AT = 1_060


def refuse(world: World, *names: str, op: str = OP) -> Record:
    """These members refuse; the record afterwards."""
    for name in names:
        sig_refuse(world.at(AT), name, {"op": op, "why": "not_allowed"})
    return world.view.need(MS, op)


@pytest.fixture
def world() -> World:
    """Five signers, threshold 3; a payout is out."""
    return World.paying()


def test_it_is_noted_with_its_code(world):
    refuse(world, "a")
    found = world.view.need(REFUSAL, OP, "a")
    assert (found.why, found.height) == ("not_allowed", AT)


def test_who_may_refuse(world):
    world.member("keyless")
    world.member("old", signing="old new", former=["f"])
    world.strict("abcdf")
    submit(world, "a")
    no = {"op": OP, "why": "no"}
    world.rejects("not_member", sig_refuse, world.at(AT), "stranger", {**no, "op": "1:1:1"})
    world.rejects("not_member", sig_refuse, world.at(AT), "stranger", no)
    world.rejects("unknown_op", sig_refuse, world.at(AT), "b", {**no, "op": "1:1:1"})
    world.rejects("not_signer", sig_refuse, world.at(AT), "keyless", no)
    world.rejects("not_signer", sig_refuse, world.at(AT), "e", no)
    world.rejects("not_signer", sig_refuse, world.at(AT), "a", no)  # it has signed
    refuse(world, "old")  # a former key is a signer
    refuse(world, "b")
    world.rejects("refused_already", sig_refuse, world.at(AT), "b", no)


def test_a_key_of_weight_0_or_of_an_authority_that_is_not_needed_refuses_nothing(world):
    world.authority(1, {"a": 1, "b": 0}, roles=("active",))
    no = {"op": OP, "why": "no"}
    world.rejects("not_signer", sig_refuse, world.at(AT), "b", no)
    world.rejects("not_signer", sig_refuse, world.at(AT), "c", no)
    world.record("1051:7:9", roles=("owner", "active"))
    refuse(world, "c", op="1051:7:9")


def test_refused_when_too_little_is_left_for_the_threshold(world):
    assert refuse(world, "a", "b").status == "collecting"  # three are left
    assert refuse(world, "c").status == "refused"


def test_what_has_signed_is_left(world):
    submit(world, "a", "b")
    assert refuse(world, "c", "d").status == "collecting"
    assert refuse(world, "e").status == "refused"


def test_weights_are_refused(world):
    world.authority(4, {"a": 3, "b": 1, "c": 1, "d": 1, "e": 1})
    assert refuse(world, "b", "c", "d").status == "collecting"  # 3 + 1
    assert refuse(world, "e").status == "refused"


def test_accounts_in_the_authority_sign_nothing_and_so_leave_nothing(world):
    world.authority(3, "abcd", (("zoe", 9),))
    assert refuse(world, "a").status == "collecting"
    assert refuse(world, "b").status == "refused"


def test_either_authority_needed_can_be_refused(world):
    world.record("1051:7:9", kind="rotation", roles=("owner", "active"))
    world.authority(2, ["a", "v"], roles=("owner",))
    assert refuse(world, "b", "c", op="1051:7:9").status == "collecting"
    assert refuse(world, "a", op="1051:7:9").status == "refused"


def test_all_the_keys_of_a_member_refuse_but_those_that_have_signed(world):
    world.member("a", former=["b", "c"])
    assert refuse(world, "a").status == "refused"
    world.record("1051:7:9")
    submit(world, "b", op="1051:7:9")
    assert refuse(world, "a", op="1051:7:9").status == "collecting"


def test_a_signature_withdraws_a_refusal(world):
    refuse(world, "a", "b", "c")
    record = submit(world, "b")
    assert record.status == "collecting"
    assert world.names(REFUSAL) == ["a", "c"]
    assert submit(world, "d", "e").status == "ready"


def test_a_signature_by_somebody_else_does_not(world):
    refuse(world, "a", "b", "c")
    assert submit(world, "d").status == "refused"
    assert world.names(REFUSAL) == ["a", "b", "c"]


def test_it_withdraws_the_refusal_of_this_transaction_alone(world):
    world.record("1051:7:9")
    refuse(world, "a", op="1051:7:9")
    refuse(world, "a")
    submit(world, "a")
    assert world.names(REFUSAL) == ["a"]
    assert world.names(REFUSAL, OP) == []


def test_what_is_ready_is_not_refused(world):
    ready = submit(world, "a", "b", "c")
    assert refuse(world, "d", "e") == ready


def test_ready_is_lost_to_an_authority_and_refused_comes_back(world):
    submit(world, "a", "b", "c")
    refuse(world, "d", "e")
    world.strict("abdef")
    authority_changed(world.at(1_070))
    assert world.view.need(MS, OP).status == "collecting"  # a, b and f are left
    world.strict("adexy")
    authority_changed(world.at(1_071))
    assert world.view.need(MS, OP).status == "collecting"  # a, x, y
    world.strict("bdexa")
    refuse(world, "b")
    assert world.view.need(MS, OP).status == "refused"


def test_refused_lasts_only_while_the_weight_holds(world):
    assert refuse(world, "a", "b", "c").ready_at == 0
    world.strict("abdef")
    authority_changed(world.at(1_070))
    assert world.view.need(MS, OP).status == "collecting"  # c is no signer any more
    world.strict("abcde")
    authority_changed(world.at(1_071))
    assert world.view.need(MS, OP).status == "refused"  # c is one again, and has not taken it back


# -- keys that come into other hands


def status(world: World, op: str = OP) -> str:
    return world.view.need(MS, op).status


def with_a_key_of_nobody() -> World:
    """Five signers, threshold 3, the key e of no member; a and b refuse, and three are left: c, d and e."""
    world = World()
    for name in "abcd":
        world.member(name)
    world.strict("abcde")
    world.record(payloads=(world.payout(),))
    assert refuse(world, "a", "b").status == "collecting"
    return world


@pytest.mark.parametrize(("by", "after"), [("b", "refused"), ("c", "collecting"), ("newcomer", "collecting")])
def test_a_key_that_a_member_registers_refuses_if_the_member_has_refused(by, after):
    world = with_a_key_of_nobody()
    node_add(world.at(AT), by, test_members.body(world, by, "e"))
    assert status(world) == after


def test_a_key_that_a_member_registers_is_weighed_in_every_record():
    world = with_a_key_of_nobody()
    world.record("1051:7:9")
    world.record("1052:7:9")
    refuse(world, "a", "b", op="1052:7:9")
    node_add(world.at(AT), "b", test_members.body(world, "b", "e"))
    assert [status(world, op) for op in (OP, "1051:7:9", "1052:7:9")] == ["refused", "collecting", "refused"]


@pytest.mark.parametrize(("by", "after"), [("b", "refused"), ("c", "collecting")])
def test_a_next_key_refuses_from_its_first_report_on_if_the_member_has_refused(by, after):
    world = with_a_key_of_nobody()
    world.member(by, next_key=key("e"))
    world.asked(START + 50)
    assert status(world) == "collecting"
    report(world.at(AT), by, test_report.body(world, by, by="e"))
    assert world.view.need(KEY, key("e")) == KeyOwner(by)
    assert status(world) == after


def test_a_report_with_the_signing_key_weighs_nothing_anew():
    world = with_a_key_of_nobody()
    world.member("b", next_key=key("e"))
    world.asked(START + 50)
    report(world.at(AT), "b", test_report.body(world, "b"))
    assert status(world) == "collecting"


def test_a_refusal_weighs_nothing_any_more_at_the_end_of_the_registration():
    """The key of who left stays in owner: nobody's, it may sign, so the threshold can be met again."""
    world = World()
    for name in "abcd":
        world.member(name)
    world.strict("abcd")
    world.strict("abd", roles=("active",))
    world.record(kind="rotation", roles=("owner", "active"))
    submit(world, "a", "b")
    refuse(world, "c")
    node_delete(world.at(AT), "c", {})
    assert refuse(world, "d").status == "refused"
    end_registrations(world.at(1_100))
    assert world.names(NODE) == ["a", "b", "d"]
    assert status(world) == "collecting"
    assert world.names(REFUSAL) == ["c", "d"]
    assert submit(world, "c", height=1_101).status == "ready", "2 of 3 in active, 3 of 4 in owner"


def test_a_registration_that_goes_on_leaves_the_refusal_its_weight():
    world = World()
    for name in "abc":
        world.member(name)
    world.strict("abc")
    world.record()
    refuse(world, "b", "c")
    node_delete(world.at(AT), "c", {})
    end_registrations(world.at(1_100))
    assert status(world) == "refused", "a key of c is in active: the registration has not ended"


def test_a_key_that_has_signed_is_counted_whoever_has_it_now():
    world = with_a_key_of_nobody()
    submit(world, "e")
    node_add(world.at(AT), "b", test_members.body(world, "b", "e"))
    assert status(world) == "collecting"
    assert world.names(SIG) == [key("e")]


NAMES = "abcde"
WEIGHTS = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 3), min_size=1)


@settings(max_examples=150, deadline=None)
@given(st.data(), WEIGHTS, WEIGHTS, st.booleans(), st.sampled_from(["collecting", "ready", "refused"]))
def test_the_weighing_against_a_count_by_hand(data, active, owner, two_roles, before):
    """Members own several keys; ready = every authority is met; refused = one can be met by nobody any more."""
    of = {name: data.draw(st.sampled_from("PQR"), label=f"member of {name}") for name in NAMES}
    world = World()
    for member in "PQR":
        world.member(member, former=[name for name in NAMES if of[name] == member])
    roles = ("owner", "active") if two_roles else ("active",)
    weights = {"active": active, "owner": owner}
    thresholds = {role: data.draw(st.integers(0, sum(weights[role].values())), label=role) for role in weights}
    signed = data.draw(st.sets(st.sampled_from(NAMES)), label="signed")
    refusing = data.draw(st.sets(st.sampled_from("PQR")), label="refusing")
    world.strict(NAMES)
    world.record(roles=roles)
    # everything is written while all keys are signers; then the authority becomes what it is
    refuse(world, *sorted(member for member in refusing if any(of[n] == member for n in NAMES)))
    refusing = set(world.names(REFUSAL))
    for name in sorted(signed):
        submit(world, name)
        refusing.discard(of[name])
    record = world.view.need(MS, OP)
    world.view.put(MS, Record(**{n: getattr(record, n) for n in record.__struct_fields__} | {"status": before}), OP)
    for role in weights:
        world.authority(thresholds[role], weights[role], roles=(role,))
    authority_changed(world.at(1_070))

    still = {name for name in signed if any(weights[role].get(name) for role in roles)}

    def reach(role: str, names: set[str]) -> int:
        return sum(weights[role].get(name, 0) for name in names)

    met = all(0 < thresholds[role] <= reach(role, still) for role in roles)
    able = still | {name for name in NAMES if of[name] not in refusing}
    lost = any(reach(role, able) < thresholds[role] for role in roles)
    assert world.view.need(MS, OP).status == ("ready" if met else "refused" if lost else "collecting")
