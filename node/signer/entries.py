"""What the lines of a signing journal say (node/signer/journal.py)."""

import re
from typing import Any

import msgspec

#: Fields of a signature's line as the first release wrote it, besides the genesis.
FIRST_RELEASE = 4
_TXID = re.compile("[0-9a-f]{40}")
_ENDLESS = 1 << 62


class Entry(msgspec.Struct, frozen=True):
    """A payload was signed in transaction ``txid``, which can be included until ``expiration`` (seconds).

    ``time`` = the block's when it was signed, ``amount`` in smallest units of ``asset`` (empty: no payment).
    """

    payload: int
    txid: str
    expiration: int
    op: str
    time: int = 0
    asset: str = ""
    amount: int = 0


class Born(msgspec.Struct, frozen=True):
    """Since when the journal stands in its place: height and time of the block, ``until`` old keys are held back.

    ``home``: the identity of its file. ``nonce``: random, of this beginning alone; empty in older journals.
    """

    height: int
    time: int
    until: int
    home: int
    nonce: str = ""


def entry_of(fact: list[Any]) -> Entry | None:
    """The signature that a fact tells of; None for the others. Raises ValueError, TypeError."""
    if fact[:1] in (["born"], ["key"]):
        return None
    payload, txid, expiration, op, *rest = fact
    time, asset, amount = rest or (0, "", 0)
    if any(type(number) is not int for number in (payload, expiration, time, amount)):
        raise TypeError("a number that is none")
    if not all(isinstance(text, str) for text in (txid, op, asset)) or not _TXID.fullmatch(txid):
        raise ValueError("an id that is none")
    return Entry(payload, txid, expiration, op, time, asset, amount)


def both(one: Entry | None, other: Entry) -> Entry:
    """What two lines of one payload and transaction say together: whichever holds back more."""
    if one is None:
        return other
    asset, amount = max((one.asset, one.amount), (other.asset, other.amount), key=lambda pair: (pair[1], pair[0]))
    times = max(one.expiration, other.expiration), max(one.time, other.time)
    return Entry(one.payload, one.txid, times[0], max(one.op, other.op), times[1], asset, amount)


def born_of(fact: list[Any]) -> Born:
    """The beginning that a line tells of. Raises ValueError, TypeError."""
    _, height, time, until, home, *nonce = fact
    if len(nonce) > 1 or not all(isinstance(text, str) for text in nonce):
        raise ValueError("a beginning that is none")
    return Born(int(height), int(time), int(until), int(home), *nonce)


def size_of(mark: bytes | None, home: int) -> int:
    """What a mark says whose file is ``home``; one that is no mark of that file says that the journal is an old copy.

    A crash may have kept the second line from being written, or cut it off.
    """
    if mark is None:
        return 0
    found = re.fullmatch(rb"([0-9]{1,18})\n(?:([0-9]{1,18})\n|[0-9]{0,18})", mark)
    if found is None or (found[2] is not None and int(found[2]) != home):
        return _ENDLESS
    return int(found[1])
