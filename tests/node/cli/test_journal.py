"""`waggle journal` and `waggle approve`: by a node's configuration, and by that of a remote signer."""

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from node.cli.approve import approve
from node.cli.journal import journal
from node.devnet.founding import found, genesis_document, member_keys
from node.devnet.node_files import write_node
from node.devnet.watching import PARAMETERS
from node.errors import ConfigError, JournalError
from node.genesis_text import to_toml
from node.signer.approvals import Approvals, approval, confirmation
from node.signer.journal import Journal
from state.errors import StoreLockedError
from state.store import LevelStore

TXID = bytes.fromhex("11" * 20)
OP = "60:58:12345"


@pytest.fixture(params=["config.toml", "signer.toml"])
def place(request, tmp_path):
    """A member's files; (configuration, data folder, genesis hash)."""
    member = member_keys(1)
    text = genesis_document([member, member_keys(2)], start_block=20, parameters=PARAMETERS)
    (tmp_path / "genesis.toml").write_text(to_toml(text))
    home = tmp_path / "home"
    write_node(home, member, ["http://a.example", "http://b.example"], interval=1)
    (home / "signer.toml").write_text(
        '[signer]\naccount = "runner01"\ngenesis = "../genesis.toml"\ndata = "data"\nlisten = "unix:sock"\n'
        '[keys]\nsigning = "signing.wif"\n'
    )
    return home / request.param, home / "data", found(text).hash


def run(command, *args):
    found = CliRunner().invoke(command, [str(arg) for arg in args], standalone_mode=False)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


def signed(place, *payloads):
    found = Journal(place[1] / "journal", place[2])
    found.write(payloads, TXID, 2000, OP, time=1000, spends=dict.fromkeys(payloads, ("HIVE", 5)))
    return found


def test_show_tells_what_was_signed_and_writes_nothing(place):
    signed(place, 4, 5).begin(30, 1000, 1900)
    before = {path.name: path.read_bytes() for path in place[1].iterdir()}
    body = json.loads(run(journal, "show", "--config", place[0], "--json").output)
    assert [entry["payload"] for entry in body["entries"]] == [4, 5]
    assert (body["born"]["height"], body["is_moved"], body["confirmed"]) == (30, False, False)
    text = run(journal, "show", "--config", place[0]).output
    assert "since block 30, old keys are held back until block time 1900" in text and OP in text
    assert {path.name: path.read_bytes() for path in place[1].iterdir()} == before


@pytest.mark.parametrize("why", ["until", "new keys", "confirmed"])
def test_show_says_so_where_nothing_is_held_back(place, why):
    journal_of = signed(place, 4)
    journal_of.begin(30, 1000, 0 if why == "until" else 1900)
    journal_of.note_key(b"\2" * 33, is_new=why == "new keys")
    if why == "confirmed":
        Approvals(place[1] / "approvals").add(confirmation(journal_of.born))
    text = run(journal, "show", "--config", place[0]).output
    assert "since block 30, nothing is held back" in text and "held back until" not in text
    assert json.loads(run(journal, "show", "--config", place[0], "--json").output)["held_until"] == 0
    assert "nothing is held back" in run(journal, "confirm", "--config", place[0]).output


def test_show_without_a_journal_makes_none(place):
    with pytest.raises(JournalError):
        run(journal, "show", "--config", place[0])
    assert not (place[1] / "journal").exists()


def test_export_and_import(place, tmp_path):
    signed(place, 4, 5)
    file = tmp_path / "journal.lines"
    run(journal, "export", file, "--config", place[0])
    assert file.stat().st_mode & 0o777 == 0o600
    (place[1] / "journal").unlink()
    assert json.loads(run(journal, "import", file, "--config", place[0], "--json").stdout)["new"] == 2
    assert json.loads(run(journal, "import", file, "--config", place[0], "--json").stdout)["new"] == 0
    assert Journal(place[1] / "journal", place[2]).has((4, 5), TXID)


def test_both_need_the_node_to_be_stopped(place, tmp_path):
    signed(place, 4)
    file = tmp_path / "journal.lines"
    run(journal, "export", file, "--config", place[0])
    store = LevelStore(place[1] / "state", place[2])
    try:
        for what in (("export", tmp_path / "another"), ("import", file)):
            with pytest.raises(StoreLockedError, match="stop that node first"):
                run(journal, *what, "--config", place[0])
        run(journal, "show", "--config", place[0])
    finally:
        store.close()
    assert not (tmp_path / "another").exists()
    run(journal, "import", file, "--config", place[0])


