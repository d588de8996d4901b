"""The configuration of a node: TOML, everything that is wrong reported at once (config.example.toml explains it)."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from node.errors import ConfigError
from node.signer.policy import Policy
from processors.hive.names import is_account_name

_SECTIONS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "node": {"account": str, "genesis": str, "data": str, "poll_seconds": (int, float)},
    "keys": {"account": str, "signing": str},
    "policy": {"second_opinion": bool, "allow": list, "max_hive": int, "max_hbd": int},
    "log": {"format": str, "level": str},
}
_NEEDED = {"node": ("account", "genesis", "data"), "keys": ("account", "signing")}
_PAYLOAD_KINDS = ("rotation", "standing", "payout")


class ApiConfig(msgspec.Struct, frozen=True):
    """A server of Hive's API and who runs it."""

    url: str
    operator: str


class Config(msgspec.Struct, frozen=True):
    """A checked configuration; paths are absolute or relative to the file."""

    account: str
    genesis: Path
    data: Path
    poll_seconds: float
    account_key: Path
    signing_keys: Path
    apis: tuple[ApiConfig, ...]
    policy: Policy
    log_format: str
    log_level: str


def load_config(path: Path) -> Config:
    """Read and check a configuration. Raises ConfigError with all problems."""
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: copy config.example.toml and edit it") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    wrong = _problems(document)
    if wrong:
        raise ConfigError(f"{path}:\n" + "\n".join(f"  {line}" for line in wrong))
    return _build(document, path.parent)


def _problems(document: dict[str, Any]) -> list[str]:
    wrong = [f"{name}: no such section" for name in sorted(document.keys() - _SECTIONS.keys() - {"api"})]
    for section, keys in _SECTIONS.items():
        found = document.get(section, {})
        if not isinstance(found, dict):
            wrong.append(f"{section}: must be written [{section}]")
            continue
        wrong += [f"{section}.{key}: missing" for key in _NEEDED.get(section, ()) if key not in found]
        for key, value in found.items():
            if key not in keys:
                wrong.append(f"{section}.{key}: no such key; known are {', '.join(keys)}")
            elif isinstance(value, bool) != (keys[key] is bool) or not isinstance(value, keys[key]):
                wrong.append(f"{section}.{key}: {value!r} has the wrong type")
    if not wrong or all("no such" in line for line in wrong):
        wrong += _wrong_values(document)
    return wrong


def _wrong_values(document: dict[str, Any]) -> list[str]:
    wrong = []
    if not is_account_name(document["node"]["account"]):
        wrong.append(f"node.account: {document['node']['account']!r} is no Hive account name")
    if not 0.005 <= document["node"].get("poll_seconds", 1) <= 60:
        wrong.append("node.poll_seconds: between 0.005 and 60")
    servers = document.get("api", [])
    if not isinstance(servers, list) or not servers:
        wrong.append("api: at least one [[api]] with url and operator")
        servers = []
    for index, server in enumerate(servers):
        if not isinstance(server, dict) or server.keys() != {"url", "operator"}:
            wrong.append(f"api[{index}]: exactly url and operator")
        elif not str(server["url"]).startswith(("http://", "https://")):
            wrong.append(f"api[{index}].url: {server['url']!r} is no http or https URL")
    operators = {str(server.get("operator")) for server in servers if isinstance(server, dict)}
    if servers and len(operators) < 2:
        wrong.append("api: two servers of different operators: a second one must confirm what is signed")
    policy = document.get("policy", {})
    for kind in policy.get("allow", []):
        if kind not in _PAYLOAD_KINDS:
            wrong.append(f"policy.allow: {kind!r} is none of {', '.join(_PAYLOAD_KINDS)}")
    for key, choices in (("format", ("console", "json")), ("level", ("debug", "info", "warning"))):
        value = document.get("log", {}).get(key, choices[0 if key == "format" else 1])
        if value not in choices:
            wrong.append(f"log.{key}: {value!r} is none of {', '.join(choices)}")
    return wrong


def _build(document: dict[str, Any], base: Path) -> Config:
    node, keys, policy = document["node"], document["keys"], document.get("policy", {})
    return Config(
        account=node["account"],
        genesis=base / node["genesis"],
        data=base / node["data"],
        poll_seconds=float(node.get("poll_seconds", 1)),
        account_key=base / keys["account"],
        signing_keys=base / keys["signing"],
        apis=tuple(ApiConfig(server["url"], str(server["operator"])) for server in document["api"]),
        policy=Policy(
            second_opinion=policy.get("second_opinion", True),
            allow=tuple(policy.get("allow", Policy().allow)),
            max_hive=policy.get("max_hive"),
            max_hbd=policy.get("max_hbd"),
        ),
        log_format=document.get("log", {}).get("format", "console"),
        log_level=document.get("log", {}).get("level", "info"),
    )
