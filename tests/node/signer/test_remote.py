"""A node whose keys are with a remote signer: the group works as ever, and the signer believes nobody alone."""

import contextlib
from types import SimpleNamespace

import msgspec
import pytest
from msgspec.structs import replace

from node.devnet.founding import devnet_key, member_keys
from node.errors import SignerError
from node.signer import wire
from node.signer.approvals import confirmation
from node.signer.exchange import _read
from node.signer.remote import FIRST_REST, LONGEST_REST, RemoteSigner, connect_unix
from state.schema import DONE, MS, QUEUE, SIG
from tests.node.signer.remotely import join_remotely, new_replica, serving, text_of, texts_of
from tests.node.signer.test_policy import Shown
from tests.node.test_core import any_state, new_group, run_to_founded, run_to_record

ME = member_keys(2)


@pytest.fixture
def remote(tmp_path):
    """A group whose second member signs remotely."""
    group = new_group(tmp_path / "group")
    said = []
    replica = new_replica(group.genesis, ME, tmp_path / "signer", log=lambda *told: said.append(told))
    path = tmp_path / "signer.sock"
    with serving(replica, path) as found:
        streaming = join_remotely(group, ME, path)
        yield group, replica, streaming, path, said, found
        streaming.close()


def test_the_group_is_founded_and_pays_with_a_member_who_signs_remotely(remote):
    group, replica, streaming, _, _, _ = remote
    run_to_founded(group)
    group.silent |= {"runner04", "runner05"}  # now it cannot be done without me
    paid = sum(done.status == "confirmed" for _, done in any_state(group).walk(DONE))
    group.run(160)
    done = [done for _, done in any_state(group).walk(DONE) if done.status == "confirmed"]
    assert len(done) >= paid + 2
    assert any(ME.signing_key.public in one.signers for one in done)
    assert streaming.height == replica.height == any_state(group).height
    assert replica.state.current_root() == group.nodes["runner02"].state.current_root()


def test_it_holds_until_the_group_has_signed_for_the_chain_that_it_was_built_on(remote):
    group, replica, _, _, _, _ = remote
    run_to_founded(group)
    group.refuses = lambda account, item: item.content.startswith("broadcast")
    op = run_to_record(group, "payout")
    built = any_state(group).need(MS, op).built
    seen = []
    for _ in range(60):
        group.step()
        signed = any_state(group).get(SIG, op, ME.signing_key.public) is not None
        seen.append((signed, replica.trusted.height))
        if signed:
            break
    assert seen[-1][0] and seen[-1][1] >= built
    assert all(height < built for signed, height in seen[:-3])
    held = [fields["why"] for _, name, event, fields in group.events if (name, event) == ("runner02", "hold")]
    assert "not_agreed_yet" in held


def test_without_the_reports_of_others_it_never_signs(remote):
    """A node that cuts its signer off from the group gets nothing out of it."""
    group, replica, _, _, _, _ = remote
    run_to_founded(group)
    group.refuses = lambda account, item: item.content.startswith(("sign", "broadcast"))
    op = run_to_record(group, "payout")
    group.refuses = lambda account, item: item.content.startswith(("broadcast", "report"))
    group.run(60)
    state = any_state(group)
    assert state.get(SIG, op, member_keys(3).signing_key.public) is not None
    assert state.get(SIG, op, ME.signing_key.public) is None
    assert replica.trusted.height < state.need(MS, op).built


def test_it_signs_a_report_of_its_own_root_alone(remote):
    group, _, streaming, _, _, _ = remote
    group.run(45)
    state = any_state(group)
    key = ME.signing_key.public
    assert len(streaming.sign_report("runner02", 40, state.root(40), key)) == 65
    for wrong in [
        ("runner02", 40, bytes(32), key),
        ("runner02", 20, state.root(20), key),
        ("runner03", 40, state.root(40), key),
        ("runner02", 40, state.root(40), devnet_key("mallory").public),
    ]:
        with pytest.raises(SignerError, match="refuses"):
            streaming.sign_report(*wrong)


def test_what_its_own_state_does_not_show_it_does_not_sign(remote):
    group, replica, streaming, _, _, _ = remote
    run_to_founded(group)
    group.refuses = lambda account, item: item.content.startswith("sign")
    op = run_to_record(group, "payout")
    record = any_state(group).need(MS, op)
    for asked in [("1:2:3", record.txid), (op, bytes(20))]:
        found = streaming._ask(wire.Sign(asked[0], ME.signing_key.public, asked[1]))
        assert (found.kind, found.why, found.sig) == ("hold", "not_wanted", b"")
    assert replica.signer._journal.entries(record.payloads[0]) == []


def test_what_this_nodes_servers_do_not_deny_is_not_asked_for(remote):
    group, _, streaming, _, _, _ = remote
    run_to_founded(group)
    group.refuses = lambda account, item: item.content.startswith("sign")
    op = run_to_record(group, "payout")
    shown = Shown(any_state(group))
    [number] = shown.need(MS, op).payloads
    shown.put(QUEUE, replace(shown.need(QUEUE, number), past=(bytes(20),)), number)
    verdict, sig = streaming.sign_transaction(shown, op, ME.signing_key.public, lambda txid: False)
    assert (verdict.kind, verdict.why, sig) == ("hold", "not_denied", None)
    assert bytes(20).hex() in verdict.detail


