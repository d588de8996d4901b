"""`waggle gov`, `halt`, `resume`, `hold`, `cancel`, `pending`: real commands on a group that runs."""

import json

import pytest

from node.cli.acting import whole
from processors.params import BOUNDS
from state.schema import COLLATERAL, EMERGENCY, MS
from tests.node.cli.governing import governing
from tests.node.council import approve, out, transfer
from tests.node.test_core import any_state

pytestmark = pytest.mark.usefixtures("quick_scrypt", "no_terminal")


@pytest.fixture
def world(tmp_path, monkeypatch):
    with governing(tmp_path, monkeypatch, unlock_part=10) as found:
        yield found


# -- looking


def test_status_shows_the_group_and_the_nodes_own_tokens(world):
    body = world.done("gov", "status", acts=False)
    assert body["group"]["seats"] == ["runner01", "runner02", "runner03"]
    assert (body["tokens"]["account"], body["tokens"]["locked"]) == ("runner01", 1_000)
    shown = world.run("gov", "status").stdout
    for words in ("3 seats: runner01, runner02, runner03", "open proposals: 0", "runner01: 0 liquid, 1000 locked"):
        assert words in shown
    assert "WARNING" not in shown and "HALTED" not in shown


def test_status_of_somebody_else(world):
    assert world.done("gov", "status", "--account", "runner02", acts=False)["tokens"]["account"] == "runner02"
    assert world.done("gov", "status", "--account", "nobody-there", acts=False)["tokens"]["locked"] == 0
    assert "'Bad Name' is no account name" in world.fails("gov", "status", "--account", "Bad Name")


def test_parameters_now_and_then(world):
    body = world.done("gov", "parameters", acts=False)
    assert body["parameters"].keys() == {*BOUNDS, "rules"} and body["height"] > 20
    assert body["parameters"]["unlock_part"] == 10
    assert world.done("gov", "parameters", "--at", 21, acts=False)["height"] == 21
    shown = world.run("gov", "parameters", "--at", 21).stdout.splitlines()
    assert shown[0] == "parameters at block 21" and "  unlock_part        10" in shown


def test_parameters_of_a_block_to_come_are_not_known_and_it_says_what_to_do(world):
    said = world.fails("gov", "parameters", "--at", 999_999_999)
    assert "block 999999999 is not applied here yet" in said and "ask for" in said
    assert "Invalid value" in world.fails("gov", "parameters", "--at", -1)


def test_pending_names_what_waits(world):
    body = world.done("pending", acts=False)
    assert body.pop("height") > 20
    assert body == {"proposals": [], "queue": [], "waiting": 0}
    shown = world.run("pending").stdout.splitlines()
    assert shown == ["open proposals: 0", "payloads: 0 waiting, 0 out in group transactions"]


# -- tokens


def test_tokens_leave_the_collateral_are_sent_and_locked_again(world):
    body = world.done("gov", "unlock", 40)
    assert (body["ok"], body["operation"], body["status"], body["seen_by_node"]) == (True, "gov_down", "noted", True)
    assert "leaving 40" in world.run("gov", "status").stdout
    state = any_state(world.group)
    world.on_chain(lambda group: group.run_until(lambda: state.need(COLLATERAL, "runner01").locked == 960, 60))
    assert world.done("gov", "send", "runner02", 15, "--memo", "für Bob")["status"] == "sent"
    assert world.done("gov", "lock", 25)["status"] == "locked"
    tokens = world.done("gov", "status", acts=False)["tokens"]
    assert (tokens["liquid"], tokens["locked"], tokens["leaving"]) == (0, 985, 0)
    other = world.done("gov", "status", "--account", "runner02", acts=False)["tokens"]
    assert other["moves"][0][1:] == ["received", "runner01", 15, "für Bob"]
    assert "received 15 runner01 'für Bob'" in world.run("gov", "status", by="runner02").stdout
    assert [name for _, name, _ in world.sent()] == ["waggle_gov_down", "waggle_send", "waggle_gov_up"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("gov", "lock", 1), "too_little"),
        (("gov", "unlock", 1_001), "too_little"),
        (("gov", "unlock", 0), "nothing_leaves"),
        (("gov", "send", "runner01", 1), "to_self"),
        (("gov", "send", "runner02", 1), "too_little"),
        (("cancel", "1:2:3"), "unknown_op"),
    ],
)
def test_what_the_group_rejects_is_told_with_its_code_and_fails(world, words, code):
    before = any_state(world.group).get(COLLATERAL, "runner01")
    said = world.fails(*words, "--yes")
    assert f"but the group rejected it: {code}: " in said
    assert "in block" in said and "transaction" in said, "where it stands on chain"
    assert any_state(world.group).get(COLLATERAL, "runner01") == before


