"""Registering and leaving: the operations node_add and node_delete, as transactions of the member's account."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from node.errors import ApiError, BroadcastRefusedError, ConfigError, NodeError
from node.feed.rpc import Api
from node.feed.source import chain_view
from node.log import one_line
from node.outgoing import JSON_LIFETIME
from node.signer.secret import SecretKey
from processors.errors import Rejected
from processors.genesis import Genesis, pop_digest
from processors.hive.block import reference_prefix
from processors.hive.crypto import recover
from processors.hive.errors import SignatureError
from processors.hive.keys import public_key_to_text
from processors.hive.operations import active_custom_json
from processors.hive.transaction import Transaction, pack_transaction, show_transaction, transaction_id
from processors.members import NODE_ADD
from processors.shapes import check

_DUPLICATE = "Duplicate transaction check failed"
_GONE = ("expired_reversible", "expired_irreversible", "too_old")
#: Seconds beyond its lifetime for which an included transaction is waited for to become irreversible.
PATIENCE = 120.0


class Reference(msgspec.Struct, frozen=True):
    """The TaPoS block of a transaction, and the time of the chain's head (seconds since 1970)."""

    number: int
    block_id: bytes
    head_time: int


class Signed(msgspec.Struct, frozen=True):
    """A signed transaction with its id."""

    tx: Transaction
    txid: bytes


def node_add(
    genesis: Genesis, account: str, key: bytes, pop: bytes, *, domain: str, follow_active: bool = False
) -> dict[str, Any]:
    """The json of node_add. Raises ConfigError if the group would reject it: then nothing need be sent."""
    text = public_key_to_text(key, genesis.chain.address_prefix)
    body: dict[str, Any] = {"domain": domain, "signing_key": text, "pop": pop.hex()}
    if follow_active:
        body["follow_active"] = True
    try:
        check({**body, "domain": "https://a"}, NODE_ADD)
        is_proven = recover(pop, pop_digest(genesis.hash, account)) == key
    except (Rejected, SignatureError):
        is_proven = False
    if not is_proven:
        raise ConfigError(f"the proof of possession is not of {text} for {account} in this genesis: `waggle keys pop`")
    try:
        check(body, NODE_ADD)
    except Rejected:
        raise ConfigError(
            f"--domain: {domain!r}: write https://HOST or http://HOST, lower case, a port if need be, and no path"
        ) from None
    return body


def proof(genesis: Genesis, account: str, key: SecretKey) -> bytes:
    """The proof of possession of a signing key (protocol section 4)."""
    return key.sign(pop_digest(genesis.hash, account))


def sign(genesis: Genesis, account: str, name: str, body: dict[str, Any], key: SecretKey, ref: Reference) -> Signed:
    """A custom_json of ours, by the account's active key."""
    text = json.dumps(body, separators=(",", ":"))
    operation = active_custom_json(account, genesis.prefix + name, text)
    expiration = ref.head_time + JSON_LIFETIME
    unsigned = Transaction(ref.number & 0xFFFF, reference_prefix(ref.block_id), expiration, (operation,))
    return Signed(
        key.sign_transaction(unsigned, genesis.chain), transaction_id(pack_transaction(unsigned, genesis.chain))
    )


async def reference(api: Api) -> Reference:
    """A block that cannot be undone, and the head's time, as a server has them. Raises ApiError."""
    view = await chain_view(api)
    number = view.irreversible_number
    found = await api.call("block_api.get_block_header", {"block_num": number})
    try:
        previous = bytes.fromhex(found["header"]["previous"])
        if number < 2 or len(previous) != 20 or int.from_bytes(previous[:4], "big") != number - 1:
            raise ValueError(f"no block before {number}")
    except (KeyError, TypeError, ValueError) as error:
        raise ApiError(f"{api.url}: no header of block {number}: {str(error)[:200]}") from error
    return Reference(number - 1, previous, view.head_time)


async def first_of(apis: Sequence[Api], ask: Callable[[Api], Any]) -> Any:
    """What the first server answers that does. Raises ApiError with what each said."""
    said = []
    for api in apis:
        try:
            return await ask(api)
        except ApiError as error:
            said.append(one_line(str(error)[:300]))
    raise ApiError("no API server answers: " + "; ".join(said) + ". Run `waggle doctor`, or name others in [[api]]")


async def send(apis: Sequence[Api], genesis: Genesis, tx: Transaction) -> str:
    """Broadcast to the next server on error, silence or refusal; returns who took it. A duplicate is success.

    Raises BroadcastRefusedError if no server took it and one gave a reason, else ApiError.
    """
    shown = show_transaction(tx, genesis.chain, typed=False)
    said, refusal = [], ""
    for api in apis:
        try:
            await api.broadcast(shown)
            return api.url
        except BroadcastRefusedError as error:
            if _DUPLICATE in str(error):
                return api.url
            refusal = refusal or f"{api.url} refuses it: {one_line(str(error)[:300])}"
        except ApiError as error:
            said.append(one_line(str(error)[:300]))
    if refusal:
        raise BroadcastRefusedError(f"{refusal}. Check the account key and the resource credits: waggle doctor")
    raise ApiError(f"no API server took it: {'; '.join(said)}. Try again, or name others in [[api]]")


async def wait(
    apis: Sequence[Api],
    txid: bytes,
    told: Callable[[str], None],
    *,
    every: float = 1.0,
    patience: float = JSON_LIFETIME + PATIENCE,
    sleep: Callable[[float], Any] = asyncio.sleep,
) -> int:
    """Until a transaction is in an irreversible block, whose number is returned; ``told`` hears how far it is.

    Raises NodeError when it has expired, or after ``patience`` seconds.
    """
    left, last = patience, ""
    while left > 0:
        status, number = await _status(apis, txid)
        if status != last:
            told(status.replace("_", " ") + (f" {number}" if number else ""))
            last = status
        if status == "within_irreversible_block" and number:
            return number
        if status in _GONE:
            raise NodeError("it expired before it was in a block: run the command again")
        await sleep(every)
        left -= every
    raise NodeError(
        f"not irreversible after {patience:g} s (last seen: {last or 'nothing'}): look for {txid.hex()} later"
    )


async def _status(apis: Sequence[Api], txid: bytes) -> tuple[str, int]:
    """How far it is where it is furthest; servers that fail know nothing."""
    best = ("unknown", 0)
    order = ("unknown", *_GONE, "within_mempool", "within_reversible_block", "within_irreversible_block")
    for api in apis:
        try:
            found = await api.call("transaction_status_api.find_transaction", {"transaction_id": txid.hex()})
        except ApiError:
            continue
        if not isinstance(found, dict) or found.get("status") not in order:
            continue
        number = found.get("block_num")
        status = (str(found["status"]), number if type(number) is int and number > 0 else 0)
        best = max(best, status, key=lambda one: order.index(one[0]))
    return best
