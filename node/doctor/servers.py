"""Checks of the API servers: each answers, quickly, of this chain, with every method; and they agree.

What a server says is bounded and of no known type until it is looked at.
"""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import aiohttp
import msgspec

from node.config import ApiConfig
from node.config_text import MAIN_CHAIN
from node.doctor.finding import SECONDS, Case, Finding, Seen, fail, ok, skip, warn
from node.errors import ApiError, LieError, NodeError, UnprovableError
from node.feed.http import Transport
from node.feed.rpc import Api
from node.feed.source import chain_view, fetch_texts, read_next, read_proven
from processors.genesis import Genesis

#: Bytes of one answer to a check.
MAX_ANSWER = 8 << 20
#: The newest irreversible blocks that each server must be able to prove.
BLOCKS = 25
#: Seconds for them.
BLOCKS_SECONDS = 10.0
#: Seconds of a usual answer above which a server is slow.
SLOW = 1.0
#: Blocks by which a server may be behind the newest.
BEHIND = 20
#: Seconds that the head of a live chain is old at most, and that a clock may be wrong.
HEAD_AGE, CLOCK_WRONG = 9.0, 60.0
_HEADER = ("previous", "timestamp", "witness", "transaction_merkle_root")

#: What a node cannot do without besides blocks: method and parameters.
METHODS: dict[str, Any] = {
    "database_api.find_accounts": {"accounts": ["null"]},
    "transaction_status_api.find_transaction": {"transaction_id": "00" * 20},
}


class Bounded:
    """A transport that gives up on an answer of more than ``most`` bytes."""

    def __init__(self, transport: Transport, most: int = MAX_ANSWER) -> None:
        self._transport = transport
        self._most = most

    async def post(self, url: str, body: bytes, client: str, timeout: float) -> AsyncGenerator[bytes, None]:
        size = 0
        async with aclosing(self._transport.post(url, body, client, timeout)) as answer:
            async for part in answer:
                size += len(part)
                if size > self._most:
                    raise ApiError(f"an answer of more than {self._most} bytes")
                yield part


async def look(apis: Sequence[Api], genesis: Genesis, clock: Callable[[], float] = time.time) -> tuple[Seen, ...]:
    """What each server shows, all at once; then how far each is, and the header of one block that all should have."""
    seen = await asyncio.gather(*(_look_at(api, genesis, clock) for api in apis))
    good = {one.url: one for one in seen if one.view is not None and not one.error}
    if not good:
        return tuple(seen)
    quickest = min((api for api in apis if api.url in good), key=lambda api: good[api.url].seconds)
    ahead = await asyncio.gather(*(_ahead(api, quickest) for api in apis))
    most = max(
        (number for api, number in zip(apis, ahead, strict=True) if number is not None and api.url in good), default=0
    )
    behind = [most - number if number is not None else 0 for number in ahead]
    near = [
        one.view.irreversible_number
        for one, blocks in zip(seen, behind, strict=True)
        if one.view is not None and one.url in good and blocks <= BEHIND
    ]
    headers = await asyncio.gather(*(_header(api, min(near, default=1)) for api in apis))
    return tuple(
        msgspec.structs.replace(one, behind=blocks, header=header)
        for one, blocks, header in zip(seen, behind, headers, strict=True)
    )


async def _ahead(api: Api, reference: Api) -> int | None:
    """Blocks by which a server is ahead of another that is asked right after it; None if one does not answer."""
    try:
        view = await chain_view(api)
        return view.irreversible_number - (await chain_view(reference)).irreversible_number
    except ApiError:
        return None


async def _look_at(api: Api, genesis: Genesis, clock: Callable[[], float]) -> Seen:
    seen = Seen(api.url, api.operator)
    try:
        taken = []
        for _ in range(2):
            begun = time.perf_counter()
            view = await chain_view(api)
            taken.append(time.perf_counter() - begun)
        offset = clock() - taken[-1] / 2 - view.head_time
        seen = msgspec.structs.replace(seen, seconds=min(taken), view=view, offset=offset)
        checks = (
            _check_version(api, genesis),
            _check_blocks(api, genesis, view.irreversible_number),
            _check_methods(api),
        )
        version, *rest = await asyncio.gather(*checks, return_exceptions=True)
        if isinstance(version, str):
            seen = msgspec.structs.replace(seen, version=version)
        for found in (version, *rest):
            if isinstance(found, BaseException) and not isinstance(found, UnprovableError):  # that is our limit
                raise found
    except LieError as error:
        return msgspec.structs.replace(seen, error=f"gives a block that is false: {str(error)[:300]}")
    except NodeError as error:
        return msgspec.structs.replace(seen, error=str(error).removeprefix(f"{api.url}: ")[:300])
    return seen


async def _check_version(api: Api, genesis: Genesis) -> str:
    found = await api.call("database_api.get_version", {})
    chain, version = (
        (found.get("chain_id"), found.get("blockchain_version")) if isinstance(found, dict) else (None, None)
    )
    if not isinstance(chain, str) or not isinstance(version, str):
        raise ApiError("database_api.get_version: no chain id and version")
    if chain.lower() != genesis.chain.chain_id.hex():
        raise ApiError(f"it is on another chain: {chain[:64]} instead of {genesis.chain.chain_id.hex()}")
    hardfork = version.split(".")[1] if version.count(".") >= 2 else ""
    if not hardfork.isascii() or not hardfork.isdecimal() or len(hardfork) > 4:
        raise ApiError(f"database_api.get_version: {version[:32]!r} is no version")
    if int(hardfork) < genesis.params.hive_rules:
        raise ApiError(f"it runs hardfork {hardfork}, the group's rules are those of {genesis.params.hive_rules}")
    return version[:32]


