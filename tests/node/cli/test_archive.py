"""`waggle archive` in a shell: what it prints, its exit codes, and what it says to do."""

import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from node.cli import archive_text
from node.cli import progress as progress_room
from node.cli.archive_text import api_of
from node.cli.progress import progress
from node.config import ApiConfig
from node.devnet.founding import genesis_document, member_keys
from node.devnet.manners import manner
from node.feed import archive as archives
from node.feed import segment
from node.genesis_text import to_toml
from node.history import verifying
from tests.node.cli.key_shell import failing, run, waggle
from tests.node.devnet.serving import served
from tests.node.feed.many import chain_of
from tests.node.history.logs import ARTIFACTS, LOG, VECTORS
from tests.node.history.logs import LAST as LOG_LAST
from tests.node.history.logs import opened as log_opened
from tests.vectors import mainnet_blocks

FIRST, BLOCKS = 1_000_000, mainnet_blocks()
LAST = FIRST + len(BLOCKS) - 1
IRREVERSIBLE = 300


@pytest.fixture(scope="module")
def hive():
    with served(SimpleNamespace(chain=chain_of(IRREVERSIBLE + 1))) as first:
        yield first


@pytest.fixture
def genesis(tmp_path):
    path = tmp_path / "genesis.toml"
    path.write_text(to_toml(genesis_document([member_keys(1)], start_block=100, parameters={})))
    return path


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "saved.json"
    path.write_text(json.dumps({"result": {"blocks": BLOCKS}}))
    return path


@pytest.fixture
def filled(tmp_path, saved):
    waggle("archive", "import", "--archive", tmp_path / "archive", saved)
    return tmp_path / "archive"


def apis(hive, *names):
    return [part for url in (hive.url, *(hive.also(manner(name)).url for name in names)) for part in ("--api", url)]


def named(hive, *names):
    """The same, each of an operator of its own."""
    found = apis(hive, *names)
    return [part if part == "--api" else f"op{index}={part}" for index, part in enumerate(found)]


def damaged(folder, place=5000):
    [path] = folder.glob("*.seg")
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)


# -- fetch


def test_fetch_verify_and_show(tmp_path, hive, genesis):
    folder = tmp_path / "archive"
    words = ["--archive", folder, "--genesis", genesis, *named(hive, "honest", "leaves-out")]
    found = run("archive", "fetch", "--from", "2", *words)
    assert found.exit_code == 0
    assert f"holds the blocks 2 to {IRREVERSIBLE}, {IRREVERSIBLE - 1} of them new; two operators" in found.stdout
    again = json.loads(waggle("archive", "fetch", "--json", *words))
    assert (again["first"], again["last"], again["new"], again["stopped"]) == (2, IRREVERSIBLE, 0, False)
    assert "good: digests, links, ids" in waggle("archive", "verify", "--archive", folder, "--genesis", genesis)
    assert f"blocks    2 to {IRREVERSIBLE}\n" in waggle("archive", "show", "--archive", folder)


def test_a_ban_is_told_and_json_stands_alone_on_standard_output(tmp_path, hive, genesis):
    words = ["--archive", tmp_path / "a", "--genesis", genesis, "--from", "2", "--json"]
    servers = named(hive, "leaves-out", "honest")
    found = run("archive", "fetch", *words, *servers[2:4], *servers[:2], *servers[4:])
    assert found.exit_code == 0 and json.loads(found.stdout)["last"] == IRREVERSIBLE
    assert "is asked no more for 600 s: " in found.stderr


def test_one_operator_is_warned_of(tmp_path, hive, genesis):
    found = run("archive", "fetch", "--archive", tmp_path / "a", "--genesis", genesis, "--from", "290", *apis(hive))
    assert found.exit_code == 0 and "Warning: one operator alone" in found.stderr


