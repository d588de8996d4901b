"""Registration (protocol section 4): node_add, node_delete, and the keys that a member has."""

from hashlib import sha256
from typing import Any

import msgpack
import pytest

from processors import shapes
from processors.errors import Rejected
from processors.genesis import pop_digest
from processors.hive.keys import public_key_to_text
from processors.members import MAX_KEYS, NODE_ADD, end_registration, keys_of, node_add, node_delete
from state.schema import KEY, NODE, RUNNER, KeyOwner
from tests.processors.world import World, key, secret

AT = 1_030


def body(world: World, account: str, name: str | None = None, **fields: Any) -> dict[str, Any]:
    """A node_add in order, with the key called ``name``."""
    name = name or account
    return {
        "domain": f"https://{account}.example",
        "signing_key": public_key_to_text(key(name), "TST"),
        "pop": secret(name).sign(pop_digest(world.genesis.hash, account)).hex(),
        **fields,
    }


def add(world: World, account: str, name: str | None = None, **fields: Any) -> None:
    node_add(world.at(AT), account, body(world, account, name, **fields))


# -- node_add


def test_registers_without_a_seat_and_with_nothing_ripe():
    world = World()
    add(world, "alice", "k", follow_active=True)
    found = world.view.need(NODE, "alice")
    assert (found.domain, found.signing_key, found.pop.hex()) == (
        "https://alice.example",
        key("k"),
        body(world, "alice", "k")["pop"],
    )
    assert (found.follow_active, found.next_key, found.ripe_key, found.count, found.leaving) == (
        True,
        None,
        None,
        0,
        False,
    )
    assert world.view.need(KEY, key("k")) == KeyOwner("alice")
    assert world.runners == []


def test_follow_active_is_off_unless_it_is_asked_for():
    world = World()
    add(world, "alice", follow_active=True)
    add(world, "alice")
    assert world.view.need(NODE, "alice").follow_active is False


def test_what_the_proof_of_possession_signs():
    packed = msgpack.packb(["pop", b"g" * 32, "alice"], use_bin_type=True)
    assert pop_digest(b"g" * 32, "alice") == sha256(packed).digest()


@pytest.mark.parametrize("wrong", ["account", "genesis", "key", "garbage"])
def test_the_proof_is_by_the_signing_key_for_this_account_and_genesis(wrong):
    world = World()
    digest = pop_digest(
        b"x" * 32 if wrong == "genesis" else world.genesis.hash, "bob" if wrong == "account" else "alice"
    )
    pop = bytes(65) if wrong == "garbage" else secret("other" if wrong == "key" else "alice").sign(digest)
    world.rejects("bad_pop", node_add, world.at(AT), "alice", body(world, "alice", pop=pop.hex()))


@pytest.mark.parametrize("whose", ["bob", "bob before"])
def test_a_key_that_another_member_has_or_ever_proved_is_taken(whose):
    world = World()
    world.member("bob", former=["bob before"])
    world.rejects("key_taken", node_add, world.at(AT), "alice", body(world, "alice", whose))


def test_the_key_of_a_leaving_member_is_taken_until_its_registration_ends():
    world = World()
    world.member("bob", former=["bob before"], leaving=True)
    world.rejects("key_taken", node_add, world.at(AT), "alice", body(world, "alice", "bob before"))
    end_registration(world.view, "bob")
    add(world, "alice", "bob before")
    assert keys_of(world.view, "alice") == [key("bob before")]


def test_a_next_key_is_not_had():
    world = World()
    world.member("bob", next_key=key("next"))
    add(world, "alice", "next")
    assert world.view.need(KEY, key("next")) == KeyOwner("alice")


def test_a_new_key_ripens_from_0_and_the_old_one_stays_had_and_ripe():
    world = World()
    world.member("alice", count=288, ver="1.2")
    add(world, "alice", "new")
    found = world.view.need(NODE, "alice")
    assert (found.signing_key, found.count, found.ripe_key, found.ver) == (key("new"), 0, key("alice"), "1.2")
    assert keys_of(world.view, "alice") == sorted([key("alice"), key("new")])
    assert world.runners == ["alice"]


def test_the_same_key_again_keeps_its_count():
    world = World()
    world.member("alice", count=100, ripe=False, next_key=key("next"))
    seat = world.view.need(RUNNER, "alice")
    add(world, "alice", domain="http://elsewhere.example:8080")
    found = world.view.need(NODE, "alice")
    assert (found.count, found.domain, found.next_key) == (100, "http://elsewhere.example:8080", None)
    assert world.view.need(RUNNER, "alice") == seat


def test_back_to_the_ripe_key_it_is_ripe_at_once_and_counts_anew():
    world = World()
    world.member("alice", count=50, signing="new", former=["alice"], ripe="alice")
    add(world, "alice", "alice")
    found = world.view.need(NODE, "alice")
    assert (found.signing_key, found.ripe_key, found.count) == (key("alice"), key("alice"), 0)


def test_a_leaving_member_becomes_a_member_again_with_what_was_ripe():
    world = World()
    world.member("alice", count=100)
    node_delete(world.at(AT), "alice", {})
    add(world, "alice")
    found = world.view.need(NODE, "alice")
    assert (found.leaving, found.count, found.ripe_key) == (False, 100, key("alice"))
    assert world.runners == []


