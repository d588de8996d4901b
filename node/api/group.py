"""What members read of a node: governance, tokens, parameters, group transactions, rejections."""

import re

from aiohttp import web

from node import explain, governance
from node.api import parsing
from node.api.answers import AnswerError, json_answer
from node.api.served import SERVED
from processors.hive.names import is_account_name
from processors.params import read
from state.schema import REJECTED, REJECTED_MORE

_ID = re.compile(r"[0-9a-zA-Z:]{1,40}")


async def overview(request: web.Request) -> web.StreamResponse:
    """Seats, votes, proposals, the queue, what the group holds, emergencies."""
    state = parsing.begun_state(request)
    return json_answer(request, governance.overview(state, request.app[SERVED].genesis, read(state.view())))


async def tokens(request: web.Request) -> web.StreamResponse:
    """An account's tokens and its newest movements."""
    account = request.match_info["account"]
    if not is_account_name(account):
        raise AnswerError(400, "bad_account", f"{account[:32]!a} is no account name", "write one, as in alice")
    return json_answer(request, governance.tokens(parsing.begun_state(request), account))


async def parameters(request: web.Request) -> web.StreamResponse:
    """Every parameter as it was in force at a height."""
    state, height = parsing.begun_state(request), parsing.number(request, "height")
    if height > state.height:
        raise AnswerError(404, "not_yet", f"block {height} is not applied here yet", f"ask for {state.height}")
    return json_answer(
        request, {"height": height, "parameters": governance.parameters(state, read(state.view()), height)}
    )


async def explained(request: web.Request) -> web.StreamResponse:
    """The group transactions that are out and meant by an id, a payload (p7) or the beginning of a Hive id."""
    state, genesis, text = parsing.begun_state(request), request.app[SERVED].genesis, request.match_info["id"]
    if not _ID.fullmatch(text):
        raise AnswerError(400, "bad_id", f"{text[:48]!a} is no id", "write HEIGHT:NUM:PREFIX, p and a number, or hex")
    found = [explain.explain(state, genesis, op) for op in explain.operation_ids(state, text)]
    payload = explain.payload_number(text)
    status, words = explain.ended(state, payload) if payload else ("", "")
    return json_answer(request, {"height": state.height, "found": found, "status": status, "words": words})


async def rejected(request: web.Request) -> web.StreamResponse:
    """The rejections that a block noted: the Hive id of the transaction, account, operation, code."""
    state, height = parsing.begun_state(request), parsing.number(request, "height")
    found = [[one.txid.hex(), one.account, one.name, one.code] for _, one in state.walk(REJECTED, height)]
    more = state.get(REJECTED_MORE, height)
    return json_answer(
        request, {"height": state.height, "rejected": found, "more": more.count if more is not None else 0}
    )


PUBLIC = (
    web.get("/v1/governance", overview),
    web.get("/v1/tokens/{account}", tokens),
    web.get("/v1/parameters/{height}", parameters),
    web.get("/v1/explain/{id}", explained),
    web.get("/v1/rejected/{height}", rejected),
)