def test_a_configuration_names_servers_and_chain(tmp_path, hive, genesis):
    key = member_keys(1)
    urls = [hive.url, hive.also(manner("honest")).url]
    servers = "".join(f'[[api]]\nurl = "{url}"\noperator = "op{i}"\n' for i, url in enumerate(urls))
    (tmp_path / "config.toml").write_text(
        f'[node]\naccount = "{key.account}"\ngenesis = "genesis.toml"\ndata = "data"\n'
        f'[keys]\naccount = "account.key"\nsigning = "signing.key"\n{servers}'
    )
    words = ["--archive", tmp_path / "a", "--config", tmp_path / "config.toml"]
    assert json.loads(waggle("archive", "fetch", "--from", "250", "--json", *words))["confirmed"]
    assert json.loads(waggle("archive", "verify", "--json", *words))["good"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name the servers"),
        (["--api", "http://x", "--config", "c.toml"], "name the servers"),
        (["--api", "ftp://x"], r"write [OPERATOR=]URL"),
        (["--api", "north"], r"write [OPERATOR=]URL"),
        (["--api", "http://x", "--from", "0"], "not in the range"),
    ],
)
def test_wrong_usage_of_fetch(tmp_path, words, said):
    found = run("archive", "fetch", "--archive", tmp_path / "a", *words)
    assert found.exit_code == 2 and said in found.stderr


def test_what_is_refused_says_what_to_do(tmp_path, capsys, monkeypatch, hive, genesis):
    words = ["--archive", tmp_path / "a", "--genesis", genesis, *named(hive, "honest")]
    assert "say with --from" in failing(capsys, monkeypatch, "archive", "fetch", *words)
    waggle("archive", "fetch", "--from", "100", "--to", "120", *words)
    assert "would leave a gap" in failing(capsys, monkeypatch, "archive", "fetch", "--from", "200", *words)
    assert "newest irreversible" in failing(capsys, monkeypatch, "archive", "fetch", "--to", "900", *words)


@pytest.mark.parametrize(
    ("text", "url", "operator"),
    [
        ("https://api.hive.blog", "https://api.hive.blog", "api.hive.blog"),
        ("https://api.hive.blog/", "https://api.hive.blog", "api.hive.blog"),
        ("north=http://[::1]:80/x", "http://[::1]:80/x", "north"),
        ("https://x.y/?key=a", "https://x.y/?key=a", "x.y"),
        ("north=https://x.y/?key=a", "https://x.y/?key=a", "north"),
    ],
)
def test_how_a_server_is_named(text, url, operator):
    assert api_of(text) == ApiConfig(url, operator)


# -- import, verify, show


def test_import_and_verify_genuine_blocks(tmp_path, saved):
    folder = tmp_path / "archive"
    found = json.loads(waggle("archive", "import", "--archive", folder, "--json", saved))
    assert found == {"first": FIRST, "last": LAST, "new": 600, "skipped": 0, "stopped": False}
    told = json.loads(waggle("archive", "verify", "--archive", folder, "--json"))
    assert told["good"] and (told["first"], told["last"]) == (FIRST, LAST)
    keys = {block["witness"]: block["signing_key"] for block in BLOCKS}
    assert {name: one["key"] for name, one in told["witnesses"].items()} == keys
    assert "links, ids and digests of" in waggle("archive", "verify", "--archive", folder, "--quick")


def test_import_of_a_block_log(tmp_path):
    (tmp_path / "log").mkdir()
    log_opened(tmp_path / "log", LOG, ARTIFACTS).close()
    words = ["--archive", tmp_path / "a", "--block-log", tmp_path / "log", "--dictionaries", VECTORS, "--jobs", "1"]
    refused = run("archive", "import", *words, tmp_path / "file")
    assert refused.exit_code == 2 and "name files with blocks, or --block-log" in refused.stderr
    genesis = tmp_path / "genesis.toml"
    document = genesis_document([member_keys(1)], start_block=100, parameters={})
    genesis.write_text(to_toml(document))
    told = json.loads(waggle("archive", "import", *words, "--genesis", genesis, "--from", "5", "--json"))
    assert (told["first"], told["last"]) == (5, LOG_LAST)


def test_import_of_nothing_and_of_a_lie(tmp_path, capsys, monkeypatch):
    assert run("archive", "import", "--archive", tmp_path / "a").exit_code == 2
    bad = json.loads(json.dumps(BLOCKS[:9]))
    bad[5]["timestamp"] = "2020-01-01T00:00:00"
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    said = failing(capsys, monkeypatch, "archive", "import", "--archive", tmp_path / "a", tmp_path / "bad.json")
    assert "bad.json" in said and "take another copy" in said.lower()


def test_verify_names_what_is_bad_and_what_to_do(filled):
    damaged(filled)
    found = run("archive", "verify", "--archive", filled)
    assert found.exit_code == 1
    assert "BAD  block 100" in found.stdout and "(damaged)" in found.stdout and "waggle archive fetch" in found.stdout
    told = json.loads(run("archive", "verify", "--archive", filled, "--json").stdout)
    assert not told["good"] and told["bad_count"] == 1 and told["bad"][0]["kind"] == "damaged"


