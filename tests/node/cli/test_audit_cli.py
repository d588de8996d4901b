"""The auditor's commands as a person runs them, on a real archive."""

import json

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from node.audit.proof import sets_authority, verify
from node.audit.proving import prove
from node.cli.main import cli
from node.cli.prove import _set_later
from node.devnet.founding import devnet_key
from node.feed.archive import Archive
from node.genesis_text import to_toml
from processors.hive.packed import as_json
from state.schema import COLLATERAL
from tests.node.audit.plants import PLANTS
from tests.node.audit.play import Play, Told
from tests.processors.blocks import custom_json, strict_authority


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with an archive of an honest group, its genesis, and another archive that parts from it."""
    folder = tmp_path_factory.mktemp("audit")
    play, other = Play(), Play()
    play.run(210)
    other.run(140)
    other.block(custom_json("runner03", "gov_down", '{"amount":7}'))
    other.run(69)
    for name, one in (("blocks", play), ("others", other)):
        keep(folder / name, one.blocks)
    (folder / "genesis.toml").write_text(to_toml(play.stage.document))
    (folder / "op").write_text(next(iter(play.confirmed())))
    return folder


def keep(folder, blocks):
    with Archive.open(folder, write=True) as archive:
        for block in blocks:
            archive.append(as_json(block))


def run(home, *words):
    """A command on the honest archive, which does what is wanted."""
    found = asked(home, *words)
    assert found.exit_code == 0, (found.output, found.exception)
    return found


def asked(home, *words, blocks="blocks"):
    """A command on an archive, whatever it says; ``blocks`` "" = none."""
    source = ["--genesis", str(home / "genesis.toml"), *(["--archive", str(home / blocks)] if blocks else [])]
    return CliRunner().invoke(cli, [*words, *source])


def test_replay_says_that_nothing_deviates_and_writes_page_and_json(home, tmp_path):
    page, table = tmp_path / "audit.html", tmp_path / "audit.json"
    found = run(home, "replay", "--report", str(page), "--report", str(table))
    assert "VERDICT      good" in found.output and found.exit_code == 0
    assert page.read_text().startswith("<!DOCTYPE html>")
    told = json.loads(table.read_text())
    assert told["good"] and told["height"] == 310 and len(told["transactions"]) >= 4
    assert json.loads(run(home, "replay", "--json").stdout)["root"] == told["root"]


def test_replay_to_a_height_with_a_root_that_is_not_so_exits_1(home):
    found = asked(home, "replay", "--to", "205", "--trust", "200:" + "00" * 32, "--quick")
    assert found.exit_code == 1 and "trusted_root" in found.output


def test_replay_keeps_the_state_if_asked_and_only_in_a_new_folder(home, tmp_path):
    run(home, "replay", "--keep", str(tmp_path / "state"))
    assert (tmp_path / "state" / "CURRENT").exists()
    again = asked(home, "replay", "--keep", str(tmp_path / "state"))
    assert again.exit_code == 1 and "is not empty" in str(again.exception)


def test_a_deviation_exits_1_and_is_named(tmp_path):
    planted = PLANTS["payout-altered"](tmp_path)
    keep(tmp_path / "blocks", planted.blocks)
    (tmp_path / "genesis.toml").write_text(to_toml(planted.document))
    found = CliRunner().invoke(
        cli, ["replay", "--genesis", str(tmp_path / "genesis.toml"), "--archive", str(tmp_path / "blocks")]
    )
    assert (
        found.exit_code == 1 and "altered_transaction" in found.output and "VERDICT      1 deviations" in found.output
    )


def test_at_shows_an_entry_as_it_was(home):
    body = json.loads(run(home, "at", "205", "runner", "runner02", "--json").stdout)
    assert body["height"] == 205 and body["entries"][0]["value"]["since"] == 100
    assert "after block 205" in run(home, "at", "205").output
    refused = asked(home, "at", "9999")
    assert refused.exit_code == 1 and "fetch what is missing" in str(refused.exception)


def test_prove_and_verify_proof(home, tmp_path):
    proof = tmp_path / "a.proof"
    told = run(home, "prove", "collateral", "runner01", "--height", "200", "--out", str(proof)).output
    assert "said by    4 of 4" in told
    assert "blocks     " in run(home, "verify-proof", str(proof)).output
    offline = CliRunner().invoke(
        cli, ["verify-proof", str(proof), "--genesis", str(home / "genesis.toml"), "--offline"]
    )
    assert offline.exit_code == 0 and "NOT LOOKED UP" in offline.output
    nowhere = asked(home, "verify-proof", str(proof), blocks="")
    assert nowhere.exit_code == 2 and "--offline" in nowhere.output
    proof.write_bytes(proof.read_bytes().replace(b'"height":200', b'"height":250'))
    changed = CliRunner().invoke(
        cli, ["verify-proof", str(proof), "--genesis", str(home / "genesis.toml"), "--offline"]
    )
    assert changed.exit_code == 1


def test_a_proof_of_another_chain_is_refused_where_it_is_looked_up(home, tmp_path):
    proof = tmp_path / "a.proof"
    run(home, "prove", "collateral", "runner01", "--height", "250", "--out", str(proof))
    found = asked(home, "verify-proof", str(proof), blocks="others")
    assert found.exit_code == 1 and "Hive does not have" in str(found.exception)


def test_bisect_names_block_and_entry(home):
    found = asked(home, "bisect", "--ours", str(home / "blocks"), blocks="others")
    assert found.exit_code == 1 and "block 241 is" in found.output and "only there: transaction" in found.output
    same = asked(home, "bisect", "--ours", str(home / "blocks"), "--json")
    assert same.exit_code == 0 and json.loads(same.output)["kind"] == "equal"


def test_explain_history_tells_the_life_of_a_transaction_with_hive_ids(home):
    op = (home / "op").read_text()
    lines = run(home, "explain", op, "--history").output
    for words in ("reports (Hive ", "the tally elects", "every node builds it", "signs (Hive ", "included, with"):
        assert words in lines, lines
    [body] = json.loads(run(home, "explain", op, "--history", "--json").stdout)
    assert body["end"] == "confirmed" and len(body["signed"]) >= 3 and len(body["elected"]["voices"]) == 4


def test_no_source_or_two_sources_are_wrong_usage(home):
    for words in ([], ["--archive", "a", "--block-log", "b"]):
        found = asked(home, "replay", *words, blocks="")
        assert found.exit_code == 2 and "name one source of blocks" in found.output


def test_an_authority_that_was_replaced_before_the_height_is_an_old_one(tmp_path):
    """The founder's key, rotated away long ago, signs for a later height: the archive shows what came between."""
    founder = devnet_key("runner01 signing")
    play = Play(authority=strict_authority([founder]))
    for _ in range(8):
        play.round_end()
    keep(tmp_path / "blocks", play.blocks)
    (tmp_path / "genesis.toml").write_text(to_toml(play.stage.document))
    asked(tmp_path, "prove", "collateral", "runner01", "--height", "100", "--out", str(tmp_path / "early"))
    assert asked(tmp_path, "verify-proof", str(tmp_path / "early")).exit_code == 0
    rotated = [number for number, block in enumerate(play.blocks) if sets_authority(block, play.stage.genesis)]
    assert rotated
    genesis = play.stage.genesis
    found = prove(Told(play.blocks), genesis, COLLATERAL, ("runner01",), 400, lambda done: None)
    assert found.authority_set
    shown = verify(found, genesis)
    old = replace(shown, authority_set=None)
    assert _set_later(old, genesis, Told(play.blocks), quiet=True) == play.blocks[rotated[0]].number
    assert _set_later(shown, genesis, Told(play.blocks), quiet=True) == 0
