"""What the hostile corpus does to the fields of a body; types and bounds are those of docs/codes.md."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from node.devnet.founding import devnet_key
from processors.hive.keys import NULL_KEY, private_key_to_wif, public_key_to_text
from tests.processors.blocks import key_text

MISSING = object()
EXTRA = object()

_STR, _INT, _OBJECT, _FLAG, _LIST = "str", "int", "object", "flag", "list"
FIELDS: dict[str, dict[str, str]] = {
    "report": {
        "v": _INT,
        "height": _INT,
        "root": _STR,
        "hdr": _OBJECT,
        "hdr.num": _INT,
        "hdr.pre": _INT,
        "hdr.exp": _INT,
        "ver": _STR,
        "sig": _STR,
    },
    "sig_submit": {"op": _STR, "sig": _STR},
    "sig_refuse": {"op": _STR, "why": _STR},
    "ms_signed": {"op": _STR},
    "node_add": {"domain": _STR, "signing_key": _STR, "pop": _STR, "follow_active": _FLAG},
    "node_delete": {},
    "send": {"to": _STR, "amount": _INT, "memo": _STR},
    "gov_up": {"amount": _INT},
    "gov_down": {"amount": _INT},
    "propose": {"ops": _LIST, "expires": _INT},
    "propose_change": {"name": _STR, "value": _INT, "delay": _INT, "expires": _INT},
    "unpropose": {"id": _INT},
    "vote": {"id": _INT, "yes": _FLAG},
    "veto": {"payload": _INT},
    "ms_cancel": {"op": _STR},
    "halt": {"on": _FLAG},
    "resume": {"on": _FLAG},
    "hold": {"on": _FLAG},
}
OPTIONAL = {("node_add", "follow_active"), ("send", "memo")}
_TYPES: dict[str, dict[str, Any]] = {
    _STR: {"null": None, "number": 1, "list": ["x"], "object": {"x": "x"}, "true": True},
    _INT: {"null": None, "4e9 in a string": "4e9", "digits in a string": "1", "list": [1], "true": True, "object": {}},
    _OBJECT: {"null": None, "list": [1, 2, 3], "string": "{}", "number": 0, "false": False},
    _FLAG: {"null": None, "1": 1, "0": 0, "true in a string": "true", "list": []},
    _LIST: {"null": None, "object": {}, "string": "[]", "number": 1, "true": True},
}
_FORMS: dict[str, tuple[Any, ...]] = {
    "to": ("", "Bob", "bo", "b" * 17, "bob\u2028", "bоb", "bob.", "1bob", "@bob", "b" * 7_000),
    "memo": ("b" * 513, "é" * 256 + "a", "a" * 7_000),
    "ops": ([], [[]] * 21, [0] * 2_000),
    "name": ("x" * 33, "outbíd", "оutbid", "x" * 7_000),
}
#: the integers of section 10: (lowest, highest)
_LIMITS: dict[str, tuple[int, int]] = {
    "amount": (1, 2**63 - 1),
    "value": (0, 2**63 - 1),
    "delay": (0, 10_512_000),
    "id": (1, 2**63 - 1),
    "payload": (1, 2**63 - 1),
}
_OPS = (
    "",
    "0:0",
    "0:0:0:0",
    "00:0:0",
    "0:00:0",
    "-1:0:0",
    "+1:0:0",
    " 0:0:0",
    "0:0:0\u2028",
    "٠:0:0",
    "0:0:０",
    "0：0：0",
    "4e9:0:0",
    "10000000000000000000:0:0",
    "0:100000:0",
    "0:0:10000000000",
    "0x1:0:0",
    "p1",
    "__proto__",
)
_HEXES: dict[str, Callable[[str], str]] = {
    "empty": lambda good: "",
    "short": lambda good: good[:-2],
    "odd": lambda good: good[:-1],
    "long": lambda good: good + "00",
    "upper case": lambda good: good[:-1] + "F",
    "0x": lambda good: "0x" + good[2:],
    "space": lambda good: good[:-1] + " ",
    "look-alike": lambda good: good[:-1] + "а",
    "arabic digit": lambda good: good[:-1] + "٣",
    "8 KB": lambda good: "0" * 7_000,
}
_DOMAINS = (
    "",
    "example.com",
    "ftp://example.com",
    "HTTPS://example.com",
    "https://Example.com",
    "https://example.com/",
    "https://example.com/path",
    "https://example.com?x",
    "https://example.com#x",
    "https://user@example.com",
    "https://example.com:0",
    "https://example.com:65536",
    "https://example.com:080",
    "https://example.com:",
    "https://example.com.",
    "https://.example.com",
    "https://exa..mple",
    "https://exa_mple.com",
    "https://-example.com",
    "https://example-.com",
    "https://exаmple.com",
    "https://例え.jp",
    "https://[::1]",
    "https://" + "a" * 64 + ".com",
    "https://" + "a." * 122 + "aa",
    "https://example.com\u3000",
    "javascript:alert(1)",
)


def _keys() -> dict[str, str]:
    good = key_text(devnet_key("fresh"))
    no_point = public_key_to_text(b"\2" + b"\xff" * 32, "TST")
    return {
        "empty": "",
        "main chain's prefix": "STM" + good[3:],
        "no prefix": good[3:],
        "lower-case prefix": "tst" + good[3:],
        "wrong checksum": good[:-1] + ("1" if good[-1] != "1" else "2"),
        "cut": good[:-1],
        "space after": good + " ",
        "null key": public_key_to_text(NULL_KEY, "TST"),
        "no point": no_point,
        "first byte 4": public_key_to_text(b"\4" + devnet_key("fresh").public[1:], "TST"),
        "x of the field's size": public_key_to_text(b"\2" + (2**256 - 2**32 - 977).to_bytes(32, "big"), "TST"),
        "hex": devnet_key("fresh").public.hex()[:64],
        "a private key": private_key_to_wif(bytes(31) + b"\1"),
        "65 characters": "TST" + "1" * 62,
        "7 KB": "TST" + "1" * 7_000,
        "look-alike": "TSТ" + good[3:],
    }


def _bounds(name: str, field: str) -> Iterator[tuple[str, Any]]:
    if field == "op":
        yield from ((repr(op), op) for op in _OPS)
    elif field in ("root", "sig", "pop"):
        yield from _HEXES.items()
    elif field == "domain":
        yield from ((repr(domain[:40]), domain) for domain in _DOMAINS)
    elif field == "signing_key":
        yield from _keys().items()
    elif field == "why":
        whys = ("", "A", "1a", "_a", "a" * 33, "a-b", "а", "a b", "a" * 7_000)
        yield from ((repr(why[:40]), why) for why in whys)
    elif field == "ver":
        yield from ((repr(ver[:40]), ver) for ver in ("", "1 0", "1" * 33, "1\u00a00", "１", "é", "1" * 7_000))
    elif field == "v":
        yield from ((str(v), v) for v in (0, 2, -1, 2**63 - 1))
    elif field in _FORMS:
        yield from ((repr(form)[:40], form) for form in _FORMS[field])
    elif field in _LIMITS:
        low, high = (0, 2**63 - 1) if name == "gov_down" else _LIMITS[field]
        found = (low - 1, -1, -(2**63), *([high + 1, 2**63 - 1] if high < 2**63 - 1 else []))
        yield from ((str(value), value) for value in dict.fromkeys(found))
    elif field not in ("hdr", "follow_active", "yes", "on"):
        top = 65536 if field == "hdr.num" else 2**32
        yield from ((str(value), value) for value in (-1, top, 2**63 - 1, -(2**63)))


def fields() -> Iterator[tuple[str, str, str, str, Any]]:
    """(operation, field, what, code, value or how to make it of the good one or MISSING or EXTRA)."""
    for name, found in FIELDS.items():
        for field, kind in found.items():
            if (name, field) not in OPTIONAL:
                yield name, field, "missing", "bad_keys", MISSING
            for words, value in _TYPES[kind].items():
                yield name, field, words, "bad_type", value
            for words, value in _bounds(name, field):
                yield name, field, words, "out_of_bounds", value
    yield "report", "hdr", "one key more", "bad_keys", EXTRA
    yield "report", "hdr", "no keys", "bad_keys", {}


def changed(body: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """The body with another value at ``field`` (``hdr.num`` lies within ``hdr``)."""
    body = copy.deepcopy(body)
    inside = body["hdr"] if field.startswith("hdr.") else body
    field = field.removeprefix("hdr.")
    if value is MISSING:
        del inside[field]
    elif value is EXTRA:
        inside[field]["extra"] = 0
    else:
        inside[field] = value(inside[field]) if callable(value) else value
    return body
