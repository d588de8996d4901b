"""A devnet on loopback in this process with a group's genesis, and a home for a newcomer's node on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from node.devnet.founding import genesis_document, guest_keys, member_keys, new_chain
from node.devnet.manners import HONEST, Manner
from node.genesis_text import to_toml
from node.signer.keyfile import info_of, write_sealed
from node.signer.keys import SecretKey
from tests.node.devnet import serving
from tests.node.devnet.serving import Served, served

PASSWORD = "correct horse battery"
CREATED = "2026-11-21T06:12:02Z"
PARAMETERS = {"round_length": 20, "report_at": 10, "recast_every": 10, "header_lifetime": 900, "header_min_left": 60}
CONFIG = """\
[node]
account = "{account}"
genesis = "genesis.toml"
data = "data"
[keys]
account = "account.key"
signing = "signing.key"
password = "file:password"
[http]
listen = ""
{apis}"""
API = '[[api]]\nurl = "{url}"\noperator = "{operator}"\n'
OPERATORS = ("north", "south", "east", "west")


class Hive:
    """The chain behind some addresses, and the group's genesis document."""

    def __init__(self, first: Served, manners: tuple[Manner, ...]) -> None:
        self.first = first
        self.chain = first.server.chain
        self.urls = [first.url, *(first.also(manner).url for manner in manners)]
        self.members = [member_keys(number) for number in (1, 2, 3)]
        self.document = genesis_document(
            self.members, start_block=20, parameters=PARAMETERS, collateral={"newcomer": 120}
        )


@contextmanager
def hive(monkeypatch, *manners: Manner, clock: bool = True) -> Iterator[Hive]:
    """Addresses that answer in these manners (two honest ones if none is named), a block every 30 ms."""
    monkeypatch.setattr(serving, "INTERVAL", 0.03)
    wanted = manners or (HONEST, HONEST)
    members = [*(member_keys(number) for number in (1, 2, 3)), guest_keys()]
    chain = new_chain(members, members[0])
    for _ in range(40):
        chain.produce()
    with served(SimpleNamespace(chain=chain), clock=clock, manner=wanted[0]) as first:
        yield Hive(first, wanted[1:])


def home(folder: Path, found: Hive, *, account_key: SecretKey | None = None, urls: list[str] | None = None) -> Path:
    """A newcomer's configuration with keys; returns its path."""
    guest = guest_keys()
    folder.mkdir(mode=0o700)
    (folder / "data").mkdir(mode=0o700)
    (folder / "genesis.toml").write_text(to_toml(found.document))
    apis = "".join(
        API.format(url=url, operator=OPERATORS[index]) for index, url in enumerate(found.urls if urls is None else urls)
    )
    secret(folder / "password", PASSWORD)
    for role, key in (("account", account_key or guest.account_key), ("signing", guest.signing_key)):
        info = info_of(key, role, guest.account, CREATED, "TST")
        write_sealed(folder / f"{role}.key", key, info, PASSWORD)
    path = folder / "config.toml"
    path.write_text(CONFIG.format(account=guest.account, apis=apis))
    path.chmod(0o600)
    return path


def secret(path: Path, text: str) -> Path:
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path
