"""Policy before signing what the seats approved: the operator's own rules stand beside the group's decision."""

import pytest
from msgspec.structs import replace

from node.config import load_config
from node.devnet.founding import GROUP
from node.errors import ConfigError
from node.signer.policy import DAY, TO_BE_NAMED, Policy, spends_of, told
from processors.contents import contents
from processors.offered import OFFERED
from state.schema import HEAD
from tests.node.cli.key_shell import CONFIG
from tests.node.council import WILLING, all_say, governed, out, transfer
from tests.node.signer.test_policy import OTHER, Case
from tests.node.test_core import any_state
from tests.processors.offers import GOOD

SHARES = ["delegate_vesting_shares", GOOD["delegate_vesting_shares"]]
WORDS = ["custom_json", GOOD["custom_json"]]
MANY = [transfer("2.000", to="stranger"), SHARES, WORDS]


def case_of(folder, *ops):
    """A payload of these operations that is out, as a node that has not signed it sees it."""
    group = governed(folder)
    _, op = out(group, *ops)
    node = group.nodes["runner02"]
    [public] = node.me.keys
    case = Case(group, op, folder, node._signer._keys[public])
    case.policy = WILLING
    return case


def willing(**fields):
    """Whatever a proposal can hold is allowed, within some limits."""
    return replace(WILLING, **fields)


@pytest.fixture
def one(tmp_path):
    """A single transfer."""
    return case_of(tmp_path, transfer("1.234", memo="für März"))


@pytest.fixture
def many(tmp_path):
    """A transfer, a delegation and a custom_json in one proposal."""
    return case_of(tmp_path, *MANY)


@pytest.fixture(params=["one", "many"])
def either(request):
    return request.getfixturevalue(request.param)


# -- what is allowed


def test_the_default_signs_what_the_seats_approved(one):
    one.policy = Policy()
    assert one.verdict.kind == "sign"


@pytest.mark.parametrize("name", sorted(OFFERED))
def test_but_what_no_limit_measures_must_be_named(tmp_path, name):
    """A custom_json may be money elsewhere; shares and votes are given without an amount that a limit counts."""
    case = case_of(tmp_path, [name, GOOD[name]])
    assert case.verdict.kind == "sign"
    case.policy = Policy()
    if name in TO_BE_NAMED:
        case.stops("refuse", "not_allowed")
        case.policy = Policy(allow=(*Policy().allow, name))
    assert case.verdict.kind == "sign"


@pytest.mark.parametrize("allow", [(), ("rotation",), ("standing",), ("payout",), ("rotation", "standing", "payout")])
def test_without_it_nothing_that_they_approved_is_signed(either, allow):
    either.policy = Policy(allow=allow)
    either.stops("refuse", "not_allowed")


def test_a_single_operation_may_be_named(one):
    one.policy = Policy(allow=("transfer",))
    assert one.verdict.kind == "sign"
    for other in OFFERED - {"transfer"}:
        one.policy = Policy(allow=(other,))
        one.stops("refuse", "not_allowed")


def test_then_every_operation_of_a_proposal_must_be_named(many):
    names = ("transfer", "delegate_vesting_shares", "custom_json")
    many.policy = Policy(allow=names)
    assert many.verdict.kind == "sign"
    for missing in names:
        many.policy = Policy(allow=tuple(name for name in names if name != missing))
        assert (many.verdict.kind, many.verdict.why) == ("refuse", "not_allowed")
        assert f"neither proposal nor {missing}" in many.verdict.detail
        many.stops("refuse", "not_allowed")


def test_a_named_operation_is_one_of_proposals_and_no_payment_of_another_kind(one):
    """A payout that no proposal made is not let through by the name of its operation."""
    from state.schema import ACTION

    one.state.delete(ACTION, one.number)
    one.policy = Policy(allow=("transfer", "proposal"))
    one.stops("refuse", "not_allowed")


def test_what_is_refused_is_shown_as_it_is(many):
    many.policy = Policy(allow=())
    for words in ("2.000 TESTS", "stranger", "1.000000 VESTS", '"game"'):
        assert words in many.verdict.detail, words


# -- byte for byte


@pytest.mark.parametrize("position", [0, 6, 11, 14, 40, -60, -1])
def test_one_bit_of_it(either, position):
    tx = bytearray(either.record.tx)
    tx[position] ^= 1
    either.change(tx=bytes(tx))
    either.stops("refuse", "rebuilt_differently")


def test_other_operations_than_those_that_were_approved(many):
    other = case_of(many.journal._path.parent / "other", transfer("2.001", to="stranger"), SHARES, WORDS)
    many.change_tx(other.record.tx)
    many.stops("refuse", "rebuilt_differently")


# -- limits and receivers


@pytest.mark.parametrize(("limit", "kind"), [(1_234, "sign"), (1_233, "refuse"), (0, "refuse")])
def test_ones_own_limit_for_a_payment(one, limit, kind):
    one.policy = willing(max_hive=limit, max_hbd=0)
    assert one.verdict.kind == kind
    if kind == "refuse":
        one.stops("refuse", "over_limit")


