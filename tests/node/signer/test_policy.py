"""Policy before signing (protocol section 11): each point is a hard stop with its reason."""

import time
from hashlib import sha256

import pytest
from msgspec.structs import replace

from node.errors import JournalError
from node.signer.approvals import Approvals, approval, confirmation
from node.signer.journal import Journal
from node.signer.opinion import Opinion
from node.signer.policy import DAY, Policy, consent, judge, rebuild, told
from node.signer.signer import Signer
from processors.authority import strict
from processors.builder import group_transaction, rotation_operation
from processors.contents import contents
from processors.hive.crypto import recover
from processors.hive.operations import Operation
from processors.hive.transaction import pack_transaction, signing_digest, transaction_id, unpack_transaction
from state.schema import HEAD, MS, NODE, QUEUE, ROUND, STANDING, TALLY, Authority, Round
from tests.node.test_core import any_state, new_group, run_to_founded, run_to_record
from tests.processors.world import key, secret

OTHER = sha256(b"another transaction").digest()[:20]


class Shown:
    """What a state shows, with changes that only this test sees."""

    def __init__(self, state):
        self._state, self._view = state, state.view()
        self.get, self.need, self.walk, self.put = (getattr(self._view, n) for n in ("get", "need", "walk", "put"))
        self.delete, self.root, self.height = self._view.delete, state.root, state.height


class Case:
    """A record that is out, an honest state, and a node that has not signed it."""

    def __init__(self, group, op, folder, signer):
        self.genesis, self.op, self.secret = group.genesis, op, signer
        self.state = Shown(any_state(group))
        self.record = self.state.need(MS, op)
        self.number = self.record.payloads[0]
        self.journal = Journal(folder / "journal", group.genesis.hash)
        self.policy = Policy()
        self.denied = lambda txid: True

    def change(self, **fields):
        """Change the record as the state shows it."""
        self.record = replace(self.record, **fields)
        self.state.put(MS, self.record, self.op)

    def change_payload(self, **fields):
        self.state.put(QUEUE, replace(self.state.need(QUEUE, self.number), **fields), self.number)

    def rebuild(self):
        """Make the record's bytes those of its payloads as they are now."""
        known = contents(self.state, self.record.payloads)
        self.change_tx(rebuild(self.genesis, self.op, self.record, known)[1])

    def rotate(self, authority, roles=("owner", "active", "posting"), *more, **value):
        """Let the record be a rotation to ``authority``."""
        operation = rotation_operation(self.genesis, authority, roles)
        operations = [Operation(operation.name, {**operation.value, **value}), *more]
        _, num, pre = map(int, self.op.split(":"))
        tx = group_transaction(self.genesis, self.op, num, pre, self.record.expiration, operations)
        self.change_tx(pack_transaction(tx, self.genesis.chain))

    def change_tx(self, packed):
        """Other bytes, with the id and digest that they have."""
        self.change(tx=packed, txid=transaction_id(packed), digest=signing_digest(packed, self.genesis.chain))

    @property
    def verdict(self):
        now = self.state.need(HEAD).timestamp
        return judge(self.state, self.genesis, self.op, self.record, self.policy, self.journal, self.denied, now)

    def stops(self, kind, why):
        """No signature, nothing in the journal, and the reason is told."""
        signer = Signer([self.secret], self.journal, self.policy, self.genesis)
        before = [self.journal.entries(number) for number in self.record.payloads]
        verdict, sig = signer.sign_transaction(self.state, self.op, self.secret.public, self.denied)
        assert (verdict.kind, verdict.why) == (kind, why)
        assert verdict.detail
        assert sig is None
        assert [self.journal.entries(number) for number in self.record.payloads] == before


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """A group with a payout that is out, and one with its founding rotation out."""
    folder = tmp_path_factory.mktemp("groups")
    paying, founding = new_group(folder / "a"), new_group(folder / "b")
    run_to_founded(paying)
    for group in (paying, founding):
        group.refuses = lambda account, item: item.content.startswith("sign")
    return {
        "payout": (paying, run_to_record(paying), paying.nodes["runner02"]),
        "rotation": (founding, run_to_record(founding, "rotation"), founding.nodes["runner01"]),
    }


def case_of(groups, kind, folder):
    group, op, node = groups[kind]
    [public] = node.me.keys
    return Case(group, op, folder, node._signer._keys[public])


@pytest.fixture
def payout(groups, tmp_path):
    return case_of(groups, "payout", tmp_path)


