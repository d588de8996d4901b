"""A feed over several servers: whatever one of them does, blocks come once, in order, linked and proven."""

import asyncio

import pytest

from node.errors import ApiError, LieError, NobodyError, NotLinkedError
from node.feed.source import MAX_BATCH, chain_view
from tests.node.feed.many import RANGE, VIEW, Many, chain_of, lacking, ranges_of, strange

LAST = 60


@pytest.fixture(scope="module")
def chain():
    return chain_of(LAST + 1)


@pytest.fixture
def many(chain):
    return Many(chain, "north", "south", "east")


def dying(chain, alive, most=7):
    """Answers so many questions for ranges, each with few blocks, then none."""
    answer, left = ranges_of(chain, most=most), [alive]

    def range_or_death(params):
        left[0] -= 1
        if left[0] < 0:
            raise ApiError("http://x: connection refused")
        return answer(params)

    return range_or_death


# -- fail-over


def test_all_from_the_one_that_was_named(many):
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    assert set(many.feed.givers.values()) == {"north"}


@pytest.mark.parametrize("alive", [0, 1, 2, 5])
def test_a_server_that_dies_in_the_middle_of_a_range_breaks_neither_order_nor_links(many, chain, alive):
    many.apis[0].answers[RANGE] = dying(chain, alive)
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    assert many.standing() == ["cooling", "good", "good"]
    givers = [many.feed.givers[number] for number in range(2, LAST + 1)]
    assert givers == ["north"] * 7 * alive + ["south"] * (len(givers) - 7 * alive)


def test_two_that_die_one_after_the_other(many, chain):
    many.apis[0].answers[RANGE], many.apis[1].answers[RANGE] = dying(chain, 2), dying(chain, 3)
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    assert many.standing() == ["cooling", "cooling", "good"]


def test_when_all_die_what_came_is_kept_and_the_next_try_goes_on(many, chain):
    for api in many.apis:
        api.answers[RANGE] = dying(chain, 1)
    found, error = many.fetch(2, LAST)
    assert isinstance(error, NobodyError) and many.is_true(found, 2, 22)
    for api in many.apis:
        del api.answers[RANGE]
    many.clock.now += 2.0
    rest, error = many.fetch(23, LAST)
    assert error is None and many.is_true(rest, 23, LAST)


@pytest.mark.parametrize(
    "answer",
    [{"blocks": []}, {"blocks": None}, {}, None, 5, {"blocks": [{}] * (MAX_BATCH + 1)}],
    ids=["no blocks", "null", "empty", "nothing", "a number", "too many"],
)
def test_an_answer_that_is_no_range_is_a_failure_and_no_lie(many, answer):
    many.apis[0].answers[RANGE] = lambda params: answer
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    assert many.standing()[0] == "cooling" and not many.told("server_banned")


def test_other_blocks_than_asked_for_are_a_failure_and_no_lie(many, chain):
    answer = ranges_of(chain)
    many.apis[0].answers[RANGE] = lambda params: answer({**params, "starting_block_num": 1})
    found, error = many.fetch(5, LAST)
    assert error is None and many.is_true(found, 5, LAST)
    assert many.standing()[0] == "cooling" and not many.told("server_banned")


# -- lies


@pytest.mark.parametrize("at", [2, 3, 30, LAST])
def test_a_liar_is_banned_with_evidence_and_its_block_never_leaves_the_feed(many, chain, at):
    many.apis[0].answers[RANGE] = ranges_of(chain, lacking({at}))
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    assert all(block.transactions for block in found)
    [told] = many.told("server_banned")
    assert (told["server"], told["operator"], told["seconds"]) == ("http://north0", "north", 600)
    assert f"block {at} is refused" in told["why"] and len(told["evidence"]["sha256"]) == 64
    [(name, evidence)] = many.kept.items()
    assert name == told["kept_as"] == f"lie-{at}-north" and b'"transactions":[]' in evidence.replace(b" ", b"")
    assert [many.feed.givers[number] for number in (at, LAST)] == ["south", "south"]


def renamed(at, tail):
    """A change that gives a block another id than its header's."""
    return lambda number, block: {**block, "block_id": f"{at:08x}{tail}"} if number == at else block


def test_a_false_id_is_a_lie(many, chain):
    many.apis[0].answers[RANGE] = ranges_of(chain, renamed(9, "11" * 16))
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    assert many.standing()[0] == "banned"


def test_two_liars_and_one_honest_server(many, chain):
    many.apis[0].answers[RANGE] = ranges_of(chain, lacking({10}))
    many.apis[1].answers[RANGE] = ranges_of(chain, lacking({10, 20}))
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    assert many.standing() == ["banned", "banned", "good"]


