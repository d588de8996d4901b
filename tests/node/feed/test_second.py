"""What one operator alone cannot make a node believe, and how it leaves a fork that one led it onto."""

import asyncio

import pytest

from node.errors import ApiError, FeedError, NotLinkedError
from node.feed.second import Second
from node.feed.source import read_proven
from tests.node.feed.forked import PARTING, Node, two_chains
from tests.node.feed.many import RANGE, VIEW, Many, chain_of, lacking, ranges_of

BLOCKS = 60


@pytest.fixture(scope="module")
def chains():
    return two_chains(BLOCKS)


def misled(folder, chains, **how):
    """A node that the first server led to the end of the dead fork, a block before the head of the true chain."""
    node = Node(folder, chains, **how)
    node.serve(0, node.dead)
    node.turn()
    assert node.is_on(node.dead) and node.height == BLOCKS - 1
    return node


def silence(node, *indexes):
    for index in indexes:
        for method in (VIEW, RANGE):
            node.apis[index].answers[method] = ApiError("silence")


def longer(chains, blocks=3):
    """The true chain some blocks later; the given one stays."""
    found, _ = two_chains(BLOCKS + blocks)
    assert found.block(BLOCKS).id == chains[0].block(BLOCKS).id
    return found


# -- the first block


def first(many, number=20):
    second = Second(many.feed, many.chain.chain, lambda *told: None, read_proven)
    return asyncio.run(second.first_block(number))


@pytest.fixture(scope="module")
def paid():
    return chain_of(31)


def test_a_server_that_cannot_give_the_first_block_is_passed_over(paid):
    many = Many(paid, "north", "south", "east")
    many.apis[0].answers[RANGE] = ApiError("silence")
    assert first(many).id == many.id_of(20)
    assert many.standing() == ["cooling", "good", "good"]


def test_one_that_lies_about_it_is_banned_and_the_others_are_asked(paid):
    many = Many(paid, "north", "south", "east")
    many.apis[0].answers[RANGE] = ranges_of(paid, lacking({20}))
    assert first(many).id == many.id_of(20)
    assert many.standing() == ["banned", "good", "good"] and len(many.kept) == 1


def test_with_one_operator_left_it_waits(paid):
    many = Many(paid, "north", "south")
    many.apis[0].answers[RANGE] = ApiError("silence")
    with pytest.raises(ApiError, match="one does not answer"):
        first(many)


# -- confirming


def test_who_called_a_block_irreversible_cannot_confirm_it_through_a_second_server(tmp_path, chains):
    node = Node(tmp_path, chains, operators=("north", "north"))
    node.core.newest_to_sign = lambda: 0
    node.runtime.second.remember(40, chains[0].block(40).id, "north")
    asyncio.run(node.runtime.second.confirm(40, 40))
    assert node.runtime.second.confirmed == -1


def test_two_operators_on_the_true_chain_do_not_confirm_the_dead_one(tmp_path, chains):
    node = misled(tmp_path, chains)
    with pytest.raises(NotLinkedError, match="east, south have other irreversible blocks than ours"):
        asyncio.run(node.runtime.second.confirm(node.height, node.height))
    assert node.runtime.second.confirmed == -1
    assert {told["server"] for told in node.told("servers_differ")} == {"http://south1", "http://east2"}


def test_what_is_confirmed_is_not_beyond_what_the_other_calls_irreversible(tmp_path, chains):
    node = Node(tmp_path, chains)
    node.turn()
    node.claims(1, 41)
    node.claims(2, 43)
    asyncio.run(node.runtime.second.confirm(node.height, 42))
    assert node.runtime.second.confirmed == 43


def test_after_a_rewind_nothing_above_counts_as_confirmed(tmp_path, chains):
    node = Node(tmp_path, chains)
    node.turn()
    asyncio.run(node.runtime.second.confirm(node.height, node.height))
    assert node.runtime.second.confirmed == BLOCKS - 1
    node.runtime.second.forget_from(40)
    assert node.runtime.second.confirmed == 40
    assert max(node.runtime.second._recent) == 40


def test_only_so_many_blocks_are_remembered(tmp_path, chains):
    second = Node(tmp_path, chains).runtime.second
    for number in range(10_000):
        second.remember(number, bytes(20), "north")
    assert len(second._recent) == 128


# -- which block most have