def test_where_the_state_does_not_note_it_no_success_is_told(tmp_path, monkeypatch):
    """A block notes max_rejections of them: what is not noted may be rejected all the same."""
    with governing(tmp_path, monkeypatch, max_rejections=0) as world:
        said = world.fails("gov", "lock", 1, "--yes")
        assert "1 rejections more than the state notes" in said and "waggle gov status" in said
        assert world.done("gov", "unlock", 1)["status"] == "noted", "in a block without any it is known"


@pytest.mark.parametrize(
    "words",
    [
        ("gov", "lock", 0),
        ("gov", "lock", "1.5"),
        ("gov", "lock", "many"),
        ("gov", "unlock", -1),
        ("gov", "send", "runner02", 0),
        ("gov", "send", "Bob", 1),
        ("gov", "send", "", 1),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_is_signed(world, words):
    world.fails(*words, "--yes")
    assert world.sent() == []


@pytest.mark.parametrize("typed", ["n\n", "", None])
def test_without_a_yes_nothing_is_sent(world, typed):
    assert "nothing was sent" in world.fails("gov", "unlock", 5, typed=typed)
    assert world.sent() == []


def test_a_dry_run_signs_and_sends_nothing(world):
    body = world.done("gov", "unlock", 5, "--dry-run")
    assert body["status"] == "dry_run" and len(body["transaction"]["signatures"]) == 1
    [[name, fields]] = body["transaction"]["operations"]
    assert (name, fields["id"], json.loads(fields["json"])) == ("custom_json", "waggle_gov_down", {"amount": 5})
    assert world.sent() == []


def test_before_they_answer_people_see_who_and_what(world):
    shown = world.run("gov", "unlock", 5, typed="n\n").stdout
    for words in (
        "account      runner01",
        "group        the-group",
        "the running node",
        "it is no collateral from now",
    ):
        assert words in shown, words


# -- what seats can stop


def halted_until(world):
    found = any_state(world.group).get(EMERGENCY)
    return found.halted_until if found is not None else 0


def test_a_third_halts_and_more_than_half_resumes(world):
    assert world.done("halt")["status"] == "voted to halt"
    assert halted_until(world) > any_state(world.group).height
    assert "HALTED: no payout is built until block" in world.run("gov", "status").stdout
    world.done("resume", by="runner01")
    assert halted_until(world) > any_state(world.group).height, "one of three is not more than half"
    assert "votes for resume: runner01" in world.run("gov", "status").stdout
    world.done("resume", by="runner02")
    assert halted_until(world) <= any_state(world.group).height
    assert "but the group rejected it: too_soon" in world.fails("halt", "--yes")


def test_a_vote_is_taken_back(world):
    world.done("hold")
    assert world.done("gov", "status", acts=False)["group"]["ballots"]["hold"][0]["account"] == "runner01"
    assert world.done("hold", "--off")["status"] == "taken back"
    body = world.done("gov", "status", acts=False)["group"]
    assert body["ballots"] == {} and body["held_until"] == 0


def test_more_than_half_hold_rotations(world):
    for account in ("runner01", "runner02"):
        world.done("hold", by=account)
    assert "HELD: no rotation is built until block" in world.run("gov", "status").stdout


def test_a_marked_transaction_is_called_so(world):
    _, op = world.on_chain(lambda group: out(group, transfer("2.000")))
    assert world.done("cancel", op)["status"] == "voted"
    assert any_state(world.group).need(MS, op).status == "collecting"
    world.done("cancel", op, by="runner02")
    assert any_state(world.group).need(MS, op).status == "cancelled"
    assert "marked by the seats: nobody signs or broadcasts it" in world.run("explain", op).stdout


# -- a node that does not run, and one that never ran


def test_a_payload_above_the_limit_says_why_it_waits(tmp_path, monkeypatch):
    with governing(tmp_path, monkeypatch, spend_limit_hive=1_000) as world:
        payload = world.on_chain(lambda group: approve(group, transfer("1.001")))
        [one] = world.done("pending", acts=False)["queue"]
        assert one["id"] == payload and one["out"] == ""
        assert "the limit: 0.000 HIVE of 1.000 HIVE were built" in world.run("pending").stdout


def test_without_a_node_and_without_its_store_it_says_what_to_do(tmp_path, monkeypatch):
    with governing(tmp_path, monkeypatch) as world:
        pass
    for words in (("gov", "status"), ("pending",), ("gov", "parameters"), ("explain", "p1")):
        said = world.fails(*words)
        assert "the node does not run" in said and "start the node first" in said


# -- amounts


@pytest.mark.parametrize(
    ("text", "units"), [("1", 1_000), ("0.001", 1), ("12.5", 12_500), ("0", 0), ("007", 7_000), ("9.999", 9_999)]
)
def test_amounts_as_people_write_them(text, units):
    assert whole(text) == units


@pytest.mark.parametrize(
    "text", ["", ".", ".5", "1.2345", "-1", "+1", "1e3", "1,5", "1 000", "²", "1.²", "1..2", "0x1"]
)
def test_what_is_no_amount(text):
    with pytest.raises(Exception, match="is no amount"):
        whole(text, "HIVE")
