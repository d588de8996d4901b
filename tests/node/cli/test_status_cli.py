"""`waggle status`: a running node is asked through its socket; one that does not run is said to be down."""

import asyncio
import json

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from node.api.app import make_app
from node.api.serving import serve
from node.cli.status import ATTENTION, DOWN, WELL, ask, status
from node.config import HttpConfig
from node.errors import ApiError
from state.schema import MS
from tests.node.api.serving import ServedNode
from tests.node.test_core import any_state, new_group, run_to_founded

CONFIG = """
[node]
account = "runner02"
genesis = "genesis.toml"
data = "data"
[keys]
account = "account.wif"
signing = "signing.wif"
[[api]]
url = "https://north.example"
operator = "north"
[[api]]
url = "https://south.example"
operator = "south"
"""


@pytest.fixture
def node(tmp_path) -> ServedNode:
    group = new_group(tmp_path)
    run_to_founded(group)
    group.run_until(lambda: not any(any_state(group).walk(MS)), 60)
    (tmp_path / "config.toml").write_text(CONFIG)
    return ServedNode(group, tmp_path)


def run(folder, *arguments):
    return CliRunner().invoke(status, ["--config", str(folder / "config.toml"), *arguments])


def running(node, folder, *arguments):
    """The command while the node is served."""

    async def main():
        runner = await serve(make_app(node), HttpConfig(), folder / "data" / "control.sock")
        try:
            return await asyncio.to_thread(run, folder, *arguments)
        finally:
            await runner.stop()

    return asyncio.run(main())


def test_a_node_that_is_well(node, tmp_path):
    shown = running(node, tmp_path)
    assert shown.exit_code == WELL == 0
    assert "runner02" in shown.output and "all is well" in shown.output
    body = json.loads(running(node, tmp_path, "--json").output)
    assert (body["code"], body["running"], body["attention"]) == (0, True, [])
    assert body["status"]["height"] == node.state.height


def test_a_node_that_needs_attention_says_what_and_what_to_do(node, tmp_path):
    node.facts = replace(node.facts, resource_credits=2)
    shown = running(node, tmp_path)
    assert shown.exit_code == ATTENTION == 1
    assert "2 % of its resource credits" in " ".join(shown.output.split())
    [told] = json.loads(running(node, tmp_path, "--json").output)["attention"]
    assert told["name"] == "resource-credits" and told["remedy"] == "delegate Hive Power to the-group"


def test_a_node_that_does_not_run_says_how_to_start_it(node, tmp_path):
    shown = run(tmp_path)
    assert shown.exit_code == DOWN == 2
    assert f"start it: waggle run --config {tmp_path / 'config.toml'}" in shown.output
    node.snapshots = tmp_path / "data" / "snapshots"
    body = json.loads(run(tmp_path, "--json").output)
    assert body["running"] is False and body["data"]["snapshots"] == [] and body["data"]["state"] is False


def test_a_dead_socket_is_a_node_that_does_not_run(node, tmp_path):
    import socket

    (tmp_path / "data").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "data" / "control.sock"))
    assert run(tmp_path).exit_code == DOWN


def test_a_node_that_fails_to_answer_is_an_error_of_its_own(node, tmp_path):
    def broken():
        raise ZeroDivisionError

    node.status = broken
    shown = running(node, tmp_path)
    assert shown.exit_code == ATTENTION and "its log says why" in shown.output


def test_somebody_else_on_the_socket(tmp_path):
    async def garbage(reader, writer):
        await reader.read(100)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
        writer.close()

    async def main():
        server = await asyncio.start_unix_server(garbage, tmp_path / "control.sock")
        with pytest.raises(ApiError, match="another version"):
            await ask(tmp_path / "control.sock")
        server.close()

    asyncio.run(main())


def test_watching_goes_on_until_it_is_interrupted(node, tmp_path, monkeypatch):
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("node.cli.status.time.sleep", sleep)
    shown = running(node, tmp_path, "--watch", "--json", "--every", "0.5")
    assert looks == [0.5] * 3 and shown.exit_code == WELL
    assert [json.loads(line)["running"] for line in shown.stdout.splitlines()] == [True] * 3
    looks.clear()
    assert run(tmp_path, "--watch").exit_code == DOWN
    looks.clear()
    assert running(node, tmp_path, "--watch").exit_code == WELL
