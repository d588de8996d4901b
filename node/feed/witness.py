"""Witness signatures: whether a block was signed by the key that its witness has on the chain.

A server can make up a block whose id, link and Merkle root fit together, but it cannot sign it. hived takes a block
only if the key that its signature recovers to is the witness's block signing key as of the block before
(database::validate_block_header). Where that key is known here, the same is asked.

A key is known from two places. Two servers of different operators say it of their head: that holds for the blocks
after it. And a witness_update or witness_set_properties in a proven block changes it for the blocks after that one.
Of older blocks an answer proves nothing bad: the witness may have had another key then.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from enum import Enum
from typing import Any

import msgspec

from node.errors import ApiError
from node.feed.rpc import Api
from node.feed.source import chain_view
from processors.hive.block import Block, witness_key
from processors.hive.errors import HiveDataError, SignatureError
from processors.hive.keys import NULL_KEY, public_key_from_text
from processors.hive.operations import Operation

MAX_WITNESSES = 1_000  # as many as hived answers of at once
KEY_OPERATIONS = (b"witness_update", b"witness_set_properties")
_NEEDED = 2  # operators who say the same


class Known(Enum):
    """What a block's signature is, as far as its witness's key is known."""

    OK = "ok"
    UNKNOWN = "unknown"
    WRONG = "wrong"


class Heard(msgspec.Struct, frozen=True):
    """Signing keys (33 bytes) that different operators say alike, by witness, and the highest head they said it at.

    A witness who signs no blocks has 33 zero bytes.
    """

    head: int
    keys: dict[str, bytes]


class WitnessKeys:
    """The signing keys of the witnesses that were asked for; at most 1,000, those not asked for longest go first."""

    def __init__(self, address_prefix: str) -> None:
        self._prefix = address_prefix
        self._keys: dict[str, tuple[bytes, int]] = {}  # the key, and the block after which it holds
        self._number: int | None = None

    def judge(self, block: Block) -> Known:
        """What the signature of a block is, which must be the next one to ``see`` for WRONG to be sure.

        After WRONG, ask anew and judge again before the server is blamed: if it stays WRONG, two operators have said
        so before the block and after it. UNKNOWN: ask for ``block.header.witness`` when there is time.
        """
        try:
            key = witness_key(block.header)
        except SignatureError:
            return Known.WRONG
        known, since = self._keys.get(block.header.witness, (NULL_KEY, 0))
        if known == NULL_KEY:
            return Known.UNKNOWN
        if key == known:
            return Known.OK
        in_order = self._number is None or block.number == self._number + 1
        return Known.WRONG if in_order and block.number > since else Known.UNKNOWN

    def see(self, block: Block) -> None:
        """Take over the key changes of a proven block; every block in order. After a gap all keys are unknown."""
        if self._number is not None and block.number != self._number + 1:
            self._keys.clear()
        self._number = block.number
        if not block.may_mention((), KEY_OPERATIONS):
            return
        for index in range(len(block.transactions)):
            try:
                operations = block.transaction(index)[0].operations
            except HiveDataError:  # it could hold a change: of nobody the key is sure any more
                self._keys.clear()
                return
            for operation in operations:
                changed = changed_key(operation)
                if changed is not None and changed[0] in self._keys:
                    self._keys[changed[0]] = changed[1], block.number

    def learn(self, heard: Heard) -> None:
        """Take over what servers said. A key that is the same as before keeps holding from where it did."""
        for name, key in heard.keys.items():
            known = self._keys.pop(name, None)
            self._keys[name] = known if known is not None and known[0] == key else (key, heard.head)
        while len(self._keys) > MAX_WITNESSES:
            del self._keys[next(iter(self._keys))]

    async def ask(self, apis: Iterable[Api], names: Iterable[str]) -> None:
        """Ask servers for the keys of witnesses, and learn. Raises ApiError if fewer than two operators answer."""
        self.learn(await ask(apis, names, self._prefix))


def changed_key(operation: Operation) -> tuple[str, bytes] | None:
    """(witness, its key from the next block on) of an operation that sets one (hived: hive_evaluator.cpp)."""
    if operation.name == "witness_update":
        return operation.value["owner"], operation.value["block_signing_key"]
    if operation.name == "witness_set_properties":
        key = dict(operation.value["props"]).get("new_signing_key")
        if key is not None:
            return operation.value["owner"], key[:33]
    return None


async def ask(apis: Iterable[Api], names: Iterable[str], address_prefix: str) -> Heard:
    """The signing keys of up to 1,000 witnesses that at least two operators say alike.

    Raises ApiError if fewer than two operators answer.
    """
    wanted = sorted(set(names))[:MAX_WITNESSES]
    answers = await asyncio.gather(*(_one(api, wanted, address_prefix) for api in apis), return_exceptions=True)
    heads: list[int] = []
    said: dict[str, dict[str, bytes]] = {}
    refused: list[str] = []
    for answer in answers:
        if isinstance(answer, ApiError):
            refused.append(str(answer))
        elif isinstance(answer, BaseException):
            raise answer
        else:
            operator, head, keys = answer
            heads.append(head)
            said.setdefault(operator, {}).update(keys)
    if len(said) < _NEEDED:
        words = "; ".join(refused) or "only one operator is configured"
        raise ApiError(f"the witnesses' keys need answers of {_NEEDED} operators: {words}")
    return Heard(max(heads), {name: key for name in wanted if (key := _alike(name, said)) is not None})


def _alike(name: str, said: dict[str, dict[str, bytes]]) -> bytes | None:
    """The key that at least two operators say, and more than say any other."""
    ranked = Counter(keys[name] for keys in said.values() if name in keys).most_common(2)
    if not ranked or ranked[0][1] < _NEEDED or (len(ranked) > 1 and ranked[1][1] == ranked[0][1]):
        return None
    return ranked[0][0]


async def _one(api: Api, names: list[str], address_prefix: str) -> tuple[str, int, dict[str, bytes]]:
    """(operator, head after its answer, the keys by witness) of one server. Raises ApiError."""
    found: Any = await api.call("database_api.find_witnesses", {"owners": names})
    view = await chain_view(api)
    try:
        keys = {
            entry["owner"]: public_key_from_text(entry["signing_key"], address_prefix)
            for entry in found["witnesses"][: len(names)]
            if entry["owner"] in names
        }
    except (KeyError, TypeError, HiveDataError) as error:
        raise ApiError(f"{api.url}: database_api.find_witnesses: not a list of witnesses: {error}") from error
    return api.operator, view.head_number, keys
