"""Blocks that are not on the chain: those that link and prove all the same, and those that show that they are lies."""

from typing import Any

import msgspec

from node.devnet.chain import Produced
from processors.hive.block import block_id, merkle_root, show_header
from processors.hive.times import time_from_text, time_to_text

_WAYS = ("tx_left_out", "tx_changed", "tx_twice", "signature_changed", "time_changed", "other_id", "other_root")
_OF_FULL_BLOCKS = 4  # so many of them need a transaction


def of_another_fork(true: Produced) -> bytes:
    """A block that links and proves, and is on nobody's chain: with another time, and without transactions."""
    header = msgspec.structs.replace(true.header, timestamp=true.header.timestamp + 1, merkle_root=merkle_root([]))
    lie = {**show_header(header, typed=True), "transactions": [], "transaction_ids": []}
    return msgspec.json.encode({**lie, "block_id": block_id(header).hex(), "signing_key": ""})


def tampered(way: str, raw: bytes) -> bytes:
    """A block with another content than its header says; as it is if there is nothing in it to change."""
    shown = msgspec.json.decode(raw)
    if not shown["transactions"]:
        return raw
    _change(way, shown)
    return msgspec.json.encode(shown)


def falsified(raw: bytes, n: int) -> bytes:
    """A block that shows its lie, in the ``n``-th of all ways."""
    shown = msgspec.json.decode(raw)
    ways = _WAYS if shown["transactions"] else _WAYS[_OF_FULL_BLOCKS:]
    _change(ways[n % len(ways)], shown)
    return msgspec.json.encode(shown)


def _change(way: str, shown: dict[str, Any]) -> None:
    transactions, ids = shown["transactions"], shown["transaction_ids"]
    if way == "tx_left_out":
        del transactions[0], ids[0]
    elif way == "tx_changed":
        transactions[-1]["expiration"] = _later(transactions[-1]["expiration"])
    elif way == "tx_twice":
        transactions.append(transactions[0])
        ids.append(ids[0])
    elif way == "signature_changed":
        signature = transactions[-1]["signatures"][0]
        transactions[-1]["signatures"][0] = signature[:-2] + f"{int(signature[-2:], 16) ^ 1:02x}"
    elif way == "time_changed":
        shown["timestamp"] = _later(shown["timestamp"])
    elif way == "other_id":
        shown["block_id"] = shown["block_id"][:-2] + f"{int(shown['block_id'][-2:], 16) ^ 1:02x}"
    else:
        shown["transaction_merkle_root"] = "ab" * 20


def _later(time: str) -> str:
    return time_to_text(time_from_text(time) + 1)
