"""What a server knows of transactions (hived: libraries/plugins/apis/transaction_status_api)."""

from typing import Any

from node.devnet.behind import ShownChain
from node.devnet.checks import POOL_LIFETIME
from processors.hive.times import time_from_text

#: Blocks that hived's plugin transaction_status looks back, unless it is told otherwise.
TRACKED_BLOCKS = 64_000


def find_transaction(
    chain: ShownChain, txid: str, expiration: str | None, *, tracks_all: bool = False
) -> dict[str, Any]:
    """transaction_status_api.find_transaction; ``tracks_all``: this server tracked long before the chain began."""
    status, number = chain.status(bytes.fromhex(txid))
    if number:
        return {"status": status, "block_num": number}
    if status != "unknown" or expiration is None:
        return {"status": status}
    time = time_from_text(expiration)
    earliest = chain.block(max(1, chain.head_number - TRACKED_BLOCKS))
    if not tracks_all and (earliest is None or time < earliest.header.timestamp + POOL_LIFETIME):
        return {"status": "too_old"}
    irreversible = chain.block(chain.irreversible_number)
    if irreversible is not None and time <= irreversible.header.timestamp:
        return {"status": "expired_irreversible"}
    return {"status": "expired_reversible" if time < chain.head_time else "unknown"}
