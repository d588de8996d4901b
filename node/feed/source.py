"""Where blocks come from: irreversible ones of one server, in order, each proven before it leaves here.

Fail-over between servers belongs to a later issue; what does not prove is never handed on.
"""

from collections.abc import AsyncIterator, Callable

import msgspec

from node.core import ChainView
from node.errors import ApiError, BroadcastRefusedError, FeedError
from node.feed.rpc import Api
from processors.hive.block import Block, read_block
from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError, UnknownOperationError
from processors.hive.times import time_from_text

MAX_BATCH = 200
#: A range of full blocks is some megabytes: it may take longer than a broadcast.
RANGE_TIMEOUT = 20.0  # seconds


#: Reads a block and proves it, or raises HiveDataError: a function of nothing but its bytes and the chain.
ReadBlock = Callable[[bytes, Chain], Block]


class _Range(msgspec.Struct):
    blocks: list[msgspec.Raw]


_decode_range = msgspec.json.Decoder(_Range).decode


async def chain_view(api: Api) -> ChainView:
    """What a server says of the chain now. Raises ApiError."""
    found = await api.call("database_api.get_dynamic_global_properties", {})
    try:
        head, irreversible = int(found["head_block_number"]), int(found["last_irreversible_block_num"])
        view = ChainView(head, time_from_text(found["time"]), irreversible)
    except (KeyError, TypeError, ValueError, HiveDataError) as error:
        raise ApiError(f"{api.url}: not dynamic global properties: {error}") from error
    if not 0 <= irreversible <= head:
        raise ApiError(f"{api.url}: irreversible block {irreversible} above the head {head}")
    return view


async def irreversible_time(api: Api) -> int:
    """The timestamp of the newest block that a server calls irreversible. Raises ApiError."""
    number = (await chain_view(api)).irreversible_number
    found = await api.call("block_api.get_block_header", {"block_num": number})
    try:
        return time_from_text(found["header"]["timestamp"])
    except (KeyError, TypeError, HiveDataError) as error:
        raise ApiError(f"{api.url}: no header of block {number}: {error}") from error


async def is_unknown(api: Api, txid: bytes) -> bool:
    """Whether a server says that it knows of no inclusion of a transaction. Raises ApiError."""
    answer = await api.call("transaction_status_api.find_transaction", {"transaction_id": txid.hex()})
    return isinstance(answer, dict) and answer.get("status") in ("unknown", "expired_irreversible")


def read_proven(text: bytes, chain: Chain) -> Block:
    """A block whose id and Merkle root are those of what it holds. Raises HiveDataError."""
    block = read_block(text, chain)
    block.prove()
    return block


async def fetch_blocks(
    api: Api,
    chain: Chain,
    first: int,
    last: int,
    previous: bytes | None,
    read: ReadBlock = read_proven,
    quick: bool = False,
) -> AsyncIterator[Block]:
    """Blocks ``first`` to ``last``, each linked to the one before and proven. Raises ApiError, FeedError.

    ``quick``: a few blocks are asked for, within the server's usual time.
    """
    number = first
    while number <= last:
        count = min(MAX_BATCH, last - number + 1)
        try:
            params = {"starting_block_num": number, "count": count}
            raw = await api.raw("block_api.get_block_range", params, None if quick else RANGE_TIMEOUT)
            blocks = _decode_range(raw).blocks
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError(f"{api.url}: not a range of blocks") from error
        except BroadcastRefusedError as error:
            raise ApiError(f"{api.url}: block_api.get_block_range: {error}") from error
        if not 1 <= len(blocks) <= count:
            raise ApiError(f"{api.url}: {len(blocks)} blocks instead of {count} from {number} on")
        for text in blocks:
            block = _next_block(api, read, chain, bytes(text), number, previous)
            yield block
            previous = block.id
            number += 1


def _next_block(api: Api, read: ReadBlock, chain: Chain, text: bytes, number: int, previous: bytes | None) -> Block:
    try:
        block = read(text, chain)
    except UnknownOperationError as error:
        raise FeedError(
            f"{api.url}: block {number} cannot be proven: {error}. This is our limit, not the server's fault: a newer "
            f"version is needed"
        ) from error
    except HiveDataError as error:
        raise FeedError(f"{api.url}: block {number} is refused: {error}") from error
    if block.number != number:
        raise FeedError(f"{api.url}: block {block.number} where {number} was asked for")
    if previous is not None and block.header.previous != previous:
        raise FeedError(f"{api.url}: block {number} does not follow ours ({previous.hex()})")
    return block
