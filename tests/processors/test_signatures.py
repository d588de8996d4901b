"""Collecting signatures on chain (protocol section 7): sig_submit, ready and collecting, confirming."""

import pytest

from node.agent import chosen_signatures
from processors import shapes
from processors.engine import RULES
from processors.errors import Rejected
from processors.hive.crypto import ORDER
from processors.signatures import authority_changed, ms_signed, sig_refuse, sig_submit
from state.schema import CHRON, DONE, MS, QUEUE, REFUSAL, SIG, TALLY, Record
from tests.processors.world import OP, World, key, secret

AT = 1_060


def submit(world: World, *names: str, op: str = OP, height: int = AT) -> Record:
    """These keys sign; the record afterwards."""
    for name in names:
        sig = secret(name).sign(world.view.need(MS, op).digest)
        sig_submit(world.at(height), "anyone", {"op": op, "sig": sig.hex()})
    return world.view.need(MS, op)


def status(world: World, *names: str) -> str:
    return submit(world, *names).status


@pytest.fixture
def world() -> World:
    """Five signers, threshold 3; a payout is out."""
    found = World()
    for name in "abcde":
        found.member(name)
    found.strict("abcde")
    found.record(payloads=(found.payout(),))
    return found


# -- what counts as a signature


def test_it_is_stored_under_its_key_whoever_sends_it(world):
    sig = secret("a").sign(world.view.need(MS, OP).digest)
    sig_submit(world.at(AT), "a-stranger", {"op": OP, "sig": sig.hex()})
    found = world.view.need(SIG, OP, key("a"))
    assert (found.sig, found.height, found.sender) == (sig, AT, "a-stranger")
    assert world.names(SIG) == [key("a")]


def test_a_key_that_no_member_has_counts_if_it_is_a_signer(world):
    world.authority(1, ["x"])
    assert status(world, "x") == "ready"


@pytest.mark.parametrize("seat", [True, False])
def test_a_member_signs_a_rotation_with_or_without_a_seat(world, seat):
    world.member("a", seat=seat)
    world.record("1051:7:9", kind="rotation")
    submit(world, "a", op="1051:7:9")
    assert world.names(SIG) == [key("a")]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"sig": "00" * 66}, "out_of_bounds"),
        ({"sig": "00" * 64}, "out_of_bounds"),
        ({"op": "01:1:1"}, "out_of_bounds"),
        ({"op": "1:1"}, "out_of_bounds"),
        ({"op": "1:100000:1"}, "out_of_bounds"),
        ({"op": 1}, "bad_type"),
        ({"key": ""}, "bad_keys"),
    ],
)
def test_its_shape(fields, code):
    rule = RULES.find("json", "sig_submit", AT)
    assert rule is not None
    shape = rule.shape
    good = {"op": "0:0:0", "sig": "00" * 65}
    shapes.check(good, shape)
    with pytest.raises(Rejected, match=code):
        shapes.check({**good, **fields}, shape)


def test_the_record_exists(world):
    sig = secret("a").sign(world.view.need(MS, OP).digest).hex()
    world.rejects("unknown_op", sig_submit, world.at(AT), "a", {"op": "1:1:1", "sig": sig})


@pytest.mark.parametrize("by", ["outsider", "frozen", "posting only", "owner only"])
def test_it_is_by_a_signer_of_an_authority_that_the_transaction_needs(world, by):
    world.authority(1, {"a": 1, "frozen": 0}, roles=("active",))
    world.authority(1, ["posting only"], roles=("posting",))
    world.authority(1, ["owner only"], roles=("owner",))
    sig = secret(by).sign(world.view.need(MS, OP).digest).hex()
    world.rejects("bad_signature", sig_submit, world.at(AT), "a", {"op": OP, "sig": sig})


def test_owner_keys_sign_what_needs_owner(world):
    world.record("1051:7:9", kind="rotation", roles=("owner", "active"))
    world.strict("vw", roles=("owner",))
    assert submit(world, "v", "w", op="1051:7:9").status == "collecting"
    assert submit(world, "a", "b", "c", op="1051:7:9").status == "ready"


def test_it_is_over_the_digest_of_this_transaction(world):
    other = world.record("1051:7:9")
    sig = secret("a").sign(other.digest).hex()
    world.rejects("bad_signature", sig_submit, world.at(AT), "a", {"op": OP, "sig": sig})


def test_its_form_is_strict(world):
    """One key has one signature of a digest in a form that another byte or the other s would change."""
    good = secret("a").sign(world.view.need(MS, OP).digest)
    s = int.from_bytes(good[33:], "big")
    high = bytes([31 + ((good[0] - 31) ^ 1)]) + good[1:33] + (ORDER - s).to_bytes(32, "big")
    uncompressed = bytes([good[0] - 4]) + good[1:]
    for wrong in (high, uncompressed, bytes([35]) + good[1:], bytes([30]) + good[1:], bytes(65), b"\x1f" + bytes(64)):
        world.rejects("bad_signature", sig_submit, world.at(AT), "a", {"op": OP, "sig": wrong.hex()})
    sig_submit(world.at(AT), "a", {"op": OP, "sig": good.hex()})