def test_a_limit_counts_all_that_leaves_with_a_proposal(tmp_path):
    recurrent = ["recurrent_transfer", {**GOOD["recurrent_transfer"], "executions": 3}]
    case = case_of(tmp_path, transfer("1.000"), recurrent)
    assert spends_of(contents(case.state, case.record.payloads)) == {case.number: ("HIVE", 4_000)}
    case.policy = willing(max_hive=3_999)
    case.stops("refuse", "over_limit")
    case.policy = willing(max_hive=4_000)
    assert case.verdict.kind == "sign"


def test_what_stays_with_the_group_is_not_counted(tmp_path):
    savings = ["transfer_to_savings", {"from": GROUP, "to": GROUP, "amount": "9.000 TESTS", "memo": ""}]
    case = case_of(tmp_path, savings, transfer("0.001"))
    case.policy = willing(max_hive=1, max_hive_day=1)
    assert case.verdict.kind == "sign"


def test_what_pays_nothing_is_under_every_limit(tmp_path):
    case = case_of(tmp_path, WORDS)
    case.policy = willing(max_hive=0, max_hbd=0, max_hive_day=0, max_hbd_day=0, receivers=())
    assert case.verdict.kind == "sign"


def test_every_receiver_of_a_proposal_must_be_named(many):
    for receivers, fine in [
        (("stranger", "receiver"), True),
        (("stranger",), False),
        (("receiver",), False),
        ((), False),
        ((GROUP,), False),
    ]:
        many.policy = willing(receivers=receivers)
        assert (many.verdict.kind == "sign") == fine, receivers
    assert "policy.receivers does not name stranger" in many.verdict.detail
    many.stops("refuse", "not_allowed")


def test_the_group_itself_need_not_be_named(tmp_path):
    savings = ["transfer_to_savings", {"from": GROUP, "to": GROUP, "amount": "9.000 TESTS", "memo": ""}]
    case = case_of(tmp_path, savings, transfer())
    case.policy = willing(receivers=("receiver",))
    assert case.verdict.kind == "sign"


# -- the limit of a day


def test_a_day_counts_what_was_signed_of_proposals_too(many):
    now = many.state.need(HEAD).timestamp
    many.policy = willing(max_hive_day=5_000)
    many.journal.write((997,), OTHER, now, "1:2:3", time=now - DAY, spends={997: ("HIVE", 9_000)})
    many.journal.write((998,), OTHER, now, "1:2:3", time=now - DAY + 1, spends={998: ("HIVE", 3_000)})
    assert many.verdict.kind == "sign", "5,000 exactly; a day ago is no longer today"
    many.journal.write((999,), OTHER, now, "1:2:3", time=now, spends={999: ("HIVE", 1)})
    many.stops("hold", "day_limit")
    many.policy = willing(max_hbd_day=0)
    assert many.verdict.kind == "sign", "it pays no HBD"


def test_what_is_signed_goes_into_the_journal_with_what_leaves(many):
    from node.signer.signer import Signer

    signer = Signer([many.secret], many.journal, many.policy, many.genesis)
    verdict, sig = signer.sign_transaction(many.state, many.op, many.secret.public, many.denied)
    assert verdict.kind == "sign" and sig is not None
    now = many.state.need(HEAD).timestamp
    assert many.journal.spent("HIVE", now - DAY, ()) == 2_000
    assert many.journal.spent("HIVE", now - DAY, (many.number,)) == 0, "itself, signed again, counts once"


# -- what the seats have marked


def test_a_marked_transaction_is_held_and_not_refused(tmp_path):
    """A refusal would be a word on chain about what is over already."""
    group = governed(tmp_path)
    _, op = out(group, *MANY)
    all_say(group, "ms_cancel", op=op)
    node = group.nodes["runner02"]
    [public] = node.me.keys
    case = Case(group, op, tmp_path, node._signer._keys[public])
    case.stops("hold", "cancelled")
    group.refuses = lambda account, item: False
    group.run(30)
    assert any_state(group).get(HEAD) is not None
    assert not [item for item in group.broadcasts if item[2] == op], "nobody broadcasts it either"


def test_before_his_word_the_operator_reads_every_operation(either):
    words = told(either.genesis, either.op, either.record, contents(either.state, either.record.payloads))
    assert "waggle approve" in words
    for part in ("stranger", "1.000000 VESTS", "game") if len(words) > 250 else ("1234 HIVE (smallest units)", "März"):
        assert part in words


# -- in the configuration


@pytest.mark.parametrize("name", ["rotation", "standing", "payout", "proposal", *sorted(OFFERED)])
def test_what_allow_can_name(tmp_path, name):
    path = tmp_path / "config.toml"
    path.write_text(CONFIG + f'[policy]\nallow = ["{name}"]\n')
    path.chmod(0o600)
    assert load_config(path).policy.allow == (name,)


@pytest.mark.parametrize("name", ["account_update", "transfer_to_vesting", "proposals", "Transfer", "", "*", "all"])
def test_what_it_cannot(tmp_path, name):
    path = tmp_path / "config.toml"
    path.write_text(CONFIG + f'[policy]\nallow = ["{name}"]\n')
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="allow"):
        load_config(path)
