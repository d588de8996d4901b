"""Every key of the configuration: its type, what it may be, what to do if it is not. config.example.toml explains them.

A problem names the key, the value, the reason and the remedy; all are found before anything is told.
"""

import ipaddress
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from node.history.dsn import REMEDY, holds_password
from processors.hive.names import is_account_name
from processors.offered import OFFERED

PAYLOAD_KINDS = ("rotation", "standing", "proposal", "payout", *sorted(OFFERED))
#: A key without a default must be there.
REQUIRED = object()


class Option(msgspec.Struct, frozen=True):
    """``reason(value)`` says what is wrong with a value of one of ``kinds``, or nothing."""

    kinds: tuple[type, ...]
    remedy: str
    default: Any = None
    reason: Callable[[Any], str] = lambda value: ""


def _one_of(*choices: str) -> Callable[[Any], str]:
    return lambda value: "" if value in choices else f"is none of {', '.join(choices)}"


def _between(low: float, high: float) -> Callable[[Any], str]:
    return lambda value: "" if low <= value <= high else f"is not within {low} to {high}"


def _account(value: Any) -> str:
    return "" if is_account_name(value) else "is no Hive account name"


def _accounts(value: Any) -> str:
    wrong = [repr(name) for name in value if not isinstance(name, str) or not is_account_name(name)]
    return f"holds what is no Hive account name: {', '.join(wrong)}" if wrong else ""


def _kinds(value: Any) -> str:
    wrong = [repr(kind) for kind in value if kind not in PAYLOAD_KINDS]
    return f"holds {', '.join(wrong)}, which is none of {', '.join(PAYLOAD_KINDS)}" if wrong else ""


def _url(value: Any) -> str:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        good = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    return "" if good else "is no http or https URL"


def _urls(value: Any) -> str:
    wrong = [repr(url) for url in value if _url(url)]
    return f"holds what is no http or https URL: {', '.join(wrong)}" if wrong else ""


def _address(value: Any) -> str:
    host, colon, port = value.rpartition(":")
    if value == "" or (colon and host and port.isdecimal() and 0 <= int(port) < 65536):
        return ""
    return "is no HOST:PORT"


def _networks(value: Any) -> str:
    wrong = []
    for item in value:
        try:
            ipaddress.ip_network(item)
        except (ValueError, TypeError):
            wrong.append(repr(item))
    return f"holds what is no address or network: {', '.join(wrong)}" if wrong else ""


def _paths(value: Any) -> str:
    paths = value if isinstance(value, list) else [value]
    return "" if paths and all(isinstance(path, str) and path for path in paths) else "names no file"


def _password(value: Any) -> str:
    kind, colon, rest = value.partition(":")
    good = value == "prompt" or (kind in ("file", "credential") and colon and rest)
    return "" if good else "is none of prompt, file:PATH, credential:NAME"


def _signer_url(value: Any) -> str:
    if value.startswith("unix:") and len(value) > 5:
        return ""
    if value.startswith("tls://") and not _address(value[6:].rstrip("/")) and value[6:]:
        return ""
    return "is neither unix:PATH nor tls://HOST:PORT"


_TEXT, _LIST, _INT, _FLAG = (str,), (list,), (int,), (bool,)
_SWITCH = "write true or false"
_SMALLEST = "a whole number of smallest units: 1000 is 1.000"

OPTIONS: dict[str, dict[str, Option]] = {
    "node": {
        "account": Option(_TEXT, "name your own Hive account", REQUIRED, _account),
        "genesis": Option(_TEXT, "name the group's genesis document", REQUIRED, _paths),
        "data": Option(_TEXT, "name a folder that is this node's alone", REQUIRED, _paths),
        "poll_seconds": Option((int, float), "1.0 is usual", 1.0, _between(0.005, 60)),
        "start_tries": Option(_INT, "10 is usual: some minutes", 10, _between(1, 1000)),
    },
    "keys": {
        "account": Option(_TEXT, "name the file of the account's active key", REQUIRED, _paths),
        "signing": Option((str, list), "name the file, or a list of the files, of your signing keys", [], _paths),
        "password": Option(_TEXT, "say where the password comes from, never what it is", "prompt", _password),
    },
    "signer": {
        "url": Option(_TEXT, "write where `waggle signer` listens", "", _signer_url),
        "certificate": Option(_TEXT, "name this node's certificate, for tls://", "", _paths),
        "key": Option(_TEXT, "name this node's TLS key, for tls://", "", _paths),
        "authority": Option(_TEXT, "name the certificate that the signer's must be signed by, for tls://", "", _paths),
    },
    "feed": {
        "witness": Option(_FLAG, _SWITCH, False),
        "archive": Option(_TEXT, "name a folder for the blocks, or leave it out", ""),
        "buffer_mb": Option(_INT, "64 is usual", 64, _between(1, 4096)),
        "prove_ahead": Option(_FLAG, _SWITCH, True),
        "block_log": Option(_TEXT, "name hived's block_log, or the folder of its parts, or leave it out", ""),
        "dictionaries": Option(_TEXT, "name the folder of hived's zstd dictionaries", ""),
        "haf": Option(_TEXT, "write a DSN without a password, which belongs in ~/.pgpass", ""),
        "trust": Option(_TEXT, 'write "own-node" if feed.haf is your own', "", _one_of("", "own-node")),
    },
    "http": {
        "listen": Option(_TEXT, 'write "127.0.0.1:8095", or "" for none', "", _address),
        "tokens_file": Option(_TEXT, "name a file of tokens, one a line, mode 0600", ""),
        "allow": Option(_LIST, 'write addresses or networks, as in ["10.0.0.0/8"]', [], _networks),
        "certificate": Option(_TEXT, "name the certificate to serve https", ""),
        "key": Option(_TEXT, "name the key of that certificate", ""),
    },
    "snapshots": {
        "every": Option(_INT, "in rounds; 12 is an hour, 0 is never", 12, _between(0, 100_000)),
        "keep": Option(_INT, "3 is usual", 3, _between(1, 1000)),
    },
    "sync": {"peers": Option(_LIST, 'write URLs of members\' nodes, as in ["https://bob.example"]', [], _urls)},
    "policy": {
        "second_opinion": Option(_FLAG, _SWITCH, True),
        "allow": Option(
            _LIST,
            'write kinds, as in ["rotation", "standing", "proposal"]',
            ["rotation", "standing", "proposal"],
            _kinds,
        ),
        "max_hive": Option(_INT, _SMALLEST, None, _between(0, 2**63 - 1)),
        "max_hbd": Option(_INT, _SMALLEST, None, _between(0, 2**63 - 1)),
        "max_hive_day": Option(_INT, _SMALLEST, None, _between(0, 2**63 - 1)),
        "max_hbd_day": Option(_INT, _SMALLEST, None, _between(0, 2**63 - 1)),
        "receivers": Option(_LIST, "write account names, or leave it out for all", None, _accounts),
        "manual": Option(_FLAG, _SWITCH, False),
        "dry_run": Option(_FLAG, _SWITCH, False),
    },
    "log": {
        "format": Option(_TEXT, "console is for people, json for machines", "console", _one_of("console", "json")),
        "level": Option(_TEXT, "info is usual", "info", _one_of("debug", "info", "warning")),
    },
}
_API = {
    "url": Option(_TEXT, "write the address of a Hive API server", REQUIRED, _url),
    "operator": Option(_TEXT, "say who runs it: two servers of one operator count as one", REQUIRED),
}