@pytest.mark.parametrize(
    ("operators", "on_dead", "votes"),
    [
        (("north", "south", "east"), {0}, (2, "true")),
        (("north", "south", "east"), {0, 1}, (2, "dead")),
        (("north", "south"), {0}, (1, None)),
        (("north", "north"), set(), None),
        (("north", "north", "south"), {0, 1}, (1, None)),
        (("north", "south", "east", "west"), {0, 1}, (2, "true")),
    ],
)
def test_each_operator_has_one_voice_and_one_is_no_answer(tmp_path, chains, operators, on_dead, votes):
    node = Node(tmp_path, chains, operators=operators)
    for index in on_dead:
        node.serve(index, chains[1])
    ours = chains[0].block(40).id
    found = asyncio.run(node.runtime.second.id_of(40, lambda number: ours))
    if votes is None:
        assert found is None
    else:
        assert found[0] == votes[0]
        if votes[1] is not None:
            assert found[1] == chains[votes[1] == "dead"].block(40).id


def test_servers_that_rest_are_asked_too_and_banned_ones_are_not(tmp_path, chains):
    node = Node(tmp_path, chains)
    _north, south, east = node.runtime.servers
    node.runtime.servers.failed(south, "its block does not follow ours")
    node.runtime.servers.failed(east, "its block does not follow ours")
    assert asyncio.run(node.runtime.second.id_of(40, lambda number: None))[0] == 3
    node.runtime.servers.ban(south, "a lie")
    node.runtime.servers.ban(east, "a lie")
    assert asyncio.run(node.runtime.second.id_of(40, lambda number: None)) is None


# -- leaving a dead fork


def test_misled_it_goes_back_once_two_other_operators_agree_and_goes_on(tmp_path, chains):
    node = misled(tmp_path, chains)
    silence(node, 0)
    for index in (1, 2):
        node.serve(index, longer(chains))
    node.turn(2)
    [told] = node.told("rewound")
    assert told["height"] <= PARTING and told["height"] >= 20
    node.turn(3, pause=5.0)
    assert node.height == BLOCKS + 2
    assert node.core.state.head.block_id == longer(chains).block(BLOCKS + 2).id
    assert len(node.told("rewound")) == 1


def test_the_one_that_led_it_there_does_not_lead_it_there_again(tmp_path, chains):
    node = misled(tmp_path, chains)
    node.claims(0, BLOCKS - 1)
    for index in (1, 2):
        node.serve(index, longer(chains))
    node.runtime.servers.failed(next(iter(node.runtime.servers)), "silence")  # the others are asked for a moment
    node.turn(12, pause=5.0)
    assert node.height == BLOCKS + 2 and len(node.told("rewound")) == 1
    [told] = node.told("server_banned")
    assert told["operator"] == "north" and f"block {BLOCKS - 1} is irreversible there" in told["why"]


def test_one_that_was_misled_itself_and_came_back_is_not_banned(tmp_path, chains):
    node = misled(tmp_path, chains)
    for index in (0, 1, 2):
        node.serve(index, longer(chains))
    node.turn(6, pause=5.0)
    assert node.height == BLOCKS + 2 and len(node.told("rewound")) == 1
    assert not node.told("server_banned")


def test_on_one_operators_word_it_never_goes_back(tmp_path, chains):
    node = misled(tmp_path, chains)
    silence(node, 0, 2)
    node.serve(1, longer(chains))
    before = node.core.state.head
    node.turn(10, pause=5.0)
    assert node.core.state.head == before and not node.told("rewound")


def test_nor_on_the_word_of_one_operator_with_two_servers(tmp_path, chains):
    node = misled(tmp_path, chains, operators=("north", "south", "south"))
    silence(node, 0)
    for index in (1, 2):
        node.serve(index, longer(chains))
    before = node.core.state.head
    node.turn(10, pause=5.0)
    assert node.core.state.head == before and not node.told("rewound")


def test_an_honest_node_is_not_led_back_by_one_liar(tmp_path, chains):
    node = Node(tmp_path, chains)
    node.turn()
    assert node.is_on(node.true)
    _, dead = two_chains(BLOCKS + 3)
    node.serve(0, dead)
    node.turn(10, pause=5.0)
    assert not node.told("rewound") and node.is_on(node.true)


