"""Blocks of which only what may concern a group is handed on: the rest is counted, not carried.

Another process reads and looks at whole blocks; what it hands on is enough for the rules, and for an auditor.
"""

from typing import Any

import msgspec

from node.history.source import UNREADABLE
from processors.hive.block import Block, Header, witness_key
from processors.hive.body import Names, Packed
from processors.hive.crypto import recover_as_hived
from processors.hive.errors import HiveDataError, SignatureError, UnknownOperationError, UnprovenBlockError
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction

#: The name of an operation that was not handed on: none of Hive's, so no rule listens to it.
NOT_HERE = "not_here"
#: The same, of what a database was not asked for.
NOT_FETCHED = "not_fetched"
_SHOWN: dict[str, Any] = {"type": NOT_HERE, "value": {}}
#: Operations that are handed on whoever is named in them: members' keys, witnesses' keys, and old work of whose account
#: the name lies deeper.
_ALWAYS = ("account_update", "witness_update", "witness_set_properties", "pow")

#: A transaction that is handed on, or the number of operations of one that is not.
Entry = Packed | int


class Looked(msgspec.Struct, frozen=True):
    """What was seen of a whole block: why its transactions are not those of its header (empty = they are, or nobody
    looked), and the key of its witness's signature (None = there is none, or nobody looked). ``signers``: the keys of
    the signatures of each transaction that was handed on, by its position; None for what recovers to no key.
    ``unknown``: what of it this version cannot serialise, so that it cannot be proven.
    """

    unproven: str = ""
    witness_key: bytes | None = None
    signers: dict[int, list[bytes | None]] = {}
    unknown: str = ""


def proof_of(block: Block) -> tuple[str, str]:
    """(why a whole block is not under its Merkle root, why this version cannot tell), each empty if it is not so."""
    try:
        block.prove()
    except UnprovenBlockError as error:
        return str(error), ""
    except UnknownOperationError as error:
        return "", f"block {block.number} cannot be serialised: {error}"
    except (HiveDataError, *UNREADABLE) as error:
        return f"block {block.number} is not what Hive would hold ({type(error).__name__} {error})", ""
    return "", ""


def signer_of(header: Header) -> bytes | None:
    """The key of the witness's signature; None if it recovers to none."""
    try:
        return witness_key(header)
    except SignatureError:
        return None


def signers_of(tx: Transaction, digest: bytes) -> list[bytes | None]:
    """The key of each signature of a transaction over its digest, as hived recovers it; None of what has none."""
    found: list[bytes | None] = []
    for signature in tx.signatures:
        try:
            found.append(recover_as_hived(signature, digest))
        except SignatureError:
            found.append(None)
    return found


def is_marked(group: str, tx: Transaction) -> bool:
    """Whether a transaction ends as the group's own do, with a custom_json that it signs (protocol section 6)."""
    last = tx.operations[-1]
    return last.name == "custom_json" and last.value["required_auths"] == (group,)


class SiftedBody:
    """See processors/hive/body.py: all operations keep their places, foreign ones are without name and value."""

    __slots__ = ("_entries", "_shown")

    is_whole = False

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries
        self._shown: list[Any] | None = None

    def may_mention(self, words: tuple[bytes, ...], operations: tuple[bytes, ...], names: Names | None) -> bool:
        """What is here was chosen because it may."""
        return bool(self._entries)

    def transactions(self) -> list[Any]:
        """A value for each; one that is not here holds as many operations that are none of Hive's."""
        if self._shown is None:
            self._shown = [
                {"operations": [_SHOWN] * entry}
                if isinstance(entry, int)
                else {"operations": [(operation.name, operation.value) for operation in entry[0].operations]}
                for entry in self._entries
            ]
        return self._shown

    def transaction(self, index: int) -> Packed:
        """The one at ``index``; of one that is not here only the number of its operations is true."""
        entry = self._entries[index]
        if isinstance(entry, int):
            return Transaction(0, 0, 0, (Operation(NOT_HERE, {}),) * entry), b"", b""
        return entry

    def leaf(self, index: int) -> bytes:
        """There is none. Raises HiveDataError."""
        raise HiveDataError(f"transaction {index}: not all bytes of the block are here")


def sift(block: Block, group: str, prefix: str) -> list[Entry]:
    """What of a block may concern the group, by the names and fields of its operations. Raises HiveDataError.

    Kept is a transaction with an operation that names the group account in a field or in a list, one of ours, or one
    that changes keys. No rule listens to any other (processors/engine.py), and in no other does the group account act.
    """
    entries: list[Entry] = []
    for position, raw in enumerate(block.transactions):
        operations = raw["operations"]
        is_kept = any(_concerns(operation, group, prefix) for operation in operations)
        entries.append(block.transaction(position) if is_kept else len(operations))
    return entries if any(not isinstance(entry, int) for entry in entries) else []


def _concerns(raw: Any, group: str, prefix: str) -> bool:
    name, body = (raw["type"], raw["value"]) if type(raw) is dict else raw
    if name.startswith(_ALWAYS):
        return True
    kind = body.get("id")
    if type(kind) is str and kind.startswith(prefix):
        return True
    return any(value == group or (type(value) is list and group in value) for value in body.values())
