"""Two nodes are compared: the first block, table and key that differ are named, and a liar is called one."""

import asyncio
import hashlib

import pytest
from msgspec.structs import replace

from node.sync import differ
from node.sync.differ import StateSide, compare
from node.sync.difference import UNCHANGED
from node.sync.peer import PeerError, PeerLiesError, open_peer
from node.sync.walk import Walk
from node.sync.wire import Page
from state.errors import StoreDamagedError
from state.merkle import root_of
from state.schema import BALANCE, COLLATERAL, HEAD, NODE, PARAM, STANDING, Balance, Collateral, Parameter
from state.state import State
from state.store import MemoryStore
from state.tree import Tree
from tests.node.sync.two_nodes import OURS, THEIRS, at, document_of, group_of, liar, run_to, sabotage, served

WRONG = Balance(666)


@pytest.fixture
def group(tmp_path):
    return group_of(tmp_path, document_of())


def state_of(group, account=OURS):
    return group.nodes[account].state


def differences(group, **how):
    """Ours and theirs, both open here."""
    ours, theirs = (StateSide(state_of(group, account)) for account in (OURS, THEIRS))
    return asyncio.run(compare(ours, theirs, group.genesis, find_keys=ours.find_keys, **how))


def over_http(group, folder, lie=lambda path, answer: answer):
    """Ours open here, theirs asked over HTTP through ``lie``."""

    async def main():
        ours = StateSide(state_of(group))
        async with served(group, folder) as server, liar(server.url, lie) as url, open_peer(url) as peer:
            return await compare(ours, peer, group.genesis, find_keys=ours.find_keys)

    return asyncio.run(main())


# -- by traces


def test_nodes_that_are_equal(group, tmp_path):
    run_to(group, 90)
    for found in (differences(group), over_http(group, tmp_path)):
        assert (found.kind, found.height, found.newest) == ("equal", 90, 90)
        assert found.entries == [] and found.table is None


def test_the_first_block_table_and_key_are_named(group, tmp_path):
    sabotage(group, THEIRS, at(75, COLLATERAL, Collateral(5, 0), "runner03"))
    run_to(group, 75)
    sabotage(group, THEIRS, at(77, BALANCE, WRONG, "alice"))
    run_to(group, 90)
    ours = state_of(group).need(COLLATERAL, "runner03")
    for found in (differences(group), over_http(group, tmp_path)):
        assert (found.kind, found.height, found.table, found.key) == ("state", 75, "collateral", ["runner03"])
        assert found.theirs == {"locked": 5, "leaving": 0} and found.again is None
        assert found.ours in ({"locked": ours.locked, "leaving": ours.leaving}, UNCHANGED)
    assert "block 75 is the same on both sides, but did other things: first collateral/runner03" in found.words


def test_a_value_that_only_one_side_changed_is_known_from_what_it_replaced(group):
    sabotage(group, THEIRS, at(75, COLLATERAL, Collateral(5, 0), "runner03"))
    run_to(group, 80)
    held = state_of(group).need(COLLATERAL, "runner03")
    assert differences(group).ours == {"locked": held.locked, "leaving": held.leaving}


def test_an_entry_that_one_side_has_not(group):
    sabotage(group, OURS, at(75, BALANCE, WRONG, "alice"))
    run_to(group, 80)
    found = differences(group)
    assert (found.table, found.key, found.ours, found.theirs) == ("balance", ["alice"], {"liquid": 666}, None)
    assert "there absent" in found.words


def test_the_order_of_keys_is_that_of_their_fields(group):
    """By size: 70,000 comes last, whatever its bytes are."""
    run_to(group, 70)

    def change(view, height):
        if height == 75:
            standing = view.need(STANDING, 0)
            for index in (300, 7, 70_000):
                view.put(STANDING, standing, index)

    sabotage(group, THEIRS, change)
    run_to(group, 80)
    assert [entry.key for entry in differences(group).entries] == [[7], [300], [70_000]]


def test_other_block_ids_are_a_matter_of_the_feed(group, tmp_path):
    def other_block(view, height):
        if height == 75:
            head = view.need(HEAD)
            view.put(HEAD, type(head)(head.height, b"\1" * 20, head.timestamp))

    sabotage(group, THEIRS, other_block)
    run_to(group, 75)
    for found in (differences(group), over_http(group, tmp_path)):
        assert (found.kind, found.height) == ("blocks", 75)
        assert found.block_ids == (state_of(group).undo(75).block_id.hex(), "01" * 20)
        assert found.words.startswith("the feeds differ, not the state: block 75 is ")


