"""The text of a new configuration, and the public API servers that a new node begins with."""

import json
from collections.abc import Sequence

import msgspec

from node.config import ApiConfig

#: Hive's chain id (HIVE_CHAIN_ID).
MAIN_CHAIN = bytes.fromhex("beeab0de" + "00" * 28)


class Public(msgspec.Struct, frozen=True):
    """A public API server and its operator's Hive account."""

    url: str
    operator: str


#: Public servers and who runs them, as Hive's own developer portal lists them (developers.hive.io, Hive Nodes). Whether
#: they answer today, and whether the operator is still the same, nobody promises: `waggle doctor` looks.
PUBLIC_APIS = (
    Public("https://api.hive.blog", "blocktrades"),
    Public("https://api.deathwing.me", "deathwing"),
    Public("https://api.openhive.network", "gtg"),
    Public("https://techcoderx.com", "techcoderx"),
)

_TEXT = """\
# The configuration of this node. config.example.toml explains every key; what is not here has its default.
# Paths are relative to this folder. Look at it with: waggle doctor --config config.toml

[node]
account = {account}
genesis = "genesis.toml"
data = "data"                   # state, journal, snapshots. The journal must never be lost: waggle keys backup

[keys]
account = "account.key"         # the account's active key: sends this node's custom_json
signing = "signing.key"         # signs for the group; several: ["signing.key", "old.key"]
# Where the password comes from, never what it is: "prompt", "file:PATH", "credential:NAME" (systemd).
password = {password}

# Servers of Hive's API, of at least two operators: what one says is confirmed by another. {servers}
{apis}
[http]
# Health, metrics and what other members' nodes read; "" = none.
listen = {listen}

[policy]
allow = ["rotation", "standing", "proposal"]  # what this node signs; or single operations of proposals
# max_hive_day = 1000000        # limits in smallest units: 1000000 is 1000.000 HIVE a day
# manual = true                 # sign nothing before `waggle approve ID TXID`

[log]
format = "console"              # "json" for machines
level = "info"
"""
_API = """
[[api]]
url = {url}
operator = {operator}
"""
_UNCHECKED = "Those below are\n# known public ones: nobody promises that they answer, or who runs them."


def config_text(account: str, apis: Sequence[ApiConfig], *, password: str, listen: str) -> str:
    """A short configuration that works."""
    public = {api.url for api in PUBLIC_APIS}
    return _TEXT.format(
        account=_text(account),
        password=_text(password),
        listen=_text(listen),
        servers=_UNCHECKED if any(api.url in public for api in apis) else "",
        apis="".join(_API.format(url=_text(api.url), operator=_text(api.operator)) for api in apis),
    ).replace(". \n", ".\n")


def _text(value: str) -> str:
    """A TOML string."""
    return json.dumps(value, ensure_ascii=False)
