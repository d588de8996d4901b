"""What stands in the paths of requests, read strictly: anything but the one form of a value is an error."""

import re

from aiohttp import web

from node.api.answers import AnswerError
from node.api.served import SERVED
from state.schema import NAMES
from state.state import State

_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")
_HEX = re.compile(r"(?:[0-9a-f]{2}){1,512}")
#: A way down a tree: 64 nibbles are all of a key.
_NIBBLES = re.compile(r"[0-9a-f]{0,64}")


def number(request: web.Request, name: str) -> int:
    """A number of at most ten digits, without leading zeros."""
    text = request.match_info[name]
    if not _NUMBER.fullmatch(text):
        raise _bad(name, text, "write a number, as in 101000000")
    return int(text)


def table(request: web.Request) -> str:
    """The name of a table of the state."""
    text = request.match_info["table"]
    if text not in NAMES:
        raise _bad("table", text, f"write one of {', '.join(NAMES)}")
    return text


def key(request: web.Request) -> bytes:
    """A canonical key in hex, at most 512 bytes."""
    text = request.match_info["key"]
    if not _HEX.fullmatch(text):
        raise _bad("key", text, "write the canonical msgpack of the key's fields in lower-case hex")
    return bytes.fromhex(text)


def way(request: web.Request) -> bytes:
    """A path in a tree: a nibble for each letter; empty = the top page."""
    text = request.match_info.get("path", "")
    if not _NIBBLES.fullmatch(text):
        raise _bad("path", text, "write at most 64 letters of 0123456789abcdef, one for each four bits")
    return bytes(int(letter, 16) for letter in text)


def _bad(name: str, text: str, remedy: str) -> AnswerError:
    return AnswerError(400, f"bad_{name}", f"{text[:64]!a} is no {name}", remedy)


def begun_state(request: web.Request) -> State:
    """The state; 409 before it begins."""
    state = request.app[SERVED].state
    if state.height < 0:
        start = request.app[SERVED].genesis.start_block
        raise AnswerError(409, "not_begun", f"the state begins with block {start}", "come again later")
    return state
