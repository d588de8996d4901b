"""The wires of a node: it ends when it is told to, whatever its servers do; a halted node stays halted."""

import asyncio
import time
from pathlib import Path

import pytest
from aiohttp import web
from msgspec.structs import replace

from node.config import ApiConfig, Config
from node.core import NodeCore
from node.daemon import run_node
from node.devnet.founding import found, genesis_document, member_keys, new_chain
from node.devnet.group import VirtualGroup
from node.devnet.watching import PARAMETERS
from node.genesis_text import to_toml
from node.outbox import Outbox
from node.signer.keys import write_key
from node.signer.policy import Policy
from state.schema import BALANCE, Balance


def config_for(folder: Path, url: str) -> Config:
    """A member's configuration with its files in ``folder``."""
    members = [member_keys(number) for number in range(1, 4)]
    (folder / "genesis.toml").write_text(to_toml(genesis_document(members, start_block=20, parameters=PARAMETERS)))
    write_key(folder / "account.wif", members[0].account_key)
    write_key(folder / "signing.wif", members[0].signing_key)
    return Config(
        path=folder / "config.toml",
        account=members[0].account,
        genesis=folder / "genesis.toml",
        data=folder / "data",
        poll_seconds=0.05,
        account_key=folder / "account.wif",
        signing_keys=(folder / "signing.wif",),
        apis=(ApiConfig(url, "north"),),
        policy=Policy(),
        log_format="json",
        log_level="info",
    )


@pytest.mark.parametrize("kind", ["silent", "broken"])
def test_it_ends_at_once_although_its_server_says_nothing(tmp_path, kind):
    events = []

    async def main() -> float:
        silence = asyncio.Event()

        async def answer(request: web.Request) -> web.Response:
            if kind == "broken":
                raise web.HTTPInternalServerError
            await silence.wait()
            return web.Response()

        app = web.Application()
        app.router.add_post("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        stop = asyncio.Event()
        log = lambda event, fields: events.append(event)  # noqa: E731
        node = asyncio.create_task(run_node(config_for(tmp_path, f"http://{host}:{port}"), log, stop))
        await asyncio.sleep(0.4)
        begun = time.monotonic()
        stop.set()
        await node
        silence.set()
        took = time.monotonic() - begun
        await runner.cleanup()
        return took

    assert asyncio.run(main()) < 1.0
    assert "start" in events and events[-1] == "stop"
    assert ("api_error" in events) == (kind == "broken")


def test_a_halted_node_stays_halted_over_a_restart(tmp_path):
    members = [member_keys(number) for number in range(1, 6)]
    genesis = found(genesis_document(members, start_block=20, parameters=PARAMETERS))
    group = VirtualGroup(new_chain(members, members[0]), genesis, tmp_path)
    for member in members:
        group.join(member)
    group.run(50)
    bad = group.nodes["runner05"]
    lie = bad.state.view()
    lie.put(BALANCE, Balance(1), "somebody")
    bad.state.commit(lie)
    group.run_until(lambda: bad.halted_at is not None, 80)
    group.run(10)
    again = NodeCore(
        genesis, bad.state, "runner05", members[4].account_key, bad._signer, Outbox(None), "0.1.0", lambda *told: None
    )
    assert again.halted_at == bad.halted_at
    honest = group.nodes["runner01"]
    whole = NodeCore(
        genesis,
        honest.state,
        "runner01",
        members[0].account_key,
        honest._signer,
        Outbox(None),
        "0.1.0",
        lambda *t: None,
    )
    assert whole.halted_at is None


def test_a_log_of_a_stop_holds_no_secret(tmp_path):
    config = replace(config_for(tmp_path, "http://127.0.0.1:9"), signing_keys=(tmp_path / "nowhere.wif",))
    wif = (tmp_path / "account.wif").read_text().strip()
    with pytest.raises(Exception) as caught:
        asyncio.run(run_node(config, lambda *told: None, asyncio.Event()))
    assert wif not in str(caught.value) and "0600" in str(caught.value)
