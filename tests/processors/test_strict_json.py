"""processors.strict_json against the reference, which stands on the standard library's parser instead."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processors.errors import Rejected
from processors.strict_json import MAX_BYTES, parse
from tests.reference import strict_json as reference

BIG, SMALL = 2**63 - 1, -(2**63)


def nested(depth: int, brackets: str = "[]") -> str:
    """An object with ``depth`` brackets open at its deepest place."""
    if brackets == "{}":
        return '{"a":' * (depth - 1) + "{}" + "}" * (depth - 1)
    return '{"a":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


def sized(size: int, letter: str = "a") -> str:
    """An object of exactly ``size`` bytes."""
    count, rest = divmod(size - len('{"a":""}'), len(letter.encode()))
    return '{"a":"' + letter * count + '"}' + " " * rest


ACCEPTED: list[tuple[str, Any]] = [
    ("{}", {}),
    (" \t\r\n{ \t\r\n} \t\r\n", {}),
    ('{"a":1}', {"a": 1}),
    ('{ "a" : [ 1 , 2 ] , "b" : { } }', {"a": [1, 2], "b": {}}),
    ('{"a":[true,false,null,"",[],{}]}', {"a": [True, False, None, "", [], {}]}),
    ('{"":""}', {"": ""}),
    ('{"a":0,"b":-0,"c":-1}', {"a": 0, "b": 0, "c": -1}),
    (f'{{"a":{BIG},"b":{SMALL}}}', {"a": BIG, "b": SMALL}),
    ('{"a":"\\"\\\\\\/"}', {"a": '"\\/'}),
    ('{"a":"[{[{[{[{[{[{"}', {"a": "[{[{[{[{[{[{"}),
    ('{"a":"\\"[[[[[[[[[","b":"\\\\"}', {"a": '"[[[[[[[[[', "b": "\\"}),
    ('{"\\u0061":"\\u00e9\\u20AC"}', {"a": "é€"}),
    ('{"a":"\\ud83d\\udc1d"}', {"a": "🐝"}),
    ('{"a":"\\uD83D\\uDC1D🐝"}', {"a": "🐝🐝"}),
    ('{"a":"\u00a0\u2028\u2029\ufeff\ufffd\uffff"}', {"a": "\u00a0\u2028\u2029\ufeff\ufffd\uffff"}),
    ('{"a":"\\u0020\\u007e\\u00a0"}', {"a": " ~\u00a0"}),
    ('{"a":1,"A":1,"a ":1}', {"a": 1, "A": 1, "a ": 1}),
    ('{"e\u0301":1,"\u00e9":2}', {"e\u0301": 1, "\u00e9": 2}),
    ('{"a":{"a":{"a":1}}}', {"a": {"a": {"a": 1}}}),
    ('{"__proto__":1,"constructor":null}', {"__proto__": 1, "constructor": None}),
    ('{"a":"\\\\u0000\\\\ud800"}', {"a": "\\u0000\\ud800"}),
]

REJECTED = [
    # one object and nothing around it
    *("", " ", "{", "}", "{}{}", "{},", "{} x", "x{}", "[]", "[{}]", '"a"', "1", "null", "true", "{}\0", "\0{}"),
    *("\ufeff{}", "{}\ufeff", "\u00a0{}", "{}\u00a0", "\u2003{}", "{}\v", "\f{}", "{}\x1c", "{}\x85", "{}//", "/**/{}"),
    # the grammar
    *('{"a"}', '{"a":}', "{:1}", '{"a":1,}', '{,"a":1}', '{"a":1 "b":2}', '{"a":1;"b":2}', "{a:1}", "{'a':1}"),
    *('{"a":[1,]}', '{"a":[,1]}', '{"a":[1 2]}', '{"a":[}', '{"a":]}', '{"a":[1}', '{"a":{]}', '{"a":(1)}'),
    *('{"a":tru}', '{"a":True}', '{"a":nul}', '{"a":nulll}', '{"a":truefalse}', '{"a":undefined}', "{1:1}"),
    *('{"a"\u00a0:1}', '{"a":\u20031}', '{"a":1\x0b}', '{"a":1/**/}', '{"a":"b}', '{"a":"b\\"}', '{"a":b"}'),
    # a key twice, also after unescaping, at every depth
    *('{"a":1,"a":1}', '{"a":1,"\\u0061":1}', '{"\\u00e9":1,"é":1}', '{"b":{"a":1,"a":2}}', '{"b":[{"":1,"":1}]}'),
    *('{"\\/":1,"/":1}', '{"🐝":1,"\\ud83d\\udc1d":1}'),
    # numbers
    *('{"a":1.0}', '{"a":1.}', '{"a":.1}', '{"a":1e0}', '{"a":1E2}', '{"a":-1e-1}', '{"a":0e0}', '{"a":0.0}'),
    *('{"a":NaN}', '{"a":Infinity}', '{"a":-Infinity}', '{"a":nan}', '{"a":inf}', '{"a":-NaN}'),
    *('{"a":01}', '{"a":-01}', '{"a":00}', '{"a":-}', '{"a":+1}', '{"a":--1}', '{"a":- 1}', '{"a":1_0}', '{"a":0x1}'),
    *('{"a":0b1}', '{"a":1n}', '{"a":1-}', '{"a":1-1}', '{"a":1 0}', '{"a":١}', '{"a":1١}', '{"a":１}', '{"a":²}'),
    *(f'{{"a":{BIG + 1}}}', f'{{"a":{SMALL - 1}}}', '{"a":' + "9" * 5000 + "}", '{"a":-' + "1" * 20 + "}"),
    # lone surrogates, raw (from bytes that are no UTF-8) or escaped, in values and keys
    *('{"a":"\\ud83d"}', '{"a":"\\udc1d"}', '{"a":"\\udc1d\\ud83d"}', '{"a":"\\ud83d\\ud83d\\udc1d"}'),
    *('{"a":"\\ud83d \\udc1d"}', '{"\\ud800":1}', '{"a":"\ud83d"}', '{"a":"\udc1d"}', '{"a":"\\ud83d\udc1d"}'),
    *('{"a":"\ud83d\udc1d"}', '{"a":"\ud83d\\udc1d"}', "{}\udcff", '{"a":"\\ud83d\\\\udc1d"}'),
    # control characters, raw or escaped, in values and keys
    *(f'{{"a":"{chr(code)}"}}' for code in [*range(0x20), *range(0x7F, 0xA0)]),
    *(f'{{"a":"\\u{code:04x}"}}' for code in [*range(0x20), *range(0x7F, 0xA0)]),
    *('{"a":"\\n"}', '{"a":"\\t"}', '{"a":"\\b"}', '{"a":"\\f"}', '{"a":"\\r"}', '{"\\n":1}', '{"\x7f":1}'),
    # other escapes
    *('{"a":"\\a"}', '{"a":"\\x41"}', '{"a":"\\u12"}', '{"a":"\\u12g4"}', '{"a":"\\U0041"}', '{"a":"\\\'"}'),
    *(
        '{"a":"\\0"}',
        '{"a":"\\u 041"}',
        '{"a":"\\u+041"}',
        '{"a":"\\u0x41"}',
        '{"a":"\\u٠٠٤١"}',
        '{"a":"\\',
        '{"a":\\"b"}',
    ),
    *('{"a":"\\ud83d\\u"}', '{"a":"\\u{41}"}', '{"a":"\\\n"}', "\\u007b}"),
    # too deep, whole or not
    *(nested(9), nested(9, "{}"), nested(2000), nested(4000)[:4000], '{"a":' * 1500, "[" * 8000),
]


def verdict(text: str) -> Any:
    """What the project makes of a text: the code, or the value."""
    try:
        return ("accepted", parse(text))
    except Rejected as rejected:
        return rejected.code


def expected(text: str) -> Any:
    """What the reference makes of it."""
    try:
        return ("accepted", reference.parse(text))
    except reference.Refused:
        try:
            size = len(text.encode("utf-8", "surrogateescape"))  # a byte that is no UTF-8 was one byte on chain
        except UnicodeEncodeError:
            size = len(text.encode("utf-8", "surrogatepass"))
        return "too_long" if size > MAX_BYTES else "bad_json"


@pytest.mark.parametrize(("text", "value"), ACCEPTED, ids=lambda case: ascii(case)[:40])
def test_accepted(text: str, value: Any) -> None:
    assert repr(verdict(text)) == repr(expected(text)) == repr(("accepted", value))


@pytest.mark.parametrize("text", REJECTED, ids=lambda text: ascii(text)[:40])
def test_rejected(text: str) -> None:
    assert verdict(text) == expected(text) == "bad_json"


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_depth_eight_is_the_last(brackets: str) -> None:
    assert verdict(nested(8, brackets)) == expected(nested(8, brackets)) != "bad_json"
    assert verdict(nested(9, brackets)) == expected(nested(9, brackets)) == "bad_json"
    wide = '{"a":[' + ",".join(["[[[[[[]]]]]]"] * 50) + "]}"
    assert verdict(wide) == expected(wide) != "bad_json"


@pytest.mark.parametrize("letter", ["a", "é", "€", "🐝"])
def test_length_counts_bytes(letter: str) -> None:
    for size, code in ((MAX_BYTES, None), (MAX_BYTES + 1, "too_long")):
        text = sized(size, letter)
        assert len(text.encode()) == size
        assert verdict(text) == expected(text)
        assert (verdict(text) == "too_long") == (code is not None)
    assert verdict(" " * (MAX_BYTES + 1)) == "too_long", "length comes before everything else"
    assert verdict("\udcff" * MAX_BYTES) == "bad_json", "a byte that is no UTF-8 is one byte"
    assert verdict("\udcff" * (MAX_BYTES + 1)) == "too_long"


@pytest.mark.parametrize("text", ['{"a":1e999999999}', '{"a":"' + "\\u0061" * 1300 + '"}', '{"a":' + " " * 8000 + "1}"])
def test_costly_texts_are_judged_alike(text: str) -> None:
    assert verdict(text) == expected(text)


plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(SMALL - 1, BIG + 1), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=4)),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=4), plain, max_size=4)


@st.composite
def written(draw: st.DrawFn) -> str:
    """JSON as a library writes it."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), ("\n,\t", "\r:")]))
    return json.dumps(draw(objects), ensure_ascii=draw(st.booleans()), separators=separators)


