"""Reports (protocol section 5): when one counts, what it must say, and by which key."""

from hashlib import sha256
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from processors import shapes
from processors.errors import Rejected
from processors.members import MAX_KEYS
from processors.report import REPORT_SHAPE, report, report_digest, round_start
from state.schema import HEADERS, KEY, NODE, REPORT, Headers, KeyOwner
from tests.processors.world import OTHER_ROOT, ROOT, World, key, secret

H = 1_000


@pytest.fixture
def world() -> World:
    found = World()
    found.member("alice")
    found.member("bob")
    found.asked(H + 50)
    return found


def body(world: World, account: str = "alice", by: str | None = None, **fields: Any) -> dict[str, Any]:
    """A report in order, signed over what it says unless ``sig`` is given."""
    asked = world.view.need(HEADERS).asked
    assert asked is not None
    hdr = {"num": asked.num, "pre": asked.pre, "exp": asked.exp}
    found = {"v": 1, "height": H, "root": ROOT.hex(), "hdr": hdr, "ver": "0.1.0", **fields}
    digest = report_digest(world.genesis.hash, found["height"], bytes.fromhex(found["root"]), account)
    return {"sig": secret(by or account).sign(digest).hex(), **found}


def test_what_is_signed():
    packed = msgpack.packb(["report", b"g" * 32, H, ROOT, "alice"], use_bin_type=True)
    assert report_digest(b"g" * 32, H, ROOT, "alice") == sha256(packed).digest()


def test_counts_with_its_root_key_and_version(world):
    report(world.at(H + 51), "alice", body(world))
    found = world.view.need(REPORT, "alice")
    assert (found.root, found.key, found.ver) == (ROOT, key("alice"), "0.1.0")
    assert world.view.need(NODE, "alice").ver == "0.1.0"


@pytest.mark.parametrize("height", [H + 51, H + 99, H + 100])
def test_is_accepted_from_the_block_after_the_header_to_the_last_of_the_round(world, height):
    report(world.at(height), "alice", body(world))
    assert world.names(REPORT) == ["alice"]


@pytest.mark.parametrize("height", [H + 1, H + 49, H + 50, H + 101, H + 151])
def test_is_too_early_or_too_late_elsewhere(world, height):
    world.rejects("wrong_height", report, world.at(height), "alice", body(world))


@pytest.mark.parametrize("of", [0, H - 100, H - 1, H + 1, H + 50, H + 100])
def test_is_for_this_round_and_no_other(world, of):
    world.rejects("wrong_height", report, world.at(H + 51), "alice", body(world, height=of))


def test_comes_from_a_member(world):
    world.rejects("not_member", report, world.at(H + 51), "carol", body(world, "carol"))


def test_comes_from_leaving_members_and_those_without_a_seat_too(world):
    world.member("carol", seat=False)
    world.member("dave", seat=False, leaving=True)
    report(world.at(H + 51), "carol", body(world, "carol"))
    report(world.at(H + 51), "dave", body(world, "dave"))
    assert world.names(REPORT) == ["carol", "dave"]


def test_the_first_counts_and_a_second_is_rejected_before_its_signature_is_looked_at(world):
    report(world.at(H + 51), "alice", body(world))
    world.rejects("reported_already", report, world.at(H + 52), "alice", body(world, root=OTHER_ROOT.hex()))
    world.rejects("reported_already", report, world.at(H + 52), "alice", body(world, sig="00" * 65))
    assert world.view.need(REPORT, "alice").root == ROOT


@pytest.mark.parametrize("field", ["num", "pre", "exp"])
def test_carries_exactly_the_header_asked_for(world, field):
    wrong = body(world)
    wrong["hdr"] = {**wrong["hdr"], field: wrong["hdr"][field] + 1}
    world.rejects("wrong_header", report, world.at(H + 51), "alice", wrong)


def test_no_header_was_asked_for_yet(world):
    given = body(world)
    world.view.put(HEADERS, Headers(None, None))
    world.rejects("wrong_header", report, world.at(H + 51), "alice", given)


@pytest.mark.parametrize(
    "signed",
    [
        (b"another genesis" + bytes(17), H, ROOT, "alice"),
        (None, H + 100, ROOT, "alice"),
        (None, H, OTHER_ROOT, "alice"),
        (None, H, ROOT, "bob"),
    ],
    ids=["genesis", "height", "root", "account"],
)
def test_the_signature_is_over_all_four(world, signed):
    digest = report_digest(signed[0] or world.genesis.hash, *signed[1:])
    wrong = body(world, sig=secret("alice").sign(digest).hex())
    world.rejects("bad_signature", report, world.at(H + 51), "alice", wrong)


@pytest.mark.parametrize("by", ["bob", "nobody", "alice before"])
def test_the_signature_is_not_by_others_nor_by_a_former_key(world, by):
    world.member("alice", former=["alice before"])
    world.rejects("bad_signature", report, world.at(H + 51), "alice", body(world, by=by))


@pytest.mark.parametrize("sig", ["00" * 65, "ff" * 65, "1f" + "00" * 64])
def test_what_is_no_signature(world, sig):
    world.rejects("bad_signature", report, world.at(H + 51), "alice", body(world, sig=sig))