@pytest.fixture
def rotation(groups, tmp_path):
    return case_of(groups, "rotation", tmp_path)


@pytest.fixture(params=["payout", "rotation"])
def either(request, groups, tmp_path):
    return case_of(groups, request.param, tmp_path)


# -- where nothing is wrong


def test_what_this_node_builds_itself_it_signs_and_notes_first(either):
    signer = Signer([either.secret], either.journal, either.policy, either.genesis)
    verdict, sig = signer.sign_transaction(either.state, either.op, either.secret.public, either.denied)
    assert verdict.kind == "sign"
    assert recover(sig, signing_digest(either.record.tx, either.genesis.chain)) == either.secret.public
    [entry] = either.journal.entries(either.number)
    assert (entry.txid, entry.expiration, entry.op) == (either.record.txid.hex(), either.record.expiration, either.op)


def test_again_after_a_restart_the_same_transaction(either):
    either.journal.write(either.record.payloads, either.record.txid, either.record.expiration, either.op)
    assert either.verdict.kind == "sign"


@pytest.mark.parametrize("fields", [{"digest": bytes(32)}, {"txid": bytes(20)}])
def test_an_id_or_a_digest_of_something_else_is_not_signed(either, fields):
    either.change(**fields)
    either.stops("refuse", "rebuilt_differently")


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_no_signature_when_the_journal_cannot_be_written(either, monkeypatch, failing):
    def full(*args):
        raise OSError(28, "No space left on device")

    asked = []
    monkeypatch.setattr("node.signer.keys.SecretKey.sign", lambda *args: asked.append(args))
    monkeypatch.setattr(f"os.{failing}", full)
    signer = Signer([either.secret], either.journal, either.policy, either.genesis)
    with pytest.raises(JournalError):
        signer.sign_transaction(either.state, either.op, either.secret.public, either.denied)
    assert asked == []


# -- agreement


@pytest.mark.parametrize("root", [None, bytes(32)])
def test_the_last_tally_must_have_agreed_on_our_own_root(either, root):
    start = either.state.need(TALLY).height - either.genesis.params.round_length
    either.state.put(ROUND, Round(root, None, ()), start)
    either.stops("hold", "no_agreement")


def test_without_a_root_of_our_own_there_is_nothing_to_agree_with(either):
    tally = either.state.need(TALLY)
    either.state.put(TALLY, replace(tally, height=tally.height + 20))
    either.state.put(ROUND, Round(bytes(32), None, ()), tally.height)
    either.state.root = lambda height: None
    either.stops("hold", "no_agreement")


# -- its payloads


def test_a_payload_that_the_queue_does_not_hold(either):
    either.state.delete(QUEUE, either.number)
    either.stops("refuse", "unknown_payload")


@pytest.mark.parametrize("out", ["", "1:2:3"])
def test_a_payload_that_is_out_elsewhere_or_not_at_all(either, out):
    either.change_payload(out=out)
    either.stops("refuse", "unknown_payload")


@pytest.mark.parametrize("numbers", [(999,), (2, 999)])
def test_a_payload_that_does_not_exist(either, numbers):
    either.change(payloads=numbers)
    either.stops("refuse", "unknown_payload")


# -- byte for byte what we build ourselves


@pytest.mark.parametrize("position", [0, 2, 6, 10, 11, 40, -40, -1])
def test_one_bit_of_the_transaction(either, position):
    tx = bytearray(either.record.tx)
    tx[position] ^= 1
    either.change(tx=bytes(tx))
    either.stops("refuse", "rebuilt_differently")


@pytest.mark.parametrize("tx", [b"", b"\0", bytes(300), b"\xff" * 300])
def test_bytes_that_are_no_transaction(either, tx):
    either.change(tx=tx)
    either.stops("refuse", "rebuilt_differently")


@pytest.mark.parametrize("appended", [b"\0", b"\0\0"])
def test_bytes_after_the_transaction(either, appended):
    either.change(tx=either.record.tx + appended)
    either.stops("refuse", "rebuilt_differently")


@pytest.mark.parametrize(
    "fields", [{"expiration": -1}, {"expiration": 1}, {"expiration": 86_400}, {"built": -1}, {"built": 1}]
)
def test_another_number_in_the_record(either, fields):
    either.change(**{name: getattr(either.record, name) + more for name, more in fields.items()})
    either.stops("refuse", "rebuilt_differently")


def test_a_payout_that_is_called_a_rotation(payout):
    payout.change(kind="rotation")
    payout.stops("refuse", "rebuilt_differently")