def test_a_key_signs_once(world):
    submit(world, "a")
    sig = secret("a").sign(world.view.need(MS, OP).digest).hex()
    world.rejects("signed_already", sig_submit, world.at(AT), "b", {"op": OP, "sig": sig})


# -- ready and collecting


def test_ready_at_the_threshold_and_since_that_height(world):
    assert status(world, "a", "b") == "collecting"
    record = submit(world, "c", height=1_066)
    assert (record.status, record.ready_at) == ("ready", 1_066)


def test_further_signatures_change_nothing_about_it(world):
    ready = submit(world, "a", "b", "c")
    assert submit(world, "d", height=1_070) == ready
    assert len(world.names(SIG)) == 4


@pytest.mark.parametrize(
    ("threshold", "signed", "found"),
    [(5, "a", "ready"), (6, "a", "collecting"), (6, "ab", "ready"), (4, "bcd", "collecting")],
)
def test_weights_count(world, threshold, signed, found):
    world.authority(threshold, {"a": 5, "b": 1, "c": 1, "d": 1}, (("zoe", 50),))
    assert status(world, *signed) == found


def test_an_authority_whose_threshold_its_keys_cannot_reach_makes_nothing_ready(world):
    world.authority(6, "abcde", (("zoe", 9),))
    assert status(world, "a") == "collecting"
    assert status(world, *"bcde") == "collecting"


def test_a_threshold_of_0_makes_nothing_ready(world):
    world.authority(0, "abc")
    assert status(world, *"abc") == "collecting"


def test_each_authority_needed_by_itself_and_a_key_in_both_counts_for_both(world):
    world.record("1051:7:9", kind="rotation", roles=("owner", "active"))
    world.authority(2, "ab", roles=("active",))
    world.authority(2, "bc", roles=("owner",))
    assert submit(world, "a", "b", op="1051:7:9").status == "collecting"
    assert submit(world, "c", op="1051:7:9").status == "ready"
    world.record("1052:7:9", kind="rotation", roles=("owner", "active"))
    assert submit(world, "b", "c", op="1052:7:9").status == "collecting"
    assert submit(world, "a", op="1052:7:9").status == "ready"


# -- when the authority changes


def test_signatures_of_keys_that_are_no_signers_any_more_are_dropped(world):
    submit(world, "a", "b", "c")
    world.strict("bcdef")
    authority_changed(world.at(1_070))
    record = world.view.need(MS, OP)
    assert (record.status, record.ready_at) == ("collecting", 0)
    assert set(world.names(SIG)) == {key("b"), key("c")}


def test_the_new_signers_sign_the_same_transaction_and_ready_begins_anew(world):
    before = submit(world, "a", "b", "c")
    world.strict("bcdef")
    authority_changed(world.at(1_070))
    after = submit(world, "f", height=1_075)
    assert (after.tx, after.status, after.ready_at) == (before.tx, "ready", 1_075)
    assert after.job[0] == 1_105
    assert world.view.get(CHRON, *before.job) is None


def test_a_change_can_make_it_ready(world):
    submit(world, "a", "b")
    world.strict("abx")
    authority_changed(world.at(1_070))
    assert world.view.need(MS, OP).ready_at == 1_070


def test_a_dropped_key_that_comes_back_signs_again(world):
    submit(world, "a", "b", "c")
    world.strict("bcdef")
    authority_changed(world.at(1_070))
    world.strict("abcde")
    authority_changed(world.at(1_071))
    assert world.view.need(MS, OP).status == "collecting"
    assert status(world, "a") == "ready"


def test_only_the_authorities_that_it_needs_matter(world):
    submit(world, "a", "b", "c")
    world.strict("xyz", roles=("owner", "posting"))
    authority_changed(world.at(1_070))
    assert (world.view.need(MS, OP).ready_at, len(world.names(SIG))) == (AT, 3)


def test_keys_needed_are_those_that_were_signers_all_the_time(world):
    world.record("1051:7:9", kind="rotation", needed=tuple(sorted(map(key, "abcde"))))
    for names in ("abcx", "abcde"):
        world.strict(names)
        authority_changed(world.at(1_070))
    assert world.view.need(MS, "1051:7:9").needed == tuple(sorted(map(key, "abc")))


# -- confirming


def confirm(world: World, op: str = OP, height: int = 1_080) -> None:
    ms_signed(world.at(height, txid=world.view.need(MS, op).txid), world.genesis.group, {"op": op})