def test_what_is_no_export_is_not_taken(place, tmp_path):
    file = tmp_path / "file"
    for content in (b"\xff\xff", b"[1]\n", b'["aa", 1, 2, 3, 4]\n'):
        file.write_bytes(content)
        with pytest.raises(JournalError):
            run(journal, "import", file, "--config", place[0])


def test_confirm_asks_and_writes_the_word_of_this_beginning(place):
    approvals = Approvals(place[1] / "approvals")
    with pytest.raises(JournalError):
        run(journal, "confirm", "--config", place[0], "--yes")
    found = signed(place, 4)
    with pytest.raises(JournalError, match="start the node"):
        run(journal, "confirm", "--config", place[0], "--yes")
    found.begin(30, 1000, 1900)
    with pytest.raises(ConfigError, match="not confirmed"):
        run(journal, "confirm", "--config", place[0])
    assert approvals.words() == []
    run(journal, "confirm", "--config", place[0], "--yes")
    run(journal, "confirm", "--config", place[0], "--yes")
    assert approvals.words() == [confirmation(found.born)]


def test_confirm_where_nothing_is_held_back_says_so(place):
    signed(place, 4).begin(30, 1000, 0)
    assert "nothing is held back" in run(journal, "confirm", "--config", place[0]).output
    assert Approvals(place[1] / "approvals").words() == []


def test_an_old_copy_cannot_be_confirmed_before_it_begins_here(place):
    signed(place, 4).begin(30, 1000, 0)
    (place[1] / "journal.restored").touch()
    with pytest.raises(JournalError, match="start the node"):
        run(journal, "confirm", "--config", place[0], "--yes")


def test_approve_and_list(place):
    found = run(approve, OP, TXID.hex(), "--config", place[0], "--json")
    assert json.loads(found.stdout) == {"approved": approval(OP, TXID), "known": None}
    assert "The node was not asked" in found.stderr
    assert json.loads(run(approve, "--list", "--config", place[0], "--json").stdout) == {
        "approved": [approval(OP, TXID)]
    }
    assert OP in run(approve, "--list", "--config", place[0]).output


@pytest.mark.parametrize(
    "wrong", ["", "60", "journal:30", "60:58", "60:58:12345:1", "a:b:c", "60:58:12345\n", " 60:58:1"]
)
def test_what_is_no_id_is_not_approved(place, wrong):
    with pytest.raises(ConfigError):
        run(approve, wrong, "--config", place[0])
    assert Approvals(place[1] / "approvals").words() == []


@pytest.mark.parametrize("more", [(), ("11" * 19,), ("11" * 20 + "\n",), ("A" * 40,)])
def test_where_no_node_is_asked_the_transaction_is_named(place, more):
    """The id alone is a slot that another transaction can take."""
    with pytest.raises(ConfigError, match=r"TXID|no id of a transaction"):
        run(approve, OP, *more, "--config", place[0])
    assert Approvals(place[1] / "approvals").words() == []


@pytest.mark.parametrize("args", [(), (OP, "--list")])
def test_one_id_or_the_list(place, args):
    with pytest.raises(ConfigError, match="or --list"):
        run(approve, *args, "--config", place[0])


def test_with_a_remote_signer_the_journal_is_there(place):
    config = place[0].with_name("config.toml")
    text = config.read_text().replace('signing = "signing.wif"', "").replace("[log]", '[signer]\nurl = "unix:s"\n[log]')
    config.write_text(text)
    with pytest.raises(ConfigError, match=r"name its signer\.toml"):
        run(approve, OP, "--config", config)


def test_a_running_node_is_asked_what_it_is(place, monkeypatch):
    config, data, _ = place
    if config.name == "signer.toml":
        pytest.skip("a remote signer has no control socket")
    data.mkdir(exist_ok=True)
    (data / "control.sock").touch()
    out = SimpleNamespace(op=OP, kind="payout", payloads=("p4: 1.234 HIVE to receiver",), txid=TXID.hex())
    monkeypatch.setattr("node.cli.approve.look", lambda config: (0, {}, SimpleNamespace(transactions=(out,))))
    assert "1.234 HIVE to receiver" in run(approve, OP, "--config", config).output
    with pytest.raises(ConfigError, match="has no group transaction 60:58:1 out"):
        run(approve, "60:58:1", "--config", config)
    run(approve, OP, TXID.hex(), "--config", config)
    with pytest.raises(ConfigError, match="look at it anew"):
        run(approve, OP, "22" * 20, "--config", config)
    assert Approvals(data / "approvals").words() == [approval(OP, TXID)]
