"""Who does not exist is not paid: two operators must say so, and one who says otherwise is enough to go on."""

import asyncio
from types import SimpleNamespace

import pytest

from node import receivers
from node.errors import ApiError
from node.receivers import Receivers
from state.schema import DONE, MS, REFUSAL
from tests.node.council import approve, done, governed, out, transfer
from tests.node.test_core import any_state, view_of

HEIGHT = 100  # at which the newest transaction was built


class Server:
    """A server whose accounts are ``names``, as far as ``irreversible``; it counts what it is asked."""

    def __init__(self, operator, names=(), answer=None, irreversible=100):
        self.operator, self.url, self.api = operator, f"https://{operator}.example", self
        self.names, self.answer, self.irreversible = set(names), answer, irreversible
        self.asked = []

    async def call(self, method, params):
        if method == "database_api.get_dynamic_global_properties":
            heights = {"head_block_number": self.irreversible + 1, "last_irreversible_block_num": self.irreversible}
            return {**heights, "time": "2026-01-01T00:00:00"}
        assert method == "database_api.find_accounts"
        self.asked.append(params["accounts"])
        if self.answer == "silent":
            raise ApiError("no answer")
        if self.answer is not None:
            return self.answer
        return {"accounts": [{"name": name} for name in params["accounts"] if name in self.names]}


class Feed:
    """Some servers, the best first; what fails is noted."""

    def __init__(self, *servers):
        self.all, self.failed = list(servers), []
        self.servers = SimpleNamespace(usable=lambda: list(self.all))

    async def ask(self, server, question):
        try:
            return await question
        except ApiError:
            self.failed.append(server.operator)
            raise


def asked(feed, *names, found=None):
    found = found or Receivers(feed, lambda event, fields: None)
    asyncio.run(found.ask_about(names, HEIGHT))
    return found


# -- who says so


def test_two_operators_know_no_such_account():
    found = asked(Feed(Server("north", ["bob"]), Server("south", ["bob"])), "bob", "nobody")
    assert found.is_missing("nobody") and not found.is_missing("bob")


def test_nobody_asked_is_nobody_missing():
    assert not Receivers(Feed(), lambda event, fields: None).is_missing("bob")
    assert not asked(Feed(), "bob").is_missing("bob")


def test_one_operator_is_not_enough():
    assert not asked(Feed(Server("north")), "nobody").is_missing("nobody")


def test_two_servers_of_one_operator_are_one():
    servers = [Server("north"), Server("north"), Server("north")]
    assert not asked(Feed(*servers), "nobody").is_missing("nobody")
    assert [len(server.asked) for server in servers] == [1, 0, 0]


@pytest.mark.parametrize("liar_first", [True, False])
def test_a_liar_cannot_make_an_account_vanish(liar_first):
    liar, honest = Server("liar"), Server("honest", ["bob"])
    feed = Feed(*([liar, honest] if liar_first else [honest, liar]))
    assert not asked(feed, "bob").is_missing("bob")


def test_a_liar_can_only_make_the_others_sign_what_expires():
    """Who says that somebody exists is believed: that costs an attempt, and no payment."""
    feed = Feed(Server("liar", ["nobody"]), Server("honest"))
    assert not asked(feed, "nobody").is_missing("nobody")


def test_what_a_server_says_of_others_than_were_asked_for_counts_nothing():
    answer = {"accounts": [{"name": "mallory"}]}
    feed = Feed(Server("north", answer=answer), Server("south"))
    found = asked(feed, "bob")
    assert found.is_missing("bob")
    assert "mallory" not in found._exist


def test_a_third_operator_is_asked_where_one_is_silent():
    servers = [Server("north", answer="silent"), Server("south"), Server("east")]
    feed = Feed(*servers)
    assert asked(feed, "nobody").is_missing("nobody")
    assert feed.failed == ["north"]


def test_while_all_but_one_are_silent_nobody_is_missing():
    feed = Feed(Server("north", answer="silent"), Server("south"), Server("east", answer="silent"))
    assert not asked(feed, "nobody").is_missing("nobody")


def test_a_denial_does_not_outlive_the_question():
    """One operator at one time and another later are not two that agree."""
    north, south = Server("north"), Server("south", answer="silent")
    feed = Feed(north, south)
    found = asked(feed, "nobody")
    north.answer, south.answer = "silent", None
    asked(feed, "nobody", found=found)
    assert not found.is_missing("nobody")


def test_an_account_that_is_made_meanwhile_is_paid():
    north, south = Server("north"), Server("south")
    feed = Feed(north, south)
    found = asked(feed, "newborn")
    assert found.is_missing("newborn")
    north.names.add("newborn")
    asked(feed, "newborn", found=found)
    assert not found.is_missing("newborn")


@pytest.mark.parametrize(("irreversible", "counts"), [(99, False), (100, True), (101, True)])
def test_a_server_that_is_behind_may_not_know_who_was_born_lately(irreversible, counts):
    feed = Feed(Server("north"), Server("south", irreversible=irreversible))
    assert asked(feed, "newborn").is_missing("newborn") == counts


