"""What the hostile corpus does to texts, fields, signatures and authorities; the codes are those of docs/codes.md."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from coincurve import PublicKey

from node.devnet.founding import devnet_key
from node.signer.keys import SecretKey
from processors.hive.crypto import ORDER, recover
from processors.hive.keys import NULL_KEY, private_key_to_wif, public_key_to_text
from tests.processors.blocks import key_text

MISSING = object()
EXTRA = object()


# -- whole texts

#: (what, text): no strict JSON, whatever the operation.
BAD_TEXTS: dict[str, str] = {
    "empty text": "",
    "space": "   ",
    "null": "null",
    "number": "1",
    "string": '"x"',
    "list": "[]",
    "list around": "[{}]",
    "true": "true",
    "open": "{",
    "closed": "}",
    "single quotes": "{'a': 1}",
    "bare key": "{a: 1}",
    "key of a number": "{1: 1}",
    "comma at the end": '{"a":1,}',
    "comma at the start": '{,"a":1}',
    "no colon": '{"a" 1}',
    "comment": '{"a":1/**/}',
    "twice the same key": '{"op":"0:0:0","op":"0:0:0"}',
    "twice, once escaped": '{"op":"0:0:0","\\u006fp":"0:0:0"}',
    "twice, deep inside": '{"a":[{"b":1,"b":1}]}',
    "float": '{"a":1.0}',
    "exponent": '{"a":4e9}',
    "capital exponent": '{"a":4E9}',
    "NaN": '{"a":NaN}',
    "Infinity": '{"a":Infinity}',
    "-Infinity": '{"a":-Infinity}',
    "leading zero": '{"a":01}',
    "minus alone": '{"a":-}',
    "plus": '{"a":+1}',
    "hex number": '{"a":0x10}',
    "underscore": '{"a":1_000}',
    "fullwidth digit": '{"a":１}',
    "arabic digit": '{"a":٣}',
    "2^63": '{"a":9223372036854775808}',
    "-2^63-1": '{"a":-9223372036854775809}',
    "5000 digits": '{"a":' + "9" * 5_000 + "}",
    "Python's True": '{"a":True}',
    "undefined": '{"a":undefined}',
    "lone high surrogate": '{"a":"\\ud800"}',
    "lone low surrogate": '{"a":"\\udc00"}',
    "halves the wrong way round": '{"a":"\\ude00\\ud83d"}',
    "lone surrogate in a key": '{"\\ud800":1}',
    "a byte that is no UTF-8": '{"a":"\udc80"}',
    "a surrogate in UTF-8": '{"a":"\udced\udca0\udc80"}',
    "overlong slash": '{"a":"\udcc0\udcaf"}',
    "U+0000": '{"a":"\0"}',
    "U+001F": '{"a":"\x1f"}',
    "U+007F": '{"a":"\x7f"}',
    "U+0085": '{"a":"\x85"}',
    "U+009F in a key": '{"\x9f":1}',
    "line feed in a string": '{"a":"\n"}',
    "escaped U+0000": '{"a":"\\u0000"}',
    "escaped U+007F": '{"a":"\\u007f"}',
    "escaped U+009F": '{"a":"\\u009F"}',
    "escaped line feed": '{"a":"\\n"}',
    "unknown escape": '{"a":"\\x41"}',
    "half an escape": '{"a":"\\u00"}',
    "escape of look-alike digits": '{"a":"\\u００41"}',
    "BOM": "\ufeff{}",
    "no-break space around": "\xa0{}\xa0",
    "form feed around": "\f{}",
    "line separator around": "\u2028{}",
    "NUL after": "{}\0",
    "9 deep": '{"a":' + "[" * 8 + "]" * 8 + "}",
    "9 objects deep": '{"a":' * 8 + "{}" + "}" * 8,
    "4000 deep": "[" * 4_000 + "]" * 4_000,
    "4000 open": '{"a":' + "[" * 4_000,
    "8192 bytes of nothing": " " * 8_192,
}
#: what is written around or into a good text, and the code
AROUND: dict[str, tuple[str, Callable[[str], str]]] = {
    "garbage after": ("bad_json", lambda text: text + "x"),
    "two objects": ("bad_json", lambda text: text + text),
    "comma after": ("bad_json", lambda text: text + ","),
    "cut": ("bad_json", lambda text: text[:-1]),
    "8193 bytes": ("too_long", lambda text: text + " " * (8_193 - len(text))),
    "8193 bytes, look-alikes": ("too_long", lambda text: '{"a":"' + "а" * 4_096 + '"}'),
    "8193 bytes of garbage": ("too_long", lambda text: "\udc80" * 8_193),
    "a megabyte": ("too_long", lambda text: " " * 40_000 + text),
}
#: strict JSON, but a key that no operation knows
EXTRA_TEXTS: dict[str, str] = {
    "__proto__": '"__proto__":{}',
    "constructor": '"constructor":null',
    "empty key": '"":1',
    "key of a look-alike": '"оp":"0:0:0"',
    "8 deep": '"a":[[[[[[[]]]]]]]',
    "-0": '"a":-0',
    "2^63-1": '"a":9223372036854775807',
    "-2^63": '"a":-9223372036854775808',
    "pair of surrogates": '"a":"\\ud83d\\ude00"',
    "prices": '"prices":{}',
}


def whole(name: str) -> Iterator[tuple[str, str, Callable[[str], str]]]:
    """(what, code, how to write it, given a good text) for one operation."""
    for words, text in BAD_TEXTS.items():
        yield words, "bad_json", lambda good, text=text: text  # type: ignore[misc]
    for words, (code, write) in AROUND.items():
        yield words, code, write
    for words, pair in EXTRA_TEXTS.items():
        yield words, "bad_keys", lambda good, pair=pair: _joined(good, pair)  # type: ignore[misc]
    if name != "node_delete":
        yield "no keys", "bad_keys", lambda good: "{}"


def _joined(good: str, pair: str) -> str:
    return good[:-1] + ("," if len(good) > 2 else "") + pair + "}"


# -- fields

_STR, _INT, _OBJECT, _FLAG = "str", "int", "object", "flag"
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
}
_TYPES: dict[str, dict[str, Any]] = {
    _STR: {"null": None, "number": 1, "list": ["x"], "object": {"x": "x"}, "true": True},
    _INT: {"null": None, "4e9 in a string": "4e9", "digits in a string": "1", "list": [1], "true": True, "object": {}},
    _OBJECT: {"null": None, "list": [1, 2, 3], "string": "{}", "number": 0, "false": False},
    _FLAG: {"null": None, "1": 1, "0": 0, "true in a string": "true", "list": []},
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
    elif field != "hdr" and field != "follow_active":
        top = 65536 if field == "hdr.num" else 2**32
        yield from ((str(value), value) for value in (-1, top, 2**63 - 1, -(2**63)))


def fields() -> Iterator[tuple[str, str, str, str, Any]]:
    """(operation, field, what, code, value or how to make it of the good one or MISSING or EXTRA)."""
    for name, found in FIELDS.items():
        for field, kind in found.items():
            if kind != _FLAG:
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


# -- authorities and ids

FOREIGN_IDS = (
    "waggle_",
    "waggle_send",
    "waggle_gov_up",
    "waggle_propose",
    "waggle_vote",
    "waggle_rotation",
    "waggle_recast",
    "waggle_account_update",
    "waggle_transfer",
    "waggle_report ",
    "waggle_Report",
    "Waggle_report",
    "waggle__report",
    "waggle_report\0",
    "waggle_rероrt",
    "wаggle_report",
    " waggle_report",
    "xwaggle_report",
    "wagglereport",
    "waggle_report\u200b",
    "waggle_waggle_report",
    "report",
    "",
)


def authorities(actor: str) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """(what, required_auths, required_posting_auths) with which nothing is ours."""
    yield "posting authority", (), (actor,)
    yield "both authorities", (actor,), (actor,)
    yield "another's posting authority too", (actor,), ("receiver",)
    yield "two accounts", tuple(sorted((actor, "receiver"))), ()
    yield "nobody", (), ()


# -- signatures


def high_s(sig: bytes) -> bytes:
    """The same signature with s in the upper half: by the same key, for hived's old rules."""
    s = ORDER - int.from_bytes(sig[33:], "big")
    return bytes([31 + (sig[0] - 31 ^ 1)]) + sig[1:33] + s.to_bytes(32, "big")