def test_until_when_its_keys_are_held_the_node_is_told_at_every_look(remote):
    group, replica, streaming, _, _, _ = remote
    run_to_founded(group)
    node = group.nodes["runner02"]
    assert node.held_until() == 0
    until = node.state.head.timestamp + 100_000
    replica._journal.begin(replica.height, node.state.head.timestamp, until)
    group.step()
    assert node.held_until() == until
    replica.signer._approvals.add(confirmation(replica._journal.born))
    group.step()
    assert node.held_until() == 0
    streaming.remote.height = -1
    with pytest.raises(SignerError):
        streaming.remote.look(node.state)
    assert node.held_until() is None, "what a signer said that is not reached any more is not known"


def test_a_signer_of_an_older_version_does_not_say_until_when(remote):
    older = msgspec.msgpack.encode({"type": "Ops", "ops": []})
    assert wire.read_answer(older) == wire.Ops([], None)


# -- blocks


def test_a_signer_that_begins_late_is_streamed_everything(tmp_path):
    group = new_group(tmp_path / "group")
    run_to_founded(group)
    replica = new_replica(group.genesis, ME, tmp_path / "signer")
    with serving(replica, tmp_path / "sock"):
        streaming = join_remotely(group, ME, tmp_path / "sock")
        group.step()
        assert streaming.height == any_state(group).height
        assert replica.trusted.height >= any_state(group).height - 40
        streaming.close()


def test_a_signer_that_is_ahead_of_its_node_is_left_where_it_is(remote):
    group, replica, streaming, _, _, _ = remote
    group.run(50)
    node = group.nodes["runner02"]
    node.rewind(node.state.height - 5)
    ahead = replica.height
    assert streaming.remote.catch_up(node.state, node.block_id, lambda first, last: pytest.fail("asked")) == ahead


def test_off_a_fork_that_died_but_never_before_what_the_group_signed_for(remote):
    group, replica, streaming, _, _, _ = remote
    group.run(70)
    vouched = replica.trusted.height
    assert vouched >= 40
    node = group.nodes["runner02"]
    theirs = {height: node.block_id(height) for height in range(21, node.state.height + 1)}
    other = dict(theirs)
    for height in range(replica.height - 2, replica.height + 1):
        other[height] = bytes(20)  # as if the node had left these three
    read = lambda first, last: iter(texts_of(group, first, last))  # noqa: E731
    assert streaming.remote.catch_up(node.state, other.get, read) == node.state.height
    with pytest.raises(SignerError, match=f"up to block {vouched}: this signer does not go back"):
        streaming.remote._move(wire.Rewind(vouched - 1))
    assert replica.height == node.state.height


@pytest.mark.parametrize("change", ["another", "earlier", "forged", "garbage"])
def test_a_block_that_does_not_fit_is_refused_and_changes_nothing(remote, change):
    group, replica, streaming, _, _, _ = remote
    group.run(30)
    group.chain.produce()
    group.chain.produce()
    number = replica.height + 1
    text = {
        "another": text_of(group, number + 1),
        "earlier": text_of(group, number - 1),
        "forged": text_of(group, number).replace(b'"previous": "', b'"previous": "00'),
        "garbage": b"{}",
    }[change]
    before = replica.state.trace(replica.height), replica.height
    with pytest.raises(SignerError, match="refuses"):
        streaming.feed([text])
    assert (replica.state.trace(replica.height), replica.height) == before


# -- the connection


def test_a_signer_that_is_gone_signs_nothing_and_is_found_again(tmp_path):
    group = new_group(tmp_path / "group")
    now = [0.0]
    path = tmp_path / "sock"
    with serving(new_replica(group.genesis, ME, tmp_path / "signer"), path):
        remote = RemoteSigner(connect_unix(str(path)), group.genesis, ME.account, clock=lambda: now[0])
    with pytest.raises(SignerError):
        remote.signed_for([1], 0)
    rests = []
    for _ in range(9):
        with pytest.raises(SignerError, match="is not reached"):
            remote.signed_for([1], 0)
        rests.append(remote._not_before - now[0])
        with pytest.raises(SignerError, match="the next try is in"):
            remote.signed_for([1], 0)
        now[0] = remote._not_before
    assert rests[:3] == [FIRST_REST, 2 * FIRST_REST, 4 * FIRST_REST]
    assert rests[-1] == LONGEST_REST
    with serving(new_replica(group.genesis, ME, tmp_path / "signer"), path):
        assert remote.signed_for([1], 0) == set()
        remote.close()


