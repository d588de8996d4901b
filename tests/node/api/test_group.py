"""What members read of a node: governance, tokens, parameters, group transactions, rejections."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from node.api import group
from node.api.auth import Access
from node.devnet.group import VirtualGroup
from node.explain import explain
from node.governance import overview, parameters, tokens
from processors.params import BOUNDS, read
from processors.upgrades import RULES
from state.schema import MS, REJECTED
from tests.node.api.serving import ELSEWHERE, ServedNode, serving
from tests.node.api.test_v1 import asked
from tests.node.council import all_say, done, governed, out, propose, propose_change, say, seen, transfer
from tests.node.test_core import any_state, new_group

PATHS = ("/v1/governance", "/v1/tokens/alice", "/v1/parameters/20", "/v1/explain/p1", "/v1/rejected/20")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A group with an open proposal, a change to come, a rejected operation, and a payload that is out."""
    folder = tmp_path_factory.mktemp("group")
    members: VirtualGroup = governed(folder)
    all_say(members, "vote", id=propose_change(members, "large_delay", 77), yes=True)
    propose(members, transfer(memo="é"), by="runner03")
    txid = say(members, "runner01", "send", to="runner01", amount=1)
    seen(members)
    payload, op = out(members, transfer("2.000"))
    return SimpleNamespace(group=members, node=ServedNode(members, folder), payload=payload, op=op, txid=txid)


def plain(value):
    return msgspec.json.decode(msgspec.json.encode(value))


# -- content: the very value that commands read


def test_governance_is_what_the_state_shows(found, tmp_path):
    [(status, body)] = asked(found.node, tmp_path, "/v1/governance")
    state = found.node.state
    assert status == 200
    assert body == plain(overview(state, found.node.genesis, read(state.view())))
    assert body["height"] == state.height and body["seats"] == ["runner01", "runner02", "runner03"]
    assert body["proposals"][0]["ops"] == [transfer(memo="é")]
    assert [one["out"] for one in body["queue"]] == [found.op]


def test_tokens_of_a_member_and_of_whoever_has_none(found, tmp_path):
    member, nobody = asked(found.node, tmp_path, "/v1/tokens/runner01", "/v1/tokens/nobody-there")
    assert member == (200, plain(tokens(found.node.state, "runner01"))) and member[1]["locked"] == 1_000
    assert nobody[0] == 200 and nobody[1]["liquid"] == nobody[1]["locked"] == 0 and nobody[1]["moves"] == []


def test_parameters_at_any_height(found, tmp_path):
    height = found.node.state.height
    now, begun = asked(found.node, tmp_path, f"/v1/parameters/{height}", "/v1/parameters/0")
    assert now[0] == begun[0] == 200 and now[1]["height"] == height and begun[1]["height"] == 0
    assert now[1]["parameters"].keys() == {*BOUNDS, RULES}
    state = found.node.state
    assert now[1]["parameters"] == parameters(state, read(state.view()), height)


def test_a_transaction_by_its_id_its_payload_and_its_hive_id(found, tmp_path):
    txid = found.node.state.need(MS, found.op).txid.hex()
    names = (found.op, f"p{found.payload}", txid, txid[:8])
    expected = plain(explain(found.node.state, found.node.genesis, found.op))
    for status, body in asked(found.node, tmp_path, *(f"/v1/explain/{name}" for name in names)):
        assert status == 200 and body["found"] == [expected]
    [(_, body)] = asked(found.node, tmp_path, f"/v1/explain/p{found.payload}")
    assert (body["status"], body["words"]) == ("out", f"out in {found.op}")


def test_what_is_not_there_is_an_empty_answer_and_no_error(found, tmp_path):
    for name in ("p999", "1:2:3", "deadbeefdeadbeef", "p0", "x"):
        [(status, body)] = asked(found.node, tmp_path, f"/v1/explain/{name}")
        assert (status, body["found"], body["status"]) == (200, [], ""), name


