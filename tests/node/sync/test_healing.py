"""A node whose root is not the agreed one signs nothing, replays what others give, and is whole again or halted."""

import asyncio
import json

import pytest

from node.agent import last_equal
from node.core import NodeCore
from node.devnet.founding import member_keys
from node.errors import ApiError
from node.outbox import Outbox
from node.runtime import Runtime
from node.signer.journal import Journal
from node.signer.policy import Policy
from node.signer.signer import Signer
from processors.hive.block import read_block
from state.errors import StateError
from state.schema import BALANCE, Balance, Round
from state.state import State
from state.store import MemoryStore
from tests.node.feed.many import RANGE, Clock, lacking, ranges_of
from tests.node.test_core import any_state, new_group, run_to_founded
from tests.node.test_servers import FakeApi

WRONG_AT = 47  # a block in the middle of the round that begins at 40


class Diverging:
    """runner05's node behind real wires of pretended servers, beside four others on virtual time."""

    def __init__(self, folder, operators=("north", "south")):
        self.group = new_group(folder)
        del self.group.nodes["runner05"]
        member, genesis = member_keys(5), self.group.genesis
        self.clock, self.events, self.kept = Clock(), [], {}
        self.state = State(MemoryStore(), genesis.hash, round_length=20, trace_keep=genesis.params.trace_keep)
        signer = Signer([member.signing_key], Journal(folder / "five", genesis.hash), Policy(), genesis)
        log = lambda event, fields: self.events.append((event, fields))  # noqa: E731
        self.core = NodeCore(
            genesis, self.state, member.account, member.account_key, signer, Outbox(None), "0.1.0", log
        )
        self.apis = [FakeApi(operator, self.group.chain) for operator in operators]
        self.asked = {}
        for index, api in enumerate(self.apis):
            api.url = f"http://{api.operator}{index}"
            self.asked[index] = []
            api.answers[RANGE] = ranges_of(self.group.chain, asked=self.asked[index])
        self.runtime = Runtime(
            self.core, self.apis, log, clock=self.clock, jitter=lambda: 0.5, keep=self.kept.__setitem__
        )
        self.stepped = []
        step = self.core.step

        def watched(view, denied, **more):
            sent = step(view, denied, **more)
            self.stepped.append((self.state.height, self.core.halted_at, [item.content for item in sent]))
            return sent

        self.core.step = watched

    def wrong(self, at=WRONG_AT, times=1):
        """A bit is wrong while a block is applied, so many times; -1 = the genesis state."""
        commit, left = self.state.commit, [times]

        def corrupted(view, *, flush=True):
            if self.state.height + 1 == max(0, at) and left[0] > 0:
                left[0] -= 1
                view.put(BALANCE, Balance(1), "mallory")
            commit(view, flush=flush)

        self.state.commit = corrupted

    def run(self, blocks):
        for _ in range(blocks):
            self.group.step()
            self.turn()

    def turn(self):
        asyncio.run(self.runtime.attempt(asyncio.Event()))
        self.clock.now += 3.0

    def run_until_halted(self):
        for _ in range(100):
            if self.told("diverged"):
                return
            self.run(1)
        raise AssertionError("it does not halt")

    def told(self, event):
        return [fields for name, fields in self.events if name == event]

    def is_whole(self):
        """Whether its newest round has the others' root."""
        height = self.state.height // 20 * 20
        return self.state.root(height) == any_state(self.group).root(height) is not None

    def sent_while_halted(self):
        return [contents for _, halted, contents in self.stepped if halted is not None and contents]


@pytest.fixture
def node(tmp_path):
    return Diverging(tmp_path)


def test_what_was_wrong_once_is_healed_by_a_replay_from_another_operator(node):
    node.wrong()
    node.run_until_halted()
    [healed] = node.told("healed")
    assert (healed["round"], healed["from"]) == (60, 40) and healed["to"] == node.state.height
    assert "other_blocks_from" not in healed
    assert node.core.halted_at is None and node.is_whole()
    assert any(first == 41 for first, _ in node.asked[1]), "south gave what north had given before"
    assert node.state.get(BALANCE, "mallory") is None
    node.run(45)
    assert node.is_whole() and len(node.told("diverged")) == 1
    assert any(contents for *_, contents in node.stepped[-40:]), "it acts again"