@pytest.mark.parametrize(("had", "allowed"), [(MAX_KEYS - 1, True), (MAX_KEYS, False)])
def test_a_member_has_64_keys_at_most_present_and_former(had, allowed):
    world = World()
    world.member("alice")
    for number in range(had - 1):
        world.view.put(KEY, KeyOwner("alice"), number.to_bytes(33, "big"))
    if allowed:
        add(world, "alice", "new")
        assert len(keys_of(world.view, "alice")) == MAX_KEYS
    else:
        world.rejects("too_many_keys", node_add, world.at(AT), "alice", body(world, "alice", "new"))
    assert MAX_KEYS == 64


def test_with_64_keys_a_member_may_go_back_to_one_that_it_had():
    world = World()
    world.member("alice", former=["alice before"])
    for number in range(MAX_KEYS - 2):
        world.view.put(KEY, KeyOwner("alice"), number.to_bytes(33, "big"))
    add(world, "alice", "alice before")
    assert world.view.need(NODE, "alice").signing_key == key("alice before")


def test_keys_of_others_are_not_counted():
    world = World()
    world.member("alice")
    for number in range(100):
        world.view.put(KEY, KeyOwner("bob"), number.to_bytes(33, "big"))
    add(world, "alice", "new")


def test_max_members_are_registered_but_members_may_update():
    world = World(max_members=2)
    world.member("alice")
    world.member("leaving", seat=False, leaving=True)
    world.rejects("too_many_members", node_add, world.at(AT), "bob", body(world, "bob"))
    add(world, "alice", "new")
    add(world, "leaving")
    end_registration(world.view, "leaving")
    add(world, "bob")
    assert world.names(NODE) == ["alice", "bob"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        public_key_to_text(key("a"), "STM"),
        public_key_to_text(key("a"), "TST")[:-1] + "1",
        public_key_to_text(b"\x02" + b"\xff" * 32, "TST"),  # x is not in the field
        public_key_to_text(bytes(33), "TST"),
        public_key_to_text(b"\x04" + key("a")[1:], "TST"),
    ],
)
def test_a_key_has_the_genesis_prefix_and_is_a_point_of_the_curve(text):
    world = World()
    world.rejects("out_of_bounds", node_add, world.at(AT), "alice", body(world, "alice", signing_key=text))


def test_the_order_of_checks():
    world = World(max_members=1)
    world.member("bob")
    wrong = body(world, "alice", "bob", pop="00" * 65)
    world.rejects("out_of_bounds", node_add, world.at(AT), "alice", {**wrong, "signing_key": "TST"})
    world.rejects("bad_pop", node_add, world.at(AT), "alice", wrong)
    world.rejects("key_taken", node_add, world.at(AT), "alice", body(world, "alice", "bob"))
    world.rejects("too_many_members", node_add, world.at(AT), "alice", body(world, "alice"))


@pytest.mark.parametrize(
    "domain",
    ["https://a.example", "http://a", "https://127.0.0.1:65535", "https://" + ".".join(["a" * 61] * 3 + ["b" * 59])],
)
def test_domains(domain):
    shapes.check(body(World(), "alice", domain=domain), NODE_ADD)


@pytest.mark.parametrize(
    "domain",
    ["", "a.example", "ftp://a.example", "https://a.example/", "https://A.example", "https://a..example",
     "https://-a.example", "https://a-.example", "https://a.example:0", "https://a.example:080", "https://a.example:65536",
     "https://u@a.example", "https://a.example ", "https://" + "a" * 64, "https://" + ".".join(["a" * 61] * 4),
     "https://ä.example", "https://a.example\n"],
)  # fmt: skip
def test_what_is_no_domain(domain):
    with pytest.raises(Rejected, match="out_of_bounds"):
        shapes.check(body(World(), "alice", domain=domain), NODE_ADD)


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"more": 1}, "bad_keys"), ({"follow_active": 1}, "bad_type"), ({"pop": "AA" * 65}, "out_of_bounds"),
     ({"signing_key": "T" * 65}, "out_of_bounds"), ({"domain": None}, "bad_type")],
)  # fmt: skip
def test_the_shape_of_node_add(fields, code):
    with pytest.raises(Rejected, match=code):
        shapes.check({**body(World(), "alice"), **fields}, NODE_ADD)


# -- node_delete


def test_the_seat_is_given_up_at_once_and_the_member_is_leaving():
    world = World()
    world.member("alice", next_key=key("next"), count=7)
    node_delete(world.at(AT), "alice", {})
    found = world.view.need(NODE, "alice")
    assert (found.leaving, found.next_key, found.count, found.signing_key) == (True, None, 7, key("alice"))
    assert world.runners == []
    assert keys_of(world.view, "alice") == [key("alice")]


def test_only_members_leave_and_only_once():
    world = World()
    world.member("alice")
    world.rejects("not_member", node_delete, world.at(AT), "bob", {})
    node_delete(world.at(AT), "alice", {})
    world.rejects("already_leaving", node_delete, world.at(AT), "alice", {})


# -- a whole life


def test_from_registration_to_seat_and_away():
    world = World(ripe_rounds=2, seat_rounds=0, max_runners=4)
    for name in "abc":
        world.member(name)
    world.strict("abc")
    world.asked(1_050)
    add(world, "new")
    world.tally(1_100, ["a", "b", "new"])
    world.tally(1_200, ["a", "b", "new"])
    assert world.view.need(NODE, "new").ripe_key == key("new")
    assert "new" not in world.runners  # ripe in step 6, seats were given in step 4; and it has no collateral
    world.member("new", seat=False, locked=1)
    world.tally(1_300, ["a", "b", "new"])
    assert "new" in world.runners
    node_delete(world.at(1_350), "new", {})
    world.tally(1_400, ["a", "b", "new"])
    assert world.names(NODE) == list("abc")
    assert world.view.get(KEY, key("new")) is None
