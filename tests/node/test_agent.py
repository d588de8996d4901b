"""What one node wants (protocol section 11): a pure function of the state, its identity, and what it sent before."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from node.agent import (
    BroadcastTransaction,
    Me,
    Memory,
    SendReport,
    SignTransaction,
    agrees,
    chosen_signatures,
    differs_from_agreed,
    is_groups_own,
    missing_keys,
    wanted,
)
from processors.hive.authority import Required, verify_authority
from processors.hive.types import Authority as HiveAuthority
from state.schema import HEAD, MS, REFUSAL, REPORT, ROUND, SIG, Head, Refusal, Report, Round, Signature
from tests.processors.world import START, World, key, time_of

ALICE = Me("alice", (key("alice"),))
LEADERS = ("alice", "bob", "carol", "dave")


def at(world, height, *, time=None):
    """The block ``height`` is applied, with all that the world wrote before."""
    world.view.put(HEAD, Head(height, bytes(20), time_of(height) if time is None else time))
    world.state.commit(world.view)
    world.view = world.state.view()


def new_world(**given_parameters):
    """Four members; the block asked for is 1050, whose state is the last one applied."""
    world = World(**given_parameters)
    for name in LEADERS:
        world.member(name)
    world.strict(LEADERS)
    at(world, START)
    world.asked(START + 50)
    at(world, START + 50)
    return world


def wants(world, me=ALICE, kind=None, **memory):
    """What a node wants now, of one kind or all."""
    found = wanted(world.state, world.params, me, Memory(**memory))
    return [action for action in found if kind is None or isinstance(action, kind)]


def signs(world, name, op="1050:7:9"):
    """``name`` has signed, and the state shows it."""
    world.view.put(SIG, Signature(sha256(name.encode()).digest() + bytes(33), 1_050, name), op, key(name))


# -- the report


@pytest.mark.parametrize(("height", "due"), [(1_001, 0), (1_049, 0), (1_050, 1), (1_051, 1), (1_099, 1), (1_100, 0)])
def test_a_report_in_the_reporting_half_of_the_round_and_not_outside(height, due):
    world = new_world()
    at(world, height)
    assert len(wants(world)) == due


def test_it_says_which_root_and_which_header():
    world = new_world()
    [report] = wants(world)
    assert (report.height, report.root, report.key) == (START, world.state.root(START), key("alice"))
    assert (report.header.height, report.header.num) == (1_050, 1_050)
    assert report.content == "report:1000"


def test_the_header_of_a_former_round_is_never_reported():
    world = new_world()
    at(world, 1_100)
    at(world, 1_155)  # the block 1150 has not been the one asked for: nothing to report
    assert wants(world) == []


def test_nothing_without_a_root_of_ones_own_for_the_beginning_of_the_round():
    world = new_world()
    world.asked(1_150)
    at(world, 1_155)  # the block 1100 was never applied: a node that began in the middle
    assert world.state.root(1_100) is None
    assert wants(world) == []


def test_once_my_report_is_on_chain_no_second_one():
    world = new_world()
    world.view.put(REPORT, Report(bytes(32), key("alice"), "1"), "alice")
    at(world, 1_052)
    assert wants(world) == []


def test_the_reports_of_others_are_not_mine():
    world = new_world()
    world.view.put(REPORT, Report(bytes(32), key("bob"), "1"), "bob")
    at(world, 1_052)
    assert len(wants(world, kind=SendReport)) == 1


def test_who_is_no_member_wants_nothing_even_with_a_members_key():
    world = new_world()
    world.record(status="ready", ready_at=1_050, recasts=3)
    at(world, 1_051)
    assert wants(world, Me("eve", (key("alice"), key("eve")))) == []


@pytest.mark.parametrize("held", [(), ("eve",), ("bob",)])
def test_no_report_without_a_key_of_the_member_itself(held):
    assert wants(new_world(), Me("alice", tuple(map(key, held)))) == []


def test_a_member_without_a_seat_reports_too():
    world = new_world()
    world.member("erin", seat=False)
    at(world, 1_051)
    assert [action.key for action in wants(world, Me("erin", (key("erin"),)))] == [key("erin")]


@pytest.mark.parametrize(("held", "used"), [(["alice", "next"], "next"), (["next"], "next"), (["alice"], "alice")])
def test_the_next_key_reports_first_where_it_is_held(held, used):
    world = new_world()
    world.member("alice", next_key=key("next"))
    at(world, 1_051)
    me = Me("alice", tuple(sorted(map(key, held))))
    assert [action.key for action in wants(world, me)] == [key(used)]


# -- signatures


def test_a_record_that_my_key_can_sign():
    world = new_world()
    world.record()
    at(world, 1_051)
    assert wants(world, kind=SignTransaction) == [SignTransaction("1050:7:9", key("alice"), False, 1_050)]


def test_not_with_a_key_that_is_no_signer():
    world = new_world()
    world.record()
    at(world, 1_051)
    assert wants(world, Me("alice", (key("elsewhere"),)), SignTransaction) == []


def test_not_with_a_key_of_weight_zero():
    world = new_world()
    world.authority(1, {"alice": 0, "bob": 1})
    world.record()
    at(world, 1_051)
    assert wants(world, kind=SignTransaction) == []


def test_only_for_the_roles_that_the_transaction_needs():
    world = new_world()
    world.authority(1, ["bob"], roles=("active", "posting"))  # alice stays in owner
    world.record("1050:7:9", roles=("active",))
    world.record("1051:7:9", built=1_051, roles=("owner", "active"))
    at(world, 1_052)
    assert [action.op for action in wants(world, kind=SignTransaction)] == ["1051:7:9"]


def test_not_twice_with_the_same_key():
    world = new_world()
    world.record()
    signs(world, "alice")
    at(world, 1_051)
    assert wants(world, kind=SignTransaction) == []


def test_each_held_key_that_is_missing_in_byte_order():
    world = new_world()
    record = world.record()
    signs(world, "bob")
    at(world, 1_051)
    me = Me("alice", (key("dave"), key("alice"), key("bob"), key("eve")))
    assert missing_keys(world.state, me, "1050:7:9", record) == sorted([key("alice"), key("dave")])


def test_not_after_my_refusal_but_after_anothers():
    world = new_world()
    world.record()
    world.view.put(REFUSAL, Refusal("policy", 1_050), "1050:7:9", "bob")
    at(world, 1_051)
    assert len(wants(world, kind=SignTransaction)) == 1
    world.view.put(REFUSAL, Refusal("policy", 1_051), "1050:7:9", "alice")
    at(world, 1_052)
    assert wants(world, kind=SignTransaction) == []


@pytest.mark.parametrize("seconds_left", [1, 0, -1])
def test_nothing_for_what_has_expired(seconds_left):
    world = new_world()
    record = world.record()
    world.record("1051:7:9", built=1_051, status="ready", ready_at=1_051, order=LEADERS, expiration=record.expiration)
    signs(world, "alice", "1051:7:9")
    at(world, 1_052, time=record.expiration - seconds_left)
    found = [type(action) for action in wants(world) if not isinstance(action, SendReport)]
    assert found == ([SignTransaction, BroadcastTransaction] if seconds_left > 0 else [])


def test_the_report_first_then_rotations_then_by_age_then_broadcasts():
    world = new_world()
    world.record("1049:7:9", built=1_049, status="ready", ready_at=1_050, order=LEADERS)
    world.record("1048:7:9", built=1_048)
    world.record("1050:7:9", built=1_050, kind="rotation", roles=("owner", "active"))
    world.record("1047:7:9", built=1_047, status="ready", ready_at=1_051, order=LEADERS)
    at(world, 1_052)
    assert [action.content.partition(":")[0] for action in wants(world)] == [
        "report", "sign", "sign", "sign", "sign", "broadcast", "broadcast"
    ]  # fmt: skip
    assert [action.op for action in wants(world, kind=SignTransaction)] == [
        "1050:7:9", "1047:7:9", "1048:7:9", "1049:7:9"
    ]  # fmt: skip
    assert [action.op for action in wants(world, kind=BroadcastTransaction)] == ["1049:7:9", "1047:7:9"]


# -- broadcasts


@pytest.mark.parametrize(
    ("recasts", "due"), [(0, LEADERS[:1]), (1, LEADERS[:2]), (2, LEADERS[:3]), (3, (*LEADERS, "erin"))]
)
def test_the_leader_then_one_more_each_recast_then_every_member(recasts, due):
    world = new_world()
    world.member("erin", seat=False)  # a member, but no runner: it has no place in the order
    world.record(status="ready", ready_at=1_050, order=LEADERS, recasts=recasts)
    at(world, 1_051)
    found = [name for name in (*LEADERS, "erin", "eve") if wants(world, Me(name, ()), BroadcastTransaction)]
    assert tuple(found) == due


@pytest.mark.parametrize("status", ["collecting", "refused"])
def test_only_what_is_ready(status):
    world = new_world()
    world.record(status=status, order=LEADERS, recasts=3)
    at(world, 1_051)
    assert wants(world, kind=BroadcastTransaction) == []


def test_a_node_without_a_signing_key_still_broadcasts():
    world = new_world()
    world.record(status="ready", ready_at=1_050, order=LEADERS)
    at(world, 1_051)
    assert [type(action) for action in wants(world, Me("alice", ()))] == [BroadcastTransaction]


def rotating(world, built=1_040, **fields):
    """A rotation is out beside a ready payout; ``fields`` say how far it is."""
    fields = {"status": "ready", "ready_at": built, "order": ("bob", "alice", "carol", "dave"), **fields}
    world.record(f"{built}:7:9", built=built, kind="rotation", roles=("owner", "active"), **fields)
    world.record(status="ready", ready_at=1_050, order=LEADERS)


@pytest.mark.parametrize(("passed", "held"), [(0, True), (1, True), (29, True), (30, False), (31, False)])
def test_payouts_wait_while_a_rotation_became_ready_less_than_a_recast_ago(passed, held):
    world = new_world()
    rotating(world, 1_060)
    at(world, 1_060 + passed)
    assert [action.op for action in wants(world, kind=BroadcastTransaction)] == ([] if held else ["1050:7:9"])


@pytest.mark.parametrize(("passed", "held"), [(6, True), (7, False)])
def test_how_long_they_wait_is_recast_every(passed, held):
    world = new_world(recast_every=7)
    rotating(world, 1_060)
    at(world, 1_060 + passed)
    assert (wants(world, kind=BroadcastTransaction) == []) is held


@pytest.mark.parametrize("status", ["collecting", "refused"])
def test_a_rotation_that_nobody_may_broadcast_holds_nothing(status):
    world = new_world()
    rotating(world, 1_060, status=status, ready_at=1_060)
    at(world, 1_061)
    assert [action.op for action in wants(world, kind=BroadcastTransaction)] == ["1050:7:9"]


@pytest.mark.parametrize(("seconds_left", "held"), [(1, True), (0, False), (-1, False)])
def test_a_rotation_that_has_expired_holds_nothing(seconds_left, held):
    world = new_world()
    rotating(world, 1_060, expiration=time_of(1_061) + seconds_left)
    at(world, 1_061)
    assert [action.op for action in wants(world, kind=BroadcastTransaction)] == ([] if held else ["1050:7:9"])


def test_the_rotation_itself_goes_out_at_once():
    world = new_world()
    rotating(world, 1_060, order=LEADERS)
    at(world, 1_060)
    assert [action.op for action in wants(world, kind=BroadcastTransaction)] == ["1060:7:9"]
    at(world, 1_090)
    assert [action.op for action in wants(world, kind=BroadcastTransaction)] == ["1050:7:9", "1060:7:9"]


def test_a_rotation_that_is_ready_again_holds_again():
    world = new_world()
    rotating(world, 1_060, ready_at=1_088)
    at(world, 1_095)
    assert wants(world, kind=BroadcastTransaction) == []


def test_another_payout_that_is_ready_holds_nothing():
    world = new_world()
    world.record("1060:7:9", built=1_060, status="ready", ready_at=1_060, order=("bob", *LEADERS))
    world.record(status="ready", ready_at=1_050, order=LEADERS)
    at(world, 1_061)
    assert [action.op for action in wants(world, kind=BroadcastTransaction)] == ["1050:7:9"]


def test_a_rotation_on_its_way_holds_no_signature():
    world = new_world()
    rotating(world, 1_060)
    at(world, 1_061)
    assert [action.op for action in wants(world, kind=SignTransaction)] == ["1060:7:9", "1050:7:9"]


# -- what was sent before


@pytest.mark.parametrize(("height", "again"), [(1_051, False), (1_059, False), (1_060, True), (1_061, True)])
def test_what_was_refused_is_wanted_again_from_its_height_on(height, again):
    world = new_world()
    world.record(status="ready", ready_at=1_050, order=LEADERS)
    at(world, 1_051)
    rests = {action.content: 1_060 for action in wants(world)}
    assert len(rests) == 3
    at(world, height)
    assert bool(wants(world, not_before=rests)) is again


def test_what_rests_holds_nothing_else_back():
    world = new_world()
    world.record(status="ready", ready_at=1_050, order=LEADERS)
    at(world, 1_051)
    rests = {"broadcast:1050:7:9:1050": 1_060, "report:900": 1_060}
    assert [action.content for action in wants(world, not_before=rests)] == [
        "report:1000", f"sign:1050:7:9:{key('alice').hex()}"
    ]  # fmt: skip


def test_what_was_sent_and_what_was_refused_must_both_be_over():
    world = new_world()
    at(world, 1_060)
    sent = {"report:1000": 1_055}
    for again_after, rests, due in [(5, 1_060, 1), (6, 1_060, 0), (5, 1_061, 0)]:
        assert len(wants(world, sent=sent, again_after=again_after, not_before={"report:1000": rests})) == due


@pytest.mark.parametrize(("passed", "again"), [(0, False), (1, False), (22, False), (23, True), (40, True)])
def test_what_was_sent_is_sent_again_after_its_time_and_not_before(passed, again):
    world = new_world()
    world.record(status="ready", ready_at=1_050, order=LEADERS)
    at(world, 1_051)
    sent = {action.content: 1_051 for action in wants(world)}
    assert len(sent) == 3
    at(world, 1_051 + passed)
    assert bool(wants(world, sent=sent, again_after=23)) == again


def test_what_was_sent_holds_nothing_else_back():
    world = new_world()
    world.record("1049:7:9", built=1_049)
    world.record()
    at(world, 1_051)
    left = wants(world, sent={"report:1000": 1_050, f"sign:1049:7:9:{key('alice').hex()}": 1_050})
    assert [action.content for action in left] == [f"sign:1050:7:9:{key('alice').hex()}"]


def test_it_asks_nothing_of_the_past():
    """The same state, the same wish: whether it is the first look or the thousandth."""
    world = new_world()
    world.record()
    at(world, 1_051)
    assert wants(world) == wants(world) != []


# -- agreement


@pytest.mark.parametrize(
    ("agreed", "signs_on", "halts"), [("own", True, None), ("other", False, START), (None, False, None)]
)
def test_signing_needs_an_agreed_root_that_is_ones_own(agreed, signs_on, halts):
    world = new_world()
    own = world.state.root(START)
    root = {"own": own, "other": bytes(32), None: None}[agreed]
    world.view.put(ROUND, Round(root, None, ()), START)
    world.set_tally(height=1_100)
    at(world, 1_100)
    assert agrees(world.state, world.params) is signs_on
    assert differs_from_agreed(world.state, world.params) == halts


def test_before_the_first_tally_there_is_no_agreement_and_nothing_differs():
    world = new_world()
    assert not agrees(world.state, world.params)
    assert differs_from_agreed(world.state, world.params) is None


def test_whether_the_account_is_the_groups_own():
    world = new_world()
    assert is_groups_own(world.state)
    world.authority(1, ["somebody outside"], roles=("owner",))
    at(world, 1_051)
    assert not is_groups_own(world.state)


# -- the signatures that a broadcast carries

NAMES = st.sampled_from([*LEADERS, "erin", "frank"])
AUTHORITIES = st.dictionaries(NAMES, st.integers(0, 3), min_size=1, max_size=6)


@given(owner=AUTHORITIES, active=AUTHORITIES, signed=st.sets(NAMES), thresholds=st.tuples(*[st.integers(1, 4)] * 2))
def test_before_hardfork_28_no_choice_is_ever_refused_for_a_surplus(owner, active, signed, thresholds):
    """hived's own check with rules 27 refuses a signature that it did not need."""
    world = World()
    world.authority(thresholds[0], owner, roles=("owner",))
    world.authority(thresholds[1], active, roles=("active",))
    record = world.record(roles=("owner", "active"))
    for name in signed:
        signs(world, name)
    at(world, 1_051)
    weights = [sum(weight for name, weight in given.items() if name in signed) for given in (owner, active)]
    carried = chosen_signatures(world.state, "1050:7:9", record)
    by_sig = {entry.sig: bytes(of) for (_, of), entry in world.state.walk(SIG, "1050:7:9")}
    keys = [by_sig[sig] for sig in carried]
    assert keys == sorted(set(keys)), "each once, in byte order of the keys"
    if all(weight >= threshold for weight, threshold in zip(weights, thresholds, strict=True)):

        def get(role, _):
            given, threshold = (owner, thresholds[0]) if role == "owner" else (active, thresholds[1])
            return HiveAuthority(threshold, (), tuple(sorted((key(name), w) for name, w in given.items())))

        need = Required((), ("the-group",), ("the-group",), (), ())
        # a weight of 0 counts as used with hived only if it is asked for before the threshold: we never send one
        assert all(owner.get(n, 0) or active.get(n, 0) for n in signed if key(n) in keys)
        verify_authority(need, keys, get, rules=27)


def test_the_first_in_byte_order_until_the_threshold():
    world = new_world()
    record = world.record()
    for name in LEADERS:
        signs(world, name)
    at(world, 1_051)
    first_three = sorted(LEADERS, key=key)[:3]
    expected = [world.state.need(SIG, "1050:7:9", key(name)).sig for name in first_three]
    assert chosen_signatures(world.state, "1050:7:9", record) == expected


def test_a_key_of_two_authorities_signs_once():
    world = new_world()
    world.authority(1, ["alice"])
    record = replace(world.record(), roles=("owner", "active"))
    world.view.put(MS, record, "1050:7:9")
    signs(world, "alice")
    at(world, 1_051)
    assert len(chosen_signatures(world.state, "1050:7:9", record)) == 1
