"""A group that governs, behind addresses, and a home with a running node for each of its members."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from click.testing import CliRunner, Result

from node.api.app import make_app
from node.api.serving import serve
from node.cli.main import cli
from node.config import HttpConfig
from node.devnet.founding import MemberKeys, genesis_document, member_keys
from node.devnet.group import VirtualGroup
from node.devnet.watching import PARAMETERS
from node.genesis_text import to_toml
from node.signer.keyfile import info_of, write_sealed
from tests.node.api.serving import ServedNode
from tests.node.council import GENEROUS, governed
from tests.node.devnet import serving
from tests.node.devnet.serving import served
from tests.node.hive_at_home import API, CONFIG, CREATED, HONEST, OPERATORS, PASSWORD, secret

MEMBERS = 3


class World:
    """The group, and the configuration of each member's node."""

    def __init__(self, group: VirtualGroup, homes: dict[str, Path], call: Any) -> None:
        self.group, self.homes, self._call = group, homes, call

    def run(self, *words: object, by: str = "runner01", typed: str | None = None) -> Result:
        """`waggle WORDS --config ...` of a member."""
        return CliRunner().invoke(cli, [*map(str, words), "--config", str(self.homes[by])], input=typed)

    def done(self, *words: object, by: str = "runner01", acts: bool = True) -> dict[str, Any]:
        """What machines are told by a command that succeeds; one that ``acts`` is not asked whether it may."""
        found = self.run(*words, "--json", *(["--yes"] if acts else []), by=by)
        assert found.exit_code == 0, (found.output, found.exception)
        body: dict[str, Any] = json.loads(found.stdout)
        return body

    def fails(self, *words: object, by: str = "runner01", typed: str | None = None) -> str:
        """What people are told by one that fails; nothing secret is in it, and no traceback."""
        found = self.run(*words, by=by, typed=typed)
        said = found.output + str(found.exception or "")
        assert found.exit_code != 0, said
        assert PASSWORD not in said and "Traceback" not in found.output
        return said

    def on_chain(self, act: Any) -> Any:
        """``act(group)`` between two blocks."""
        return self._call(act)

    def sent(self) -> list[tuple[str, str, Any]]:
        """The custom_json of members on chain but reports and signatures: (account, name, json), oldest first."""
        found = [
            (*operation.value["required_auths"], operation.value["id"], json.loads(operation.value["json"]))
            for block in list(self.group.chain.blocks)
            for entry in block.transactions
            for operation in entry.tx.operations
            if operation.name == "custom_json"
        ]
        quiet = ("waggle_report", "waggle_sig_submit", "waggle_ms_signed")
        return [one for one in found if one[1] not in quiet]


@contextmanager
def governing(folder: Path, monkeypatch: Any, **parameters: Any) -> Iterator[World]:
    """A founded group whose blocks come by themselves; every member's node runs and listens on its socket."""
    monkeypatch.setattr(serving, "INTERVAL", 0.05)
    group = governed(folder / "journals", MEMBERS, **parameters)
    keys = [member_keys(number) for number in range(1, MEMBERS + 1)]
    given = {**PARAMETERS, "hive_rules": 28, **GENEROUS, **parameters}
    text = to_toml(genesis_document(keys, start_block=20, parameters=given, payouts=[]))
    with served(SimpleNamespace(chain=group.chain)) as first:  # type: ignore[arg-type]
        urls = [first.url, first.also(HONEST).url]
        homes = {member.account: _home(folder / member.account, member, text, urls) for member in keys}
        first.server.on_block.append(lambda block: group.step(produce=False))

        def call(act: Any) -> Any:
            async def now() -> Any:
                return act(group)

            return asyncio.run_coroutine_threadsafe(now(), first._loop).result(10)

        async def begin() -> list[Any]:
            found = [
                await serve(make_app(ServedNode(group, folder, name)), HttpConfig(), path.parent / "data/control.sock")
                for name, path in homes.items()
            ]
            first.server.start_clock()
            return found

        runners = asyncio.run_coroutine_threadsafe(begin(), first._loop).result(10)
        try:
            yield World(group, homes, call)
        finally:
            for runner in runners:
                asyncio.run_coroutine_threadsafe(runner.stop(), first._loop).result(10)


def _home(folder: Path, member: MemberKeys, genesis: str, urls: list[str]) -> Path:
    """A member's configuration with keys; returns its path."""
    folder.mkdir(mode=0o700)
    (folder / "data").mkdir(mode=0o700)
    (folder / "genesis.toml").write_text(genesis)
    secret(folder / "password", PASSWORD)
    for role, key in (("account", member.account_key), ("signing", member.signing_key)):
        write_sealed(folder / f"{role}.key", key, info_of(key, role, member.account, CREATED, "TST"), PASSWORD)
    apis = "".join(API.format(url=url, operator=OPERATORS[index]) for index, url in enumerate(urls))
    path = folder / "config.toml"
    path.write_text(CONFIG.format(account=member.account, apis=apis))
    path.chmod(0o600)
    return path