pieces = [
    *'{}[]":,\\/ \t\r\n0123456789-+.eE_truefalsn\0\x1f\x7f\x85\xa0é€🐝\ufeff\ud83d\udc1d',
    *("\\u0000", "\\u0041", "\\ud83d", "\\udc1d", "\\n", '\\"', "\\\\", "true", "null", "NaN", '"a"', '"a":1', "[[[[["),
    *(
        "-0",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "1e5",
        "0.0",
        "{}",
        "[]",
        "]]]]]",
        ",,",
    ),
]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Valid JSON with a few places changed."""
    text = draw(written())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 3))
        text = text[:at] + draw(st.one_of(st.just(""), st.sampled_from(pieces))) + text[at + cut :]
    return text


@given(written())
@settings(max_examples=250, deadline=None)
def test_what_a_library_writes_is_judged_alike(text: str) -> None:
    assert repr(verdict(text)) == repr(expected(text))


@given(mutated())
@settings(max_examples=1_200, deadline=None)
def test_mutated_json_is_judged_alike(text: str) -> None:
    assert repr(verdict(text)) == repr(expected(text))


@given(st.lists(st.sampled_from(pieces), max_size=14).map("".join))
@settings(max_examples=400, deadline=None)
def test_pieces_are_judged_alike(text: str) -> None:
    assert repr(verdict(text)) == repr(expected(text))
    inside, value = '{"a":"' + text + '"}', '{"a":' + text + "}"
    assert repr(verdict(inside)) == repr(expected(inside))
    assert repr(verdict(value)) == repr(expected(value))


@given(st.text(st.characters(codec=None), max_size=30))
@settings(max_examples=250, deadline=None)
@example("\ud800" * 2800)
@example("\udcff" * 2730)
def test_any_text_is_judged_alike(text: str) -> None:
    for whole in (text, '{"a":"' + text + '"}', '{"' + text + '":0}'):
        assert repr(verdict(whole)) == repr(expected(whole))


@given(objects)
@settings(max_examples=100, deadline=None)
def test_what_is_accepted_says_the_same_when_written_again(value: dict[str, Any]) -> None:
    found = verdict(json.dumps(value))
    if found != "bad_json":
        assert found == ("accepted", value)
        assert verdict(json.dumps(found[1], ensure_ascii=False)) == found
