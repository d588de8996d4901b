"""What the hostile corpus does to texts, signatures and authorities; the codes are those of docs/codes.md."""

from collections.abc import Callable, Iterator

from coincurve import PublicKey

from node.signer.keys import SecretKey
from processors.hive.crypto import ORDER, recover

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


# -- authorities and ids

FOREIGN_IDS = (
    "waggle_",
    "waggle_sends",
    "waggle_gov",
    "waggle_unlock",
    "waggle_proposal_ends",
    "waggle_Vote",
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
