"""Who signed the blocks: each witness's key, from its first block on, changed by nothing but its own operations.

Nobody is asked: the key of a witness's first block is taken as it comes, every other must follow from the chain.
"""

from node.audit.findings import Findings
from node.feed.witness import KEY_OPERATIONS, changed_key
from processors.hive.block import Block
from processors.hive.errors import HiveDataError


class Witnesses:
    """The witnesses of a history; told of each block, in order."""

    def __init__(self, findings: Findings) -> None:
        #: witness -> (key, number of its blocks)
        self.keys: dict[str, tuple[bytes, int]] = {}
        self._findings = findings

    def see(self, block: Block, key: bytes | None) -> None:
        """Hold the key that signed a block against the witness's so far, then take over the keys that it changes.

        ``key`` None: its signature recovers to none.
        """
        name = block.header.witness
        if key is None:
            self._findings.add("witness_key", block.number, f"the signature of {name} recovers to no key", account=name)
            return
        known, count = self.keys.get(name, (key, 0))
        if known != key:
            words = f"{name} signed with {key.hex()}, its key is {known.hex()}"
            self._findings.add("witness_key", block.number, words, account=name)
        self.keys[name] = known, count + 1
        if block.may_mention((), KEY_OPERATIONS):
            self._changed(block)

    def _changed(self, block: Block) -> None:
        for index in range(len(block.transactions)):
            try:
                operations = block.transaction(index)[0].operations
            except HiveDataError:  # it could hold a change: nobody's key is sure any more
                self.keys.clear()
                return
            for operation in operations:
                changed = changed_key(operation)
                if changed is not None and changed[0] in self.keys:
                    self.keys[changed[0]] = changed[1], self.keys[changed[0]][1]