def test_where_the_fork_is_older_than_what_can_be_undone_it_stops_and_nothing_changes(tmp_path):
    chains = two_chains(140)
    node = Node(tmp_path, chains, trace_keep=100)
    node.serve(0, node.dead)
    node.turn()
    assert node.is_on(node.dead) and node.core.state.oldest_rewind > PARTING
    silence(node, 0)
    for index in (1, 2):
        node.serve(index, two_chains(143)[0])
    before, root = node.core.state.head, node.core.state.current_root()
    with pytest.raises(NotLinkedError):
        node.turn(4, pause=5.0)
    assert node.core.state.head == before and node.core.state.current_root() == root
    assert not node.told("rewound")


def test_it_does_not_go_back_before_its_beginning(tmp_path):
    chains = two_chains(BLOCKS, parting=10)
    with pytest.raises(FeedError, match="differ about block 20"):
        misled(tmp_path, chains)


def test_meanwhile_it_signs_nothing(tmp_path, chains):
    """On the dead fork a record could be signed: no other operator has that fork, so nothing is confirmed."""
    node = misled(tmp_path, chains)
    node.core.newest_to_sign = lambda: node.height - 5
    stepped = []
    step = node.core.step

    def watched(view, denied, **more):
        stepped.append(more.get("confirmed"))
        return step(view, denied, **more)

    node.core.step = watched
    _, dead = two_chains(BLOCKS + 2)
    node.serve(0, dead)
    node.turn(3)
    assert all(confirmed == -1 for confirmed in stepped), "nothing is signed there"
    assert node.told("rewound"), "a fork that one server keeps extending is left as well"
    assert node.core.state.head.block_id != dead.block(node.height).id


def test_while_the_others_cannot_be_asked_it_waits_and_does_not_stop(tmp_path, chains):
    node = misled(tmp_path, chains)
    for index in (0, 1, 2):
        node.serve(index, longer(chains))
    calls = []

    async def nobody(number, ours):
        calls.append(number)

    id_of, node.runtime.second.id_of = node.runtime.second.id_of, nobody
    node.turn(3, pause=5.0)
    assert calls and not node.told("rewound")
    node.runtime.second.id_of = id_of
    node.turn(6, pause=5.0)
    assert len(node.told("rewound")) == 1 and node.height == BLOCKS + 2


# -- what a server calls irreversible and is not there


@pytest.mark.parametrize("beyond", [3, 1_000, 2**31])
def test_a_server_that_names_blocks_which_nobody_has_does_not_keep_the_node_from_acting(tmp_path, chains, beyond):
    node = Node(tmp_path, chains)
    node.claims(0, BLOCKS + beyond)
    node.turn(12)
    assert node.height >= BLOCKS - 1
    for index in (1, 2):
        node.serve(index, longer(chains, 1))
    acted = []
    node.core.step = lambda view, denied, **more: acted.append(view.irreversible_number) or []
    for blocks in range(2, 6):
        for index in (1, 2):
            node.serve(index, longer(chains, blocks))
        node.turn(3)
    assert node.height == BLOCKS + 4
    assert acted and all(number < BLOCKS + 6 for number in acted)


# -- times


def test_a_block_that_is_not_later_is_blamed_on_who_gave_it(tmp_path):
    chains = two_chains(BLOCKS)
    chains[0].produce(chains[0].head_time)
    chains[0].produce()
    node = Node(tmp_path, chains)
    node.apis[0].answers[RANGE] = ApiError("silence")
    node.turn()
    node.turn()
    assert node.height == BLOCKS
    assert "north" not in {told["operator"] for told in node.told("server_banned")}


# -- nobody left


def test_with_every_server_banned_the_node_says_so_goes_on_trying_and_comes_back(tmp_path, chains):
    node = Node(tmp_path, chains)
    node.turn()
    chain = longer(chains)

    def renamed(index):
        return lambda number, block: {**block, "block_id": f"{number:08x}" + f"{index:02x}" * 16}

    for index, api in enumerate(node.apis):
        node.serve(index, chain)
        api.answers[RANGE] = ranges_of(chain, renamed(index))
    node.turn(20, pause=10.0)
    assert node.height == BLOCKS - 1 and node.is_on(node.true)
    assert {told["operator"] for told in node.told("server_banned")} == {"north", "south", "east"}
    assert {facts.standing for facts in node.runtime.facts().servers} == {"banned"}
    assert "no server can be asked now" in node.told("api_error")[-1]["error"]
    for api in node.apis:
        del api.answers[RANGE]
    node.turn(80, pause=10.0)
    assert node.height == BLOCKS + 2
