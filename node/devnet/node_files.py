"""What is written for a member of a devnet: its node's configuration and its keys. The only place that knows how."""

import json
from pathlib import Path

from node.devnet.founding import MemberKeys
from node.signer.keys import write_key

_CONFIG = """\
[node]
account = {account}
genesis = "../genesis.toml"
data = "data"
poll_seconds = {poll}

[keys]
account = "account.wif"
signing = "signing.wif"
{apis}
[log]
format = "json"
level = "info"
"""
_API = """
[[api]]
url = {url}
operator = {operator}
"""
_OPERATORS = ("north", "south", "east", "west")


def operator(index: int) -> str:
    """The name of the operator of the API server at ``index``, from 0; no two are the same."""
    return _OPERATORS[index] if index < len(_OPERATORS) else f"operator{index + 1}"


def write_node(home: Path, member: MemberKeys, urls: list[str], *, interval: float) -> None:
    """config.toml and the key files of a member's node; keys that are there stay. ``interval``: seconds a block."""
    home.mkdir(exist_ok=True)
    for name, key in (("account.wif", member.account_key), ("signing.wif", member.signing_key)):
        if not (home / name).exists():
            write_key(home / name, key)
    apis = "".join(_API.format(url=_text(url), operator=_text(operator(index))) for index, url in enumerate(urls))
    poll = round(min(1.0, max(0.005, interval / 3)), 4)
    (home / "config.toml").write_text(_CONFIG.format(account=_text(member.account), poll=poll, apis=apis))


def write_guest(path: Path, guest: MemberKeys) -> None:
    """The active key of an account that nobody runs a node for yet; nothing else is prepared for it."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        write_key(path, guest.account_key)


def _text(value: str) -> str:
    """A TOML string."""
    return json.dumps(value)
