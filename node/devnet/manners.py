"""How an address serves the chain: honestly, or with one of the faults that real servers have."""

from typing import Any

import msgspec

#: What each manner is; the number after a colon and what it means, where there is one.
MANNERS = {
    "honest": "answers as hived does",
    "leaves-out": "leaves the last transaction out of every block that has one",
    "slow": "answers after SECONDS (slow:2)",
    "silent": "takes every request and answers none",
    "behind": "is always BLOCKS behind (behind:10)",
    "errors": "answers every n-th request with HTTP 503 (errors:3)",
    "swallows": "takes broadcasts and drops them",
}
_DEFAULTS = {"slow": 2.0, "behind": 10.0, "errors": 3.0}


class Manner(msgspec.Struct, frozen=True):
    """A name of MANNERS, and its number: seconds, blocks or requests."""

    name: str = "honest"
    number: float = 0.0


HONEST = Manner()


def manner(text: str) -> Manner:
    """A manner as NAME or NAME:NUMBER. Raises ValueError with what there is."""
    name, colon, number = text.partition(":")
    known = ", ".join(f"{key}:NUMBER" if key in _DEFAULTS else key for key in MANNERS)
    if name not in MANNERS or (colon and name not in _DEFAULTS):
        raise ValueError(f"{text!r} is no manner to serve in: name one of {known}")
    try:
        found = float(number) if colon else _DEFAULTS.get(name, 0.0)
    except ValueError:
        found = -1.0
    low, high = (0.0, 3600.0) if name == "slow" else (1.0, 100_000.0)
    if name in _DEFAULTS and not (low <= found <= high and (name == "slow" or found.is_integer())):
        raise ValueError(f"{text!r}: the number is {low:g} to {high:g}{'' if name == 'slow' else ', a whole one'}")
    return Manner(name, found)


def without_last(answer: Any) -> Any:
    """The answer to get_block or get_block_range, each block without its last transaction."""
    if not isinstance(answer, dict):
        return answer
    for block in [*answer.get("blocks", ()), answer.get("block"), answer]:
        if isinstance(block, dict) and block.get("transactions"):
            block["transactions"].pop()
            block["transaction_ids"].pop()
    return answer