@pytest.mark.parametrize("fields", [{"to": "mallory"}, {"amount": 1_235}, {"asset": "HBD"}, {"memo": ""}])
def test_a_payout_that_is_not_the_queues(payout, fields):
    payout.change_payload(**fields)
    payout.stops("refuse", "rebuilt_differently")


def test_a_payout_twice_in_one_transaction(payout):
    payout.change(payloads=payout.record.payloads * 2)
    payout.stops("refuse", "rebuilt_differently")


# -- the allow-list and the own limits


def test_what_is_not_on_the_allow_list(payout, rotation):
    payout.policy, rotation.policy = Policy(allow=("rotation", "payout")), Policy(allow=("standing", "payout"))
    payout.stops("refuse", "not_allowed")
    rotation.stops("refuse", "not_allowed")


def test_a_payout_that_the_genesis_does_not_have_is_not_a_standing_one(payout):
    payout.state.delete(STANDING, 0)
    payout.stops("refuse", "not_allowed")
    payout.policy = Policy(allow=("payout",))
    assert payout.verdict.kind == "sign"


@pytest.mark.parametrize("fields", [{"to": "mallory"}, {"amount": 1_235}, {"asset": "HBD"}, {"memo": "another"}])
def test_nor_is_one_that_differs_in_anything(payout, fields):
    payout.change_payload(**fields)
    payout.rebuild()
    payout.stops("refuse", "not_allowed")


@pytest.mark.parametrize(("asset", "other"), [("HIVE", "HBD"), ("HBD", "HIVE")])
def test_ones_own_limits_by_asset(payout, asset, other):
    payout.change_payload(asset=asset)
    payout.rebuild()
    allow = ("standing", "payout")
    field, free = f"max_{asset.lower()}", f"max_{other.lower()}"
    payout.policy = Policy(allow=allow, **{field: 1_233})
    payout.stops("refuse", "over_limit")
    for fine in ({field: 1_234}, {free: 0}, {}):
        payout.policy = Policy(allow=allow, **fine)
        assert payout.verdict.kind == "sign"


# -- a rotation


def test_a_key_that_no_member_has(rotation):
    good = [member.signing_key for _, member in rotation.state.walk(NODE)]
    rotation.rotate(strict([*good[:-1], key("mallory")]))
    rotation.stops("refuse", "foreign_key")


def test_a_key_whose_member_is_gone(rotation):
    rotation.state.delete(NODE, "runner05")
    rotation.stops("refuse", "foreign_key")


@pytest.mark.parametrize("what", ["threshold 1", "threshold 5", "weight", "account", "threshold 0"])
def test_another_shape_than_ours(rotation, what):
    keys = sorted(member.signing_key for _, member in rotation.state.walk(NODE))
    ours = strict(keys)
    rotation.rotate(
        {
            "threshold 0": replace(ours, threshold=0),
            "threshold 1": replace(ours, threshold=1),
            "threshold 5": replace(ours, threshold=5),
            "weight": replace(ours, keys=((keys[0], 3), *ours.keys[1:])),
            "account": Authority(ours.threshold, ours.keys, (("mallory", 3),)),
        }[what]
    )
    rotation.stops("refuse", "not_strict")


def test_another_authority_for_one_of_the_roles(rotation):
    good = unpack_transaction(rotation.record.tx, rotation.genesis.chain).operations[0].value["active"]
    rotation.rotate(strict([key("mallory")]), ("owner",), active=good, posting=good)
    rotation.stops("refuse", "rebuilt_differently")


@pytest.mark.parametrize("value", [{"memo_key": key("mallory")}, {"json_metadata": "{}"}, {"account": "mallory"}])
def test_whatever_else_an_account_update_could_change(rotation, value):
    good = strict([member.signing_key for _, member in rotation.state.walk(NODE)])
    rotation.rotate(good, ("owner", "active", "posting"), **value)
    rotation.stops("refuse", "rebuilt_differently")


def test_an_operation_that_rides_along(rotation, payout):
    transfer = unpack_transaction(payout.record.tx, payout.genesis.chain).operations[0]
    good = strict([member.signing_key for _, member in rotation.state.walk(NODE)])
    rotation.rotate(good, ("owner", "active", "posting"), transfer)
    rotation.stops("refuse", "rebuilt_differently")


# -- the second opinion