def test_its_evidence_is_kept(node):
    node.wrong()
    node.run_until_halted()
    kept = json.loads(node.kept["diverged-60"])
    assert (kept["round"], kept["last_equal"], kept["account"]) == (60, 40, "runner05")
    rows = {row[0]: dict(zip(kept["columns"], row, strict=True)) for row in kept["blocks"]}
    assert set(rows) == set(range(40, 81))
    [told] = node.told("diverged")
    assert rows[60]["root"] == told["own_root"] != any_state(node.group).root(60).hex()
    assert rows[47]["block_id"] == node.group.chain.block(47).id.hex()
    others = any_state(node.group)
    assert rows[46]["trace"] == others.trace(46).hex() and rows[47]["trace"] != others.trace(47).hex()


def test_a_fault_of_ours_that_comes_back_leaves_it_halted_readable_and_silent(node):
    node.wrong(times=1_000)
    node.run_until_halted()
    [told] = node.told("still_diverged")
    assert told["round"] == 60 and "every block is proven" in told["why"] and "ask in the group" in told["remedy"]
    assert not node.told("healed") and node.core.halted_at == 60
    node.run(70)
    assert node.core.halted_at == 60 and node.state.height == any_state(node.group).height, "it goes on reading"
    assert node.sent_while_halted() == []
    assert len(node.told("still_diverged")) == len(node.kept) == 1, "not again for the same round"
    assert [first for first, _ in node.asked[1]].count(41) == 1


def test_where_no_equal_root_is_within_reach_it_stays_halted_and_asks_nobody(node):
    node.wrong(at=-1)
    node.run_until_halted()
    [told] = node.told("still_diverged")
    assert "no equal root is within reach" in told["why"]
    assert node.core.halted_at == 20 and "diverged-20" in node.kept
    before = [len(asked) for asked in node.asked.values()]
    node.run(10)
    assert all(count == 1 for _, count in node.asked[1][before[1] :]), "single blocks are confirmed, none is replayed"
    assert node.sent_while_halted() == [] and len(node.told("still_diverged")) == 1


def test_while_no_server_can_give_the_blocks_it_tries_again_at_the_next_block_and_not_before(node):
    node.wrong()
    asked = []

    def refusing(params):
        if params["count"] > 5:
            asked.append(node.state.height)
            raise ApiError("http://x: HTTP 503")
        return ranges_of(node.group.chain)(params)

    for api in node.apis:
        api.answers[RANGE] = refusing
    node.run_until_halted()
    assert node.core.halted_at == 60 and asked
    count = len(asked)
    for _ in range(5):
        node.turn()
    assert len(asked) == count, "no new block, no new try"
    node.run(1)
    assert len(asked) > count and node.core.halted_at == 60
    assert len(node.kept) == 1 and node.sent_while_halted() == []
    for api in node.apis:
        api.answers[RANGE] = ranges_of(node.group.chain)
    node.run(1)
    assert node.core.halted_at is None and node.is_whole() and len(node.told("healed")) == 1


def test_one_that_lies_when_it_is_asked_anew_changes_nothing(node):
    node.wrong()
    node.apis[1].answers[RANGE] = ranges_of(node.group.chain, lacking(set(range(30, 80))))
    node.run_until_halted()
    node.run(3)
    assert not node.told("healed") or node.is_whole()
    assert all(block["from"] == 40 for block in node.told("healed"))
    assert node.sent_while_halted() == []


def test_it_is_not_healed_into_a_chain_that_one_operator_made_up(node, tmp_path):
    """Blocks that follow ours, whole and linked, but without the group's reports: nothing differs there any more."""
    node.wrong(times=1_000)
    other = new_group(tmp_path / "other")
    del other.nodes["runner05"]
    while other.chain.head_number < 150:
        number = other.chain.head_number
        if number < 44:
            other.step()
        else:
            other.chain.produce()
    node.apis[1].answers[RANGE] = lambda params: (
        ranges_of(other.chain)(params) if params["count"] > 5 else ranges_of(node.group.chain)(params)
    )
    node.run_until_halted()
    node.run(5)
    assert other.chain.block(43).id == node.group.chain.block(43).id
    assert not node.told("healed") and node.core.halted_at == 60
    assert any("no two operators have alike" in told["error"] for told in node.told("api_error"))
    assert node.state.head.block_id == node.group.chain.block(node.state.height).id


