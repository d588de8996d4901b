"""Asking the running node through its control socket, bounded in time and size."""

from pathlib import Path
from typing import TypeVar, cast

import aiohttp
import msgspec

from node.bounded_http import TooLongError, read_bounded
from node.errors import ApiError, NodeError
from node.status import Status
from state.canonical import value_of
from state.errors import CodecError
from state.table import Table, Value

CONTROL = "control.sock"
SECONDS = 5.0
MAX_ANSWER = 8 << 20  # bytes

V = TypeVar("V", bound=Value)


class _Held(msgspec.Struct):
    """The answer of /v1/value."""

    value: str | None


class _Refused(msgspec.Struct):
    """What a node answers where it gives no answer."""

    message: str
    remedy: str


def _refusal(status: int, raw: bytes) -> str:
    """Its own words where what was asked is at fault."""
    try:
        found = msgspec.json.decode(raw, type=_Refused) if status < 500 else None
    except (msgspec.MsgspecError, RecursionError):
        found = None
    return f"{found.message}: {found.remedy}" if found else f"the node answered {status}: its log says why"


async def get(control: Path, path: str) -> bytes:
    """The body of an answer of the node that listens on ``control``.

    Raises ApiError if somebody listens there and gives none, NodeError if nobody does.
    """
    limit = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(control)), timeout=limit) as session,
            session.get(f"http://node{path}") as response,
        ):
            raw = await read_bounded(response, MAX_ANSWER)
            if response.status != 200:
                raise ApiError(_refusal(response.status, raw))
            return raw
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, PermissionError):
            raise ApiError(f"this user may not ask on {control}: run this command as the user of the node") from None
        raise NodeError(f"the node does not run: nobody listens on {control}") from None
    except TooLongError as error:
        raise ApiError(f"{control} gave {error}") from None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise ApiError(f"no answer on {control} within {SECONDS:g} s ({type(error).__name__})") from None


async def status(control: Path) -> Status:
    """The node as it stands. Raises what ``get`` does, and ApiError for a node of another version."""
    try:
        return msgspec.json.decode(await get(control, "/v1/status"), type=Status)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ApiError(f"the node is of another version than this command ({error})") from None


async def value(control: Path, table: Table[V], *key: int | str | bytes) -> V | None:
    """An entry of the node's state, or None if there is none. Raises as ``status`` does."""
    raw = await get(control, f"/v1/value/{table.name}/{table.key(key or table.fixed).hex()}")
    try:
        found = msgspec.json.decode(raw, type=_Held).value
        return None if found is None else cast(V, value_of(table, bytes.fromhex(found)))
    except (msgspec.MsgspecError, RecursionError, ValueError, CodecError) as error:
        raise ApiError(f"the node is of another version than this command ({error})") from None