def test_wrong_usage_of_verify(filled, genesis, tmp_path):
    found = run("archive", "verify", "--archive", filled, "--genesis", genesis, "--config", tmp_path / "c.toml")
    assert found.exit_code == 2 and "leave --genesis out" in found.stderr
    assert run("archive", "verify", "--archive", filled, "--to", "x").exit_code == 2


def test_verify_of_nothing(tmp_path, capsys, monkeypatch):
    assert "holds no whole block" in failing(capsys, monkeypatch, "archive", "verify", "--archive", tmp_path)


def test_show(filled, capsys, monkeypatch):
    found = json.loads(waggle("archive", "show", "--archive", filled, "--json"))
    assert (found["first"], found["last"], found["blocks"], found["segments"]) == (FIRST, LAST, 600, 1)
    assert found["gaps"] == [] and 3 < found["ratio"] < 10
    block = json.loads(waggle("archive", "show", "--archive", filled, "--block", FIRST + 7))
    assert block == json.loads(waggle("archive", "show", "--archive", filled, "--block", FIRST + 7, "--json"))
    assert block["witness_signature"] == BLOCKS[7]["witness_signature"]
    said = failing(capsys, monkeypatch, "archive", "show", "--archive", filled, "--block", 5)
    assert "fetch these from a server" in said
    assert "holds no whole block" in failing(capsys, monkeypatch, "archive", "show", "--archive", filled / "x")


def test_show_names_gaps_and_verify_too(tmp_path, saved, monkeypatch):
    for module in (segment, archives, archive_text, verifying):
        monkeypatch.setattr(module, "SEGMENT_BLOCKS", 100)
    folder = tmp_path / "archive"
    waggle("archive", "import", "--archive", folder, saved)
    (folder / "0001000200.seg").unlink()
    found = json.loads(waggle("archive", "show", "--archive", folder, "--json"))
    assert (found["last"], found["newest"], found["gaps"]) == (FIRST + 199, LAST, [[FIRST + 200, FIRST + 299]])
    shown = waggle("archive", "show", "--archive", folder)
    assert "missing   1000200 to 1000299: `waggle archive fetch` fetches them" in shown
    told = run("archive", "verify", "--archive", folder)
    assert told.exit_code == 1 and "(missing)" in told.stdout
    assert run("archive", "verify", "--archive", folder, "--to", FIRST + 199).exit_code == 0
    waggle("archive", "import", "--archive", folder, saved)
    assert run("archive", "verify", "--archive", folder).exit_code == 0


def test_verify_ended_by_a_signal_says_how_to_go_on(filled, monkeypatch):
    monkeypatch.setattr(verifying, "_SHARE", 8)
    real = verifying.check

    def interrupted(stretch):
        os.kill(os.getpid(), signal.SIGINT)
        return real(stretch)

    monkeypatch.setattr(verifying, "check", interrupted)
    found = run("archive", "verify", "--archive", filled)
    assert found.exit_code == 130 and "stopped: go on with --from" in found.stdout


def test_help_has_an_example_for_each(tmp_path):
    for name in ("fetch", "verify", "import", "show"):
        assert f"waggle archive {name} --archive blocks" in " ".join(waggle("archive", name, "--help").split())
    assert subprocess.run([sys.executable, "-m", "node.cli", "archive", "--help"], capture_output=True).returncode == 0


# -- progress


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress_room.time, "monotonic", lambda: now[0])
    with progress("replaying", 1000) as advance:
        for done in range(0, 1001, 10):
            advance(done)
            now[0] += 0.5
    lines = capsys.readouterr()
    assert lines.out == "" and len(lines.err.splitlines()) == 5
    assert lines.err.splitlines()[0] == "replaying: 200 of 1,000 blocks, 20/s, 40 s left"


def test_progress_that_is_quiet_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr(progress_room, "EVERY", 0.0)
    with progress("replaying", 10, quiet=True) as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")


def test_progress_to_a_terminal_is_a_bar(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(progress_room, "_SHOWN", 0.0)
    with progress("replaying [x]", 10) as advance:
        advance(3)
        advance(10)
    text = capsys.readouterr()
    assert text.out == "" and "replaying [x]" in text.err


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.6, "1 min 0 s"), (3_725, "1 h 2 min"), (200_000, "2 d 7 h"), (59.4, "59 s")],
)
def test_durations(seconds, words):
    assert progress_room._duration(seconds) == words
