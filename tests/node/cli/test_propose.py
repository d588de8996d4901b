"""`waggle propose`, `unpropose`, `vote`, `veto`: from what somebody types to what the group decides."""

import json

import pytest

from node.devnet.founding import GROUP
from processors.offered import OFFERED
from state.schema import CHANGED, DECIDED, DONE, PROPOSAL
from tests.node.cli.governing import governing
from tests.node.council import approve, done, transfer
from tests.node.test_core import any_state
from tests.processors.offers import GOOD

pytestmark = pytest.mark.usefixtures("quick_scrypt", "no_terminal")


@pytest.fixture
def world(tmp_path, monkeypatch):
    with governing(tmp_path, monkeypatch) as found:
        yield found


def write(tmp_path, operations):
    path = tmp_path / "ops.json"
    path.write_text(operations if isinstance(operations, str) else json.dumps(operations))
    return path


def open_proposals(world):
    return world.done("pending", acts=False)["proposals"]


# -- from a proposal to a payment


def test_a_payment_that_the_seats_approve(world):
    body = world.done("propose", "transfer", "receiver", "12.500", "HIVE", "--memo", "für März")
    assert (body["operation"], body["status"], body["seen_by_node"]) == ("propose", "proposed", True)
    [one] = open_proposals(world)
    assert one["ops"] == [transfer("12.500", memo="für März")] and one["proposer"] == "runner01"
    assert world.done("vote", one["id"], "yes", by="runner02")["status"] == "voted yes"
    assert "runner02 yes" in world.run("pending").stdout
    world.done("vote", one["id"], "yes", by="runner03")
    state = any_state(world.group)
    payload = state.need(DECIDED, one["id"]).payload
    assert world.on_chain(lambda group: done(group, payload)).status == "confirmed"
    memos = [
        (operation.value["to"], operation.value["amount"].amount, operation.value["memo"])
        for block in world.group.chain.blocks
        for entry in block.transactions
        for operation in entry.tx.operations
        if operation.name == "transfer" and operation.value["from"] == GROUP
    ]
    assert memos == [("receiver", 12_500, "für März")]
    assert "confirmed at block" in world.run("explain", f"p{payload}").stdout


def test_hbd_is_meant_by_its_own_symbol_on_this_chain(world):
    world.done("propose", "transfer", "receiver", "1", "HBD")
    assert open_proposals(world)[0]["ops"] == [transfer("1.000", asset="TBD")]


def test_a_majority_against_it_ends_it(world):
    world.done("propose", "transfer", "receiver", "1", "HIVE")
    number = open_proposals(world)[0]["id"]
    for account in ("runner02", "runner03"):
        assert world.done("vote", number, "no", by=account)["status"] == "voted no"
    assert any_state(world.group).need(DECIDED, number).status == "rejected"
    assert open_proposals(world) == []


def test_its_proposer_takes_it_back_and_nobody_else(world):
    world.done("propose", "transfer", "receiver", "1", "HIVE")
    number = open_proposals(world)[0]["id"]
    assert "but the group rejected it: " in world.fails("unpropose", number, "--yes", by="runner02")
    assert world.done("unpropose", number)["status"] == "taken back"
    assert any_state(world.group).get(PROPOSAL, number) is None


def test_one_of_three_vetoes_what_is_locked(tmp_path, monkeypatch):
    with governing(tmp_path, monkeypatch, large_hive=1_000, large_delay=5_000) as world:
        payload = world.on_chain(lambda group: approve(group, transfer("1.001")))
        assert f"p{payload}" in world.run("pending").stdout
        assert world.done("veto", f"p{payload}", by="runner03")["status"] == "vetoed"
        end = any_state(world.group).need(DONE, payload)
        assert (end.status, end.why) == ("failed", "vetoed")
        assert "failed (vetoed)" in world.run("explain", f"p{payload}").stdout


def test_a_parameter_is_changed_from_a_block_on(world):
    world.done("propose", "change", "large_delay", 77, "--delay", 0)
    number = open_proposals(world)[0]["id"]
    for account in ("runner01", "runner02"):
        world.done("vote", number, "yes", by=account)
    state = any_state(world.group)
    world.on_chain(lambda group: group.run_until(lambda: any(state.walk(CHANGED)), 100))
    [(height, name)] = [(int(at), str(name)) for (at, name), _ in state.walk(CHANGED)]
    assert name == "large_delay"
    values = [world.done("gov", "parameters", "--at", at, acts=False)["parameters"] for at in (height - 1, height)]
    assert [value["large_delay"] for value in values] == [28_800, 77]


def test_a_change_to_come_is_shown(world):
    world.done("propose", "change", "max_merge", 3, "--delay", 5_000)
    number = open_proposals(world)[0]["id"]
    assert "max_merge = 3, 5000 blocks after its approval" in world.run("pending").stdout
    for account in ("runner01", "runner02"):
        world.done("vote", number, "yes", by=account)
    assert "change: max_merge = 3 from block" in world.run("gov", "status").stdout