def test_a_difference_that_went_away_at_the_end_of_a_round_is_found(group):
    """Equal traces do not mean equal traces before: at the beginning of a round they stand on the root alone."""
    sabotage(group, THEIRS, at(75, BALANCE, WRONG, "alice"))
    sabotage(group, THEIRS, at(78, BALANCE, None, "alice"))
    run_to(group, 95)
    ours, theirs = state_of(group), state_of(group, THEIRS)
    assert ours.trace(80) != theirs.trace(80) and ours.trace(81) == theirs.trace(81)
    found = differences(group)
    assert (found.kind, found.height, found.again) == ("state", 75, 81)
    assert "From block 81 on they agree again" in found.words


def test_within_a_round_a_difference_stays_in_the_traces(group):
    sabotage(group, THEIRS, at(65, BALANCE, WRONG, "alice"))
    sabotage(group, THEIRS, at(66, BALANCE, None, "alice"))
    run_to(group, 79)
    ours, theirs = state_of(group), state_of(group, THEIRS)
    assert [h for h in range(60, 80) if ours.trace(h) != theirs.trace(h)] == list(range(65, 80))


def test_a_difference_that_went_away_and_came_again_is_there(group):
    for height, value in ((75, WRONG), (78, None), (95, WRONG)):
        sabotage(group, THEIRS, at(height, BALANCE, value, "alice"))
    run_to(group, 98)
    found = differences(group)
    assert (found.height, found.again) == (75, None) and "agree again" not in found.words


def test_blocks_that_one_side_applied_meanwhile_are_not_compared(group):
    sabotage(group, THEIRS, at(75, BALANCE, WRONG, "alice"))
    run_to(group, 80)

    class Slower(StateSide):
        async def span(self):
            return 21, 70

    found = asyncio.run(compare(StateSide(state_of(group)), Slower(state_of(group, THEIRS)), group.genesis))
    assert (found.kind, found.newest) == ("equal", 70)


def test_a_block_that_did_much_otherwise_names_the_first_ten(group):
    def change(view, height):
        if height == 75:
            for number in range(30):
                view.put(BALANCE, WRONG, f"account{number:02}")

    sabotage(group, THEIRS, change)
    run_to(group, 76)
    assert [entry.key for entry in differences(group).entries] == [[f"account{number:02}"] for number in range(10)]


def test_words_of_a_stranger_do_not_play_with_the_terminal(group):
    def change(view, height):
        if height == 75:
            view.put(NODE, replace(view.need(NODE, "runner03"), domain="\x1b[31m\x9bred"), "runner03")

    sabotage(group, THEIRS, change)
    run_to(group, 76)
    words = differences(group).words
    assert words.isprintable() and words.isascii() and "[31m" in words


def test_more_than_one_page_of_traces(group, tmp_path):
    run_to(group, 150)
    sabotage(group, THEIRS, at(155, BALANCE, WRONG, "alice"))
    run_to(group, 250)
    assert over_http(group, tmp_path).height == 155


def test_a_node_that_is_ahead_is_compared_as_far_as_ours_goes(group):
    run_to(group, 90)
    store = MemoryStore()
    state = state_of(group)
    state.flush()
    store.write(list(state._store.iterate(b"")), sync=True)
    sabotage(group, THEIRS, at(95, BALANCE, WRONG, "alice"))
    run_to(group, 100)
    behind = StateSide(State(store, group.genesis.hash, round_length=20))
    found = asyncio.run(compare(behind, StateSide(state_of(group, THEIRS)), group.genesis))
    assert (found.kind, found.height) == ("equal", 90)


# -- older than the traces


@pytest.fixture
def short(tmp_path):
    """Traces of 30 blocks."""
    document = document_of()
    group = group_of(tmp_path, document)
    for node in group.nodes.values():
        node.state._history._keep = 30
    return group


