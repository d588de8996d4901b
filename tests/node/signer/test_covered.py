"""A signer whose store came from somewhere: what stands in it counts once the group signs for a root that covers it."""

import copy

import pytest
from msgspec.structs import replace

from node.assembly import open_state
from node.devnet.founding import member_keys
from node.errors import SignerError
from node.files import DISK
from node.signer.approvals import Approvals, confirmation
from node.signer.policy import rebuild
from node.signer.replica import TRUSTED
from node.signer.service import Service
from node.signer.trusted import NEVER, Trust, Trusted
from node.signer.wire import Apply, Look, Refused
from processors.builder import operation_id
from processors.contents import Content
from processors.hive.transaction import signing_digest, transaction_id
from state.errors import StateError
from state.layout import TABLES
from state.schema import MS, QUEUE, STANDING, Taken
from state.store import MemoryStore
from state.table import encode_value
from tests.node.signer.remotely import new_replica, text_of, texts_of
from tests.node.test_core import any_state, new_group, run_to_founded, run_to_record

ME = member_keys(2)
KEY = ME.signing_key.public


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    return paying(tmp_path_factory.mktemp("group"))


def paying(folder):
    """A group whose payment is out, some blocks after the beginning of a round."""
    found = new_group(folder)
    run_to_founded(found)
    found.refuses = lambda account, item: item.content.startswith("sign")
    found.op = run_to_record(found)
    found.run(45)
    found.run_until(lambda: any_state(found).height % 20 == 5, 40)
    return found


def copied(state):
    """A copy of a store in memory."""
    state.flush()
    return copied_of(state._store)


def copied_of(store):
    """A copy of what a store holds."""
    found = MemoryStore()
    found.write(copy.deepcopy(list(store.iterate(b""))), sync=True)
    return found


def forged(group, store, *, with_trees):
    """Into the store: a payment to mallory that was built long ago; its id and that of its transaction."""
    state = open_state(group.genesis, store)
    real = state.need(MS, group.op)
    op = operation_id(5, Taken(1, 2, 0, 0))
    pays = replace(state.need(QUEUE, real.payloads[0]), to="mallory", out=op, past=())
    record = replace(real, payloads=(9_999,), built=5, expiration=state.head.timestamp + 3_000, status="collecting")
    packed = rebuild(group.genesis, op, record, [Content(9_999, pays, None)])
    chain = group.genesis.chain
    record = replace(record, tx=packed[1], txid=transaction_id(packed[1]), digest=signing_digest(packed[1], chain))
    standing = replace(next(iter(state.walk(STANDING)))[1], to="mallory", amount=pays.amount, asset=pays.asset)
    standing = replace(standing, memo=pays.memo)
    rows = [(MS, record, op), (QUEUE, pays, 9_999), (STANDING, standing, 99)]
    if with_trees:
        view = state.view()
        for table, value, key in rows:
            view.put(table, value, key)
        state.commit(view)
    else:
        batch = [(TABLES + table.store_key((key,)), encode_value(value)) for table, value, key in rows]
        store.write(batch, sync=True)
    return op, record.txid


def streamed(group, folder, last):
    """A signer's folder after it was streamed the blocks up to ``last``."""
    replica = new_replica(group.genesis, ME, folder)
    replica.begin(text_of(group, 20))
    replica.apply(texts_of(group, 21, last))
    return replica


def signs(replica, op, txid):
    """The answer, once the operator has said that no other journal knows more."""
    replica.sign(op, KEY, txid)
    if replica._journal.born is not None:
        Approvals(replica._journal._path.with_name("approvals")).add(confirmation(replica._journal.born))
    return replica.sign(op, KEY, txid)


def reports(replica):
    """Its report of the round that runs."""
    height = replica.height // 20 * 20
    return replica.report(ME.account, height, replica.state.root(height), KEY)


@pytest.mark.parametrize("with_trees", [True, False])
@pytest.mark.parametrize("is_fresh", [True, False])
def test_what_a_forged_store_holds_is_not_signed(tmp_path, group, with_trees, is_fresh):
    at = any_state(group).height
    if not is_fresh:
        believed = streamed(group, tmp_path, at - 10).trusted
        assert believed.height > 20
    store = copied(any_state(group))
    op, txid = forged(group, store, with_trees=with_trees)
    replica = new_replica(group.genesis, ME, tmp_path, store=store)
    verdict, sig = signs(replica, op, txid)
    assert (verdict.kind, verdict.why, sig) == ("hold", "not_agreed_yet", None)
    if not is_fresh:
        replica._is_covered = True
        assert signs(replica, op, txid)[1] is not None, "nothing else would have held it"


@pytest.mark.parametrize("with_trees", [True, False])
def test_blocks_that_follow_do_not_make_a_forged_store_good(tmp_path, with_trees):
    """Neither where the trees tell of what was put in, nor where they are those of the true state."""
    group = paying(tmp_path / "group")
    streamed(group, tmp_path, any_state(group).height)
    store = copied(any_state(group))
    op, txid = forged(group, store, with_trees=with_trees)
    replica = new_replica(group.genesis, ME, tmp_path, store=store)
    before = replica.trusted
    group.run(60)
    texts = texts_of(group, replica.height + 1, any_state(group).height)
    if with_trees:
        replica.apply(texts)
    else:
        with pytest.raises(SignerError, match="have another root"):
            replica.apply(texts)
    assert replica.trusted == before
    assert signs(replica, op, txid)[1] is None