def test_how_a_payload_ended(tmp_path):
    group = governed(tmp_path)
    number = propose(group, transfer())
    all_say(group, "vote", id=number, yes=True)
    end = done(group, overview(any_state(group), group.genesis, read(any_state(group).view())).decided[0].payload)
    [(_, body)] = asked(ServedNode(group, tmp_path), tmp_path, f"/v1/explain/p{overview_payload(group)}")
    assert body["found"] == [] and body["status"] == "confirmed" and end.txid.hex() in body["words"]


def overview_payload(group):
    state = any_state(group)
    return overview(state, group.genesis, read(state.view())).decided[0].payload


def test_rejections_of_a_block(found, tmp_path):
    state = found.node.state
    [height] = {int(height) for (height, _), one in state.walk(REJECTED) if one.txid == found.txid}
    here, before = asked(found.node, tmp_path, f"/v1/rejected/{height}", "/v1/rejected/1")
    assert here == (
        200,
        {"height": state.height, "rejected": [[found.txid.hex(), "runner01", "send", "to_self"]], "more": 0},
    )
    assert before[1]["rejected"] == []


# -- what is no question


@pytest.mark.parametrize("name", ["a", "ab", "Alice", "al_ice", "a" * 17, "alice.", "%C3%A9lise", "alice%20", "-alice"])
def test_what_is_no_account_name(found, tmp_path, name):
    [(status, body)] = asked(found.node, tmp_path, f"/v1/tokens/{name}")
    assert (status, body["error"], body["remedy"]) == (400, "bad_account", "write one, as in alice")


@pytest.mark.parametrize(
    "name", ["p7!", "%20p7", "a" * 41, "1:2:3%00", "%C3%A9", "1-2-3", "p7%0A", "%22", "..%2Fstatus", "p%C2%B2"]
)
def test_what_is_no_id(found, tmp_path, name):
    [(status, body)] = asked(found.node, tmp_path, f"/v1/explain/{name}")
    assert (status, body["error"]) == (400, "bad_id")
    assert "HEIGHT:NUM:PREFIX" in body["remedy"]
    assert len(body["message"]) < 400, "what was asked comes back only in part"


@pytest.mark.parametrize("path", ["/v1/parameters/", "/v1/rejected/"])
@pytest.mark.parametrize("number", ["-1", "1.0", "x", "01", "%31%20", "99999999999", "1e3", "%C2%B2"])
def test_what_is_no_height(found, tmp_path, path, number):
    [(status, body)] = asked(found.node, tmp_path, path + number)
    assert status == 400 and body["remedy"]


def test_parameters_that_are_not_there_yet(found, tmp_path):
    height = found.node.state.height
    [(status, body)] = asked(found.node, tmp_path, f"/v1/parameters/{height + 1}")
    assert (status, body["error"], body["remedy"]) == (404, "not_yet", f"ask for {height}")


def test_rejections_of_a_block_to_come_are_none_and_say_how_far_the_node_is(found, tmp_path):
    """A command asks again until the node is there."""
    [(status, body)] = asked(found.node, tmp_path, "/v1/rejected/9999999999")
    assert (status, body) == (200, {"height": found.node.state.height, "rejected": [], "more": 0})


@pytest.mark.parametrize("path", PATHS)
def test_before_the_state_begins(tmp_path, path):
    group = new_group(tmp_path)
    [(status, body)] = asked(ServedNode(group, tmp_path), tmp_path, path)
    assert (status, body["error"]) == (409, "not_begun")
    assert f"block {group.genesis.start_block}" in body["message"]


@pytest.mark.parametrize("path", PATHS)
def test_they_tell_no_secrets_and_anybody_may_ask(found, tmp_path, path):
    """Everything here is on chain, or follows from it."""

    async def main():
        async with serving(found.node, tmp_path, access=Access()) as server:
            return await server.ask(path, headers=ELSEWHERE)

    status, _, response = asyncio.run(main())
    assert status == 200 and response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_but_reading(found, tmp_path, path, method):
    before = found.node.state.height

    async def main():
        async with serving(found.node, tmp_path) as server:
            return await server.ask(path, method=method)

    assert asyncio.run(main())[0] == 405
    assert found.node.state.height == before


def test_every_route_is_documented():
    text = (Path(__file__).parents[3] / "docs/api.md").read_text()
    for route in group.PUBLIC:
        assert f"| `{route.path}` |" in text, route.path
