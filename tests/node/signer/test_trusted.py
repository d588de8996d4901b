"""What a remote signer believes: only what the members it knows have signed for, however well a chain is forged."""

import copy
import json

import pytest
from msgspec.structs import replace

from node.agent import agrees
from node.devnet.chain import DevnetChain
from node.devnet.founding import GROUP, MemberKeys, devnet_key, member_keys, one_key
from node.devnet.group import VirtualGroup
from node.errors import SignerError
from node.files import DISK
from node.signer.approvals import approval, confirmation
from node.signer.replica import TRUSTED, Replica
from node.signer.trusted import Round, Trust, Trusted, of_genesis, of_state, vouched
from processors.genesis import pop_digest
from processors.hive.keys import NULL_KEY, public_key_to_text
from processors.hive.operations import Operation, active_custom_json
from state.schema import AUTHORITY, MS, REPORT, Report
from tests.node.signer.remotely import new_replica, text_of, texts_of
from tests.node.test_core import any_state, new_group, run_to_founded, run_to_record, send

ME = member_keys(2)
OTHERS = (1, 3, 4, 5)


def evil(number: int) -> MemberKeys:
    """The account of a member with keys that the forger made."""
    name = member_keys(number).account
    return MemberKeys(name, devnet_key(f"{name} evil account"), devnet_key(f"{name} evil signing"))


def own(chain, account, key) -> None:
    """From here on the account is on that key, whatever its owner says."""
    accounts = chain.ledger.accounts
    accounts[account] = replace(accounts[account], active=one_key(key.public))


def take_over(group: VirtualGroup, members: list[MemberKeys]) -> None:
    """The accounts of members are another's, who registers keys of his own and runs nodes with them."""
    for member in members:
        own(group.chain, member.account, member.account_key)
        group.join(member)
    group.step()
    for member in members:
        body = {
            "domain": "https://evil.example",
            "signing_key": public_key_to_text(member.signing_key.public, group.chain.chain.address_prefix),
            "pop": member.signing_key.sign(pop_digest(group.genesis.hash, member.account)).hex(),
        }
        send(group, member, active_custom_json(member.account, "waggle_node_add", json.dumps(body)))
    group.run(3)


def forge(group: VirtualGroup, folder) -> VirtualGroup:
    """The chain from here on as a node would forge it: every other member and the account itself in its own hands."""
    chain: DevnetChain = copy.deepcopy(group.chain)
    forged = VirtualGroup(chain, group.genesis, folder)
    members = [evil(number) for number in OTHERS]
    take_over(forged, members)
    thief = MemberKeys(GROUP, devnet_key("thief"), devnet_key("thief"))
    own(chain, GROUP, thief.account_key)
    stolen = one_key(members[0].signing_key.public)
    fields = {"account": GROUP, "owner": None, "active": stolen, "posting": None, "json_metadata": ""}
    send(forged, thief, Operation("account_update", {**fields, "memo_key": NULL_KEY}))
    forged.run(3)
    return forged


def test_a_forged_chain_agrees_with_itself_and_is_not_believed(tmp_path):
    """Nobody signs for what stands in a block but its witness. So a node can make members and keys of its own."""
    group = new_group(tmp_path / "true")
    run_to_founded(group)
    replica = new_replica(group.genesis, ME, tmp_path / "signer")
    forged = forge(group, tmp_path / "forged")
    replica.begin(text_of(group, 20))
    true = group.chain.irreversible_number
    replica.apply(texts_of(group, 21, true))
    believed = replica.trusted
    assert believed.height >= true - 40
    forged.run(120)
    replica.apply(texts_of(forged, true + 1, forged.chain.irreversible_number))
    assert agrees(replica.state, group.genesis.params), "by the rules of the state it does agree"
    [key] = [key for key, _ in replica.state.need(AUTHORITY, "active").keys]
    assert key == evil(1).signing_key.public
    assert replica.trusted.height <= true, "at most what stood in the true blocks"
    group.run(60)
    replica.rewind(max(replica.trusted.height, true - 5))
    replica.apply(texts_of(group, replica.height + 1, group.chain.irreversible_number))
    assert replica.trusted.height > true, "back on the true chain it goes on"


LONG, SHORT = {"ripe_rounds": 60, "rotation_patience": 900}, {"ripe_rounds": 3, "rotation_patience": 900}


def taken_over_one_by_one(folder) -> tuple[VirtualGroup, Replica]:
    """A group in which the accounts of three of five go to another, a round apart, and its second member's signer."""
    group = new_group(folder / "group", parameters=LONG)
    run_to_founded(group)
    group.run(40)
    for number in (1, 3, 4):
        group.run_until(lambda: any_state(group).height % 20 == 0, 30)
        group.run(18)  # the reports of this round are in
        take_over(group, [evil(number)])
    group.run_until(lambda: any_state(group).height % 20 == 19, 30)
    group.run(60)
    replica = new_replica(group.genesis, ME, folder / "signer")
    replica.begin(text_of(group, 20))
    replica.apply(texts_of(group, 21, any_state(group).height))
    return group, replica


