"""Collecting signatures on chain (protocol section 7): what counts as one, ready and collecting."""

import pytest

from processors import shapes
from processors.engine import RULES
from processors.errors import Rejected
from processors.hive.crypto import ORDER
from processors.signatures import authority_changed, sig_submit
from state.schema import CHRON, MS, SIG, Record
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
    return World.paying()


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