def test_where_all_lie_nothing_false_is_taken_and_the_node_goes_on_trying(many, chain):
    for index, api in enumerate(many.apis):
        api.answers[RANGE] = ranges_of(chain, renamed(10, f"{index:02x}" * 16))
    found, error = many.fetch(2, LAST)
    assert isinstance(error, NobodyError) and many.is_true(found, 2, 9)
    assert many.standing() == ["banned"] * 3
    assert "[[api]]" in str(error) and "block 10 is refused" in str(error)
    many.clock.now += 601
    for api in many.apis:
        del api.answers[RANGE]
    rest, error = many.fetch(10, LAST)
    assert error is None and many.is_true(rest, 10, LAST)


def test_what_all_give_alike_and_we_cannot_prove_is_not_taken_and_bans_nobody(many, chain):
    """A hardfork may have changed how something is serialised: then every honest server gives what we refuse."""
    for api in many.apis:
        api.answers[RANGE] = ranges_of(chain, lacking({10}))
    found, error = many.fetch(2, LAST)
    assert isinstance(error, NobodyError) and many.is_true(found, 2, 9)
    assert many.standing() == ["good"] * 3
    [told] = many.told("block_refused")
    assert (told["height"], told["operators"]) == (10, ["east", "north", "south"]) and "newer version" in told["why"]
    assert list(many.kept) == ["refused-10"]
    del many.apis[1].answers[RANGE]
    rest, error = many.fetch(10, LAST)
    assert error is None and many.is_true(rest, 10, LAST)
    assert many.standing()[0] == "banned", "one gives a block in its place that can be proven"


def test_another_server_of_the_same_operator_vouches_for_no_lie(chain):
    many = Many(chain, "north", "north")
    for api in many.apis:
        api.answers[RANGE] = ranges_of(chain, lacking({10}))
    many.fetch(2, LAST)
    assert many.standing() == ["banned"] * 2


def test_a_block_that_its_witness_did_not_sign_is_a_lie(many, chain):
    """Here the check is a stand-in: test_watch.py has the real one."""
    forged = "aa" * 32

    async def check(server, given):
        if forged.encode() in given.text:
            raise LieError("not signed by its witness", 33, given.text)

    def forging(number, block):
        return {**block, "signing_key": forged} if number == 33 else block

    for api in many.apis[:2]:
        api.answers[RANGE] = ranges_of(chain, forging)

    many.feed.check_witness = check
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    assert many.standing() == ["banned", "banned", "good"] and len(many.kept) == 2
    assert many.feed.givers[33] == "east"


# -- another chain


def test_a_server_on_a_fork_is_left_and_not_banned(many):
    many.apis[0].answers[RANGE] = ranges_of(chain_of(LAST, shift=1))
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    assert many.standing() == ["cooling", "good", "good"] and not many.kept


def test_two_operators_whose_blocks_do_not_follow_ours_are_told_apart_from_one(many):
    fork = chain_of(LAST, shift=1)
    found, error = many.fetch(2, LAST, previous=fork.block(1).id)
    assert isinstance(error, NotLinkedError) and found == []


def test_two_servers_of_one_operator_are_one_stranger(chain):
    many = Many(chain, "north", "north")
    found, error = many.fetch(2, LAST, previous=chain_of(1, shift=1).block(1).id)
    assert isinstance(error, NobodyError) and found == []


# -- what we cannot serialise: our fault


def test_an_unknown_operation_that_two_operators_give_alike_is_taken_without_a_ban(many, chain):
    for api in many.apis:
        api.answers[RANGE] = ranges_of(chain, strange({20}))
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    assert many.standing() == ["good"] * 3 and not many.kept
    [told] = many.told("unproven_block")
    assert told["height"] == 20 and told["operators"] == ["north", "south"] and "our limit" in told["why"]


def test_it_is_not_taken_on_the_word_of_one_operator_with_two_servers(chain):
    many = Many(chain, "north", "north")
    for api in many.apis:
        api.answers[RANGE] = ranges_of(chain, strange({20}))
    found, error = many.fetch(2, LAST)
    assert many.is_true(found, 2, 19)
    assert isinstance(error, NobodyError) and "no two servers of different operators give it alike" in str(error)


def test_two_operators_who_give_it_differently_are_not_believed(chain):
    many = Many(chain, "north", "south")
    for index, api in enumerate(many.apis):
        api.answers[RANGE] = ranges_of(chain, strange({20}, f"colonize_{index}_operation"))
    found, error = many.fetch(2, LAST)
    assert many.is_true(found, 2, 19) and isinstance(error, NobodyError)


