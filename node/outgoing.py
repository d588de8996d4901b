"""What leaves a node: its own custom_json, and group transactions with the signatures that the state holds."""

import json

import msgspec

from node.agent import SendReport, chosen_signatures
from node.signer.keys import SecretKey
from node.signer.policy import receiver_of
from node.span import BLOCK_SECONDS
from processors.contents import contents
from processors.genesis import Genesis
from processors.hive.block import reference_prefix
from processors.hive.operations import active_custom_json
from processors.hive.transaction import Transaction, unpack_transaction
from state.schema import HEAD, MS, Record
from state.state import State

#: Lifetime of the node's own custom_json transactions, in seconds.
JSON_LIFETIME = 300
#: However far behind its head a server says the irreversible block is, no more than this counts.
MAX_LAG = 1_000
#: Seconds that missed blocks may have cost.
TIME_SLACK = 600


class ChainView(msgspec.Struct, frozen=True):
    """What the servers say of the chain now."""

    head_number: int
    head_time: int
    irreversible_number: int


class Outgoing(msgspec.Struct, frozen=True):
    """A signed transaction to be broadcast; ``content`` goes into the outbox once it was accepted.

    ``roles``: the authorities of the group account that it was signed for, none if it is the node's own.
    """

    content: str
    tx: Transaction
    roles: tuple[str, ...] = ()


def custom_json(
    state: State,
    genesis: Genesis,
    account: str,
    key: SecretKey,
    name: str,
    body: dict[str, object],
    view: ChainView,
) -> Transaction:
    """A custom_json of ours, signed by the account key."""
    head = state.need(HEAD)
    operation = active_custom_json(account, genesis.prefix + name, json.dumps(body, separators=(",", ":")))
    # a server's time counts only as far as its block number can explain it
    ahead = min(MAX_LAG, max(0, view.head_number - head.height))
    latest = head.timestamp + BLOCK_SECONDS * ahead + TIME_SLACK
    expiration = min(max(view.head_time, head.timestamp), latest) + JSON_LIFETIME
    tx = Transaction(head.height & 0xFFFF, reference_prefix(head.block_id), expiration, (operation,))
    return key.sign_transaction(tx, genesis.chain)


def group_transaction(state: State, genesis: Genesis, op: str) -> Transaction:
    """A group transaction with the signatures that a broadcast carries."""
    record = state.need(MS, op)
    tx = unpack_transaction(record.tx, genesis.chain)
    return msgspec.structs.replace(tx, signatures=tuple(chosen_signatures(state, op, record)))


def report_body(action: SendReport, version: str, sig: bytes) -> dict[str, object]:
    """The json of a report (protocol section 5)."""
    header = action.header
    return {
        "v": 1,
        "height": action.height,
        "root": action.root.hex(),
        "hdr": {"num": header.num, "pre": header.pre, "exp": header.exp},
        "ver": version,
        "sig": sig.hex(),
    }


def receivers_of(state: State, genesis: Genesis, record: Record) -> set[str]:
    """The accounts that get something by a group transaction."""
    if record.kind == "rotation":
        return set()
    known = contents(state, record.payloads)
    named = {receiver_of(operation) for content in known for operation in content.operations(genesis)}
    return named - {"", genesis.group}
