"""What one server gives: its view of the chain, and blocks in order, each proven before it leaves here."""

from collections.abc import AsyncGenerator, Callable

import msgspec

from node.core import ChainView
from node.errors import ApiError, BroadcastRefusedError, LieError, NotLinkedError, UnprovableError
from node.feed.rpc import Api
from node.feed.servers import Server
from processors.hive.block import Block, read_block
from processors.hive.chain import Chain
from processors.hive.errors import HiveDataError, UnknownOperationError
from processors.hive.times import time_from_text, time_to_text

MAX_BATCH = 200
#: A range of full blocks is some megabytes: it may take longer than a broadcast.
RANGE_TIMEOUT = 20.0  # seconds


#: Reads a block and proves it, or raises HiveDataError: a function of nothing but its bytes and the chain.
ReadBlock = Callable[[bytes, Chain], Block]


class Given(msgspec.Struct, frozen=True):
    """A block, and the text in which it was given (as the archive keeps it)."""

    block: Block
    text: bytes


class Range(msgspec.Struct, frozen=True):
    """Blocks from ``first`` on as ``server`` gave them; ``read`` reads and proves each."""

    first: int
    texts: list[bytes]
    server: Server
    read: ReadBlock


class _Answer(msgspec.Struct):
    blocks: list[msgspec.Raw]


_decode_range = msgspec.json.Decoder(_Answer).decode


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


async def block_time(api: Api, number: int) -> int:
    """The timestamp of a server's block. Raises ApiError."""
    found = await api.call("block_api.get_block_header", {"block_num": number})
    try:
        return time_from_text(found["header"]["timestamp"])
    except (KeyError, TypeError, HiveDataError) as error:
        raise ApiError(f"{api.url}: no header of block {number}: {error}") from error


async def transaction_status(api: Api, txid: bytes, expiration: int) -> str:
    """What a server knows of a transaction that expires at ``expiration`` (UNIX time). Raises ApiError.

    hived (transaction_status_api) calls it "expired_irreversible" if it tracked every block that could hold it and none
    does, "too_old" if it did not track so far back, and "unknown" while it tracks nothing, or was told no expiration.
    """
    params = {"transaction_id": txid.hex(), "expiration": time_to_text(expiration)}
    answer = await api.call("transaction_status_api.find_transaction", params)
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, str):
        raise ApiError(f"{api.url}: not the status of a transaction")
    return status


def read_proven(text: bytes, chain: Chain) -> Block:
    """A block whose id and Merkle root are those of what it holds. Raises HiveDataError."""
    block = read_block(text, chain)
    block.prove()
    return block


async def fetch_texts(api: Api, first: int, count: int, timeout: float | None = RANGE_TIMEOUT) -> list[bytes]:
    """At most ``count`` blocks from ``first`` on as a server gives them, at least one. Raises ApiError.

    ``timeout`` in seconds; None is the server's usual one.
    """
    try:
        params = {"starting_block_num": first, "count": count}
        raw = await api.raw("block_api.get_block_range", params, timeout)
        blocks = _decode_range(raw).blocks
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(f"{api.url}: not a range of blocks") from error
    except BroadcastRefusedError as error:
        raise ApiError(f"{api.url}: block_api.get_block_range: {error}") from error
    if not 1 <= len(blocks) <= count:
        raise ApiError(f"{api.url}: {len(blocks)} blocks instead of {count} from {first} on")
    return [bytes(text) for text in blocks]


async def fetch_blocks(
    api: Api,
    chain: Chain,
    first: int,
    last: int,
    previous: bytes | None,
    read: ReadBlock = read_proven,
    quick: bool = False,
) -> AsyncGenerator[Given, None]:
    """Blocks ``first`` to ``last``, each linked to the one before and proven.

    ``quick``: a few blocks are asked for, within the server's usual time. Raises ApiError, LieError, NotLinkedError,
    UnprovableError.
    """
    number = first
    while number <= last:
        count = min(MAX_BATCH, last - number + 1)
        for text in await fetch_texts(api, number, count, None if quick else RANGE_TIMEOUT):
            block = read_next(api.url, read, chain, text, number, previous)
            yield Given(block, text)
            previous = block.id
            number += 1


def read_next(url: str, read: ReadBlock, chain: Chain, text: bytes, number: int, previous: bytes | None) -> Block:
    """Block ``number`` after ``previous``, from what the server at ``url`` gave.

    Raises ApiError (another block), LieError, NotLinkedError, UnprovableError.
    """
    try:
        block = read(text, chain)
    except UnknownOperationError as error:
        words = f"{url}: block {number} cannot be proven: {error}. This is our limit, not the server's fault"
        raise UnprovableError(f"{words}: a newer version is needed", number) from error
    except HiveDataError as error:
        raise LieError(f"{url}: block {number} is refused: {error}", number, text) from error
    except (ArithmeticError, ValueError, TypeError, KeyError, RecursionError) as error:
        # nobody foresaw it: one server's answer, whatever it is, must not end the node
        raise ApiError(f"{url}: block {number} cannot be read ({type(error).__name__} {error})") from error
    check_place(url, block, number, previous)
    return block


def check_place(url: str, block: Block, number: int, previous: bytes | None) -> None:
    """Whether a block is the one asked for, and follows ``previous``. Raises ApiError, NotLinkedError."""
    if block.number != number:
        raise ApiError(f"{url}: block {block.number} where {number} was asked for")
    if previous is not None and block.header.previous != previous:
        raise NotLinkedError(f"{url}: block {number} does not follow ours ({previous.hex()})")