def test_while_the_second_operator_is_silent_the_node_waits_and_does_not_stop(chain):
    many = Many(chain, "north", "south")
    many.apis[0].answers[RANGE] = ranges_of(chain, strange({20}))
    many.apis[1].answers[RANGE] = ApiError("http://south1: TimeoutError")
    found, error = many.fetch(2, LAST)
    assert many.is_true(found, 2, 19) and isinstance(error, NobodyError)
    many.apis[1].answers[RANGE] = ranges_of(chain, strange({20}))
    many.clock.now += 2
    rest, error = many.fetch(20, LAST)
    assert error is None and many.is_true(rest, 20, LAST)


@pytest.mark.parametrize("operators", [("north", "south"), ("north", "south", "east")])
def test_a_liar_cannot_hide_behind_an_unknown_operation(chain, operators):
    """He puts one into a block instead of what stands there: where another gives what can be proven, that counts."""
    many = Many(chain, *operators)
    many.apis[0].answers[RANGE] = ranges_of(chain, strange(set(range(20, 25))))
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    for block in found:
        block.prove()
    assert many.standing()[0] == "cooling" and not many.told("unproven_block")


def test_one_who_lies_about_such_a_block_is_banned(many, chain):
    many.apis[0].answers[RANGE] = many.apis[2].answers[RANGE] = ranges_of(chain, strange({20}))
    many.apis[1].answers[RANGE] = ranges_of(chain, lacking({20}))
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    assert many.standing() == ["good", "banned", "good"]


def test_the_witness_of_a_block_given_twice_is_asked_for_too(many, chain):
    judged = []

    async def check(server, given):
        judged.append((server.operator, given.block.number))

    many.feed.check_witness = check
    for api in many.apis:
        api.answers[RANGE] = ranges_of(chain, strange({20}))
    many.fetch(18, 22)
    assert [number for _, number in judged] == [18, 19, 20, 20, 21, 22]


# -- the view of the chain


def viewed(many, height=0, still_for=0.0):
    return asyncio.run(many.feed.view(height, still_for))


def test_the_best_server_is_asked_and_nobody_else(many):
    asked = []
    for api in many.apis[1:]:
        api.answers[VIEW] = lambda params: asked.append(params)
    server, view = viewed(many)
    assert server.operator == "north" and view.irreversible_number == LAST and not asked


@pytest.mark.parametrize("answer", [ApiError("silence"), None, 5, {"head_block_number": "x"}, []])
def test_one_that_cannot_say_is_passed_over_at_once(many, answer):
    many.apis[0].answers[VIEW] = lambda params: answer if not isinstance(answer, Exception) else raised(answer)
    server, _ = viewed(many)
    assert server.operator == "south" and many.standing()[0] == "cooling"
    assert many.told("api_error")[0]["server"] == "http://north0"


def raised(error):
    raise error


def test_one_that_is_behind_is_left_once_nothing_came_for_a_while(many):
    height = LAST - 1
    view = {**asyncio.run(many.apis[0].call(VIEW, {})), "last_irreversible_block_num": height}
    many.apis[0].answers[VIEW] = view
    assert viewed(many, height, 5.9)[0].operator == "north"
    server, found = viewed(many, height, 6.0)
    assert server.operator == "south" and found.irreversible_number == LAST
    assert [facts.behind for facts in many.servers.facts()][:2] == [1, 0]


def test_nobody_answers(many):
    for api in many.apis:
        api.answers[VIEW] = ApiError("silence")
    with pytest.raises(NobodyError):
        viewed(many)
    assert many.standing() == ["cooling"] * 3
    with pytest.raises(NobodyError, match="no server can be asked now"):
        viewed(many)


def test_a_question_that_is_called_off_is_not_counted_as_one_that_runs(many):
    async def main():
        async def never():
            await asyncio.Event().wait()

        server = many.server(0)
        asking = asyncio.create_task(many.feed.ask(server, never()))
        await asyncio.sleep(0)
        assert server.busy == 1
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert server.busy == 0
        await many.feed.ask(server, chain_view(server.api))
        assert server.busy == 0

    asyncio.run(main())
    assert many.standing()[0] == "good"


def test_a_header_of_a_later_hardfork_bans_nobody_and_waits(chain):
    """Two honest servers give what this version cannot read: it says so, and goes on asking."""
    many = Many(chain, "north", "south")
    for api in many.apis:
        usual = api.answers.get(RANGE) or ranges_of(chain)

        def later(params, usual=usual):
            found = usual(params)
            for block in found["blocks"]:
                if int(block["block_id"][:8], 16) == 20:
                    block["extensions"] = [["a_thing_of_later", {}]]
            return found

        api.answers[RANGE] = later
    found, error = many.fetch(2, LAST)
    assert many.is_true(found, 2, 19) and isinstance(error, NobodyError)
    assert "banned" not in many.standing()