# -- operations from a file


def test_a_file_of_many_operations(world, tmp_path):
    apart = {
        "account_witness_vote",
        "transfer_to_savings",
        "transfer_from_savings",
    }  # no vote beside a proxy, one asset
    several = [[name, GOOD[name]] for name in sorted(OFFERED - apart)]
    body = world.done("propose", "file", write(tmp_path, several))
    assert body["seen_by_node"] is True
    assert open_proposals(world)[0]["ops"] == several


def test_what_was_understood_is_shown_in_words(world, tmp_path):
    path = write(tmp_path, [transfer("1.000"), ["account_witness_vote", GOOD["account_witness_vote"]]])
    shown = world.run("propose", "file", path, typed="n\n").stdout
    assert "do           pay 1.000 TESTS to receiver, memo ''" in shown
    assert "do           vote for witness witness" in shown
    assert "then it ends undecided" in shown
    assert world.sent() == []


@pytest.mark.parametrize(
    ("operations", "words"),
    [
        ("{", "write a JSON list of operations"),
        ("", "write a JSON list of operations"),
        ("[" * 100_000, "write a JSON list of operations"),
        ('"\udcff"', "ops.json"),
        ({"a": 1}, "write a list, as in"),
        ([1], "a proposal cannot hold this"),
        ([[]], "a proposal cannot hold this"),
        ([["account_update", {}]], "account_update: a proposal cannot hold this"),
        ([["transfer_to_vesting", {}]], "transfer_to_vesting: a proposal cannot hold this"),
        ([["transfer", {}]], "write it as condenser_api does"),
        ([["transfer"]], "write it as condenser_api does"),
        ([["transfer", 7]], "write it as condenser_api does"),
        ([["transfer", {**GOOD["transfer"], "amount": "1 HIVE"}]], "write it as condenser_api does"),
    ],
)
def test_what_is_no_proposal_is_told_before_anything_is_signed(world, tmp_path, operations, words):
    path = tmp_path / "ops.json"
    if isinstance(operations, str):
        path.write_bytes(operations.encode("utf-8", "surrogateescape"))
    else:
        write(tmp_path, operations)
    assert words in world.fails("propose", "file", path, "--yes")
    assert world.sent() == []


def test_a_file_that_is_not_there(world, tmp_path):
    assert "No such file" in world.fails("propose", "file", tmp_path / "none.json", "--yes")


# -- what the group rejects, with its code


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("propose", "transfer", GROUP, "1.000", "HIVE"), "bad_operation"),
        (("propose", "transfer", "receiver", "0.000", "HIVE"), "bad_operation"),
        (("propose", "change", "large_delay", 2_000_000), "bad_value"),
        (("unpropose", 99), "unknown_proposal"),
        (("vote", 99, "yes"), "unknown_proposal"),
        (("veto", "p99"), "unknown_payload"),
    ],
)
def test_a_rejection_is_told_with_its_code(world, words, code):
    said = world.fails(*words, "--yes")
    assert f"but the group rejected it: {code}: " in said, said
    assert open_proposals(world) == []


def test_the_fourth_open_proposal_of_one_account(world):
    for number in range(3):
        world.done("propose", "transfer", "receiver", f"{number + 1}.000", "HIVE")
    assert "too_many_open" in world.fails("propose", "transfer", "receiver", "9.000", "HIVE", "--yes")


@pytest.mark.parametrize(
    "words",
    [
        ("propose", "transfer", "Bob", "1", "HIVE"),
        ("propose", "transfer", "receiver", "1.2345", "HIVE"),
        ("propose", "transfer", "receiver", "one", "HIVE"),
        ("propose", "transfer", "receiver", "1", "VESTS"),
        ("propose", "transfer", "receiver", "1", "HIVE", "--for", 99),
        ("propose", "transfer", "receiver", "1", "HIVE", "--for", 201_601),
        ("propose", "change", "round_length", 20),
        ("propose", "change", "no_such", 1),
        ("propose", "change", "large_delay", "x"),
        ("vote", 0, "yes"),
        ("vote", 1, "maybe"),
        ("veto", "7x"),
        ("veto", "p²"),
        ("veto", ""),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_is_signed(world, words):
    said = world.fails(*words, "--yes")
    assert "Usage: " in said and "Error: " in said
    assert world.sent() == []


def test_a_dry_run_sends_nothing(world):
    body = world.done("propose", "transfer", "receiver", "1", "HIVE", "--dry-run", "--for", 100)
    assert body["status"] == "dry_run"
    [[_, fields]] = body["transaction"]["operations"]
    said = json.loads(fields["json"])
    assert said["ops"] == [transfer()] and 0 < said["expires"] - any_state(world.group).height <= 100
    assert world.sent() == []
