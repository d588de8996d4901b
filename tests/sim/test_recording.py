"""A recorded history is replayed by the auditor, which finds exactly what its world knows to be so."""

import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from node.assembly import load_genesis
from node.audit.replay import Asked, replay
from node.cli.sim import sim
from node.devnet.founding import one_key
from node.errors import NodeError
from node.feed.archive import Archive
from node.history.archived import Archived
from node.sim.comparing import differences
from node.sim.long_plan import REPLAYED, draw_long
from node.sim.plan import KINDS
from node.sim.recording import ARCHIVE, GENESIS, TOLD, RecordedWorld, load_told, record
from node.sim.told import Expected, Sent, Teller
from state.store import MemoryStore
from tests.sim.tiny import fault, payout, tiny

#: A world of 1,980 slots in which members lie in every way, and the authority is changed and recovered from outside.
SEED, BLOCKS = 13, 1_900


def audited(folder):
    """(the verdict about a recorded history, the last trace)."""
    genesis = load_genesis(folder / GENESIS)
    with Archived(folder / ARCHIVE, genesis.chain) as history:
        auditor, found = replay(history, genesis, MemoryStore(), Asked(), lambda done: None)
    return found, auditor.state.trace(found.height)


def recorded(plan, folder):
    """What is told of a plan that must hold, the verdict and the trace."""
    outcome, told = record(plan, folder)
    assert outcome.ok, f"{outcome.invariant}: {outcome.detail}"
    return told, *audited(folder)


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    folder = tmp_path_factory.mktemp("history") / "recorded"
    told, found, trace = recorded(draw_long(SEED, BLOCKS), folder)
    assert load_told(folder) == told
    return told, found, trace


def test_what_is_found_is_what_is_so(history):
    told, found, trace = history
    assert differences(told, found, trace) == []
    assert found.height - found.first >= BLOCKS
    assert {one.kind for one in told.findings} >= {
        "root_wrong",
        "other_header",
        "equivocation",
        "unknown_transaction",
        "recovery",
    }
    assert {one.lie for one in told.findings} >= {"false_root", "false_header", "double_report"}
    assert not {one.kind for one in told.findings} & {"root_agreed", "authority_not_met", "reference_block"}
    assert told.counts["rotations"] and told.counts["confirmed"] and sum(one.wrong for one in told.attendance.values())


def test_one_finding_more_or_less_is_a_difference(history):
    told, found, trace = history
    for kind in {one.kind for one in told.findings}:
        place = next(n for n, one in enumerate(told.findings) if one.kind == kind)
        gone, rest = told.findings[place], [one for n, one in enumerate(told.findings) if n != place]
        [count, line] = differences(replace(told, findings=rest), found, trace)
        assert count.startswith(f"{kind}: told ") and line.startswith(f"found, and not so: {kind} at {gone.height}")
        [count, line] = differences(replace(told, findings=[*told.findings, gone]), found, trace)
        assert line.startswith(f"not found: {kind} at {gone.height}")
        for wrong in (replace(gone, height=gone.height + 1), replace(gone, txid="00"), replace(gone, account="x")):
            assert len(differences(replace(told, findings=[*rest, wrong]), found, trace)) == 2


def test_a_kind_that_nobody_told_is_a_difference(history):
    told, found, trace = history
    more = replace(told, findings=[*told.findings, Expected("root_agreed", 40)])
    assert differences(more, found, trace) == [
        "root_agreed: told 1 times, found 0 times",
        "not found: root_agreed at 40",
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda told: {"root": "00"},
        lambda told: {"trace": "00"},
        lambda told: {"height": told.height + 1},
        lambda told: {"genesis": "00"},
        lambda told: {"open_rounds": told.open_rounds + 1},
        lambda told: {
            "attendance": told.attendance | {"runner02": replace(told.attendance["runner02"], missing=9_999)}
        },
        lambda told: {"attendance": {name: one for name, one in told.attendance.items() if name != "runner02"}},
        lambda told: {"transactions": told.transactions[1:]},
        lambda told: {"transactions": [*told.transactions, Sent("00", "payout", 7)]},
        lambda told: {"transactions": [replace(told.transactions[0], included=7), *told.transactions[1:]]},
    ],
)
def test_anything_else_that_differs_is_named(history, change):
    told, found, trace = history
    assert len(differences(replace(told, **change(told)), found, trace)) == 1


def test_of_what_is_counted_only_the_first_are_compared(history, monkeypatch):
    told, found, trace = history
    seen = [one for one in found.findings if one.kind == "other_header"]
    monkeypatch.setattr("node.sim.comparing.KEPT", len(seen) - 1)
    kept = msgspec.structs.replace(found, findings=[one for one in found.findings if one is not seen[-1]])
    assert differences(told, kept, trace) == []


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    """Also by the command, which says what an auditor must find."""
    outcome, _ = record(draw_long(1, 100, 5), tmp_path / "one")
    words = ["--seed", "1", "--record", str(tmp_path / "two"), "--blocks", "100", "--nodes", "5"]
    result = CliRunner().invoke(sim, words)
    assert outcome.ok and result.exit_code == 0, result.output
    assert "an auditor must find: " in result.output
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) == 4  # a segment, its lock, genesis.toml, told.json
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes(), path