def test_another_library_that_disagrees(either, monkeypatch):
    monkeypatch.setattr("node.signer.policy.second_opinion", lambda tx, chain: Opinion(b"something else"))
    either.stops("refuse", "second_opinion")


def test_one_that_abstains_says_so_and_stops_nothing(either, monkeypatch):
    monkeypatch.setattr("node.signer.policy.second_opinion", lambda tx, chain: Opinion(None, "beem is at a loss"))
    assert (either.verdict.kind, either.verdict.why, either.verdict.detail) == (
        "sign",
        "abstained",
        "beem is at a loss",
    )


def test_one_that_breaks_holds_this_transaction_and_not_the_node(either, monkeypatch):
    def broken(tx, chain):
        raise ImportError("no beembase")

    monkeypatch.setattr("node.signer.opinion._pack_with_beem", broken)
    either.stops("hold", "second_opinion")
    assert "policy.second_opinion = false" in either.verdict.detail


def test_one_that_is_switched_off_is_not_asked(either, monkeypatch):
    monkeypatch.setattr("node.signer.policy.second_opinion", lambda tx, chain: pytest.fail("asked"))
    either.policy = Policy(second_opinion=False)
    assert either.verdict.kind == "sign"


# -- earlier attempts


def test_an_earlier_attempt_that_nobody_denies(either):
    either.change_payload(past=(OTHER,))
    either.denied = lambda txid: False
    either.stops("hold", "not_denied")
    either.denied = lambda txid: txid == OTHER
    assert either.verdict.kind == "sign"


def test_every_one_of_them_must_be_denied(either):
    either.change_payload(past=(OTHER, OTHER[::-1]))
    for known in (OTHER, OTHER[::-1]):
        either.denied = lambda txid, known=known: txid == known
        either.stops("hold", "not_denied")


# -- the journal


def test_another_transaction_that_we_signed_and_that_is_not_dead(either):
    now = either.state.need(HEAD).timestamp
    either.journal.write((either.number,), OTHER, now + 1, "1:2:3")
    either.stops("hold", "journal")


@pytest.mark.parametrize("clock", [0, 2**40])
def test_only_an_applied_block_makes_it_dead_never_a_clock(either, monkeypatch, clock):
    monkeypatch.setattr(time, "time", lambda: clock)
    head = either.state.need(HEAD)
    either.journal.write((either.number,), OTHER, head.timestamp + 3, "1:2:3")
    either.stops("hold", "journal")
    either.state.put(HEAD, replace(head, timestamp=head.timestamp + 3))
    assert either.verdict.kind == "sign"


def test_the_key_of_another_signer_is_not_ours(either):
    signer = Signer([either.secret], either.journal, either.policy, either.genesis)
    with pytest.raises(KeyError):
        signer.sign_transaction(either.state, either.op, secret("mallory").public, either.denied)


# -- the limits of a day


@pytest.mark.parametrize(("asset", "other"), [("HIVE", "HBD"), ("HBD", "HIVE")])
def test_the_limit_of_a_day_counts_what_was_signed_in_it(payout, asset, other):
    payout.change_payload(asset=asset)
    payout.rebuild()
    now = payout.state.need(HEAD).timestamp
    field, free = f"max_{asset.lower()}_day", f"max_{other.lower()}_day"
    allow = ("standing", "payout")
    payout.policy = Policy(allow=allow, **{field: 2_000, free: 0})
    assert payout.verdict.kind == "sign"
    payout.journal.write((998,), OTHER, now, "1:2:3", time=now - DAY, spends={998: (asset, 5_000)})
    payout.journal.write((999,), OTHER, now, "1:2:3", time=now - DAY + 1, spends={999: (asset, 766)})
    assert payout.verdict.kind == "sign", "2,000 exactly; a day ago is no longer today"
    payout.journal.write((997,), OTHER, now, "1:2:3", time=now, spends={997: (asset, 1)})
    payout.stops("hold", "day_limit")


def test_a_payout_that_is_signed_again_counts_once(payout):
    now = payout.state.need(HEAD).timestamp
    payout.policy = Policy(max_hive_day=1_234)
    spends = {payout.number: ("HIVE", 1_234)}
    payout.journal.write((payout.number,), OTHER, now, "1:2:3", time=now - 5, spends=spends)
    assert payout.verdict.kind == "sign"


def test_a_limit_of_a_day_holds_and_refuses_nothing(payout):
    """A refusal would go on chain and could fail the payout for good; tomorrow it may be signed."""
    payout.policy = Policy(max_hive_day=1_233)
    assert (payout.verdict.kind, payout.verdict.why) == ("hold", "day_limit")


