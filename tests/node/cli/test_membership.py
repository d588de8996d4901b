"""`waggle join` and `waggle leave` on a devnet in this process: what is shown, what is sent, what is refused."""

import asyncio
import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from node.api.app import make_app
from node.api.serving import serve
from node.cli.membership import join, leave
from node.config import HttpConfig
from node.devnet.founding import MemberKeys, devnet_key, genesis_document, guest_keys, member_keys
from node.devnet.watching import PARAMETERS, PAYOUT
from node.errors import ApiError, BroadcastRefusedError, ConfigError, KeyFileError, NodeError
from node.genesis_text import to_toml
from processors.genesis import genesis_hash, pop_digest
from processors.hive.crypto import recover
from processors.hive.keys import public_key_to_text
from state.schema import NODE
from tests.node.api.serving import ServedNode
from tests.node.devnet import serving
from tests.node.devnet.serving import served
from tests.node.hive_at_home import PASSWORD, hive, home
from tests.node.test_core import any_state, new_group, run_to_founded

pytestmark = pytest.mark.usefixtures("quick_scrypt", "no_terminal")

DOMAIN = "https://node.example"
GUEST = guest_keys()


def run(command, path, *words, typed=None):
    return CliRunner().invoke(command, ["--config", str(path), *map(str, words)], input=typed)


def done(command, path, *words):
    """What machines are told by a command that succeeds."""
    found = run(command, path, *words, "--yes", "--json")
    assert found.exit_code == 0, (found.output, found.exception)
    return json.loads(found.stdout)


def failing(kind, command, path, *words, typed=None):
    found = run(command, path, *words, typed=typed)
    assert isinstance(found.exception, kind), (found.output, found.exception)
    assert PASSWORD not in found.output + str(found.exception)
    return str(found.exception)


def sent(chain):
    """The custom_json on chain: (account, id, json), oldest first."""
    return [
        (*operation.value["required_auths"], operation.value["id"], json.loads(operation.value["json"]))
        for block in chain.blocks
        for entry in block.transactions
        for operation in entry.tx.operations
        if operation.name == "custom_json"
    ]


# -- with a chain, and no node


def test_join_registers_with_a_proof_and_waits_until_it_is_irreversible(tmp_path, monkeypatch):
    with hive(monkeypatch) as found:
        body = done(join, home(tmp_path / "home", found), "--domain", DOMAIN)
        irreversible = found.chain.irreversible_number
    [(account, name, said)] = sent(found.chain)
    key = public_key_to_text(GUEST.signing_key.public, "TST")
    assert (account, name) == ("newcomer", "waggle_node_add")
    assert said.keys() == {"domain", "signing_key", "pop"}
    assert (said["domain"], said["signing_key"]) == (DOMAIN, key)
    digest = pop_digest(genesis_hash(found.document), "newcomer")
    assert recover(bytes.fromhex(said["pop"]), digest) == GUEST.signing_key.public
    assert body["status"] == "registered" and body["block"] <= irreversible
    assert found.chain.included[bytes.fromhex(body["txid"])] == body["block"]
    assert body["seen_by_node"] is None, "no node runs here to say so"


def test_people_see_who_what_it_costs_and_what_comes_next(tmp_path, monkeypatch):
    with hive(monkeypatch) as found:
        shown = run(join, home(tmp_path / "home", found), "--domain", DOMAIN, typed="y\n")
    assert shown.exit_code == 0
    for words in (
        "newcomer, 100 % of its resource credits",
        "the-group, genesis " + genesis_hash(found.document).hex()[:16],
        "the genesis document alone",
        "collateral for a seat: at least 1, you have 120 locked",
        "288 agreed rounds with your report: about 5 hours",
        "then a seat",
        "next rotation",
        "registered in block",
    ):
        assert words in shown.stdout, words


def test_follow_active_is_said_only_where_it_is_wanted(tmp_path, monkeypatch):
    with hive(monkeypatch) as found:
        done(join, home(tmp_path / "home", found), "--domain", DOMAIN, "--follow-active")
    assert sent(found.chain)[0][2]["follow_active"] is True