def test_the_next_key_becomes_the_signing_key_and_ripens_from_0(world):
    world.member("alice", next_key=key("alice next"), count=200)
    report(world.at(H + 51), "alice", body(world, by="alice next"))
    found = world.view.need(NODE, "alice")
    assert (found.signing_key, found.next_key, found.count) == (key("alice next"), None, 0)
    assert found.ripe_key == key("alice")
    assert world.view.need(KEY, key("alice next")).account == "alice"
    assert world.view.need(KEY, key("alice")).account == "alice"
    assert world.view.need(REPORT, "alice").key == key("alice next")


def test_the_signing_key_still_reports_while_a_next_key_waits(world):
    world.member("alice", next_key=key("alice next"), count=200)
    report(world.at(H + 51), "alice", body(world))
    found = world.view.need(NODE, "alice")
    assert (found.signing_key, found.next_key, found.count) == (key("alice"), key("alice next"), 200)
    assert world.view.get(KEY, key("alice next")) is None


def test_a_next_key_that_another_member_has_by_now_does_not_count(world):
    world.member("alice", next_key=key("alice next"))
    world.view.put(KEY, KeyOwner("bob"), key("alice next"))
    world.rejects("bad_signature", report, world.at(H + 51), "alice", body(world, by="alice next"))


@pytest.mark.parametrize(("had", "code"), [(MAX_KEYS - 1, None), (MAX_KEYS, "too_many_keys")])
def test_a_member_has_at_most_64_keys(world, had, code):
    world.member("alice", next_key=key("alice next"))
    for number in range(had - 1):
        world.view.put(KEY, KeyOwner("alice"), number.to_bytes(33, "big"))
    if code:
        world.rejects(code, report, world.at(H + 51), "alice", body(world, by="alice next"))
    else:
        report(world.at(H + 51), "alice", body(world, by="alice next"))
        assert world.view.need(NODE, "alice").signing_key == key("alice next")


def test_with_64_keys_a_former_one_may_become_the_signing_key_again(world):
    world.member("alice", former=["alice before"], next_key=key("alice before"), count=9)
    for number in range(MAX_KEYS - 2):
        world.view.put(KEY, KeyOwner("alice"), number.to_bytes(33, "big"))
    report(world.at(H + 51), "alice", body(world, by="alice before"))
    found = world.view.need(NODE, "alice")
    assert (found.signing_key, found.count) == (key("alice before"), 0)


def test_the_order_of_checks(world):
    """Everything is wrong at once; mended one by one, each next check has its turn."""
    wrong = body(world, height=H + 100, sig="00" * 65)
    wrong["hdr"] = {"num": 1, "pre": 1, "exp": 1}
    world.rejects("not_member", report, world.at(H + 51), "carol", wrong)
    world.rejects("wrong_height", report, world.at(H + 51), "alice", wrong)
    world.rejects("wrong_header", report, world.at(H + 51), "alice", {**wrong, "height": H})
    world.reports(["alice"])
    world.rejects("wrong_height", report, world.at(H + 51), "alice", wrong)
    world.rejects("reported_already", report, world.at(H + 51), "alice", {**wrong, "height": H})


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"prices": {}}, "bad_keys"),
        ({"hdr": {"num": 1, "pre": 1}}, "bad_keys"),
        ({"hdr": {"num": 1, "pre": 1, "exp": 1, "more": 1}}, "bad_keys"),
        ({"v": True}, "bad_type"),
        ({"hdr": []}, "bad_type"),
        ({"height": "1000"}, "bad_type"),
        ({"v": 2}, "out_of_bounds"),
        ({"v": 0}, "out_of_bounds"),
        ({"height": -1}, "out_of_bounds"),
        ({"height": 2**32}, "out_of_bounds"),
        ({"root": "00" * 31}, "out_of_bounds"),
        ({"root": "AB" * 32}, "out_of_bounds"),
        ({"sig": "00" * 64}, "out_of_bounds"),
        ({"hdr": {"num": 65_536, "pre": 0, "exp": 0}}, "out_of_bounds"),
        ({"hdr": {"num": 0, "pre": 2**32, "exp": 0}}, "out_of_bounds"),
        ({"ver": ""}, "out_of_bounds"),
        ({"ver": "a b"}, "out_of_bounds"),
        ({"ver": "x" * 33}, "out_of_bounds"),
    ],
)
def test_its_shape(world, fields, code):
    with pytest.raises(Rejected) as no:
        shapes.check({**body(world), **fields}, REPORT_SHAPE)
    assert no.value.code == code


@pytest.mark.parametrize("missing", ["v", "height", "root", "hdr", "ver", "sig"])
def test_no_key_may_be_missing(world, missing):
    given = body(world)
    shapes.check(given, REPORT_SHAPE)
    del given[missing]
    with pytest.raises(Rejected, match="bad_keys"):
        shapes.check(given, REPORT_SHAPE)


@given(st.integers(1, 10**6), st.integers(10, 10_000))
def test_every_block_but_the_first_lies_in_one_round(height, length):
    start = round_start(height, length)
    assert start % length == 0
    assert start < height <= start + length


def test_another_round_length(world):
    world.params = replace(world.params, round_length=20, report_at=12)
    world.asked(1_012)
    world.rejects("wrong_height", report, world.at(1_012), "alice", body(world))
    report(world.at(1_013), "alice", body(world))
    report(world.at(1_020), "bob", body(world, "bob"))
    assert world.names(REPORT) == ["alice", "bob"]
