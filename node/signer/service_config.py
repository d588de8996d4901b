"""The configuration of `waggle signer`: TOML, everything that is wrong told at once (docs/signer.md explains it)."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from node.errors import ConfigError
from node.options import OPTIONS, REQUIRED, Option, in_section
from node.signer.policy import Policy
from node.signer.trusted import Trust


class ServiceConfig(msgspec.Struct, frozen=True):
    """A checked configuration; paths are absolute or relative to the file.

    ``users``, ``group``: names or numbers, of this machine (node/signer/peers.py).
    """

    path: Path
    account: str
    genesis: Path
    data: Path
    listen: str
    signing_keys: tuple[Path, ...]
    password: str
    policy: Policy
    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None
    users: tuple[str, ...] = ()
    group: str = ""
    trust: Trust | None = None
    log_format: str = "console"
    log_level: str = "info"


def _users(value: Any) -> str:
    wrong = [repr(name) for name in value if not isinstance(name, str) or not name]
    return f"holds what is no name of a user: {', '.join(wrong)}" if wrong else ""


def _trust(value: Any) -> str:
    return "" if re.fullmatch(r"([0-9]{1,10}:[0-9a-f]{64})?", value) else "is no HEIGHT:ROOT"


_NODE, _SIGNER, _KEYS = OPTIONS["node"], OPTIONS["signer"], OPTIONS["keys"]
_SECTIONS: dict[str, dict[str, Option]] = {
    "signer": {
        "account": replace(_NODE["account"], remedy="name the Hive account whose node asks"),
        "genesis": _NODE["genesis"],
        "data": replace(_NODE["data"], remedy="name a folder that is this signer's alone"),
        "listen": replace(_SIGNER["url"], remedy="write unix:PATH or tls://HOST:PORT", default=REQUIRED),
        "certificate": replace(_SIGNER["certificate"], remedy="name this signer's certificate, for tls://"),
        "key": replace(_SIGNER["key"], remedy="name this signer's TLS key, for tls://"),
        "authority": replace(_SIGNER["authority"], remedy="name the authority that nodes' certificates must be of"),
        "users": Option(
            (list,), "name the users that may ask on the socket besides this one, or their numbers", [], _users
        ),
        "group": Option((str,), "name the group that the socket belongs to, or its number", ""),
        "trust": Option((str,), "write HEIGHT:ROOT as another member's node shows it, or leave it out", "", _trust),
    },
    "keys": {"signing": replace(_KEYS["signing"], default=REQUIRED), "password": _KEYS["password"]},
    "policy": OPTIONS["policy"],
    "log": OPTIONS["log"],
}


def load_service_config(path: Path) -> ServiceConfig:
    """Read and check a configuration. Raises ConfigError with all problems."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    wrong = _problems(document)
    if wrong:
        raise ConfigError(f"{path}:\n" + "\n".join(f"  {line}" for line in wrong))
    return _build(document, path)


def is_service(path: Path) -> bool:
    """Whether a file is the configuration of a signer, not that of a node. Raises ConfigError."""
    try:
        section = tomllib.loads(path.read_text()).get("signer", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return isinstance(section, dict) and "listen" in section


def _problems(document: dict[str, Any]) -> list[str]:
    wrong = [
        f"{name}: no such section; known are {', '.join(_SECTIONS)}"
        for name in sorted(document.keys() - _SECTIONS.keys())
    ]
    for section, options in _SECTIONS.items():
        wrong += in_section(section, options, document.get(section, {}))
    if wrong:
        return wrong
    signer = document["signer"]
    if signer["listen"].startswith("tls://"):
        names = ("certificate", "key", "authority")
        wrong += [f"signer.{name}: is for unix: alone: take it out" for name in ("users", "group") if signer.get(name)]
        wrong += [f"signer.{name}: missing: tls:// needs {', '.join(names)}" for name in names if not signer.get(name)]
    elif bool(signer.get("users")) != bool(signer.get("group")):
        wrong.append(
            "signer.users, signer.group: another user needs both, the group to get to the socket, the name for answers"
        )
    return wrong


def _build(document: dict[str, Any], path: Path) -> ServiceConfig:
    base = path.parent

    def get(section: str, key: str) -> Any:
        return document.get(section, {}).get(key, _SECTIONS[section][key].default)

    def file(key: str) -> Path | None:
        name = get("signer", key)
        return base / name if name else None

    listen, signing, password = get("signer", "listen"), get("keys", "signing"), get("keys", "password")
    height, _, root = get("signer", "trust").partition(":")
    kind, _, name = password.partition(":")
    return ServiceConfig(
        path=path,
        account=get("signer", "account"),
        genesis=base / get("signer", "genesis"),
        data=base / get("signer", "data"),
        listen=f"unix:{base / listen[5:]}" if listen.startswith("unix:") else listen,
        signing_keys=tuple(base / name for name in ([signing] if isinstance(signing, str) else signing)),
        password=f"file:{base / name}" if kind == "file" else password,
        policy=msgspec.convert(document.get("policy", {}), Policy),
        certificate=file("certificate"),
        key=file("key"),
        authority=file("authority"),
        users=tuple(get("signer", "users")),
        group=get("signer", "group"),
        trust=Trust(int(height), bytes.fromhex(root)) if root else None,
        log_format=get("log", "format"),
        log_level=get("log", "level"),
    )