def other_nonce(key: SecretKey, digest: bytes) -> bytes:
    """Another canonical signature of the digest by the key (nonce 7)."""
    r = PublicKey.from_secret((7).to_bytes(32, "big")).point()[0] % ORDER
    secret = int.from_bytes(key._secret, "big")
    s = pow(7, -1, ORDER) * (int.from_bytes(digest, "big") + r * secret) % ORDER
    low = min(s, ORDER - s).to_bytes(32, "big")
    sigs = [bytes([first]) + r.to_bytes(32, "big") + low for first in (31, 32)]
    return next(sig for sig in sigs if recover(sig, digest) == key.public)


def garbled(sig: bytes) -> dict[str, bytes]:
    """What is done to a good signature."""
    return {
        "zeros": bytes(65),
        "all ones": b"\xff" * 65,
        "r of zero": sig[:1] + bytes(32) + sig[33:],
        "s of zero": sig[:33] + bytes(32),
        "r of the order": sig[:1] + ORDER.to_bytes(32, "big") + sig[33:],
        "r no point": sig[:1] + (5).to_bytes(32, "big") + sig[33:],
        "high s": high_s(sig),
        "27 + recid": bytes([sig[0] - 4]) + sig[1:],
        "27": b"\x1b" + sig[1:],
        "35 + recid": bytes([sig[0] + 4]) + sig[1:],
        "the other recid": bytes([31 + (sig[0] - 31 ^ 1)]) + sig[1:],
        "recid 2": b"\x21" + sig[1:],
        "one bit": sig[:64] + bytes([sig[64] ^ 1]),
    }


GARBLES = tuple(garbled(bytes([31]) + b"\1" * 64))