def test_a_difference_older_than_the_traces_is_found_by_the_trees(short, tmp_path):
    sabotage(short, THEIRS, at(45, BALANCE, WRONG, "runner03"))
    sabotage(short, THEIRS, at(45, PARAM, Parameter(1), "max_queue"))
    run_to(short, 105)
    for found in (differences(short), over_http(short, tmp_path)):
        assert (found.kind, found.height, found.tables) == ("older", 100, ["balance", "param"])
        assert (found.table, found.key, found.theirs) == ("balance", ["runner03"], {"liquid": 666})
        assert found.entries[1].key == ["max_queue"] and found.entries[1].theirs == {"value": 1}
        assert found.entries[1].ours == {"value": state_of(short).need(PARAM, "max_queue").value}
        assert found.words.startswith("they differ since before block 76. After block 100 these tables differ")


def test_a_key_that_only_the_peer_has_is_named_if_another_table_of_ours_has_it(short):
    sabotage(short, THEIRS, at(45, BALANCE, WRONG, "runner03"))
    sabotage(short, THEIRS, at(46, BALANCE, WRONG, "somebody-else"))
    run_to(short, 105)
    assert state_of(short).get(NODE, "runner03") and not state_of(short).get(BALANCE, "runner03")
    entries = {entry.k: entry for entry in differences(short).entries}
    known, unknown = (hashlib.sha256(BALANCE.key((name,))).hexdigest() for name in ("runner03", "somebody-else"))
    assert entries[known].key == ["runner03"] and entries[known].ours is None
    assert entries[unknown].key is None and entries[unknown].theirs.startswith("unknown, sha256 ")


def test_trees_at_different_rounds_cannot_be_walked(short):
    sabotage(short, THEIRS, at(45, BALANCE, WRONG, "runner03"))
    run_to(short, 105)
    state_of(short, THEIRS).rewind(95)
    found = differences(short)
    assert found.kind == "older" and found.table is None
    assert "their trees stand at 100 and 80: ask again when both are live" in found.words


def test_without_a_common_block_the_roots_decide(short):
    run_to(short, 101)
    with_roots = StateSide(state_of(short))

    class Restored(StateSide):
        async def span(self):
            return 101, 100

    theirs = Restored(state_of(short, THEIRS))
    found = asyncio.run(compare(with_roots, theirs, short.genesis))
    assert (found.kind, found.height, found.oldest) == ("equal", 100, -1)

    class Rootless(Restored):
        async def root(self, height):
            raise self._lacks("none")

    with pytest.raises(PeerError, match="no block and no root in common"):
        asyncio.run(compare(with_roots, Rootless(state_of(short, THEIRS)), short.genesis))


def test_what_goes_away_meanwhile_is_asked_anew(group):
    run_to(group, 90)

    class Pruning(StateSide):
        turns = 0

        async def traces(self, first):
            self.turns += 1
            if self.turns == 1:
                raise self._lacks("pruned meanwhile")
            return await super().traces(first)

    theirs = Pruning(state_of(group, THEIRS))
    assert asyncio.run(compare(StateSide(state_of(group)), theirs, group.genesis)).kind == "equal"


def test_a_comparison_has_a_time_limit(group, monkeypatch):
    run_to(group, 50)
    monkeypatch.setattr(differ, "SECONDS", 0.05)

    class Slow(StateSide):
        async def traces(self, first):
            await asyncio.sleep(60)

    with pytest.raises(PeerError, match="try another node"):
        asyncio.run(compare(StateSide(state_of(group)), Slow(state_of(group)), group.genesis))


# -- liars


def edited(part, edit):
    """A lie about the answers whose path begins with ``part``."""

    def lie(path, answer):
        if path.startswith(part):
            edit(answer)
        return answer

    return lie


def drop(answer):
    answer["changes"].pop()


def add(answer):
    answer["changes"].append(["node", "91a161", None])


def twice(answer):
    answer["changes"].append(answer["changes"][-1])


def other_trace(answer):
    answer["trace"] = "11" * 32


def other_before(answer):
    answer["before"] = "11" * 32


def other_id(answer):
    answer["block_id"] = "11" * 20


@pytest.mark.parametrize("edit", [drop, add, twice, other_trace, other_before, other_id])
def test_a_peer_that_lies_about_its_changes(group, tmp_path, edit):
    sabotage(group, THEIRS, at(75, BALANCE, WRONG, "alice"))
    run_to(group, 80)
    with pytest.raises(PeerLiesError, match=r"^http://127.*changes of block 75|about its changes"):
        over_http(group, tmp_path, edited("/v1/changes/", edit))