def test_a_third_operator_is_asked_where_one_is_behind():
    feed = Feed(Server("north", irreversible=3), Server("south"), Server("east"))
    assert asked(feed, "nobody").is_missing("nobody")
    assert feed.failed == [], "to be behind is no failure"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        7,
        "accounts",
        {"accounts": 7},
        {"accounts": {"bob": 1}},
        {"accounts": ["bob"]},
        {"accounts": [{"name": ["bob"]}]},
        {"accounts": [{}]},
        {"accounts": [None]},
    ],
)
def test_what_is_no_answer_denies_nothing(answer):
    feed = Feed(Server("north", answer=answer), Server("south"))
    assert not asked(feed, "bob").is_missing("bob")
    assert feed.failed == ["north"]


# -- how much


def test_who_exists_is_asked_for_once():
    north = Server("north", ["bob"])
    feed = Feed(north, Server("south"))
    found = asked(feed, "bob")
    asked(feed, "bob", found=found)
    assert north.asked == [["bob"]]


def test_nobody_is_asked_for_nothing():
    north = Server("north")
    asked(Feed(north))
    assert north.asked == []


def test_only_two_operators_are_asked():
    servers = [Server(name) for name in ("north", "south", "east", "west")]
    asked(Feed(*servers), "nobody")
    assert [len(server.asked) for server in servers] == [1, 1, 0, 0]


def test_the_second_is_asked_only_for_what_the_first_does_not_know():
    south = Server("south")
    asked(Feed(Server("north", ["bob"]), south), "bob", "nobody")
    assert south.asked == [["nobody"]]


def test_a_question_is_bounded_and_the_rest_has_its_turn():
    names = [f"name{number:03}" for number in range(250)]
    north = Server("north", names)
    feed = Feed(north)
    found = asked(feed, *names)
    for _ in range(4):
        asked(feed, *names, found=found)
    assert [len(question) for question in north.asked] == [100, 100, 50]


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(receivers, "_KNOWN", 10)
    names = [f"name{number:03}" for number in range(50)]
    feed = Feed(Server("north", names))
    found = Receivers(feed, lambda event, fields: None)
    for at in range(0, 50, 5):
        asked(feed, *names[at : at + 5], found=found)
        assert len(found._exist) <= 15


# -- what a node does with it


def test_a_payment_to_nobody_is_refused_with_its_reason_and_never_signed(tmp_path):
    group = governed(tmp_path)
    step = {account: node.step for account, node in group.nodes.items()}
    for account, node in group.nodes.items():
        node.step = lambda *given, account=account: step[account](*given, missing=lambda name: name == "nobody")
    payload = approve(group, transfer(to="nobody"), transfer("2.000"))
    beside = approve(group, transfer("3.000"), by="runner02")
    assert done(group, beside).status == "confirmed", "what is alone goes on"
    end = done(group, payload, 3_000)
    assert (end.status, end.why) == ("failed", "refused:no_account")
    told = [fields for _, _, event, fields in group.events if event == "refuse"]
    assert told and {fields["why"] for fields in told} == {"no_account"}
    assert "two operators know no account nobody" in str(told[0])
    assert group.refusals == [], "Hive was asked for nothing that it must refuse"


def test_who_gets_something_by_what_could_be_signed(tmp_path):
    group = governed(tmp_path)
    node = group.nodes["runner02"]
    assert node.receivers() == set()
    shares = {"delegator": "the-group", "delegatee": "stranger", "vesting_shares": "1.000000 VESTS"}
    words = {"required_auths": ["the-group"], "required_posting_auths": [], "id": "a", "json": "{}"}
    savings = {"from": "the-group", "to": "the-group", "amount": "1.000 TESTS", "memo": ""}
    ops = [transfer(), ["delegate_vesting_shares", shares], ["custom_json", words], ["transfer_to_savings", savings]]
    _, op = out(group, *ops)
    assert node.receivers() == {"receiver", "stranger"}
    node.halted_at = 20
    assert node.receivers() == set(), "who has halted signs nothing, and asks for nobody"
    assert any_state(group).get(MS, op) is not None


def test_a_refusal_is_sent_once(tmp_path):
    group = governed(tmp_path)
    payload, op = out(group, transfer(to="nobody"))
    node = group.nodes["runner02"]
    found = node.step(view_of(group), lambda txid: True, missing=lambda name: True)
    [refusal] = [item for item in found if item.tx.operations[0].value["id"] == "waggle_sig_refuse"]
    assert '"why":"no_account"' in refusal.tx.operations[0].value["json"]
    node.sent(refusal)
    again = node.step(view_of(group), lambda txid: True, missing=lambda name: True)
    assert [item.tx.operations[0].value["id"] for item in again if item.content == refusal.content] == []
    state = any_state(group)
    assert state.get(REFUSAL, op, "runner02") is None and state.get(DONE, payload) is None