@pytest.mark.parametrize("found", ["collecting", "ready", "refused"])
def test_a_confirmation_counts_in_any_status(world, found):
    if found == "ready":
        submit(world, "a", "b", "c")
    elif found == "refused":
        submit(world, "a")
        for name in "bcd":
            sig_refuse(world.at(AT), name, {"op": OP, "why": "no"})
    record = world.view.need(MS, OP)
    assert record.status == found
    confirm(world)
    done = world.view.need(DONE, 1)
    assert (done.status, done.txid, done.height, done.why) == ("confirmed", record.txid, 1_080, "")
    assert len(done.signers) == {"collecting": 0, "ready": 3, "refused": 1}[found]


def test_nothing_is_left_of_it(world):
    submit(world, "a", "b")
    sig_refuse(world.at(AT), "c", {"op": OP, "why": "no"})
    confirm(world)
    assert [world.names(table) for table in (MS, SIG, REFUSAL, QUEUE)] == [[], [], [], []]
    assert [job.kind for _, job in world.view.walk(CHRON)] == ["forget_payload"]


def test_all_its_payloads_are_confirmed_and_those_of_others_are_not(world):
    numbers = (world.payout(), world.payout())
    world.record("1051:7:9", payloads=numbers)
    submit(world, "a", op="1051:7:9")
    submit(world, "b")
    confirm(world, "1051:7:9")
    assert [world.view.need(DONE, number).status for number in numbers] == ["confirmed"] * 2
    assert world.names(QUEUE) == [1]
    assert world.names(MS) == [OP]
    assert world.names(SIG) == [key("b")]


def test_signers_are_the_keys_that_had_signed_before_by_bytes(world):
    submit(world, "e", "c", "a", "b")
    confirm(world)
    assert world.view.need(DONE, 1).signers == tuple(sorted(map(key, "abce")))


def test_what_the_carrying_transaction_changes_does_not_touch_its_own_record(world):
    """A rotation: its account_update is an operation before the confirming one."""
    number = world.rotation()
    rotation = world.record("1051:7:9", payloads=(number,), kind="rotation", roles=("owner", "active"))
    submit(world, "a", "b", "c", op="1051:7:9")
    submit(world, "a", "b", "c")
    world.strict("vwx")
    authority_changed(world.at(1_080, txid=rotation.txid))
    assert set(world.names(SIG, "1051:7:9")) == set(map(key, "abc"))
    assert world.names(SIG, OP) == []
    confirm(world, "1051:7:9")
    assert world.view.need(DONE, number).signers == tuple(sorted(map(key, "abc")))


@pytest.mark.parametrize(("kind", "last"), [("rotation", 44), ("payout", 5)])
def test_the_limit_of_a_confirmed_rotation_becomes_last(world, kind, last):
    world.set_tally(limit=77, last=5)
    world.record("1051:7:9", payloads=(world.rotation(),), kind=kind, limit=44)
    confirm(world, "1051:7:9")
    assert world.view.need(TALLY).last == last
    assert world.view.need(TALLY).limit == 77


def test_who_and_what_confirms(world):
    txid = world.view.need(MS, OP).txid
    world.rejects("not_group", ms_signed, world.at(AT, txid=txid), "a", {"op": OP})
    world.rejects("not_group", ms_signed, world.at(AT, txid=txid), "a", {"op": "1:1:1"})
    world.rejects("unknown_op", ms_signed, world.at(AT, txid=txid), world.genesis.group, {"op": "1:1:1"})
    for other in (b"", txid[:19] + bytes([txid[19] ^ 1])):
        world.rejects("wrong_transaction", ms_signed, world.at(AT, txid=other), world.genesis.group, {"op": OP})


# -- what a broadcast carries


def test_the_signers_in_byte_order_until_the_threshold_is_met(world):
    record = submit(world, *"abcde")
    have = {one: signature.sig for (_, one), signature in world.view.walk(SIG, OP)}
    assert chosen_signatures(world.view, OP, record) == [have[one] for one in sorted(have)[:3]]


def test_the_union_over_the_authorities_needed_each_signature_once(world):
    world.record("1051:7:9", kind="rotation", roles=("owner", "active"))
    world.authority(2, {"a": 1, "b": 1, "c": 1, "frozen": 0}, roles=("active",))
    world.authority(3, {"c": 3, "d": 1, "e": 1}, roles=("owner",))
    record = submit(world, *"abcde", op="1051:7:9")
    by = {signature.sig: one for (_, one), signature in world.view.walk(SIG, "1051:7:9")}
    owner = []
    for one in sorted(map(key, "cde")):
        owner.append(one)
        if one == key("c"):
            break
    expected = sorted({*sorted(map(key, "abc"))[:2], *owner})
    assert [by[sig] for sig in chosen_signatures(world.view, "1051:7:9", record)] == expected