def problems(document: dict[str, Any]) -> list[str]:
    """Everything that is wrong with a configuration, one line each."""
    wrong = [
        f"{name}: no such section; known are {', '.join(OPTIONS)}, api"
        for name in sorted(document.keys() - OPTIONS.keys() - {"api"})
    ]
    for section, options in OPTIONS.items():
        wrong += in_section(section, options, document.get(section, {}))
    wrong += _in_apis(document.get("api", []))
    if not wrong:
        wrong += _together(document)
    return wrong


def value_of(document: dict[str, Any], section: str, key: str) -> Any:
    """What a checked document says, or the default."""
    return document.get(section, {}).get(key, OPTIONS[section][key].default)


def in_section(section: str, options: dict[str, Option], found: Any) -> list[str]:
    if not isinstance(found, dict):
        return [f"{section}: must be written [{section}]"]
    wrong = [f"{section}.{key}: no such key; known are {', '.join(options)}" for key in found if key not in options]
    for key, option in options.items():
        if key in found:
            wrong += _in_value(f"{section}.{key}", option, found[key])
        elif option.default is REQUIRED:
            wrong.append(f"{section}.{key}: missing: {option.remedy}")
    return wrong


def _in_value(name: str, option: Option, value: Any) -> list[str]:
    if isinstance(value, bool) != (bool in option.kinds) or not isinstance(value, option.kinds):
        return [f"{name}: {value!r} has the wrong type: {option.remedy}"]
    reason = option.reason(value)
    return [f"{name}: {value!r} {reason}: {option.remedy}"] if reason else []


def _in_apis(servers: Any) -> list[str]:
    if not isinstance(servers, list) or not servers:
        return ["api: missing: write at least two [[api]] with url and operator, of different operators"]
    wrong = []
    for index, server in enumerate(servers):
        wrong += in_section(f"api[{index}]", _API, server)
    operators = {str(server.get("operator")) for server in servers if isinstance(server, dict)}
    if len(operators) < 2:
        wrong.append(
            "api: two servers of different operators are needed: the second one confirms what is signed, so add one"
        )
    urls = [str(server.get("url")).rstrip("/") for server in servers if isinstance(server, dict)]
    wrong += [
        f"api: {url!r} is written twice: name each server once"
        for url in sorted(set(urls))
        if url != "None" and urls.count(url) > 1
    ]
    return wrong


def _together(document: dict[str, Any]) -> list[str]:
    """What each key allows by itself, and all of them do not."""
    wrong = []
    signing, url = value_of(document, "keys", "signing"), value_of(document, "signer", "url")
    if not signing and not url:
        wrong.append("keys.signing: missing: name the file of your signing key, or signer.url where it is held")
    if signing and url:
        wrong.append(f"signer.url: {url!r} holds the signing keys: take keys.signing out of this file")
    if url.startswith("tls://"):
        for key in ("certificate", "key", "authority"):
            if not value_of(document, "signer", key):
                wrong.append(f"signer.{key}: missing: tls:// needs certificate, key and authority")
    if holds_password(value_of(document, "feed", "haf")):
        wrong.append(f"feed.haf: {REMEDY}")
    if value_of(document, "feed", "haf") and value_of(document, "feed", "trust") != "own-node":
        wrong.append(
            'feed.trust: missing: what a HAF database filtered cannot be proven; write trust = "own-node" if it is '
            "your own node's, else leave feed.haf out"
        )
    if bool(value_of(document, "http", "certificate")) != bool(value_of(document, "http", "key")):
        wrong.append("http.certificate: certificate and key go together: name both or none")
    return wrong
