"""The second opinion: an independent library computes the digest of what is to be signed (protocol section 11).

beem, with the chain given explicitly. Where beem is known to be wrong it abstains, and says why.
"""

from typing import Any

import msgspec
from msgspec.structs import replace

from processors.hive.chain import PRECISION, Chain
from processors.hive.compounds import ASSET
from processors.hive.operations import TABLE
from processors.hive.transaction import Transaction, show_transaction
from processors.hive.types import Asset

_NUMBERS = {name: number for number, (name, _) in enumerate(TABLE)}
_UNKNOWN_TO_BEEM = frozenset({48, 49})
_EXACT = 2**53 - 1


class Opinion(msgspec.Struct, frozen=True):
    """``packed`` = the bytes that the other library would sign after the chain id; None = it abstains, ``why``.

    ``failed``: it neither judged nor abstained, but broke.
    """

    packed: bytes | None
    why: str = ""
    failed: bool = False


def second_opinion(tx: Transaction, chain: Chain) -> Opinion:
    """What beem makes of an unsigned transaction."""
    why = _reason_to_abstain(tx)
    if why:
        return Opinion(None, why)
    try:
        return Opinion(_pack_with_beem(tx, chain))
    except Exception as error:  # noqa: BLE001 - whatever breaks in there must stop one transaction, not the node
        return Opinion(None, f"beem failed: {type(error).__name__} {error}", failed=True)


def _reason_to_abstain(tx: Transaction) -> str:
    for operation in tx.operations:
        if _NUMBERS[operation.name] in _UNKNOWN_TO_BEEM:
            return f"beem does not know the operation {operation.name}"
        reason = _in_value(operation.value)
        if reason:
            return reason
    return ""


def _in_value(value: Any) -> str:
    if isinstance(value, Asset):
        if abs(value.amount) > _EXACT:
            return "amounts above 2^53 - 1 are beyond what beem counts exactly"
        return ""
    if isinstance(value, str):
        if any(ord(letter) < 0x20 and letter not in "\t\n\r" for letter in value):
            return "beem rewrites control characters"
        return ""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return ""
    return next(filter(None, map(_in_value, value)), "")


def _pack_with_beem(tx: Transaction, chain: Chain) -> bytes:
    """The bytes beem serialises. It changes the decimal context of its thread: nothing here uses decimals."""
    from beembase.signedtransactions import Signed_Transaction  # a slow import that only signers need
    from beemgraphenebase.chains import known_chains

    # Inside operations beem reads keys with the prefix STM, and takes the symbol of an amount from the last chain in
    # its table that has this prefix. So keys are shown with STM (their bytes are the same), and ours is the last chain.
    chain = replace(chain, address_prefix="STM")
    parameters = _chain_parameters(chain)
    known_chains.pop("WAGGLE", None)
    known_chains["WAGGLE"] = parameters
    shown = show_transaction(tx, chain, typed=False)
    del shown["signatures"]
    # amounts in the typed form, which beem keeps as integers; the symbol form goes through a float
    shown["operations"] = [
        [name, {field: _exact(operation.value[field], value, chain) for field, value in body.items()}]
        for operation, (name, body) in zip(tx.operations, shown["operations"], strict=True)
    ]
    signed = Signed_Transaction(**shown)
    signed.deriveDigest(parameters)
    message: bytes = signed.message
    return message[len(chain.chain_id) :]


def _exact(value: Any, shown: Any, chain: Chain) -> Any:
    if isinstance(value, Asset):
        return ASSET.show(value, chain, True)
    if isinstance(value, dict):
        return {name: _exact(value[name], part, chain) for name, part in shown.items()}
    return shown


def _chain_parameters(chain: Chain) -> dict[str, Any]:
    liquid, dollar, vests = chain.symbols
    return {
        "chain_id": chain.chain_id.hex(),
        "min_version": "0.0.0",
        "prefix": chain.address_prefix,
        "chain_assets": [
            {"asset": "@@000000013", "symbol": dollar, "precision": PRECISION[1], "id": 0},
            {"asset": "@@000000021", "symbol": liquid, "precision": PRECISION[0], "id": 1},
            {"asset": "@@000000037", "symbol": vests, "precision": PRECISION[2], "id": 2},
        ],
    }
