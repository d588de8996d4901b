"""What a command knows of the group's governance: of the running node, else of the store of one that is stopped."""

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

import msgspec

from node import control, explain, governance
from node.cli.opened import opened
from node.config import Config
from node.errors import ApiError, NodeError, UntoldError
from node.explain import Explanation
from node.governance import Overview, Tokens
from processors.codes import CODES
from processors.genesis import Genesis
from processors.params import read
from state.errors import StateError
from state.state import State

T = TypeVar("T")


class Explained(msgspec.Struct, frozen=True):
    """The transactions that were meant, or how the payload that was meant ended."""

    height: int
    found: list[Explanation]
    status: str
    words: str


class _Rejected(msgspec.Struct):
    height: int
    rejected: list[tuple[str, str, str, str]]
    more: int


class _Parameters(msgspec.Struct):
    height: int
    parameters: dict[str, int]


async def overview(config: Config, genesis: Genesis) -> Overview:
    """Raises NodeError where neither a node nor its store can be asked."""
    return await _of(
        config, genesis, "/v1/governance", Overview, lambda s: governance.overview(s, genesis, read(s.view()))
    )


async def tokens(config: Config, genesis: Genesis, account: str) -> Tokens:
    """Raises NodeError where neither a node nor its store can be asked."""
    return await _of(config, genesis, f"/v1/tokens/{account}", Tokens, lambda s: governance.tokens(s, account))


async def parameters(config: Config, genesis: Genesis, height: int | None) -> tuple[int, dict[str, int]]:
    """(height, every parameter in force there); None = now. Raises NodeError."""
    at = (await overview(config, genesis)).height if height is None else height

    def of_state(state: State) -> _Parameters:
        if at > state.height:
            raise NodeError(f"block {at} is not applied here yet: the node stands at {state.height}")
        return _Parameters(at, governance.parameters(state, read(state.view()), at))

    found = await _of(config, genesis, f"/v1/parameters/{at}", _Parameters, of_state)
    return found.height, found.parameters


async def explained(config: Config, genesis: Genesis, text: str) -> Explained:
    """What is known of a group transaction or payload. Raises NodeError."""

    def of_state(state: State) -> Explained:
        found = [explain.explain(state, genesis, op) for op in explain.operation_ids(state, text)]
        number = explain.payload_number(text)
        return Explained(state.height, found, *(explain.ended(state, number) if number else ("", "")))

    return await _of(config, genesis, f"/v1/explain/{quote(text, safe=':')}", Explained, of_state)


async def verdict(config: Config, block: int, txid: str) -> bool | str:
    """Whether the running node has applied a block and did not reject the operation in it; a str = the reason.

    Raises NodeError if no node runs, UntoldError where the state cannot show it.
    """
    path = config.data / control.CONTROL
    found: _Rejected = _read(await control.get(path, f"/v1/rejected/{block}"), _Rejected)
    for rejected, _, _, code in found.rejected:
        if rejected == txid:
            return f"{code}: {CODES.get(code, 'a reason that this version does not know')}"
    if found.height >= block and found.more:
        raise UntoldError(
            f"block {block} holds {found.more} rejections more than the state notes, so it does not show whether the "
            f"group took transaction {txid}: look with `waggle gov status` before you say it again"
        )
    return found.height >= block


async def _of(config: Config, genesis: Genesis, path: str, kind: type[T], of_state: Callable[[State], T]) -> T:
    try:
        return _read(await control.get(config.data / control.CONTROL, path), kind)
    except ApiError:
        raise
    except NodeError as error:  # nobody listens: the node does not run
        folder = config.data / "state"
        if not folder.joinpath("CURRENT").exists():
            raise NodeError(f"{error}; and there is no state in {folder}: start the node first") from None
    try:
        with opened(config, genesis) as state:
            if state.height < 0:
                raise NodeError("the node has no state yet: start it, then run this again")
            return of_state(state)
    except StateError as error:
        raise NodeError(f"{folder}: {error}") from error


def _read(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ApiError(f"the node is of another version than this command ({error})") from None