def test_a_trace_made_up_is_no_difference(group, tmp_path):
    """The peer's state is ours: what it did has another trace than it names."""
    run_to(group, 80)

    def edit(answer):
        for trace in answer["traces"]:
            if trace[0] >= 75:
                trace[2] = "22" * 32

    with pytest.raises(PeerLiesError, match="not those of the trace that it listed"):
        over_http(group, tmp_path, edited("/v1/trace/", edit))


def test_a_block_id_made_up_is_no_difference_of_the_feeds(group, tmp_path):
    sabotage(group, THEIRS, at(75, BALANCE, WRONG, "alice"))
    run_to(group, 80)

    def edit(answer):
        for trace in answer["traces"]:
            trace[1] = "33" * 20

    with pytest.raises(PeerLiesError, match="not those of the trace that it listed"):
        over_http(group, tmp_path, edited("/v1/trace/", edit))


def test_a_chain_of_traces_that_hangs_on_nothing(group):
    """Changes that fit their trace, which does not stand on the trace before."""
    run_to(group, 80)
    ours = StateSide(state_of(group))

    class Forger(StateSide):
        name = "forger"

        def accuse(self, reason):
            return PeerLiesError(self.name, reason)

        async def changes(self, height):
            found = await super().changes(height)
            before = b"\5" * 32
            return found._replace(before=before, trace=differ.trace_of(before, found.block_id, found.changed))

        async def traces(self, first):
            found = await super().traces(first)
            return [
                one._replace(trace=(await self.changes(one.height)).trace) if one.height >= 75 else one for one in found
            ]

    with pytest.raises(PeerLiesError, match="does not stand on its trace of the block before"):
        asyncio.run(compare(ours, Forger(state_of(group)), group.genesis))


def test_an_entry_twice_in_changes_that_fit_their_trace(group):
    sabotage(group, THEIRS, at(80, BALANCE, WRONG, "alice"))
    run_to(group, 80)

    class Doubler(StateSide):
        async def changes(self, height):
            found = await super().changes(height)
            changed = [*found.changed, found.changed[-1]]
            return found._replace(changed=changed, trace=differ.trace_of(found.before, found.block_id, changed))

        async def traces(self, first):
            found = await super().traces(first)
            return [*found[:-1], found[-1]._replace(trace=(await self.changes(found[-1].height)).trace)]

    with pytest.raises(StoreDamagedError, match="name an entry twice"):
        asyncio.run(compare(StateSide(state_of(group)), Doubler(state_of(group, THEIRS)), group.genesis))


def wrong_top(answer):
    if "tables" in answer:
        answer["tables"][0][1] = "11" * 32


def wrong_root(answer):
    answer["root"] = "11" * 32


def wrong_slot(answer):
    if "hashes" in answer:
        answer["hashes"] = ["11" * 32] * 31
        answer["kinds"] = [2] * 31


def one_below(answer):
    """A page whose one slot takes the hash of the whole: it can be explained by nothing below."""
    if "hashes" in answer and answer["path"] == "":
        top = answer["hashes"][0]
        answer["hashes"] = ["00" * 32] * 30 + [top]
        answer["kinds"] = [0] * 30 + [1]


def wrong_entry(answer):
    if "entries" in answer:
        answer["entries"][0][1] = "11" * 32


def no_page(answer):
    if "hashes" in answer:
        answer["kinds"] = [0] * 31


@pytest.mark.parametrize(
    ("part", "edit"),
    [("/v1/tree/100", wrong_top), ("/v1/roots/", wrong_root), ("/v1/tree/100/balance", wrong_slot),
     ("/v1/tree/100/balance", one_below), ("/v1/tree/100/balance", wrong_entry), ("/v1/tree/100/balance", no_page)],
)  # fmt: skip
def test_a_peer_that_lies_about_its_trees(short, tmp_path, part, edit):
    sabotage(short, THEIRS, at(45, BALANCE, WRONG, "runner03"))
    run_to(short, 105)
    with pytest.raises(PeerError) as lying:
        over_http(short, tmp_path, edited(part, edit))
    assert edit is one_below or isinstance(lying.value, PeerLiesError)


def test_a_store_of_ours_that_does_not_hold_together_is_said_to_be_ours(group):
    sabotage(group, THEIRS, at(75, BALANCE, WRONG, "alice"))
    run_to(group, 80)
    state = state_of(group)
    found = state.undo(75)
    state._history.undo = lambda height: found._replace(before=bytes(32)) if height == 75 else found
    with pytest.raises(StoreDamagedError, match="our own state does not hold together"):
        differences(group)