def test_a_key_that_was_just_registered_vouches_for_nothing(tmp_path):
    """Who has the accounts of a majority, from its nodes, has no word of it before the day in which people see it."""
    group, replica = taken_over_one_by_one(tmp_path)
    assert agrees(replica.state, group.genesis.params), "by the rules of the state they vote at once"
    third = replica.height - 60
    assert third - 60 < replica.trusted.height <= third, "none since the third of five is theirs"
    assert replica.trusted.keys["runner01"] == member_keys(1).signing_key.public
    assert evil(1).signing_key.public not in replica.trusted.keys.values()


def test_a_key_that_has_ripened_vouches_before_the_rotation_too(tmp_path):
    """Else a group whose members renew their keys one after another would lose its remote signers."""
    group = new_group(tmp_path / "group", parameters=SHORT)
    run_to_founded(group)
    group.run(40)
    group.refuses = lambda account, item: item.content.startswith("sign")
    for number in (1, 3, 4):
        take_over(group, [evil(number)])
        group.run(100)
    replica = new_replica(group.genesis, ME, tmp_path / "signer")
    replica.begin(text_of(group, 20))
    replica.apply(texts_of(group, 21, any_state(group).height))
    assert replica.trusted.height >= replica.height - 40
    new = evil(1).signing_key.public
    assert replica.trusted.keys["runner01"] == new
    assert new not in [key for key, _ in replica.state.need(AUTHORITY, "active").keys]


@pytest.mark.parametrize("founder", [1, 2])
def test_at_the_founding_the_runners_vouch_for_the_founder(tmp_path, founder):
    """The founder's key could agree by itself; for its own signer, half of the runners and one more must."""
    group = new_group(tmp_path / "group")
    group.silent |= {"runner03", "runner04", "runner05"}
    replica = new_replica(group.genesis, member_keys(founder), tmp_path / "signer")
    group.run(70)
    replica.begin(text_of(group, 20))
    replica.apply(texts_of(group, 21, any_state(group).height))
    assert agrees(replica.state, group.genesis.params), "the founder alone agrees"
    assert (replica.trusted.height >= 20) == (founder == 2), "for another member the founder's word is enough"
    group.silent.clear()
    group.run(40)
    replica.apply(texts_of(group, replica.height + 1, any_state(group).height))
    assert replica.trusted.height >= 60
    assert not replica.trusted.alone


def test_a_founder_without_others_has_its_own_word_alone(tmp_path):
    founder = member_keys(1)
    group = new_group(tmp_path / "group", 1)
    replica = new_replica(group.genesis, founder, tmp_path / "signer")
    group.refuses = lambda account, item: item.content.startswith("sign")
    op = run_to_record(group, "payout")
    group.run(45)
    replica.begin(text_of(group, 20))
    replica.apply(texts_of(group, 21, any_state(group).height))
    assert replica.trusted.alone
    assert replica.trusted.height >= any_state(group).need(MS, op).built
    ask = (op, founder.signing_key.public, any_state(group).need(MS, op).txid)
    verdict, sig = replica.sign(*ask)
    assert (verdict.kind, verdict.why, sig) == ("hold", "own_word", None)
    replica._approvals.add(approval(op, bytes(20)))
    replica._approvals.add(op)
    assert replica.sign(*ask)[0].why == "own_word", "of another transaction"
    replica._approvals.add(approval(op, ask[2]))
    assert replica.sign(*ask)[0].why == "young_journal", "of a fresh journal and an old key"
    replica._approvals.add(confirmation(replica._journal.born))
    verdict, sig = replica.sign(*ask)
    assert verdict.kind == "sign" and sig is not None


# -- who vouches


def rounds(weights, threshold, everything, runners=("a", "b", "c", "d", "e"), **fields):
    keys = {name: name.encode() for name in runners}
    return Round(40, b"r" * 32, 7, threshold, everything, weights, keys, tuple(runners), **fields)


class Reports:
    """A state that shows reports and nothing else."""

    def __init__(self, **by):
        self._by = by

    def walk(self, table):
        assert table is REPORT
        return [((name,), Report(root, key, "1")) for name, (root, key) in self._by.items()]


def said(*names, root=b"r" * 32, key=None):
    return {name: (root, key or name.encode()) for name in names}


EQUAL = rounds(dict.fromkeys("abcde", 1), 3, 5)


@pytest.mark.parametrize(
    ("reports", "good"),
    [
        (said("a", "b", "c"), True),
        (said("a", "b"), False),
        (said("a", "b") | said("c", root=bytes(32)), False),
        (said("a", "b") | said("c", key=b"another key"), False),
        (said("a", "b", "x"), False),
        ({}, False),
    ],
)
def test_the_weight_of_an_agreement_by_keys_that_were_known(reports, good):
    found = vouched(EQUAL, EQUAL, Reports(**reports), "a")
    assert (found is not None) == good


def test_more_than_half_of_all_weight_too():
    low = rounds(dict.fromkeys("abcde", 1), 2, 5)
    assert vouched(low, low, Reports(**said("a", "b")), "a") is None
    assert vouched(low, low, Reports(**said("a", "b", "c")), "a") is not None


