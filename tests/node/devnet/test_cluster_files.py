"""What a devnet writes for its members and for whoever wants to join them by hand."""

import stat
import tomllib
from pathlib import Path

from node.devnet.catalogue import SCENARIOS
from node.devnet.cluster import Cluster
from node.devnet.founding import guest_keys, member_keys
from node.devnet.manners import manner
from node.devnet.node_files import operator, write_guest, write_node
from node.signer.keys import load_keys


def test_a_node_asks_every_server_by_the_name_of_its_operator(tmp_path: Path) -> None:
    urls = [f"http://127.0.0.1:{port}" for port in range(1, 7)]
    write_node(tmp_path / "runner01", member_keys(1), urls, interval=0.05)
    written = tomllib.loads((tmp_path / "runner01" / "config.toml").read_text())
    assert [api["url"] for api in written["api"]] == urls
    assert [api["operator"] for api in written["api"]] == ["north", "south", "east", "west", "operator5", "operator6"]
    assert len({operator(index) for index in range(30)}) == 30
    assert written["node"]["account"] == "runner01"


def test_keys_that_are_there_stay(tmp_path: Path) -> None:
    for _ in range(2):
        write_node(tmp_path / "runner01", member_keys(1), ["http://127.0.0.1:1"], interval=3.0)
        write_guest(tmp_path / "newcomer" / "active.wif", guest_keys())
    (found,) = load_keys(tmp_path / "newcomer" / "active.wif")
    assert found.public == guest_keys().account_key.public
    assert stat.S_IMODE((tmp_path / "newcomer" / "active.wif").stat().st_mode) == 0o600


def test_a_guest_has_an_account_and_nobody_else_does(tmp_path: Path) -> None:
    with_guest = Cluster(tmp_path / "a", 5, interval=0.05, lag=1, guest=True)
    account = with_guest.chain.ledger.accounts["newcomer"]
    assert dict(account.active.key_auths) == {guest_keys().account_key.public: 1}
    assert account.balances[0] > 0 and account.credits > 0
    assert "newcomer" not in Cluster(tmp_path / "b", 5, interval=0.05, lag=1).chain.ledger.accounts


def test_each_scenario_names_servers_that_there_are() -> None:
    for name, scenario in SCENARIOS.items():
        assert len(scenario.apis) >= 2, name
        assert any(manner(text).name in ("honest", "slow") for text in scenario.apis), name