def test_with_a_single_operator_it_is_asked_again_for_want_of_another(tmp_path):
    node = Diverging(tmp_path, operators=("north", "north"))
    genesis_is_given_twice(node)
    node.wrong()
    node.run_until_halted()
    assert len(node.told("healed")) == 1 and node.is_whole()


def genesis_is_given_twice(node):
    """The first block needs two operators: here the question is not about it."""

    async def first_block(number):
        return read_block(node.group.chain.show_block(number, typed=True), node.group.chain.chain)

    node.runtime.second.first_block = first_block


def test_after_a_restart_it_is_halted_still_and_tries_anew(node):
    node.wrong(times=1_000)
    node.run_until_halted()
    again = NodeCore(
        node.group.genesis,
        node.state,
        "runner05",
        member_keys(5).account_key,
        node.core._signer,
        Outbox(None),
        "0.1.0",
        lambda *told: None,
    )
    assert again.halted_at == 60
    assert again.newest_to_sign() == -1


def test_the_first_difference_is_named_once(node):
    named = []

    async def difference():
        named.append(node.state.height)
        return {"table": "balance", "key": "mallory"}

    node.runtime.healing.name_difference = difference
    node.wrong(times=1_000)
    node.run_until_halted()
    node.run(5)
    assert len(named) == 1
    assert node.told("difference") == [{"table": "balance", "key": "mallory"}]


def test_blocks_that_were_taken_back_are_not_confirmed_any_more(node):
    node.wrong()
    node.runtime.second.confirmed = 1_000
    node.run_until_halted()
    assert node.told("healed") and node.runtime.second.confirmed == 40


def test_a_node_that_agrees_is_left_alone(node):
    node.run(90)
    assert (node.is_whole() and node.kept == {} and node.asked[1] == [(20, 1)]) or node.asked[1]
    assert not any(count > 5 for _, count in node.asked[1])


# -- what the core does for it


def test_a_rewind_forgets_what_was_sent_after_it_and_the_journal_forgets_nothing(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    node = group.nodes["runner02"]
    height, journal = node.state.height, (tmp_path / "runner02.journal").read_bytes()
    assert journal
    node._outbox.add("report:1", height - 3)
    node._outbox.add("report:2", height - 1)
    node._outbox.resting["report:2"] = (height, 1)
    node.rewind(height - 2)
    assert node.state.height == height - 2
    assert "report:1" in node._outbox.sent and "report:2" not in node._outbox.sent
    assert not node._outbox.resting and (tmp_path / "runner02.journal").read_bytes() == journal


@pytest.mark.parametrize("back", [0, -1, 10**6])
def test_it_goes_neither_forward_nor_beyond_what_is_kept_and_nothing_changes(tmp_path, back):
    group = new_group(tmp_path)
    group.run(60)
    node = group.nodes["runner02"]
    before = node.state.head
    node._outbox.add("report:2", before.height)
    with pytest.raises(StateError, match="can go back to"):
        node.rewind(before.height - back)
    assert node.state.head == before and "report:2" in node._outbox.sent


def test_the_ids_of_blocks_are_known_as_far_as_the_state_can_be_taken_back(tmp_path):
    group = new_group(tmp_path)
    group.run(60)
    node = group.nodes["runner02"]
    for height in range(21, node.state.height + 1):
        assert node.block_id(height) == group.chain.block(height).id
    assert node.block_id(19) is None and node.block_id(node.state.height + 1) is None
    node.rewind(40)
    assert node.block_id(40) == group.chain.block(40).id and node.block_id(41) is None


@pytest.mark.parametrize(
    ("rounds", "before", "equal"),
    [
        ({}, 100, None),
        ({20: "same", 40: "same", 60: "other"}, 60, 40),
        ({20: "same", 40: "open", 60: "other"}, 60, 20),
        ({20: "other", 40: "other", 60: "other"}, 60, None),
        ({20: "same", 40: "same", 60: "same"}, 60, 40),
        ({20: "same", 40: "gone", 60: "other"}, 60, 20),
    ],
)
def test_the_last_round_in_which_the_roots_were_equal(rounds, before, equal):
    class Kept:
        """A state of which only rounds and roots are looked at."""

        def walk(self, table):
            roots = {"same": b"a", "other": b"b", "gone": b"a", "open": None}
            return (((start,), Round(roots[how], None, ())) for start, how in rounds.items())

        def root(self, height):
            return None if rounds[height] == "gone" else b"a"

    assert last_equal(Kept(), before) == equal