def test_a_round_believed_on_the_own_word_makes_the_later_ones_no_better():
    alone = replace(EQUAL, alone=True)
    assert vouched(alone, EQUAL, Reports(**said("a", "b", "c", "d", "e")), "a").alone
    assert not vouched(EQUAL, replace(EQUAL, alone=True), Reports(**said("a", "b", "c")), "a").alone


def test_the_genesis_names_the_first_keys(tmp_path):
    group = new_group(tmp_path)
    found = of_genesis(group.genesis)
    assert found.height == group.genesis.start_block - 1
    assert found.weights == {"runner01": 1} and (found.threshold, found.everything) == (1, 1)
    group.run_until(lambda: any_state(group).height == 20, 30)
    assert replace(of_state(any_state(group)), height=19, root=b"", time=0) == found
    assert found.keys["runner03"] == member_keys(3).signing_key.public


# -- the file


def test_it_never_goes_back_over_a_restart(tmp_path):
    group = new_group(tmp_path / "group")
    replica = new_replica(group.genesis, ME, tmp_path / "signer")
    group.run(90)
    replica.begin(text_of(group, 20))
    replica.apply(texts_of(group, 21, any_state(group).height))
    believed = replica.trusted
    again = new_replica(group.genesis, ME, tmp_path / "signer")
    assert again.height == -1 and again.trusted == believed
    again.begin(text_of(group, 20))
    again.apply(texts_of(group, 21, any_state(group).height))
    assert again.trusted == believed


def test_another_chain_than_the_one_that_was_signed_for_is_not_followed(tmp_path):
    group, other = new_group(tmp_path / "group"), new_group(tmp_path / "other")
    other.silent.add("runner04")
    replica = new_replica(group.genesis, ME, tmp_path / "signer")
    group.run(90)
    other.run(90)
    replica.begin(text_of(group, 20))
    replica.apply(texts_of(group, 21, any_state(group).height))
    again = new_replica(group.genesis, ME, tmp_path / "signer")
    again.begin(text_of(other, 20))
    with pytest.raises(SignerError, match="the group signed for another one"):
        again.apply(texts_of(other, 21, any_state(other).height))
    assert again.height == again.trusted.height - 1
    again.rewind(20)
    again.apply(texts_of(group, 21, any_state(group).height))
    assert again.height == any_state(group).height


@pytest.mark.parametrize("content", [b"", b"{}", b"garbage"])
def test_a_file_that_is_damaged_is_no_empty_one(tmp_path, content):
    group = new_group(tmp_path / "group")
    (tmp_path / TRUSTED).write_bytes(content)
    with pytest.raises(SignerError, match="restore it from a backup"):
        Trusted(tmp_path / TRUSTED, group.genesis, DISK)


def test_nor_is_that_of_another_genesis(tmp_path):
    one, two = new_group(tmp_path / "a"), new_group(tmp_path / "b", 4)
    Trusted(tmp_path / TRUSTED, one.genesis, DISK).begin(0, b"")
    with pytest.raises(SignerError, match="another genesis"):
        Trusted(tmp_path / TRUSTED, two.genesis, DISK)


# -- what the operator trusts


def trusting(tmp_path, change=0) -> Replica:
    """A signer whose operator trusts the root of block 60, of a group whose reports it never sees."""
    group = new_group(tmp_path / "group")
    group.run(75)
    root = bytearray(any_state(group).root(60))
    root[0] ^= change
    replica = new_replica(group.genesis, ME, tmp_path / "signer", trust=Trust(60, bytes(root)))
    replica._trusted.round = replace(replica.trusted, keys={})  # nobody that it knows is left
    replica.begin(text_of(group, 20))
    replica.apply(texts_of(group, 21, 59))
    assert replica.trusted.height < 20
    replica.apply(texts_of(group, 60, any_state(group).height))
    return replica


def test_a_root_that_the_operator_vouches_for_is_believed(tmp_path):
    assert trusting(tmp_path).trusted.height == 60


def test_another_root_of_that_height_stops_it(tmp_path):
    with pytest.raises(SignerError, match="the configuration trusts another one"):
        trusting(tmp_path, change=1)


# -- earlier attempts


def test_what_was_signed_on_another_fork_and_stood_in_a_block_is_never_denied(tmp_path):
    group = new_group(tmp_path / "group")
    run_to_founded(group)
    group.run(25)
    replica = new_replica(group.genesis, ME, tmp_path / "signer")
    paid = next(
        entry.txid
        for block in group.chain.blocks
        for entry in block.transactions
        for operation in entry.tx.operations
        if operation.name == "transfer"
    )
    replica._journal.write((999,), paid, 1, "1:2:3")
    replica.begin(text_of(group, 20))
    replica.apply(texts_of(group, 21, any_state(group).height))
    assert replica._trusted.included == {paid}
    again = new_replica(group.genesis, ME, tmp_path / "signer")
    assert again._trusted.included == {paid}