def test_a_rotation_pays_nothing_away(rotation):
    rotation.policy = Policy(max_hive=0, max_hbd=0, max_hive_day=0, max_hbd_day=0, receivers=())
    assert rotation.verdict.kind == "sign"


# -- receivers


def test_only_receivers_that_are_named_are_paid(payout):
    payout.policy = Policy(receivers=("somebody",))
    payout.stops("refuse", "not_allowed")
    payout.policy = Policy(receivers=())
    payout.stops("refuse", "not_allowed")
    payout.policy = Policy(receivers=("somebody", "receiver"))
    assert payout.verdict.kind == "sign"


# -- the operator's word


def word_of(case):
    return approval(case.op, case.record.txid)


def consented(case, approvals, policy=None, key=None):
    now = case.state.need(HEAD).timestamp
    words = told(case.genesis, case.op, case.record, contents(case.state, case.record.payloads))
    key = key or case.secret.public
    return consent(policy or case.policy, case.journal, approvals, key, now, word=word_of(case), words=words)


def test_with_manual_each_transaction_is_approved_by_its_id(either, tmp_path):
    either.policy = Policy(manual=True)
    either.stops("hold", "manual")
    approvals = Approvals(tmp_path / "approvals")
    assert f"waggle approve {word_of(either)}`: " in consented(either, approvals).detail
    for another in ("1:2:3", either.op, approval(either.op, bytes(20)), approval("1:2:3", either.record.txid)):
        approvals.add(another)
        assert consented(either, approvals).why == "manual", "that is another transaction"
    approvals.add(word_of(either))
    assert consented(either, approvals).kind == "sign"


def test_an_approval_is_no_judgement(either, tmp_path):
    """What policy refuses, no word of the operator signs."""
    approvals = Approvals(tmp_path / "approvals")
    approvals.add(word_of(either))
    signer = Signer([either.secret], either.journal, Policy(manual=True, allow=()), either.genesis, approvals)
    verdict, sig = signer.sign_transaction(either.state, either.op, either.secret.public, either.denied)
    assert (verdict.kind, verdict.why, sig) == ("refuse", "not_allowed", None)


def test_a_dry_run_says_what_it_would_do_and_signs_nothing(either):
    either.policy = Policy(dry_run=True)
    either.stops("hold", "dry_run")


def test_a_dry_run_does_not_hide_what_would_be_wrong(either):
    either.policy = Policy(dry_run=True, allow=())
    either.stops("refuse", "not_allowed")


def test_a_young_journal_holds_until_its_time_or_the_operators_word(either, tmp_path):
    now = either.state.need(HEAD).timestamp
    approvals = Approvals(tmp_path / "approvals")
    for until, why in [(now + 1, "young_journal"), (now, "")]:
        either.journal.begin(77, now - 5, until)
        either.journal.note_key(either.secret.public, is_new=False)
        assert consented(either, approvals).why == why
    approvals.add(confirmation(either.journal.born))
    approvals.add("journal:77")
    either.journal.begin(77, now - 5, now + 100)
    either.journal.note_key(either.secret.public, is_new=False)
    assert consented(either, approvals).why == "young_journal", "the word was for another beginning, at the same block"
    approvals.add(confirmation(either.journal.born))
    assert consented(either, approvals).kind == "sign"


def test_before_his_word_the_operator_is_told_what_it_does(payout, rotation, tmp_path):
    for case in (payout, rotation):
        case.policy = Policy(manual=True)
    nothing = Approvals(tmp_path / "approvals")
    assert "1234 HIVE (smallest units) to receiver" in consented(payout, nothing).detail
    assert "active" in consented(rotation, nothing).detail and "TST" in consented(rotation, nothing).detail


def test_another_block_time_than_the_heads_can_be_the_one_that_counts(either):
    """A remote signer measures by the block that the group vouched for (node/signer/replica.py)."""
    now = either.state.need(HEAD).timestamp
    either.journal.write((either.number,), OTHER, now - 10, "1:2:3")
    signer = Signer([either.secret], either.journal, either.policy, either.genesis)
    asked = (either.state, either.op, either.secret.public, either.denied)
    assert signer.sign_transaction(*asked, now=now - 11)[0].why == "journal"
    assert signer.sign_transaction(*asked, now=now - 10)[0].kind == "sign"
    assert max(entry.time for entry in either.journal.entries(either.number)) == now - 10
