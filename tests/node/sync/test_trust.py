"""Whose word about a root counts: what the account's signers reported on chain, and nobody else's."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from node.devnet.founding import devnet_key, member_keys
from node.sync import trust
from node.sync.trust import Reported, owners_of, reports_in, weigh
from processors.genesis import pop_digest
from processors.hive.block import read_block
from state.schema import AUTHORITY, NODE, Authority
from tests.node.test_core import any_state, new_group, run_to_founded

ROOT, OTHER = b"\1" * 32, b"\2" * 32
KEYS = [member_keys(number).signing_key.public for number in range(1, 6)]
NAMES = [member_keys(number).account for number in range(1, 6)]
OWNERS = dict(zip(KEYS, NAMES, strict=True))


def of_five(threshold=3, accounts=()):
    return Authority(threshold, keys=tuple((key, 1) for key in KEYS), accounts=tuple(accounts))


def by(*numbers, root=ROOT, key=None):
    """Reports by these members, signed by their own keys or by ``key``."""
    return [Reported(NAMES[n], 100, root, key or KEYS[n]) for n in numbers]


# -- weighing


@pytest.mark.parametrize(("count", "enough"), [(0, False), (2, False), (3, True), (5, True)])
def test_more_than_half_of_the_signers(count, enough):
    found = weigh(by(*range(count)), ROOT, of_five(), OWNERS)
    assert (found.weight, found.needed, found.total, found.is_enough) == (count, 3, 5, enough)
    assert found.accounts == tuple(NAMES[:count]) and set(found.missing) == set(KEYS[count:])


def test_a_low_threshold_does_not_lower_it_and_a_high_one_raises_it():
    assert weigh(by(0), ROOT, of_five(1), OWNERS).needed == 3
    assert weigh(by(0), ROOT, of_five(5), OWNERS).needed == 5
    assert not weigh(by(0, 1, 2, 3), ROOT, of_five(5), OWNERS).is_enough


def test_an_account_in_the_authority_weighs_though_it_cannot_report():
    authority = of_five(3, [("somebody", 5)])
    found = weigh(by(0, 1, 2, 3, 4), ROOT, authority, OWNERS)
    assert (found.weight, found.total, found.needed, found.is_enough) == (5, 10, 6, False)
    assert not weigh([Reported("somebody", 100, ROOT, b"")], ROOT, authority, OWNERS).weight


def test_reports_of_another_root_do_not_count():
    found = weigh([*by(0, 1), *by(2, 3, 4, root=OTHER)], ROOT, of_five(), OWNERS)
    assert found.weight == 2 and not found.is_enough
    assert weigh([*by(0, 1), *by(2, 3, 4, root=OTHER)], OTHER, of_five(), OWNERS).is_enough


def test_strangers_do_not_count_however_many_they_are():
    crowd = [Reported(f"stranger{n}", 100, ROOT, devnet_key(f"{n}").public) for n in range(500)]
    assert weigh(crowd, ROOT, of_five(), OWNERS).weight == 0


def test_one_who_reports_ten_times_counts_once():
    assert weigh(by(0) * 10, ROOT, of_five(), OWNERS).weight == 1


def test_a_key_that_signed_counts_without_any_map():
    assert weigh(by(0, 1, 2), ROOT, of_five(), {}).is_enough


def test_with_another_key_of_his_a_member_counts_by_what_his_pop_proves():
    fresh = devnet_key("a new one").public
    assert weigh(by(0, 1, 2, key=fresh), ROOT, of_five(), OWNERS).is_enough
    assert weigh(by(0, 1, 2, key=fresh), ROOT, of_five(), {}).weight == 0


def test_a_signature_under_anothers_name_is_the_keys_own_and_no_more():
    """The account is whoever sent it on Hive; the key is whoever signed: each is counted for itself, once."""
    stolen = [Reported("mallory", 100, ROOT, KEYS[0])]
    assert weigh(stolen, ROOT, of_five(), OWNERS).weight == 1
    assert weigh(stolen * 2 + by(0), ROOT, of_five(), OWNERS).weight == 1


def test_keys_without_weight_are_neither_counted_nor_missed():
    authority = Authority(1, keys=((KEYS[0], 0), (KEYS[1], 1)), accounts=())
    found = weigh(by(0, 1), ROOT, authority, OWNERS)
    assert (found.weight, found.total, found.missing) == (1, 1, ())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 1_000), min_size=5, max_size=5),
    st.integers(1, 6_000),
    st.integers(0, 2_000),
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=20),
)
def test_no_set_of_reports_makes_two_roots_enough_of_those_who_said_one(weights, threshold, account, said):
    """Each signer says one root: then at most one can have more than half."""
    authority = Authority(threshold, keys=tuple(zip(KEYS, weights, strict=True)), accounts=(("x", account),))
    once = dict(said)
    reports = [report for n, one in once.items() for report in by(n, root=ROOT if one else OTHER)]
    found = [weigh(reports, root, authority, OWNERS) for root in (ROOT, OTHER)]
    assert sum(one.is_enough for one in found) <= 1
    assert sum(one.weight for one in found) <= found[0].total
    for one in found:
        assert one.weight + sum(dict(authority.keys)[key] for key in one.missing) == sum(weights)


# -- what stands in blocks


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    found = new_group(tmp_path_factory.mktemp("trust"))
    run_to_founded(found)
    found.run(60)
    return found


def reports_of(group, height):
    chain = group.chain
    blocks = [read_block(chain.show_block(n, typed=True), chain.chain) for n in range(height + 1, height + 21)]
    return [report for block in blocks for report in reports_in(block, group.genesis) if report.height == height]


def test_the_reports_of_a_round_are_the_signers_own(group):
    height = (any_state(group).height - 25) // 20 * 20
    found = reports_of(group, height)
    assert {report.account: report.key for report in found} == dict(zip(NAMES, KEYS, strict=True))
    root = any_state(group).root(height)
    authority = any_state(group).need(AUTHORITY, "active")
    assert weigh(found, root, authority, {}).is_enough


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(id="waggle_sig_submit"),
        lambda value: value.update(id="other_report"),
        lambda value: value.update(required_auths=("runner01", "runner02")),
        lambda value: value.update(required_auths=()),
        lambda value: value.update(required_posting_auths=("runner01",)),
        lambda value: value.update(json=value["json"].replace('"v":1', '"v":2')),
        lambda value: value.update(json=value["json"][:-1]),
        lambda value: value.update(json=value["json"].replace('{"v"', '{"v":1,"v"')),
        lambda value: value.update(json="[]"),
        lambda value: value.update(json=""),
    ],
)
def test_what_is_no_report_by_the_rules_is_passed_over(group, change):
    operation = next(report_operations(group))
    value = dict(operation.value)
    change(value)
    assert trust._report(type(operation)(operation.name, value), group.genesis) is None


@pytest.mark.parametrize("field", ["root", "height", "account"])
def test_a_report_whose_signature_is_of_something_else_is_somebody_elses(group, field):
    operation = next(report_operations(group))
    value = dict(operation.value)
    true = trust._report(operation, group.genesis)
    if field == "account":
        value["required_auths"] = ("mallory",)
    elif field == "root":
        value["json"] = value["json"].replace(true.root.hex(), OTHER.hex())
    else:
        value["json"] = value["json"].replace(f'"height":{true.height}', f'"height":{true.height + 20}')
    found = trust._report(type(operation)(operation.name, value), group.genesis)
    assert found is None or found.key not in KEYS, "no key of ours ever signed that"


def report_operations(group):
    chain = group.chain
    for number in range(20, chain.head_number + 1):
        block = read_block(chain.show_block(number, typed=True), chain.chain)
        for index in range(len(block.transactions)):
            for operation in block.transaction(index)[0].operations:
                if operation.value.get("id") == "waggle_report":
                    yield operation


# -- whose key it is


def test_the_genesis_and_each_pop_say_whose_key_it_is(group):
    assert owners_of(any_state(group), group.genesis) == OWNERS


@pytest.mark.parametrize("pop", [b"", b"\x1f" + b"\1" * 64, b"\0" * 65, b"\xff" * 65, b"short"])
def test_a_pop_that_proves_nothing_gives_nobody_a_key(group, pop):
    member = replace(any_state(group).need(NODE, "runner01"), signing_key=devnet_key("mallory").public, pop=pop)
    assert owners_of(Pretended({"mallory": member}), group.genesis) == OWNERS


@pytest.mark.parametrize("name", ["mallory", "runner02"])
def test_a_pop_is_of_that_key_for_that_account_in_that_group(group, name):
    mallory = devnet_key("mallory")
    member = any_state(group).need(NODE, "runner01")
    good = mallory.sign(pop_digest(group.genesis.hash, name))
    for key, signed in (
        (KEYS[0], good),  # a signer's key, with mallory's signature
        (mallory.public, mallory.sign(pop_digest(group.genesis.hash, "another"))),
        (mallory.public, mallory.sign(pop_digest(bytes(32), name))),
    ):
        forged = replace(member, signing_key=key, pop=signed)
        assert owners_of(Pretended({name: forged}), group.genesis) == OWNERS
    proven = replace(member, signing_key=mallory.public, pop=good)
    assert owners_of(Pretended({name: proven}), group.genesis) == {**OWNERS, mallory.public: name}


class Pretended:
    """A state of which only the node table is looked at."""

    def __init__(self, members):
        self._members = members

    def walk(self, table):
        assert table is NODE
        return (((name,), member) for name, member in self._members.items())