def test_a_dry_run_sends_nothing(tmp_path, monkeypatch):
    with hive(monkeypatch) as found:
        body = done(join, home(tmp_path / "home", found), "--domain", DOMAIN, "--dry-run")
    assert body["status"] == "dry_run" and len(body["transaction"]["signatures"]) == 1
    assert sent(found.chain) == []


@pytest.mark.parametrize("typed", ["n\n", "", None])
def test_without_a_yes_nothing_is_sent(tmp_path, monkeypatch, typed):
    with hive(monkeypatch) as found:
        said = failing(NodeError, join, home(tmp_path / "home", found), "--domain", DOMAIN, typed=typed)
        assert "nothing was sent" in said
        assert found.chain.pool == [] and sent(found.chain) == []


def test_without_a_domain_it_asks_or_says_what_is_missing(tmp_path, monkeypatch):
    with hive(monkeypatch) as found:
        path = home(tmp_path / "home", found)
        assert "--domain: missing" in failing(ConfigError, join, path, "--yes")
        assert run(join, path, typed=f"{DOMAIN}\ny\n").exit_code == 0
    assert sent(found.chain)[0][2]["domain"] == DOMAIN


@pytest.mark.parametrize(
    "domain", ["node.example", "https://Node.example", "https://node.example/", "ftp://x", "https://"]
)
def test_a_domain_that_the_group_would_reject(tmp_path, monkeypatch, domain):
    with hive(monkeypatch) as found:
        path = home(tmp_path / "home", found)
        assert "and no path" in failing(ConfigError, join, path, "--domain", domain, "--yes")
    assert sent(found.chain) == []


def test_a_wrong_account_key_is_told_before_anything_is_sent(tmp_path, monkeypatch):
    with hive(monkeypatch) as found:
        path = home(tmp_path / "home", found, account_key=devnet_key("somebody else"))
        said = failing(KeyFileError, join, path, "--domain", DOMAIN, "--yes")
    assert "is not in the active authority of newcomer on chain" in said and "keys.account" in said
    assert sent(found.chain) == []


def test_the_account_key_is_no_signing_key(tmp_path, monkeypatch):
    with hive(monkeypatch) as found:
        path = home(tmp_path / "home", found, account_key=GUEST.signing_key)
        assert "two roles, two keys" in failing(ConfigError, join, path, "--domain", DOMAIN, "--yes")


def test_a_key_that_another_member_has(tmp_path, monkeypatch):
    with hive(monkeypatch) as found:
        path = home(tmp_path / "home", found)
        other = MemberKeys("runner02", member_keys(2).account_key, GUEST.signing_key)
        document = genesis_document([member_keys(1), other], start_block=100, parameters={})
        (tmp_path / "home/genesis.toml").write_text(to_toml(document))
        said = failing(NodeError, join, path, "--domain", DOMAIN, "--yes")
    assert "runner02 has this signing key, or had it" in said


def test_a_refused_broadcast_says_the_servers_word(tmp_path, monkeypatch):
    from node import registration

    true = registration.reference

    async def from_yesterday(api):
        found = await true(api)
        return registration.Reference(found.number, found.block_id, found.head_time - 86_400)

    monkeypatch.setattr(registration, "reference", from_yesterday)
    with hive(monkeypatch) as found:
        said = failing(BroadcastRefusedError, join, home(tmp_path / "home", found), "--domain", DOMAIN, "--yes")
    assert found.urls[0] in said and "waggle doctor" in said


def test_when_no_server_answers_it_says_what_each_said(tmp_path, monkeypatch):
    with hive(monkeypatch) as found:
        path = home(tmp_path / "home", found, urls=["http://127.0.0.1:1", "http://127.0.0.1:2"])
        said = failing(ApiError, join, path, "--domain", DOMAIN, "--yes")
    assert "127.0.0.1:1" in said and "127.0.0.1:2" in said and "[[api]]" in said


def test_one_dead_server_is_passed_over(tmp_path, monkeypatch):
    with hive(monkeypatch) as found:
        path = home(tmp_path / "home", found, urls=["http://127.0.0.1:1", found.urls[1]])
        assert done(join, path, "--domain", DOMAIN)["server"] == found.urls[1]