class Hanging:
    """A signer on a clock of its own, which answers all but the requests of some types: these with silence."""

    def __init__(self, group, *deaf):
        self.now, self.deaf, self.dials, self.waited, self.asked = 0.0, deaf, 0, [], []
        self._welcome = wire.Welcome([ME.signing_key.public], 20, b"x" * 20, 0, 0)
        self.remote = RemoteSigner(self.connect, group.genesis, ME.account, clock=lambda: self.now)

    def connect(self):
        self.dials += 1
        return self

    def settimeout(self, seconds):
        self._patience = seconds

    def sendall(self, data):
        request = wire.read_request(data[4], data[wire.HEAD :])
        self.asked.append(request)
        answer = self._welcome if isinstance(request, wire.Hello) else wire.At(20, b"")
        self._answer = b"" if isinstance(request, self.deaf) else wire.frame(answer)

    def recv(self, size):
        if not self._answer:
            self.waited.append(round(self._patience))
            self.now += self._patience
            raise TimeoutError("timed out")
        part, self._answer = self._answer[:size], self._answer[size:]
        return part

    def close(self):
        pass

    def try_for(self, seconds, *requests):
        """Ask as the node does at each block, whatever comes of it."""
        end = self.now + seconds
        while self.now < end:
            self.now += 3
            with contextlib.suppress(SignerError):
                for request in requests:
                    self.remote._ask(request)


@pytest.mark.parametrize("deaf", [wire.Apply, wire.Look, wire.Hello])
def test_a_signer_that_hangs_does_not_hold_the_node_up_again_and_again(tmp_path, deaf):
    """Wherever it hangs: the node's own HTTP waits while it is asked."""
    hanging = Hanging(new_group(tmp_path / "group"))
    hanging.deaf = (deaf,)
    hanging.remote.close()
    hanging.try_for(600, wire.BlockId(7), wire.Apply([b"{}"]), wire.Look())
    assert hanging.waited[0] == (15 if deaf is wire.Apply else 2)
    assert set(hanging.waited[1:]) == {2}
    assert len(hanging.waited) <= 26 and hanging.dials <= 27, "at last one try of 2 s in 32"
    hanging.deaf = ()
    hanging.try_for(40, wire.BlockId(7), wire.Apply([b"{}"]), wire.Look())
    assert hanging.remote._rest == 0 and hanging.remote._unanswered is None
    hanging.deaf = (wire.Apply,)
    hanging.waited.clear()
    hanging.try_for(3, wire.Apply([b"{}"]))
    assert hanging.waited == [15], "once it is well it has its time again"


def test_after_a_silence_it_is_given_one_block_at_a_time_until_it_answers(tmp_path):
    """A line on which many blocks take longer than the time that is left would never get on."""
    hanging = Hanging(new_group(tmp_path / "group"), wire.Apply)
    with pytest.raises(SignerError):
        hanging.remote.feed([b"{}"] * 10)
    hanging.deaf = ()
    hanging.now += 100
    hanging.remote.feed([b"{}"] * 10)
    assert [len(one.texts) for one in hanging.asked if isinstance(one, wire.Apply)] == [10, 1, 9]


def test_a_signer_that_hangs_up_is_dialled_again_at_once(tmp_path):
    """It was started anew: nobody waits for that."""
    hanging = Hanging(new_group(tmp_path / "group"))
    hanging.recv = lambda size: b""
    with pytest.raises(SignerError, match="hung up"):
        hanging.remote._ask(wire.Look())
    del hanging.recv
    assert hanging.remote._ask(wire.BlockId(7)) == wire.At(20, b"")


def test_another_account_or_genesis_is_not_welcome(tmp_path):
    group = new_group(tmp_path / "group")
    other = new_group(tmp_path / "other", 4)
    with serving(new_replica(group.genesis, ME, tmp_path / "signer"), tmp_path / "sock"):
        connect = connect_unix(str(tmp_path / "sock"))
        with pytest.raises(SignerError, match="signs for runner02, not runner03"):
            RemoteSigner(connect, group.genesis, "runner03")
        with pytest.raises(SignerError, match="signs for genesis"):
            RemoteSigner(connect, other.genesis, "runner02")


def test_a_signer_whose_keys_change_is_not_believed(tmp_path):
    group = new_group(tmp_path / "group")
    path = tmp_path / "sock"
    with serving(new_replica(group.genesis, ME, tmp_path / "a"), path):
        remote = RemoteSigner(connect_unix(str(path)), group.genesis, ME.account)
        assert remote.public_keys == (ME.signing_key.public,)
        remote.close()
    with (
        serving(new_replica(group.genesis, ME, tmp_path / "b", keys=[devnet_key("new")]), path),
        pytest.raises(SignerError, match="other keys than before"),
    ):
        remote.signed_for([1], 0)


def test_an_answer_in_drops_is_none(monkeypatch):
    """One end for the whole of it: else a byte a second would hold the node up for hours."""
    clock = iter(range(100))
    monkeypatch.setattr("node.signer.exchange.time", SimpleNamespace(monotonic=lambda: next(clock)))
    left = []
    wired = SimpleNamespace(settimeout=left.append, recv=lambda size: b"x")
    with pytest.raises(TimeoutError):
        _read(wired, 100, 5)
    assert left == [5, 4, 3, 2, 1]