def test_a_damaged_tree_under_equal_traces(group):
    """What the blocks did is the same, the roots are not: the trees say where."""
    run_to(group, 59)
    tree = state_of(group, THEIRS)._forest._trees["param"]
    tree.update([(hashlib.sha256(PARAM.key(("max_queue",))).digest(), b"\7" * 32)])
    run_to(group, 85)
    found = differences(group)
    assert (found.kind, found.table, found.key) == ("older", "param", ["max_queue"])
    assert "the roots before block 61 differ, the traces do not: one of the two stores is damaged" in found.words
    assert found.theirs.startswith("changed since, sha256 0707")


# -- pages beside buckets


class Entries:
    """A side with one table, whose tree saw ``first`` entries before it came to those it has now."""

    name = "somebody"

    def __init__(self, first, now):
        self.written = {}
        self.tree = Tree(self.written.get, self.written.__setitem__)
        self.tree.update(first)
        left = dict(first)
        gone = [(k, None) for k in left.keys() - dict(now).keys()]
        self.tree.update(gone + [(k, v) for k, v in now if left.get(k) != v])
        assert self.tree.root() == root_of(sorted(now))

    def accuse(self, reason):
        return PeerLiesError(self.name, reason)

    async def branch(self, height, table, path):
        page = self.tree.find_page(path)
        if page is None:
            return self.tree.find_bucket(path) or []
        hashes = [page[place : place + 32] for place in range(31, len(page), 32)]
        return Page(tuple(page[15:31]), tuple(hashes[15:]))


def entries_of(count, salt=b""):
    return [(hashlib.sha256(salt + str(n).encode()).digest(), bytes([n % 251]) * 32) for n in range(count)]


def walked(one, other, most=10):
    walk = Walk(one, other, 100, lambda words: None)
    return asyncio.run(walk.differing("node", one.tree.root(), other.tree.root(), most))


def test_where_one_side_has_a_page_and_the_other_a_bucket():
    """A bucket that grew over 32 became a page, and stays one when it shrinks again."""
    few, many = entries_of(40), entries_of(900)
    paged, bucketed = Entries(many, few), Entries([], few)
    assert walked(paged, bucketed) == [] and len(paged.written) > len(bucketed.written)
    other = Entries(many, [*few[:-1], (few[-1][0], b"\xee" * 32)])
    for one, two in ((other, bucketed), (bucketed, other)):
        [found] = walked(one, two)
        assert found.k == few[-1][0] and b"\xee" * 32 in (found.ours, found.theirs)


def test_one_entry_against_none_and_the_ends_of_a_table():
    one, none = Entries([], entries_of(1)), Entries([], [])
    assert [(d.ours, d.theirs) for d in walked(one, none)] == [(bytes(32), None)]
    assert [(d.ours, d.theirs) for d in walked(none, one)] == [(None, bytes(32))]
    assert walked(none, none) == []


@pytest.mark.parametrize("branch", [
    [(b"\1" * 32, bytes(32))] * 2,  # one key twice has no root
    [(b"\x11" * 32, bytes(32)), (b"\x01" * 32, bytes(32))],
    [(b"\x21" * 32, bytes(32))],  # lies elsewhere
    Page((3,) * 16, (bytes(32),) * 16),
    Page((0,) * 16, (b"\1" * 32,) * 16),
    Page((1,) * 16, (bytes(32),) * 16),
])  # fmt: skip
def test_what_no_tree_holds(branch):
    honest, liar_side = Entries([], entries_of(100)), Entries([], entries_of(100, b"x"))
    real = liar_side.branch

    async def lie(height, table, path):
        return branch if len(path) == 1 else await real(height, table, path)

    liar_side.branch = lie
    with pytest.raises(PeerLiesError, match="has not the hash that stands above it"):
        walked(honest, liar_side)


def test_no_more_than_so_many_are_named():
    one, other = Entries([], entries_of(2_000)), Entries([], entries_of(2_000, b"x"))
    found = walked(one, other, 10)
    assert len(found) == 10 and [d.k for d in found] == sorted(d.k for d in found)


def test_the_number_of_requests_is_bounded(monkeypatch):
    monkeypatch.setattr("node.sync.walk.MOST_REQUESTS", 3)
    one, other = Entries([], entries_of(3_000)), Entries([], entries_of(3_000, b"x"))
    assert walked(one, other) == []