async def _check_blocks(api: Api, genesis: Genesis, newest: int) -> None:
    """Whether it proves its newest irreversible blocks. Raises ApiError, LieError, UnprovableError, NotLinkedError."""
    number, previous = max(1, newest - BLOCKS + 1), None
    if newest < 1:
        return
    for text in await fetch_texts(api, number, newest - number + 1, BLOCKS_SECONDS):
        block = read_next(api.url, read_proven, genesis.chain, text, number, previous)
        number, previous = number + 1, block.id


async def _check_methods(api: Api) -> None:
    """Whether it has what a node cannot do without. Raises ApiError."""
    needed = [api.call(method, params) for method, params in METHODS.items()]
    await asyncio.gather(*needed)


async def _header(api: Api, number: int) -> tuple[str, ...]:
    """What identifies the header of a block; empty if the server does not give it."""
    try:
        found = await api.call("block_api.get_block_header", {"block_num": number})
        return tuple(str(found["header"][name])[:256] for name in _HEADER)
    except (ApiError, KeyError, TypeError):
        return ()


async def compresses(session: aiohttp.ClientSession, url: str, newest: int) -> bool | None:
    """Whether a server sends blocks compressed; None if it does not answer."""
    params = {"starting_block_num": max(1, newest - 20), "count": 20}
    body = {"jsonrpc": "2.0", "id": 1, "method": "block_api.get_block_range", "params": params}
    try:
        limit = aiohttp.ClientTimeout(total=SECONDS)
        async with session.post(url, json=body, timeout=limit, allow_redirects=False) as response:
            return "Content-Encoding" in response.headers
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None


def judge(case: Case, gzip: dict[str, bool | None]) -> list[Finding]:
    """Findings of each server, and of all together."""
    found = [_one(one, gzip.get(one.url)) for one in case.servers]
    good = {one.operator for one in case.servers if not one.error}
    if len(good) < 2:
        who = ", ".join(sorted(good)) or "none"
        what = f"good servers of {len(good)} operators ({who}): nothing is signed without two"
        found.append(fail("api-operators", what, "name servers of other operators in [[api]]"))
    else:
        found.append(ok("api-operators", f"good servers of {len(good)} operators: {', '.join(sorted(good))}"))
    return [*found, _agreement(case.servers)]


def _one(seen: Seen, gzip: bool | None) -> Finding:
    name = f"api {seen.url}"
    if seen.error or seen.view is None:
        return fail(name, f"{seen.operator}: {seen.error}", "ask its operator, or name another server in [[api]]")
    said = f"{seen.operator}: {seen.version}, answers in {seen.seconds * 1000:.0f} ms"
    if seen.behind > BEHIND:
        return warn(name, f"{said}, {seen.behind} blocks behind the others", "name another server if it stays so")
    if seen.seconds > SLOW:
        return warn(name, f"{said}: slow", "put a quicker one first in [[api]]")
    if gzip is False:
        return ok(name, f"{said}, does not compress: catching up takes more bandwidth")
    return ok(name, said)


def _agreement(servers: Sequence[Seen]) -> Finding:
    counts = Counter(one.header for one in servers if one.header)
    if sum(counts.values()) < 2:
        return skip("api-agreement", "fewer than two servers show the same block: nothing to compare")
    if len(counts) == 1:
        return ok("api-agreement", f"{counts.total()} servers have the same irreversible block")
    groups = (", ".join(one.url for one in servers if one.header == header) for header, _ in counts.most_common())
    what = f"the servers have different irreversible blocks: {' against '.join(groups)}"
    return fail("api-agreement", what, "find out which one follows another chain, and take it out of [[api]]")


def clock(case: Case) -> list[Finding]:
    """This machine's clock against the heads of all good servers."""
    offsets = [one.offset for one in case.servers if one.view is not None and not one.error]
    if not offsets or case.genesis is None:
        return [skip("clock", "no server to compare it with")]
    offset = statistics.median(offsets)
    if case.genesis.chain.chain_id != MAIN_CHAIN:
        return [
            skip("clock", f"this chain keeps a time of its own: its head is {offset:.0f} s from this machine's clock")
        ]
    said = f"the servers' heads are {offset:.1f} s behind this machine's clock"
    if -1.0 <= offset <= HEAD_AGE:
        return [ok("clock", f"{said}: it is right")]
    remedy = "set it by a time service (chrony, systemd-timesyncd); if it is right, Hive itself stands still"
    return [(warn if abs(offset) < CLOCK_WRONG else fail)("clock", said, remedy)]


def apis_of(servers: Sequence[ApiConfig], transport: Transport, client: str) -> list[Api]:
    """The servers of a configuration, each answer bounded in time and size."""
    return [Api(one.url, one.operator, Bounded(transport), client, SECONDS) for one in servers]
