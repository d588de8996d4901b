"""The log: a line for an event, for people or for machines; whatever a server or a peer says, it stays one line."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.events import EVENTS
from node.log import HIDDEN, MAX_ITEMS, MAX_TEXT, correlation, make_log
from node.signer.secret import HiddenBytes, HiddenText, SecretKey
from processors.hive.keys import private_key_to_wif

SECRET = bytes(range(1, 33))
WIF = private_key_to_wif(SECRET)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def told(form, event="alarm", level="debug", out=None, **fields):
    stream = out or io.StringIO()
    make_log(form, level, stream)(event, fields)
    return stream.getvalue()


def as_json(**fields):
    line = told("json", **fields)
    assert line.endswith("\n") and line.count("\n") == 1
    return json.loads(line)


# -- levels


def test_levels_come_from_the_catalogue():
    assert as_json(event="block", height=1)["level"] == "debug"
    assert as_json(event="server_banned", server="x")["level"] == "warning"
    assert as_json(event="made_up")["level"] == "info"


def test_what_is_below_the_level_is_not_told():
    assert told("json", "block", "info", height=1) == ""
    assert told("json", "round", "warning", height=1) == ""
    assert told("json", "diverged", "warning", round=1) != ""


# -- machines


def test_for_machines_a_line_is_json_with_time_level_and_event_first():
    found = as_json(event="round", height=20, root="ab", halted=None)
    assert list(found) == ["time", "level", "event", "height", "root", "halted"]
    assert found["halted"] is None and found["time"].endswith("Z")


def test_a_field_never_takes_the_place_of_the_head():
    found = as_json(event="alarm", time="then", what="x")
    assert (found["level"], found["time_"]) == ("warning", "then") and found["time"] != "then"


@pytest.mark.parametrize(
    ("content", "op"),
    [
        ("sign:100:2:3:02ab", "100:2:3"),
        ("broadcast:100:2:3", "100:2:3"),
        ("report:100", None),
        ("", None),
        (":::", None),
    ],
)
def test_lines_about_a_group_transaction_carry_its_id(content, op):
    assert as_json(event="sent", content=content).get("op") == op
    assert correlation({"content": content}) == (op or "")


def test_an_id_that_is_given_is_kept():
    assert as_json(event="hold", op="100:2:3", why="manual")["op"] == "100:2:3"


def test_values_of_any_kind_become_json():
    found = as_json(a={"b": (1, {2})}, c=b"xyz", d=float("nan"), e=1 << 80, f=object)
    assert found["a"] == {"b": [1, [2]]}
    assert found["c"] == "<3 bytes>" and found["d"] == "nan" and found["e"] == str(1 << 80)
    assert "object" in found["f"]


# -- people


def test_for_people_a_line_is_words():
    line = told("console", "feed_stalled", height=5, server="http://x", seconds=60)
    assert "warning feed stalled" in line and "height=5  server=http://x  seconds=60" in line
    assert "\x1b" not in line


def test_texts_with_spaces_are_quoted_and_nothing_is_a_dash():
    line = told("console", error='no "answer"', why=None, ok=True, keys=["a", "b"], none=[])
    assert 'error="no \\"answer\\""' in line
    assert "why=-" in line and "ok=yes" in line and "keys=a,b" in line and "none=-" in line


def test_only_a_terminal_sees_colours(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert told("console", "diverged", out=Terminal()).startswith("\x1b[33m")
    assert "\x1b" not in told("json", "diverged", out=Terminal())
    assert "\x1b" not in told("console", "round", out=Terminal()), "what is usual is not coloured"
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b" not in told("console", "diverged", out=Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in told("console", "diverged", out=Terminal())


# -- what others say


@pytest.mark.parametrize("form", ["console", "json"])
@given(text=st.text(), key=st.text(max_size=8))
def test_whatever_a_value_is_a_line_is_one_line(form, text, key):
    line = told(form, "api_error", error=text, nested={key: [text]})
    assert line.endswith("\n")
    body = line[:-1]
    assert body.splitlines() == [body] and body.isprintable()


def test_a_forged_line_and_a_moved_cursor_are_seen_as_what_they_are():
    line = told("console", "api_error", error="x\n2026-01-01T00:00:00Z info    live\x1b[2J\u202e\\n")
    assert "\\n2026-01-01" in line and "\\x1b[2J" in line and "\\u202e" in line and "\\\\n" in line


@pytest.mark.parametrize("form", ["console", "json"])
def test_values_are_bounded(form):
    deep = []
    for _ in range(1000):
        deep = [deep]
    line = told(form, error="x" * 1_000_000, many=list(range(100_000)), deep=deep, keys={str(n): n for n in range(999)})
    assert len(line) < 4 * MAX_TEXT
    assert "(1000000 characters)" in line and f"and {100_000 - MAX_ITEMS} more" in line


# -- secrets


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize(
    "secret",
    [
        SecretKey(SECRET),
        HiddenText("correct horse"),
        HiddenBytes(SECRET),
        SECRET,
        WIF,
        f"key={WIF}, and more",
        "x" * (MAX_TEXT - 20) + f" {WIF}",
        "L" + WIF[1:] + "1",
        "P" + WIF,
    ],
)
def test_no_secret_is_written(form, secret):
    line = told(form, value=secret, listed=[secret], under={"key": secret})
    for words in (WIF, WIF[1:40], "correct horse", SECRET.hex(), repr(SECRET)):
        assert words not in line
    assert HIDDEN in line or "<32 bytes>" in line


def test_no_secret_is_written_as_the_name_of_a_field_either():
    assert WIF not in told("json", **{WIF: 1}, under={WIF: 1})


def test_public_keys_and_hashes_are_written():
    public = "STM6LLegbAgLAy28EHrffBVuANFWcFgmqRMW13wBmTExqFE9SCkg4"
    found = as_json(key=public, root=SECRET.hex())
    assert (found["key"], found["root"]) == (public, SECRET.hex())


# -- a log that cannot be written


def test_a_full_disk_or_a_closed_pipe_stops_nobody():
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    closed = io.StringIO()
    closed.close()
    for out in (Full(), closed):
        make_log("json", "info", out)("start", {})


def test_letters_that_the_stream_cannot_have_are_escaped():
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    make_log("console", "info", out)("stopped", {"error": "zu groß ✓"})
    assert b"zu gro\\xdf \\u2713" in raw.getvalue()


def test_every_event_of_the_catalogue_can_be_told():
    for name, event in EVENTS.items():
        fields = {field.rstrip("?"): "x" for field in event.fields}
        assert as_json(event=name, **fields)["event"] == name