def test_with_a_remote_signer_the_proof_is_given(tmp_path, monkeypatch):
    with hive(monkeypatch) as found:
        path = home(tmp_path / "home", found)
        path.write_text(path.read_text().replace('signing = "signing.key"\n', "") + '[signer]\nurl = "unix:s"\n')
        assert "waggle keys pop" in failing(ConfigError, join, path, "--domain", DOMAIN, "--yes")
        text = public_key_to_text(GUEST.signing_key.public, "TST")
        wrong = GUEST.signing_key.sign(bytes(32)).hex()
        for pop in (wrong, "zz", "00"):
            words = ("--domain", DOMAIN, "--yes", "--signing-key", text, "--pop", pop)
            failing(ConfigError, join, path, *words)
        pop = GUEST.signing_key.sign(pop_digest(genesis_hash(found.document), "newcomer")).hex()
        body = done(join, path, "--domain", DOMAIN, "--signing-key", text, "--pop", pop)
    assert body["status"] == "registered"


def test_without_a_state_nobody_knows_whether_one_is_a_member(tmp_path, monkeypatch):
    with hive(monkeypatch) as found:
        assert "no state yet" in failing(NodeError, leave, home(tmp_path / "home", found), "--yes")


# -- with a node that runs


@contextmanager
def running(folder, monkeypatch):
    """A founded group on virtual time behind addresses; the node of runner06, no member yet, listens in a home."""
    monkeypatch.setattr(serving, "INTERVAL", 0.05)
    group = new_group(folder)
    newcomer = member_keys(6)
    group.join(newcomer)
    run_to_founded(group)
    keys = [member_keys(number) for number in range(1, 6)]
    parameters = {**PARAMETERS, "hive_rules": 28}
    document = genesis_document(keys, start_block=20, parameters=parameters, payouts=[PAYOUT])
    with served(SimpleNamespace(chain=group.chain)) as first:
        found = SimpleNamespace(urls=[first.url, first.also(serving.HONEST).url], document=document, chain=group.chain)
        path = home(folder / "home", found, account_key=newcomer.account_key)
        path.write_text(path.read_text().replace("newcomer", "runner06"))
        first.server.on_block.append(lambda block: group.step(produce=False))

        async def begin():
            runner = await serve(
                make_app(ServedNode(group, folder, "runner06")), HttpConfig(), folder / "home/data/control.sock"
            )
            first.server.start_clock()
            return runner

        runner = asyncio.run_coroutine_threadsafe(begin(), first._loop).result(10)
        try:
            yield group, path
        finally:
            asyncio.run_coroutine_threadsafe(runner.stop(), first._loop).result(10)


def test_the_whole_life_of_a_membership(tmp_path, monkeypatch):
    with running(tmp_path, monkeypatch) as (group, path):
        assert done(leave, path)["status"] == "no_member"
        body = done(join, path, "--domain", DOMAIN)
        assert (body["status"], body["seen_by_node"]) == ("registered", True)
        assert any_state(group).need(NODE, "runner06").domain == DOMAIN

        again = run(join, path, "--yes")
        assert again.exit_code == 0 and "nothing to do" in again.stdout
        assert done(join, path)["status"] == "already"

        moved = done(join, path, "--domain", "https://other.example")
        assert (moved["status"], moved["seen_by_node"]) == ("registered", True)

        left = run(leave, path, "--yes")
        assert left.exit_code == 0, left.exception
        assert "What it means" in left.stdout and "leaving in block" in left.stdout
        member = any_state(group).get(NODE, "runner06")
        assert member is None or member.leaving
        assert done(leave, path)["status"] in ("already", "no_member")


def test_a_rejection_by_the_group_is_told(tmp_path, monkeypatch):
    """What Hive takes and the group does not: the state shows it, and the command fails."""
    from node.cli import membership

    monkeypatch.setattr(membership.registration, "node_add", lambda *args, **how: {"domain": "x", "signing_key": "y"})
    with running(tmp_path, monkeypatch) as (group, path):
        said = failing(NodeError, join, path, "--domain", DOMAIN, "--yes")
        assert "rejected there" in said
        assert any_state(group).get(NODE, "runner06") is None