def test_a_change_from_outside_that_claims_to_be_a_rotation_is_told_so(tmp_path):
    plan = tiny(fault("account_update", 20, n=128 | 2), payouts=[])
    told, found, trace = recorded(plan, tmp_path / "it")
    assert [one.kind for one in told.findings] == ["altered_transaction"]
    assert differences(told, found, trace) == []


def test_one_that_claims_to_be_a_payout_is_unknown(tmp_path):
    plan = tiny(fault("account_update", 70, n=128 | 2), rounds=8, quiet_round=5, payouts=[payout(every=5)])
    told, found, trace = recorded(plan, tmp_path / "it")
    assert [one.kind for one in told.findings] == ["unknown_transaction"]
    assert differences(told, found, trace) == []


def test_signatures_that_no_authority_knows_and_marks_are_told(tmp_path):
    """Neither happens in a world that small: the teller is told of another authority, and of a mark."""
    with Archive.open(tmp_path / ARCHIVE, write=True) as archive:
        world = RecordedWorld(tiny(), tmp_path, archive, lambda slot: None)
        assert world.run().ok
    entries = [entry for block in world.chain.blocks for entry in block.transactions]
    entry = next(entry for entry in entries if entry.txid in world.auditor.known and len(entry.keys) > 1)
    teller = Teller(world.chain, world.genesis, world.auditor)
    teller._authority["active"] = one_key(min(entry.keys))
    teller._marked = {world.auditor.known[entry.txid].op}
    teller._of_the_group(50, entry, ["active"])
    kinds = [one.kind for one in teller.findings]
    assert kinds == ["foreign_signature"] * (len(entry.keys) - 1) + ["marked_transaction"]
    assert all((one.height, one.txid) == (50, entry.txid.hex()) for one in teller.findings)


def test_a_recovery_as_the_third_owner_within_an_hour_is_none_too_many(tmp_path):
    """The founding rotation, a change from outside, and a recovery, which Hive takes as a third."""
    faults = [fault("account_update", 30, n=64 | 2), fault("recover_account", 60, n=1)]
    told, found, trace = recorded(tiny(*faults, rounds=13, quiet_round=7), tmp_path / "it")
    assert differences(told, found, trace) == []
    kinds = [one.kind for one in told.findings]
    assert kinds == ["recovery", "recovery", "unknown_transaction"]


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(NodeError, match="is not empty"):
        record(tiny(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_history_without_what_is_so_is_refused(tmp_path):
    with pytest.raises(NodeError, match="record the history anew"):
        load_told(tmp_path)
    (tmp_path / TOLD).write_text("{}")
    with pytest.raises(NodeError, match="record the history anew"):
        load_told(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ["--record", "x"],
        ["--blocks", "100"],
        ["--nodes", "5"],
        ["--seed", "1", "--record", "x", "--shrink"],
        ["--seed", "1", "--record", "x", "--only", "3"],
    ],
)
def test_options_that_do_not_go_together(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(sim, words)
    assert result.exit_code == 2 and "--record" in result.output
    assert not list(tmp_path.iterdir())


# -- the plan


def test_faults_are_spread_over_all_of_a_long_plan():
    plan = draw_long(2, 100_000)
    assert plan.slots >= 100_000 and plan.members == 9 and len(plan.traitors) == 2
    assert {one.kind for one in plan.faults} >= KINDS.keys() - {"store_lost"}
    tenth = plan.quiet // 10
    shares = [sum(n * tenth <= one.slot < (n + 1) * tenth for one in plan.faults) for n in range(10)]
    assert min(shares) > max(shares) / 2
    assert all(one.slot <= one.until < plan.quiet for one in plan.faults)
    changes = [sum(one.kind == "key_change" and one.who == who for one in plan.faults) for who in plan.collateral]
    assert max(changes) <= 50
    late = [one for one in plan.faults if one.slot > REPLAYED]
    assert not any(one.kind == "store_lost" or (one.kind == "twin" and one.n % 2 == 0) for one in late)
    assert plan == draw_long(2, 100_000) != draw_long(3, 100_000)


@pytest.mark.parametrize("nodes", [5, 6, 7, 9, 12])
def test_those_that_cheat_are_too_few(nodes):
    plan = draw_long(1, 100, nodes)
    assert plan.members == nodes and plan.runners >= 5
    assert 0 < 2 * len(plan.traitors) < plan.runners - 1 and "runner01" not in plan.traitors
