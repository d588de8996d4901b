"""Vectors that others computed, as the tests use them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from processors.hive.chain import Chain

HERE = Path(__file__).parent


@cache
def golden() -> list[dict[str, Any]]:
    """Every golden transaction vector."""
    return [vector for path in sorted(HERE.glob("golden*.json")) for vector in json.loads(path.read_text())["vectors"]]


def chain_of(vector: dict[str, Any]) -> Chain:
    """The chain a vector was made for: a testnet is told by its symbols."""
    text = json.dumps(vector["tx"])
    symbols = ("TESTS", "TBD", "VESTS") if " TESTS" in text or " TBD" in text else ("HIVE", "HBD", "VESTS")
    return Chain(bytes.fromhex(vector["chain_id"]), vector["prefix"], symbols)


@cache
def hived_blocks() -> dict[str, Any]:
    """Blocks of a real hived in both API forms."""
    found: dict[str, Any] = json.loads((HERE / "hived_blocks.json").read_text())
    return found


def hived_chain() -> Chain:
    """The testnet of ``hived_blocks``."""
    found = hived_blocks()
    return Chain(bytes.fromhex(found["chain_id"]), found["prefix"], tuple(found["symbols"]))


@cache
def mainnet_blocks() -> list[dict[str, Any]]:
    """Genuine consecutive blocks of the main chain of 2016."""
    found: list[dict[str, Any]] = json.loads((HERE / "mainnet_blocks_1000000.json").read_text())["blocks"]
    return found


MAINNET_2016 = Chain(bytes(32))