def test_a_true_store_from_elsewhere_signs_once_the_group_has_signed_for_what_it_holds(tmp_path):
    group = paying(tmp_path / "group")
    streamed(group, tmp_path, any_state(group).height - 25)
    replica = new_replica(group.genesis, ME, tmp_path, store=copied(any_state(group)))
    assert replica._trusted.since == NEVER, "nothing is denied by blocks that were never seen"
    op, txid = group.op, any_state(group).need(MS, group.op).txid
    assert signs(replica, op, txid)[0].why == "not_agreed_yet"
    with pytest.raises(SignerError, match="the store came from elsewhere"):
        reports(replica)
    again = new_replica(group.genesis, ME, tmp_path, store=copied(replica.state))
    with pytest.raises(SignerError, match="the store came from elsewhere"):
        reports(again)  # a restart makes it nobody's own
    opened = replica.height
    group.run(45)
    replica.apply(texts_of(group, opened + 1, any_state(group).height))
    assert len(reports(replica)) == 65
    assert replica.trusted.height > opened
    assert (
        replica._trusted.since == replica.trusted.time or replica._trusted.since > any_state(group).head.timestamp - 150
    )
    assert replica._is_covered


def test_a_restart_keeps_since_when_all_blocks_were_seen(tmp_path, group):
    store = MemoryStore()
    first = new_replica(group.genesis, ME, tmp_path, store=store)
    first.begin(text_of(group, 20))
    first.apply(texts_of(group, 21, 55))
    first.rewind(53)
    again = new_replica(group.genesis, ME, tmp_path, store=store)
    assert (again.height, again._trusted.since) == (53, 0)
    again.apply(texts_of(group, 54, any_state(group).height))
    assert again._is_covered


def test_a_group_that_starts_anew_as_a_whole_does_not_wait_for_itself(tmp_path, group):
    """Nobody has signed for these stores since they were opened, and each must say first what it has."""
    store = MemoryStore()
    first = new_replica(group.genesis, ME, tmp_path, store=store)
    first.begin(text_of(group, 20))
    first.apply(texts_of(group, 21, any_state(group).height))
    again = new_replica(group.genesis, ME, tmp_path, store=store)
    assert not again._is_covered and len(reports(again)) == 65


def test_two_that_were_given_one_forged_store_do_not_vouch_for_each_other(tmp_path, group):
    store = copied(any_state(group))
    forged(group, store, with_trees=True)
    for number in (2, 3):
        member = member_keys(number)
        replica = new_replica(group.genesis, member, tmp_path / member.account, store=copied_of(store))
        height = replica.height // 20 * 20
        with pytest.raises(SignerError, match="the store came from elsewhere"):
            replica.report(member.account, height, replica.state.root(height), member.signing_key.public)


def test_the_operators_word_covers_a_store_from_elsewhere(tmp_path):
    """The way out where a whole group restored its signers from snapshots."""
    group = paying(tmp_path / "group")
    store = copied(any_state(group))
    group.run(40)
    last = any_state(group).height
    begun = last // 20 * 20
    trust = Trust(begun, any_state(group).root(begun))
    replica = new_replica(group.genesis, ME, tmp_path / "signer", store=store, trust=trust)
    assert replica.height < begun
    replica.apply(texts_of(group, replica.height + 1, begun))
    assert replica.trusted.height == begun and len(reports(replica)) == 65


def test_the_root_of_what_is_believed_must_be_known(tmp_path, group):
    replica = streamed(group, tmp_path, any_state(group).height)
    replica._trusted.round = replace(replica.trusted, root=b"x" * 32)
    verdict = signs(replica, group.op, any_state(group).need(MS, group.op).txid)[0]
    assert verdict.why == "not_agreed_yet" and "does not know the root" in verdict.detail


# -- a disk that fails


class Full:
    """Files that can be read and not written."""

    read = staticmethod(DISK.read)

    def replace(self, path, data):
        raise OSError(28, "No space left on device")


def test_what_cannot_be_kept_is_not_believed(tmp_path, group):
    kept = Trusted(tmp_path / TRUSTED, group.genesis, Full())
    before = (kept.round, kept.since, kept.included, kept.places)
    for change in (
        lambda: kept.begin(5, b"a"),
        lambda: kept.move(b"a", b"b"),
        lambda: kept.believe(replace(kept.round, height=99)),
        lambda: kept.include({bytes(20)}),
    ):
        with pytest.raises(StateError, match="nothing is signed"):
            change()
        assert (kept.round, kept.since, kept.included, kept.places) == before


def test_and_the_signer_ends(tmp_path, group):
    replica = streamed(group, tmp_path, 45)
    replica._trusted._files = Full()
    service = Service(replica, lambda *said: None)
    assert isinstance(service.answer(Apply(texts_of(group, 46, 90))), Refused)
    assert service.failed.is_set()
    assert isinstance(service.answer(Look()), Refused)
