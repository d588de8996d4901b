"""`waggle explain --history`: the life of a group transaction, from the reports that elected its header to its end."""

from typing import Any

import msgspec

from node.audit.auditor import Auditor
from node.audit.replay import Asked, last_height, replay
from node.audit.transactions import Built
from node.cli.history_options import Where, history_of
from node.cli.key_options import warn
from node.cli.progress import progress
from node.errors import NodeError
from node.explain import decode, payload_number
from node.history.past import scratch_store
from processors.genesis import Genesis


def lives(genesis: Genesis, where: Where, which: str, *, quiet: bool) -> list[Built]:
    """The group transactions that are meant by an id, a payload, or the beginning of a Hive id. Raises NodeError."""
    with history_of(where, genesis) as history, scratch_store(genesis) as store:
        total = last_height(history, genesis, None) - genesis.start_block + 1
        with progress("replaying", total, quiet=quiet) as advance:
            auditor, found = replay(history, genesis, store, Asked(signatures=False), advance)
    if found.height != found.wanted:
        raise NodeError(f"the history could be followed to block {found.height} only: see `waggle replay`")
    if found.deviations:
        told = ", ".join(f"{count} x {kind}" for kind, count in found.deviations.items())
        warn(f"the history deviates ({told}): look at `waggle replay` before you believe what is told of it")
    meant = _meant(auditor, which)
    if not meant:
        raise NodeError(
            f"{which}: no group transaction of {found.source} is called so; `waggle replay --report` has all"
        )
    return meant


def _meant(auditor: Auditor, which: str) -> list[Built]:
    number = payload_number(which)
    return [
        one
        for one in auditor.transactions.built.values()
        if one.op == which or number in one.payloads or (len(which) >= 8 and one.txid.startswith(which))
    ]


def as_value(one: Built, genesis: Genesis) -> dict[str, Any]:
    """For machines."""
    shown: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(one, tx=b""))
    del shown["keys"]  # each stands beside its signature
    shown["tx"] = one.tx.hex()
    shown["decoded"] = msgspec.to_builtins(decode(one.tx, genesis.chain))
    return shown


def in_words(one: Built, genesis: Genesis) -> list[str]:
    """For people: one line for each thing that happened to it, by height."""
    payloads = ", ".join(f"p{number}" for number in one.payloads)
    told: list[tuple[int, str]] = []
    if one.elected is not None:
        told += [(voice.height, f"{voice.account} reports{_hive(voice.txid)}") for voice in one.elected.voices]
        told.append((one.elected.tally, f"the tally elects the header of block {one.elected.block}"))
    told.append((one.built, f"every node builds it, for {payloads}"))
    for signed in one.signed:
        by = f", sent by {signed.sender}" if signed.sender != signed.account else ""
        told.append((signed.height, f"{signed.account or signed.key} signs{by}{_hive(signed.txid)}"))
    told += [(height, f"{account} refuses: {why}") for account, why, height in one.refused]
    told += [(height, "ready: the signatures meet the authority") for height in one.ready]
    told += [(height, f"{'every member' if who == '*' else who} may broadcast it") for height, who in one.recasts]
    if one.included:
        carried = ", ".join(one.carried_by)
        told.append((one.included, f"included, with the signatures of {carried}{_hive(one.txid)}"))
    decoded = decode(one.tx, genesis.chain)
    return [
        f"group transaction {one.op}: {one.kind}, {one.end}",
        *(f"  {number}. {words}" for number, words in enumerate(decoded.words, 1)),
        f"  Hive id {decoded.txid}, digest {decoded.digest}, both from its bytes",
        *(f"  {height:>11}  {words}" for height, words in sorted(told, key=lambda pair: pair[0])),
    ]


def _hive(txid: str) -> str:
    return f" (Hive {txid})"
